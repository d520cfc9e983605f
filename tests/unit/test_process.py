"""Running a program: what is heard of it, how it fails, and that nothing of it stays behind."""

import os
import sys
from pathlib import Path

import pytest

from lab.errors import SetupError
from lab.process import LAST_LINES, run

ENDLESS = "import os, signal; print(os.getpid(), flush=True); signal.pause()"


def python(program: str) -> list[str]:
    """A command that runs this program."""
    return [sys.executable, "-c", program]


def test_output_comes_as_one_text() -> None:
    """Standard output and standard error, in their order."""
    program = "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three')"
    assert run(python(program), what="counting") == "one\ntwo\nthree"


@pytest.mark.timeout(30)
def test_output_is_heard_while_the_program_runs(tmp_path: Path) -> None:
    """The program ends only after somebody has heard its first line. Empty lines are not worth hearing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []

    def listen(line: str) -> None:
        heard.append(line)
        if line == "first":
            pipe.write_text("go on")

    run(
        python(f"print('first', flush=True); print(); print(open({str(pipe)!r}).read())"), what="talking", listen=listen
    )
    assert heard == ["first", "go on"]


def test_a_failure_carries_the_last_lines() -> None:
    """Enough to see why, not all of a long build."""
    program = f"print(*range({LAST_LINES + 5}), sep='\\n'); raise SystemExit(3)"
    with pytest.raises(SetupError) as caught:
        run(python(program), what="building image x", remedy="look up")
    assert str(caught.value) == "building image x failed (exit code 3)"
    assert caught.value.detail.splitlines() == [str(n) for n in range(5, LAST_LINES + 5)]
    assert caught.value.remedy == "look up"


def test_an_error_far_above_the_last_lines_is_told_as_well() -> None:
    """Other jobs of a build go on for a while after it."""
    program = "print('a.c:7: error: what is this?', *range(2 * LAST), sep='\\n'); raise SystemExit(2)".replace(
        "LAST", str(LAST_LINES)
    )
    with pytest.raises(SetupError) as caught:
        run([sys.executable, "-c", program], what="building")
    lines = caught.value.detail.splitlines()
    assert lines[:2] == ["a.c:7: error: what is this?", "..."]
    assert lines[2:] == [str(number) for number in range(LAST_LINES, 2 * LAST_LINES)]


def test_a_program_that_was_killed_has_failed() -> None:
    """Its exit code is the signal's number below zero."""
    with pytest.raises(SetupError, match=r"exit code -9"):
        run(python("import os; os.kill(os.getpid(), 9)"), what="dying")


@pytest.mark.parametrize("command", [["no-such-program-here"], ["/"]])
def test_a_program_that_is_missing(command: list[str]) -> None:
    """Or is none: an error of the same kind, with the same remedy."""
    with pytest.raises(SetupError, match=rf"starting MySQL failed: .*{command[0]}") as caught:
        run(command, what="starting MySQL", remedy="install it")
    assert caught.value.remedy == "install it"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_ends_the_program(kind: type[BaseException]) -> None:
    """And is passed on only when the program is gone."""
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise kind

    with pytest.raises(kind):
        run(python(ENDLESS), what="waiting", listen=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_program_is_asked_to_end_before_it_is_killed(tmp_path: Path) -> None:
    """Compose has something to tidy up."""
    word = tmp_path / "last word"
    program = (
        "import signal, sys\n"
        f"def end(*_): open({str(word)!r}, 'w').write('tidy'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); signal.pause()"
    )

    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(python(program), what="waiting", listen=interrupt)
    assert word.read_text() == "tidy"


def test_a_ctrl_c_of_the_terminal_does_not_reach_the_program() -> None:
    """We end it ourselves, in order: it has a session of its own."""
    assert run(python("import os; print(os.getsid(0) == os.getpid())"), what="asking") == "True"


def test_it_gets_the_environment_and_the_folder_that_it_is_given(tmp_path: Path) -> None:
    """Nothing else of ours when there is one; nobody at its keyboard."""
    program = "import os, sys; print(os.environ.get('LAB_RUN'), os.environ.get('HOME'), os.getcwd(), sys.stdin.read())"
    environment = {"LAB_RUN": "r1"}
    said = run(python(program), what="asking", environment=environment, folder=tmp_path)
    assert said.split() == ["r1", "None", str(tmp_path)]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    """They are replaced, and the rest is kept."""
    assert run(python(r"import os; os.write(1, b'caf\xe9\n')"), what="writing") == "caf\ufffd"
