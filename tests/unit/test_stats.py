"""Statistics, held against published examples, scipy's own implementations, and simulation."""

import math
import random
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import optimize, stats

from lab.stats import (
    Comparison,
    Spread,
    at_level,
    best_design,
    compare,
    detectable,
    deviation,
    drift,
    holm,
    log_ratios,
    ratio_of_means,
    spread,
)

# Student (1908): extra hours of sleep under two drugs, patient by patient; the first paired interval ever published.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


def draws(seed: int) -> random.Random:
    """Noise that is the same every time."""
    return random.Random(seed)  # noqa: S311  (simulated rounds, no secret)


def test_students_sleep_data_give_the_published_interval() -> None:
    """R's help page for `sleep` prints 0.7001142 to 2.4598858 around 1.58, p = 0.002833."""
    found = compare(SLEEP)
    assert math.log(found.ratio or 0) == pytest.approx(1.58)
    assert math.log(found.ci_low or 0) == pytest.approx(0.7001142, abs=1e-6)
    assert math.log(found.ci_high or 0) == pytest.approx(2.4598858, abs=1e-6)
    assert found.p == pytest.approx(0.002833, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_and_p_agree_with_scipy(n: int, alpha: float) -> None:
    """scipy.stats.ttest_1samp goes its own way to the same numbers."""
    draw = draws(n)
    logs = [draw.gauss(0.02, 0.05) for _ in range(n)]
    found = compare(logs, alpha=alpha)
    other = stats.ttest_1samp(logs, 0.0)
    low, high = other.confidence_interval(1 - alpha)
    assert found.ratio == pytest.approx(math.exp(fmean(logs)))
    assert (found.ci_low, found.ci_high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.p == pytest.approx(other.pvalue)
    assert found.n_rounds == n


def test_detectable_effect_agrees_with_cohens_sample_size() -> None:
    """Half a standard deviation needs 34 observations for 80 % power (two-sided, 5 %): 33 are not quite enough."""
    assert _detectable_in_deviations(33) > 0.5 > _detectable_in_deviations(34)


@pytest.mark.parametrize("n", [2, 3, 6, 12])
def test_detectable_effect_is_where_power_reaches_eighty_percent(n: int) -> None:
    """The root of the power function, found by bisection on scipy's noncentral t."""
    t = stats.t.ppf(0.975, n - 1)
    shift = float(optimize.brentq(lambda nc: stats.nct.sf(t, n - 1, nc) - 0.80, 0.1, 50))
    assert _detectable_in_deviations(n) == pytest.approx(shift / math.sqrt(n), rel=1e-5)


def _detectable_in_deviations(n: int) -> float:
    """The effect detectable with n rounds, as a multiple of their standard deviation."""
    logs = [0.01 * (-1) ** i for i in range(n)]
    return math.log1p(compare(logs).mde or 0) / float(stdev(logs))


def test_no_round_says_nothing() -> None:
    """Everything is None, and nothing fails."""
    assert compare([]) == Comparison(None, None, None, None, 0)


def test_one_round_has_a_ratio_but_no_interval() -> None:
    """One number has no spread, and without an interval nothing excludes 1."""
    found = compare([math.log(1.25)])
    assert found.ratio == pytest.approx(1.25)
    assert found == Comparison(found.ratio, None, None, None, 1)
    assert not found.excludes_one


@pytest.mark.parametrize("logs", [[0.0, 0.0, 0.0], [math.log(1.1)] * 4, [0.1, 0.1 + 1e-16, 0.1]])
def test_rounds_without_any_spread_claim_no_certainty(logs: list[float]) -> None:
    """Equal logarithms are made up or copied; a point for an interval would be the boldest claim of all."""
    found = compare(logs)
    assert found.ratio == pytest.approx(math.exp(logs[0]))
    assert (found.ci_low, found.ci_high, found.mde, found.p) == (None, None, None, None)


def test_the_inverse_ratio_has_the_inverse_interval() -> None:
    """It must not matter which of two cells is called the baseline."""
    logs = [0.11, 0.15, 0.08, 0.13]
    there, back = compare(logs), compare([-x for x in logs])
    assert back.ci_low == pytest.approx(1 / (there.ci_high or 0))
    assert back.ci_high == pytest.approx(1 / (there.ci_low or 0))
    assert back.mde == pytest.approx(there.mde)


def test_excludes_one_only_when_the_whole_interval_is_on_one_side() -> None:
    """The question that is put to the A/A cell."""
    assert compare([0.10, 0.11, 0.12]).excludes_one
    assert compare([-0.10, -0.11, -0.12]).excludes_one
    assert not compare([-0.10, 0.11, 0.12]).excludes_one


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """5000 simulated runs of five rounds: 95 % of the intervals hold the true ratio, and the A/A arm excludes 1 in 5 %.

    Binomial error of the estimate: 0.3 %.
    """
    draw = draws(2018)
    truth = math.log(1.07)
    covered = 0
    for _ in range(5000):
        found = compare([draw.gauss(truth, 0.05) for _ in range(5)])
        covered += (found.ci_low or 0) <= 1.07 <= (found.ci_high or 0)
    assert covered / 5000 == pytest.approx(0.95, abs=0.012)


def test_an_effect_of_the_detectable_size_is_found_four_times_in_five() -> None:
    """What `mde` promises, seen in 4000 simulated runs of six rounds."""
    draw = draws(1908)
    deviation, n = 0.05, 6
    effect = deviation * _detectable_in_deviations(n)
    found = sum(compare([draw.gauss(effect, deviation) for _ in range(n)]).excludes_one for _ in range(4000))
    assert found / 4000 == pytest.approx(0.80, abs=0.025)


def test_log_ratios_pair_rounds_and_leave_out_those_with_one_side_only() -> None:
    """A round in which one cell has no valid slice compares nothing."""
    logs = log_ratios({1: 110.0, 2: 90.0, 4: 50.0}, {1: 100.0, 2: 100.0, 3: 70.0})
    assert logs == pytest.approx([math.log(1.1), math.log(0.9)])


@pytest.mark.parametrize("nothing", [0.0, -1.0, math.nan, math.inf])
def test_log_ratios_leave_out_what_is_no_time(nothing: float) -> None:
    """It has no logarithm, and no clock measures it."""
    assert log_ratios({1: nothing, 2: 4.0}, {1: 5.0, 2: 2.0}) == pytest.approx([math.log(2)])
    assert log_ratios({1: 5.0, 2: 4.0}, {1: nothing, 2: 2.0}) == pytest.approx([math.log(2)])


def test_what_is_no_number_excludes_nothing() -> None:
    """Rather than passing for a difference."""
    for nothing in (math.nan, math.inf):
        assert compare([nothing, 0.1, 0.2]) == Comparison(None, None, None, None, 3)
    assert not Comparison(1.0, math.nan, math.nan, None, 3).excludes_one


@pytest.mark.parametrize("alpha", [0.05, 0.02])
def test_an_interval_can_be_taken_to_another_level(alpha: float) -> None:
    """And back; its spread is that of the rounds."""
    draw = draws(7)
    logs = [draw.gauss(0.02, 0.05) for _ in range(8)]
    found = compare(logs, alpha)
    assert deviation(found, alpha) == pytest.approx(stdev(logs))
    there = at_level(found, alpha, 0.01)
    expected = compare(logs, 0.01)
    assert (there.ci_low, there.ci_high) == pytest.approx((expected.ci_low, expected.ci_high))
    nothing = compare([0.1])
    assert (deviation(nothing), at_level(nothing, 0.05, 0.01)) == (None, nothing)


# --- slices and rounds ------------------------------------------------------------------------------------------------

NOISE = Spread(between_slices=0.06, between_rounds=0.01)


def test_components_of_variance_agree_with_the_textbook() -> None:
    """Mean squares by hand: within 4, between 38 over groups of 2, so (38 - 4) / 2 = 17 between."""
    found = spread([[1.0, 3.0], [9.0, 7.0], [5.0 + math.sqrt(2), 5.0 - math.sqrt(2)]])
    assert found
    assert found.between_slices**2 == pytest.approx((2 + 2 + 4) / 3)
    assert found.between_rounds**2 == pytest.approx((2 * (9 + 9 + 0) / 2 - (2 + 2 + 4) / 3) / 2)


def test_rounds_that_differ_by_less_than_their_slices_explain_add_nothing() -> None:
    """A variance below zero is none."""
    found = spread([[1.0, -1.0], [1.0, -1.0], [1.1, -1.1]])
    assert found
    assert found.between_rounds == 0


@pytest.mark.parametrize("rounds", [[], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 2.0], []]])
def test_one_round_or_single_slices_have_no_components(rounds: list[list[float]]) -> None:
    """Nothing tells the two apart."""
    assert spread(rounds) is None


