"""A run that was broken off is gone on with: what was sealed stays, the rest is measured, the dataset says where."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from docker.errors import ImageNotFound

from lab import dataset, frames, host, images, leftovers, override, resume, store, testing, versions
from lab.errors import BadInputError, SetupError, TestbedError
from lab.model import Plan
from lab.running import Enough, narrow_enough
from tests.bed import World
from tests.unit import made
from tests.unit.made import FACTS, SPECIFICATION, Quiet

if TYPE_CHECKING:
    import docker

PLAN = testing.plan(engines=("native", "lua"), rounds=2, slices=2, warmup_slices=1, calls=12)
PLANNED = [piece.id for planned in PLAN.rounds for piece in planned.slices]
THIS = replace(SPECIFICATION, plan=PLAN)
BREAK = "r01-s005-lua"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Whose testbed is made up; on its engine there is what tests say."""
    world = made.world(tmp_path, monkeypatch)
    monkeypatch.setattr(images.Workshop, "schema", lambda _self, _built: b"tables")
    monkeypatch.setattr(leftovers, "remove_of", lambda _client, run: world.history.append(f"remove {run}"))
    return world


Broken = Callable[..., Path]


@pytest.fixture
def broken(world: World, tmp_path: Path) -> Broken:
    """A run that was broken off in the middle of a slice: its folder."""

    def broken(at: str = BREAK, plan: Plan = PLAN) -> Path:
        world.interrupted.add(at)
        with pytest.raises(KeyboardInterrupt):
            made.run(tmp_path / "results", replace(THIS, plan=plan))
        world.interrupted.clear()
        world.history.clear()
        return store.find(tmp_path / "results", store.LATEST)

    return broken


def killed(folder: Path) -> Path:
    """The same run, as a driver that was killed leaves it: neither sealed nor tidied up."""
    said = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(said | {"status": "started", "ended": None, "ended_at": None}))
    (folder / store.MANIFEST).unlink()
    return folder


def go_on(folder: Path, enough: Enough = narrow_enough, gone: tuple[str, ...] = ()) -> Path:
    """Resume a run on an engine that lacks some images."""

    def get(image: str) -> None:
        if image in gone:
            raise ImageNotFound(image)

    client = cast("docker.DockerClient", SimpleNamespace(images=SimpleNamespace(get=get)))
    return resume.resume(folder, client, judges=made.JUDGES, reporter=Quiet(), enough=enough)


def test_what_was_sealed_stays_and_the_rest_is_measured(broken: Broken, world: World) -> None:
    """In the same folder, by the same plan; together it is a run as if nothing had been."""
    folder = broken()
    before = {path: path.read_bytes() for path in (folder / "evidence").rglob("*") if path.is_file()}
    assert go_on(folder) == folder
    assert all(path.read_bytes() == content for path, content in before.items())
    assert world.loads() == [
        "r01-s010-native",
        "r01-s011-lua",
        "r01-s012-native-aa",
        *PLANNED[PLANNED.index(BREAK) :],
    ]
    found = dataset.derive(folder)
    assert found.valid
    assert found.plan_hash == PLAN.hash
    assert {
        name: (cell.slices_valid, cell.slices_missing, cell.slices_repeated) for name, cell in found.cells.items()
    } == {cell.name: (6, 0, 1) for cell in PLAN.cells}
    assert {cell.legs["challenge"].count for cell in found.cells.values()} == {4 * 12}
    timed = [name for name in PLANNED if int(name[5:8]) > 3]
    slices = frames.load(folder).slices
    assert sorted(slices[~slices["warmup"]]["slice"]) == sorted(timed)
    assert Counter(zip(slices["round"], slices["start"], strict=True)) == {(1, 1): 4, (1, 2): 8, (2, 1): 9}


def test_the_dataset_says_that_it_was_resumed_and_where(broken: Broken, world: World) -> None:
    """In its status, in its figures' notes, and by each slice and start."""
    folder = broken()
    world.interrupted = {"r02-s003-native-aa"}
    with pytest.raises(KeyboardInterrupt):
        go_on(folder)
    world.interrupted = set()
    go_on(killed(folder))
    said = json.loads((folder / "status.json").read_text())
    assert (said["status"], said["ended"]) == ("sealed", "complete")
    assert [(one["ended"], one["after"]) for one in said["resumed"]] == [
        ("interrupted", "r01-s004-native"),
        ("killed", "r02-s002-lua"),
    ]
    notes = dataset.derive(folder).notes
    assert notes[0].startswith("resumed after r01-s004-native, at 20")
    assert notes[0].endswith(": it had been interrupted")
    assert notes[1].endswith(": its driver had been killed")
    starts = frames.load(folder).starts
    assert Counter(zip(starts["round"], starts["start"], strict=True)) == {
        (1, 1): 3, (1, 2): 3, (2, 1): 3, (2, 2): 3,
    }  # fmt: skip


def test_a_run_that_is_begun_anew_each_time_is_never_lost(broken: Broken, world: World) -> None:
    """However often it breaks: each time only what is missing is left."""
    folder = broken("r01-s001-native")
    for at in ("r01-s004-native", "r01-s009-native-aa", "r02-s001-native", "r02-s009-native-aa"):
        world.interrupted = {at}
        with pytest.raises(KeyboardInterrupt):
            go_on(folder)
    world.interrupted = set()
    go_on(folder)
    found = dataset.derive(folder)
    assert found.valid
    assert {cell.legs["challenge"].count for cell in found.cells.values()} == {4 * 12}


