"""The highest rate without a failure: found where there is one, and never searched for ever."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from lab import search, testing
from lab.model import Limits
from lab.search import RFC7502, Parameters, Step

OURS = Parameters()


def counting(limit: float, seen: list[int]) -> Callable[[int], bool]:
    """A system that serves every rate up to its limit, and none above."""

    def fails(rate: int) -> bool:
        seen.append(rate)
        return rate > limit

    return fails


@pytest.mark.parametrize("limit", [1, 2, 7, 30, 399, 400, 401, 999, 1745, 2425, 8500, 40_000])
def test_a_limit_is_found_within_the_resolution(limit: int) -> None:
    """Never above it; below it by no more than the gap that counts as narrow."""
    rate, confirmed = search.find(OURS, counting(limit, []))
    assert confirmed
    assert rate is not None
    assert rate <= limit
    assert limit < max(rate + 2, math.ceil(rate * (1 + OURS.resolution)))


def test_any_limit_is_found_by_any_sensible_parameters() -> None:
    """Property: two hundred machines and as many ways of searching, seeded."""
    chance = random.Random(7502)  # noqa: S311  (no secret)
    for _ in range(200):
        parameters = Parameters(
            start_per_s=chance.randint(1, 5000),
            growth=chance.uniform(0.05, 2),
            resolution=chance.uniform(0.01, 0.2),
            tries=chance.randint(1, 3),
            confirmations=chance.randint(1, 10),
            steps=10_000,
        )
        limit = chance.randint(1, 20_000)
        rate, confirmed = search.find(parameters, counting(limit, []))
        assert confirmed
        assert rate is not None
        assert rate <= limit < max(rate + 2, math.ceil(rate * (1 + parameters.resolution)))


def test_a_lottery_comes_to_an_end() -> None:
    """Where each step fails by chance there is an answer all the same, after a bounded number of steps."""
    for seed in range(200):
        chance = random.Random(seed)  # noqa: S311  (no secret)
        seen: list[int] = []
        odds = chance.random()

        def fails(rate: int, odds: float = odds, chance: random.Random = chance, seen: list[int] = seen) -> bool:
            seen.append(rate)
            return chance.random() < odds

        search.find(OURS, fails)
        assert 0 < len(seen) <= OURS.steps
        assert min(seen) >= 1


def test_one_unlucky_step_moves_nothing() -> None:
    """A rate fails when two steps in a row do: a moment in which the host was away is no limit."""
    steps = 0

    def fails(rate: int) -> bool:
        nonlocal steps
        steps += 1
        return steps == 2 or rate > 2000

    rate, confirmed = search.find(OURS, fails)
    assert confirmed
    assert rate is not None
    assert rate > 1900


def test_a_rate_that_is_not_confirmed_is_lowered() -> None:
    """The last word has the rate that went so many times in a row."""
    seen: list[int] = []

    def fails(rate: int) -> bool:
        seen.append(rate)
        return rate > 1000 or (rate > 900 and seen.count(rate) > 1)

    rate, confirmed = search.find(replace(OURS, confirmations=3), fails)
    assert confirmed
    assert rate is not None
    assert 850 < rate <= 900
    assert seen[-3:] == [rate] * 3


def test_nothing_that_is_served_is_an_answer() -> None:
    """Not even one call a second."""
    assert search.find(OURS, lambda _: True) == (None, False)


def test_a_search_that_is_cut_off_is_not_confirmed() -> None:
    """Nothing ever fails, so nothing tells where to stop: the highest that went is no more than that."""
    seen: list[int] = []
    rate, confirmed = search.find(replace(OURS, steps=5), counting(math.inf, seen))
    assert not confirmed
    assert rate == seen[-1] == max(seen)
    assert len(seen) == 5


def test_the_rfc_multiplies_by_a_tenth_and_confirms_ten_times() -> None:
    """From 100 a second, in batches of 50 000; a failure lowers the rate by a tenth."""
    seen: list[int] = []
    rate, confirmed = search.find(RFC7502, counting(150, seen))
    assert seen == [100, 110, 121, 133, 146, 161, *[146] * 10]
    assert (rate, confirmed) == (146, True)
    assert {RFC7502.calls(rate) for rate in seen} == {50_000}


def test_a_step_lasts_as_long_as_it_should() -> None:
    """Calls by time, and at least so many."""
    assert OURS.calls(1000) == 1500
    assert replace(OURS, step_calls=2000).calls(1000) == 2000


@pytest.mark.parametrize(
    ("achieved", "found"),
    [((800.0, 800.0), 800), ((799.6, 801.2), 799), ((820.5, 812.0), 800), ((760.4, 800.0), 760), ((0.4, 1.0), 1)],
)
def test_a_rate_is_worth_what_its_confirmation_achieved(achieved: tuple[float, float], found: int) -> None:
    """Steps of a second may be off by some percent; what was found before, or failed, does not count."""
    step = Step("r01-s001-native", 800, 800, 0.0, 1.0, 800, None, None, None)
    steps = (
        replace(step, achieved_per_s=700.0),
        replace(step, achieved_per_s=600.0, failures=("retransmissions: 1",)),
        *(replace(step, achieved_per_s=one) for one in achieved),
        replace(step, achieved_per_s=600.0, rate_per_s=840, failures=("retransmissions: 1",)),
    )
    assert search.achieved(OURS, steps, 800) == found


@pytest.mark.parametrize(("waited_msec", "rate_per_s", "too_much"), [(0, 98, True), (200, 98, False), (200, 90, True)])
def test_waiting_for_a_turn_is_no_failure(waited_msec: int, rate_per_s: float, *, too_much: bool) -> None:
    """The last calls went later, so SIPp's rate over all of its time is lower; but no more than that explains."""
    (piece, *_) = testing.plan(calls=400, rate_per_s=100).rounds[0].slices
    made = testing.record(piece, testing.slice_log(piece))
    record = replace(made, sipp=replace(made.sipp, rate_per_s=rate_per_s), longest_wait_msec=waited_msec)
    assert bool(search.failures(record, Limits(), testing.SCENARIO)) is too_much
