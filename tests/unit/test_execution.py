"""An exec's answer: two streams in one, and never a part taken for the whole. One that is held does nothing yet."""

import io
import socket
import subprocess
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import APIError
from docker.models.containers import Container

from lab import execution
from lab.errors import TestbedError
from lab.execution import Answer, Held, ask

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


class Engine(threading.Thread):
    """The other end of a held command's connection: says this when a line comes, and closes."""

    def __init__(self, said: bytes | None, states: tuple[tuple[int, int | None], ...] = ((7, None),)) -> None:
        """`states` are its process and exit code, each time that somebody asks; then it has ended with 0."""
        super().__init__(daemon=True)
        self.ours, self.theirs = socket.socketpair()
        self.said = said
        self.states = list(states)
        self.line = b""
        self.asked: list[str] = []
        self.start()

    def run(self) -> None:
        """Wait, answer, end."""
        self.line = self.theirs.recv(100)
        if self.said is not None:
            self.theirs.sendall(self.said)
            self.theirs.close()

    def connection(self, _exec: str, *, socket: bool) -> object:
        """Ours alone, and closed with it."""
        assert socket
        stream = self.ours.makefile("rb", buffering=0)
        self.ours.close()
        return stream

    def container(self) -> Container:
        """As the SDK has it."""

        def create(_container: str, command: list[str], *, stdin: bool) -> dict[str, str]:
            assert stdin
            self.asked = command
            return {"Id": "e1"}

        def look(_exec: str) -> dict[str, object]:
            pid, code = self.states.pop(0) if self.states else (7, 0)
            return {"Running": False, "Pid": pid, "ExitCode": code}

        api = SimpleNamespace(
            timeout=120,
            exec_create=create,
            exec_inspect=look,
            exec_start=self.connection,
        )
        return cast("Container", SimpleNamespace(id="c1", name="sipp", client=SimpleNamespace(api=api)))


def test_a_held_command_goes_when_told_and_not_before() -> None:
    """It is up by then: the engine knows its process."""
    engine = Engine(piece(OUT, b"sent") + piece(ERR, b"oh"), ((0, None), (0, None), (7, None)))
    held = Held(engine.container(), ["sipp", "-m", "1"])
    assert not engine.states  # looked until there was a process
    assert engine.asked[-3:] == ["sipp", "-m", "1"]
    told_before = engine.line
    assert held.go() == Answer(0, b"sent", b"oh")
    assert (told_before, engine.line) == (b"", b"\n")


def test_a_held_command_that_ends_before_is_not_waited_for() -> None:
    """Such as one whose shell is not in the image."""
    assert Held(Engine(b"", ((0, 127), (0, 127))).container(), ["x"]).go().code == 127


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_held_command_whose_answer_breaks_off_has_none(cut: int) -> None:
    """As with `ask`."""
    answer = Held(Engine(piece(OUT, b"sent")[:-cut]).container(), ["x"]).go()
    assert answer.code == (0 if cut == 12 else -1)


def test_a_held_command_in_a_container_that_is_gone_says_so_when_told_to_go() -> None:
    """Others may be up by then."""

    def refuse(_container: str, _command: list[str], *, stdin: bool) -> None:
        raise APIError("409 Client Error", explanation=f"Container {'0a' * 32} is not running: {stdin}")

    gone = container(b"")
    cast("Any", gone).name = "sipp"
    cast("Any", gone.client).api.exec_create = refuse
    assert Held(gone, ["x"]).go() == Answer(-1, b"", b"its container is not running: True")


def test_a_held_command_that_says_nothing_for_too_long_is_named() -> None:
    """SIPp shows its screen once a minute; only one that is paused is silent for two."""
    engine = Engine(None)
    engine.ours.settimeout(0.05)
    with pytest.raises(TestbedError, match="what runs in sipp has said nothing for 120 s"):
        Held(engine.container(), ["x"]).go()
    engine.theirs.close()


def test_the_shell_that_holds_a_command_does_nothing_when_nobody_tells_it_to_go() -> None:
    """The driver may have been killed: its end of the connection is closed, and no line comes."""
    command = [*execution._WAITING, "echo", "gone"]  # noqa: SLF001
    assert subprocess.run(command, input=b"", capture_output=True, check=False).stdout == b""
    assert subprocess.run(command, input=b"\n", capture_output=True, check=True).stdout == b"gone\n"
