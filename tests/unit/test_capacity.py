"""The highest rates of a run, from its searches: mean and interval, and where SIPp may have been the limit."""

from dataclasses import replace
from pathlib import Path

import pytest

from lab import capacity, store, testing
from lab.errors import BadInputError
from lab.report import capacity as report
from lab.search import Parameters, Search, Step

RATES = (1700, 1750, 1800)
STEP = Step("r01-s001-native", 1000, 1500, 999.0, 1.5, 1500, 600_000, 300_000, 900_000, mysql_cpu_usec=450_000)
LOST = ("retransmissions: 12",)


def search(rate: int, number: int = 1, kind: str = "registration") -> Search:
    """One that went at its rate, and failed a little above it."""
    return Search(
        cell="native",
        kind=kind,
        round=number,
        parameters=Parameters(),
        bindings=0,
        steps=(
            replace(STEP, rate_per_s=rate),
            replace(STEP, rate_per_s=rate + 70, failures=LOST),
            replace(STEP, rate_per_s=3000, failures=("calls that did not succeed: 7 of 1500",)),
        ),
        rate_per_s=rate,
        confirmed=True,
        ended=True,
    )


def folder(path: Path, *searches: Search, ended: str = "complete", rounds: int = len(RATES)) -> Path:
    """A sealed run that has these."""
    run = store.Run.create(path, "capacity")
    store.dump(testing.plan(engines=("native",), rounds=rounds), run.evidence / "plan.json")
    (run.evidence / capacity.SEARCHES).mkdir()
    for number, one in enumerate(searches):
        store.dump(one, run.evidence / capacity.SEARCHES / f"{number}.json")
    run.seal(ended)
    return run.folder


def three() -> list[Search]:
    """One a round."""
    return [search(rate, number) for number, rate in enumerate(RATES, start=1)]


def only(found: capacity.Capacity) -> capacity.Rate:
    """The one rate of the one cell."""
    (rate,) = found.cells["native"].rates
    return rate


def test_rounds_give_a_mean_and_an_interval(tmp_path: Path) -> None:
    """The geometric mean, and Student's interval of the logarithms with two degrees of freedom (by hand: t = 4.303)."""
    found = capacity.write(folder(tmp_path, *three()))
    rate = only(found)
    assert found.valid
    assert rate.rate_per_s == pytest.approx(1749.5, abs=0.1)
    assert rate.ci_low == pytest.approx(1629.6, abs=0.5)
    assert rate.ci_high == pytest.approx(1878.2, abs=0.5)
    assert store.load(capacity.Capacity, tmp_path / found.run / "capacity.json") == found


def test_one_round_has_no_interval(tmp_path: Path) -> None:
    """And says so by having none."""
    found = capacity.compute(folder(tmp_path, search(1700), rounds=1))
    assert only(found).rate_per_s == pytest.approx(1700)
    assert only(found).ci_low is None
    assert "95 % interval" not in report.text(found, tmp_path)


def test_equal_rounds_have_no_interval(tmp_path: Path) -> None:
    """It would be of no width; the report says why there is none."""
    found = capacity.compute(folder(tmp_path, *(search(1700, number) for number in (1, 2, 3))))
    assert found.valid
    assert only(found).ci_low is None
    assert "= 1700 per s, no interval: every round found the same rate (rounds" in report.text(found, tmp_path)


def test_figures_beside_a_rate_are_of_the_steps_that_offered_it(tmp_path: Path) -> None:
    """Though they achieved a little less, which is the rate; what failed above it failed above what was offered."""
    found = replace(search(1700), rate_per_s=1690, offered_per_s=1700)
    (point,) = only(capacity.compute(folder(tmp_path, found, rounds=1))).points
    assert point.rate_per_s == 1690
    assert point.mysql_cpu_share == pytest.approx(0.3)
    assert point.worker_share
    assert point.limit == LOST[0]


def test_without_latency_lines_nobody_knows_how_busy_workers_were(tmp_path: Path) -> None:
    """Which is not the same as idle."""
    one = search(1700)
    found = replace(one, steps=tuple(replace(step, routing_usec=None) for step in one.steps))
    (point,) = only(capacity.compute(folder(tmp_path, found, rounds=1))).points
    assert point.worker_share is None


