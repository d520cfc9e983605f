"""The fault suite: real runs, each struck by one fault at a random moment, and a table of what came of it.

    just faults                        each fault three times, about an hour and a half
    just faults --times 1 --only MySQL
    just faults --keep FILE            every injection as a line of JSON as well

It is no measurement, and may run beside other work; but it takes CPUs, and the engine that it is on.
The exit code is 1 if an aim was broken once.
"""

import argparse
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from subprocess import TimeoutExpired

import docker
from rich.console import Console
from rich.table import Table

from lab.errors import Exit
from tests.faults.engine import SecondEngine
from tests.faults.faults import FAULTS, Fault
from tests.faults.scene import Scene, TooLateError
from tests.faults.strike import Moment, Outcome, strike

SPAN_SECONDS = 40.0  # in which a run of the suite's does most of what it does, on two CPUs
LOADED = 0.5  # share of moments at which a SIPp sends
RESUMED = 0.4  # share of runs that are gone on with, if they have not come to their end
AGAIN = 5  # times at most that a moment is looked for that is not too late


def main() -> int:
    """Strike, tell, and say how it was."""
    options = _options()
    for one in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the former
        signal.signal(one, signal.default_int_handler)
    client = docker.from_env(timeout=120)
    faults = [fault for fault in FAULTS if any(text in fault.name for text in options.only or [""])]
    if not faults:
        print(f"no fault has {' or '.join(options.only)} in its name", file=sys.stderr)
        return Exit.USAGE
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        stack.callback(lambda: Console(width=140).print(table(outcomes)))  # of what has been, whatever happens
        second = _second(stack) if any(fault.second_engine for fault in faults) else None
        for number in range(options.times):
            for fault in faults:
                seed = f"{options.seed} {number} {fault.name}"
                outcome = _once(fault, seed, client, second if fault.second_engine else None)
                if not outcome:
                    print(f"{fault.name}: never in time", file=sys.stderr)
                    continue
                outcomes.append(outcome)
                _tell(number, outcome)
                if options.keep:
                    with options.keep.open("a") as file:
                        file.write(json.dumps(asdict(outcome)) + "\n")
    seen = {outcome.fault for outcome in outcomes}
    return int(any(outcome.broken for outcome in outcomes) or any(fault.name not in seen for fault in faults))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="so often each (default: %(default)s)")
    text = "only faults whose name has this; may be given several times"
    parser.add_argument("--only", action="append", metavar="TEXT", help=text)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1000), help="of the moments")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="every injection as a line of JSON")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    return options


def _second(stack: ExitStack) -> SecondEngine:
    """With the images that are on the first, carried over by files."""
    print("a second engine: export-images, import-images", file=sys.stderr)
    return stack.enter_context(SecondEngine.with_images())


def _once(fault: Fault, seed: str, client: docker.DockerClient, second: SecondEngine | None) -> Outcome | None:
    for attempt in range(AGAIN):
        chance = random.Random(f"{seed} {attempt}")
        with suppress(TooLateError):
            seconds = chance.uniform(0.5, SPAN_SECONDS)
            moment = under_load(seconds, chance) if chance.random() < LOADED else at(seconds)
            return strike(fault, moment, chance, client, second, resume=chance.random() < RESUMED)
    return None


def at(seconds: float) -> Moment:
    """So long after the beginning."""

    def wait(scene: Scene) -> None:
        with suppress(TimeoutExpired):
            scene.running.process.wait(seconds)
            raise TooLateError

    return wait


def under_load(seconds: float, chance: random.Random) -> Moment:
    """The same, but not before a SIPp sends: somewhere in a slice, or at its end."""

    def wait(scene: Scene) -> None:
        at(seconds)(scene)
        try:
            scene.lab.under_load(scene.running)
        except AssertionError as error:
            raise TooLateError from error
        at(chance.uniform(0, 1))(scene)

    return wait


def _tell(number: int, outcome: Outcome) -> None:
    held = "; ".join(outcome.broken) or "held"
    print(
        f"{number + 1} {outcome.fault} at {outcome.moment_seconds} s ({outcome.struck}; {outcome.line}): "
        f"exit {outcome.code}, {outcome.hit} hit, resume {outcome.resumed}: {held} | {outcome.said}",
        file=sys.stderr,
        flush=True,
    )


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row a fault."""
    rows = Table("fault", "times", "exit codes", "slices hit", "valid", "lost", "left", "unexplained", "resumed")
    for name in dict.fromkeys(outcome.fault for outcome in outcomes):
        some = [outcome for outcome in outcomes if outcome.fault == name]
        codes = Counter(outcome.code for outcome in some)
        numbers = (
            len(some),
            ", ".join(f"{code} x{count}" if count > 1 else str(code) for code, count in sorted(codes.items(), key=str)),
            sum(one.hit for one in some),
            sum(len(one.wrong) for one in some),
            sum(len(one.lost) for one in some),
            sum(len(one.left) for one in some),
            sum(len(one.unexplained) for one in some),
            sum(one.resumed is not None for one in some),
        )
        rows.add_row(name, *map(str, numbers))
    return rows


if __name__ == "__main__":
    sys.exit(main())
