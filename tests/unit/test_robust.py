"""The second opinion, held against scipy, a textbook, and rounds that are unlike the others."""

import math
import random
from itertools import pairwise

import pytest
from scipy import optimize, stats

from lab.robust import second_opinion
from lab.stats import compare

# Hollander and Wolfe's example 3.1: Hamilton's depression scale before and after a tranquilliser, nine patients.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
DIFFERENCES = [after - before for before, after in zip(BEFORE, AFTER, strict=True)]


def noise(seed: int, n: int, mean: float = 0.0) -> list[float]:
    """Rounds, the same every time."""
    draw = random.Random(seed)  # noqa: S311  (simulated rounds, no secret)
    return [draw.gauss(mean, 0.03) for _ in range(n)]


def test_the_textbooks_example() -> None:
    """Hollander and Wolfe, and R's wilcox.test: estimate -0.46, 95 % interval -0.786 to -0.010, p = 0.03906."""
    found = second_opinion(DIFFERENCES, compare(DIFFERENCES))
    assert math.log(found.ratio or 0) == pytest.approx(-0.46)
    assert math.log(found.ci_low or 0) == pytest.approx(-0.786)
    assert math.log(found.ci_high or 0) == pytest.approx(-0.010)
    assert found.p == pytest.approx(0.03906, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.05, 0.02])
@pytest.mark.parametrize("n", [8, 12, 21])
def test_the_interval_holds_the_shifts_that_wilcoxons_test_does_not_reject(n: int, alpha: float) -> None:
    """Just within its ends scipy's test does not reject, just outside it does."""
    logs = noise(n, n, 0.01)
    found = second_opinion(logs, compare(logs, alpha), alpha)
    for end, inwards in ((found.ci_low, 1e-9), (found.ci_high, -1e-9)):
        edge = math.log(end or 0)
        assert stats.wilcoxon([x - edge - inwards for x in logs]).pvalue > alpha
        assert stats.wilcoxon([x - edge + inwards for x in logs]).pvalue <= alpha


def test_the_estimate_is_where_the_signed_ranks_balance() -> None:
    """As Hodges and Lehmann define it."""
    logs = noise(63, 10, 0.05)  # 55 pairs: one is in the middle

    def imbalance(shift: float) -> float:
        ranks = stats.rankdata([abs(x - shift) for x in logs])
        return sum(rank if x > shift else -rank for rank, x in zip(ranks, logs, strict=True))

    balance = optimize.bisect(imbalance, min(logs), max(logs), xtol=1e-12)
    assert math.log(second_opinion(logs, compare(logs)).ratio or 0) == pytest.approx(balance, abs=1e-9)


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_rounds_have_no_second_interval(n: int) -> None:
    """Of five rounds even the boldest one is wrong in one run of sixteen: there is an estimate, and no more."""
    logs = noise(5, n)
    found = second_opinion(logs, compare(logs))
    assert found.ratio is not None
    assert (found.ci_low, found.ci_high, found.p, found.agrees) == (None, None, None, None)


def test_no_rounds_no_opinion() -> None:
    """Nothing fails."""
    assert second_opinion([], compare([])).ratio is None


def test_opinions_agree_on_ordinary_rounds() -> None:
    """With an effect and without one."""
    for mean in (0.0, 0.10):
        logs = noise(1, 12, mean)
        assert second_opinion(logs, compare(logs)).agrees


def test_one_odd_round_makes_them_disagree() -> None:
    """Eleven rounds 2 % slower and one that is half as fast again: Student sees nothing, the ranks see the eleven."""
    logs = [0.02 + x / 20 for x in noise(2, 11)] + [-0.40]
    first = compare(logs)
    found = second_opinion(logs, first)
    assert not first.excludes_one
    assert found.agrees is False
    assert found.ratio == pytest.approx(1.02, abs=0.004)


def test_rounds_without_spread_have_no_opinion() -> None:
    """Equal logarithms are made up or copied."""
    found = second_opinion([0.1] * 8, compare([0.1] * 8))
    assert found.ratio == pytest.approx(math.exp(0.1))
    assert (found.ci_low, found.agrees) == (None, None)


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    """Also where the noise is no bell curve: 3000 runs of ten rounds of a two-sided exponential."""
    draw = random.Random(1963)  # noqa: S311
    covered = 0
    for _ in range(3000):
        logs = [0.05 + draw.choice((-1, 1)) * draw.expovariate(30) for _ in range(10)]
        found = second_opinion(logs, compare(logs))
        covered += (found.ci_low or 0) <= math.exp(0.05) <= (found.ci_high or 0)
    assert 0.94 < covered / 3000 < 0.97


def test_a_smaller_alpha_makes_it_wider() -> None:
    """Down to where so few rounds have none."""
    logs = noise(9, 8)
    widths = []
    for alpha in (0.2, 0.1, 0.05, 0.02):
        found = second_opinion(logs, compare(logs, alpha), alpha)
        widths.append((found.ci_high or 0) / (found.ci_low or 1))
    assert all(narrow < wide for narrow, wide in pairwise(widths))
    assert second_opinion(logs, compare(logs, 0.005), 0.005).ci_low is None
