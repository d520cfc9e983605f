"""The gate on the real thing, from a shell: verdicts, exit codes, and GitHub's action with a script of a user's."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from lab.errors import Exit
from lab.versions import ROOT
from tests.docker.driver import Lab, rewrite, scripts

ACTION = ROOT / ".github" / "actions" / "gate"


def experiment(lab: Lab, rounds: int) -> Path:
    """As small as it may be; it looks at each of the last two rounds."""
    looks = {"stop": {"looks": [rounds - 1, rounds]}} if rounds > 2 else {}
    keys = {"name": "gate", "engines": ["native"], "rounds": rounds, "slices": 1, "warmup_slices": 0}
    return lab.experiment(**keys, turn_msec=40, repeats=3, **looks)


@pytest.mark.parametrize(
    ("base", "candidate", "rounds", "verdict", "code"),
    [
        ("parity", "parity-plus-900us", 4, "regression", Exit.REGRESSION),
        ("parity-plus-900us", "parity", 4, "improvement", Exit.IMPROVEMENT),
        ("parity", "parity-plus-900us", 1, "inconclusive", Exit.INCONCLUSIVE),
    ],
)
def test_verdicts_end_with_their_codes(  # noqa: PLR0917
    lab: Lab, base: str, candidate: str, rounds: int, verdict: str, code: Exit
) -> None:
    """A difference that any machine sees. A regression is measured twice; one round has no interval, so no verdict."""
    options = ("--experiment", experiment(lab, rounds), "--delta", "20%", "--tell-improvement", "--json")
    done = lab("gate", base, candidate, *options)
    assert done.process.returncode == code, done.output + done.error
    found = json.loads(done.output)
    assert found["verdict"] == verdict
    assert len(found["attempts"]) == len(lab.runs()) == 1 + (verdict == "regression")
    assert lab.left() == []


def test_a_candidate_that_only_looks_quick_is_invalid(lab: Lab, tmp_path: Path) -> None:
    """It answers everything at once, and does nothing."""
    broken = scripts(tmp_path / "broken")
    rewrite(broken / "native.cfg", "request_route {\n", 'request_route {\n    sl_send_reply("200", "OK");\n    exit;\n')
    done = lab("gate", "parity", broken, "--experiment", experiment(lab, 1))
    assert done.process.returncode == Exit.INVALID, done.output + done.error
    assert done.output.startswith("INVALID: ")
    assert "engine proof" in done.output


def test_the_other_codes(lab: Lab) -> None:
    """Bad input, and a machine without an engine."""
    assert lab("gate", "nowhere.lua", "parity", "--experiment", experiment(lab, 1)).process.returncode == Exit.USAGE
    lab.environment["DOCKER_HOST"] = "unix:///nowhere.sock"
    assert lab("gate", "parity", "parity", "--experiment", experiment(lab, 1)).process.returncode == Exit.SETUP


def test_an_interrupted_gate_has_no_verdict(lab: Lab) -> None:
    """Ctrl-C while slices are measured: its own code, nothing on standard output, nothing left."""
    gate = lab.begin("gate", "parity", "parity", "--experiment", experiment(lab, 4))
    gate.wait_for(r"^1/\d+ r01")
    gate.interrupt()
    assert gate.end() == Exit.INTERRUPTED
    assert gate.output == ""
    assert lab.left() == []


@pytest.mark.parametrize("by", ["time", "instructions"])
def test_the_action_gates_a_script_of_a_users(lab: Lab, tmp_path: Path, by: str) -> None:
    """As the page shows it: a Lua script in a repository against the branch that it is to be merged into."""
    repository, runner = tmp_path / "repository", tmp_path / "runner"
    repository.mkdir()
    runner.mkdir()
    script = repository / "routing.lua"
    shutil.copyfile(ROOT / "images" / "kamailio" / "etc" / "parity" / "lua.lua", script)
    own = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "--quiet", "--initial-branch=main"), ("add", "."), ("commit", "--quiet", "-m", "first")):
        subprocess.run(["git", *own, *command], cwd=repository, check=True)
    rewrite(script, "function ksr_request_route()\n", "function ksr_request_route()\n    local changed = true\n")
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    (step,) = action["runs"]["steps"]
    given = {"base": "routing.lua@main", "candidate": "routing.lua", "engine": "lua", "delta": "90%", "by": by}
    inputs = {name: str(one.get("default", "")) for name, one in action["inputs"].items()} | given
    inputs["experiment"] = str(experiment(lab, 4))
    environment = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) }}", lambda m: inputs[m[1]], text) for name, text in step["env"].items()
    }
    files = {name: str(runner / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=repository,
        env={
            **os.environ,
            **lab.environment,
            **environment,
            **files,
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(ACTION),
            "RUNNER_TEMP": str(runner),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.OK, done.stdout + done.stderr
    outputs = dict(line.split("=", 1) for line in (runner / "GITHUB_OUTPUT").read_text().splitlines())
    assert outputs["verdict"] == "pass"
    assert ET.parse(outputs["junit"]).getroot().get("failures") == "0"  # noqa: S314  (our own)
    figures = {"time": "summary.json", "instructions": "counts.json"}[by]
    assert list(Path(outputs["results"]).glob(f"*-gate-*/{figures}"))
    assert "## kemi-lab gate: pass" in (runner / "GITHUB_STEP_SUMMARY").read_text()
    assert "::notice title=" in done.stdout
    assert outputs.keys() == action["outputs"].keys()
