"""What a count that is gone on with still has to do: each cell is looked at, and counted, until that was good once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab import counter, probes, store
from lab.counts import record
from lab.counts.probed import ProbeRecord
from lab.counts.record import CountRecord
from lab.model import Cell, Counting
from lab.session import Session
from tests.unit import profiles

COUNTING = Counting(2, 1, probes=True)
CELL = "native"
GOOD_LOOK, GOOD_COUNT = ProbeRecord(1, CELL, 1.0), CountRecord(1, CELL, 9, 9, 1.0)
BAD_LOOK, BAD_COUNT = replace(GOOD_LOOK, reasons=("SIPp",)), replace(GOOD_COUNT, reasons=("SIPp",))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is done of the first cell, and in which fresh start: looking and counting are made up."""
    seen: list[tuple[str, int]] = []

    def start(session: Any, cell: str, number: int) -> None:  # noqa: ANN401
        name = f"r01-{cell}" if number == 1 else f"r01-{cell}-again{number - 1}"
        (session.run.evidence / "starts" / name).mkdir(parents=True)

    def look(session: Any, cells: Sequence[Cell], number: int, _: object) -> list[ProbeRecord]:  # noqa: ANN401
        at = session.next_start(number, cells)
        for cell in cells:
            start(session, cell.name, at)
        if any(cell.name == CELL for cell in cells):
            seen.append(("look", at))
        return [ProbeRecord(number, cell.name, 1.0) for cell in cells]

    def one(session: Any, _: object, place: tuple[int, int], *_rest: object) -> None:  # noqa: ANN401
        start(session, session.cell.name, place[1])
        if session.cell.name == CELL:
            seen.append(("count", place[1]))

    monkeypatch.setattr(probes, "look", look)
    monkeypatch.setattr(counter, "_one", one)
    return seen


def session(folder: Path, starts: int) -> Session:
    """Of one round, in which the first cell was started so often."""
    run = store.Run(folder)
    for number in range(starts):
        (run.evidence / "starts" / f"r01-{CELL}{f'-again{number}' if number else ''}").mkdir(parents=True)
    run.evidence.mkdir(parents=True, exist_ok=True)
    reporter = SimpleNamespace(stage=lambda _: None, note=lambda _: None)
    made = SimpleNamespace(plan=profiles.plan(COUNTING, 1), run=run, reporter=reporter)
    made.only = lambda cell: SimpleNamespace(cell=cell, run=run)
    made.next_start = lambda number, cells: Session.next_start(cast("Session", made), number, cells)
    return cast("Session", made)


@pytest.mark.parametrize(
    ("looked", "counted", "left"),
    [
        ([], [], [("look", 1), ("count", 2)]),
        ([GOOD_LOOK], [], [("count", 2)]),  # broken off between the two
        ([BAD_LOOK], [], [("look", 2), ("count", 3)]),
        ([GOOD_LOOK], [BAD_COUNT], [("count", 3)]),
        ([BAD_LOOK], [GOOD_COUNT], [("look", 3)]),
        ([BAD_LOOK, GOOD_LOOK], [BAD_COUNT, GOOD_COUNT], []),
    ],
)
def test_what_was_good_once_is_not_done_again(
    tmp_path: Path,
    done: list[tuple[str, int]],
    looked: list[ProbeRecord],
    counted: list[CountRecord],
    left: list[tuple[str, int]],
) -> None:
    """And what is done again has a fresh start of its own, and evidence beside the other's."""
    made = session(tmp_path / "run", len(looked) + len(counted))
    before = [replace(one, attempt=number) for number, one in enumerate(counted, start=1)]
    for one in before:
        (made.run.evidence / record.FOLDER / one.id).mkdir(parents=True)
    counter.count(made, COUNTING, before, looked)
    assert done == left


def test_a_start_has_a_number_that_none_has_left_anything_of(tmp_path: Path) -> None:
    """Neither a start nor what one that broke off has left; of all cells that come up together, and no others."""
    made = session(tmp_path / "run", 2)
    first, second = made.plan.cells
    (made.run.evidence / "remains" / f"r01-{second.name}-again4").mkdir(parents=True)
    (made.run.evidence / "starts" / f"r01-{first.name}-6.1-again7").mkdir()
    assert made.next_start(1, [first]) == 3
    assert made.next_start(1, [second]) == made.next_start(1, [first, second]) == 6
    assert made.next_start(2, [first, second]) == 1
