"""A run that a fault strikes: what there is to strike, and what is put right again afterwards."""

import math
import random
import re
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from docker.errors import APIError
from docker.models.containers import Container

from lab import override
from tests.docker.driver import SERVICE, Lab, Running
from tests.faults.engine import SecondEngine

T = TypeVar("T")
ROUND = re.compile(r"round (\d+) of ")

ENGINES = ("native", "lua")
ALL = frozenset({*ENGINES, "native-aa"})  # cells
LOOK_SECONDS = 0.05  # between two looks


class TooLateError(Exception):
    """The run had ended before there was anything to strike."""


@dataclass(frozen=True, slots=True)
class Struck:
    """What a fault has done, and which cells cannot have a valid slice from then on, or meanwhile."""

    since: float  # time.time()
    cells: frozenset[str] = frozenset()
    until: float = math.inf
    what: str = ""
    round: int | None = None  # whose containers were struck: the next round has others
    driver_killed: bool = False


@dataclass(slots=True)
class Scene:
    """One run of two cells."""

    lab: Lab
    running: Running
    chance: random.Random
    engine: SecondEngine | None = None  # where the run is on one
    mending: ExitStack = field(default_factory=ExitStack)  # done when the run has ended

    @property
    def folder(self) -> Path:
        """The run's, once there is one."""
        return self.wait(self.lab.runs)[-1]

    def container(self, service: str) -> Container:
        """One that runs, of a service whose name begins so."""
        return self.chance.choice(self.wait(lambda: self.containers(service)))

    def wait(self, look: Callable[[], Iterable[T]]) -> list[T]:
        """What a look gives as soon as that is something; TooLateError where the run ends before."""
        while self.running.process.poll() is None:
            with suppress(APIError):  # a container that is on its way out
                if found := list(look()):
                    return found
            time.sleep(LOOK_SECONDS)
        raise TooLateError

    def processes(self, container: Container, pattern: str) -> list[int]:
        """Ids, as this machine has them, of a container's processes whose command matches somewhere."""
        top = container.top()
        column = top["Titles"].index("PID")
        return [its(container, int(line[column])) for line in top["Processes"] or () if re.search(pattern, line[-1])]

    @property
    def round(self) -> int:
        """That is going on, by the last line that says so."""
        found = filter(None, map(ROUND.match, self.running.said))
        return max((int(one[1]) for one in found), default=1)

    def first(self, container: Container) -> int:
        """A container's first process, as this machine numbers it."""
        container.reload()
        return its(container, int(container.attrs["State"]["Pid"]))

    def log(self) -> tuple[str, str]:
        """A cell, of those that are under load if there are any, and the path of its log once Kamailio logs."""
        kamailio = self.container("kamailio-").labels[SERVICE]
        cell = self.chance.choice(self.lab.sending() or [kamailio]).partition("-")[2]
        path = override.log_of(cell)
        self.wait(lambda: [1] if not self.in_holder(f"test -s {path}") else [])
        return cell, path

    def in_holder(self, script: str) -> int:
        """Run a shell's script where the logs are; its exit code."""
        return run_in(self.container("log-holder"), script)

    def containers(self, service: str) -> list[Container]:
        """All that run."""
        return [one for one in self.lab.containers() if one.labels[SERVICE].startswith(service)]


def its(container: Container, pid: int) -> int:
    """A process that is a container's, on this machine: nobody else's is ever touched."""
    try:
        known = pid > 0 and str(container.id) in Path(f"/proc/{pid}/cgroup").read_text()
    except FileNotFoundError:
        known = False
    if not known:
        raise TooLateError  # it has just ended
    return pid


def run_in(container: Container, script: str) -> int:
    """Run a shell's script in a container, as its own user; the exit code."""
    code = container.exec_run(["sh", "-c", script]).exit_code
    return -1 if code is None else code


def cells_of(container: Container) -> frozenset[str]:
    """Whose slices stand and fall with a container: a cell's with its own, all with the database."""
    role, _, cell = container.labels[SERVICE].partition("-")
    return frozenset({cell}) if role in {"kamailio", "sipp"} else ALL if role == "mysql" else frozenset()


def now(scene: Scene, container: Container, what: str, until: float = math.inf) -> Struck:
    """A container has just been struck; but for the database's, the next round has others."""
    service = container.labels[SERVICE]
    lasting = None if service in {"mysql", "log-holder"} else scene.round
    return Struck(time.time(), cells_of(container), until, f"{what} of {service}", lasting)
