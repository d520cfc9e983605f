"""A cell that is up: its Kamailio, its SIPp, and how the driver asks them. Every question is one exec (0.1 s)."""

import io
import json
import shutil
import tarfile
import tempfile
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from docker.errors import APIError

from lab import load, override, sampling
from lab.database import Database
from lab.errors import TestbedError
from lab.model import Cell, Plan, Sample, SlicePlan

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

READY_SECONDS = 15
STOP_SECONDS = 10
ATTEMPTS = 5
LAST_BYTES = 4096  # where the end of an answer is looked for
_END_OF_TAR = bytes(1024)
# Asks until there is an answer; the pause is between two questions.
_READY = f"""
n=0
until kamcmd core.uptime >/dev/null 2>&1; do
  n=$((n + 1)); [ $n -lt {READY_SECONDS * 20} ] || exit 1
  sleep 0.05
done
"""
# $1: log, $2: offset, $3: name of the part, $4: folder of the other files ($5...)
_FETCH = """
set -e
log=$1 offset=$2 name=$3 folder=$4; shift 4
mkdir -p part && tail -c +$((offset + 1)) "$log" >part/"$name"
tar --ignore-failed-read -cf - -C "$PWD/part" "$name" $([ $# -eq 0 ] || echo -C "$folder") "$@"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an exec said."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode(errors="replace")

    @property
    def last_words(self) -> str:
        """The end of all that it said."""
        return (self.out[-2000:] + self.err[-2000:]).decode(errors="replace").strip()


def ask(container: "Container", command: list[str]) -> Answer:
    """Run a command in a container; -1 when the container is not running."""
    out = io.BytesIO()
    code, err = _run(container, command, out)
    return Answer(code, out.getvalue(), err)


def ask_whole(container: "Container", command: list[str], end: bytes) -> Answer:
    """Ask a question that changes nothing, again if the answer lacks its end: a busy engine now and then loses it."""
    out = io.BytesIO()
    code, err = _run_whole(container, command, end, out)
    return Answer(code, out.getvalue(), err)


def _run(container: "Container", command: list[str], out: IO[bytes]) -> tuple[int, bytes]:
    # Not by exec_run, which reads the exit code before a busy engine has it.
    api = cast("DockerClient", container.client).api
    err = bytearray()
    try:
        exec_id = api.exec_create(container.id, command)["Id"]
        for some_out, some_err in api.exec_start(exec_id, stream=True, demux=True):
            out.write(some_out or b"")
            err += some_err or b""
        state = api.exec_inspect(exec_id)
        while state["Running"]:
            time.sleep(0.01)
            state = api.exec_inspect(exec_id)
    except APIError as error:
        return -1, str(error).encode()
    code = state["ExitCode"]
    return -1 if code is None else int(code), bytes(err)


def _run_whole(container: "Container", command: list[str], end: bytes, out: IO[bytes]) -> tuple[int, bytes]:
    code, err = -1, b""
    for _ in range(ATTEMPTS):
        out.seek(0)
        out.truncate()
        code, err = _run(container, command, out)
        out.seek(max(0, out.tell() - LAST_BYTES))
        if code != 0 or end in out.read():
            break
    out.seek(0)
    return code, err


def allowed(container: "Container") -> str:
    """CPUs that the kernel lets a container's first process use."""
    answer = ask_whole(container, ["sed", "-n", r"s/^Cpus_allowed_list:\s*//p", "/proc/1/status"], b"\n")
    return answer.text.strip()


class Holder:
    """The container that keeps the log volume alive: logs are read here, even of a Kamailio that has died."""

    def __init__(self, container: "Container") -> None:
        """Any container that mounts the log volume."""
        self._container = container

    def read(self, path: str, offset: int = 0) -> bytes:
        """A file from an offset on; empty when there is none."""
        return ask(self._container, ["tail", "-c", f"+{offset + 1}", path]).out

    def size(self, path: str) -> int:
        """Bytes in a file so far."""
        answer = ask(self._container, ["stat", "-c", "%s", path])
        return int(answer.text) if answer.code == 0 else 0

    def fetch(self, log: str, offset: int, others: list[str], into: Path) -> int:
        """Copy the log since `offset` (as kamailio.log), and what exists of other files; return the log part's size."""
        arguments = [log, str(offset), load.LOG_NAME, override.VOLUME, *others]
        # By way of the disk: a long slice's log need not fit into memory.
        with tempfile.TemporaryFile(dir=into) as tar:
            code, err = _run_whole(self._container, ["sh", "-c", _FETCH, "fetch", *arguments], _END_OF_TAR, tar)
            if code != 0:
                raise TestbedError(f"the logs cannot be read: {err.decode(errors='replace').strip()}")
            with tarfile.open(fileobj=tar) as archive:
                # Plain files alone, by their own names (extraction filters are newer than Debian 12's Python).
                for member in archive:
                    file = archive.extractfile(member)
                    if file is not None:
                        with (into / Path(member.name).name).open("wb") as copy:
                            shutil.copyfileobj(file, copy)
        return (into / load.LOG_NAME).stat().st_size


