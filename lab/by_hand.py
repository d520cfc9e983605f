"""compose.yaml by hand: what `lab up` and `lab down` wrap."""

import os

import docker

from lab import process, testbed, versions

RUN = "by-hand"  # the label lab.run that compose.yaml gives, unless LAB_RUN sets another


def up(client: docker.DockerClient) -> None:
    """Raise MySQL and Kamailio and wait until both are healthy; on failure, or Ctrl-C, nothing stays."""
    try:
        _compose("up", "--detach", "--wait", what="raising the testbed")
    except BaseException:
        down(client)
        raise


def down(client: docker.DockerClient) -> None:
    """Take it down with its volumes, and whatever else of it is left."""
    _compose("--profile", "*", "down", "--volumes", "--remove-orphans", what="taking the testbed down")
    testbed.remove_all(client, os.environ.get("LAB_RUN", RUN))


def _compose(*arguments: str, what: str) -> None:
    command = ["docker", "compose", "--progress", "plain", *arguments]
    process.run(command, what=what, folder=versions.ROOT, finish=True)
