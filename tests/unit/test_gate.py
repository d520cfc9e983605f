"""What a gate decides from its rounds: when it knows enough, what one run says, and what two say together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from lab import gate, sequential, stats, testing, trimmed
from lab.gate import Attempt, Gate
from lab.latency import Times
from lab.model import SliceRecord
from lab.report import gate as page
from lab.running import Running, narrow_enough, whole_mean
from lab.verdict import Leg, Verdict

LOOKS = (3, 6)
CANDIDATE = "lua-candidate"
PLAN = replace(
    testing.plan(engines=("lua-base", CANDIDATE), rounds=6),
    looks=LOOKS,
    alpha=sequential.nominal_alpha(LOOKS),
)
NAMES = [cell.name for cell in PLAN.cells]
# By round: no two are alike, as nothing is that was measured.
WOBBLE = (1.000, 1.004, 0.997, 1.002, 0.999, 1.003)


LEGS = {"challenge": 50_000, "authenticated": 300_000}


def after(
    rounds: int, ratio: float, aa: float = 1.0, noise: float = 1.0, tails: Mapping[str, float] | None = None
) -> Running:
    """What the slices of so many rounds say; of a cell in `tails` one request in a hundred takes so much longer."""
    running = Running()
    for planned in PLAN.rounds[:rounds]:
        for piece in planned.slices:
            wobble = 1 + (WOBBLE[(planned.number + NAMES.index(piece.cell)) % 6] - 1) * noise
            factor = {CANDIDATE: ratio, "lua-base-aa": aa}.get(piece.cell, 1.0) * wobble
            running.add(
                *a_slice(
                    piece.cell, planned.number, factor, warmup=piece.warmup, tail=(tails or {}).get(piece.cell, 1.0)
                )
            )
    return running


def a_slice(
    cell: str, number: int, factor: float, *, warmup: bool = False, tail: float = 1.0
) -> tuple[SliceRecord, Times]:
    """One of 1000 calls, whose legs take 50 and 300 msec; ten of them `tail` times as long."""
    piece = next(one for one in PLAN.rounds[number - 1].slices if one.cell == cell)
    times = {leg: Counter({round(usec * factor): 990}) for leg, usec in LEGS.items()}
    for leg, usec in LEGS.items():
        times[leg][round(usec * factor * tail)] += 10
    return replace(testing.record(piece, b""), plan=replace(piece, warmup=warmup)), times


def judged(running: Running, alpha: float = PLAN.alpha) -> list[Leg]:
    """Legs by both means."""
    quick, every = (running.comparisons(PLAN, alpha, mean) for mean in (trimmed.mean, whole_mean))
    return gate.legs(PLAN, CANDIDATE, quick, every, alpha)


def attempt(
    ratio: float,
    rounds: int = 6,
    *,
    failed: list[str] | None = None,
    noise: float = 1.0,
    tails: Mapping[str, float] | None = None,
) -> Attempt:
    """A run of so many rounds, judged with delta 3 %."""
    found = judged(after(rounds, ratio, noise=noise, tails=tails))
    return gate.attempt(replace(PLAN, rounds=PLAN.rounds[:rounds]), found, 0.03, run="a-run", failed=failed)


# --- ratios while it runs ---------------------------------------------------------------------------------------------


def test_ratios_so_far_are_those_of_the_rounds() -> None:
    """Each leg, and both together, at the alpha that is asked for; a warm-up counts for nothing."""
    running = after(4, 1.10)
    running.add(*a_slice(CANDIDATE, 1, 9.0, warmup=True))
    found = running.comparisons(PLAN, 0.02)
    assert {leg for cell, leg in found if cell == CANDIDATE} == {"challenge", "authenticated", "registration"}
    assert found[CANDIDATE, "challenge"].n_rounds == 4
    assert found[CANDIDATE, "registration"].ratio == pytest.approx(1.10, rel=0.01)
    base = [1000 * WOBBLE[(number + 0) % 6] for number in (1, 2, 3, 4)]
    theirs = [1100 * WOBBLE[(number + 1) % 6] for number in (1, 2, 3, 4)]
    expected = stats.compare(stats.log_ratios(dict(enumerate(theirs)), dict(enumerate(base))), 0.02)
    assert found[CANDIDATE, "challenge"].ci_low == pytest.approx(expected.ci_low, rel=1e-3)


def test_an_invalid_slice_says_nothing() -> None:
    """Nor does a round in which a cell has nothing else."""
    running = after(3, 1.0)
    disturbed, times = a_slice(CANDIDATE, 4, 5.0)
    running.add(replace(disturbed, reasons=("it was disturbed",)), times)
    assert running.comparisons(PLAN)[CANDIDATE, "challenge"].n_rounds == 3


@pytest.mark.parametrize(("half_width", "stops"), [(0.05, True), (0.001, False), (None, False)])
def test_an_experiment_stops_when_its_intervals_are_narrow(half_width: float | None, *, stops: bool) -> None:
    """As it declares; without a width it runs to its end."""
    why = narrow_enough(replace(PLAN, half_width=half_width), after(6, 1.3), 6)
    assert bool(why) == stops
    if stops:
        assert "5.0% were asked for" in why


def test_nothing_is_narrow_without_an_interval() -> None:
    """One round has none, and no round neither."""
    for rounds in (0, 1):
        assert narrow_enough(replace(PLAN, half_width=0.5), after(rounds, 1.0), 3) == ""
    assert narrow_enough(replace(PLAN, half_width=0.5), after(4, 1.0), 4) == "", "that is no look"


# --- when it knows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "said"), [(1.0, "pass"), (1.2, "regression"), (0.8, "improvement")])
def test_a_gate_stops_when_it_knows(ratio: float, said: str) -> None:
    """At the first look already, where the machine is quiet."""
    assert gate.enough(CANDIDATE, 0.03)(PLAN, after(3, ratio), 3).startswith(said)


def test_a_gate_goes_on_while_it_does_not() -> None:
    """A slowdown near delta; noise; a base that differs from itself."""
    rule = gate.enough(CANDIDATE, 0.03)
    for unclear in (after(3, 1.03), after(3, 1.0, noise=20), after(3, 1.2, aa=1.1), Running()):
        assert rule(PLAN, unclear, 3) == ""
    assert rule(PLAN, after(4, 1.2), 4) == "", "four rounds are no look"


def test_a_gate_stops_as_soon_as_its_run_cannot_be_valid() -> None:
    """A slice that stays invalid after its last repeat, whichever round it is; one that is run again may be good."""
    running = after(1, 1.0)
    made, times = a_slice(CANDIDATE, 2, 1.0)
    disturbed = replace(made, reasons=("SIPp: 3 of 50 calls succeeded",))
    rule = gate.enough(CANDIDATE, 0.03)
    running.add(disturbed, times)
    assert rule(PLAN, running, 2) == ""
    running.add(disturbed, times, last=True)
    assert rule(PLAN, running, 2) == f"{disturbed.plan.id}: SIPp: 3 of 50 calls succeeded"


def test_a_wider_interval_is_asked_of_the_base_itself() -> None:
    """At 99 % at least, whatever the looks' own alpha is."""
    (leg, *_) = judged(after(6, 1.0), 0.05)
    assert (leg.aa_wide.ci_low or 0) < (leg.aa.ci_low or 0) < (leg.aa.ratio or 0)
    again = stats.at_level(leg.aa_wide, 0.01, 0.05)
    assert (again.ci_low, again.ci_high) == pytest.approx((leg.aa.ci_low, leg.aa.ci_high))


