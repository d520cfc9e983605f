"""An exec's answer: two streams in one, and never a part taken for the whole. One that is held does nothing yet."""

import gc
import io
import json
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError
from docker.models.containers import Container

from lab import execution
from lab.errors import TestbedError
from lab.execution import Answer, Held, Watch, ask

OUT, ERR = 1, 2


def piece(stream: int, content: bytes) -> bytes:
    """As the engine frames it."""
    return bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


def container(raw: bytes, codes: tuple[int | None, ...] = (0,), *, ok: bool = True) -> Container:
    """One whose engine sends this, and has the exit code only after some looks."""
    looks = iter(
        [*({"Running": True, "ExitCode": None} for _ in codes[:-1]), {"Running": False, "ExitCode": codes[-1]}]
    )
    response: Any = SimpleNamespace(ok=ok, raw=io.BytesIO(raw), content=raw)
    api = SimpleNamespace(
        base_url="http+docker://localhost",
        api_version="1.41",
        timeout=120,
        exec_create=lambda _container, _command: {"Id": "e1"},
        exec_inspect=lambda _exec: next(looks),
        post=lambda _url, **_options: nullcontext(response),
    )
    return cast("Container", SimpleNamespace(id="c1", client=SimpleNamespace(api=api)))


def test_two_streams_come_apart_in_their_order() -> None:
    """However they were cut."""
    raw = piece(OUT, b"one ") + piece(ERR, b"oh") + piece(OUT, b"two") + piece(ERR, b" no") + piece(OUT, b"")
    assert ask(container(raw, (3,)), ["x"]) == Answer(3, b"one two", b"oh no")


def test_no_output_is_no_fault() -> None:
    """Many commands have none."""
    assert ask(container(b""), ["true"]) == Answer(0, b"", b"")


@pytest.mark.parametrize("cut", range(1, 20))
def test_an_answer_that_breaks_off_is_no_answer(cut: int) -> None:
    """Wherever it breaks off, but between two pieces: no exit code makes it whole."""
    raw = piece(OUT, b"one") + piece(OUT, b"two")
    answer = ask(container(raw[:-cut]), ["x"])
    whole = len(raw) - cut == len(piece(OUT, b"one"))
    assert answer.code == (0 if whole else -1)
    assert ("broke off" in answer.complaint) is not whole


def test_the_exit_code_is_waited_for() -> None:
    """A busy engine has it a little later than the output."""
    assert ask(container(piece(OUT, b"done"), (None, None, 7)), ["x"]).code == 7


def test_a_container_that_does_not_run_gives_minus_one() -> None:
    """With the engine's words."""
    answer = ask(container(b"container c1 is not running", ok=False), ["x"])
    assert (answer.code, answer.complaint) == (-1, "container c1 is not running")


def test_a_container_that_is_gone_is_told_without_its_number() -> None:
    """The engine's own words, in which nobody knows it by sixty-four digits."""

    def refuse(_container: str, _command: list[str]) -> None:
        raise APIError("409 Client Error", explanation=f"Container {'0a' * 32} is not running")

    gone = container(b"")
    cast("Any", gone.client).api.exec_create = refuse
    assert ask(gone, ["x"]) == Answer(-1, b"", b"its container is not running")


def test_output_can_go_into_a_file(tmp_path: Path) -> None:
    """And is then not kept in memory as well."""
    with (tmp_path / "out").open("w+b") as file:
        assert ask(container(piece(OUT, b"much")), ["x"], file).out == b""
    assert (tmp_path / "out").read_bytes() == b"much"