def test_a_search_that_took_long_is_noted(tmp_path: Path) -> None:
    """Two minutes are its time; the report has all of them."""
    seconds = (64.2, 119.9, 143.0)
    found = capacity.compute(
        folder(tmp_path, *(replace(one, seconds=took) for one, took in zip(three(), seconds, strict=True)))
    )
    assert found.notes == ("native, registration, round 3: took 143 s, more than 120",)
    assert "The search took 64, 120, 143 s" in report.text(found, tmp_path)


def test_the_report_has_the_names_of_rfc_7502(tmp_path: Path) -> None:
    """Registration first, then re-registration; what failed above a rate says what its limit is."""
    again = [replace(one, kind="re-registration") for one in three()]
    lines = report.text(capacity.compute(folder(tmp_path, *again, *three())), tmp_path).splitlines()
    names = [line.partition(" = ")[0].strip() for line in lines if " = " in line]
    assert names[:3] == ["SIP Transport Protocol", "Session Attempt Rate", "Establishment Threshold Time"]
    assert [name for name in names if name.endswith("istration Rate")] == ["Registration Rate", "Re-registration Rate"]
    assert "  Registration Rate = 1750 per s, 95 % interval 1630 to 1878 (rounds: 1700, 1750, 1800)" in lines
    assert "    Total Sessions Attempted = 13500" in lines
    assert "    Database at that rate: 30% of a CPU at most" in lines
    assert "    what failed above: retransmissions: 12" in lines


@pytest.mark.parametrize(
    ("changed", "of_steps", "least"),
    [
        ({}, {}, False),
        ({}, {"sipp_cpu_usec": None}, False),
        ({}, {"sipp_cpu_usec": 1_300_000}, True),
        ({"sipp_processes": 2}, {"sipp_cpu_usec": 1_300_000}, False),
        ({"ceiling_per_s": 8000}, {}, False),
        ({"ceiling_per_s": 2200}, {}, True),
        ({}, {"failures": ()}, True),
    ],
    ids=["idle", "not read", "busy", "two of them", "far from its ceiling", "near its ceiling", "nothing failed"],
)
def test_where_sipp_may_be_the_limit_it_is_at_least(
    tmp_path: Path, changed: dict[str, int], of_steps: dict[str, object], *, least: bool
) -> None:
    """So that nobody takes the generator's limit for Kamailio's."""
    searches = [
        replace(one, steps=tuple(replace(step, **of_steps) for step in one.steps), **changed)  # type: ignore[arg-type]
        for one in three()
    ]
    found = capacity.compute(folder(tmp_path, *searches))
    assert only(found).at_least == least
    assert ("= at least 1750 per s" in report.text(found, tmp_path)) == least


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        (replace(search(1700), confirmed=False), "not confirmed within 3 steps"),
        (replace(search(1700), rate_per_s=None, confirmed=False, problem="not even 1/s went"), "not even 1/s went"),
        (replace(search(1700), rate_per_s=None, confirmed=False, ended=False), "broken off"),
    ],
)
def test_a_search_without_a_confirmed_rate_makes_no_valid_run(tmp_path: Path, spoiled: Search, said: str) -> None:
    """The others keep theirs."""
    found = capacity.compute(folder(tmp_path, spoiled, *three()[1:]))
    assert not found.valid
    assert any(said in note for note in found.notes)
    assert said in report.text(found, tmp_path)
    assert only(found).rate_per_s


def test_a_run_that_was_broken_off_is_not_valid(tmp_path: Path) -> None:
    """Whether it says so, or a round is missing."""
    assert not capacity.compute(folder(tmp_path, *three(), ended="interrupted")).valid
    assert not capacity.compute(folder(tmp_path, *three()[:2])).valid


def test_what_is_known_not_to_work_is_no_fault_of_the_run(tmp_path: Path) -> None:
    """It is told all the same."""
    run = folder(
        tmp_path, *three(), replace(search(1), cell="lua", rate_per_s=None, confirmed=False, problem="it died")
    )
    plan = testing.known(testing.plan(engines=("native", "lua"), rounds=3), "lua", known_broken="it leaks")
    store.dump(plan, run / "evidence" / "plan.json")
    found = capacity.compute(run)
    assert found.valid
    assert [note for note in found.notes if note.startswith("lua")] == [
        "lua: known to be broken: it leaks",
        "lua, registration, round 1: it died",
    ]


def test_a_run_without_a_search_has_nothing_to_show(tmp_path: Path) -> None:
    """Bad input, not a traceback."""
    with pytest.raises(BadInputError, match="no search has begun"):
        capacity.compute(folder(tmp_path))
