"""What commands share: how one is added, options of several, and forms of values."""

import argparse
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "results"
EXPERIMENTS = PROJECT / "experiments"

EXIT_CODES = """exit codes:
  0    ok; of a gate: pass, or improvement
  1    of a gate: regression, confirmed by a second run
  2    usage, or bad input (the message names file and key)
  3    of a gate: inconclusive, which is no pass
  4    the run ended, but not every planned slice is valid
  5    set-up problem (engine, image, MySQL, Kamailio, disk, CPUs taken)
  6    of a gate with --tell-improvement: improvement
  70   a defect of the lab
  130  interrupted"""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands, as they are added."""

    whole: "argparse._SubParsersAction[argparse.ArgumentParser]"

    def add(self, name: str, text: str, example: str) -> argparse.ArgumentParser:
        """One more, with a line for the overview and examples for its own help."""
        return self.whole.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"examples:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )


def positive(text: str) -> int:
    """A number of things, of which there is at least one."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number above 0 expected, not {text!r}")
    return int(text)


def results(sub: argparse.ArgumentParser) -> None:
    """Where runs lie."""
    sub.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="where runs lie")


def source(sub: argparse.ArgumentParser) -> None:
    """A Kamailio in place of a release."""
    text = "a Kamailio source tree or tarball to build and use instead of the release"
    sub.add_argument("--kamailio-source", type=Path, metavar="PATH", help=text)
    text = "the Debian suite to build that source on: bullseye for a Kamailio that still has Python 2"
    sub.add_argument("--kamailio-suite", default="", metavar="SUITE", help=text)


def share_cpus(sub: argparse.ArgumentParser) -> None:
    """Beside other runs."""
    text = "measure on CPUs that others have, too, if all were begun so: to try something, as they disturb each other"
    sub.add_argument("--share-cpus", action="store_true", help=text)


def as_json(sub: argparse.ArgumentParser) -> None:
    """For programs."""
    sub.add_argument("--json", action="store_true", help="for programs: JSON on standard output")
