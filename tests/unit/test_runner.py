"""A whole run without an engine: what is prepared, how it is sealed, and that its evidence is enough for figures."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from lab import claims, frames, host, override, runner, store, summary, testing, validity
from lab.cores import Layout
from lab.errors import SetupError, TestbedError
from lab.host import Facts
from lab.images import FOLDER, Built
from lab.model import Cell, Plan, Role
from lab.runner import Specification
from lab.session import Judges
from tests.bed import LAYOUT, Bed, World, use

if TYPE_CHECKING:
    import docker

PLAN = testing.plan(engines=("native", "lua"), rounds=2, slices=1, warmup_slices=1, calls=12)
BUILT = {
    role: Built(f"kemi-lab/{role}:1", f"sha256:{number}", 1, "1", {})
    for number, role in enumerate(("kamailio", "mysql", "sipp"))
}
SPECIFICATION = Specification(
    plan=PLAN,
    experiment="# as the user wrote it\n",
    layout=LAYOUT,
    make_images=lambda _: BUILT,
    configuration=FOLDER / "kamailio" / "etc" / "kamailio.cfg",
    routings={"parity": FOLDER / "kamailio" / "etc" / "parity"},
    scenario=FOLDER / "sipp" / "scenarios" / "register.xml",
)
FACTS = Facts("Pentium", "0-1", 2**30, "6.1", "Debian", "x86_64", "20.10", "2.26", "kvm")


class Quiet:
    """Hears everything and says nothing."""

    def stage(self, text: str) -> None:
        """Heard."""

    def detail(self, text: str) -> None:
        """Heard."""

    def slice_done(self, record: object) -> None:
        """Heard."""

    def note(self, text: str) -> None:
        """Heard."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine with two CPUs, on which the testbed is made up, and CPUs are claimed in a folder of the test's."""
    world = use(tmp_path / "volume", monkeypatch)

    class Made(Bed):
        """Like the real one, it is told where the run's folder is."""

        def __init__(self, client: object, run: str, plan: Plan, layout: Layout, folder: Path) -> None:
            super().__init__(world, plan)
            self.run, self.layout, self.folder = run, layout, folder
            assert client is None

    monkeypatch.setattr(runner, "Testbed", Made)
    monkeypatch.setattr(host, "facts", lambda _: FACTS)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: world.history.append(f"pinned {sorted(cpus)}"))
    monkeypatch.setattr(claims, "claim", partial(claims.claim, folder=tmp_path / "cpus"))
    return world


Run = Callable[..., Path]


@pytest.fixture
def run(world: World, tmp_path: Path) -> Run:  # noqa: ARG001  (there must be one)
    """Run a specification in that world."""

    def run(specification: Specification = SPECIFICATION) -> Path:
        return runner.run(
            specification,
            cast("docker.DockerClient", None),
            tmp_path / "results",
            judges=Judges(validity.judge, validity.judge_start),
            reporter=Quiet(),
        )

    return run


def latest(tmp_path: Path) -> Path:
    """The folder of the run that was sealed last."""
    return store.find(tmp_path / "results", store.LATEST)


def ended(folder: Path) -> str:
    """How it says that it has ended."""
    status = json.loads((folder / "status.json").read_text())
    assert status["status"] == "sealed"
    return str(status["ended"])


