"""A testbed without an engine: Kamailio, SIPp and MySQL as the driver sees them, which do as a test says.

The log volume is a folder, and the container that holds it runs its commands here, so what the driver reads is read for
real. Everything else is answered as the real thing answers: recorded, or built from the same formats.
"""

import io
import math
import os
import random
import re
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar, cast

from lab import load, override, proof, sampling, testing
from lab.cgroups import Cgroup
from lab.cores import Layout
from lab.database import Activity, Database, name_of
from lab.model import Cell, Plan, Role, Scenario
from lab.observation import WAYS
from lab.station import Holder, Station
from lab.testbed import Testbed

if TYPE_CHECKING:
    import pytest
    from docker.models.containers import Container

DATA = Path(__file__).parent / "unit" / "data"
# Kamailio on CPU 1, as when proof-*.txt was recorded
LAYOUT = Layout("auto", {Role.KAMAILIO: (1,), **dict.fromkeys((Role.MYSQL, Role.SIPP, Role.DRIVER), (0,))})
Output = tuple[int, tuple[bytes, bytes]]


@dataclass
class World:
    """What happens in a testbed, and what is to go wrong in it."""

    volume: Path
    history: list[str] = field(default_factory=list)
    turns: dict[str, str] = field(default_factory=dict)  # slice -> begin of its turn, as SIPp was told
    databases: dict[str, int] = field(default_factory=dict)  # name -> bindings
    # What goes wrong:
    says: dict[str, str] = field(default_factory=dict)  # cell -> the engine that its Kamailio really runs
    dead: set[str] = field(default_factory=set)  # cells whose Kamailio has ended before anyone asked
    unmarked: set[str] = field(default_factory=set)  # cells whose probe fails
    unable: dict[str, str] = field(default_factory=dict)  # cell -> SIPp's file that fails there, before the slices
    crashing: set[str] = field(default_factory=set)  # cells whose Kamailio ends when that happens
    lost: dict[str, int] = field(default_factory=dict)  # slice -> calls that fail in it
    stubborn: set[str] = field(default_factory=set)  # cells whose Kamailio refuses to change its configuration
    silent: set[str] = field(default_factory=set)  # slices after which Kamailio answers no RPC
    mute: set[str] = field(default_factory=set)  # slices that SIPp does not even begin
    interrupted: set[str] = field(default_factory=set)  # slices during which somebody presses Ctrl-C
    serves: dict[str, float] = field(default_factory=dict)  # cell -> the rate above which requests are sent again
    unwritten: dict[str, int] = field(default_factory=dict)  # cell -> bindings that its Kamailio does not write back
    exit_codes: dict[str, int] = field(default_factory=dict)  # cell -> how its Kamailio ends
    # Process and allowed list, of all that runs in SIPp's container; the first time it is asked, and from then on.
    sipp_on: list[tuple[tuple[int, str], ...]] = field(default_factory=lambda: [((1, "0"),)])

    def __post_init__(self) -> None:
        """The volume is there before anything else."""
        self.volume.mkdir(parents=True)

    def loads(self) -> list[str]:
        """Slices that were sent, in order."""
        return [event.removeprefix("load ") for event in self.history if event.startswith("load ")]


def use(volume: Path, monkeypatch: "pytest.MonkeyPatch") -> World:
    """A world in which the driver's own clocks, CPUs and log volume are made up, too."""
    clock = iter(range(1, 1_000_000))
    world = World(volume)

    def outside(_cgroups: Mapping[Role, Cgroup], _cpus: tuple[int, ...]) -> sampling.Outside:
        now = next(clock) * 1_000_000_000
        world.history.append("clocks")
        return sampling.Outside(
            monotonic_nsec=now,
            wall_nsec=now,
            cpu_usec=now // 2000,
            throttled=0,
            sipp_cpu_usec=now // 4000,
            mysql_cpu_usec=now // 8000,
            driver_cpu_usec=now // 1_000_000,
            ran_usec=now // 2000,
            steal_ticks=0,
        )

    monkeypatch.setattr(sampling, "outside", outside)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    monkeypatch.setattr(override, "VOLUME", str(volume))
    monkeypatch.setattr(load, "VOLUME", str(volume))
    return world


