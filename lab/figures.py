"""Messages -> figures, comparisons and steadiness: the arithmetic of a summary. Takes frames of valid, timed slices."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from lab import robust, stats, trimmed
from lab.estimators import quantile
from lab.model import Plan
from lab.observation import WAYS
from lab.robust import SecondOpinion
from lab.running import compared
from lab.stats import Comparison

if TYPE_CHECKING:
    import pandas as pd

Legs = tuple[str, ...]  # whose means are added up: one, or all of a call's

MEAN = "mean"
SUMS = {MEAN, trimmed.FIGURE}  # figures of legs that add up to one of a call
QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}  # of a leg in a round, that cells are compared by beside the mean
TAIL = 10  # requests that must lie beyond a quantile: with fewer it is one odd request's


@dataclass(frozen=True, slots=True)
class LegFigures:
    """One leg of one cell, over first transmissions. Percentiles are interpolated linearly, as numpy does."""

    count: int
    mean_usec: float | None
    median_usec: float | None
    p10_usec: float | None
    p95_usec: float | None
    p99_usec: float | None
    max_usec: int | None


@dataclass(frozen=True, slots=True)
class LegComparison:
    """One cell and leg against the baseline, round by round."""

    cell: str
    baseline: str
    leg: str
    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    mde: float | None
    n_rounds: int
    p: float | None
    p_holm: float | None  # over the cells that one baseline and leg compare; None for the A/A cell, which is none
    excludes_one: bool
    figure: str = MEAN  # of a round: the mean, the trimmed one, or one of QUANTILES
    second: SecondOpinion | None = None  # of rounds' logarithms by their ranks; None in older files

    @property
    def comparison(self) -> Comparison:
        """Without saying of what."""
        return Comparison(self.ratio, self.ci_low, self.ci_high, self.mde, self.n_rounds, self.p)


@dataclass(frozen=True, slots=True)
class Steadiness:
    """A round's second half against its first, as a ratio."""

    round: int
    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    steady: bool | None


def first_transmissions(messages: "pd.DataFrame") -> "pd.DataFrame":
    """What the legs' figures are of. A retransmission's time is that of a request which was answered already."""
    return messages[~messages["retransmission"].astype(bool)]


def legs(first: "pd.DataFrame", names: Sequence[str]) -> dict[str, LegFigures]:
    """All legs of one cell."""
    return {leg: _leg(first.loc[first["leg"] == leg, "usec"].to_numpy(dtype="int64")) for leg in names}


def call_usec(figures: Mapping[str, LegFigures]) -> float | None:
    """What a call costs: the sum of its legs' means; unknown when one of them is, or when there are none."""
    means = [leg.mean_usec for leg in figures.values() if leg.mean_usec is not None]
    return sum(means) if means and len(means) == len(figures) else None


def cpu_usec_per_call(slices: "pd.DataFrame") -> float | None:
    """CPU time of Kamailio's container over the calls, of those slices that have it."""
    measured = slices[slices["cpu_usec"].notna()]
    calls = int(measured["sipp_successful"].sum())
    return float(measured["cpu_usec"].sum()) / calls if calls else None


def comparisons(plan: Plan, first: "pd.DataFrame") -> Iterator[LegComparison]:
    """Every cell but the first baseline, leg by leg, by means; where all legs are shared by their sum as well."""
    yield from _comparisons(plan, _means(first, ["cell", "round"]), MEAN)


def costs(plan: Plan, first: "pd.DataFrame") -> dict[tuple[str, str], dict[int, float]]:
    """Mean usec by round, of each cell's legs, and of all of a call together where there are several."""
    means = _means(first, ["cell", "round"])
    found: dict[tuple[str, str], dict[int, float]] = {}
    for cell in plan.cells:
        scenario = plan.scenario_of(cell.name)
        names = scenario.leg_names if WAYS[cell.observe].logged else ()
        wholes = {scenario.whole: names} if len(names) > 1 else {}
        for name, legs in {**{leg: (leg,) for leg in names}, **wholes}.items():
            found[cell.name, name] = _by_round(means, cell.name, legs)
    return found


def trimmed_means(plan: Plan, first: "pd.DataFrame") -> Iterator[LegComparison]:
    """The same by means without the slowest requests of each leg in a round."""
    by_leg = first.groupby(["cell", "round", "leg"], observed=True)["usec"]
    yield from _comparisons(plan, _table(by_leg.agg(_trimmed)), trimmed.FIGURE)


def _trimmed(usec: "pd.Series[int]") -> float:
    values, requests = np.unique(usec.to_numpy(dtype="int64"), return_counts=True)
    return trimmed.mean(dict(zip(values.tolist(), requests.tolist(), strict=True)))


