"""The results folder: what a reader may rely on whenever he looks, and how a run is found again."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import store, testing
from lab.errors import BadInputError, Exit, SetupError
from lab.model import Plan, SliceRecord

PLAN = testing.plan(rounds=1, slices=1, calls=2)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Where runs lie; nobody has made it yet."""
    return tmp_path / "results"


@pytest.fixture
def run(results: Path) -> store.Run:
    """A run that has just begun."""
    return store.Run.create(results, "quick")


def status(run: store.Run) -> dict[str, object]:
    """What the run says of itself."""
    found: dict[str, object] = json.loads((run.folder / "status.json").read_text())
    return found


def below(folder: Path) -> set[str]:
    """Names of all files and folders in it, hidden ones included."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_run_begins_as_started_and_never_as_good(run: store.Run, results: Path) -> None:
    """And `latest` does not lead to it yet."""
    assert status(run) | {"started_at": ""} == {
        "schema_version": store.SCHEMA_VERSION,
        "run": run.id,
        "status": "started",
        "started_at": "",
        "ended_at": None,
        "ended": None,
        "error": "",
        "resumed": [],
    }
    assert not (results / store.LATEST).exists()


def test_a_runs_id_is_its_time_and_its_experiment(run: store.Run) -> None:
    """So that a listing is in order; the end is chance."""
    stamp, _, name = run.id.partition("-")
    begun = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert re.fullmatch(r"quick-[0-9a-f]{4}", name)
    assert abs((datetime.now(UTC) - begun).total_seconds()) < 60


def test_two_runs_in_one_second_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one results folder or in two: on the engine they are told apart, and removed, by nothing else."""
    clock = SimpleNamespace(now=lambda _zone: datetime(2026, 11, 23, 8, tzinfo=UTC))
    monkeypatch.setattr(store, "datetime", clock)
    ids = [store.Run.create(tmp_path / place, "quick").id for place in ("here", "there", "there")]
    assert len(set(ids)) == 3


def test_a_digest_is_of_names_and_content(tmp_path: Path) -> None:
    """Of a file, or of all files in a folder, wherever that lies."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "lua.lua").write_text("-- routing\n")
    assert store.digest(one) == store.digest(two)
    assert store.digest(one / "inner" / "lua.lua") == hashlib.sha256(b"-- routing\n").hexdigest()
    (two / "inner" / "lua.lua").rename(two / "lua.lua")
    assert store.digest(one) != store.digest(two)


def test_a_copy_can_be_read_by_other_users(tmp_path: Path) -> None:
    """Whatever the umask of whoever wrote it: a container's user is another one. Programs stay programs."""
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "script.lua").write_text("-- routing\n")
    (source / "bake").write_text("#!/bin/sh\n")
    for path, mode in (("bake", 0o700), ("inner/script.lua", 0o600), ("inner", 0o700), (".", 0o700)):
        (source / path).chmod(mode)
    store.copy_readable(source, tmp_path / "copy")
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in (tmp_path / "copy").rglob("*")}
    assert modes == {"copy/bake": 0o755, "copy/inner": 0o755, "copy/inner/script.lua": 0o644}
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "copy" / "inner" / "script.lua").read_text() == "-- routing\n"


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    """A set-up problem, and what helps."""
    (tmp_path / "results").write_text("a file")
    with pytest.raises(SetupError, match="cannot write results") as caught:
        store.Run.create(tmp_path / "results", "quick")
    assert "--results" in caught.value.remedy


def test_a_part_of_the_evidence_appears_whole(run: store.Run) -> None:
    """While it is made, whoever looks for slices sees none."""
    with run.part("slices", "r01-s001-lua") as draft:
        (draft / "slice.json").write_text("{}")
        assert draft.parent.name.startswith(".")
        assert not (run.evidence / "slices" / "r01-s001-lua").exists()
    assert below(run.evidence) == {"slices", "slices/r01-s001-lua", "slices/r01-s001-lua/slice.json"}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing_of_a_part(run: store.Run, kind: type[BaseException]) -> None:
    """Ctrl-C included; what was sealed before it stays."""
    with run.part("slices", "first"):
        pass
    with pytest.raises(kind), run.part("slices", "second") as draft:  # noqa: PT012  (it must get as far as that)
        (draft / "slice.json").write_text("{")
        raise kind
    assert below(run.evidence) == {"slices", "slices/first"}