@dataclass(slots=True)
class Station:
    """One cell's containers, and how far its log was read."""

    cell: Cell
    kamailio: "Container"
    sipp: "Container"
    holder: Holder
    begun: float  # monotonic, when the fresh start of all cells began
    start_seconds: float = 0.0
    log_offset: int = 0
    cgroup: sampling.Cgroup = field(init=False)

    def __post_init__(self) -> None:
        """The cgroup is found by the container's first process."""
        self.kamailio.reload()
        try:
            self.cgroup = sampling.Cgroup(int(self.kamailio.attrs["State"]["Pid"]))
        except OSError as error:  # the number is 0, or of a process that has ended since
            raise TestbedError(f"Kamailio of cell {self.cell.name} is not running") from error

    def ready(self) -> bool:
        """Wait until Kamailio answers its RPC; False when it died or stays silent."""
        answered = ask(self.kamailio, ["sh", "-c", _READY]).code == 0
        self.start_seconds = time.monotonic() - self.begun
        return answered

    def allowed_sipp(self) -> str:
        """CPUs that the kernel lets SIPp's container use."""
        return allowed(self.sipp)

    def inspect(self) -> bytes:
        """Docker's description of the container, as evidence."""
        return json.dumps(self.kamailio.attrs, indent=1).encode()

    def stop(self) -> int:
        """End Kamailio in order, so that it writes its bindings back; its exit code."""
        self.kamailio.stop(timeout=STOP_SECONDS)
        return int(self.kamailio.wait()["StatusCode"])

    def sample_before(self, database: Database, cpus: tuple[int, ...]) -> Sample:
        """First edge of a slice: the expensive questions first, the clocks last."""
        inside, aborted = self._inside(), database.aborted()
        outside = sampling.outside(self.cgroup, cpus)
        return _sample(inside, outside, aborted)

    def sample_after(self, database: Database, cpus: tuple[int, ...]) -> Sample:
        """Last edge of a slice: the clocks first, the expensive questions last."""
        outside = sampling.outside(self.cgroup, cpus)
        return _sample(self._inside(), outside, database.aborted())

    def fire(self, plan: Plan, piece: SlicePlan) -> Answer:
        """Send one slice's traffic and wait for its end."""
        return ask(self.sipp, load.command(plan, piece))

    def fetch_slice(self, piece: SlicePlan, into: Path) -> None:
        """The slice's log and SIPp's files into the slice's folder."""
        files = load.files(piece)
        self.log_offset += self.holder.fetch(override.log_of(self.cell.name), self.log_offset, list(files), into)
        for name, kept in files.items():
            if (into / name).exists():
                (into / name).replace(into / kept)

    def _inside(self) -> sampling.Inside:
        answer = ask_whole(self.kamailio, ["sh", "-c", sampling.SCRIPT], sampling.END)
        if answer.code != 0:
            last = self.holder.read(override.log_of(self.cell.name), self.log_offset)[-4000:]
            raise TestbedError(
                f"Kamailio of cell {self.cell.name} does not answer: {answer.err.decode(errors='replace').strip()}",
                detail=last.decode(errors="replace"),
            )
        return sampling.parse(answer.text)


def _sample(inside: sampling.Inside, outside: sampling.Outside, mysql_aborted: int) -> Sample:
    return Sample(**_fields(inside), **_fields(outside), mysql_aborted=mysql_aborted)


def _fields(value: sampling.Inside | sampling.Outside) -> dict[str, Any]:
    """Fields by name; what they hold stays as it is."""
    return {f.name: getattr(value, f.name) for f in fields(value)}
