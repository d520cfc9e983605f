"""A gate by instructions: what counts of two cells allow to say, and what it means when time says something else."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab import gate, testing
from lab.counts import figures, judge
from lab.gate import Attempt, Gate
from lab.model import Counting
from lab.report import gate as page
from lab.verdict import Ruling, Verdict
from tests.unit import profiles

PLAN = profiles.plan(Counting(calls=1, warmup_calls=1), 2)
BEFORE = [9000] * 5
OTHERS = profiles.ASIDE + profiles.SCRIPT  # instructions of a request beside those that a test gives


def run(path: Path, base: int, candidate: int, *, aside: int = 0) -> figures.Counts:
    """Requests of so many instructions; in the second start of the candidate `aside` more."""
    ours, theirs = candidate - OTHERS, base - OTHERS
    starts = (
        ("native", [*BEFORE, theirs, theirs]),
        ("lua", [*BEFORE, ours, ours]),
        ("native", [*BEFORE, theirs, theirs]),
        ("lua", [*BEFORE, ours + aside, ours + aside]),
    )
    return figures.compute(profiles.run(path, PLAN, *starts))


def judged(found: figures.Counts, delta: float = 0.005) -> Attempt:
    """With the delta that is asked for unless another one is."""
    return judge.attempt(found, "native", "lua", delta)


@pytest.mark.parametrize(
    ("candidate", "aside", "verdict"),
    [
        (100_000, 0, Verdict.PASS),
        (100_300, 0, Verdict.PASS),
        (100_700, 0, Verdict.REGRESSION),
        (100_500, 0, Verdict.INCONCLUSIVE),  # as much as may be left between fresh starts
        (99_300, 0, Verdict.IMPROVEMENT),
        (100_300, 500, Verdict.INCONCLUSIVE),  # its own starts do not agree
    ],
)
def test_the_verdict_is_of_the_whole_interval(tmp_path: Path, candidate: int, aside: int, verdict: Verdict) -> None:
    """All that fresh starts have shown, and a thousandth on top; identical counts are no reason for doubt."""
    found = judged(run(tmp_path, 100_000, candidate, aside=aside))
    assert found.verdict == verdict
    assert set(found.legs) == {"challenge", "authenticated", "registration"}
    assert gate.conclude([found])[0] == verdict


def test_a_planted_thousand_instructions_are_found_with_their_size(tmp_path: Path) -> None:
    """In a hundred thousand: one per cent, at least 0.9."""
    found = judged(run(tmp_path, 100_000, 101_000))
    (low, high) = (found.legs["challenge"].ci_low or 0, found.legs["challenge"].ci_high or 0)
    assert 1.008 < low < 1.01 < high < 1.012
    assert "it is costlier by 0.9 % at least" in gate.conclude([found])[1]


def test_what_could_not_be_counted_is_invalid(tmp_path: Path) -> None:
    """A candidate without figures is no pass, whatever the base says; its reason is told."""
    broken = profiles.run(tmp_path, PLAN, ("lua", []), reasons=("SIPp ended with exit code 1",))
    found = judged(figures.compute(broken))
    assert found.verdict == Verdict.INVALID
    verdict, why = gate.conclude([found])
    assert (verdict, why) == (Verdict.INVALID, "round 1, lua: SIPp ended with exit code 1")


@pytest.mark.parametrize(
    ("by_instructions", "by_time", "verdict", "means"),
    [
        (Verdict.PASS, Verdict.PASS, Verdict.PASS, ""),
        (Verdict.PASS, Verdict.REGRESSION, Verdict.REGRESSION, "caches, locks, the kernel and waiting"),
        (Verdict.REGRESSION, Verdict.PASS, Verdict.REGRESSION, "takes no time that would matter"),
        (Verdict.REGRESSION, Verdict.INVALID, Verdict.REGRESSION, "what time says is not known"),
        (Verdict.REGRESSION, Verdict.IMPROVEMENT, Verdict.REGRESSION, "is faster: fewer misses"),
        (Verdict.INVALID, Verdict.REGRESSION, Verdict.REGRESSION, ""),
        (Verdict.REGRESSION, Verdict.REGRESSION, Verdict.REGRESSION, ""),
        (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, ""),
        (Verdict.IMPROVEMENT, Verdict.PASS, Verdict.IMPROVEMENT, "Only instructions"),
        (Verdict.INVALID, Verdict.PASS, Verdict.INVALID, ""),
    ],
)
def test_two_gates_have_one_verdict(by_instructions: Verdict, by_time: Verdict, verdict: Verdict, means: str) -> None:
    """A regression of either condemns, and passing takes both; what a disagreement means is said."""
    found, why = gate.together((by_instructions, "a"), (by_time, "b"))
    assert found == verdict
    both = f"by instructions {by_instructions}: a; by time {by_time}: b"
    assert why.startswith(both)
    assert (why == both) == (not means)
    assert means in why


def test_one_gate_speaks_for_itself() -> None:
    """Where the other was not asked for."""
    one = (Verdict.PASS, "a")
    assert gate.together(one, None) == gate.together(None, one) == one


def test_both_are_told(tmp_path: Path) -> None:
    """Each with its table; in JUnit a leg's instructions are a test of their own."""
    counts = judged(run(tmp_path, 100_000, 101_000))
    timed = gate.attempt(testing.plan(), [], 0.03, run="a-run", failed=["slice 3"])
    verdict, why = gate.together(gate.conclude([counts]), gate.conclude([timed]))
    found = Gate("old.lua", "new.lua", "routing", "lua", 0.03, None, (timed,), verdict, why, counts, 0.005)
    said = page.text(found)
    assert said.startswith("REGRESSION: by instructions regression: ")
    assert "up to 0.5 % more instructions may pass; a slowdown of up to 3.0 % may pass" in said
    assert f"run 1: {counts.run}, instructions in 2 fresh starts of each: regression" in said
    assert re.search(r"run 2: a-run, \d+ rounds?: invalid", said)
    suite = ET.fromstring(page.junit(found))  # noqa: S314  (our own)
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert failed == {f"{leg} (instructions)" for leg in counts.rulings} | {"gate"}


def test_rulings_are_in_words_of_instructions(tmp_path: Path) -> None:
    """Nothing was slower or faster."""
    found = judged(run(tmp_path, 100_000, 99_000))
    assert found.rulings["challenge"] == Ruling(Verdict.IMPROVEMENT, "it is cheaper by 0.9 % at least")
