"""Several looks: the published constants, and that they keep what they promise."""

import math

import pytest
from scipy import stats

from lab import sequential
from lab.sequential import nominal_alpha

# Pocock (1977), table 1; Jennison and Turnbull (2000), table 2.1: C_P(K, 0.05) for K equally spaced looks.
POCOCK = {1: 1.960, 2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413}


@pytest.mark.parametrize("looks", POCOCK)
def test_equally_spaced_looks_have_pococks_constants(looks: int) -> None:
    """To the three decimals of the tables."""
    alpha = nominal_alpha(tuple(4 * (look + 1) for look in range(looks)))
    assert stats.norm.isf(alpha / 2) == pytest.approx(POCOCK[looks], abs=1.5e-3)


def test_at_one_percent() -> None:
    """C_P(3, 0.01) = 2.873."""
    assert stats.norm.isf(nominal_alpha((5, 10, 15), 0.01) / 2) == pytest.approx(2.873, abs=3e-3)


def test_looks_that_follow_closely_cost_less() -> None:
    """They see nearly the same."""
    assert nominal_alpha((10, 11, 12)) > nominal_alpha((4, 8, 12)) > 0.05 / 3


def test_it_is_the_same_every_time() -> None:
    """It goes into the plan, and so into its hash."""
    looks = (5, 8, 12, 20)
    first = nominal_alpha(looks)
    nominal_alpha.cache_clear()
    assert nominal_alpha(looks) == first


@pytest.mark.parametrize(
    ("looks", "rounds", "said"),
    [
        ([5, 8, 12], 12, ""),
        ([12], 12, ""),
        ([], 12, "that rise"),
        ([8, 5, 12], 12, "that rise"),
        ([5, 5, 12], 12, "that rise"),
        ([1, 12], 12, "no interval"),
        ([5, 8], 12, "the last look"),
        ([5, 15], 12, "the last look"),
        ([2, 3, 4, 6, 8, 10, 12], 12, "at most 6"),
    ],
)
def test_looks_that_will_not_do_are_told(looks: list[int], rounds: int, said: str) -> None:
    """In words that name what is expected."""
    found = sequential.problem(looks, rounds)
    assert said in found
    assert bool(said) == bool(found)


def test_a_look_by_itself_is_no_rule() -> None:
    """It has the whole alpha."""
    assert nominal_alpha((7,)) == nominal_alpha(()) == 0.05
    assert math.isclose(nominal_alpha((7,), 0.01), 0.01)