@pytest.mark.parametrize(("rounds", "slices", "noise"), [(10, 20, NOISE), (3, 60, NOISE), (6, 1, Spread(0.06, 0))])
def test_a_designs_effect_is_found_four_times_in_five(rounds: int, slices: int, noise: Spread) -> None:
    """Noise between slices and between rounds, as it is named: 80 % power, and 95 % of intervals hold the truth.

    20 000 simulated runs; the binomial error is 0.3 % and 0.15 %.
    """
    effect = math.log1p(detectable(noise, rounds, slices))
    draw = np.random.default_rng(1908)
    error = draw.normal(0, noise.between_rounds, (20_000, rounds))
    error += draw.normal(0, noise.between_slices, (20_000, rounds, slices)).mean(axis=2)
    logs = effect + error
    half = stats.t.ppf(0.975, rounds - 1) * logs.std(axis=1, ddof=1) / math.sqrt(rounds)
    assert (np.abs(logs.mean(axis=1)) > half).mean() == pytest.approx(0.80, abs=0.012)
    assert (np.abs(logs.mean(axis=1) - effect) < half).mean() == pytest.approx(0.95, abs=0.006)


def test_what_a_run_says_of_its_own_noise_is_good_enough() -> None:
    """The effect that a run of ten rounds calls detectable is found with 80 % power, give or take a few, on average."""
    draw, rounds, slices = np.random.default_rng(1995), 10, 20
    error = math.sqrt((NOISE.between_rounds**2 + NOISE.between_slices**2 / slices) / rounds)
    t, power = stats.t.ppf(0.975, rounds - 1), []
    for _ in range(200):
        logs = draw.normal(0, NOISE.between_rounds, (rounds, 1))
        logs = logs + draw.normal(0, NOISE.between_slices, (rounds, slices))
        estimated = spread(logs.tolist())
        assert estimated
        power.append(stats.nct.sf(t, rounds - 1, math.log1p(detectable(estimated, rounds, slices)) / error))
    assert fmean(power) == pytest.approx(0.80, abs=0.06)


