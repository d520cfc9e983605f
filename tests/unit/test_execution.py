"""An exec's answer: two streams in one, and never a part taken for the whole."""

import io
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import APIError
from docker.models.containers import Container

from lab.execution import Answer, ask

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