def test_a_second_run_goes_on_for_the_leg_that_the_first_condemned() -> None:
    """Another one that is slower now confirms nothing, however early it shows."""
    slow = after(3, 1.2)
    assert gate.enough(CANDIDATE, 0.03, ["challenge"])(PLAN, slow, 3).startswith("regression")
    assert gate.enough(CANDIDATE, 0.03, ["another leg"])(PLAN, slow, 3) == ""
    assert gate.enough(CANDIDATE, 0.03, ["another leg"])(PLAN, after(3, 1.0), 3).startswith("pass")


def test_few_requests_that_are_slower_are_condemned_by_the_mean_of_all() -> None:
    """A hundredth of them that takes twelve times as long: the trimmed mean does not see it, so the other has a say."""
    rule = gate.enough(CANDIDATE, 0.03)
    assert rule(PLAN, after(3, 1.0, tails={CANDIDATE: 12}), 3).startswith("regression")
    slow = attempt(1.0, tails={CANDIDATE: 12})
    assert {name for name, one in slow.rulings.items() if one.verdict == Verdict.PASS} == {*LEGS, "registration"}
    assert gate.condemned(slow) == [*LEGS, "registration"]
    verdict, why = gate.conclude([slow, slow])
    assert verdict == Verdict.REGRESSION
    assert why.startswith("challenge (all requests): it is slower by ")


