"""What may be said of a candidate: each verdict, and each reason not to give one."""

import math
from dataclasses import replace

import pytest

from lab.stats import Comparison
from lab.verdict import Leg, Ruling, Verdict, of_all, of_leg

DELTA = 0.03


def between(low: float, high: float) -> Comparison:
    """A ratio in the middle of its interval."""
    return Comparison(math.sqrt(low * high), low, high, 0.01, 8)


QUIET = Leg("challenge", between(0.99, 1.01), aa=between(0.995, 1.006), aa_wide=between(0.99, 1.01))


@pytest.mark.parametrize(
    ("low", "high", "verdict", "said"),
    [
        (1.031, 1.08, Verdict.REGRESSION, "slower by 3.1 % at least"),
        (1.029, 1.08, Verdict.INCONCLUSIVE, "may be slower by 8.0 %, or by 2.9 %"),
        (0.99, 1.031, Verdict.INCONCLUSIVE, "may be slower by 3.1 %"),
        (0.99, 1.029, Verdict.PASS, "slower by 2.9 % at most"),
        (1.005, 1.029, Verdict.PASS, "slower by 2.9 % at most"),  # a slowdown that was allowed
        (0.95, 0.99, Verdict.PASS, "slower by 0.0 % at most"),
        (0.90, 0.969, Verdict.IMPROVEMENT, "faster by 3.1 % at least"),
        (0.80, 1.30, Verdict.INCONCLUSIVE, "may be slower by 30.0 %"),
    ],
)
def test_an_interval_decides(low: float, high: float, verdict: Verdict, said: str) -> None:
    """Regression, if all of it lies beyond 1 + delta; pass, if all of it lies below; else nobody knows."""
    ruling = of_leg(replace(QUIET, found=between(low, high)), DELTA)
    assert ruling.verdict == verdict
    assert said in ruling.reason


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.031, 1.05, Verdict.REGRESSION),
        (1.029, 1.059, Verdict.PASS),
        (1.029, 1.061, Verdict.INCONCLUSIVE),
        (0.80, 0.90, Verdict.PASS),
    ],
)
def test_an_allowance_passes_more_and_condemns_the_same(low: float, high: float, verdict: Verdict) -> None:
    """And sees no improvement."""
    assert of_leg(replace(QUIET, found=between(low, high), allowance=2), DELTA).verdict == verdict


def test_an_allowance_bears_as_much_noise_of_the_base() -> None:
    """As it claims."""
    leg = replace(QUIET, aa=between(0.95, 1.05), aa_wide=between(0.94, 1.06))
    assert of_leg(leg, DELTA).verdict == Verdict.INCONCLUSIVE
    assert of_leg(replace(leg, allowance=2), DELTA).verdict == Verdict.PASS


@pytest.mark.parametrize("verdict", [(1.10, 1.15), (0.99, 1.01), (0.80, 0.85)])
def test_a_base_that_differs_from_itself_is_no_base(verdict: tuple[float, float]) -> None:
    """At 99 %, so that a gate is not stopped by chance in every twentieth leg."""
    leg = replace(QUIET, found=between(*verdict), aa_wide=between(1.001, 1.02))
    ruling = of_leg(leg, DELTA)
    assert ruling.verdict == Verdict.INCONCLUSIVE
    assert "the base differs from itself (1.001 to 1.020)" in ruling.reason


def test_noise_that_is_larger_than_what_is_claimed_forbids_the_claim() -> None:
    """A slowdown of 6 %, where the base may differ from itself by 7 %."""
    leg = replace(QUIET, found=between(1.04, 1.08), aa=between(0.95, 1.07), aa_wide=between(0.93, 1.09))
    assert of_leg(leg, DELTA) == Ruling(
        Verdict.INCONCLUSIVE,
        "it is slower by 4.0 % at least, but the base may differ from itself by 7.0 %, which is more",
    )
    assert of_leg(replace(leg, found=between(1.10, 1.14)), DELTA).verdict == Verdict.REGRESSION


def test_a_pass_claims_no_more_than_delta() -> None:
    """So the base must not differ from itself by more than that."""
    leg = replace(QUIET, aa=between(0.98, 1.04), aa_wide=between(0.97, 1.05))
    assert of_leg(leg, DELTA).verdict == Verdict.INCONCLUSIVE
    assert of_leg(leg, 0.05).verdict == Verdict.PASS


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Comparison(None, None, None, None, 0), "no round, so no interval"),
        (Comparison(1.2, None, None, None, 1), "one round, so no interval"),
        (Comparison(1.2, None, None, None, 8), "rounds without any spread, so no interval"),
        (Comparison(math.nan, math.nan, math.nan, math.nan, 8), "it may be slower by nan %, or by nan %"),
        (Comparison(math.inf, 0.5, math.inf, math.inf, 8), "it may be slower by inf %, or by -50.0 %"),
    ],
)
def test_without_an_interval_there_is_no_verdict(found: Comparison, said: str) -> None:
    """However large the ratio is."""
    assert of_leg(replace(QUIET, found=found), DELTA) == Ruling(Verdict.INCONCLUSIVE, said)


def test_without_an_interval_of_the_base_against_itself_there_is_none_either() -> None:
    """It would be a claim that nothing holds up."""
    nothing = Comparison(1.0, None, None, None, 1)
    for leg in (replace(QUIET, aa=nothing), replace(QUIET, aa_wide=nothing)):
        assert of_leg(leg, DELTA).verdict == Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([], Verdict.INCONCLUSIVE),
        ([Verdict.PASS, Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.IMPROVEMENT], Verdict.IMPROVEMENT),
        ([Verdict.IMPROVEMENT, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE),
        ([Verdict.PASS, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE),
        ([Verdict.INCONCLUSIVE, Verdict.REGRESSION, Verdict.IMPROVEMENT], Verdict.REGRESSION),
        ([Verdict.REGRESSION, Verdict.INVALID], Verdict.INVALID),
    ],
)
def test_one_leg_speaks_for_all(verdicts: list[Verdict], whole: Verdict) -> None:
    """One that is slower condemns; nothing passes while one is not known; nothing at all is no pass."""
    assert of_all([Ruling(verdict, "") for verdict in verdicts]) == whole
