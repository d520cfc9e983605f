"""Brings the testbed up and down: nested context managers around compose.yaml plus the run's override.

The only Docker orchestration of the lab. Everything carries the label lab.run=<id>, and whatever carries it is removed
on every way out.
"""

import copy
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import docker
import mysql.connector
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume
from requests.exceptions import RequestException

from lab import database, override, process, versions
from lab.cores import Layout
from lab.database import Database
from lab.errors import LabError, TestbedError
from lab.execution import ask
from lab.model import Cell, Plan
from lab.station import COUNTED_READY_SECONDS, READY_SECONDS, Holder, Station

LABEL_RUN = "lab.run"
PRIVATE = "kemi-lab-secret-"  # begin of the name of a folder, which goes on with the run's
REMOVAL_SECONDS = 30
_LAST_LINES = 30
_SOCKETS = "/run/mysqld"  # where compose.yaml mounts the volume with the server's socket
_IN_USE = {HTTPStatus.CONFLICT, HTTPStatus.FORBIDDEN}  # a container or volume; a network


class Testbed:
    """One run's containers. Use `up`, and inside it `fresh_start` once a round."""

    __test__ = False  # the name only looks like a test to pytest

    def __init__(self, client: docker.DockerClient, run: str, plan: Plan, layout: Layout, folder: Path) -> None:
        """`folder` is where override.yaml, etc/ and scenarios/ lie."""
        self.client = client
        self.run = run
        self.plan = plan
        self.layout = layout
        self.folder = folder
        self.project = f"kemi-lab-{run.lower()}"
        self._environment: dict[str, str] = {}

    def write(self, images: override.Images) -> None:
        """Write the override into the run's folder."""
        folder = _seen_from_root(self.folder)
        content = override.text(override.build(self.plan, self.layout, images, folder))
        (self.folder / "override.yaml").write_text(content, encoding="utf-8")

    @contextmanager
    def up(self) -> Iterator[tuple[dict[str, Database], Holder]]:
        """Every database server, answering queries, and the holder of the logs."""
        password = secrets.token_hex(16)
        servers = self.plan.databases
        with ExitStack() as stack:
            # The folder keeps others out; the file itself must be readable for MySQL's user inside the container.
            private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{PRIVATE}{self.run}-")))
            secret = private / "driver-password"
            secret.write_text(password, encoding="ascii")
            secret.chmod(0o644)
            self._environment = {
                **os.environ,
                "LAB_RUN": self.run,
                "LAB_SECRET": str(secret),
                override.FRESH: "1",
                "COMPOSE_PROGRESS": "plain",
            }
            stack.callback(self._down)
            self._compose("up", "--detach", "--no-deps", *servers, "log-holder", what=f"starting {', '.join(servers)}")
            connections = {server: stack.enter_context(self._connect(server, password)) for server in servers}
            try:
                yield connections, Holder(self._container("log-holder"))
            except mysql.connector.Error as error:
                said = "\n".join(self._last_lines(server) for server in servers)
                raise TestbedError(f"{' or '.join(servers)} failed: {error}", detail=said) from error

    @contextmanager
    def _connect(self, service: str, password: str) -> Iterator[Database]:
        """A server's connection as soon as it answers a query."""
        with ExitStack() as stack:
            try:
                server = self._container(service)
                port = _port(server)

                def alive() -> bool:
                    server.reload()
                    return bool(server.status == "running")

                connection = stack.enter_context(database.connect(port, password, alive=alive))
            except LabError as error:
                raise TestbedError(str(error), detail=self._last_lines(service), remedy=error.remedy) from error
            yield connection

    def only(self, plan: Plan) -> "Testbed":
        """The same testbed for a plan that has some of its cells: no others are started."""
        some = copy.copy(self)
        some.plan = plan
        return some

    def load_schema(self, server: str, release: str, schema: bytes) -> None:
        """Make a release's template database from its own SQL files (a tar archive of its folder mysql/)."""
        container = self._container(server)
        name = database.template_of(release)
        place = f"{_SOCKETS}/{name}"  # a volume: nothing else in there can be written to from outside
        answer = ask(container, ["mkdir", "-p", place])
        if answer.code == 0:
            container.put_archive(place, schema)
            answer = ask(container, ["template", name, f"{place}/mysql"])
        if answer.code != 0:
            raise TestbedError(f"{server}: the schema of Kamailio {release} cannot be loaded", detail=answer.last_words)

    @contextmanager
    def fresh_start(self, holder: Holder) -> Iterator[dict[str, Station]]:
        """Every cell that has its own anew: Kamailio answering its RPC, SIPp in its namespace. Removed at the end."""
        services = override.services_of(self.plan)
        try:
            try:
                self._compose("up", "--detach", "--no-deps", *services, what="starting the cells")
                stations = {cell.name: self._station(cell, holder) for cell in self.plan.hosts}
            except LabError as error:
                raise self._who_died(holder) or error from error
            with ThreadPoolExecutor(len(stations)) as pool:
                ready = dict(zip(stations, pool.map(Station.ready, stations.values()), strict=True))
            if not all(ready.values()):
                raise self._who_died(holder) or self._who_is_silent(holder, ready)
            yield stations
        finally:
            _remove(lambda: self._containers_of(services))

    @contextmanager
    def probes(self, cell: Cell) -> Iterator[Container]:
        """What looks at a cell's Kamailio, which is up. Removed at the end."""
        service = override.probes_of(cell.name)
        try:
            self._compose("up", "--detach", "--no-deps", service, what="starting what looks at Kamailio")
            yield self._container(service)
        finally:
            _remove(lambda: self._containers_of([service]))

    def _station(self, cell: Cell, holder: Holder) -> Station:
        return Station(
            cell=cell,
            kamailio=self._container(override.kamailio_of(cell.name)),
            sipp=self._container(override.sipp_of(cell.name)),
            mysql=self._container(cell.database),
            holder=holder,
            counted=bool(self.plan.counting),
        )

    def _who_died(self, holder: Holder) -> TestbedError | None:
        """The first Kamailio that is no longer running, with its last words."""
        for cell in self.plan.hosts:
            with suppress(TestbedError):
                container = self._container(override.kamailio_of(cell.name))
                if container.status != "running":
                    code = container.attrs["State"]["ExitCode"]
                    said = container.logs(tail=_LAST_LINES).decode(errors="replace").splitlines()
                    return TestbedError(
                        f"Kamailio died at start: cell {cell.name}, engine {cell.engine}, exit code {code}",
                        detail="\n".join((_log(holder, cell) + said)[-_LAST_LINES:]),
                        remedy="the log lines above name the cause: look at the routing script and the configuration",
                        cell=cell.name,
                    )
        return None

    def _who_is_silent(self, holder: Holder, ready: Mapping[str, bool]) -> TestbedError:
        """It runs, but does not answer in time."""
        cell = next(cell for cell in self.plan.hosts if not ready[cell.name])
        kamailio = override.kamailio_of(cell.name)
        seconds = COUNTED_READY_SECONDS if self.plan.counting else READY_SECONDS
        return TestbedError(
            f"Kamailio does not answer its RPC within {seconds} s: cell {cell.name}, engine {cell.engine}",
            detail="\n".join((_log(holder, cell) + self._last_lines(kamailio).splitlines())[-_LAST_LINES:]),
            remedy="the log lines above say how far it came: does the configuration still load ctl, and does the "
            "script start something that takes long?",
            cell=cell.name,
        )

    def _compose(self, *arguments: str, what: str) -> None:
        process.run(
            [
                *("docker", "compose", "--project-name", self.project, "--project-directory", str(versions.ROOT)),
                *("--file", str(versions.ROOT / override.BASE), "--file", str(self.folder / "override.yaml")),
                *arguments,
            ],
            what=what,
            environment={**self._environment, **({override.COUNTED: "1"} if self.plan.counting else {})},
            finish=True,  # the engine goes on with what Compose has asked for, and we would not see it yet
        )

    def _container(self, service: str) -> Container:
        labels = [f"{LABEL_RUN}={self.run}", f"com.docker.compose.service={service}"]
        found = _containers(self.client, *labels)
        if not found:
            raise TestbedError(f"container of service {service} is not there")
        return found[0]

    def _last_lines(self, service: str) -> str:
        try:
            return str(self._container(service).logs(tail=_LAST_LINES).decode(errors="replace"))
        except (TestbedError, APIError):
            return ""

    def _containers_of(self, services: Sequence[str]) -> list[Container]:
        found = _containers(self.client, f"{LABEL_RUN}={self.run}")
        return [container for container in found if container.labels.get("com.docker.compose.service") in services]

    def _down(self) -> None:
        try:
            remove_all(self.client, self.run)
        except KeyboardInterrupt:
            remove_all(self.client, self.run)  # undisturbed: only the first Ctrl-C is heard
            raise


