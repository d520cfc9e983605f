"""Turns of a cycle: which calls a scenario puts off, and until when. That SIPp does so: tests/docker/test_turns.py."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab import turns
from lab.errors import BadInputError

SCENARIOS = Path(__file__).parents[2] / "images" / "sipp" / "scenarios"
REGISTER = (SCENARIOS / "register.xml").read_bytes()


def sent(cycle_msec: int, cells: int, turn: int, opened_usec: int) -> float:
    """When a call goes that is opened at these microseconds of a second, in ms: by the numbers in the scenario."""
    text = turns.with_wait(REGISTER, cycle_msec, cells).decode()
    pattern, slope = re.search(r'regexp="([^"]+)"', text), re.search(r'<multiply .*value="([^"]+)"', text)
    assert pattern
    assert slope
    phase = re.search(pattern[1], f"{opened_usec:.6f}")
    assert phase
    return opened_usec / 1000 + float(phase[0]) * float(slope[1]) + turns.begin(cycle_msec, cells, turn)


@pytest.mark.parametrize("cycle_msec", [10, 100, 1000])
@pytest.mark.parametrize("cells", [2, 3, 7])
def test_calls_of_a_cycle_go_in_their_cells_turn_of_the_next_one(cycle_msec: int, cells: int) -> None:
    """In their order and as evenly; the end of a turn is left to the answers. No two cells' turns overlap."""
    length = cycle_msec / cells
    for turn in range(cells):
        began = cycle_msec + turn * length
        at = [sent(cycle_msec, cells, turn, opened) for opened in range(0, cycle_msec * 1000, cycle_msec * 10)]
        assert at == sorted(at)
        assert at[0] == pytest.approx(began)
        assert length * 0.85 < at[-1] - began < length * 0.95
        again = sent(cycle_msec, cells, turn, 1_000_000 - cycle_msec * 1000)  # the last cycle of a second
        assert again % cycle_msec == pytest.approx(at[0] % cycle_msec)


def test_no_call_waits_longer_than_said() -> None:
    """So long SIPp may need more than its calls take otherwise."""
    for opened in range(0, 100_000, 1000):
        assert sent(100, 3, 2, opened) - opened / 1000 <= turns.longest_wait(100)


@pytest.mark.parametrize("name", ["register", "invite", "options", "published/as-printed"])
def test_a_scenario_waits_before_its_first_step(name: str) -> None:
    """All else in it stays as it is, comments and messages to the letter."""
    before = (SCENARIOS / f"{name}.xml").read_bytes()
    after = turns.with_wait(before, 100, 2)
    first, second, third, *others = ET.fromstring(after)  # noqa: S314  (ours)
    assert [first.tag, second.tag, third.tag] == ["nop", "pause", "Reference"]
    assert [step.tag for step in others] == [step.tag for step in ET.fromstring(before)]  # noqa: S314
    start = after.index(b"<nop>")
    assert after.startswith(before[:start])
    assert after.endswith(before[start:])


@pytest.mark.parametrize("text", [b"", b"<scenario>", b"<scenario/>", b"no XML"])
def test_what_is_no_scenario_is_refused(text: bytes) -> None:
    """There is nothing to wait before."""
    with pytest.raises(BadInputError, match=r"not valid XML|without a step"):
        turns.with_wait(text, 100, 2)
