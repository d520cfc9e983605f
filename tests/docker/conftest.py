"""What the tests with the real images share.

Whatever a test starts carries the label lab.run with a name of its own, by which it is removed again; nothing is ever
pruned. Nothing sleeps until something may be ready: it is asked.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import docker
import mysql.connector
import pytest
from testcontainers.core.container import DockerContainer

from lab import database, images, testbed
from lab.images import Built, Workshop
from tests.docker.driver import Lab

SECRET = "/run/secrets/driver-password"  # noqa: S105  (a path)


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine."""
    engine = docker.from_env(timeout=120)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def built(client: docker.DockerClient) -> dict[str, Built]:
    """The three images by role, made from the tree as it is now."""
    workshop = Workshop(client)
    return {recipe.folder: workshop.ensure(recipe) for recipe in images.all_recipes()}


@dataclass(frozen=True)
class MySql:
    """A MySQL that answers queries, as the driver's account sees it."""

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
        role: str,
        *command: str,
        environment: dict[str, str] | None = None,
        volumes: Iterable[tuple[str, str, str]] = (),
        ports: Iterable[int] = (),
        **options: str,
    ) -> DockerContainer:
        """A container of a role's image, running in the background; further options are those of the Docker SDK."""
        container = DockerContainer(
            self.built[role].id, env=environment, volumes=list(volumes), ports=list(ports)
        ).with_kwargs(labels={testbed.LABEL_RUN: self.run}, **options)
        if command:
            container.with_command(list(command))
        return container.start()

    def volume(self) -> str:
        """A volume of our own."""
        name = f"{self.run}-{secrets.token_hex(4)}"
        self.client.volumes.create(name, labels={testbed.LABEL_RUN: self.run})
        return name

    @contextmanager
    def mysql(self) -> Iterator[MySql]:
        """A MySQL on fresh volumes."""
        sockets = self.volume()
        container = self.start(
            "mysql",
            ports=[3306],
            volumes=[
                (self.volume(), "/var/lib/mysql", "rw"),
                (sockets, "/run/mysqld", "rw"),
                (str(self._secret), SECRET, "ro"),
            ],
        )
        server = MySql(container, sockets, container.get_exposed_port(3306), self._password)
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
    answer = container.exec(list(command))
    text = bytes(answer.output).decode()
    assert answer.exit_code == 0, text
    return text
