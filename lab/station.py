"""A cell that is up: its Kamailio, its SIPp, its log, and how the driver asks them. Every question is one exec."""

import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from docker.errors import APIError
from requests.exceptions import RequestException

from lab import latency, load, logs, override, sampling, versions
from lab.cgroups import Cgroup
from lab.errors import TestbedError
from lab.execution import Answer, Held, ask
from lab.model import Cell, Role, Scenario
from lab.observation import WAYS, Observation

if TYPE_CHECKING:
    from docker.models.containers import Container

READY_SECONDS = 15
PATIENCE = 20  # looks at a log, each as long as a fetch takes
SETTLE_LOOKS = 30  # at a log's size, a second apart
STOP_SECONDS = 10
COUNTED_READY_SECONDS = 100
COUNTED_STOP_SECONDS = 60
PIECE = 1 << 20  # bytes of a log that are copied at a time
# Asks until there is an answer; the pause is between two questions.
_READY = "until kamcmd core.uptime; do sleep 0.05; done >/dev/null 2>&1"
# Sets $1, and answers what it is then: kamcmd's exit code is 0 whatever Kamailio says.
_LATENCY_LOG = """
[ -z "$1" ] || kamcmd cfg.set_now_int core latency_cfg_log "$1" >/dev/null
kamcmd cfg.get core latency_cfg_log
"""
NEVER_LOGGED = "9"  # a level beyond all others
# $1: log, $2: offset, $3: folder of the other files ($4...). Several may be asked at once. Nothing is copied in there:
# it says the size of the log's part, that part, a line that ends it, and a tar of the others, where they exist.
_FETCH = """
set -e
log=$1 offset=$2 folder=$3; shift 3
size=$(stat -c %s "$log")
size=$((size > offset ? size - offset : 0))
echo "$size"
tail -c +$((offset + 1)) "$log" | head -c "$size"
echo "== end of the log"
# What SIPp complains of is the same over and over again.
for file in "$@"; do
  [ "$(stat -c %s "$folder/$file" 2>/dev/null || echo 0)" -le 4000000 ] || truncate -s 1000000 "$folder/$file"
done
[ $# -eq 0 ] || tar --ignore-failed-read -cf - -C "$folder" "$@"
"""
_END = b"== end of the log\n"


class Holder:
    """The container that keeps the log volume alive: logs are read here, even of a Kamailio that has died."""

    def __init__(self, container: "Container") -> None:
        """Any container that mounts the log volume."""
        self._container = container

    def remove(self, paths: Iterable[str]) -> None:
        """Files that have been fetched: the volume is in memory, and lives as long as the run."""
        ask(self._container, ["rm", "-f", *paths])

    def size(self, path: str) -> int:
        """Of a file, in bytes; 0 when there is none."""
        return int(ask(self._container, ["stat", "-c", "%s", path]).text or 0)

    def read(self, path: str, offset: int = 0) -> bytes:
        """A file from an offset on; empty when there is none."""
        return ask(self._container, ["tail", "-c", f"+{offset + 1}", path]).out

    def fetch(self, log: str, offset: int, others: list[str], into: Path) -> int:
        """Copy the log since `offset` (as kamailio.log), and what exists of other files; return the log part's size."""
        # By way of the disk: a long slice's log need not fit into memory.
        with tempfile.TemporaryFile(dir=into) as all_of_it:
            script = ["sh", "-c", _FETCH, "fetch", log, str(offset), override.VOLUME, *others]
            answer = ask(self._container, script, all_of_it)
            if answer.code != 0:
                raise TestbedError(f"the logs cannot be read: {answer.complaint}")
            all_of_it.seek(0)
            size = int(all_of_it.readline())
            with (into / logs.NAME).open("wb") as copy:
                for start in range(0, size, PIECE):
                    copy.write(all_of_it.read(min(PIECE, size - start)))
            if all_of_it.readline() != _END:
                raise TestbedError(f"the logs cannot be read: {log} changes its size")
            if others:
                _unpack(all_of_it, into)
        return size