@dataclass
class Response(AbstractContextManager["Response"]):
    """What the engine sends back."""

    raw: io.BytesIO
    ok: bool = True

    def __exit__(self, *_: object) -> None:
        """As `close`."""
        self.close()

    def close(self) -> None:
        """It is not read any more."""
        self.raw.close()


class Api:
    """The engine's calls for exec, over what a container answers at once."""

    base_url = "http+docker://localhost"
    api_version = "1.41"
    timeout = 120

    def __init__(self, container: "Double") -> None:
        """Of one container."""
        self._container = container
        self._asked: list[list[str]] = []
        self._codes: dict[int, int] = {}
        self._waiting = set[int]()
        self._lock = threading.Lock()

    def exec_create(self, _container: str, command: list[str], *, stdin: bool = False) -> dict[str, int]:
        """Remember what is asked; what waits for a line is told it later."""
        with self._lock:
            exec_id = len(self._asked)
            if stdin:
                command = command[command.index("waiting") + 1 :]
                self._waiting.add(exec_id)
                self._container.held(command)
            self._asked.append(command)
            return {"Id": exec_id}

    def post(self, url: str, *, json: dict[str, bool], stream: bool, timeout: int) -> "Response":
        """Start it and answer, in the engine's framing; what waits for a line does so once that has come."""
        assert stream
        assert timeout == self.timeout
        assert json == {"Detach": False, "Tty": False}
        exec_id = int(url.removesuffix("/start").rpartition("/")[2])
        raw = Connection(self, exec_id)
        if exec_id not in self._waiting:
            raw.sendall(b"\n")
        return Response(raw)

    def framed(self, exec_id: int) -> bytes:
        """Have it done, and frame the answer."""
        self._codes[exec_id], said = self._container.answer(self._asked[exec_id])
        pieces = (bytes([number, 0, 0, 0]) + len(one).to_bytes(4, "big") + one for number, one in enumerate(said, 1))
        return b"".join(pieces)

    def exec_inspect(self, exec_id: int) -> dict[str, object]:
        """How it ended, if it has."""
        return {"Running": False, "Pid": 7, "ExitCode": self._codes.get(exec_id)}


class Connection(io.BytesIO):
    """A command's input and output."""

    def __init__(self, api: Api, exec_id: int) -> None:
        """Nothing is said yet."""
        super().__init__()
        self._api = api
        self._exec_id = exec_id
        self._fp = SimpleNamespace(fp=SimpleNamespace(raw=SimpleNamespace(_sock=self)))  # where the SDK looks for it

    def sendall(self, line: bytes) -> None:
        """The line for which it waits."""
        assert line == b"\n"
        self.write(self._api.framed(self._exec_id))
        self.seek(0)

    def shutdown(self, how: int) -> None:
        """No more lines."""
        assert how == socket.SHUT_WR


class Double(ABC):
    """A container that answers commands."""

    id = "0" * 64
    name = "double"

    @property
    def client(self) -> SimpleNamespace:
        """As the Docker SDK has it."""
        if not hasattr(self, "_client"):
            self._client = SimpleNamespace(api=Api(self))
        return self._client

    @abstractmethod
    def answer(self, command: list[str]) -> Output:
        """Exit code, and what it said."""

    def held(self, _command: list[str]) -> None:
        """A command is up, and waits."""
        return


class LogHolder(Double):
    """The container that holds the log volume."""

    def __init__(self, world: World) -> None:
        """Its working folder is nobody's."""
        self._folder = world.volume.with_name("log-holder")
        self._folder.mkdir(exist_ok=True)

    def answer(self, command: list[str]) -> Output:
        """Run it here; several at once, as they come."""
        done = subprocess.run(command, cwd=self._folder, capture_output=True, check=False)
        return done.returncode, (done.stdout, done.stderr)


