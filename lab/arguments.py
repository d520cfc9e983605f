"""The command line: commands, options, help texts. It only parses; lab/cli.py acts."""

import argparse
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "results"

EXIT_CODES = """exit codes:
  0    ok
  2    usage, or bad input (the message names file and key)
  4    the run ended, but not every planned slice is valid
  5    set-up problem (engine, image, MySQL, Kamailio, disk, CPUs taken)
  70   a defect of the lab
  130  interrupted"""


def parser() -> argparse.ArgumentParser:
    """The command line; what is parsed has the command's name as `command`."""
    whole = argparse.ArgumentParser(
        prog="lab",
        description="How long Kamailio's request routing takes in each of its languages, measured.",
        epilog=f"{EXIT_CODES}\n\nA RUN is a path, an id, or 'latest'.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"lab {version('kemi-lab')}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def add(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"examples:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def results(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="where runs lie")

    def source(sub: argparse.ArgumentParser) -> None:
        text = "a Kamailio source tree or tarball to build and use instead of the release"
        sub.add_argument("--kamailio-source", type=Path, metavar="PATH", help=text)
        text = "the Debian suite to build that source on: bullseye for a Kamailio that still has Python 2"
        sub.add_argument("--kamailio-suite", default="", metavar="SUITE", help=text)

    def as_json(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--json", action="store_true", help="for programs: JSON on standard output")

    doctor = add("doctor", "look at this machine; change nothing", "  lab doctor\n  lab doctor --json")
    results(doctor)
    as_json(doctor)

    images = add("images", "build the images that are missing, and list them", "  lab images\n  lab images --list")
    images.add_argument("--list", action="store_true", help="only list, build nothing")
    images.add_argument("--all", action="store_true", help="every release and every database")
    source(images)
    as_json(images)

    engines = add(
        "engines",
        "list every engine on every Kamailio release: what is built, what can be, what cannot and why",
        "  lab engines\n  lab engines --json | jq '.[] | select(.state == \"broken\")'\n"
        "  lab images --all     builds all of them",
    )
    as_json(engines)

    add(
        "up",
        "raise the testbed by hand (compose.yaml)",
        "  lab up\n  LAB_ENGINE=lua lab up\n  docker compose run --rm sipp",
    )
    down = add(
        "down",
        "take down the testbed that was raised by hand, or what is left of a run",
        "  lab down\n  lab down 20260314T150926Z-default-9e13",
    )
    text = "the id of a run that was killed: its containers, networks and volumes go, its results stay"
    down.add_argument("run", nargs="?", metavar="RUN", help=text)

    run = add(
        "run",
        "run an experiment",
        "  lab run experiments/quick.toml\n  lab run mine.toml --results /data/kemi\n"
        "  lab run mine.toml --kamailio-source ~/kamailio-5.2.0.tar.gz --kamailio-suite bullseye",
    )
    run.add_argument("file", type=Path, metavar="FILE", help="an experiment (TOML): see docs/experiments.md")
    results(run)
    source(run)
    as_json(run)

    frames = add("frames", "make a run's frames and summary again, from its evidence", "  lab frames latest")
    frames.add_argument("run", metavar="RUN")
    results(frames)
    as_json(frames)

    report = add("report", "print a run's table again", "  lab report latest\n  lab report latest --json | jq .cells")
    report.add_argument("run", metavar="RUN")
    results(report)
    as_json(report)

    published = add(
        "published",
        "set a run of the 2018 experiment beside the page itself, as Markdown",
        "  just published                     runs it and prints this\n  lab published latest > published.md",
    )
    published.add_argument("run", metavar="RUN")
    results(published)
    as_json(published)
    return whole
