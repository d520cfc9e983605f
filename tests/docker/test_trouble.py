"""Bad input and trouble: one clear error with its cause and remedy, its own exit code, and nothing left running."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import docker
import pytest

from lab import assembly, claims, database, experiment, runner, testbed, validity
from lab.affinity import allowed
from lab.errors import Exit, TestbedError
from lab.model import SliceRecord
from lab.process import ignore
from lab.running import Running
from lab.session import Judges
from lab.topology import format_list
from lab.versions import ROOT
from tests.docker.conftest import Bench
from tests.docker.driver import DATA, FIRST_SLICE, Lab
from tests.docker.root import small_disk

PARITY = ROOT / "images" / "kamailio" / "etc" / "parity"


def scripts(folder: Path, script: str, text: str) -> None:
    """A copy of our routing with something put in front of one script."""
    shutil.copytree(PARITY, folder, copy_function=shutil.copyfile)
    path = folder / script
    path.write_text(text + path.read_text())


def slices(lab: Lab) -> list[Path]:
    """Folders of the slices that were measured."""
    (run,) = lab.runs()
    return sorted((run / "evidence" / "slices").glob("[!.]*"))


def status(lab: Lab) -> tuple[str, str]:
    """How far the run's folder says that it is."""
    (run,) = lab.runs()
    content = json.loads((run / "status.json").read_text())
    return content["status"], content["ended"]


