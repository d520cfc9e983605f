"""A run that is cut off at any moment is gone on with: nothing sealed is lost, nothing left, its figures are whole."""

import json
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from lab.errors import Exit
from lab.store import digest
from tests.docker.driver import FIRST_SLICE, SCRIPT, Lab


def sealed(run: Path) -> dict[str, str]:
    """What a run has of slices: names and sums."""
    return {path.name: digest(path) for path in (run / "evidence" / "slices").glob("[!.]*")}


def resumed(lab: Lab, run: Path, before: dict[str, str]) -> pd.DataFrame:
    """Go on with it to its end: its slices, among them those from before as they were."""
    again = lab("resume", run.name)
    assert again.process.returncode == Exit.OK, again.error
    assert lab.left() == []
    assert before.items() <= sealed(run).items()
    assert sorted(path.name for path in run.rglob(".*")) == []
    summary = json.loads((run / "summary.json").read_text())
    assert summary["valid"]
    assert {cell["slices_missing"] for cell in summary["cells"].values()} == {0}
    assert lab("verify", run.name).process.returncode == Exit.OK
    return pd.read_parquet(run / "frames" / "slices.parquet")


def test_a_run_whose_driver_was_killed_is_gone_on_with(lab: Lab) -> None:
    """What it has left is shown, and nobody else's; the slices that were sealed are not measured again."""
    killed = lab.begin("run", lab.experiment())
    killed.wait_for(FIRST_SLICE)
    killed.process.kill()
    killed.end()
    (run,) = lab.runs()
    before = sealed(run)
    assert before
    assert lab.left()
    assert json.loads((run / "status.json").read_text())["status"] == "started"
    cleaning: list[str | Path] = [SCRIPT, "clean", "--json"]
    shown = subprocess.run(cleaning, env=lab.environment, capture_output=True, text=True, check=True)
    left = [one for one in json.loads(shown.stdout) if one["run"] == run.name]
    assert {one["kind"] for one in left} == {"container", "network", "volume", "folder"}
    assert {one["living"] for one in left} == {False}
    slices = resumed(lab, run, before)
    first = slices[slices["round"] == 1]
    assert set(first["start"]) == {1, 2}
    assert set(first[first["start"] == 1]["slice"]) == set(before)
    (one,) = json.loads((run / "status.json").read_text())["resumed"]
    assert one["ended"] == "killed"
    assert not any(Path(lab.environment["TMPDIR"]).glob("kemi-lab-secret-*"))


def test_a_first_ctrl_c_finishes_the_slice_and_a_second_one_does_not(lab: Lab) -> None:
    """Either way it is resumed; cells in turns have all of a block, or nothing of it."""
    run = lab.begin("run", lab.experiment(turn_msec=40, slices=2, slice_seconds=6.0, rate_per_s=40))
    run.wait_for(FIRST_SLICE)
    (folder,) = lab.runs()
    count = len(sealed(folder))
    lab.under_load(run)
    run.interrupt()
    run.wait_for("finishing this slice")
    assert run.end() == Exit.INTERRUPTED
    assert f"lab resume {folder.name}" in run.error
    assert lab.left() == []
    cells = len(json.loads((folder / "evidence" / "plan.json").read_text())["cells"])
    finished = sealed(folder)
    assert len(finished) == count + cells
    again = lab.begin("resume", folder.name)
    again.wait_for(r"r01-s\d+-\S+ at 40/s")  # the warm-up, once more
    lab.under_load(again)
    again.process.send_signal(signal.SIGTERM)
    again.wait_for("finishing this slice")
    before = sealed(folder)
    again.interrupt()
    assert again.end() == Exit.INTERRUPTED
    assert sealed(folder) == before
    assert lab.left() == []
    slices = resumed(lab, folder, sealed(folder))
    assert set(slices["start"]) == {1, 2, 3}
    assert [one["ended"] for one in json.loads((folder / "status.json").read_text())["resumed"]] == ["interrupted"] * 2


def test_a_search_of_capacity_is_gone_on_with(lab: Lab) -> None:
    """By cell and round: what was found stays, the search that broke off is made anew."""
    few = {"start_per_s": 100, "step_seconds": 0.5, "steps": 6, "confirmations": 1}
    experiment = lab.experiment(engines=["native"], rounds=2, subscribers=10, search=few)
    run = lab.begin("capacity", experiment)
    run.wait_for("round 2 of 2")
    run.wait_for("re-registration at")
    run.interrupt()
    assert run.end() == Exit.INTERRUPTED
    (folder,) = lab.runs()
    searches = folder / "evidence" / "searches"
    first = (searches / "r01-native-re-registration.json").read_bytes()
    again = lab("resume", folder.name)
    assert again.process.returncode in {Exit.OK, Exit.INVALID}, again.error  # a busy machine confirms no rate
    assert (searches / "r01-native-re-registration.json").read_bytes() == first
    assert all(json.loads(path.read_text())["ended"] for path in searches.glob("*.json"))
    assert lab.left() == []


@pytest.mark.parametrize(("arguments", "words"), [(("latest",), "has come to its end"), (("nowhere",), "no run")])
def test_what_cannot_be_gone_on_with(lab: Lab, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, and nothing is begun."""
    assert lab("run", lab.experiment(engines=["native"], rounds=1, slices=1)).process.returncode == Exit.OK
    refused = lab("resume", *arguments)
    assert refused.process.returncode == Exit.USAGE
    assert words in refused.error
    assert len(lab.runs()) == 1


def test_what_a_killed_run_has_left_is_removed_when_that_is_wanted(lab: Lab) -> None:
    """All of it, and nothing of a run that goes on; its results stay."""
    killed = lab.begin("run", lab.experiment(name="killed"))
    killed.wait_for(FIRST_SLICE)
    killed.process.kill()
    killed.end()
    going = lab.begin("run", lab.experiment(name="going"))
    going.wait_for("round 1 of 2")
    for run in lab.runs():
        cleaning: list[str | Path] = [SCRIPT, "clean", run.name, "--yes"]
        said = subprocess.run(cleaning, env=lab.environment, capture_output=True, text=True, check=True).stdout
        assert ("is removed" in said) == ("killed" in run.name)
        assert ("its run goes on: left alone" in said) == ("going" in run.name)
    assert not any("killed" in thing for thing in lab.left())
    assert not list(Path(lab.environment["TMPDIR"]).glob("kemi-lab-secret-*killed*"))
    assert going.end() == Exit.OK
    assert all((run / "evidence" / "plan.json").is_file() for run in lab.runs())
