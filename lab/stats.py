"""Ratios, their intervals, and the smallest effect a run could have found. Pure; docs/statistics.md explains.

The unit is the round: per round and leg one number, d = ln(cell / baseline). Messages are never the unit.

Sources: Student's interval for a mean: Student, "The probable error of a mean", Biometrika 6 (1908) 1-25.
Power by the noncentral t: Cohen, "Statistical power analysis for the behavioral sciences", 2nd ed. (1988), ch. 2;
the detectable effect turns that around: Bloom, "Minimum detectable effects", Evaluation Review 19 (1995) 547-556.
Ratio of two means that were not measured in pairs: Fieller, "Some problems in interval estimation", J. R. Statist.
Soc. B 16 (1954) 175-185; its degrees of freedom: Welch, "The generalization of Student's problem", Biometrika 34
(1947) 28-35.
Components of variance of unequal groups: Searle, Casella, McCulloch, "Variance components" (1992), ch. 3.
Several engines: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979) 65-70.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

# The functions of scipy.special behind scipy.stats: the driver imports this, and scipy.stats costs 1.5 s more.
from scipy import special

ALPHA = 0.05
POWER = 0.80
STEADY_SHARE = 0.03  # how much a round's halves may differ
# Logarithms of two measured times agree to a billionth in every round only when somebody made them up (or copied
# one): such a spread is the rounding of floating point, and an interval from it would claim certainty.
NO_SPREAD = 1e-9

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the rounds say about one cell against the baseline. What they cannot say is None.

    `mde` is a ratio less 1: 0.03 reads "a difference of 3 % would have been found four times in five".
    `p` belongs to the hypothesis that the ratio is 1; it is there for Holm's procedure.
    """

    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    mde: float | None
    n_rounds: int
    p: float | None = None

    @property
    def excludes_one(self) -> bool:
        """The interval lies wholly on one side of 1; never so without an interval."""
        return self.ci_low is not None and self.ci_high is not None and (self.ci_low > 1 or self.ci_high < 1)


def compare(logs: Sequence[float], alpha: float = ALPHA) -> Comparison:
    """Judge the rounds' log ratios: exp(mean), Student's interval at 1 - alpha, the effect detectable at 80 % power.

    Of what is no number nothing can be said.
    """
    n = len(logs)
    if n == 0 or not all(map(math.isfinite, logs)):
        return Comparison(None, None, None, None, n)
    mean = statistics.fmean(logs)
    if n == 1 or statistics.stdev(logs) < NO_SPREAD:
        return Comparison(math.exp(mean), None, None, None, n)
    error = statistics.stdev(logs) / math.sqrt(n)
    t = _t_quantile(1 - alpha / 2, n - 1)
    return Comparison(
        ratio=math.exp(mean),
        ci_low=math.exp(mean - t * error),
        ci_high=math.exp(mean + t * error),
        mde=math.expm1(error * _noncentrality(n - 1, t)),
        n_rounds=n,
        p=2 * float(special.stdtr(n - 1, -abs(mean) / error)),
    )


def deviation(found: Comparison, alpha: float = ALPHA) -> float | None:
    """The standard deviation of the log ratios behind an interval at this alpha; None where there is no interval."""
    if found.ratio is None or found.ci_high is None:
        return None
    t = _t_quantile(1 - alpha / 2, found.n_rounds - 1)
    return math.log(found.ci_high / found.ratio) / t * math.sqrt(found.n_rounds)


def at_level(found: Comparison, alpha: float, other: float) -> Comparison:
    """The same with its interval at another alpha."""
    spread = deviation(found, alpha)
    if spread is None or found.ratio is None:
        return found
    half = _t_quantile(1 - other / 2, found.n_rounds - 1) * spread / math.sqrt(found.n_rounds)
    return replace(found, ci_low=found.ratio * math.exp(-half), ci_high=found.ratio * math.exp(half))


def ratio_of_means(values: Sequence[float], baseline: Sequence[float], alpha: float = ALPHA) -> Comparison:
    """Fieller's interval for mean(values) / mean(baseline), where nothing pairs the two and their spreads differ.

    The degrees of freedom are Welch's. Without two values on either side, or where the baseline's mean is not told from
    zero, there is no interval.
    """
    if min(len(values), len(baseline)) < 2:  # noqa: PLR2004
        return Comparison(None, None, None, None, 0)
    mean, base = statistics.fmean(values), statistics.fmean(baseline)
    own, theirs = (statistics.variance(each) / len(each) for each in (values, baseline))
    freedom = _welch(own, theirs, len(values), len(baseline))
    t = float(special.stdtrit(freedom, 1 - alpha / 2))
    ratio, g = mean / base, t**2 * theirs / base**2
    if g >= 1:
        return Comparison(ratio, None, None, None, 0)
    half = t / base * math.sqrt(own * (1 - g) + ratio**2 * theirs)
    return Comparison(ratio, (ratio - half) / (1 - g), (ratio + half) / (1 - g), None, min(len(values), len(baseline)))