def test_a_run_gives_evidence_that_gives_figures(run: Run, tmp_path: Path) -> None:
    """From the plan to a valid summary: every leg of every cell has its calls, warm-up left out."""
    folder = run()
    assert folder == latest(tmp_path)
    assert ended(folder) == "complete"
    check = ["sha256sum", "--check", "--strict", "--quiet", "manifest.sha256"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    frames.write(folder)
    found = summary.write(folder)
    assert found.valid
    assert {name: cell.legs["authenticated"].count for name, cell in found.cells.items()} == dict.fromkeys(
        ("native", "lua", "native-aa"), 24
    )


def test_what_is_known_is_written_before_anything_starts(run: Run, world: World, tmp_path: Path) -> None:
    """A run that fails at its first step still says what it was, and on which machine."""
    world.mute.add("r01-s001-native")
    with pytest.raises(TestbedError):
        run()
    evidence = latest(tmp_path) / "evidence"
    assert (evidence / "experiment.toml").read_text() == "# as the user wrote it\n"
    assert store.load(Plan, evidence / "plan.json") == PLAN
    assert store.load(Facts, evidence / "host.json") == FACTS
    assert json.loads((evidence / "images.json").read_text())["mysql"]["id"] == "sha256:1"
    assert (evidence / "testbed" / "override.yaml").is_file()


def test_what_is_mounted_is_a_copy_in_the_run(run: Run) -> None:
    """Configuration and scripts as Kamailio sees them, traffic and users as SIPp does."""
    bed = run(replace(SPECIFICATION, plan=replace(PLAN, subscribers=12))) / "evidence" / "testbed"
    mounted = bed / "etc" / "parity"
    assert (mounted / "kamailio.cfg").read_bytes() == SPECIFICATION.configuration.read_bytes()
    assert {path.name for path in (mounted / "parity").iterdir()} >= {"native.cfg", "lua.lua", "python3.py"}
    scenarios = {path.name for path in (bed / "scenarios").iterdir()}
    assert scenarios == {"register.xml", "register.toml", "probe.xml", "users.csv"}
    assert len((bed / "scenarios" / "users.csv").read_text().splitlines()) == 13


def test_each_routing_has_a_folder_of_its_own(run: Run, tmp_path: Path) -> None:
    """With the same configuration beside it."""
    lean = tmp_path / "lean"
    lean.mkdir()
    (lean / "native.cfg").write_text("request_route { exit; }\n")
    cells = (*PLAN.cells[:1], Cell("lua", "lua", "6.0.1", "./lean"), *PLAN.cells[2:])
    routings = {**SPECIFICATION.routings, "./lean": lean}
    folder = run(replace(SPECIFICATION, plan=replace(PLAN, cells=cells), routings=routings))
    mounted = folder / "evidence" / "testbed" / "etc"
    assert (mounted / "lean" / "lean" / "native.cfg").read_text() == "request_route { exit; }\n"
    assert (mounted / "lean" / "kamailio.cfg").is_file()
    assert (mounted / "parity" / "parity" / "lua.lua").is_file()


def test_the_driver_stays_on_its_own_cpus_while_it_measures(run: Run, world: World) -> None:
    """And has all of them again afterwards."""
    layout = Layout("lists", {Role.KAMAILIO: (1,), Role.MYSQL: (0,), Role.SIPP: (0,), Role.DRIVER: (7,)})
    run(replace(SPECIFICATION, layout=layout))
    events = [event for event, _ in groupby(world.history)]  # one a thread
    assert [event for event in events if event.startswith("pinned")] == ["pinned [7]", "pinned [0]"]
    assert events[0] == "pinned [7]"


def test_subscribers_are_there_before_the_first_round(run: Run, world: World) -> None:
    """As many as the plan says."""
    run(replace(SPECIFICATION, plan=replace(PLAN, subscribers=12)))
    assert world.history.index("subscribers 12") < world.history.index("renew kamailio_native")


@pytest.mark.parametrize(("fault", "how"), [("silent", "failed"), ("interrupted", "interrupted")])
def test_however_it_ends_it_is_sealed_with_what_was_measured(
    run: Run, world: World, tmp_path: Path, fault: str, how: str
) -> None:
    """And taken down; figures can be made of it, which are never valid."""
    getattr(world, fault).add("r02-s001-native")
    with pytest.raises((TestbedError, KeyboardInterrupt)) as caught:
        run()
    folder = latest(tmp_path)
    assert ended(folder) == how
    assert getattr(caught.value, "kept", None) == folder  # for whoever tells the user
    assert json.loads((folder / "status.json").read_text())["error"] == str(caught.value)
    assert [event for event, _ in groupby(world.history)][-2:] == ["down", "pinned [0]"]
    assert len(list((folder / "evidence" / "slices").iterdir())) == 6
    frames.write(folder)
    assert not summary.write(folder).valid


def test_a_cell_that_cannot_be_proven_makes_no_valid_run(run: Run, world: World) -> None:
    """It comes to its planned end, and says which cell is broken."""
    world.says["lua"] = "native"
    folder = run()
    assert ended(folder) == "complete"
    frames.write(folder)
    found = summary.write(folder)
    assert not found.valid
    assert list(found.broken) == ["lua"]


def test_cpus_that_are_taken_refuse_the_run(run: Run, world: World, tmp_path: Path) -> None:
    """Before there is anything of it: not even an image is built, on CPUs that another run measures."""

    def build(_: object) -> dict[str, Built]:
        world.history.append("built")
        return BUILT

    with (
        claims.claim([1], "20261123T080000Z-other"),
        pytest.raises(SetupError, match="taken by 20261123T080000Z-other"),
    ):
        run(replace(SPECIFICATION, make_images=build))
    assert not (tmp_path / "results").exists()
    assert world.history == []
    assert run().is_dir()


def test_a_disk_without_room_refuses_the_run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What would die half-way is not begun."""
    monkeypatch.setattr(host, "DISK_MINIMUM_BYTES", 2**70)
    with pytest.raises(SetupError, match="left on the disk") as caught:
        run()
    assert "--results" in caught.value.remedy
    assert not (tmp_path / "results").exists()


def test_the_override_is_that_of_the_plan(run: Run) -> None:
    """Whoever reads the run can raise its testbed again."""
    folder = run() / "evidence" / "testbed"
    images = override.Images("sha256:0", "sha256:1", "sha256:2")
    assert (folder / "override.yaml").read_text() == override.text(override.build(PLAN, LAYOUT, images, str(folder)))
