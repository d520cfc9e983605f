"""One run, one fault at one moment, and which aims held."""

import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError, TimeoutExpired

import docker
from docker.errors import APIError

from lab import testbed
from lab.errors import Exit
from tests.docker.driver import SCRIPT, Lab, Running
from tests.faults import aims
from tests.faults.engine import SecondEngine
from tests.faults.faults import Fault
from tests.faults.scene import ENGINES, Scene, Struck, TooLateError

PATIENCE_SECONDS = 240  # for the end of a run that takes less than one of them

Moment = Callable[[Scene], None]


@dataclass(slots=True)
class Outcome:
    """What came of it. The four lists are of broken aims."""

    fault: str
    moment_seconds: float = 0.0  # since the run began
    struck: str = ""
    line: str = ""  # the last one that the run had said by then
    code: int | None = None  # None: it did not end
    told: str = ""  # all that it said from then on
    hit: int = 0  # slices that could not be valid
    sealed: int = 0  # slices that were sealed before it
    resumed: int | None = None  # exit code of `lab resume`, where it was asked
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        """Its sentence on how it has ended; where there is none, its last line."""
        lines = [line.strip() for line in self.told.splitlines() if line.strip()]
        return next((line for line in lines if line.startswith("lab: ")), lines[-1] if lines else "")

    @property
    def broken(self) -> list[str]:
        """All of them."""
        return [*self.wrong, *self.lost, *self.left, *self.unexplained]


def strike(
    fault: Fault,
    when: Moment,
    chance: random.Random,
    client: docker.DockerClient,
    second: SecondEngine | None = None,
    *,
    resume: bool,
) -> Outcome:
    """TooLateError where the run had ended, or what was to be struck had, before it was."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        lab = stack.enter_context(Lab.at(Path(name), second.client if second else client))
        if second:
            lab.enter = second.enter
            lab.environment["DOCKER_HOST"] = second.host
        stack.enter_context(fault.around(lab))
        begun = time.monotonic()
        running = lab.begin("run", _experiment(lab))
        scene = stack.enter_context(_scene(lab, running, chance, second))
        try:
            when(scene)
        except APIError as error:
            raise TooLateError from error
        outcome = Outcome(fault.name, round(time.monotonic() - begun, 1))
        before = {path: content for run in lab.runs() for path, content in aims.sums(run).items()}
        outcome.line = running.said[-1].strip() if running.said else ""
        outcome.sealed = len(before)
        spoken = len(running.said)
        try:
            struck = fault.inject(scene)
        except (APIError, CalledProcessError) as error:
            raise TooLateError from error
        outcome.struck = struck.what
        try:
            outcome.code = running.end(PATIENCE_SECONDS)
        except TimeoutExpired:
            outcome.unexplained.append(f"did not end within {PATIENCE_SECONDS} s")
            running.process.kill()
            running.end()
        outcome.told = "".join(running.said[spoken:])
        scene.mending.close()
        _look(outcome, scene, struck, before, untidy=fault.untidy)
        if resume and outcome.code is not None:
            _go_on(outcome, lab)
        return outcome


@contextmanager
def _scene(lab: Lab, running: Running, chance: random.Random, second: SecondEngine | None) -> Iterator[Scene]:
    """With all put right again, whatever happens."""
    scene = Scene(lab, running, chance, second)
    try:
        yield scene
    finally:
        running.process.kill()  # it has ended, as a rule
        try:
            running.end()
        finally:
            scene.mending.close()
            for run in lab.runs():
                testbed.remove_all(lab.client, run.name)


def _look(outcome: Outcome, scene: Scene, struck: Struck, before: dict[str, str], *, untidy: bool) -> None:
    lab, running = scene.lab, scene.running
    folder = next(iter(lab.runs()[-1:]), None)
    if outcome.code is not None:
        outcome.unexplained += aims.unexplained(running, folder, killed=struck.driver_killed)
    if outcome.code in {aims.KILLED, None}:
        _clean(lab)
        outcome.left += aims.left(lab, None)
    else:
        outcome.left += aims.left(lab, None if untidy else folder)
    if folder:
        outcome.hit = sum(one.hit_by(struck) for one in aims.slices(folder))
        outcome.wrong += aims.wrong(folder, struck)
        outcome.lost += aims.lost(folder, before)


def _clean(lab: Lab) -> None:
    """As whoever's driver was killed would do; of these runs alone, as others may go on here."""
    for run in lab.runs():
        command: list[str | Path] = [*lab.enter, SCRIPT, "clean", run.name, "--yes"]
        subprocess.run(command, env=lab.environment, check=True, capture_output=True)


def _go_on(outcome: Outcome, lab: Lab) -> None:
    """`lab resume`, where there is something to go on with: it comes to its end, and nothing is lost by it."""
    folder = next(iter(lab.runs()[-1:]), None)
    if not folder or not (folder / "evidence" / "testbed" / "override.yaml").exists():
        return
    if json.loads((folder / "status.json").read_text())["ended"] == "complete":
        return
    before = aims.sums(folder)
    try:
        again = lab("resume", folder.name, patience_seconds=PATIENCE_SECONDS)
    except TimeoutExpired:
        outcome.unexplained.append("resume: does not end")
        lab.begun[-1].process.kill()
        lab.begun[-1].end()
        return
    outcome.resumed = again.process.returncode
    if outcome.resumed not in {Exit.OK, Exit.INVALID}:
        outcome.unexplained.append(f"resume: {again.said[-2:]}")
    outcome.lost += aims.lost(folder, before)
    outcome.left += aims.left(lab, folder)
    verified = lab("verify", folder.name)
    if verified.process.returncode != Exit.OK:
        outcome.wrong.append(f"verify: {verified.error}")


def _experiment(lab: Lab) -> Path:
    """Two cells, two rounds, with checks that see the faults, and let pass what a busy machine does."""
    limits = {"rate_tolerance": 0.1, "steal_share": 1.0, "foreign_cpu_share": 1.0, "run_delay_share": 1.0}
    keys = {"engines": list(ENGINES), "slices": 1, "slice_seconds": 2.0, "rate_per_s": 100, "repeats": 1}
    return lab.experiment(name="fault", limits=limits, **keys)
