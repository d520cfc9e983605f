"""Two datasets, or two cells: what may be compared, and what their rounds say."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats as scipy_stats

from lab import compare, frames, history, stats, store, summary, testing
from lab.compare import BY_BASELINE, BY_TIME, PAIRED, Compared, Row
from lab.errors import BadInputError
from lab.model import Plan
from lab.report import compare as page
from tests.unit import machine

PLAN = testing.plan(rounds=4, slices=2, calls=20)


def made(
    results: Path, plan: Plan = PLAN, *, lua: float = 1.2, name: str = "", facts: dict[str, object] | None = None
) -> Path:
    """A run with its figures, in which Lua costs so much."""
    folder = machine.describe(testing.run(results, plan, testing.slices(plan, {"lua": lua})), **(facts or {}))
    folder = folder.rename(results / (name or folder.name))
    frames.write(folder)
    summary.write(folder)
    return folder


def row(found: Compared, how: str, cell: str = "lua", leg: str = "challenge") -> Row:
    """One of them."""
    (one,) = [row for row in found.rows if (row.how, row.second, row.leg) == (how, cell, leg)]
    return one


def test_cells_of_one_run_are_paired_round_by_round(tmp_path: Path) -> None:
    """As the report does it."""
    run = made(tmp_path)
    found = compare.read(tmp_path, f"{run.name}:native", f"{run.name}:lua")
    reported = {one.leg: one for one in summary.read(run).comparisons if one.cell == "lua"}
    assert found.valid
    assert found.comparable
    assert {one.leg for one in found.rows} == {"challenge", "authenticated", "registration"}
    for one in found.rows:
        assert one.how == PAIRED
        assert one.found.ratio == pytest.approx(reported[one.leg].ratio)
        assert one.found.ci_low == pytest.approx(reported[one.leg].ci_low)


def test_two_runs_are_compared_by_baseline_and_by_time(tmp_path: Path) -> None:
    """Each by Welch's test over rounds that nothing pairs."""
    old, new = made(tmp_path, lua=1.2), made(tmp_path, replace(PLAN, hash="1" * 64), lua=1.5)
    found = compare.read(tmp_path, old.name, new.name)
    assert found.comparable
    assert {one.second for one in found.rows if one.how == BY_TIME} == {cell.name for cell in PLAN.cells}
    assert "native" not in {one.second for one in found.rows if one.how == BY_BASELINE}
    for how in (BY_BASELINE, BY_TIME):
        assert row(found, how).found.ratio == pytest.approx(1.25, rel=0.05)
    assert row(found, BY_TIME, "native").found.ratio == pytest.approx(1.0)
    assert "by its times" in page.markdown(found).lower()


@pytest.mark.parametrize(
    ("fact", "value", "name"), [("kernel", "6.2.0", "Linux"), ("cpu_model", "another", "processor")]
)
def test_what_differs_in_the_machine_is_named(tmp_path: Path, fact: str, value: str, name: str) -> None:
    """And times are then not compared: microseconds do not travel, ratios may."""
    old, new = made(tmp_path), made(tmp_path, facts={fact: value})
    found = compare.read(tmp_path, old.name, new.name)
    (mismatch,) = found.mismatches
    assert (mismatch.fact, mismatch.first, mismatch.second) == (name, str(machine.FACTS[fact]), value)
    assert {one.how for one in found.rows} == {BY_BASELINE}
    shown = next(line for line in page.markdown(found).splitlines() if line.startswith(f"| {name} "))
    assert [cell.strip() for cell in shown.split("|")] == ["", name, str(machine.FACTS[fact]), value, ""]


def test_what_differs_in_how_it_was_measured_is_named(tmp_path: Path) -> None:
    """Rate and length, turns, the layout, images, the scenario itself."""
    limits = replace(PLAN.limits, steal_share=0.5)
    other = replace(PLAN, turn_msec=40, inputs={"scenario register": "another"}, limits=limits)
    other = replace(other, cells=tuple(replace(cell, rate_per_s=50) for cell in other.cells))
    old, new = made(tmp_path), made(tmp_path, other)
    images = json.loads((new / "evidence" / "images.json").read_text())
    images["sipp"]["id"] = "sha256:3"
    (new / "evidence" / "images.json").write_text(json.dumps(images))
    found = {one.fact for one in compare.read(tmp_path, old.name, new.name).mismatches}
    assert found == {
        *("turn_msec", "cells in a block", "rate_per_s", "image of SIPp", "scenario register", "limits"),
    }