class Kamailio(Double):
    """The container of a cell's Kamailio."""

    def __init__(self, world: World, cell: Cell) -> None:
        """Fresh: nothing received, nothing bound."""
        self.world = world
        self.cell = cell
        pid = 0 if cell.name in world.dead else os.getpid()
        self.state = {"Pid": pid, "Running": True, "ExitCode": 0}
        self.attrs = {"Image": "sha256:" + "5" * 64, "State": self.state}
        self.statistics = Counter[str]()
        self.bound = set[int]()
        self.answers = True
        self.latency_level = "2"
        self.obeys = cell.name not in world.stubborn
        # Docker's lies where the holder does not find it.
        self.log = Path(override.log_of(cell.name) + ".docker" * (WAYS[cell.observe].sink == "docker"))
        self.log.write_bytes(b" 0(1) INFO: <core> [main.c:3321]: main(): it begins\n")

    def reload(self) -> None:
        """Nothing has changed."""

    def answer(self, command: list[str]) -> Output:
        """Say what is asked."""
        if command[0] == "truncate":
            os.truncate(command[-1], 0)
            return 0, (b"", b"")
        assert command[:2] == ["sh", "-c"]
        if "Cpus_allowed_list" in command[2]:
            return 0, (threads(*((pid, "1") for pid in range(1, 100))), b"")
        if not self.answers:
            return 1, (b"", b"kamcmd: cannot connect")
        if command[3:4] == ["latency"]:
            if command[4] and self.obeys:
                self.latency_level = command[4]
                self.world.history.append(f"level {self.cell.name} {command[4]}")
            return 0, (f"{self.latency_level}\n".encode(), b"")
        if command[2] == proof.SCRIPT:
            engine = self.world.says.get(self.cell.name, self.cell.engine)
            return 0, ((DATA / f"proof-{engine}.txt").read_bytes(), b"")
        assert command[2] == sampling.SCRIPT
        return 0, (self._counters().encode(), b"")

    def logs(self, *, stdout: bool = True) -> bytes:
        """What it wrote elsewhere than into its log: nothing; and its log, where Docker has that."""
        return b"" if stdout else self.log.read_bytes()

    def stop(self, *, timeout: int) -> None:
        """End in order: what is bound is written back, and the last words are logged."""
        assert timeout
        self.world.history.append(f"stop {self.cell.name}")
        self.say(b" 0(1) NOTICE: <core> [main.c:786]: sig_usr(): it ends\n")
        name = name_of(self.cell.name)
        self.world.databases[name] -= self.world.unwritten.get(self.cell.name, 0)

    def wait(self) -> dict[str, int]:
        """How it has ended."""
        return {"StatusCode": self.world.exit_codes.get(self.cell.name, 0)}

    def say(self, lines: bytes) -> None:
        """Log something, in colour where that is asked for."""
        if WAYS[self.cell.observe].colour:
            lines = b"".join(b"\x1b[0;39;49m" + line for line in lines.splitlines(keepends=True))
        with self.log.open("ab") as log:
            log.write(lines)

    def played(self, scenario: Scenario, prefix: str, calls: int, users: range) -> None:
        """So many calls of these users in turn came in, and all went well."""
        self.statistics[sampling.RECEIVED] += len(scenario.legs) * calls
        self.statistics.update({name: times * calls for name, times in scenario.counters.items()})
        ids = [f"{prefix}{number}" for number in range(1, calls + 1)]
        chance = random.Random(f"{self.cell.name} {prefix}")  # noqa: S311  (reproducible, no secret)
        lines = (
            testing.latency_line(one, round(50 * leg.cseq * chance.paretovariate(3)), cseq=leg.cseq, method=leg.method)
            for one in ids
            for leg in scenario.legs
        )
        if self.latency_level == "2":
            self.say(b"".join(lines))
        name = name_of(self.cell.name)
        self.bound |= set(users[:calls]) if scenario.bindings else set()
        self.world.databases[name] = len(self.bound)

    def _counters(self) -> str:
        self.statistics[sampling.CONTACTS] = self.world.databases[name_of(self.cell.name)]
        names = {sampling.RECEIVED, *testing.SCENARIO.counters, *self.statistics}
        replies = {name for name in names if name.startswith("sl.")}

        def shown(name: str) -> str:
            return f"{name.replace('.', ':')} = {self.statistics[name]}\n"

        def sent(name: str) -> str:
            return f"\t{name.removeprefix('sl.').removesuffix('_replies')}: {self.statistics[name]}\n"

        return (
            f"== statistics\n{''.join(map(shown, sorted(names - replies)))}"
            f"== replies\n{{\n{''.join(map(sent, sorted(replies)))}}}\n"
            "== transactions\n{\n\tcurrent: 0\n}\n"
            "== processes\n{\n\tIDX: 1\n\tPID: 7\n\tDSC: udp receiver child=0 sock=127.0.0.1:5060\n}\n"
            "== pkg\n{\n\tpid: 7\n\tused: 1000\n}\n"
            "== clocks\n7 1000 1000\n"
            "== status\n/proc/7/status:VmRSS:\t 1000 kB\n"
            "== snmp\nUdp: InErrors RcvbufErrors\nUdp: 0 0\n"
            "== sockets\n sl drops\n 1: 0\n"
            "== end\n"
        )