def _log(holder: Holder, cell: Cell) -> list[str]:
    return holder.read(override.log_of(cell.name)).decode(errors="replace").splitlines()


def _seen_from_root(folder: Path) -> str:
    """As Compose takes it, relative to compose.yaml where that is possible: the run can then be moved with the tree."""
    folder = folder.resolve()
    return f"./{folder.relative_to(versions.ROOT)}" if folder.is_relative_to(versions.ROOT) else str(folder)


def _port(mysql: Container) -> int:
    """Where on 127.0.0.1 the engine has published a database server."""
    published = mysql.ports.get("3306/tcp")
    if not published:
        raise TestbedError("the database's port is not published: it died, or the engine has no free port")
    return int(published[0]["HostPort"])


def _containers(client: docker.DockerClient, *labels: str) -> list[Container]:
    """Those with all these labels, running or not. The SDK asks about each one: some may be gone by then."""
    return client.containers.list(all=True, filters={"label": list(labels)}, ignore_removed=True)


def remove_all(client: docker.DockerClient, run: str) -> bool:
    """Remove every container, network and volume of a run, and nothing else; whether there was any. Safe to repeat."""
    label: dict[str, str | list[str] | bool] = {"label": f"{LABEL_RUN}={run}"}
    return _remove(
        lambda: (
            # a network or volume only when no container (any more) has it
            _containers(client, f"{LABEL_RUN}={run}")
            or client.networks.list(filters=label)
            or client.volumes.list(filters=label)
        )
    )


def _remove(find: Callable[[], Sequence[Container | Network | Volume]]) -> bool:
    """Remove what is found until nothing is; whether anything was.

    What the engine is still at work on is in use for a moment, and an engine that is restarted comes back.
    """
    deadline, found = time.monotonic() + REMOVAL_SECONDS, False
    while True:
        try:
            things = find()
            if not things:
                return found
            found = True
            with ThreadPoolExecutor(len(things)) as pool:
                list(pool.map(_remove_one, things))
        except (APIError, RequestException) as error:
            passing = not isinstance(error, APIError) or error.status_code in _IN_USE or error.is_server_error()
            if not passing or time.monotonic() > deadline:
                raise
            time.sleep(0.1)  # between two requests


def _remove_one(thing: Container | Network | Volume) -> None:
    with suppress(NotFound):
        match thing:
            case Container():
                thing.remove(force=True, v=True)
            case Network():
                thing.remove()
            case Volume():
                thing.remove(force=True)
