"""A second opinion on the rounds' log ratios, which a few odd rounds cannot move. Pure; docs/statistics.md explains.

The estimate is Hodges and Lehmann's, the median of the rounds' pairwise means; its interval has the shifts that
Wilcoxon's signed-rank test does not reject: Hodges, Lehmann, "Estimates of location based on rank tests", Ann. Math.
Statist. 34 (1963) 598-611; Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945) 80-83.
How the two belong together: Hollander, Wolfe, Chicken, "Nonparametric statistical methods", 3rd ed. (2014), ch. 3.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from lab.stats import ALPHA, Comparison


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """The same question asked without a bell curve. What so few rounds cannot say is None.

    `agrees` is False where one interval excludes 1 and the other does not, or where this ratio lies outside of
    Student's interval; None where either has no interval.
    """

    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    agrees: bool | None


def second_opinion(logs: Sequence[float], first: Comparison, alpha: float = ALPHA) -> SecondOpinion:
    """On the rounds that `first` judged, at the same alpha. Below six rounds no such interval has 95 %."""
    if not logs:
        return SecondOpinion(None, None, None, None, None)
    means = sorted((one + other) / 2 for i, one in enumerate(logs) for other in logs[i:])
    ratio = math.exp(statistics.median(means))
    left_out = _left_out(len(logs), alpha)
    if first.ci_low is None or first.ci_high is None or not left_out:
        return SecondOpinion(ratio, None, None, None, None)
    low, high = math.exp(means[left_out - 1]), math.exp(means[-left_out])
    same = first.excludes_one == (not low <= 1 <= high)
    return SecondOpinion(ratio, low, high, _p(logs), same and first.ci_low <= ratio <= first.ci_high)


def _p(logs: Sequence[float]) -> float:
    # Here, since it takes 1.5 s to load, and who only measures or prints does without it.
    from scipy.stats import wilcoxon  # noqa: PLC0415

    return float(wilcoxon(logs).pvalue)


def _left_out(n: int, alpha: float) -> int:
    """The interval ends at this one of the pairwise means, counted from either end; 0: there is none.

    It is one more than the largest rank sum whose probability, and that of all below it, is alpha / 2 at most.
    """
    ways = _rank_sums(n)
    within = alpha / 2 * sum(ways)
    return sum(below <= within for below in accumulate(ways))


@cache
def _rank_sums(n: int) -> tuple[int, ...]:
    """In how many of the 2**n ways to give signs to the ranks 1 to n the positive ones add up to 0, 1, 2, ..."""
    ways = [1]
    for rank in range(1, n + 1):
        ways = [a + b for a, b in zip(ways + [0] * rank, [0] * rank + ways, strict=True)]
    return tuple(ways)
