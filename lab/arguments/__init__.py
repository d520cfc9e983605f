"""The command line: commands, options, help texts. It only parses; lab/cli.py acts."""

import argparse
from importlib.metadata import version

from lab.arguments import archives, judges, machine, runs, testbed
from lab.arguments.common import EXIT_CODES, RESULTS, Commands

__all__ = ["EXIT_CODES", "RESULTS", "parser"]


def parser() -> argparse.ArgumentParser:
    """The command line; what is parsed has the command's name as `command`."""
    whole = argparse.ArgumentParser(
        prog="lab",
        description="How long Kamailio's request routing takes in each of its languages, measured.",
        epilog=f"{EXIT_CODES}\n\nA RUN is a path, an id, or 'latest'.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"lab {version('kemi-lab')}")
    commands = Commands(whole.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True))
    machine.add(commands)
    testbed.add(commands)
    runs.add(commands)
    judges.add(commands)
    archives.add(commands)
    return whole
