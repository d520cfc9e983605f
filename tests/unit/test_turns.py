"""Turns: which calls a scenario puts off, and until when. That SIPp does so is seen in tests/docker/test_turns.py."""

import operator
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab import turns
from lab.errors import BadInputError

SCENARIOS = Path(__file__).parents[2] / "images" / "sipp" / "scenarios"
REGISTER = (SCENARIOS / "register.xml").read_bytes()
SECOND = 1_795_707_169  # of any day
ARITHMETIC = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv}


def sent(turn_msec: int, cells: int, turn: int, opened_usec: int) -> float:
    """When a call goes that is opened at these microseconds since 1970, in ms: by the steps in the scenario."""
    root = ET.fromstring(turns.with_wait(REGISTER, turn_msec, cells))  # noqa: S314  (ours)
    variables: dict[str, float] = {}
    texts: dict[str, str] = {"turn": str(turns.begin(turn_msec, cells, turn))}
    for action in root[0][0]:
        names = action.get("assign_to", "").split(",")
        name, source = names[0], action.get("variable", "")
        if action.tag == "gettimeofday":
            variables |= dict(zip(names, divmod(opened_usec, 1_000_000), strict=True))
        elif action.tag == "assignstr":
            key = action.get("value", "").strip("[]$")
            texts[name] = texts.get(key) or f"{variables[key]:f}"
        elif action.tag == "ereg":
            found = re.search(action.get("regexp", ""), texts[source])
            assert found
            texts[name] = found[0]
        elif action.tag == "todouble":
            variables[name] = float(texts[source])
        else:
            by = float(action.get("value") or variables[source])
            variables[name] = ARITHMETIC[action.tag](variables[name], by)
    return opened_usec / 1000 + variables[root[1].get("variable", "")]


@pytest.mark.parametrize("turn_msec", [20, 40, 1000])
@pytest.mark.parametrize("cells", [2, 3, 7])
def test_calls_of_a_cycle_go_in_their_cells_turn_of_the_next_one(turn_msec: int, cells: int) -> None:
    """In their order and as evenly; the end of a turn is left to the answers. No two cells' turns overlap."""
    cycle = turn_msec * cells
    begun = -(-SECOND * 1000 // cycle) * cycle  # of a cycle
    for turn in range(cells):
        at = [sent(turn_msec, cells, turn, 1000 * begun + opened) for opened in range(0, cycle * 1000, cycle * 10)]
        turn_begun = begun + cycle + turn * turn_msec
        assert at == sorted(at)
        assert at[0] == pytest.approx(turn_begun, abs=0.01)
        assert turn_msec * 0.7 < at[-1] - turn_begun < turn_msec * 0.8


def test_no_call_waits_longer_than_said() -> None:
    """So long SIPp may need more than its calls take otherwise."""
    for opened in range(SECOND * 1_000_000, SECOND * 1_000_000 + 240_000, 1000):
        assert 0 < sent(40, 3, 2, opened) - opened / 1000 <= turns.longest_wait(40, 3)


@pytest.mark.parametrize("name", ["register", "invite", "options", "published/as-printed"])
def test_a_scenario_waits_before_its_first_step(name: str) -> None:
    """All else in it stays as it is, comments and messages to the letter."""
    before = (SCENARIOS / f"{name}.xml").read_bytes()
    after = turns.with_wait(before, 40, 2)
    first, second, *others = ET.fromstring(after)  # noqa: S314
    assert [first.tag, second.tag] == ["nop", "pause"]
    assert [step.tag for step in others] == [step.tag for step in ET.fromstring(before)]  # noqa: S314
    start = after.index(b"<nop>")
    assert after.startswith(before[:start])
    assert after.endswith(before[start:])


def test_every_variable_is_named_twice() -> None:
    """SIPp takes one that is named but once for a mistake, and ends."""
    added = turns.with_wait(REGISTER, 40, 2).decode()
    names = re.findall(r"turn_\w+", added)
    assert all(names.count(name) > 1 for name in names)


@pytest.mark.parametrize("text", [b"", b"<scenario>", b"<scenario/>", b"no XML"])
def test_what_is_no_scenario_is_refused(text: bytes) -> None:
    """There is nothing to wait before."""
    with pytest.raises(BadInputError, match=r"not valid XML|without a step"):
        turns.with_wait(text, 40, 2)