def test_by_the_mean_of_all_twice_delta_may_pass() -> None:
    """It is the noisier one: what lies between is not known, and nobody stops for it."""
    within, between = ({CANDIDATE: 1 + 100 * slower} for slower in (0.02, 0.045))
    assert attempt(1.0, tails=within).verdict == Verdict.PASS
    assert gate.enough(CANDIDATE, 0.03)(PLAN, after(3, 1.0, tails=between, noise=6), 3) == ""
    unclear = attempt(1.0, tails=between, noise=6)
    assert unclear.rulings[f"challenge{gate.ALL}"].verdict == unclear.verdict == Verdict.INCONCLUSIVE


def test_a_base_whose_few_requests_differ_from_its_own_is_no_base() -> None:
    """By the mean of all, too: the doubt is told, and is no pass."""
    found = attempt(1.0, tails={CANDIDATE: 12, "lua-base-aa": 12})
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "but the base differs from itself" in found.rulings[f"challenge{gate.ALL}"].reason


def test_the_mean_of_all_is_no_improvement() -> None:
    """A base that had bad luck in few requests makes no candidate faster."""
    found = attempt(1.0, tails={"lua-base": 12, "lua-base-aa": 12})
    assert found.rulings[f"challenge{gate.ALL}"].verdict == Verdict.PASS
    assert found.verdict == Verdict.PASS


def test_what_is_not_known_stays_so_whatever_the_mean_of_all_says() -> None:
    """Both have to pass."""
    found = attempt(1.03, tails={CANDIDATE: 1})
    assert found.rulings[f"challenge{gate.ALL}"].verdict == Verdict.PASS
    assert found.verdict == Verdict.INCONCLUSIVE


def test_a_leg_confirms_itself_by_either_mean() -> None:
    """What slows all requests may show in one mean first, and in the other the second time."""
    few, many = attempt(1.0, tails={CANDIDATE: 12}), attempt(1.10)
    assert gate.conclude([few, many])[0] == gate.conclude([many, few])[0] == Verdict.REGRESSION


# --- what runs say ----------------------------------------------------------------------------------------------------


def test_a_run_that_is_not_valid_has_no_verdict() -> None:
    """However clear its figures are."""
    found = attempt(0.99, failed=["start r01-lua-candidate: engine proof: no marker"])
    assert found.verdict == Verdict.INVALID
    assert {ruling.verdict for ruling in found.rulings.values()} == {Verdict.INVALID}
    assert gate.conclude([found]) == (Verdict.INVALID, "start r01-lua-candidate: engine proof: no marker")
    assert gate.conclude([attempt(1.0, failed=[])])[0] == Verdict.INVALID


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "pass"), (0.9, "improvement"), (1.03, "inconclusive")])
def test_one_run_is_enough_for_all_but_a_regression(ratio: float, verdict: str) -> None:
    """With what speaks for it."""
    found = attempt(ratio)
    assert not gate.unsettled([found])
    said, why = gate.conclude([found])
    assert said == verdict
    assert "registration: it " in why


def test_a_regression_is_confirmed_first() -> None:
    """By a second run; there is never a third."""
    slow = attempt(1.10)
    assert gate.unsettled([])
    assert gate.unsettled([slow])
    assert not gate.unsettled([slow, slow])
    verdict, why = gate.conclude([slow, slow])
    assert verdict == Verdict.REGRESSION
    assert "confirmed by a second run" in why


@pytest.mark.parametrize("ratio", [1.0, 0.9, 1.03])
def test_what_a_second_run_does_not_confirm_is_inconclusive(ratio: float) -> None:
    """Also where it says the opposite: one of the two is wrong, and nobody knows which."""
    verdict, why = gate.conclude([attempt(1.10), attempt(ratio)])
    assert verdict == Verdict.INCONCLUSIVE
    assert "a first run said regression, a second one" in why


def test_a_regression_is_confirmed_in_the_same_leg() -> None:
    """One leg by itself in either run, and not the same: chance does that, a slowdown does not."""
    first, second = attempt(1.10), attempt(1.10)
    said = {Verdict.REGRESSION: first.rulings["challenge"], Verdict.PASS: attempt(1.0).rulings["challenge"]}
    only = [
        replace(run, rulings={name: said[Verdict.REGRESSION if name == leg else Verdict.PASS] for name in run.rulings})
        for run, leg in ((first, "challenge"), (second, "authenticated"))
    ]
    verdict, why = gate.conclude(only)
    assert verdict == Verdict.INCONCLUSIVE
    assert "a first run condemned challenge, a second one authenticated" in why
    assert gate.conclude([only[0], second])[0] == Verdict.REGRESSION


def test_a_second_run_that_is_not_valid_leaves_it_invalid() -> None:
    """Neither confirmed nor refuted."""
    assert gate.conclude([attempt(1.10), attempt(1.10, failed=["x"])])[0] == Verdict.INVALID