def test_a_declared_rule_goes_by_all_rounds(broken: Broken) -> None:
    """Also by those that were measured before the break."""
    rounds = tuple(
        replace(
            PLAN.rounds[0], number=number, slices=tuple(replace(piece, round=number) for piece in PLAN.rounds[0].slices)
        )
        for number in (1, 2, 3)
    )
    plan = replace(PLAN, rounds=rounds, looks=(2, 3), alpha=0.03)
    folder = broken("r03-s007-native", plan)
    seen = []

    def enough(plan: Plan, running: object, number: int) -> str:
        seen.append((number, running.comparisons(plan)["lua", "challenge"].n_rounds))  # type: ignore[attr-defined]
        return "it knows" if number == 2 else ""

    go_on(folder, enough)
    assert seen == [(1, 1), (2, 2)]  # not the third, of which there is something already
    assert store.load(Plan, folder / "evidence" / "plan.json").stopped_after == 2
    assert dataset.derive(folder).valid


def test_cells_in_turns_are_resumed_block_by_block(broken: Broken, world: World) -> None:
    """Those of a block are sealed together, or not at all."""
    plan = replace(PLAN, turn_msec=40)
    folder = broken(plan=plan)
    kept = {path.name for path in (folder / "evidence" / "slices").iterdir()}
    assert kept == set(PLANNED[:3])
    go_on(folder)
    assert sorted(world.loads()) == sorted(["r01-s010-native", "r01-s011-lua", "r01-s012-native-aa", *PLANNED[3:]])
    assert dataset.derive(folder).valid


def test_a_block_that_was_whole_when_the_driver_was_killed_is_not_lost(broken: Broken, world: World) -> None:
    """Its slices get their names now; what was being written is gone, and is measured again."""
    folder = killed(broken(plan=replace(PLAN, turn_msec=40)))
    slices = folder / "evidence" / "slices"
    whole = slices / ".whole-x"
    whole.mkdir()
    for name in PLANNED[1:3]:
        (slices / name).replace(whole / name)
    (slices / ".draft-y" / PLANNED[4]).mkdir(parents=True)
    (folder / "evidence" / "starts" / ".draft-z").write_text("half")
    go_on(folder)
    assert not list(folder.rglob(".*"))
    assert PLANNED[1] not in world.loads()
    assert dataset.derive(folder).valid


def test_what_a_killed_driver_has_left_is_removed_first(broken: Broken, world: World) -> None:
    """Before anything is raised."""
    folder = killed(broken())
    go_on(folder)
    assert world.history[0] == f"remove {folder.name}"


def test_what_was_derived_of_the_half_is_gone(broken: Broken) -> None:
    """It would not fit the whole; what somebody else has put there stays."""
    folder = broken()
    dataset.derive(folder)
    (folder / "notes.txt").write_text("the machine was busy")
    world_was = (folder / "summary.json").read_bytes()
    go_on(folder)
    assert not (folder / "summary.json").exists()
    assert (folder / "notes.txt").exists()
    dataset.derive(folder)
    assert (folder / "summary.json").read_bytes() != world_was


# --- what cannot be gone on with ------------------------------------------------------------------------------------


def test_a_run_that_has_ended_has_nothing_left(world: World, tmp_path: Path) -> None:  # noqa: ARG001
    """And is not touched."""
    folder = made.run(tmp_path / "results", THIS)
    with pytest.raises(BadInputError, match="has come to its end"):
        go_on(folder)
    assert store.status(folder).complete


def test_evidence_that_has_changed_since_is_refused(broken: Broken) -> None:
    """The seal says what it was."""
    folder = broken()
    (folder / "evidence" / "starts" / "r01-lua" / "proof.txt").write_text("another")
    with pytest.raises(BadInputError, match=r"starts/r01-lua/proof\.txt"):
        go_on(folder)


def test_a_run_without_a_testbed_is_begun_anew(broken: Broken) -> None:
    """Nothing of it was measured."""
    folder = killed(broken())
    shutil.rmtree(folder / "evidence" / "testbed")
    with pytest.raises(BadInputError, match="broke off before anything was up"):
        go_on(folder)


def test_everything_that_has_changed_is_named(
    broken: Broken, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is begun, or changed in the run's folder."""
    folder = broken()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(host, "facts", lambda _: replace(FACTS, kernel="6.2", memory_bytes=1))
    changed = tmp_path / "tree"
    changed.mkdir()
    (changed / override.BASE).write_text("services: {}\n")
    monkeypatch.setattr(versions, "ROOT", changed)
    with pytest.raises(SetupError, match="cannot be gone on with") as refused:
        go_on(folder, gone=("sha256:1",))
    assert refused.value.detail.splitlines() == [
        f"memory_bytes: was {FACTS.memory_bytes}, is 1",
        "kernel: was 6.1, is 6.2",
        "compose.yaml: is not the one that the run was begun with",
        "kemi-lab/mysql:9.7: its image sha256:1 is not on this engine",
    ]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert world.history == []


def test_a_run_that_fails_can_be_gone_on_with(world: World, tmp_path: Path) -> None:
    """As one that was interrupted."""
    world.silent.add(BREAK)
    with pytest.raises(TestbedError):
        made.run(tmp_path / "results", THIS)
    world.silent.clear()
    folder = go_on(store.find(tmp_path / "results", store.LATEST))
    assert json.loads((folder / "status.json").read_text())["resumed"][0]["ended"] == "failed"
    assert dataset.derive(folder).valid
