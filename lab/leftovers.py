"""What runs whose driver was killed have left on the engine and in the folder for temporary files; and its removal.

Only what carries the lab's labels or is called by it, and never anything of a run that goes on, whoever's it is.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker

from lab import claims
from lab.archive import RUN
from lab.testbed import LABEL_RUN, PRIVATE, remove_all


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing of a run."""

    run: str
    kind: str  # container, network, volume, folder
    name: str
    living: bool  # its run goes on: it is left alone


def find(client: docker.DockerClient, run: str = "") -> list[Leftover]:
    """Of every run, or of one; not of the testbed that was raised by hand, which `lab down` takes down."""
    found = sorted(one for one in {*_on_engine(client), *_temporary()} if run in {"", one[0]})
    living = {name: claims.goes_on(name) for name in {name for name, _, _ in found}}
    return [Leftover(owner, kind, name, living[owner]) for owner, kind, name in found]


def remove(client: docker.DockerClient, found: Sequence[Leftover]) -> None:
    """All of it whose run does not go on; nobody can go on with one meanwhile."""
    for run in dict.fromkeys(one.run for one in found if not one.living):
        with claims.going_on(run):
            remove_of(client, run)


def remove_of(client: docker.DockerClient, run: str) -> None:
    """What a run has left, which must not go on."""
    remove_all(client, run)
    for folder in _folders(run):
        shutil.rmtree(folder)


def _on_engine(client: docker.DockerClient) -> Iterator[tuple[str, str, str]]:
    for container in client.containers.list(all=True, filters={"label": LABEL_RUN}, ignore_removed=True):
        yield from _of("container", container.name or container.id or "", container.labels)
    for network in client.networks.list(filters={"label": LABEL_RUN}):
        yield from _of("network", network.name or network.id or "", network.attrs["Labels"])
    for volume in client.volumes.list(filters={"label": LABEL_RUN}):
        yield from _of("volume", volume.name, volume.attrs["Labels"])


def _of(kind: str, name: str, labels: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    if RUN.fullmatch(labels[LABEL_RUN]):
        yield labels[LABEL_RUN], kind, name


def _temporary() -> Iterator[tuple[str, str, str]]:
    for folder in _folders("*"):
        yield folder.name.removeprefix(PRIVATE).rpartition("-")[0], "folder", str(folder)


def _folders(run: str) -> Iterator[Path]:
    return Path(tempfile.gettempdir()).glob(f"{PRIVATE}{run}-*")