@dataclass(slots=True)
class Station:
    """One cell's containers, and how far its log was read."""

    cell: Cell
    kamailio: "Container"
    sipp: "Container"
    mysql: "Container"  # of the cell's database server, whichever that is
    holder: Holder
    start: int = 1  # which fresh start of its round it is
    log_offset: int = 0
    latency_level: str = ""  # what its latency lines had, while they are switched off
    rehearsals: int = 0
    counted: bool = False  # it runs under valgrind: slowly
    cgroups: dict[Role, Cgroup] = field(init=False)

    def __post_init__(self) -> None:
        """Cgroups are found by the containers' first processes."""
        self.cgroups = {
            Role.KAMAILIO: _cgroup(self.kamailio, f"Kamailio of cell {self.cell.name}"),
            Role.SIPP: _cgroup(self.sipp, f"SIPp of cell {self.cell.name}"),
            Role.MYSQL: _cgroup(self.mysql, f"the database server of cell {self.cell.name}"),
        }

    @property
    def way(self) -> Observation:
        """How it is observed; its latency lines may be off for a while."""
        return WAYS[self.cell.observe]

    def ready(self) -> bool:
        """Wait until Kamailio answers its RPC; False when it died or stays silent."""
        seconds = COUNTED_READY_SECONDS if self.counted else READY_SECONDS
        return ask(self.kamailio, ["timeout", str(seconds), "sh", "-c", _READY]).code == 0

    def skip(self) -> None:
        """What has been logged so far is of no slice."""
        self.settle()
        self.log_offset = self.holder.size(override.log_of(self.cell.name))

    def drop_log(self) -> None:
        """Cut what has been fetched, in a long run: the volume is in memory. Only its owner may, where it appends."""
        if self.way.sink == "file":
            log = override.log_of(self.cell.name)
            ask(self.kamailio, ["truncate", "-s", "0", log])
            self.log_offset = self.holder.size(log)  # 0, or all where it could not be cut

    def inspect(self) -> bytes:
        """Docker's description of the container, as evidence; without where on this machine the lab lies."""
        return json.dumps(self.kamailio.attrs, indent=1).replace(str(versions.ROOT), ".").encode()

    def remains(self, into: Path) -> None:
        """What a round that broke off has left and no slice has taken: the log, the container's state and output."""
        self.kamailio.reload()
        (into / "inspect.json").write_bytes(self.inspect())
        (into / "output.log").write_bytes(self.kamailio.logs())
        with suppress(TestbedError):  # its holder may be gone as well
            self.fetch(into)

    def contacts(self) -> int | None:
        """Bindings that Kamailio has in memory, by its own count."""
        return self.inside().statistics.get(sampling.CONTACTS)

    def stop(self) -> int:
        """End Kamailio in order, so that it writes its bindings back; its exit code."""
        if self.way.sink == "pipe":  # which Kamailio waits for, and which waits for Kamailio
            with suppress(APIError):  # it has ended by itself
                self.kamailio.kill(signal="SIGTERM")
            ask(self.kamailio, ["sh", "-c", "kill $(cat /run/kamailio/tee.pid)"])
        self.kamailio.stop(timeout=COUNTED_STOP_SECONDS if self.counted else STOP_SECONDS)
        return int(self.kamailio.wait()["StatusCode"])

    def aim(self, commands: Iterable[list[str]]) -> list[Held]:
        """Have traffic ready, by a SIPp process each, of which none sends yet."""
        aimed: list[Held] = []
        try:
            aimed.extend(Held(self.sipp, command) for command in commands)
        except BaseException:
            for held in aimed:
                held.close()
            raise
        return aimed

    @staticmethod
    def fire(aimed: Sequence[Held]) -> list[Answer]:
        """Send it all at once, and wait for its end."""
        with ThreadPoolExecutor(len(aimed)) as pool:
            return list(pool.map(Held.go, aimed))

    def cut_off(self) -> None:
        """End the traffic that is being sent, with the container that sends it."""
        with suppress(APIError, RequestException):  # it has ended by itself, or the engine has
            self.sipp.kill()

    def rehearse(self, scenario: Scenario, parts: Iterable[load.Part], *, one_by_one: bool = False) -> str:
        """Some calls that are not timed; what went wrong, with Kamailio's last error, or nothing."""
        before = self.log_size()
        self.rehearsals += 1
        answers = self.fire(
            self.aim(
                load.once(
                    scenario,
                    self.cell.subscribers,
                    part,
                    self.rehearsals,
                    one_by_one=one_by_one or self.counted,
                    slow=self.counted,
                )
                for part in parts
            )
        )
        sent = next((answer for answer in answers if answer.code), None)
        if not sent:
            return ""
        log = self.log(before)
        errors = [line.strip() for line in log.decode(errors="replace").splitlines() if latency.is_error(line)]
        said = f"; Kamailio: {errors[0]}" if errors else ""
        ended = self.ended()
        return f"SIPp ended with exit code {sent.code}{said}{'; ' * bool(ended)}{ended}"

    def ended(self) -> str:
        """How Kamailio has ended; nothing while it runs."""
        self.kamailio.reload()
        state = self.kamailio.attrs["State"]
        return "" if state["Running"] else f"Kamailio ended with exit code {state['ExitCode']}"

    def settle(self) -> None:
        """Wait until it logs no more: a module that looks for what is not there takes CPU time for seconds."""
        size = -1
        for _ in range(SETTLE_LOOKS):
            before, size = size, self.log_size()
            if size == before:
                return
            time.sleep(1)  # between two looks

    def log_latency(self, *, wanted: bool) -> None:
        """Switch latency lines off, or on again as they were, in the Kamailio that runs; by RPC."""
        if wanted == (not self.latency_level):
            return
        if wanted:
            self._set_latency_level(self.latency_level)
            self.latency_level = ""
        else:
            before = self._set_latency_level("")
            self._set_latency_level(NEVER_LOGGED)
            self.latency_level = before

    def _set_latency_level(self, level: str) -> str:
        """Or only read it; what it is then."""
        answer = ask(self.kamailio, ["sh", "-c", _LATENCY_LOG, "latency", level])
        found = answer.text.strip()
        if answer.code != 0 or not found.isdecimal() or level not in {"", found}:
            raise TestbedError(
                f"Kamailio of cell {self.cell.name} does not take latency_cfg_log={level}: {answer.last_words}",
                remedy="its configuration has to load ctl, kex and cfg_rpc, as ours does",
                cell=self.cell.name,
            )
        return found

    def log(self, offset: int = 0) -> bytes:
        """What it has logged since, wherever that went."""
        if self.way.sink == "docker":  # the driver has no offsets
            return bytes(self.kamailio.logs(stdout=False)[offset:])
        return self.holder.read(override.log_of(self.cell.name), offset)

    def log_size(self) -> int:
        """How much that is, in bytes."""
        if self.way.sink == "docker":
            return len(self.log())
        return self.holder.size(override.log_of(self.cell.name))

    def fetch(self, into: Path, requests: int = 0, files: Mapping[str, str] | None = None) -> int:
        """The log since the last fetch, and SIPp's files by the names that they keep; the size of the log.

        A request's line comes after its reply has left, and through a pipe later still: so it is looked for as many
        requests as there were, a few times.
        """
        size = 0
        for _ in range(PATIENCE):
            by_docker = self.way.sink == "docker"
            file = "/dev/null" if by_docker else override.log_of(self.cell.name)
            size = self.holder.fetch(file, self.log_offset, list(files or ()), into)
            if by_docker:
                size = (into / logs.NAME).write_bytes(self.log(self.log_offset))
            with (into / logs.NAME).open("rb") as log:
                if sum(latency.MARKER.encode() in line for line in latency.pieces(log)) >= requests:
                    break
        for name, kept in (files or {}).items():
            if (into / name).exists():
                (into / name).replace(into / kept)
        return size

    def inside(self) -> sampling.Inside:
        """What its container tells of itself: one exec."""
        answer = ask(self.kamailio, ["sh", "-c", sampling.SCRIPT])
        if answer.code != 0:
            last = self.log(self.log_offset)[-4000:]
            raise TestbedError(
                f"Kamailio of cell {self.cell.name} does not answer: {answer.complaint}",
                detail=last.decode(errors="replace"),
                cell=self.cell.name,
            )
        return sampling.parse(answer.text)


def _unpack(tar: IO[bytes], into: Path) -> None:
    """Plain files alone, by their own names (extraction filters are newer than Debian 12's Python)."""
    with tarfile.open(fileobj=tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                with (into / Path(member.name).name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)


def _cgroup(container: "Container", who: str) -> Cgroup:
    container.reload()
    try:
        return Cgroup(int(container.attrs["State"]["Pid"]))
    except OSError as error:  # the number is 0, or of a process that has ended since
        raise TestbedError(f"{who} is not running") from error