def _table(by_leg: "pd.Series[float]") -> "pd.DataFrame":
    """A row per cell and round, a column a leg."""
    table = by_leg.reset_index().pivot_table(values="usec", index=["cell", "round"], columns="leg", observed=True)
    table.columns = table.columns.astype(str)
    return table


def quantiles(plan: Plan, first: "pd.DataFrame") -> Iterator[LegComparison]:
    """The same by medians and tails of single legs: quantiles of a sum are no sums."""
    by_leg = first.groupby(["cell", "round", "leg"], observed=True)["usec"]
    for figure, share in QUANTILES.items():
        yield from _comparisons(plan, _table(by_leg.agg(_tail(share))), figure)


def _tail(share: float) -> Callable[["pd.Series[int]"], float]:
    value = quantile(share)

    def enough(usec: "pd.Series[int]") -> float:
        if usec.size * min(share, 1 - share) < TAIL:
            return math.nan
        return value(np.sort(usec.to_numpy(dtype="int64")))

    return enough


def _comparisons(plan: Plan, table: "pd.DataFrame", figure: str) -> Iterator[LegComparison]:
    """`table` has a figure per cell, round and leg. Holm's adjustment is over what one baseline and leg compare."""
    others = {cell.name: cell.baseline for cell in plan.cells if cell.name != cell.baseline}
    logs = {
        (name, leg): stats.log_ratios(_by_round(table, name, legs), _by_round(table, baseline, legs))
        for name, baseline in others.items()
        for leg, legs in compared(plan, name).items()
        if figure in SUMS or len(legs) == 1  # quantiles of a sum are no sums
    }
    found = {key: stats.compare(rounds, plan.alpha) for key, rounds in logs.items()}
    for (name, leg), result in found.items():
        family = {
            other: p
            for other, baseline in others.items()
            if other != plan.aa_cell
            and baseline == others[name]
            and (other, leg) in found
            and (p := found[other, leg].p) is not None
        }
        yield LegComparison(
            cell=name,
            baseline=others[name],
            leg=leg,
            ratio=result.ratio,
            ci_low=result.ci_low,
            ci_high=result.ci_high,
            mde=result.mde,
            n_rounds=result.n_rounds,
            p=result.p,
            p_holm=stats.holm(family).get(name),
            excludes_one=result.excludes_one,
            figure=figure,
            second=robust.second_opinion(logs[name, leg], result, plan.alpha),
        )


def steadiness(plan: Plan, slices: "pd.DataFrame", first: "pd.DataFrame", number: int) -> Steadiness:
    """Compare the halves of a round: each cell's earlier slices with its later ones, by the cost of a call."""
    means = _means(first[first["round"] == number], ["slice"])
    in_time = slices[slices["round"] == number].sort_values("position")
    differences: list[float] = []
    for cell in in_time["cell"].unique():
        names = in_time.loc[in_time["cell"] == cell, "slice"]
        costs = _sum(means, plan.scenario_of(str(cell)).leg_names).reindex(names).dropna()
        logs = [math.log(cost) for cost in costs if cost > 0]
        half = len(logs) // 2  # the middle one of an odd number belongs to neither
        if half:
            differences.append(fmean(logs[-half:]) - fmean(logs[:half]))
    drift = stats.drift(differences)
    return Steadiness(number, drift.ratio, drift.ci_low, drift.ci_high, drift.steady)


def _leg(usec: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> LegFigures:
    if not usec.size:
        return LegFigures(0, None, None, None, None, None, None)
    p10, median, p95, p99 = (float(value) for value in np.percentile(usec, [10, 50, 95, 99]))
    return LegFigures(int(usec.size), float(usec.mean()), median, p10, p95, p99, int(usec.max()))


def _means(first: "pd.DataFrame", keys: list[str]) -> "pd.DataFrame":
    """Mean per key and leg."""
    table = first.pivot_table(values="usec", index=keys, columns="leg", aggfunc="mean", observed=True)
    table.columns = table.columns.astype(str)
    return table


def _sum(means: "pd.DataFrame", legs: Legs) -> "pd.Series[float]":
    """Of the legs' means; a call that lacks one of them has none."""
    return means.reindex(columns=list(legs)).sum(axis="columns", skipna=False)


def _by_round(means: "pd.DataFrame", cell: str, legs: Legs) -> dict[int, float]:
    rows = _sum(means, legs).dropna().rename("cost").reset_index().to_dict("records")
    return {int(row["round"]): float(row["cost"]) for row in rows if row["cell"] == cell}
