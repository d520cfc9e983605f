"""Runs programs: output streamed to whoever listens, kept for the error, and nothing left behind on Ctrl-C."""

import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.errors import SetupError

LAST_LINES = 30


def ignore(_line: str) -> None:
    """Listen to nothing."""


def run(  # noqa: PLR0913
    command: Sequence[str],
    *,
    what: str,
    listen: Callable[[str], None] = ignore,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    remedy: str = "",
) -> str:
    """Run a command to its end and return its output (stdout and stderr as one).

    The child has a session of its own: a Ctrl-C reaches us alone, and we end the child in order. A failure raises
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
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
            raise
    if code != 0:
        detail = "\n".join(list(kept)[-LAST_LINES:])
        raise SetupError(f"{what} failed (exit code {code})", detail=detail, remedy=remedy)
    return "\n".join(kept)
