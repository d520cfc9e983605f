"""Looking at the rounds more than once, by a rule that was declared before: when to look, and how sure to be each time.

A test that looks five times at 5 % is wrong in 14 % of all runs. So each look is at a smaller alpha, the same at all of
them (Pocock, "Group sequential methods in the design and analysis of clinical trials", Biometrika 64 (1977) 191-199),
and Student's t at that alpha stands in for the normal, since the variance is not known (Jennison, Turnbull, "Group
sequential methods with applications to clinical trials" (2000), sections 2.4 and 4.4). The intervals at all looks hold
the truth together in 1 - alpha of all runs ("repeated confidence intervals", Jennison, Turnbull, J. R. Statist. Soc. B
51 (1989) 305-361): so whoever stops at one of them, for whatever reason, has not cheated.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from lab.stats import ALPHA

MOST_LOOKS = 6  # with more, the integral behind alpha takes many seconds


@cache
def nominal_alpha(looks: tuple[int, ...], alpha: float = ALPHA) -> float:
    """The alpha of each look, after so many rounds, that makes all of them wrong in `alpha` of all runs together.

    `looks` counts rounds and rises, such as (5, 8, 12). The logarithms' sums after i and j rounds (i < j) correlate by
    sqrt(i / j), whatever their variance.
    """
    if len(looks) < 2:  # noqa: PLR2004
        return alpha
    # Here, since it takes 1.5 s to load, and few experiments look more than once.
    from scipy import optimize, stats  # noqa: PLC0415

    rounds = np.array(looks, dtype=float)
    joint = stats.multivariate_normal(cov=np.sqrt(np.minimum.outer(rounds, rounds) / np.maximum.outer(rounds, rounds)))

    def too_often(bound: float) -> float:
        """How much more often than wanted some look goes beyond it: of an integral without chance, by a fixed seed."""
        edge = np.full(len(looks), bound)
        inside = joint.cdf(edge, lower_limit=-edge, rng=np.random.default_rng(1))
        return 1 - float(inside) - alpha

    least, most = (float(stats.norm.isf(each / 2)) for each in (alpha, alpha / len(looks)))
    return 2 * float(stats.norm.sf(optimize.brentq(too_often, least, most, xtol=1e-4)))


def problem(looks: Sequence[int], rounds: int) -> str:
    """What is wrong with these looks in so many rounds; nothing where they will do."""
    if list(looks) != sorted(set(looks)) or not looks:
        return "numbers of rounds that rise, such as [5, 8, 12], expected"
    if looks[0] < 2:  # noqa: PLR2004
        return "after one round there is no interval to look at"
    if looks[-1] != rounds:
        return f"the last look is after the last round, which is number {rounds}"
    return f"at most {MOST_LOOKS} looks" if len(looks) > MOST_LOOKS else ""
