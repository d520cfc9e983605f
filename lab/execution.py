"""A command in a container that is already there (docker exec): 0.1 s, where a container of its own takes seconds."""

import io
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from docker.errors import APIError
from urllib3.exceptions import HTTPError, ReadTimeoutError

from lab.errors import TestbedError

if TYPE_CHECKING:
    from docker import APIClient, DockerClient
    from docker.models.containers import Container
    from requests import Response

STDERR = 2
UP_SECONDS = 60  # for a command to start
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

    TestbedError when it says nothing for too long (lab.host).
    Not by the SDK's exec_start, which changes over to the bare socket and then misses what the engine sent together
    with the head of its answer (2 of 600 answers, on busy CPUs); nor by its exec_run, which reads the exit code before
    the engine has it.
    """
    api = cast("DockerClient", container.client).api
    out, err = into or io.BytesIO(), io.BytesIO()
    try:
        exec_id = api.exec_create(container.id, command)["Id"]
        with _start(api, exec_id) as response:
            if not response.ok:
                return Answer(-1, b"", response.content)
            whole = _demultiplex(cast("IO[bytes]", response.raw), out, err)
        code = _exit_code(api, exec_id)
    except APIError as error:
        return _refused(error)
    except ReadTimeoutError as error:
        raise _silent(container, api) from error
    kept = out if isinstance(out, io.BytesIO) else io.BytesIO()
    return Answer(code, kept.getvalue(), err.getvalue()) if whole else _broken_off(kept, err)


class Held:
    """A command that is up in its container, and does nothing until it is told to go.

    To start one takes the engine some 70 ms of CPU time, which so come before a slice and not into it.
    """

    _BEFORE: Sequence[str] = _WAITING
    _LAST_LINE = b"\n"

    def __init__(self, container: "Container", command: list[str]) -> None:
        """Start it. What the engine refuses is told by `go`; what it does not answer at all is raised here."""
        self._container = container
        self._api = cast("DockerClient", container.client).api
        self._out, self._err = io.BytesIO(), io.BytesIO()
        self._refused: Answer | None = None
        self._exec_id = ""
        self._response: Response | None = None
        self.up = False
        try:
            self._exec_id = self._api.exec_create(container.id, [*self._BEFORE, *command], stdin=True)["Id"]
            self._response = _start(self._api, self._exec_id)
            if self._response.ok:
                self.up = self._is_up(self._response)
            else:
                self._refused = Answer(-1, b"", self._response.content)
        except APIError as error:
            self._refused = _refused(error)
        except ReadTimeoutError as error:
            self.close()
            raise _silent(container, self._api) from error
        except BaseException:
            self.close()
            raise

    def _is_up(self, _: "Response") -> bool:
        """Wait until the engine knows its process; False where it has ended already."""
        deadline = time.monotonic() + UP_SECONDS
        while time.monotonic() < deadline:
            state = self._api.exec_inspect(self._exec_id)
            if state["ExitCode"] is not None:
                return False
            if state["Pid"]:
                return True
            time.sleep(0.01)  # between two questions
        raise TestbedError(f"the engine does not start a command in {self._container.name} within {UP_SECONDS} s")

    def go(self) -> Answer:
        """Let it, and wait for its end; -1 as with `ask`. TestbedError when it says nothing for too long (lab.host)."""
        if self._refused or self._response is None:
            self.close()
            return self._refused or Answer(-1, b"", b"it was not started")
        out, err = self._out, self._err
        try:
            if self.up:
                _end_input(self._response, self._LAST_LINE)
            whole = _demultiplex(cast("IO[bytes]", self._response.raw), out, err)
            code = _exit_code(self._api, self._exec_id)
        except ReadTimeoutError as error:
            raise _silent(self._container, self._api) from error
        except APIError as error:  # an OSError as well
            return _refused(error)
        except (HTTPError, OSError):  # the engine has gone
            whole, code = False, -1
        finally:
            self.close()
        return Answer(code, out.getvalue(), err.getvalue()) if whole else _broken_off(out, err)

    def close(self) -> None:
        """Leave it: a command that was not told to go ends by this."""
        if self._response is not None:
            self._response.close()


class Watch(Held):
    """A command that is at work from the word on that says so, until its input ends."""

    _BEFORE, _LAST_LINE = (), b""

    def __init__(self, container: "Container", command: list[str], word: bytes) -> None:
        """Start it, and wait for its word. It is not `up` where it has ended before: `end` tells how."""
        self._word = word
        super().__init__(container, command)

    def _is_up(self, response: "Response") -> bool:
        """Wait for the word; False where its output has ended without it."""
        whole = _demultiplex(cast("IO[bytes]", response.raw), self._out, self._err, lambda: self._said)
        return whole and self._said

    @property
    def _said(self) -> bool:
        return self._word in self._out.getvalue()

    def end(self) -> Answer:
        """End its input, and wait for its end, as `go` does."""
        return self.go()


def _end_input(response: "Response", line: bytes) -> None:
    """After a last line. Closed later, it might be the input of a paused container, and the engine hangs."""
    # As the SDK itself gets at it: nothing public can write.
    connection = cast("Any", response.raw)._fp.fp.raw._sock  # noqa: SLF001
    if line:
        connection.sendall(line)
    connection.shutdown(socket.SHUT_WR)


def _start(api: "APIClient", exec_id: str) -> "Response":
    """Its output, and where its input goes, by one connection."""
    start = f"{api.base_url}/v{api.api_version}/exec/{exec_id}/start"
    # Without it nothing would ever end the wait for what is paused: the SDK has its timeout in other calls alone.
    return api.post(start, json={"Detach": False, "Tty": False}, stream=True, timeout=api.timeout)


def _silent(container: "Container", api: "APIClient") -> TestbedError:
    message = f"what runs in {container.name} has said nothing for {api.timeout} s"
    return TestbedError(message, remedy="is that container paused, or the engine?")


def _broken_off(out: io.BytesIO, err: io.BytesIO) -> Answer:
    return Answer(-1, out.getvalue(), err.getvalue() + b"the engine broke off its answer")


def _exit_code(api: "APIClient", exec_id: str) -> int:
    """A busy engine has it some time after the output; -1 where there is none."""
    state = api.exec_inspect(exec_id)
    while state["Running"]:
        time.sleep(0.01)  # between two questions
        state = api.exec_inspect(exec_id)
    return -1 if state["ExitCode"] is None else int(state["ExitCode"])


def _refused(error: APIError) -> Answer:
    return Answer(-1, b"", _ID.sub("its container", str(error.explanation or error)).encode())


def _demultiplex(raw: IO[bytes], out: IO[bytes], err: IO[bytes], enough: Callable[[], bool] = lambda: False) -> bool:
    """Part the engine's stream into its two, to its end or until it is `enough`; False when it ends within a piece."""
    while head := raw.read(_HEAD):
        length = int.from_bytes(head[4:], "big")
        piece = raw.read(length)
        (err if head[0] == STDERR else out).write(piece)
        if len(head) < _HEAD or len(piece) < length:
            return False
        if enough():
            break
    return True
