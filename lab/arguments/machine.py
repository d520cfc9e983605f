"""Commands about this machine: doctor, tune, cpus."""

import argparse
from pathlib import Path

from lab.arguments.common import Commands, as_json, results
from lab.cores import PROFILES


def _mhz(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number of MHz expected, not {text!r}")
    return int(text)


def add(commands: Commands) -> None:
    """All of them."""
    doctor = commands.add("doctor", "look at this machine; change nothing", "  lab doctor\n  lab doctor --json")
    results(doctor)
    as_json(doctor)

    tune = commands.add(
        "tune",
        "make this machine quieter for measuring, and undo that",
        "  lab tune                   shows what would change, and asks\n"
        "  lab tune --max-mhz 1900    the NUC's clock, too\n"
        "  lab tune --undo            restores every value as it was",
    )
    tune.add_argument("--undo", action="store_true", help="restore what was changed, also after a crash or reboot")
    tune.add_argument("--yes", action="store_true", help="do not ask")
    tune.add_argument(
        "--aslr", action="store_true", help="switch address space randomisation off, which weakens security"
    )
    tune.add_argument("--max-mhz", type=_mhz, metavar="MHZ", help="cap the clock of all CPUs; the NUC's base is 1900")

    cpus = commands.add(
        "cpus",
        "draw which CPUs each role gets, by a profile or by an experiment; change nothing",
        "  lab cpus\n  lab cpus --profile nuc\n  lab cpus experiments/default.toml\n"
        "  lab cpus --json | jq .layout.notes",
    )
    one = cpus.add_mutually_exclusive_group()
    one.add_argument("file", nargs="?", type=Path, metavar="FILE", help="an experiment: its own profile or lists")
    one.add_argument("--profile", choices=PROFILES, default="auto", help="docs/cpus.md says what each is (auto)")
    as_json(cpus)
