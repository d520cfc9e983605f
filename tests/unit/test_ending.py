"""What a signal ends, and when: a first one waits for what is being collected, a second one for nothing."""

import signal
from collections.abc import Iterator

import pytest

from lab import ending
from tests.unit.signals import own_signals


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Signals are heard, until the test is over."""
    with own_signals():
        ending.listen()
        yield


def test_what_is_being_collected_is_finished_first() -> None:
    """Whoever asked is told so, and waits no longer than that."""
    told: list[str] = []
    done: list[str] = []

    def collect() -> None:
        with ending.collecting(lambda: told.append("in a moment")):
            signal.raise_signal(signal.SIGINT)
            done.append("this slice")
        done.append("the next one")

    with pytest.raises(KeyboardInterrupt):
        collect()
    assert (told, done) == (["in a moment"], ["this slice"])


@pytest.mark.parametrize("first", ending.SIGNALS)
@pytest.mark.parametrize("second", ending.SIGNALS)
def test_a_second_signal_does_not_wait(first: signal.Signals, second: signal.Signals) -> None:
    """And a third one does not stop the taking down."""
    down: list[str] = []

    def collect() -> None:
        with ending.collecting(lambda: None):
            signal.raise_signal(first)
            try:
                signal.raise_signal(second)
            finally:
                signal.raise_signal(first)
                down.append("all")

    with pytest.raises(KeyboardInterrupt):
        collect()
    assert down == ["all"]


def test_where_nothing_is_collected_nothing_is_waited_for() -> None:
    """As while images are built, or cells are started."""
    with ending.collecting(lambda: None):
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_an_error_is_not_hidden_by_an_end_that_was_asked_for() -> None:
    """What went wrong meanwhile is the one to be told."""

    def collect() -> None:
        with ending.collecting(lambda: None):
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        collect()


def test_nobody_need_hear_that_it_takes_a_moment() -> None:
    """The terminal may be gone, which is why the signal came."""

    def tell() -> None:
        raise BrokenPipeError

    def collect() -> None:
        with ending.collecting(tell):
            signal.raise_signal(signal.SIGHUP)
            done.append("this slice")

    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        collect()
    assert done == ["this slice"]