class Idle(Double):
    """A container that is there."""

    attrs: ClassVar = {"State": {"Pid": os.getpid()}}

    def reload(self) -> None:
        """Nothing has changed."""

    def kill(self) -> None:
        """It is to be taken down anyhow."""


def threads(*lists: tuple[int, str]) -> bytes:
    """What the kernel says of a container's processes, each of one thread: their CPUs."""
    return "".join(f"Tgid:\t{pid}\nPid:\t{pid}\nCpus_allowed_list:\t{cpus}\n" for pid, cpus in lists).encode()


class Server(Idle):
    """The container of a database server."""

    def answer(self, command: list[str]) -> Output:
        """Nobody asks it for more than where it may run."""
        assert "Cpus_allowed_list" in command[-1]
        return 0, (threads((1, "0")), b"")


class Sipp(Idle):
    """The container of a cell's SIPp."""

    def __init__(self, world: World, plan: Plan, kamailio: Kamailio) -> None:
        """In that Kamailio's network."""
        self.world = world
        self.plan = plan
        self.kamailio = kamailio

    def answer(self, command: list[str]) -> Output:
        """Send what the command line says."""
        if command[0] == "sh" and "Cpus_allowed_list" in command[-1]:
            on = self.world.sipp_on
            return 0, (threads(*(on.pop(0) if len(on) > 1 else on[0])), b"")
        begin = command.index("sipp")
        told = dict(pairwise(command[begin:]))
        users = range(self.kamailio.cell.subscribers)
        if begin:  # what stands before it gives it some of them
            first, count = int(command[begin - 3]) - 2, int(command[begin - 2])
            users = users[first : first + count]
        if told["-sf"] == "/scenarios/probe.xml":
            return self._probe(Path(told["-log_file"]))
        return self._load(told, users) if "-stf" in told else self._once(told, users)

    def held(self, command: list[str]) -> None:
        """Which slice's."""
        told = dict(pairwise(command[command.index("sipp") :]))
        if "-stf" in told:
            self.world.history.append(f"held {_piece(told)}")

    def _played(self, told: dict[str, str]) -> Scenario:
        """The scenario of a file: the cell's own, or another one of the plan."""
        own = self.plan.scenario_of(self.kamailio.cell.name)
        file = told["-sf"].removeprefix("/scenarios/").removeprefix("turns/")
        return next(one for one in (own, *self.plan.scenarios) if one.file == file)

    def _once(self, told: dict[str, str], users: range) -> Output:
        cell, calls = self.kamailio.cell.name, int(told["-m"])
        scenario = self._played(told)
        self.world.history.append(f"once {cell} {scenario.file} {calls}")
        if self.world.unable.get(cell) == scenario.file:
            self.kamailio.say(b" 1(7) ERROR: <script>: it cannot be done\n")
            if cell in self.world.crashing:
                self.kamailio.state.update(Running=False, ExitCode=139)
            return 1, (b"", b"1 call failed")
        self.kamailio.played(scenario, told["-cid_str"].removesuffix("%u"), calls, users)
        return 0, (b"", b"")

    def _probe(self, log: Path) -> Output:
        cell = self.kamailio.cell
        self.world.history.append(f"probe {cell.name}")
        self.kamailio.say(testing.latency_line("probe-1", 20, method="OPTIONS"))
        if cell.name in self.world.unmarked:
            return 1, (b"", b"no X-Lab-Engine in the reply")
        log.write_text(f"engine {cell.engine}\n")
        return 0, (b"", b"")

    def _load(self, told: dict[str, str], users: range) -> Output:
        statistics, calls, piece = Path(told["-stf"]), int(told["-m"]), _piece(told)
        self.world.turns[piece] = told.get("turn", "")
        self.world.history.append(f"load {piece}")
        if piece in self.world.interrupted:
            raise KeyboardInterrupt
        if piece in self.world.mute:
            return 255, (b"", b"Unable to load scenario")
        lost = self.world.lost.get(piece, 0)
        self.kamailio.played(self._played(told), told["-cid_str"].removesuffix("%u"), calls - lost, users)
        self.kamailio.answers = piece not in self.world.silent
        rate = float(told["-r"])
        again = rate > self.world.serves.get(self.kamailio.cell.name, math.inf)
        statistics.write_text(_statistics(calls, lost, rate, again=again))
        if lost:
            Path(told["-error_file"]).write_text(f"{lost} aborted\n")
        return 1 if lost else 0, (b"", b"")


