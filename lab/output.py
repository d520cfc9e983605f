"""Standard output, and progress of builds: the only module that prints."""

import errno
import os
import sys
from collections.abc import Callable
from typing import TextIO

from rich.console import Console

GONE = {errno.EPIPE, errno.EIO}  # whoever read what we write: a pipe's other end, a terminal


def say(text: str, end: str = "\n") -> None:
    """To standard output, at once. A reader that has gone (| head) is no error: the exit code stays what it is."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        mute(sys.stdout)
        if error.errno not in GONE:
            raise


def mute(stream: TextIO) -> None:
    """Let what it still holds go nowhere: Python would end with a code of its own when it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def listener() -> Callable[[str], None]:
    """Build output: one moving line on a terminal, whole lines in a pipe."""
    console = Console(stderr=True, highlight=False)

    def listen(line: str) -> None:
        if console.is_terminal:
            console.print(line[: console.width - 1], markup=False, end="\r", overflow="crop", no_wrap=True)
        else:
            console.print(line, markup=False, soft_wrap=True)

    return listen
