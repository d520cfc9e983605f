"""compose.yaml by hand: what `lab up` and `lab down` wrap."""

import os
from contextlib import suppress

import docker
from docker.errors import APIError

from lab import process, testbed, versions
from lab.errors import LabError, TestbedError

RUN = "by-hand"  # the label lab.run that compose.yaml gives, unless LAB_RUN sets another


def up(client: docker.DockerClient) -> None:
    """Raise MySQL and Kamailio and wait until both are healthy; on failure, or Ctrl-C, nothing stays but the error."""
    try:
        try:
            _compose("up", "--detach", "--wait", what="raising the testbed")
        except LabError as error:
            detail = "\n".join([error.detail, *_last_words(client)])
            raise TestbedError(str(error), detail=detail, remedy=error.remedy) from error
    except BaseException:
        down(client)
        raise


def down(client: docker.DockerClient) -> None:
    """Take it down with its volumes, and whatever else of it is left."""
    _compose("--profile", "*", "down", "--volumes", "--remove-orphans", what="taking the testbed down")
    testbed.remove_all(client, _run())


def _last_words(client: docker.DockerClient) -> list[str]:
    """The last lines of each container that is not running or not healthy."""
    said: list[str] = []
    label = f"{testbed.LABEL_RUN}={_run()}"
    for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
        state = container.status
        if state == "running":
            state = container.attrs["State"].get("Health", {}).get("Status", state)
        if state not in {"running", "starting", "healthy"}:
            with suppress(APIError):  # a log that cannot be had must not hide the error
                lines = container.logs(tail=process.LAST_LINES).decode(errors="replace").rstrip()
                said.append(f"{container.name} ({state}) said last:\n{lines or 'nothing'}")
    return said


def _run() -> str:
    return os.environ.get("LAB_RUN", RUN)


def _compose(*arguments: str, what: str) -> None:
    command = ["docker", "compose", "--progress", "plain", *arguments]
    process.run(command, what=what, folder=versions.ROOT, finish=True)