def test_what_a_cell_is_made_of_is_what_is_compared(tmp_path: Path) -> None:
    """Another release is no mismatch."""
    other = replace(PLAN, cells=tuple(replace(cell, kamailio="6.1") for cell in PLAN.cells))
    old, new = made(tmp_path), made(tmp_path, other)
    assert compare.read(tmp_path, old.name, new.name).comparable


def test_ratios_to_different_engines_are_not_compared(tmp_path: Path) -> None:
    """What a cell costs over native says nothing beside what it costs over Lua."""
    engines = ("native", "lua", "python3")
    plan = testing.plan(engines=engines, rounds=4, slices=2, calls=20)
    to_lua = replace(plan, cells=tuple(replace(cell, baseline="lua") for cell in plan.cells))
    old, new = made(tmp_path, plan), made(tmp_path, to_lua)
    found = compare.read(tmp_path, f"{old.name}:python3", f"{new.name}:python3")
    assert [(one.fact, one.first, one.second) for one in found.mismatches] == [("baseline's engine", "native", "lua")]
    assert found.rows == ()
    one_baseline = compare.read(tmp_path, f"{old.name}:python3", f"{new.name}:lua")
    assert {row.how for row in one_baseline.rows} == {BY_TIME}


def test_more_slices_are_another_measurement(tmp_path: Path) -> None:
    """Means of longer rounds vary less."""
    old, new = made(tmp_path), made(tmp_path, testing.plan(rounds=4, slices=3, calls=20))
    assert [one.fact for one in compare.read(tmp_path, old.name, new.name).mismatches] == ["timed slices"]


@pytest.mark.parametrize("key", ["configuration kamailio.cfg", "routing parity"])
def test_what_goes_by_the_same_name_is_to_be_the_same(tmp_path: Path, key: str) -> None:
    """Another log prefix, say: it would be taken for a slower engine."""
    old, new = (made(tmp_path, replace(PLAN, inputs={key: content})) for content in ("one", "other"))
    found = compare.read(tmp_path, old.name, new.name)
    assert [mismatch.fact for mismatch in found.mismatches] == [key]
    assert {one.how for one in found.rows} == {BY_BASELINE}


def test_an_image_of_the_same_release_is_to_be_the_same(tmp_path: Path) -> None:
    """It may have been built anew; another release's is what is compared."""
    runs = [made(tmp_path), made(tmp_path)]
    for number, run in enumerate(runs):
        images = json.loads((run / "evidence" / "images.json").read_text())
        images["kamailio"] = {"6.0.1": {"id": f"sha256:{number}"}}
        (run / "evidence" / "images.json").write_text(json.dumps(images))
    found = compare.read(tmp_path, runs[0].name, runs[1].name)
    assert [mismatch.fact for mismatch in found.mismatches] == ["image of Kamailio 6.0.1"]


def test_a_run_that_is_not_valid_is_said_to_be(tmp_path: Path) -> None:
    """Its figures are of what is."""
    old = made(tmp_path)
    slices = testing.slices(PLAN)
    slices[-1] = (replace(slices[-1][0], reasons=("disturbed",)), slices[-1][1])
    new = machine.describe(testing.run(tmp_path, PLAN, slices))
    frames.write(new)
    summary.write(new)
    found = compare.read(tmp_path, old.name, new.name)
    assert not found.valid
    assert "**INVALID**" in page.markdown(found)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("one:native", "other", "one names a cell, one does not"),
        ("one:perl", "one:lua", "one has no cell 'perl'"),
        ("nowhere", "one", "no run 'nowhere'"),
    ],
)
def test_what_cannot_be_compared_is_told(tmp_path: Path, first: str, second: str, said: str) -> None:
    """With what there is."""
    made(tmp_path, name="one")
    made(tmp_path, name="other")
    with pytest.raises(BadInputError, match=said):
        compare.read(tmp_path, first, second)


def test_runs_without_a_cell_in_common(tmp_path: Path) -> None:
    """Which two are meant has to be said."""
    old = made(tmp_path, testing.plan(engines=("native",), rounds=2, calls=10))
    new = made(tmp_path, testing.plan(engines=("lua",), rounds=2, calls=10))
    with pytest.raises(BadInputError, match="no cell of the same name") as caught:
        compare.read(tmp_path, old.name, new.name)
    assert "native-aa" in caught.value.remedy
    assert compare.read(tmp_path, f"{old.name}:native", f"{new.name}:lua").rows


