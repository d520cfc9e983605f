"""Runs of every schema version are read as if this one had written them. tests/golden/schemas.py keeps them."""

import json
from pathlib import Path

import pandas as pd
import pytest

from lab import archive, compare, dataset, frames, store, summary
from lab.errors import BadInputError
from lab.model import Plan, SliceRecord, StartRecord
from lab.report import page, run, story
from lab.summary import Summary
from tests.golden.schemas import EXAMPLES, FOLDER


@pytest.fixture(params=EXAMPLES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run of each version, as it came out of its archive."""
    return archive.restore(FOLDER / f"{request.param}.zip", tmp_path)


@pytest.fixture
def now(tmp_path: Path) -> Path:
    """A run of this version's."""
    return archive.restore(FOLDER / f"{EXAMPLES[-1]}.zip", tmp_path / "now")


def plan_of(folder: Path) -> Plan:
    """What was planned."""
    return store.load(Plan, folder / "evidence" / "plan.json")


def test_the_last_example_is_of_this_version(now: Path) -> None:
    """Whoever counts the version up keeps one more."""
    assert store.status(now).schema_version == store.SCHEMA_VERSION
    assert json.loads((now / summary.FILE).read_text())["schema_version"] == store.SCHEMA_VERSION


def test_a_plan_says_the_same(kept: Path, now: Path) -> None:
    """All but what an earlier version did not plan: scenarios' counters, limits."""
    old, new = plan_of(kept), plan_of(now)
    assert old.cells == new.cells
    assert (old.aa_cell, old.rounds, old.repeats) == (new.aa_cell, new.rounds, new.repeats)
    assert [(one.name, one.legs, one.whole) for one in old.scenarios] == [
        (one.name, one.legs, one.whole) for one in new.scenarios
    ]


def test_figures_are_the_same(kept: Path, now: Path) -> None:
    """They were the same messages."""
    old, new = summary.read(kept), summary.read(now)
    assert (old.schema_version, old.valid) == (store.SCHEMA_VERSION, True)

    def means(found: Summary) -> dict[tuple[str, str], float | None]:
        return {(row.cell, row.leg): row.ratio for row in found.comparisons}

    assert means(old) == pytest.approx(means(new))
    for name, cell in new.cells.items():
        assert old.cells[name].legs == cell.legs
        assert old.cells[name].slices_valid == cell.slices_valid


def test_frames_have_the_columns_of_this_version(kept: Path, now: Path) -> None:
    """As they lie there, and made again from the evidence; what was not measured then is null."""
    there, new = frames.load(kept), frames.load(now)
    pd.testing.assert_frame_equal(there.messages, new.messages)
    assert list(there.slices.columns) == list(new.slices.columns)
    assert list(there.starts.columns) == list(new.starts.columns)
    pd.testing.assert_series_equal(there.slices["usec"], new.slices["usec"])
    dataset.derive(kept)
    again = frames.load(kept)
    for name in ("messages", "slices", "starts"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(there, name))


def test_it_is_reported_and_compared(kept: Path, tmp_path: Path) -> None:
    """As any run."""
    found, plan = summary.read(kept), plan_of(kept)
    shown = run.build(kept, plan, found)
    assert shown.answers == story.answers(found, plan)
    assert shown.answers[0].startswith("Lua costs ")
    assert page.write(shown, tmp_path / "report").is_file()
    assert compare.read(tmp_path, f"{kept}:lua", f"{kept}:native").valid


def test_evidence_is_read(kept: Path) -> None:
    """Every record of it."""
    for path in kept.glob("evidence/slices/*/slice.json"):
        assert store.load(SliceRecord, path).valid
    for path in kept.glob("evidence/starts/*/start.json"):
        assert not store.load(StartRecord, path).reasons


@pytest.mark.parametrize("version", ["1", "2-plan"])
def test_a_damaged_plan_of_an_earlier_version_is_named(version: str, tmp_path: Path) -> None:
    """It is not taken for one of this version's, which would have other defaults."""
    folder = archive.restore(FOLDER / f"{version}.zip", tmp_path)
    place = folder / "evidence" / "plan.json"
    content = json.loads(place.read_text())
    del content["cells"]
    place.write_text(json.dumps(content))
    with pytest.raises(BadInputError, match=r"plan\.json: of an earlier version, and cannot be read"):
        store.load(Plan, place)
