"""A million latency lines to figures, page and archive, and back into pandas: seconds, megabytes, and what they may be.

    python -m tests.benchmarks.dataset           a run that is made up, the same every time
    python -m tests.benchmarks.dataset RUN       a copy of a run of yours

The best of three, since only disturbances make it slower; each of the goals is for two cores.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lab import archive, dataset, store, summary, testing
from lab.errors import Exit
from lab.model import Plan
from lab.report import page, run
from tests.unit import machine

RUNS = 3
# 10 rounds of 5 slices and 4 cells, each of 2500 calls of two requests
PLAN = testing.plan(rounds=10, slices=5, warmup_slices=0, calls=2500, rate_per_s=420)


@dataclass(frozen=True)
class Step:
    """What is timed. A goal is None where there is none."""

    name: str
    work: Callable[[], object]
    goal_seconds: float | None = None


def main(given: str = "") -> int:
    """Measure and print; the exit code says only whether it could be measured."""
    with tempfile.TemporaryDirectory(prefix="dataset-") as place:
        folder = _copied(Path(given), Path(place)) if given else _made(Path(place))
        found = dataset.derive(folder)
        plan = store.load(Plan, folder / "evidence" / "plan.json")
        small, whole = Path(place, "small.zip"), Path(place, "whole.zip")
        messages = folder / "frames" / "messages.parquet"
        steps = (
            Step("frames, figures, description", lambda: dataset.derive(folder)),
            Step("report: page, Markdown, figures", lambda: _report(folder, plan)),
            Step("archive without logs", lambda: archive.pack(folder, small, logs=False)),
            Step("archive with logs", lambda: archive.pack(folder, whole, logs=True)),
            Step("verify", lambda: archive.verify(whole)),
            Step("all messages into pandas", lambda: pd.read_parquet(messages), 1.0),
        )
        lines = len(pd.read_parquet(messages, columns=["usec"]))
        print(f"{lines} latency lines, {len(found.cells)} cells, {len(plan.rounds)} rounds; best of {RUNS}")
        seconds = {step.name: min(_seconds(step.work) for _ in range(RUNS)) for step in steps}
        for step in steps:
            goal = f"   {seconds[step.name] / step.goal_seconds:.2f} of the goal" if step.goal_seconds else ""
            print(f"{step.name:34}{seconds[step.name]:7.2f} s{goal}")
        first, second, *_ = seconds.values()
        print(f"{'lines to report':34}{first + second:7.2f} s   {(first + second) / 20:.2f} of the goal")
        for name, file in (("archive without logs", small), ("archive with logs", whole), ("page", _page(folder))):
            print(f"{name:34}{file.stat().st_size / 1e6:7.2f} MB")
    return Exit.OK


def _copied(given: Path, place: Path) -> Path:
    return Path(shutil.copytree(given.resolve(), place / given.resolve().name))


def _made(place: Path) -> Path:
    slices = testing.slices(PLAN, {"lua": 1.2, "python3": 1.3})
    folder = machine.describe(testing.run(place / "results", PLAN, slices))
    store.Run(folder).seal("complete")  # again, with what the machine is
    return folder


def _page(folder: Path) -> Path:
    return folder / page.FOLDER / page.PAGE


def _report(folder: Path, plan: Plan) -> None:
    page.write(run.build(folder, plan, summary.read(folder)), folder / page.FOLDER)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