@pytest.mark.parametrize(
    "file", ["frames/messages.parquet", "evidence/host.json", "summary.json", "evidence/plan.json"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_dataset_is_an_error_that_names_the_file(tmp_path: Path, file: str, damage: str) -> None:
    """Never a verdict."""
    old, new = made(tmp_path), made(tmp_path)
    path = new / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInputError, match=path.name):
        compare.read(tmp_path, old.name, new.name)


def test_a_damaged_status_is_an_error_as_well(tmp_path: Path) -> None:
    """Without one it would be no run."""
    old, new = made(tmp_path), made(tmp_path)
    (new / "status.json").write_text('{"status": "sea')
    with pytest.raises(BadInputError, match=r"status\.json"):
        compare.read(tmp_path, old.name, new.name)


def test_a_run_of_a_version_to_come_is_an_error(tmp_path: Path) -> None:
    """That says what helps."""
    old, new = made(tmp_path), made(tmp_path)
    told = json.loads((new / "summary.json").read_text())
    (new / "summary.json").write_text(json.dumps(told | {"schema_version": 99}))
    with pytest.raises(BadInputError, match="schema version 99") as caught:
        compare.read(tmp_path, old.name, new.name)
    assert "a newer kemi-lab" in caught.value.remedy


def test_a_version_to_come_is_told_before_its_plan_is_read(tmp_path: Path) -> None:
    """Which may have any form."""
    old, new = made(tmp_path), made(tmp_path)
    status = json.loads((new / "status.json").read_text())
    (new / "status.json").write_text(json.dumps(status | {"schema_version": 99}))
    (new / "evidence" / "plan.json").write_text("{}")
    with pytest.raises(BadInputError, match="schema version 99"):
        compare.read(tmp_path, old.name, new.name)
    (left_out,) = history.read(tmp_path).left_out.values()
    assert "schema version 99" in left_out


def test_one_round_has_a_ratio_and_no_interval(tmp_path: Path) -> None:
    """Nor have runs that are copies of each other: they have no spread."""
    short = testing.plan(rounds=1, calls=20)
    old, new = made(tmp_path, short), made(tmp_path, short, lua=1.5)
    found = row(compare.read(tmp_path, old.name, new.name), BY_TIME).found
    assert found.ratio == pytest.approx(1.25, rel=0.05)
    assert (found.ci_low, found.p) == (None, None)


def test_a_run_without_valid_slices_has_nothing_to_compare(tmp_path: Path) -> None:
    """And no number is made of nothing."""
    old = made(tmp_path)
    bad = [(replace(record, reasons=("disturbed",)), log) for record, log in testing.slices(PLAN)]
    new = machine.describe(testing.run(tmp_path, PLAN, bad))
    frames.write(new)
    summary.write(new)
    found = compare.read(tmp_path, old.name, new.name)
    assert all(one.found == stats.Comparison(None, None, None, None, 0) for one in found.rows)


def test_a_run_may_be_a_path(tmp_path: Path) -> None:
    """With a cell behind it, or without."""
    run = made(tmp_path / "some:where")
    assert compare.read(tmp_path, str(run), str(run)).rows
    assert compare.read(tmp_path, f"{run}:native", f"{run}:lua").rows


def test_welchs_interval_agrees_with_scipy() -> None:
    """For rounds of two runs."""
    one, other = [0.02, 0.05, -0.01, 0.03, 0.04], [0.00, 0.01, -0.02]
    found = stats.compare_apart(one, other)
    test = scipy_stats.ttest_ind(one, other, equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert found.ratio == pytest.approx(math.exp(fmean(one) - fmean(other)))
    assert (found.ci_low, found.ci_high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.p == pytest.approx(test.pvalue)
    assert found.n_rounds == 3


def test_latest_is_a_run_as_well(tmp_path: Path) -> None:
    """As everywhere."""
    run = made(tmp_path)
    copy = shutil.copytree(run, tmp_path / "copy")
    assert store.find(tmp_path, "latest").name == run.name
    assert {one.how for one in compare.read(tmp_path, "latest", copy.name).rows} == {BY_BASELINE, BY_TIME}