def test_the_best_design_fits_and_none_that_fits_is_better() -> None:
    """Every number of rounds, each with as many slices as there is time for."""
    found = best_design(NOISE, 600, round_seconds=12, pair_seconds=2.7)
    assert found
    assert found.rounds * (12 + found.slices * 2.7) <= 600
    others = [(rounds, int((600 / rounds - 12) / 2.7)) for rounds in range(2, 40)]
    assert found.mde == min(detectable(NOISE, *other) for other in others)


def test_noise_between_rounds_asks_for_more_of_them() -> None:
    """Where rounds alike, long ones pay off."""
    few, many = (best_design(Spread(0.06, between), 600, round_seconds=12, pair_seconds=2.7) for between in (0.0, 0.05))
    assert few
    assert many
    assert few.rounds < many.rounds


def test_too_short_a_time_detects_nothing() -> None:
    """Two rounds of a slice do not fit into it."""
    assert best_design(NOISE, 29, round_seconds=12, pair_seconds=2.7) is None


# --- a ratio of means that nothing pairs ------------------------------------------------------------------------------


def test_fiellers_interval_has_the_ratios_that_a_test_does_not_reject() -> None:
    """At its ends Welch's statistic of values - ratio * baseline is just the quantile; scipy gives that."""
    values, baseline = [75.2, 73.8, 77.1, 74.0], [59.2, 61.0, 58.1]
    found = ratio_of_means(values, baseline)
    assert found.ratio == pytest.approx(fmean(values) / fmean(baseline))
    own, theirs = (stdev(each) ** 2 / len(each) for each in (values, baseline))
    freedom = (own + theirs) ** 2 / (own**2 / 3 + theirs**2 / 2)
    for bound in (found.ci_low, found.ci_high):
        assert bound is not None
        distance = abs(fmean(values) - bound * fmean(baseline))
        assert distance / math.sqrt(own + bound**2 * theirs) == pytest.approx(stats.t.ppf(0.975, freedom))
    assert (found.ci_low or 0) < (found.ratio or 0) < (found.ci_high or 0)