def test_a_part_is_written_once(run: store.Run) -> None:
    """Evidence is never written over."""
    with run.part("slices", "first") as draft:
        (draft / "log").write_text("old")
    with pytest.raises(FileExistsError, match="first"), run.part("slices", "first") as draft:
        (draft / "log").write_text("new")
    assert (run.evidence / "slices" / "first" / "log").read_text() == "old"
    assert below(run.evidence) == {"slices", "slices/first", "slices/first/log"}


def test_parts_that_belong_together_appear_together(run: store.Run) -> None:
    """All of them, or none."""
    with run.parts("slices", ["first", "second"]) as drafts:
        for draft in drafts:
            (draft / "slice.json").write_text("{}")
    whole = {"slices", *(f"slices/{name}{file}" for name in ("first", "second") for file in ("", "/slice.json"))}
    assert below(run.evidence) == whole
    with pytest.raises(KeyboardInterrupt), run.parts("slices", ["third", "fourth"]) as drafts:  # noqa: PT012
        (drafts[0] / "slice.json").write_text("{}")
        raise KeyboardInterrupt
    assert below(run.evidence) == whole


def test_parts_that_were_whole_when_the_power_failed_get_their_names(
    run: store.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far that was; of one that was not, nothing stays."""
    replace = Path.replace
    moved: list[Path] = []

    def fail(path: Path, target: Path) -> Path:
        moved.append(target)
        if len(moved) == 3:  # whole, the first, and no further
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt), run.parts("slices", ["first", "second", "third"]) as drafts:  # noqa: PT012
        for draft in drafts:
            (draft / "slice.json").write_text("{}")
    monkeypatch.undo()
    (run.evidence / "starts" / ".draft-x").mkdir(parents=True)
    (run.folder / ".draft-y").write_text("half a status")
    run.mend()
    assert {path.name for path in (run.evidence / "slices").iterdir()} == {"first", "second", "third"}
    assert not list(run.folder.rglob(".*"))


def test_others_may_read_what_a_run_has_written(run: store.Run) -> None:
    """Configuration is mounted into containers whose users are not ours."""
    with run.part("slices", "first") as draft:
        store.write_atomically(draft / "log", b"")
    run.seal("complete")
    assert [path for path in run.folder.rglob("*") if not path.stat().st_mode & 0o004] == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full leaves the old content, and no half of the new one beside it."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "deep" / "status.json"
    store.write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert below(tmp_path) == {"deep", "deep/status.json"}


def test_the_seal_is_a_manifest_that_sha256sum_accepts(run: store.Run) -> None:
    """Anyone can see that nothing was changed, or that something was."""
    for name, content in {"a": b"1", "b c": b"2\xff"}.items():
        with run.part("slices", name) as draft:
            (draft / "log").write_bytes(content)
    run.seal("complete")
    check = ["sha256sum", "--check", "--strict", "--quiet", "manifest.sha256"]
    assert subprocess.run(check, cwd=run.folder, check=False).returncode == 0
    assert len((run.folder / "manifest.sha256").read_text().splitlines()) == 2
    (run.evidence / "slices" / "a" / "log").write_bytes(b"3")
    assert subprocess.run(check, cwd=run.folder, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("ended", ["complete", "interrupted", "failed"])
def test_the_seal_says_how_the_run_ended(run: store.Run, ended: str) -> None:
    """Sealed is not the same as complete."""
    begun = status(run)["started_at"]
    run.seal(ended)
    assert (status(run)["status"], status(run)["ended"], status(run)["started_at"]) == ("sealed", ended, begun)
    assert status(run)["ended_at"] is not None


def test_latest_is_a_relative_link_to_the_last_seal(results: Path) -> None:
    """So a results folder may be moved; a run without a seal is not the latest."""
    first, second = (store.Run.create(results, name) for name in ("first", "second"))
    first.seal("complete")
    assert (results / store.LATEST).readlink() == Path(first.id)
    second.seal("failed")
    assert (results / store.LATEST).readlink() == Path(second.id)
    moved = results.rename(results.with_name("moved"))
    assert store.find(moved, store.LATEST) == (moved / second.id).resolve()
    assert {path.name for path in moved.iterdir()} == {first.id, second.id, store.LATEST}


def test_a_run_is_found_by_id_path_or_latest(run: store.Run, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are the same folder."""
    run.seal("complete")
    monkeypatch.chdir(results.parent)
    for name in (run.id, store.LATEST, str(run.folder), f"results/{run.id}", f"results/{run.id}/"):
        assert store.find(results, name) == run.folder.resolve()


def test_a_run_elsewhere_is_found_by_its_path(run: store.Run, tmp_path: Path) -> None:
    """A results folder of another machine, say."""
    assert store.find(tmp_path / "none", str(run.folder)) == run.folder.resolve()


def test_a_run_that_is_not_there_gets_the_last_ones(results: Path) -> None:
    """Or, where there is none, how to make one."""
    with pytest.raises(BadInputError, match="no run 'latest'") as caught:
        store.find(results, store.LATEST)
    assert "lab run FILE" in caught.value.remedy
    made = [store.Run.create(results, f"run{number}") for number in range(7)]
    made[0].seal("complete")
    with pytest.raises(BadInputError) as caught:
        store.find(results, "ruin6")
    assert caught.value.exit_code == Exit.USAGE
    assert caught.value.remedy == f"runs in {results}: {', '.join(run.id for run in made[2:])}"


def test_a_folder_without_a_status_is_no_run(results: Path) -> None:
    """Whatever lies in results beside runs: the table of 2018, for one."""
    (results / "published-2018").mkdir(parents=True)
    with pytest.raises(BadInputError):
        store.find(results, "published-2018")


def test_what_was_dumped_is_loaded_again(tmp_path: Path) -> None:
    """Every type of the domain: tuples, enumerations as keys, numbers as keys, what was not measured."""
    record, _ = testing.slices(PLAN)[0]
    store.dump(PLAN, tmp_path / "plan.json")
    store.dump(record, tmp_path / "slice.json")
    assert store.load(Plan, tmp_path / "plan.json") == PLAN
    assert store.load(SliceRecord, tmp_path / "slice.json") == record


def test_a_dataset_that_is_not_complete_names_what_is_missing(tmp_path: Path) -> None:
    """Bad input, not a defect of ours."""
    with pytest.raises(BadInputError, match=r"plan\.json: missing"):
        store.load(Plan, tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"rounds": [', '"rounds": 3, "was": [', "rounds: "),
        ('"children": 2', '"children": "two"', "cells.0.children: "),
        ('"calls": 2', '"calls": null', r"rounds\.0\.slices\.0\.calls: "),
        ('"aa_cell"', '"aa"', "aa_cell: "),
        ('"hash"', '"hash', "Invalid JSON"),
    ],
)
def test_a_broken_file_is_named_with_its_first_fault(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """By file and place in it."""
    path = tmp_path / "plan.json"
    store.dump(PLAN, path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInputError, match=rf"plan\.json: {problem}"):
        store.load(Plan, path)


def test_a_run_can_be_sealed_though_evidence_is_bare(results: Path) -> None:
    """What fails before the first slice is sealed, too."""
    run = store.Run.create(results, "quick")
    shutil.rmtree(run.evidence)
    run.seal("failed")
    assert (run.folder / "manifest.sha256").read_text() == ""
    assert status(run)["status"] == "sealed"
