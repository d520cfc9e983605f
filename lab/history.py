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
from typing import NamedTuple

from lab import noise, stats, store, summary
from lab.errors import BadInputError
from lab.figures import LegComparison
from lab.gate import NAMES
from lab.model import Plan

FEWEST = 6  # runs in which a change can be seen: fewer do not tell what is noise
SHORTEST = 2  # runs between two changes
PENALTY = 4.0  # times ln(runs), in units of the noise: of series without a change one in twenty has a point at most
ROUGH = 5.0  # over the number of runs: by how much noise that is guessed from so few is taken for larger


@dataclass(frozen=True, slots=True)
class Point:
    """One run's ratio of one cell and leg."""

    run: str
    ratio: float
    ci_low: float | None
    ci_high: float | None
    error: float | None = None  # standard error of its logarithm


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
    found: dict[_Key, list[Point]] = {}
    left_out: dict[str, str] = {}
    for folder in sorted(path.parent for path in results.glob("*/status.json") if not path.parent.is_symlink()):
        try:
            store.status(folder)
            plan, judged = store.load(Plan, folder / "evidence" / "plan.json"), summary.read(folder)
        except BadInputError as error:
            left_out[folder.name] = str(error)
            continue
        if experiment and plan.experiment != experiment:
            continue
        if not judged.valid or judged.specimen:
            left_out[folder.name] = "a specimen" if judged.specimen else "not valid"
            continue
        # The same name may stand for another experiment by now, and the folder be another machine's, too.
        design = noise.design_of(plan) + noise.machine_at(folder)
        for row in judged.comparisons:
            point = _point(folder.name, row, plan.alpha)
            if point is not None and not _gated(row):
                key = _Key(plan.experiment, row.cell, row.baseline, row.leg, design)
                found.setdefault(key, []).append(point)
    series = (
        Series(key.experiment, key.cell, key.baseline, key.leg, tuple(points), tuple(changes(points)))
        for key, points in found.items()
    )
    return History(tuple(series), left_out)


class _Key(NamedTuple):
    """What one series is of."""

    experiment: str
    cell: str
    baseline: str
    leg: str
    design: str


def _gated(row: LegComparison) -> bool:
    """What a gate compares is another thing each time; its base against itself is not."""
    return (row.cell.rpartition("-")[2], row.baseline.rpartition("-")[2]) == NAMES[::-1]


def _point(run: str, row: LegComparison, alpha: float) -> Point | None:
    """With its interval at 95 %, whatever looks the run had."""
    spread = stats.deviation(row.comparison, alpha)
    error = None if spread is None else spread / math.sqrt(row.n_rounds)
    found = stats.at_level(row.comparison, alpha, stats.ALPHA)
    return None if found.ratio is None else Point(run, found.ratio, found.ci_low, found.ci_high, error)


def changes(points: Sequence[Point]) -> Iterator[Change]:
    """Where a series becomes another one."""
    ends = [0, *breaks([math.log(point.ratio) for point in points], _noise(points)), len(points)]
    for start, here, end in zip(ends, ends[1:], ends[2:], strict=False):
        before, after = (
            math.exp(fmean(math.log(point.ratio) for point in points[slice(*part)]))
            for part in ((start, here), (here, end))
        )
        yield Change(points[here].run, before, after, after / before)


def breaks(logs: Sequence[float], deviation: float) -> list[int]:
    """Places from which on a series is another one; `deviation` is that of one of its values, without a change."""
    if len(logs) < FEWEST or not deviation > stats.NO_SPREAD:
        return []
    # Here, since it loads scipy.stats, which takes 1.5 s.
    import numpy as np  # noqa: PLC0415
    import ruptures  # noqa: PLC0415

    signal = np.array(logs, dtype=float)[:, None] / deviation
    found = ruptures.Pelt(model="l2", min_size=SHORTEST, jump=1).fit(signal).predict(pen=PENALTY * math.log(len(logs)))
    return [int(place) for place in found[:-1]]


def _noise(points: Sequence[Point]) -> float:
    """What a value owes to chance: by its rounds, or by the differences of neighbours where that is more.

    Runs differ by more than a run knows of itself: by the build of an image, by the machine's day.
    """
    steps = [abs(b - a) for a, b in pairwise(math.log(point.ratio) for point in points)]
    # The median of |N(0, 2 s^2)| is 0.954 s; of a few steps it is often far below that.
    between = median(steps) / 0.954 * (1 + ROUGH / len(points)) if steps else 0.0
    within = [point.error for point in points if point.error is not None]
    return max(between, median(within) if within else 0.0)
