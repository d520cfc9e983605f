"""A command in a container that is already there (docker exec): 0.1 s, where a container of its own takes seconds."""

import io
import re
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from docker.errors import APIError

from lab.errors import TestbedError

if TYPE_CHECKING:
    from socket import SocketIO

    from docker import APIClient, DockerClient
    from docker.models.containers import Container

STDERR = 2
_BROKEN_OFF = b"the engine broke off its answer"
_ID = re.compile(r"[Cc]ontainer:? [0-9a-f]{64}")
_WAITING = ["sh", "-c", 'read -r _ && exec "$@" </dev/null', "waiting"]  # for a line; without one it does nothing
_HEAD = 8  # bytes before each piece of output: which stream, three of nothing, four of length


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. `out` is empty where it went into a file."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode(errors="replace")

    @property
    def complaint(self) -> str:
        """Standard error as text."""
        return self.err.decode(errors="replace").strip()

    @property
    def last_words(self) -> str:
        """The end of all that it said."""
        return (self.out[-2000:] + self.err[-2000:]).decode(errors="replace").strip()


def ask(container: "Container", command: list[str], into: IO[bytes] | None = None) -> Answer:
    """Run a command in a container, its output kept or written into a file; -1 when the container is not running.

    Not by the SDK's exec_start, which changes over to the bare socket and then misses what the engine sent together
    with the head of its answer (2 of 600 answers, on busy CPUs); nor by its exec_run, which reads the exit code before
    the engine has it.
    """
    api = cast("DockerClient", container.client).api
    out, err = into or io.BytesIO(), io.BytesIO()
    try:
        exec_id = api.exec_create(container.id, command)["Id"]
        start = f"{api.base_url}/v{api.api_version}/exec/{exec_id}/start"
        with api.post(start, json={"Detach": False, "Tty": False}, stream=True) as response:
            if not response.ok:
                return Answer(-1, b"", response.content)
            whole = _demultiplex(cast("IO[bytes]", response.raw), out, err)
        code = _exit_code(api, exec_id)
    except APIError as error:
        return _refused(error)
    if not whole:
        code = -1
        err.write(_BROKEN_OFF)
    kept = out.getvalue() if isinstance(out, io.BytesIO) else b""
    return Answer(code, kept, err.getvalue())


class Held:
    """A command that is up in its container, and does nothing until it is told to go.

    To start one takes the engine some 70 ms of CPU time, which so come before a slice and not into it.
    """

    def __init__(self, container: "Container", command: list[str]) -> None:
        """Start it. Whatever fails is told by `go`."""
        self._name = container.name
        self._api = cast("DockerClient", container.client).api
        self._refused: Answer | None = None
        try:
            self._id = self._api.exec_create(container.id, [*_WAITING, *command], stdin=True)["Id"]
            # The bare socket loses nothing here (see `ask`): a command that waits has said nothing yet.
            self._stream = cast("SocketIO", self._api.exec_start(self._id, socket=True))
            state = self._api.exec_inspect(self._id)
            while not state["Pid"] and state["ExitCode"] is None:
                time.sleep(0.01)  # between two questions
                state = self._api.exec_inspect(self._id)
        except APIError as error:
            self._refused = _refused(error)

    def go(self) -> Answer:
        """Let it, and wait for its end; -1 as with `ask`. TestbedError when it says nothing for too long (lab.host)."""
        if self._refused:
            return self._refused
        out, err = io.BytesIO(), io.BytesIO()
        with self._stream:
            try:
                self._stream._sock.sendall(b"\n")  # type: ignore[attr-defined]  # noqa: SLF001  (the SDK has no other)
                whole = _demultiplex(io.BufferedReader(self._stream), out, err)
            except TimeoutError as error:
                message = f"what runs in {self._name} has said nothing for {self._api.timeout} s"
                raise TestbedError(message, remedy="is that container paused, or the engine?") from error
            except OSError:  # the engine has gone
                whole = False
        if not whole:
            return Answer(-1, out.getvalue(), err.getvalue() + _BROKEN_OFF)
        try:
            return Answer(_exit_code(self._api, self._id), out.getvalue(), err.getvalue())
        except APIError as error:
            return _refused(error)


def _exit_code(api: "APIClient", exec_id: str) -> int:
    """A busy engine has it some time after the output; -1 where there is none."""
    state = api.exec_inspect(exec_id)
    while state["Running"]:
        time.sleep(0.01)  # between two questions
        state = api.exec_inspect(exec_id)
    return -1 if state["ExitCode"] is None else int(state["ExitCode"])


def _refused(error: APIError) -> Answer:
    return Answer(-1, b"", _ID.sub("its container", str(error.explanation or error)).encode())


def _demultiplex(raw: IO[bytes], out: IO[bytes], err: IO[bytes]) -> bool:
    """Part the engine's stream into its two; False when it ends within a piece."""
    while head := raw.read(_HEAD):
        length = int.from_bytes(head[4:], "big")
        piece = raw.read(length)
        (err if head[0] == STDERR else out).write(piece)
        if len(head) < _HEAD or len(piece) < length:
            return False
    return True