def _piece(told: Mapping[str, str]) -> str:
    return re.sub(r"\.sipp(-\d)?\.csv", "", Path(told["-stf"]).name)


def _statistics(calls: int, lost: int, rate: float, *, again: bool) -> str:
    """SIPp's file with one row, the last."""
    head = (DATA / "sipp.csv").read_text().splitlines()[0].rstrip(";").split(";")
    row = dict.fromkeys(head, "0") | {
        "StartTime": "2026-11-23\t08:59:23.5\t1795424363.5",
        "CurrentTime": f"2026-11-23\t08:59:24.5\t{1795424363.5 + calls / rate}",
        "TotalCallCreated": str(calls),
        "SuccessfulCall(C)": str(calls - lost),
        "FailedCall(C)": str(lost),
        "Retransmissions(C)": str(int(again)),
        "CallRate(C)": str(rate),
    }
    return f"{';'.join(head)};\n{';'.join(row.values())};\n"


class Mysql(Database):
    """The driver's connection."""

    def __init__(self, world: World) -> None:
        """To no server."""
        self.world = world

    def add_subscribers(self, template: str, count: int) -> None:
        """They are there."""
        self.world.history.append(f"subscribers {count} {template}")

    def renew(self, name: str, template: str) -> None:
        """Fresh, so nobody is bound."""
        self.world.history.append(f"renew {name} {template}")
        self.world.databases[name] = 0

    def bindings(self, name: str) -> int:
        """What Kamailio has written back."""
        self.world.history.append(f"bindings {name}")
        return self.world.databases[name]

    def activity(self) -> Activity:
        """None."""
        return Activity(0, 0)


class Bed(Testbed):
    """Every cell up, as in `lab.testbed`, with the same promise: all gone at the end."""

    def __init__(self, world: World, plan: Plan) -> None:
        """Nothing is started yet."""
        self.world = world
        self.plan = plan

    @contextmanager
    def up(self) -> Iterator[tuple[dict[str, Database], Holder]]:
        """Every server that the plan names, and the holder of the logs."""
        self.world.history.append("up")
        servers: dict[str, Database] = {server: Mysql(self.world) for server in self.plan.databases}
        try:
            yield servers, Holder(cast("Container", LogHolder(self.world)))
        finally:
            self.world.history.append("down")

    @contextmanager
    def fresh_start(self, holder: Holder) -> Iterator[dict[str, Station]]:
        """Every cell anew."""
        self.world.history.append("fresh start")
        try:
            yield {cell.name: self._fresh(cell, holder) for cell in self.plan.hosts}
        finally:
            self.world.history.append("removed")

    def load_schema(self, server: str, release: str, schema: bytes) -> None:
        """It is there."""
        self.world.history.append(f"schema {server} {release} {schema.decode()}")

    def _fresh(self, cell: Cell, holder: Holder) -> Station:
        kamailio = Kamailio(self.world, cell)
        return Station(
            cell,
            kamailio=cast("Container", kamailio),
            sipp=cast("Container", Sipp(self.world, self.plan, kamailio)),
            mysql=cast("Container", Server()),
            holder=holder,
        )
