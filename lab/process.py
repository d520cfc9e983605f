"""Runs programs: output streamed to whoever listens, kept for the error, and nothing left behind on Ctrl-C."""

import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import SetupError

LAST_LINES = 30
FIRST_ERRORS = 5  # lines of a compiler's or a package manager's
_ERROR = re.compile(r"\b(error|E): ", re.IGNORECASE)
PATIENCE_SECONDS = 10  # for a child to end


def ignore(_line: str) -> None:
    """Listen to nothing."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """A Ctrl-C waits until this is over: for what takes a moment, and could not be undone half-way."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(  # noqa: PLR0913
    command: Sequence[str],
    *,
    what: str,
    listen: Callable[[str], None] = ignore,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    remedy: str = "",
    finish: bool = False,
) -> str:
    """Run a command to its end and return its output (stdout and stderr as one).

    The child has a session of its own: a Ctrl-C reaches us alone, and we end the child in order. With `finish` it is
    left to end by itself first, as what it has asked others to do would be done after its end. A failure raises
    SetupError "<what> failed", with the last lines as detail.
    """
    kept: deque[str] = deque(maxlen=2000)
    try:
        child = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise SetupError(f"{what} failed: {error}", remedy=remedy) from error
    with child:
        try:
            for line in child.stdout or ():
                kept.append(line.rstrip("\n"))
                if line.strip():
                    listen(kept[-1])
            code = child.wait()
        except BaseException:
            _end(child, finish=finish)
            raise
    if code != 0:
        last = list(kept)[-LAST_LINES:]
        # Of jobs that ran side by side the others go on for a while: what went wrong may stand far above.
        first = [line for line in list(kept)[:-LAST_LINES] if _ERROR.search(line)][:FIRST_ERRORS]
        detail = "\n".join([*first, *(["..."] if first else []), *last])
        raise SetupError(f"{what} failed (exit code {code})", detail=detail, remedy=remedy)
    return "\n".join(kept)


def _end(child: "subprocess.Popen[str]", *, finish: bool) -> None:
    """End it with all that it has started (docker's plugins do the work): until nobody has our pipe any more."""
    for number in (0 if finish else signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, number)
            child.communicate(timeout=PATIENCE_SECONDS)
            return
