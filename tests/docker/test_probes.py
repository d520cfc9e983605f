"""Kamailio's worker as the kernel sees it, really: `lab count --probes`, and where that cannot be had."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from lab import host
from lab.counts import probed
from lab.errors import Exit
from lab.versions import ROOT
from tests.docker.driver import Lab, Running, rewrite, scripts
from tests.docker.test_security import broken

FEW = ("--calls", "5", "--warmup-calls", "15", "--repeats", "1", "--probes")
LEGS = ("challenge", "authenticated")


@pytest.fixture(scope="module")
def run(module_lab: Lab) -> Running:
    """Two engines, one fresh start each."""
    file = module_lab.experiment(name="probes", engines=["native", "lua"])
    return module_lab("count", file, *FEW, "--json", patience_seconds=300)


@pytest.fixture(scope="module")
def cells(run: Running) -> dict[str, Any]:
    """What it says of each cell."""
    assert run.process.returncode == Exit.OK, run.error
    found: dict[str, Any] = json.loads(run.output)["cells"]
    return found


def test_what_the_kernel_has_seen_is_what_kamailio_says(cells: dict[str, Any]) -> None:
    """In the same blocks: a latency line has the time on the CPU and off it."""
    for cell in cells.values():
        for leg in LEGS:
            time = cell["time"]["legs"][leg]
            assert time["on_cpu_usec"] + time["away_usec"] == pytest.approx(time["logged_probed_usec"], rel=0.2)


def test_only_the_leg_that_asks_the_database_waits(cells: dict[str, Any]) -> None:
    """So that wait is not in the figure; and what a script takes is."""
    for cell in cells.values():
        legs = cell["time"]["legs"]
        assert legs["challenge"]["away_usec"] < legs["authenticated"]["away_usec"]
    for leg in LEGS:
        native, lua = (cells[name]["time"]["legs"][leg]["on_cpu_usec"] for name in ("native", "lua"))
        assert lua > native


def test_what_looking_costs_is_measured(cells: dict[str, Any]) -> None:
    """It is CPU time of the worker, a few microseconds a request."""
    for cell in cells.values():
        assert 0.8 < cell["time"]["probes"]["ratio"] < 1.5  # the machine may be busy with other tests


def test_a_machine_without_counters_says_so(cells: dict[str, Any]) -> None:
    """Where there are some they count what callgrind does, and what a worker does between two requests."""
    for cell in cells.values():
        counted = cell["time"]["counters"]["instructions:u"]
        assert (counted is None) == (not host.counters())
        if counted is not None:
            callgrind = sum(leg["instructions"] for leg in cell["legs"].values())
            assert counted == pytest.approx(callgrind, rel=0.1)


def test_evidence_is_kept_and_nothing_is_left(run: Running, cells: dict[str, Any]) -> None:
    """From it the same table is made again."""
    (folder,) = run.lab.runs()
    assert run.lab.left() == []
    for name in cells:
        kept = sorted(path.name for path in (folder / "evidence" / probed.FOLDER / f"r01-{name}").iterdir())
        assert kept == [*(probed.block_file(number) for number in range(1, 17)), "kamailio.log.gz", probed.RECORD]
    (folder / "counts.json").unlink()
    again = run.lab("report", folder.name)
    assert again.process.returncode == Exit.OK, again.error
    assert f"{cells['lua']['time']['worker_usec']:.1f}" in again.output


def test_what_looks_has_two_capabilities_and_keeps_all_other_promises(lab: Lab) -> None:
    """And goes with its run when that is interrupted, which is while it looks."""
    running = lab.begin("count", lab.experiment(name="caps", engines=["native"]), *FEW)
    running.wait_for("round 1 of 1: looking at all cells by probes")
    watcher = None
    while watcher is None or not tracing(watcher):
        watcher = next((one for one in lab.containers() if "probes-native" in str(one.name)), None)
    assert set(broken(watcher)) == {
        "it has more than a container has",
        "a process is root's",
        "a process has a capability, or may get one",
    }
    had = watcher.attrs["HostConfig"]
    assert (had["CapDrop"], had["CapAdd"]) == (["ALL"], ["SYS_ADMIN", "SYS_PTRACE"])
    assert (had["Privileged"], had["Devices"], had["NetworkMode"]) == (False, None, "none")
    assert had["SecurityOpt"] == ["no-new-privileges:true"]
    running.interrupt()
    assert running.end() == Exit.INTERRUPTED
    assert lab.left() == []


def tracing(watcher: Container) -> bool:
    """Whether bpftrace is up in it."""
    return any("bpftrace" in line[-1] for line in watcher.top()["Processes"] or ())


def test_a_run_that_is_interrupted_between_looking_and_counting_is_gone_on_with(lab: Lab) -> None:
    """What was seen stays."""
    running = lab.begin("count", lab.experiment(name="between", engines=["native"]), *FEW)
    running.wait_for("round 1 of 1, native: counting")
    running.interrupt()
    assert running.end() == Exit.INTERRUPTED
    resumed = lab("resume", "latest", patience_seconds=300)
    assert resumed.process.returncode == Exit.OK, resumed.error
    assert "looking at all cells" not in resumed.error
    (folder,) = lab.runs()
    assert [path.name for path in (folder / "evidence" / probed.FOLDER).iterdir()] == ["r01-native"]


def test_a_worker_that_dies_while_it_is_looked_at_is_told(lab: Lab, tmp_path: Path) -> None:
    """Here of its three hundredth request or so; the other cell has its figures all the same."""
    routing = scripts(tmp_path / "dies")
    head = "function ksr_request_route()\n"
    count = "    handled = (handled or 0) + 1\n    if handled > 700 then os.exit(7) end\n"
    rewrite(routing / "lua.lua", head, head + count)
    file = lab.experiment(name="dies", engines=["native", "lua"], routing=str(routing))
    ended = lab("count", file, *FEW, patience_seconds=300)
    assert ended.process.returncode == Exit.INVALID, ended.error
    assert re.search("round 1, lua, by probes: SIPp ended with exit code", ended.error)
    (folder,) = lab.runs()
    found = json.loads((folder / "counts.json").read_text())["cells"]
    assert found["native"]["time"]["legs"]
    assert found["lua"]["time"] is None
    assert (folder / "evidence" / probed.FOLDER / "r01-lua" / "kamailio.log").stat().st_size
    assert lab.left() == []


@pytest.mark.parametrize(
    ("capabilities", "what"),
    [("", "perf"), ("    cap_add: [SYS_ADMIN]\n", "the probes")],
    ids=["none", "no ptrace"],
)
def test_where_it_cannot_be_had_it_is_refused(lab: Lab, tmp_path: Path, capabilities: str, what: str) -> None:
    """Before anything is counted: here by an engine whose containers may not have these capabilities."""
    tree = tmp_path / "tree"
    for part in ("lab", "images", "experiments"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "compose.yaml", tree / "compose.yaml")
    rewrite(tree / "compose.yaml", "    cap_add: [SYS_ADMIN, SYS_PTRACE]\n", capabilities)
    lab.environment["PYTHONPATH"] = str(tree)
    ended = lab("count", lab.experiment(name="refused", engines=["native"]), *FEW)
    assert ended.process.returncode == Exit.SETUP, ended.error
    assert f"{what} cannot be used here" in ended.error
    assert "docs/counting.md" in ended.error
    (folder,) = lab.runs()
    assert not (folder / "evidence" / "counts").exists()
    assert lab.left() == []
