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
from lab.model import Cell, Counting, StartRecord
from lab.session import Session
from tests.unit import profiles

COUNTING = Counting(2, 1, probes=True)
CELL = "native"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is done of the first cell, and in which fresh start: looking and counting are made up."""
    seen: list[tuple[str, int]] = []

    def look(_: object, cell: Cell, number: int, start: int, been: Sequence[ProbeRecord]) -> ProbeRecord:
        if cell.name == CELL:
            seen.append(("look", start))
        return ProbeRecord(number, cell.name, 1.0, attempt=1 + len(been))

    def one(session: Any, _: object, place: tuple[int, int], *_rest: object) -> None:  # noqa: ANN401
        if session.cell.name == CELL:
            seen.append(("count", place[1]))

    monkeypatch.setattr(probes, "look", look)
    monkeypatch.setattr(counter, "_one", one)
    return seen


def session(folder: Path) -> Session:
    """Of one round."""
    run = store.Run(folder)
    run.evidence.mkdir(parents=True)
    plan = profiles.plan(COUNTING, 1)
    reporter = SimpleNamespace(stage=lambda _: None, note=lambda _: None)
    made = SimpleNamespace(plan=plan, run=run, reporter=reporter, only=lambda cell: SimpleNamespace(cell=cell))
    return cast("Session", made)


def starts(number: int) -> list[StartRecord]:
    """So many that there were of the cell."""
    return [cast("StartRecord", SimpleNamespace(round=1, cell=CELL))] * number


GOOD_LOOK, GOOD_COUNT = ProbeRecord(1, CELL, 1.0), CountRecord(1, CELL, 9, 9, 1.0)
BAD_LOOK, BAD_COUNT = replace(GOOD_LOOK, reasons=("SIPp",)), replace(GOOD_COUNT, reasons=("SIPp",))


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
    made = session(tmp_path / "run")
    for one in counted:
        (made.run.evidence / record.FOLDER / one.id).mkdir(parents=True, exist_ok=True)
    before = [replace(one, attempt=number) for number, one in enumerate(counted, start=1)]
    counter.count(made, COUNTING, before, starts(len(looked) + len(counted)), looked)
    assert done == left