class Engine(socketserver.ThreadingUnixStreamServer):
    """An engine's end of exec, by HTTP over a socket: the SDK and its connections are the real ones."""

    daemon_threads = True

    def __init__(self, place: Path, said: bytes = b"", states: Sequence[tuple[int, int | None]] = ((7, None),)) -> None:
        """Its command says this when a line comes, and ends; `states` are its process and exit code, look by look."""
        super().__init__(str(place / "engine.sock"), Calls)
        self.said = said
        self.states = list(states)
        self.first = b""  # said before a line comes
        self.refuses = self.dies = self.sleeps = False
        self.asked: list[str] = []
        self.told: list[bytes] = []  # what came, '' when the connection was closed without a line
        self.heard = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Whoever asked has gone."""

    def held(self, timeout: int = 60) -> Held:
        """A command of it, up and waiting."""
        self.api = docker.APIClient(base_url=f"unix://{self.server_address!s}", version="1.41", timeout=timeout)
        return Held(cast("Container", SimpleNamespace(id="c1", name="sipp", client=self)), ["sipp", "-m", "1"])

    def watch(self, timeout: int = 60) -> Watch:
        """One that says when it is at work."""
        self.api = docker.APIClient(base_url=f"unix://{self.server_address!s}", version="1.41", timeout=timeout)
        return Watch(cast("Container", SimpleNamespace(id="c1", name="probes", client=self)), ["watch", "7"], b"up\n")


class Calls(BaseHTTPRequestHandler):
    """What the engine answers."""

    server: Engine
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Make an exec, or start it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/start"):
            self.server.asked = body["Cmd"]
            assert body["AttachStdin"]
            gone = {"message": f"Container {'0a' * 32} is not running"}
            self._say(409, gone) if self.server.refuses else self._say(201, {"Id": "e1"})
            return
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
        self.wfile.write(self.server.first)
        self.wfile.flush()
        if not self.server.dies:
            self.server.told.append(self.connection.recv(100))
        self.server.heard.set()
        if self.server.sleeps:
            time.sleep(3)
        self.wfile.write(self.server.said)

    def do_GET(self) -> None:
        """Its state."""
        pid, code = self.server.states.pop(0) if self.server.states else (7, 0)
        self._say(200, {"Running": False, "Pid": pid, "ExitCode": code})

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _say(self, status: int, content: object) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """One that answers."""
    with Engine(tmp_path) as server:
        yield server
        server.api.close()
        server.shutdown()


def test_a_held_command_goes_when_told_and_not_before(engine: Engine) -> None:
    """It is up by then: the engine knows its process."""
    engine.said = piece(OUT, b"sent") + piece(ERR, b"oh")
    engine.states = [(0, None), (0, None), (7, None)]
    held = engine.held()
    assert not engine.states  # looked until there was a process
    assert engine.asked[-3:] == ["sipp", "-m", "1"]
    told_before = list(engine.told)
    assert held.go() == Answer(0, b"sent", b"oh")
    assert (told_before, engine.told) == ([], [b"\n"])


def test_a_held_command_that_ends_before_keeps_its_words_and_its_code(engine: Engine) -> None:
    """Such as one whose shell is not in the image: the engine says so at once, and closes."""
    engine.said, engine.dies = piece(ERR, b"sh: not found"), True
    engine.states = [(0, 127), (0, 127)]
    held = engine.held()
    assert engine.heard.wait(10)
    assert held.go() == Answer(127, b"", b"sh: not found")


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_held_command_whose_answer_breaks_off_has_none(engine: Engine, cut: int) -> None:
    """As with `ask`."""
    engine.said = piece(OUT, b"sent")[:-cut]
    assert engine.held().go().code == (0 if cut == 12 else -1)


def test_a_held_command_in_a_container_that_is_gone_says_so_when_told_to_go(engine: Engine) -> None:
    """Others may be up by then."""
    engine.refuses = True
    assert engine.held().go() == Answer(-1, b"", b"its container is not running")


def test_a_held_command_that_says_nothing_for_too_long_is_named(engine: Engine) -> None:
    """SIPp shows its screen once a minute; only one that is paused is silent for two."""
    engine.sleeps = True
    held = engine.held(timeout=1)
    with pytest.raises(TestbedError, match=r"what runs in sipp has said nothing for 1 s"):
        held.go()


def test_a_held_command_that_never_starts_is_not_waited_for_for_ever(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine may be stuck."""
    monkeypatch.setattr(execution, "UP_SECONDS", 0.1)
    engine.states = [(0, None)] * 1000
    with pytest.raises(TestbedError, match="the engine does not start a command in sipp"):
        engine.held()


def test_a_held_command_that_is_left_gets_no_line_but_an_end(engine: Engine) -> None:
    """By which the shell that waits ends."""
    engine.held().close()
    assert engine.heard.wait(10)
    assert engine.told == [b""]


def test_what_watches_is_at_work_from_its_word_on_until_its_input_ends(engine: Engine) -> None:
    """And what it had said before that, on either output, is in its answer."""
    engine.first = piece(ERR, b"up\n") + piece(OUT, b"I am ") + piece(OUT, b"up\n")
    engine.said, engine.states = piece(OUT, b"seen"), [(7, 3)]
    watch = engine.watch()
    assert watch.up
    assert engine.asked == ["watch", "7"]
    told_before = list(engine.told)
    assert watch.end() == Answer(3, b"I am up\nseen", b"up\n")
    assert (told_before, engine.told) == ([], [b""])


def test_what_cannot_watch_tells_why(engine: Engine) -> None:
    """It ends without its word."""
    engine.first, engine.dies, engine.states = piece(ERR, b"no BTF"), True, [(7, 1)]
    watch = engine.watch()
    assert not watch.up
    assert watch.end() == Answer(1, b"", b"no BTF")


def test_what_never_says_that_it_watches_is_not_waited_for_for_ever(engine: Engine) -> None:
    """As with everything that runs in a container."""
    with pytest.raises(TestbedError, match=r"what runs in probes has said nothing for 1 s"):
        engine.watch(timeout=1)


def test_held_commands_leave_no_connection_open(engine: Engine) -> None:
    """A run of many slices has thousands of them."""
    engine.held().go()

    def ours() -> int:
        return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())

    before = ours()
    gc.disable()
    try:
        for _ in range(20):
            engine.states = [(7, None)]
            engine.held().go()
            engine.api.close()
        assert ours() <= before + 2
    finally:
        gc.enable()


def test_the_shell_that_holds_a_command_does_nothing_when_nobody_tells_it_to_go() -> None:
    """The driver may have been killed: its end of the connection is closed, and no line comes."""
    command = [*execution._WAITING, "echo", "gone"]  # noqa: SLF001
    assert subprocess.run(command, input=b"", capture_output=True, check=False).stdout == b""
    assert subprocess.run(command, input=b"\n", capture_output=True, check=True).stdout == b"gone\n"
