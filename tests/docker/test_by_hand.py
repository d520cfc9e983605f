"""compose.yaml by hand, as its own header says; under a project name of the test's own."""

import os
import secrets
import subprocess
from collections.abc import Iterator

import docker
import pytest

from lab import testbed
from lab.images import Built
from lab.versions import ROOT


@pytest.fixture
def project(client: docker.DockerClient, built: dict[str, Built]) -> Iterator[str]:
    """A name for project and label; whatever is left of it goes at the end."""
    assert built
    name = f"test-{secrets.token_hex(4)}"
    yield name
    testbed.remove_all(client, name)


def compose(project: str, *arguments: str, **environment: str) -> str:
    """`docker compose ...` in the project's folder, which must succeed."""
    done = subprocess.run(
        ["docker", "compose", "--project-name", project, "--profile", "load", *arguments],
        cwd=ROOT,
        env={**os.environ, "LAB_RUN": project, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def raise_by_hand(project: str, **environment: str) -> None:
    """As the header says, in the background."""
    compose(project, "up", "--detach", "--wait", "mysql", "kamailio", **environment)


@pytest.mark.parametrize("engine", ["native", "lua", "python3"])
def test_registrations_by_hand(client: docker.DockerClient, project: str, engine: str) -> None:
    """Up with an engine, `run --rm sipp` without naming it again: all calls succeed, and that engine took them."""
    environment = {} if engine == "native" else {"LAB_ENGINE": engine}
    raise_by_hand(project, **environment)
    said = compose(project, "run", "--rm", "sipp")
    assert "Successful call        |        0                  |     1000" in said
    kamailio = client.containers.get(f"{project}-kamailio-1")
    assert f"LAB_ENGINE={engine}" in kamailio.attrs["Config"]["Env"]
    log = kamailio.logs().decode()
    assert log.count("request-route executed in: ") == 2000


def test_down_leaves_nothing(client: docker.DockerClient, project: str) -> None:
    """Containers, networks and volumes."""
    raise_by_hand(project)
    compose(project, "down", "--volumes", "--timeout", "5")
    label: dict[str, str | list[str] | bool] = {"label": f"{testbed.LABEL_RUN}={project}"}
    assert client.containers.list(all=True, filters=label) == []
    assert client.networks.list(filters=label) == []
    assert client.volumes.list(filters=label) == []
