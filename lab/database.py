"""A database server as the driver sees it: ready when it answers a query; a database a cell; subscribers; counters."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract
from mysql.connector.pooling import PooledMySQLConnection

from lab.errors import TestbedError

PREFIX = "kamailio"  # databases that Kamailio may use begin with it
BAKED_SUBSCRIBERS = 10
DOMAIN = "127.0.0.1"
USER = "lab"
_BATCH = 5000
_ABORTED = ("Aborted_clients", "Aborted_connects")
# Not Questions: the driver's own SHOW and COMMIT would be among them.
_STATEMENTS = ("Com_delete", "Com_insert", "Com_replace", "Com_select", "Com_update")
ANSWER_SECONDS = 60  # for one query: a server that has come to a stand must not hold the run for ever
SLOW_REMEDY = "its last log lines are above; is the disk full, or the machine overloaded?"


@dataclass(frozen=True, slots=True)
class Activity:
    """Counters of a server, since its start."""

    mysql_aborted: int  # connections that were refused or died
    mysql_statements: int | None  # that read or write rows


class Database:
    """A connection of the driver. Every method is one round trip or a few."""

    def __init__(self, connection: PooledMySQLConnection | MySQLConnectionAbstract) -> None:
        """Use `connect`."""
        self._connection = connection

    def version(self) -> str:
        """The server's own word, with its comment (which tells MySQL from MariaDB)."""
        (version, comment) = self._rows("SELECT VERSION(), @@version_comment")[0]
        return f"{version} {comment.partition(' -- ')[0]}"  # MariaDB advertises there

    def add_subscribers(self, template: str, count: int) -> None:
        """Make test0 to test<count - 1> a template's subscribers; those that it has stay. password = name."""
        rows = [_subscriber(f"test{number}") for number in range(BAKED_SUBSCRIBERS, count)]
        columns = "username, domain, password, ha1, ha1b"
        statement = f"INSERT INTO {template}.subscriber ({columns}) VALUES (%s, %s, %s, %s, %s)"
        with self._connection.cursor() as cursor:
            for start in range(0, len(rows), _BATCH):
                cursor.executemany(statement, rows[start : start + _BATCH])
        self._connection.commit()

    def renew(self, name: str, template: str) -> None:
        """Give a cell a fresh database: every table of a template with its rows."""
        self._do(f"DROP DATABASE IF EXISTS {name}")
        self._do(f"CREATE DATABASE {name}")
        for (table,) in self._rows(f"SHOW TABLES IN {template}"):
            self._do(f"CREATE TABLE {name}.{table} LIKE {template}.{table}")
            self._do(f"INSERT INTO {name}.{table} SELECT * FROM {template}.{table}")
        self._connection.commit()

    def bindings(self, name: str) -> int:
        """Rows of `location`: what usrloc has written back so far."""
        return int(self._rows(f"SELECT COUNT(*) FROM {name}.location")[0][0])

    def activity(self) -> Activity:
        """What the server has counted so far."""
        names = ", ".join(f"'{name}'" for name in (*_ABORTED, *_STATEMENTS))
        rows = self._rows(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({names})")
        counted = {name: int(value) for name, value in rows}
        return Activity(
            mysql_aborted=sum(counted.get(name, 0) for name in _ABORTED),
            mysql_statements=sum(counted[name] for name in _STATEMENTS) if counted.keys() >= set(_STATEMENTS) else None,
        )

    def _do(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def _rows(self, statement: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            rows = list(cursor.fetchall())
        self._connection.commit()  # the next SELECT sees what others have written meanwhile
        return rows


def _subscriber(name: str) -> tuple[str, str, str, str, str]:
    """A row of Kamailio's table; MySQL 9 has no MD5 function of its own any more."""
    ha1 = hashlib.md5(f"{name}:{DOMAIN}:{name}".encode(), usedforsecurity=False).hexdigest()
    ha1b = hashlib.md5(f"{name}@{DOMAIN}:{DOMAIN}:{name}".encode(), usedforsecurity=False).hexdigest()
    return name, DOMAIN, name, ha1, ha1b


def name_of(cell: str) -> str:
    """The database of a cell."""
    return f"{PREFIX}_{_word(cell)}"


def template_of(release: str) -> str:
    """The database that holds a release's schema, with the subscribers: cells' databases are made from it."""
    return f"{PREFIX}_of_{_word(release)}"


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name)


@contextmanager
def connect(port: int, password: str, *, alive: Callable[[], bool], patience_seconds: float = 30) -> Iterator[Database]:
    """Connect as soon as a query is answered; TestbedError when the server died or stays silent for too long."""
    connection = _wait(port, password, alive, time.monotonic() + patience_seconds)
    try:
        yield Database(connection)
    finally:
        connection.close()


def _wait(
    port: int, password: str, alive: Callable[[], bool], deadline: float
) -> PooledMySQLConnection | MySQLConnectionAbstract:
    while True:
        try:
            connection = mysql.connector.connect(
                host="127.0.0.1",
                port=port,
                user=USER,
                password=password,
                connection_timeout=2,
                read_timeout=ANSWER_SECONDS,
            )
            Database(connection).version()
        except mysql.connector.Error as error:
            if not alive():
                raise TestbedError("the database died while starting") from error
            if time.monotonic() > deadline:
                raise TestbedError(f"the database answers no query: {error}", remedy=SLOW_REMEDY) from error
            time.sleep(0.05)  # between two questions, not instead of one
        else:
            return connection
