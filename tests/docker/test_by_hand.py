"""compose.yaml by hand: what the README shows, with any engine, and nothing left afterwards.

The project and the label are the test's own, so that a testbed that somebody has raised stays untouched.
"""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import docker
import pytest

from lab import testbed
from lab.errors import Exit
from lab.images import Built
from lab.versions import ROOT
from tests.docker.driver import SCRIPT


@dataclass(frozen=True)
class Hand:
    """Somebody at a shell, in the folder of compose.yaml."""

    client: docker.DockerClient
    run: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")

    @property
    def environment(self) -> dict[str, str]:
        """Our own project and label."""
        return {**os.environ, "COMPOSE_PROJECT_NAME": self.run, "LAB_RUN": self.run}

    def type(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        own = self.environment | more
        return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)

    def compose(self, *arguments: str, **environment: str) -> str:
        """A command of docker compose that succeeds; what it says."""
        done = self.type("docker", "compose", *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def left(self) -> list[str]:
        """Everything of ours on the engine, by Compose's label as by our own."""
        found: list[str] = []
        for name in (f"{testbed.LABEL_RUN}={self.run}", f"com.docker.compose.project={self.run}"):
            label: dict[str, str | list[str] | bool] = {"label": name}
            found += [
                f"container {one.name}"
                for one in self.client.containers.list(all=True, filters=label, ignore_removed=True)
            ]
            found += [f"network {one.name}" for one in self.client.networks.list(filters=label)]
            found += [f"volume {one.name}" for one in self.client.volumes.list(filters=label)]
        return found


@pytest.fixture
def hand(client: docker.DockerClient, built: dict[str, Built]) -> Iterator[Hand]:
    """A clean engine, before and after."""
    assert built
    somebody = Hand(client)
    yield somebody
    testbed.remove_all(client, somebody.run)


PROBE = (
    *("sipp", "127.0.0.1:5060", "-i", "127.0.0.1", "-p", "5070", "-nostdin", "-sf", "/scenarios/probe.xml", "-m", "1"),
    *("-timeout", "10s", "-timeout_error", "-trace_logs", "-log_file", "/dev/stderr"),
)


def test_sipp_goes_to_the_kamailio_of_its_own_project() -> None:
    """Whatever the project is called: by default after compose.yaml, as nobody sets a name at a shell."""
    plain = {name: value for name, value in os.environ.items() if name != "COMPOSE_PROJECT_NAME"}
    for environment, project in ((plain, "kemi-lab"), (plain | {"COMPOSE_PROJECT_NAME": "mine"}, "mine")):
        command = ["docker", "compose", "--profile", "load", "config", "--format", "json"]
        shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        assert json.loads(shown)["services"]["sipp"]["network_mode"] == f"container:{project}-kamailio-1"


def test_the_testbed_is_raised_used_and_taken_down(hand: Hand) -> None:
    """`docker compose up`, `docker compose run --rm sipp`, `docker compose down --volumes`."""
    hand.compose("up", "--detach", "--wait")
    hand.compose("run", "--rm", "sipp")
    assert "engine native" in hand.compose("run", "--rm", "sipp", *PROBE)
    log = hand.compose("logs", "--no-log-prefix", "kamailio")
    assert log.count("1 REGISTER") >= 1000
    assert log.count("2 REGISTER") >= 1000
    hand.compose("down", "--volumes")
    assert hand.left() == []


@pytest.mark.parametrize("engine", ["lua", "python3"])
def test_another_engine_is_chosen_by_a_variable(hand: Hand, engine: str) -> None:
    """`LAB_ENGINE=lua docker compose up`; it stays when SIPp is run without that variable."""
    hand.compose("up", "--detach", "--wait", LAB_ENGINE=engine)
    assert f"engine {engine}" in hand.compose("run", "--rm", "sipp", *PROBE)
    hand.compose("down", "--volumes")
    assert hand.left() == []


def test_lab_up_and_down_wrap_it(hand: Hand) -> None:
    """The same by the console script, which makes the images first and says what can be done next."""
    raised = hand.type(str(SCRIPT), "up", LAB_ENGINE="lua")
    assert raised.returncode == 0, raised.stderr
    assert "docker compose run --rm sipp" in raised.stdout
    assert "engine lua" in hand.compose("run", "--rm", "sipp", *PROBE)
    taken = hand.type(str(SCRIPT), "down")
    assert taken.returncode == 0, taken.stderr
    assert hand.left() == []


@pytest.mark.parametrize("thing", ["volume", "container"])
def test_ctrl_c_while_it_is_raised_leaves_nothing(hand: Hand, thing: str) -> None:
    """`lab up`, interrupted as soon as there is something to be left."""
    with subprocess.Popen([SCRIPT, "up"], cwd=ROOT, env=hand.environment, stderr=subprocess.PIPE, text=True) as raising:
        while not any(name.startswith(thing) for name in hand.left()):
            assert raising.poll() is None
        raising.send_signal(signal.SIGINT)
        _, said = raising.communicate()
    assert raising.returncode == Exit.INTERRUPTED, said
    assert "lab: interrupted" in said
    assert hand.left() == []