# --- bad input: before anything starts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engines": ["native", "luna"]}, ["engines", "'luna'", "native, lua, luajit"]),
        ({"round": 2}, ["round: unknown key", "did you mean rounds?"]),
        ({"rate_per_s": -5}, ["rate_per_s", "-5", "greater than 0"]),
        ({"scenario": "./nowhere.xml"}, ["scenario", "nowhere.xml", "register"]),
        ({"routing": "./nowhere"}, ["routing", "nowhere", "parity"]),
        ({"configuration": "nowhere.cfg"}, ["configuration", "nowhere.cfg"]),
        ({"kamailio": "5.2.0"}, ["kamailio", "5.2.0", "6.0.1"]),
        ({"baseline": "python3", "engines": ["native", "lua"]}, ["baseline", "python3", "native, lua"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_before_anything_starts(lab: Lab, changes: dict[str, object], words: list[str]) -> None:
    """Exit code 2; the message names file, key, what was found and what there is."""
    run = lab("run", lab.experiment(**changes))
    assert run.process.returncode == Exit.USAGE, run.error
    for word in ("small.toml", *words):
        assert word in run.error
    assert not lab.results.exists()


def test_a_missing_experiment_is_refused(lab: Lab) -> None:
    """The same for the file itself."""
    run = lab("run", lab.folder / "nowhere.toml")
    assert run.process.returncode == Exit.USAGE
    assert "nowhere.toml: no such experiment file" in run.error


# --- what does not come up ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "script", "text", "cause"),
    [
        ("lua", "lua.lua", "this is no Lua\n", "lua.lua:1:"),
        ("python3", "python3.py", "def broken(:\n", "SyntaxError"),
        ("native", "native.cfg", "request_route { no_such_function(); }\n", "no_such_function"),
    ],
)
def test_a_broken_script_is_shown(lab: Lab, engine: str, script: str, text: str, cause: str) -> None:
    """Kamailio dies at start: exit code 5, its own last words, and which cell it was."""
    scripts(lab.folder / "broken", script, text)
    run = lab("run", lab.experiment(engines=[engine], baseline=engine, routing="./broken"))
    assert run.process.returncode == Exit.SETUP, run.error
    assert cause in run.error
    assert f"cell {engine}" in run.error
    assert "what helps: " in run.error
    assert lab.left() == []
    assert status(lab) == ("sealed", "failed")


@pytest.fixture
def silent_image(bench: Bench) -> Iterator[str]:
    """An image that takes MySQL's place, takes connections at its port, and says nothing."""
    listen = (
        'use IO::Socket::INET; IO::Socket::INET->new(LocalPort => 3306, Listen => 9) or die; print "deaf\\n"; sleep'
    )
    container = bench.client.containers.create(
        bench.built["sipp"].id, labels={testbed.LABEL_RUN: bench.run}, command=["perl", "-e", listen]
    )
    image = str(container.commit().id)
    yield image
    bench.client.images.remove(image)


def test_a_mysql_that_never_answers_is_given_up(
    lab: Lab, client: docker.DockerClient, silent_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while: the error says what was asked, and what helps; what it said last is shown."""
    monkeypatch.setattr(database, "connect", partial(database.connect, patience_seconds=3))
    monkeypatch.setattr(claims, "claim", partial(claims.claim, folder=lab.folder / "claims"))
    decided = assembly.specify(experiment.read(lab.experiment()), client)
    made = decided.make_images(ignore)
    silent = replace(made, database={"mysql": replace(made.database["mysql"], id=silent_image)})
    decided = replace(decided, make_images=lambda _: silent)
    with pytest.raises(TestbedError, match="the database answers no query") as caught:
        runner.run(decided, client, lab.results, judges=Judges(validity.judge, validity.judge_start), reporter=Quiet())
    assert caught.value.exit_code == Exit.SETUP
    assert caught.value.remedy
    assert lab.left() == []
    assert status(lab) == ("sealed", "failed")


class Quiet:
    """Hears a run and says nothing."""

    def stage(self, text: str) -> None:
        """Not shown."""

    def detail(self, text: str) -> None:
        """Not shown."""

    def slice_done(self, record: SliceRecord) -> None:
        """Not shown."""

    def round_done(self, number: int, so_far: Running) -> None:
        """Not shown."""

    def note(self, text: str) -> None:
        """Not shown."""


# --- while it runs --------------------------------------------------------------------------------------------------


ELSEWHERE = 'taskset -c "$1" sleep infinity & exec sleep infinity'


def test_one_process_elsewhere_is_seen(bench: Bench) -> None:
    """Whichever it is: an engine and a cgroup may have done what was asked, and somebody moved one all the same."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    both = f"{first},{second}"
    container = bench.start("sipp", "-c", ELSEWHERE, "sh", str(first), entrypoint="sh", cpuset_cpus=both)
    wrapped = container.get_wrapped_container()
    found: list[str] = []
    for _ in range(100):  # until it has moved
        found = allowed(wrapped).split()
        if str(first) in found:
            break
    assert found == [str(first), format_list((first, second))]


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Load that makes processes wait for a CPU."""
    burning = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(loops)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


def test_a_process_that_is_just_being_started_is_not_elsewhere(bench: Bench) -> None:
    """Others' execs are seen in a container for a moment before they have its CPUs, on busy CPUs once in a dozen."""
    first = min(os.sched_getaffinity(0))
    container = bench.start("sipp", "-c", "exec sleep infinity", entrypoint="sh", cpuset_cpus=str(first))
    wrapped = container.get_wrapped_container()
    with busy(4), ThreadPoolExecutor(9) as pool:
        assert set(pool.map(lambda _: allowed(wrapped), range(150))) == {str(first)}


def test_a_second_run_on_the_same_cpus_is_refused(lab: Lab) -> None:
    """At once, naming the first, which goes on."""
    first = lab.begin("run", lab.experiment(name="first"))
    first.wait_for("starting the database")
    second = lab("run", lab.experiment(name="second"))
    assert second.process.returncode == Exit.SETUP
    assert "taken by first" in second.error
    assert "what helps: wait" in second.error
    assert first.process.poll() is None
    assert len(lab.runs()) == 1
    first.interrupt()
    assert first.end() == Exit.INTERRUPTED


def test_two_runs_on_cpus_of_their_own_go_on_side_by_side(lab: Lab) -> None:
    """Own names, networks, volumes and ports: neither sees the other."""
    running = []
    for cpu in sorted(os.sched_getaffinity(0))[:2]:
        own = dict.fromkeys(("kamailio", "mysql", "sipp", "driver"), str(cpu))
        running.append(lab.begin("run", lab.experiment(name=f"on-{cpu}", engines=["native"], rounds=1, cpus=own)))
    assert len(running) == 2, "this takes two CPUs"
    for run in running:
        assert run.end() in {Exit.OK, Exit.INVALID}, run.error
        assert "calls planned" not in run.error
    assert lab.left() == []


@pytest.mark.parametrize(
    ("moment", "measured"),
    [("starting the database", False), ("round 1 of 2", False), (FIRST_SLICE, True), ("round 2 of 2", True)],
    ids=["mysql starts", "cells start", "slice", "second round starts"],
)
def test_ctrl_c_leaves_nothing_but_what_was_measured(lab: Lab, moment: str, measured: bool) -> None:  # noqa: FBT001
    """At any moment: exit code 130, nothing of ours on the engine, and frames of the slices that were finished."""
    run = lab.begin("run", lab.experiment(repeats=0))
    run.wait_for(moment)
    run.interrupt()
    assert run.end() == Exit.INTERRUPTED
    assert "lab: interrupted" in run.error
    assert "Traceback" not in run.error
    assert lab.left() == []
    assert status(lab) == ("sealed", "interrupted")
    assert bool(slices(lab)) == measured
    frames = lab("frames", "latest")
    assert frames.process.returncode == Exit.INVALID, frames.error
    summary = json.loads((lab.results / "latest" / "summary.json").read_text())
    assert summary["valid"] is False
    assert any("interrupted" in note for note in summary["notes"])


def test_a_second_ctrl_c_does_not_stop_the_taking_down(lab: Lab) -> None:
    """An impatient user presses it again, and once more."""
    run = lab.begin("run", lab.experiment())
    run.wait_for(FIRST_SLICE)
    run.interrupt()
    up = len(lab.left())
    while len(lab.left()) == up:  # until the taking down has begun
        assert run.process.poll() is None
    run.interrupt()
    run.interrupt()
    assert run.end() == Exit.INTERRUPTED
    assert lab.left() == []


# --- where results go -----------------------------------------------------------------------------------------------


def test_a_results_folder_that_cannot_be_made_is_refused(lab: Lab) -> None:
    """Before anything starts: it lies below a file."""
    lab.results.write_text("in the way\n")
    run = lab("run", DATA / "small.toml")
    assert run.process.returncode == Exit.SETUP, run.error
    assert "cannot write results" in run.error
    assert "what helps: " in run.error


def test_a_full_disk_is_refused(lab: Lab) -> None:
    """Before anything starts."""
    with small_disk(lab.results, "64m"):
        run = lab("run", DATA / "small.toml")
        assert lab.runs() == []
    assert run.process.returncode == Exit.SETUP, run.error
    assert "left on the disk" in run.error
    assert "--results" in run.error