def compare_apart(logs: Sequence[float], baseline: Sequence[float], alpha: float = ALPHA) -> Comparison:
    """The same for logarithms that nothing pairs, such as those of two runs: by Welch's test, their spreads may differ.

    `n_rounds` are those of the side that has fewer.
    """
    n = min(len(logs), len(baseline))
    if n == 0:
        return Comparison(None, None, None, None, 0)
    mean = statistics.fmean(logs) - statistics.fmean(baseline)
    if n == 1 or min(statistics.stdev(logs), statistics.stdev(baseline)) < NO_SPREAD:
        return Comparison(math.exp(mean), None, None, None, n)
    own, theirs = (statistics.variance(each) / len(each) for each in (logs, baseline))
    freedom = _welch(own, theirs, len(logs), len(baseline))
    error, t = math.sqrt(own + theirs), _t_quantile(1 - alpha / 2, freedom)
    return Comparison(
        ratio=math.exp(mean),
        ci_low=math.exp(mean - t * error),
        ci_high=math.exp(mean + t * error),
        mde=math.expm1(error * _noncentrality(freedom, t)),
        n_rounds=n,
        p=2 * float(special.stdtr(freedom, -abs(mean) / error)),
    )


def _welch(own: float, theirs: float, n: int, other: int) -> float:
    """Degrees of freedom of a difference of means with these squared errors."""
    return (own + theirs) ** 2 / (own**2 / (n - 1) + theirs**2 / (other - 1))


def log_ratios(cell: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """Round by round ln(cell / baseline), from each one's mean per round; a round that lacks either is left out."""
    both = sorted(cell.keys() & baseline.keys())
    pairs = [(cell[number], baseline[number]) for number in both]
    return [math.log(own / theirs) for own, theirs in pairs if 0 < own < math.inf and 0 < theirs < math.inf]


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's adjusted p of each hypothesis: below alpha means rejected, with the family's error rate kept at alpha."""
    adjusted: dict[Key, float] = {}
    floor = 0.0  # a hypothesis is never rejected before one with a smaller p
    for rank, key in enumerate(sorted(p_values, key=lambda k: p_values[k])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[key]))
        adjusted[key] = floor
    return adjusted


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a log ratio: between slices of a round; between rounds beyond what slices explain."""

    between_slices: float
    between_rounds: float


def spread(rounds: Sequence[Sequence[float]]) -> Spread | None:
    """Components of variance of slices' log ratios, round by round: by analysis of variance, none below zero.

    None with fewer than two rounds, or with no round of two slices.
    """
    groups = [logs for logs in rounds if logs]
    total, k = sum(map(len, groups)), len(groups)
    if k < 2 or total == k:  # noqa: PLR2004
        return None
    grand = statistics.fmean(log for logs in groups for log in logs)
    means = [statistics.fmean(logs) for logs in groups]
    pairs = list(zip(groups, means, strict=True))
    within = sum((log - mean) ** 2 for logs, mean in pairs for log in logs) / (total - k)
    between = sum(len(logs) * (mean - grand) ** 2 for logs, mean in pairs) / (k - 1)
    size = (total - sum(len(logs) ** 2 for logs in groups) / total) / (k - 1)
    return Spread(math.sqrt(within), math.sqrt(max(0.0, (between - within) / size)))


@dataclass(frozen=True, slots=True)
class Design:
    """So many rounds of so many timed slices a cell, and the effect that they detect: a ratio less 1."""

    rounds: int
    slices: int
    mde: float


def detectable(spread: Spread, rounds: int, slices: int, alpha: float = ALPHA) -> float:
    """The effect (a ratio less 1) that Student's test over so many rounds finds with 80 % probability."""
    error = math.sqrt((spread.between_rounds**2 + spread.between_slices**2 / slices) / rounds)
    return math.expm1(error * _shift(rounds - 1, alpha))


def best_design(spread: Spread, seconds: float, *, round_seconds: float, pair_seconds: float) -> Design | None:
    """The rounds and slices that detect most in a given time; None where it is too short for two rounds.

    `round_seconds` is what a round takes beside its timed slices, `pair_seconds` a slice of the cell and one of the
    baseline.
    """
    designs = [
        Design(rounds, slices, detectable(spread, rounds, slices))
        for rounds in range(2, int(seconds / (round_seconds + pair_seconds)) + 1)
        for slices in [int((seconds / rounds - round_seconds) / pair_seconds)]
        if slices
    ]
    return min(designs, key=lambda design: design.mde, default=None)


@dataclass(frozen=True, slots=True)
class Drift:
    """A round's second half against its first, as a ratio. `steady` is None where a round is too short to tell."""

    ratio: float | None
    ci_low: float | None
    ci_high: float | None

    @property
    def steady(self) -> bool | None:
        """False only when the whole interval lies beyond 3 %: a difference beyond noise."""
        if self.ci_low is None or self.ci_high is None:
            return None
        return self.ci_low <= 1 + STEADY_SHARE and self.ci_high >= 1 / (1 + STEADY_SHARE)


def drift(differences: Sequence[float], alpha: float = ALPHA) -> Drift:
    """How far the second half of a round lies from its first.

    `differences` has one number a cell: the mean logarithm of its later slices less that of its earlier ones. Slices
    are interleaved, so the cells share a drift of the machine; how much they disagree on it is the noise.
    """
    found = compare(differences, alpha)
    return Drift(found.ratio, found.ci_low, found.ci_high)


def _t_quantile(probability: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, probability))


@cache
def _shift(freedom: int, alpha: float) -> float:
    return _noncentrality(freedom, _t_quantile(1 - alpha / 2, freedom))


def _noncentrality(freedom: float, t: float) -> float:
    """The shift, in standard errors, at which a test with critical value t succeeds with 80 % probability.

    The tail on the wrong side is left out: at this power it is below one in a thousand.
    """
    return float(special.nctdtrinc(freedom, 1 - POWER, t))