@pytest.mark.parametrize("rounds", [0, 1])
def test_too_few_rounds_are_inconclusive(rounds: int) -> None:
    """They have no interval."""
    assert gate.conclude([attempt(2.0, rounds)])[0] == Verdict.INCONCLUSIVE


def test_made_up_rounds_are_inconclusive() -> None:
    """No spread at all: copied, not measured."""
    assert gate.conclude([attempt(1.0, noise=0.0)])[0] == Verdict.INCONCLUSIVE


def test_a_number_that_is_none_is_no_number() -> None:
    """A mean of nothing is left out, and does not become a ratio."""
    assert gate.legs(PLAN, CANDIDATE, {}, {}, 0.05) == []
    assert gate.attempt(PLAN, [], 0.03, run="a-run", failed=None).verdict == Verdict.INCONCLUSIVE


# --- how it is told ---------------------------------------------------------------------------------------------------


def told(*attempts: Attempt, base: str = "old.lua") -> Gate:
    """A gate of these runs."""
    verdict, reason = gate.conclude(attempts)
    return Gate(base, "new.lua", "routing", "lua", 0.03, 0.02, attempts, verdict, reason)


def test_text_says_the_verdict_first() -> None:
    """Then what was asked, then each run leg by leg."""
    lines = page.text(told(attempt(1.10), attempt(1.10))).splitlines()
    assert lines[0].startswith("REGRESSION: ")
    assert lines[1].startswith("routing new.lua against old.lua, engine lua; a slowdown of up to 3.0 % may pass")
    assert "run 1: a-run, 6 rounds: regression" in lines
    assert sum(line.startswith("| registration  ") for line in lines) == 2
    assert sum(line.startswith(f"| registration{gate.ALL}") for line in lines) == 2


def test_failed_checks_are_listed() -> None:
    """As many as a screen takes."""
    said = page.text(told(attempt(1.0, failed=[f"slice {number}" for number in range(20)])))
    assert "INVALID: slice 0" in said
    assert "! and 12 more: lab report a-run" in said


def test_names_are_no_markdown() -> None:
    """They are the user's: a path may hold anything."""
    said = page.markdown(told(attempt(1.0), base="<b>*a*|`b`"))
    assert "<b>" not in said
    assert "\\<b\\>\\*a\\*|\\`b\\`" in said


@pytest.mark.parametrize(
    ("attempts", "failures", "errors"),
    [
        ([attempt(1.0)], 0, 0),
        ([attempt(0.9)], 0, 0),
        ([attempt(1.10), attempt(1.10)], 7, 0),
        ([attempt(1.03, noise=3)], 0, 4),
        ([attempt(1.0, failed=["x"])], 0, 7),
    ],
    ids=["pass", "improvement", "regression", "inconclusive", "invalid"],
)
def test_junit_has_a_test_a_leg_and_one_for_all(attempts: list[Attempt], failures: int, errors: int) -> None:
    """A regression is a failure; what is not known is an error, and never passes for passed."""
    suite = ET.fromstring(page.junit(told(*attempts)))  # noqa: S314  (our own)
    assert suite.tag == "testsuite"
    legs = ["challenge", "authenticated", "registration"]
    assert [case.get("name") for case in suite] == [*legs, *(f"{leg}{gate.ALL}" for leg in legs), "gate"]
    assert (suite.get("failures"), suite.get("errors")) == (str(failures), str(errors))
    assert suite.get("tests") == str(len(suite))


def test_junit_stays_xml_whatever_a_log_line_holds() -> None:
    """A reason may quote Kamailio's log, colours included."""
    said = page.junit(told(attempt(1.0, failed=["ERROR: \x1b[31mred\x00"]), base="\x07"))
    suite = ET.fromstring(said)  # noqa: S314  (our own)
    assert "ERROR: \\x1b[31mred\\x00" in {one.get("message") for one in suite.iter("error")}


@pytest.mark.parametrize(
    ("attempts", "level"),
    [
        ([attempt(1.0)], "notice"),
        ([attempt(1.10), attempt(1.10)], "error"),
        ([attempt(1.03)], "warning"),
        ([attempt(1.0, failed=["x"])], "error"),
    ],
)
def test_annotations_are_one_line_each(attempts: list[Attempt], level: str) -> None:
    """As GitHub's runner reads them: its own signs are encoded."""
    said = page.annotations(told(*attempts))
    assert said.startswith(f"::{level} title=kemi-lab gate%3A ")
    assert said.count("\n") == 1
    assert " %" not in said.replace("%25", "")
