"""A real search, of few and short steps: what it finds depends on the machine, that it finds it honestly does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import store
from lab.model import Plan, SliceRecord
from lab.search import Search
from tests.docker.driver import Lab, Running

SUBSCRIBERS, PROCESSES = 1500, 2
# Up to 800/s, which a busy machine may refuse.
FEW = {
    "start_per_s": 100,
    "growth": 1.0,
    "resolution": 0.5,
    "tries": 2,
    "confirmations": 1,
    "step_seconds": 0.5,
    "steps": 6,
}
TOLERANT = {"rate_tolerance": 0.2, "steal_share": 1.0, "run_delay_share": 1.0}


@pytest.fixture(scope="module")
def run(module_lab: Lab) -> Running:
    """One engine, one round, two SIPp processes."""
    file = module_lab.experiment(
        name="search",
        engines=["native"],
        rounds=1,
        subscribers=SUBSCRIBERS,
        sipp_processes=PROCESSES,
        rate_per_s="auto",
        search=FEW,
        limits=TOLERANT,
    )
    return module_lab("capacity", file, "--json")


@pytest.fixture(scope="module")
def folder(run: Running) -> Path:
    """Its folder."""
    assert run.process.returncode in {0, 4}, run.error
    (found,) = run.lab.runs()
    return found


def steps(folder: Path) -> Iterator[tuple[Search, SliceRecord, Any]]:
    """Every step with its search and its slice."""
    for path in sorted((folder / "evidence" / "searches").iterdir()):
        search = store.load(Search, path)
        for step in search.steps:
            yield search, store.load(SliceRecord, folder / "evidence" / "slices" / step.slice / "slice.json"), step


def test_both_rates_are_reported(run: Running, folder: Path) -> None:
    """As JSON, which is also in the folder; nothing is left running."""
    said = json.loads(run.output)
    assert said == json.loads((folder / "capacity.json").read_text())
    (cell,) = said["cells"].values()
    assert [rate["kind"] for rate in cell["rates"]] == ["registration", "re-registration"]
    assert all(rate["rate_per_s"] >= FEW["start_per_s"] / 4 for rate in cell["rates"])
    assert run.lab.left() == []


def test_every_call_is_of_whom_it_should_be(folder: Path) -> None:
    """By Kamailio's own count: each registration makes a binding, a refresh makes none."""
    for search, record, step in steps(folder):
        if search.kind == "re-registration":
            assert search.bindings
            assert 2 < search.bindings <= SUBSCRIBERS
            assert step.new_bindings == 0
        elif not step.failures:
            assert step.new_bindings == step.calls == record.sipp.successful


def test_two_sipps_share_each_step(folder: Path) -> None:
    """Kamailio saw the calls of both, each once."""
    for _, record, step in steps(folder):
        written = {path.name for path in (folder / "evidence" / "slices" / step.slice).iterdir()}
        assert written >= {"sipp.csv", "sipp-2.csv"}
        if not step.failures:
            assert record.tally.messages == {"challenge": step.calls, "authenticated": step.calls, "other": 0}
            assert record.tally.foreign == 0
        assert step.sipp_cpu_usec is None or step.sipp_cpu_usec > 0


def test_the_table_can_be_had_again(folder: Path, module_lab: Lab) -> None:
    """Without Docker, by the same words as of any run."""
    again = module_lab("report", folder.name)
    assert "Registration Rate = " in again.output
    assert "Re-registration Rate = " in again.output


def test_an_open_rate_is_found_and_kept(lab: Lab) -> None:
    """A run offers the declared share of what its baseline serves; the next one need not search."""
    file = lab.experiment(
        name="open",
        engines=["native"],
        rounds=1,
        rate_per_s="auto",
        slice_seconds=0.5,
        search=FEW | {"steps": 20},  # a rate that is not confirmed is not kept
        limits=TOLERANT | {"retransmissions": 50, "clock_drift_usec": 100000},
    )
    for known in (False, True):
        ended = lab("run", file)
        assert ended.process.returncode in {0, 4}, ended.error
        folder = lab.runs()[-1]
        search = store.load(Search, folder / "evidence" / "rate" / "search.json")
        plan = store.load(Plan, folder / "evidence" / "plan.json")
        assert search.rate_per_s
        assert {cell.rate_per_s for cell in plan.cells} == {int(search.rate_per_s * 0.35)}
        assert (folder / "evidence" / "rate" / "slices").exists() is not known
