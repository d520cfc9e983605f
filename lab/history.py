"""Ratios over the runs of a folder, by time, and where they changed. Right of the wall; docs/gate.md explains.

A change point is found by PELT: Killick, Fearnhead, Eckley, "Optimal detection of changepoints with a linear
computational cost", J. Am. Stat. Assoc. 107 (2012) 1590-1598, in the library ruptures.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

from lab import stats, store, summary
from lab.errors import BadInputError
from lab.figures import LegComparison
from lab.model import Plan

FEWEST = 4  # runs in which a change can be seen: two before it, two after it
SHORTEST = 2  # runs between two changes
PENALTY = 3.0  # times ln(runs), in units of the noise: of series without a change one in twenty has a point at most


@dataclass(frozen=True, slots=True)
class Point:
    """One run's ratio of one cell and leg."""

    run: str
    ratio: float
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """From this run on the ratio is another one. `step` is what it was multiplied by."""

    run: str
    before: float
    after: float
    step: float


@dataclass(frozen=True, slots=True)
class Series:
    """What the same experiment said of the same cell and leg, run by run."""

    experiment: str
    cell: str
    baseline: str
    leg: str
    points: tuple[Point, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All series of a folder; and runs that are not in them, and why."""

    series: tuple[Series, ...]
    left_out: dict[str, str]


def read(results: Path, experiment: str = "") -> History:
    """Every valid run in a folder, the oldest first; with `experiment` those of that name alone."""
    found: dict[tuple[str, str, str, str], list[Point]] = {}
    left_out: dict[str, str] = {}
    for folder in sorted(path.parent for path in results.glob("*/status.json") if not path.parent.is_symlink()):
        try:
            plan, judged = store.load(Plan, folder / "evidence" / "plan.json"), summary.read(folder)
        except BadInputError as error:
            left_out[folder.name] = str(error)
            continue
        if experiment and plan.experiment != experiment:
            continue
        if not judged.valid or judged.specimen:
            left_out[folder.name] = "a specimen" if judged.specimen else "not valid"
            continue
        for row in judged.comparisons:
            if (point := _point(folder.name, row)) is not None:
                found.setdefault((plan.experiment, row.cell, row.baseline, row.leg), []).append(point)
    return History(
        tuple(Series(*key, tuple(points), tuple(_changes(points))) for key, points in found.items()), left_out
    )


def _point(run: str, row: LegComparison) -> Point | None:
    return None if row.ratio is None else Point(run, row.ratio, row.ci_low, row.ci_high)


def _changes(points: Sequence[Point]) -> Iterator[Change]:
    ends = [0, *breaks([math.log(point.ratio) for point in points], _noise(points)), len(points)]
    for start, here, end in zip(ends, ends[1:], ends[2:], strict=False):
        before, after = (
            math.exp(fmean(math.log(point.ratio) for point in points[slice(*part)]))
            for part in ((start, here), (here, end))
        )
        yield Change(points[here].run, before, after, after / before)


def breaks(logs: Sequence[float], noise: float) -> list[int]:
    """Places from which on a series is another one; `noise` is the standard deviation of one of its values."""
    if len(logs) < FEWEST or not noise > 0:
        return []
    # Here, since it loads scipy.stats, which takes 1.5 s.
    import numpy as np  # noqa: PLC0415
    import ruptures  # noqa: PLC0415

    signal = np.array(logs, dtype=float)[:, None] / noise
    found = ruptures.Pelt(model="l2", min_size=SHORTEST, jump=1).fit(signal).predict(pen=PENALTY * math.log(len(logs)))
    return [int(place) for place in found[:-1]]


def _noise(points: Sequence[Point]) -> float:
    """What a value owes to chance: by its intervals, or by neighbours' differences where that is more.

    Runs differ by more than a run knows of itself: by the build of an image, by the machine's day.
    """
    logs = [math.log(point.ratio) for point in points]
    steps = [abs(b - a) for a, b in pairwise(logs)]
    # The median of |N(0, 2 s^2)| is 0.954 s.
    between = median(steps) / 0.954 if steps else 0.0
    within = [math.log(point.ci_high / point.ci_low) / 2 / 1.96 for point in points if point.ci_low and point.ci_high]
    return max(between, median(within) if within else 0.0, stats.NO_SPREAD)
