"""What the tests with the real images share.

Whatever a test starts carries the label lab.run with a name of its own, by which it is removed again; nothing is ever
pruned. Nothing sleeps until something may be ready: it is asked.
"""

import json
import secrets
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import docker
import mysql.connector
import pytest
from testcontainers.core.container import DockerContainer

from lab import database, execution, images, testbed, versions
from lab.errors import UnavailableError
from lab.images import Built, Workshop
from tests.docker.driver import SCRIPT, Lab

SECRET = "/run/secrets/driver-password"  # noqa: S105  (a path)
ROLES = ("kamailio", "mysql", "sipp")


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine."""
    engine = docker.from_env(timeout=120)
    yield engine
    engine.close()


@dataclass
class Stock:
    """Images of versions.toml, each made from the tree as it is now when a test first asks for it."""

    workshop: Workshop
    _made: dict[str, Built | None] = field(default_factory=dict)
    _schemas: dict[str, bytes] = field(default_factory=dict)

    def kamailio(self, release: str) -> Built | None:
        """A release's; None where its source is not served any more, and `lab engines` says just that, and why.

        What is not available is no fault of ours, and no test that was skipped either: it is asked for, and told.
        """
        if release not in self._made:
            try:
                self._made[release] = self.workshop.ensure(images.kamailio(release))
            except UnavailableError:
                assert_unavailable(release)
                self._made[release] = None
        return self._made[release]

    def database(self, server: str) -> Built:
        """A database server's."""
        made = self._made.get(server) or self.workshop.ensure(images.database(server))
        self._made[server] = made
        return made

    def counter(self) -> Built:
        """Of the default release."""
        return self.workshop.ensure(images.counter(images.kamailio(versions.load().default_kamailio)))

    def schema(self, built: Built) -> bytes:
        """The SQL files of a Kamailio."""
        if built.tag not in self._schemas:
            self._schemas[built.tag] = self.workshop.schema(built)
        return self._schemas[built.tag]


def assert_unavailable(release: str) -> None:
    """`lab engines` knows that a release cannot be had, and gives the evidence."""
    said = subprocess.run([SCRIPT, "engines", "--json"], check=True, capture_output=True, text=True).stdout
    places = [place for place in json.loads(said) if place["kamailio"] == release and place["state"] != "none"]
    assert places
    for place in places:
        assert place["state"] == "not available", place
        assert place["why"], place


@pytest.fixture(scope="session")
def stock(client: docker.DockerClient) -> Stock:
    """Every image that a test may ask for."""
    return Stock(Workshop(client))


@pytest.fixture(scope="session")
def built(client: docker.DockerClient) -> dict[str, Built]:
    """The testbed's three images by role, as compose.yaml has them: those of the default release."""
    workshop = Workshop(client)
    return {role: workshop.ensure(recipe) for role, recipe in zip(ROLES, images.by_hand(), strict=True)}


@dataclass(frozen=True)
class Server:
    """A database server that answers queries, as the driver's account sees it."""

    container: DockerContainer
    sockets: str  # the volume with its Unix socket
    port: int
    password: str

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """What a statement gives; none if it only changes something."""
        with (
            mysql.connector.connect(
                host="127.0.0.1", port=self.port, user=database.USER, password=self.password, autocommit=True
            ) as connection,
            connection.cursor(dictionary=True) as cursor,
        ):
            cursor.execute(statement)
            return cast("list[dict[str, Any]]", cursor.fetchall()) if cursor.description else []

    @contextmanager
    def driver(self) -> Iterator[database.Database]:
        """The driver's own view."""
        with database.connect(self.port, self.password, alive=lambda: True) as connection:
            yield connection

    def load(self, release: str, schema: bytes) -> str:
        """A release's schema, as a run loads it: the name of the database that has it then."""
        name = database.template_of(release)
        assert self.container.get_wrapped_container().put_archive("/tmp", schema)  # noqa: S108  (the container's)
        ask(self.container, "template", name, "/tmp/mysql")  # noqa: S108
        return name


class Bench:
    """Where single containers are started, each with our label."""

    def __init__(self, client: docker.DockerClient, built: dict[str, Built], folder: Path) -> None:
        """`folder` holds the driver's password."""
        self.client = client
        self.built = built
        self.run = f"test-{secrets.token_hex(4)}"
        self._password = secrets.token_hex(8)
        self._secret = folder / "driver-password"
        self._secret.write_text(self._password)
        self._secret.chmod(0o644)  # MySQL's user reads it

    def start(
        self,
        image: str | Built,
        *command: str,
        environment: dict[str, str] | None = None,
        volumes: Iterable[tuple[str, str, str]] = (),
        ports: Iterable[int] = (),
        **options: str,
    ) -> DockerContainer:
        """A container of an image or of a role's, in the background; further options are those of the Docker SDK."""
        made = image if isinstance(image, Built) else self.built[image]
        container = DockerContainer(made.id, env=environment, volumes=list(volumes), ports=list(ports)).with_kwargs(
            labels={testbed.LABEL_RUN: self.run}, **options
        )
        if command:
            container.with_command(list(command))
        return container.start()

    def volume(self) -> str:
        """A volume of our own."""
        name = f"{self.run}-{secrets.token_hex(4)}"
        self.client.volumes.create(name, labels={testbed.LABEL_RUN: self.run})
        return name

    @contextmanager
    def database(self, image: str | Built = "mysql") -> Iterator[Server]:
        """A database server on fresh volumes."""
        sockets = self.volume()
        container = self.start(
            image,
            ports=[3306],
            volumes=[
                (self.volume(), "/var/lib/mysql", "rw"),
                (sockets, "/run/mysqld", "rw"),
                (str(self._secret), SECRET, "ro"),
            ],
        )
        server = Server(container, sockets, container.get_exposed_port(3306), self._password)
        with server.driver():
            yield server


@pytest.fixture(scope="module")
def bench(
    client: docker.DockerClient, built: dict[str, Built], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """A place for single containers; at the end all are gone."""
    place = Bench(client, built, tmp_path_factory.mktemp("bench"))
    yield place
    testbed.remove_all(client, place.run)


@pytest.fixture
def lab(client: docker.DockerClient, built: dict[str, Built], tmp_path: Path) -> Iterator[Lab]:
    """The console script, with a results folder of its own."""
    assert built
    with Lab.at(tmp_path, client) as driver:
        yield driver


@pytest.fixture(scope="module")
def module_lab(
    client: docker.DockerClient, built: dict[str, Built], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """The same, for runs that several tests look at."""
    assert built
    with Lab.at(tmp_path_factory.mktemp("lab"), client) as driver:
        yield driver


def ask(container: DockerContainer, *command: str) -> str:
    """Output of a command in a container, which must succeed."""
    answer = execution.ask(container.get_wrapped_container(), list(command))
    assert answer.code == 0, answer.last_words
    return answer.text