@pytest.mark.parametrize(("values", "baseline"), [([], []), ([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0])])
def test_one_value_has_no_spread_and_so_no_ratio_to_tell(values: list[float], baseline: list[float]) -> None:
    """On either side."""
    assert ratio_of_means(values, baseline) == Comparison(None, None, None, None, 0)


def test_a_baseline_that_may_be_zero_gives_no_interval() -> None:
    """The ratio could then be anything."""
    found = ratio_of_means([10.0, 11.0, 12.0], [1.0, -1.0, 0.6])
    assert found.ratio is not None
    assert (found.ci_low, found.ci_high, found.n_rounds) == (None, None, 0)


def test_unpaired_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Spreads and numbers of runs that differ, as the page's do: 95 % of 2000, within what chance allows."""
    draw, hit = draws(1954), 0
    for _ in range(2000):
        values = [draw.gauss(120, 6) for _ in range(5)]
        baseline = [draw.gauss(100, 2) for _ in range(8)]
        found = ratio_of_means(values, baseline)
        hit += (found.ci_low or math.inf) <= 1.2 <= (found.ci_high or -math.inf)
    assert hit / 2000 == pytest.approx(0.95, abs=0.02)


def test_holm_gives_the_textbook_adjustment() -> None:
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02."""
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


def test_holm_leaves_a_single_hypothesis_alone_and_never_exceeds_one() -> None:
    """A family of one needs no care; a probability ends at 1."""
    assert holm({"lua": 0.04}) == {"lua": 0.04}
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_holm_keeps_the_familys_error_rate() -> None:
    """Three engines equal to native: any of them stands out in about 5 % of runs, not in 14 %."""
    draw = draws(1979)
    alarms = 0
    for _ in range(2000):
        family = {engine: compare([draw.gauss(0, 0.05) for _ in range(4)]).p or 0 for engine in "abc"}
        alarms += min(holm(family).values()) < 0.05
    assert alarms / 2000 == pytest.approx(0.05, abs=0.015)


def test_a_round_that_slows_down_is_not_steady() -> None:
    """All cells agree that it does, by ten percent."""
    found = drift([0.10, 0.11, 0.09, 0.10])
    assert found.ratio == pytest.approx(math.exp(0.10))
    assert found.steady is False
    assert drift([-0.10, -0.11, -0.09, -0.10]).steady is False


def test_a_difference_within_noise_or_within_three_percent_is_steady() -> None:
    """Ten percent on which the cells do not agree, and two percent that are sure: both pass."""
    assert drift([0.30, -0.10, 0.25, -0.05]).steady is True
    assert drift([0.020, 0.021, 0.019, 0.020]).steady is True


def test_steady_rounds_are_called_so() -> None:
    """Cells that scatter without a drift: at most one round in twenty is called not steady."""
    draw = draws(1908)
    unsteady = sum(drift([draw.gauss(0, 0.06) for _ in range(4)]).steady is False for _ in range(2000))
    assert unsteady / 2000 < 0.05


@pytest.mark.parametrize("differences", [[], [0.2], [0.2, 0.2]])
def test_a_round_too_short_to_judge_is_neither_steady_nor_unsteady(differences: list[float]) -> None:
    """No cell with two halves, one alone, or no spread at all."""
    assert drift(differences).steady is None
