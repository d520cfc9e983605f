"""Ratios over time: which runs are in them, and where a change is seen."""

import itertools
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from lab import frames, history, summary, testing
from lab.history import Point
from lab.report import history as page
from tests.unit import machine

PLAN = testing.plan(rounds=2, slices=1, calls=20)


def made(results: Path, number: int, lua: float, plan: object = PLAN) -> Path:
    """A run of some day, in which Lua costs so much; its noise is its own."""
    assert isinstance(plan, type(PLAN))
    seed = random.Random(number)  # noqa: S311
    factors = {"lua": lua * (1 + seed.uniform(-0.01, 0.01))}
    folder = testing.run(results, plan, testing.slices(plan, factors))
    folder = folder.rename(results / f"2026010{number}T000000Z-builder-0000")
    frames.write(folder)
    summary.write(folder)
    return folder


def test_a_change_is_seen_where_it_was_made(tmp_path: Path) -> None:
    """Four runs at 1.2, five at 1.5."""
    runs = [made(tmp_path, number, 1.2 if number < 5 else 1.5).name for number in range(1, 10)]
    found = history.read(tmp_path)
    (series,) = [one for one in found.series if (one.cell, one.leg) == ("lua", "registration")]
    assert [point.run for point in series.points] == runs
    (change,) = series.changes
    assert change.run == runs[4]
    assert change.step == pytest.approx(1.25, rel=0.03)
    assert (change.before, change.after) == pytest.approx((1.2, 1.5), rel=0.03)
    assert not any(one.changes for one in found.series if one.cell == "native-aa")
    said = page.markdown(found)
    assert "## builder: lua / native, registration" in said
    assert f"| {runs[4]} " in said
    assert "%, from 1." in said


def test_runs_that_prove_nothing_are_left_out_and_named(tmp_path: Path) -> None:
    """Not valid, a specimen, without figures; other experiments are where they are asked for."""
    good = made(tmp_path, 1, 1.2)
    bad = testing.run(tmp_path, PLAN, testing.slices(PLAN)[:-1])
    frames.write(bad)
    summary.write(bad)
    bare = testing.run(tmp_path, PLAN)
    other = made(tmp_path, 2, 1.2, replace(PLAN, experiment="other"))
    found = history.read(tmp_path)
    assert found.left_out.keys() == {bad.name, bare.name}
    assert found.left_out[bad.name] == "not valid"
    assert {one.experiment for one in found.series} == {"builder", "other"}
    only = history.read(tmp_path, "other")
    assert {point.run for one in only.series for point in one.points} == {other.name}
    assert good.name not in page.markdown(only)


def test_what_gates_compared_is_in_no_series(tmp_path: Path) -> None:
    """It is another thing each time; their base against itself is the same."""
    engines = ("native-base", "native-candidate")
    plan = replace(testing.plan(engines=engines, rounds=2, slices=1, calls=20), experiment="gate")
    for number in (1, 2):
        made(tmp_path, number, 1.0, plan)
    assert {one.cell for one in history.read(tmp_path).series} == {"native-base-aa"}


def test_another_design_is_another_series(tmp_path: Path) -> None:
    """Though it has the same name."""
    made(tmp_path, 1, 1.2)
    made(tmp_path, 2, 1.2, testing.plan(rounds=2, slices=2, calls=20))
    assert {len(one.points) for one in history.read(tmp_path).series} == {1}


def test_another_machine_is_another_series(tmp_path: Path) -> None:
    """A step between two machines is no change of the software."""
    for number, kernel in ((1, "6.1"), (2, "6.12"), (3, "6.12")):
        machine.describe(made(tmp_path, number, 1.2), kernel=kernel)
    assert sorted({len(one.points) for one in history.read(tmp_path).series}) == [1, 2]


def test_an_empty_folder_has_no_history(tmp_path: Path) -> None:
    """And says so."""
    assert "No valid run has a ratio." in page.markdown(history.read(tmp_path))


@pytest.mark.parametrize("told", [True, False], ids=["runs know their noise", "they do not"])
@pytest.mark.parametrize("runs", [6, 10, 20, 50])
def test_a_series_without_a_change_shows_none(runs: int, *, told: bool) -> None:
    """In nineteen of twenty, at least, of 400: also where the noise has to be guessed from the series itself."""
    draw = random.Random(runs)  # noqa: S311
    false = 0
    for _ in range(400):
        ratios = [math.exp(draw.gauss(0, 0.02)) for _ in range(runs)]
        points = [Point(str(number), ratio, None, None, 0.02 if told else None) for number, ratio in enumerate(ratios)]
        false += bool(list(history.changes(points)))
    assert false / 400 <= 0.05


def test_a_step_of_three_deviations_is_seen() -> None:
    """With six runs on either side: in nine of ten."""
    draw = random.Random(12)  # noqa: S311
    seen = 0
    for _ in range(300):
        logs = [draw.gauss(3 * (number >= 6), 1) for number in range(12)]
        seen += any(abs(place - 6) <= 1 for place in history.breaks(logs, 1.0))
    assert seen / 300 > 0.9


def test_changes_need_runs_on_either_side() -> None:
    """Of three runs nobody can say which one is odd; nor of runs without any noise, which were copied."""
    assert history.breaks([0.0, 0.0, 5.0], 0.1) == []
    assert history.breaks([0.0] * 9, 0.0) == []
    places = history.breaks([0.0, 0.1, 5.0, 5.1, 0.0, 0.1], 0.1)
    assert all(after - before >= history.SHORTEST for before, after in itertools.pairwise([0, *places, 6]))
