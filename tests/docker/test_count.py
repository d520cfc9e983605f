"""A real count, of few calls: what is counted is the same in each fresh start, and whatever goes wrong is told."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lab import store
from lab.counts import record
from lab.counts.record import CountRecord
from lab.errors import Exit
from tests.docker.driver import Lab, Running, rewrite, scripts
from tests.docker.test_security import broken

FEW = ("--calls", "20", "--warmup-calls", "25", "--repeats", "2")
AGREE = 0.001  # fresh starts, whatever else the machine does meanwhile


@pytest.fixture(scope="module")
def run(module_lab: Lab) -> Running:
    """Three engines, two fresh starts each."""
    return module_lab("count", module_lab.experiment(name="count"), *FEW, "--json", patience_seconds=300)


@pytest.fixture(scope="module")
def said(run: Running) -> dict[str, Any]:
    """What it says for programs."""
    assert run.process.returncode == Exit.OK, run.error
    found: dict[str, Any] = json.loads(run.output)
    return found


def legs(said: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """By cell and leg."""
    return {(name, leg): found for name, cell in said["cells"].items() for leg, found in cell["legs"].items()}


def test_fresh_starts_agree(said: dict[str, Any]) -> None:
    """Nothing random is left in it: neither hash seeds nor addresses, nor who waits for whom."""
    assert set(legs(said)) == {
        (engine, leg) for engine in ("native", "lua", "python3") for leg in ("challenge", "authenticated")
    }
    for key, found in legs(said).items():
        first, second = found["of_rounds"]
        assert first == pytest.approx(second, rel=AGREE), key


def test_every_instruction_is_somebodys(said: dict[str, Any]) -> None:
    """Whose they are adds up to all; only scripts have an interpreter and calls into KEMI."""
    for (cell, leg), found in legs(said).items():
        assert sum(found["shares"].values()) == pytest.approx(found["instructions"])
        assert 0 < found["route"] < found["instructions"]
        assert {"core", "memory manager", "libc", "auth"} <= found["shares"].keys()
        assert ("database client" in found["shares"]) == (leg == "authenticated")
        assert bool(found["crossings"]) == ("interpreter" in found["shares"]) == (cell != "native")


def test_scripts_in_parity_call_kamailio_as_often(said: dict[str, Any]) -> None:
    """The same calls into KEMI in each language."""
    found = legs(said)
    for leg in ("challenge", "authenticated"):
        assert found["lua", leg]["crossings"] == found["python3", leg]["crossings"] > 0


def test_it_leaves_profiles_and_nothing_else(run: Running, said: dict[str, Any]) -> None:
    """One a cell and start, as callgrind wrote it."""
    (folder,) = run.lab.runs()
    assert run.lab.left() == []
    kept = list(store.records(CountRecord, folder / "evidence" / record.FOLDER, record.RECORD))
    assert len(kept) == 2 * len(said["cells"])
    for place, found in kept:
        assert found.parts == found.parts_expected == 1 + 2 * (1 + 45)
        with record.profile(place) as lines:
            assert next(lines).startswith("# callgrind format")


def test_the_table_can_be_had_again(run: Running, said: dict[str, Any]) -> None:
    """From the evidence, by the same words as of any run; that it is whole is seen by its manifest."""
    (folder,) = run.lab.runs()
    (folder / "counts.json").unlink()
    again = run.lab("report", folder.name)
    assert again.process.returncode == Exit.OK, again.error
    assert f"{said['cells']['lua']['legs']['challenge']['instructions']:,.0f}".replace(",", " ") in again.output
    assert run.lab("verify", folder).process.returncode == Exit.OK


def test_a_killed_count_is_gone_on_with(lab: Lab) -> None:
    """What was counted stays; what was not is counted from a fresh start."""
    running = lab.begin("count", lab.experiment(name="killed", engines=["native", "lua"]), *FEW)
    running.wait_for("round 1 of 2, lua: counting")
    running.process.send_signal(signal.SIGKILL)
    running.end()
    (folder,) = lab.runs()
    counted = folder / "evidence" / record.FOLDER / "r01-native" / record.RECORD
    before = counted.stat().st_mtime_ns
    resumed = lab("resume", folder.name, patience_seconds=300)
    assert resumed.process.returncode == Exit.OK, resumed.error
    assert "round 1 of 2, native" not in resumed.error
    assert counted.stat().st_mtime_ns == before
    assert lab.left() == []


def test_an_interrupted_count_leaves_nothing(lab: Lab) -> None:
    """But what it has counted."""
    running = lab.begin("count", lab.experiment(name="stopped", engines=["native"]), *FEW)
    running.wait_for("round 1 of 2, native: counting")
    lab.under_load(running)
    assert {one.name: broken(one) for one in lab.containers() if broken(one)} == {}  # what SECURITY.md promises
    running.interrupt()
    assert running.end() == Exit.INTERRUPTED
    assert lab.left() == []


def test_messages_of_no_leg_are_told(lab: Lab) -> None:
    """Which request is which leg is known by their order alone: replies would come between."""
    file = lab.experiment(name="replies", engines=["native"], scenario="invite")
    ended = lab("count", file, "--calls", "5", "--warmup-calls", "5", "--repeats", "1")
    assert ended.process.returncode == Exit.INVALID, ended.error
    assert "requests of no leg, is not counted" in ended.error


def test_a_worker_that_dies_is_told(lab: Lab, tmp_path: Path) -> None:
    """With its last words; the other cell is counted all the same."""
    routing = scripts(tmp_path / "dies")
    rewrite(routing / "lua.lua", "function ksr_request_route()\n", "function ksr_request_route()\n    os.exit(7)\n")
    file = lab.experiment(name="dies", engines=["native", "lua"], routing=str(routing))
    ended = lab("count", file, "--calls", "5", "--warmup-calls", "10", "--repeats", "1")
    assert ended.process.returncode == Exit.INVALID, ended.error
    assert "round 1, lua: " in ended.error
    (folder,) = lab.runs()
    found = json.loads((folder / "counts.json").read_text())["cells"]
    assert found["native"]["legs"]
    assert not found["lua"]["legs"]
    assert lab.left() == []


TURNS = 100, 200
FEWEST_OF_A_TURN = 2  # instructions
# How far the second hundred may differ from the first: natively a number is written out, and then has three digits;
# in Python a range and its iterator are made, once.
DIFFER = {"native": (0.02, 0.0), "lua": (0.0, 300.0), "python3": (0.0, 1500.0)}  # as a share, and in instructions
# A loop of so many turns, which do next to nothing, and where it goes: at the head of every request.
LOOPS = {
    "native.cfg": (
        "request_route {\n",
        "    $var(turn) = 0;\n    while ($var(turn) < TURNS) { $var(turn) = $var(turn) + 1; }\n",
    ),
    "lua.lua": ("function ksr_request_route()\n", "    for turn = 1, TURNS do end\n"),
    "python3.py": (
        "    def ksr_request_route(self, _msg: object) -> int:\n",
        "        for turn in range(TURNS): pass\n",
    ),
}


def with_loop(folder: Path, turns: int) -> Path:
    """Our routing with that loop in it."""
    routing = scripts(folder)
    for name, (head, loop) in LOOPS.items():
        script = routing / name
        rewrite(script, head, head + loop.replace("TURNS", str(turns)))
    native = routing / "native.cfg"
    native.write_text(native.read_text() + "\nmax_while_loops=1000\n")
    return routing


def test_a_planted_loop_is_found_with_its_size(lab: Lab, tmp_path: Path) -> None:
    """A second hundred of turns takes as much as the first, but for what sets a loop up, in each language and leg."""
    routings = [scripts(tmp_path / "none"), *(with_loop(tmp_path / f"turns{turns}", turns) for turns in TURNS)]
    file = lab.experiment(name="loops", routing=[str(routing) for routing in routings], baseline="native")
    ended = lab(
        "count", file, "--calls", "10", "--warmup-calls", "15", "--repeats", "1", "--json", patience_seconds=300
    )
    assert ended.process.returncode == Exit.OK, ended.error
    cells = json.loads(ended.output)["cells"]
    for engine, (share, instructions) in DIFFER.items():
        for leg in ("challenge", "authenticated"):
            none, one, two = (
                cells[f"{engine}-{name}"]["legs"][leg]["instructions"]
                for name in ("none", *(f"turns{turns}" for turns in TURNS))
            )
            assert two - one > TURNS[0] * FEWEST_OF_A_TURN, (engine, leg)
            assert one - none == pytest.approx(two - one, rel=share, abs=instructions), (engine, leg)
