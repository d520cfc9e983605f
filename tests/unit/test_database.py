"""What the driver asks of a database server, and by which names; the real servers are asked in tests/docker."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from lab.database import BAKED_SUBSCRIBERS, PREFIX, Activity, Database, name_of, template_of

if TYPE_CHECKING:
    from mysql.connector.abstracts import MySQLConnectionAbstract


class Server:
    """A connection that remembers what it is asked, and answers as a test says."""

    def __init__(self, **answers: list[tuple[str, ...]]) -> None:
        """First word of a statement -> its rows."""
        self.said: list[str] = []
        self.rows: list[tuple[str, ...]] = []
        self._answers = answers
        self._last = ""

    @contextmanager
    def cursor(self) -> Iterator[SimpleNamespace]:
        """As the connector has it."""
        yield SimpleNamespace(execute=self._execute, executemany=self._many, fetchall=self._all)

    def commit(self) -> None:
        """Of no interest here."""

    def _execute(self, statement: str) -> None:
        self.said.append(statement)
        self._last = statement.partition(" ")[0]

    def _many(self, statement: str, rows: list[tuple[str, ...]]) -> None:
        self.said.append(statement)
        self.rows.extend(rows)

    def _all(self) -> list[tuple[str, ...]]:
        return self._answers[self._last]

    @property
    def database(self) -> Database:
        """The driver's side of it."""
        return Database(cast("MySQLConnectionAbstract", self))


@pytest.mark.parametrize(
    ("cell", "database"),
    [("native", "kamailio_native"), ("lua-5.6.3-mariadb-aa", "kamailio_lua_5_6_3_mariadb_aa")],
)
def test_a_cell_has_a_database_by_its_name(cell: str, database: str) -> None:
    """That needs no quoting, and that Kamailio's account may use."""
    assert name_of(cell) == database
    assert database.startswith(f"{PREFIX}_")


def test_a_releases_template_is_no_cells_database() -> None:
    """Two releases have two; an engine is not called as a preposition is."""
    assert template_of("6.0.1") == "kamailio_of_6_0_1" != template_of("6.1")
    assert name_of("native-6.0.1") != template_of("6.0.1")


def test_a_cells_database_is_made_from_its_template() -> None:
    """Every table with its rows, after what an earlier round has left is gone."""
    server = Server(SHOW=[("subscriber",), ("location",)])
    server.database.renew("kamailio_lua", "kamailio_of_5_6_3")
    drop, create, *rest = [said for said in server.said if not said.startswith("SHOW")]
    assert (drop, create) == ("DROP DATABASE IF EXISTS kamailio_lua", "CREATE DATABASE kamailio_lua")
    assert rest == [
        "CREATE TABLE kamailio_lua.subscriber LIKE kamailio_of_5_6_3.subscriber",
        "INSERT INTO kamailio_lua.subscriber SELECT * FROM kamailio_of_5_6_3.subscriber",
        "CREATE TABLE kamailio_lua.location LIKE kamailio_of_5_6_3.location",
        "INSERT INTO kamailio_lua.location SELECT * FROM kamailio_of_5_6_3.location",
    ]


@pytest.mark.parametrize("count", [1, BAKED_SUBSCRIBERS, 12, 6001])
def test_subscribers_that_a_template_lacks_are_added(count: int) -> None:
    """Those that it has stay; each with the hash of his own password, which is his name."""
    server = Server()
    server.database.add_subscribers("kamailio_of_6_1", count)
    assert [row[0] for row in server.rows] == [f"test{number}" for number in range(BAKED_SUBSCRIBERS, count)]
    assert all("kamailio_of_6_1.subscriber" in said for said in server.said)
    if count == 12:
        assert server.rows[0][:4] == ("test10", "127.0.0.1", "test10", "31024cd016eb6e881408014adaf8236a")


def test_a_server_says_which_it_is() -> None:
    """MariaDB's word is cut where its advertisement begins."""
    mysql = Server(SELECT=[("9.7.0", "MySQL Community Server - GPL")])
    assert mysql.database.version() == "9.7.0 MySQL Community Server - GPL"
    mariadb = Server(SELECT=[("11.8.3-MariaDB", "MariaDB Server -- Please get support")])
    assert mariadb.database.version() == "11.8.3-MariaDB MariaDB Server"


def test_a_server_says_what_it_was_asked_to_do() -> None:
    """Statements of all kinds that touch rows are one figure, and connections that went wrong another."""
    counted = {"Com_select": 70, "Com_insert": 10, "Com_update": 8, "Com_delete": 2, "Com_replace": 1}
    aborted: list[tuple[str, ...]] = [("Aborted_clients", "2"), ("Aborted_connects", "3")]
    server = Server(SHOW=[*aborted, *((name, str(count)) for name, count in counted.items())])
    assert server.database.activity() == Activity(mysql_aborted=5, mysql_statements=91)
    assert Server(SHOW=aborted).database.activity() == Activity(mysql_aborted=5, mysql_statements=None)
