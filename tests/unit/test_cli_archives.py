"""Commands about archives: what goes to which stream, and which exit code each way to end has."""

import json
from pathlib import Path

import pytest

from lab.errors import Exit
from tests.unit.test_cli import Lab, lab_command, make

__all__ = ["lab_command"]  # a fixture


@pytest.fixture
def results(tmp_path: Path, lab_command: Lab) -> Path:
    """Results with one valid run."""
    make(tmp_path / "results")
    lab_command("history", "nothing yet", "--results", tmp_path)  # what making it has said is no matter
    return tmp_path / "results"


def test_there_and_back(results: Path, tmp_path: Path, lab_command: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says the path that it has made, and nothing else: the next command takes it."""
    monkeypatch.chdir(tmp_path)
    run = (results / "latest").resolve().name
    packed = lab_command("archive", "latest", "--results", results)
    assert tuple(packed) == (Exit.OK, f"{run}.kemi-lab.zip\n", "")
    file = tmp_path / packed.out.strip()
    verified = lab_command("verify", file)
    assert verified.code == Exit.OK
    assert "all as they were sealed; " in verified.out
    restored = lab_command("restore", file, "--results", tmp_path / "elsewhere")
    assert tuple(restored) == (Exit.OK, f"{tmp_path / 'elsewhere' / run}\n", "")
    report = lab_command("report", run, "--results", tmp_path / "elsewhere")
    assert report.code == Exit.OK
    assert "lua / native" in report.out


def test_a_run_is_verified_by_its_name(results: Path, lab_command: Lab) -> None:
    """As any other command takes it; what differs is named, with its own exit code."""
    assert lab_command("verify", "latest", "--results", results).code == Exit.OK
    plan = results / "latest" / "evidence" / "plan.json"
    plan.write_text(plan.read_text().replace("native", "Native"))
    ended = lab_command("verify", "latest", "--results", results)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "changed: evidence/plan.json" in ended.err
    assert lab_command("verify", "nothing", "--results", results).code == Exit.USAGE


def test_programs_get_json(results: Path, tmp_path: Path, lab_command: Lab) -> None:
    """With the same fields from all three."""
    file = tmp_path / "run.zip"
    said = [
        lab_command("archive", "latest", "--with-logs", "--output", file, "--results", results, "--json"),
        lab_command("verify", file, "--json"),
        lab_command("restore", file, "--results", tmp_path / "elsewhere", "--json"),
    ]
    found = [json.loads(one.out) for one in said]
    assert {tuple(one) for one in found} == {("path", "run", "files", "size", "left_out")}
    assert found[0] == found[1]
    assert [one["left_out"] for one in found] == [0, 0, 0]
