"""Every way of being observed with the real images, through the console script."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lab.observation import WAYS
from tests.docker.driver import Lab, Running

CALLS, ROUNDS = 150, 2


@pytest.fixture(scope="module")
def run(module_lab: Lab) -> Running:
    """As little as has an interval."""
    ways = list(WAYS)
    file = module_lab.experiment(name="ways", engines=["native"], baseline="native-log", observe=ways, warmup_slices=0)
    return module_lab("observer", file, "--json")


@pytest.fixture(scope="module")
def folder(run: Running) -> Path:
    """The run's folder."""
    assert run.process.returncode in {0, 4}, run.error
    (found,) = run.lab.runs()
    return found


@pytest.fixture(scope="module")
def slices(folder: Path) -> pd.DataFrame:
    """One row a slice."""
    return pd.read_parquet(folder / "frames" / "slices.parquet")


def test_each_way_is_set_beside_the_log(run: Running, folder: Path) -> None:
    """By CPU time of both kinds; with an interval where both rounds could be counted."""
    assert folder.is_dir()
    found: dict[str, Any] = json.loads(run.output)
    cells = {f"native-{way}" for way in WAYS} - {"native-log"} | {"native-log-aa"}
    costs = {(cost["cell"], cost["measure"]): cost["found"] for cost in found["costs"]}
    assert {cell for cell, measure in costs if measure == "container"} == cells
    assert {cell for cell, measure in costs if measure == "challenge"} == cells - {"native-no-log"}
    for cell in cells:
        for measure in ("container", "workers"):
            assert 0.2 < costs[cell, measure]["ratio"] < 5


def test_only_the_cell_without_a_log_has_no_lines(slices: pd.DataFrame) -> None:
    """All others have theirs, by whatever way: through a pipe, from Docker, in colour."""
    silent = slices["cell"] == "native-no-log"
    assert slices[silent]["messages"].isna().all()
    assert (slices[silent]["received_requests"] >= 2 * CALLS).all()
    assert (slices[~silent]["messages"] == 2 * CALLS).all()
    assert (slices["malformed"] == 0).all()


def test_a_log_is_switched_off_in_the_same_process(folder: Path) -> None:
    """The workers of both cells have the same numbers, and the cell without a log no start of its own."""
    workers: dict[str, set[str]] = {}
    for path in folder.glob("evidence/slices/r01-*/slice.json"):
        record = json.loads(path.read_text())
        workers[record["plan"]["cell"]] = set(record["after"]["workers"])
    assert workers["native-no-log"] == workers["native-log"]
    starts = {path.name for path in folder.glob("evidence/starts/*")}
    assert starts == {f"r0{n}-native-{way}" for n in (1, 2) for way in (*WAYS, "log-aa") if way != "no-log"}


def test_the_log_of_each_way_is_what_it_says(folder: Path) -> None:
    """Colour is kept as it was, beside the log as it is read."""
    raw = {path.parent.name.partition("native-")[2] for path in folder.glob("evidence/slices/*/kamailio-raw.log.gz")}
    assert {name.partition("-again")[0] for name in raw} == {"colour", "page"}


def test_nothing_of_ours_is_left(run: Running) -> None:
    """As after any run."""
    assert run.lab.left() == []
