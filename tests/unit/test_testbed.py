"""Taking down: until nothing is left, whatever the engine is at."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import docker
import pytest
from docker.errors import APIError
from docker.models.containers import Container
from requests import Response
from requests.exceptions import ConnectionError as Gone

from lab import testbed


class Engine:
    """One with a container, that refuses as often as a test says, by an error that it makes."""

    def __init__(self, refusals: int = 0, error: Callable[[], Exception] = Gone) -> None:
        """All is well without refusals."""
        self.asked: list[object] = []
        self.things: list[Container] = []
        self._refusals, self._error = refusals, error

    def add(self) -> None:
        """A container that can be removed."""
        one = Container(attrs={"Id": "c1"})
        one.remove = lambda **_: self.things.remove(one)  # type: ignore[method-assign]
        self.things.append(one)

    def client(self) -> docker.DockerClient:
        """As the SDK shows it."""
        nothing = SimpleNamespace(list=lambda **_: [])
        client = SimpleNamespace(containers=SimpleNamespace(list=self._list), networks=nothing, volumes=nothing)
        return cast("docker.DockerClient", client)

    def _list(self, **options: object) -> list[Container]:
        self.asked.append(options["filters"])
        if len(self.asked) <= self._refusals:
            raise self._error()
        return list(self.things)


def refused(status: int) -> Callable[[], APIError]:
    """The engine's own error."""

    def make() -> APIError:
        response = Response()
        response.status_code = status
        return APIError("refused", response=response)

    return make


def test_only_what_carries_the_runs_label_is_asked_for() -> None:
    """And it is told whether there was any."""
    engine = Engine()
    engine.add()
    assert testbed.remove_all(engine.client(), "r1")
    assert engine.things == []
    assert engine.asked == [{"label": ["lab.run=r1"]}] * 2
    assert not testbed.remove_all(engine.client(), "r1")


@pytest.mark.parametrize("error", [Gone, refused(409), refused(403), refused(500)], ids=["gone", "409", "403", "500"])
def test_an_engine_that_is_busy_or_restarted_is_asked_again(error: Callable[[], Exception]) -> None:
    """Nothing stays because it was not there for a moment."""
    engine = Engine(2, error)
    engine.add()
    assert testbed.remove_all(engine.client(), "r1")
    assert engine.things == []


def test_what_will_not_pass_is_told_at_once() -> None:
    """Such as a request that the engine does not understand."""
    engine = Engine(1, refused(400))
    with pytest.raises(APIError):
        testbed.remove_all(engine.client(), "r1")
    assert len(engine.asked) == 1


def test_an_engine_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own error, after a while."""
    monkeypatch.setattr(testbed, "REMOVAL_SECONDS", 0.2)
    with pytest.raises(Gone):
        testbed.remove_all(Engine(10**9).client(), "r1")
