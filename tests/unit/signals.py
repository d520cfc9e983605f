"""Signals of a process that is pytest's as well."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lab import ending


@contextmanager
def own_signals() -> Iterator[None]:
    """The command line sets handlers and a umask for its process; here that is pytest's."""
    handlers = {number: signal.getsignal(number) for number in ending.SIGNALS}
    signal.signal(signal.SIGHUP, lambda *_: None)  # neither ignored, as under nohup, nor the end of pytest
    mask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
