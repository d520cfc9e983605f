"""What tests of whole runs share: a specification, its images, a machine on which the testbed is made up."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lab import claims, host, resume, runner, testing, validity
from lab.cores import Layout
from lab.host import Facts
from lab.images import FOLDER, Built
from lab.model import Plan
from lab.planted import Routing
from lab.runner import Specification
from lab.running import Enough, narrow_enough
from lab.session import Judges
from tests.bed import LAYOUT, Bed, World, use

if TYPE_CHECKING:
    import docker
    import pytest

PLAN = testing.plan(engines=("native", "lua"), rounds=2, slices=1, warmup_slices=1, calls=12)


def built(tag: str, number: int, *engines: str, **failed: str) -> Built:
    """An image on the engine."""
    return Built(f"kemi-lab/{tag}", f"sha256:{number}", 1, "1", {}, engines=engines, failed=failed)


IMAGES = runner.Images(
    kamailio={"6.0.1": built("kamailio:6.0.1", 0, "native", "lua")},
    unavailable={},
    database={"mysql": built("mysql:9.7", 1)},
    sipp=built("sipp:3.7.3", 2),
    schemas={"6.0.1": b"tables"},
)
SPECIFICATION = Specification(
    plan=PLAN,
    experiment="# as the user wrote it\n",
    layout=LAYOUT,
    make_images=lambda _: IMAGES,
    configurations=(FOLDER / "kamailio" / "etc" / "kamailio.cfg",),
    routings={"parity": Routing(FOLDER / "kamailio" / "etc" / "parity")},
    traffic=(FOLDER / "sipp" / "scenarios" / "register.xml",),
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

    def round_done(self, number: int, so_far: object) -> None:
        """Heard."""

    def note(self, text: str) -> None:
        """Heard."""


JUDGES = Judges(validity.judge, validity.judge_start)


def world(tmp_path: Path, monkeypatch: "pytest.MonkeyPatch") -> World:
    """A machine with two CPUs, on which the testbed is made up, and CPUs are claimed in a folder of the test's."""
    world = use(tmp_path / "volume", monkeypatch)

    class Made(Bed):
        """Like the real one, it is told where the run's folder is."""

        def __init__(self, _client: object, run: str, plan: Plan, layout: Layout, folder: Path) -> None:
            super().__init__(world, plan)
            self.run, self.layout, self.folder = run, layout, folder

    for module in (runner, resume):
        monkeypatch.setattr(module, "Testbed", Made)
    monkeypatch.setattr(host, "facts", lambda _: FACTS)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: world.history.append(f"pinned {sorted(cpus)}"))
    for name in ("claim", "going_on"):
        monkeypatch.setattr(claims, name, partial(getattr(claims, name), folder=tmp_path / "cpus"))
    return world


def run(results: Path, specification: Specification = SPECIFICATION, enough: Enough = narrow_enough) -> Path:
    """Run a specification in that world."""
    client = cast("docker.DockerClient", None)
    return runner.run(specification, client, results, judges=JUDGES, reporter=Quiet(), enough=enough)
