"""The end that a signal asks for: at once or, while something is being collected, when that is whole.

A second signal does not wait. From then on none is heard, since nothing must stop the taking down.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class _Collecting:
    """What must not be cut short, once."""

    tell: Callable[[], None]
    asked: bool = False


_now: list[_Collecting] = []


def listen() -> None:
    """From now on these signals end the program in order. One that was ignored before (nohup) stays so."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, asked)


@contextmanager
def collecting(tell: Callable[[], None]) -> Iterator[None]:
    """A first signal waits until this is over, which `tell` says to whoever sent it."""
    this = _Collecting(tell)
    _now.append(this)
    try:
        yield
    except Exception as error:
        error.end_was_asked = this.asked  # type: ignore[attr-defined]  # for who would go on with something else
        raise
    finally:
        _now.remove(this)
    if this.asked:
        _end()


def asked(_signal: int, _frame: FrameType | None) -> None:
    """A signal's handler."""
    if _now and not _now[-1].asked:
        _now[-1].asked = True
        with suppress(Exception, SystemExit):  # nobody reads any more: rich ends the program then
            _now[-1].tell()
        return
    _end()


def _end() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
