"""Parity: the same requests get the same replies from every engine of a release, and leave the same rows behind.

Each engine has a fresh Kamailio and a fresh database, with its release's own schema, on one MySQL. It hears all
conversations once; then Kamailio ends, which writes its bindings, and the tables are read. An engine is compared with
native routing of its own release, and that with what is expected of every release.
"""

import difflib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from lab import latency, versions
from lab.database import name_of, template_of
from lab.images import Built
from lab.model import NATIVE
from tests.docker.conftest import Bench, Server, Stock, ask
from tests.docker.conversations import CASES, STRANGER, TRUSTED, Case
from tests.docker.phone import Datagram, Phone, SilenceError, open_in

RELEASES = tuple(versions.load().kamailio)
CELLS = tuple((release, engine) for release in RELEASES for engine in versions.load().kamailio[release].engines)
KEMI = tuple((release, engine) for release, engine in CELLS if engine != NATIVE)

# Tables that conversations leave rows in.
TABLES = ("location", "acc", "missed_calls")
# What differs between two runs of one engine, too.
CHANCE = frozenset({"id", "ruid", "time", "last_modified", "expires"})


@dataclass
class Seen:
    """Everything that came of an engine's conversations."""

    replies: dict[str, list[Datagram]] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)  # conversations that did not come to their end
    markers: set[str] = field(default_factory=set)
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()  # what it logged, without what differs from one run to the next
    exit_code: int = -1


@dataclass
class Hearing:
    """Releases whose engines have been heard so far."""

    bench: Bench
    stock: Stock
    server: Server
    heard: dict[str, dict[str, Seen]] = field(default_factory=dict)

    def of(self, release: str) -> dict[str, Seen]:
        """All engines of a release, two at a time; none where it is not available, which the stock has seen to."""
        if release not in self.heard:
            image = self.stock.kamailio(release)
            engines = image.engines if image else ()
            if image:
                self.server.load(release, self.stock.schema(image))
            with ThreadPoolExecutor(2) as pool:
                answers = pool.map(lambda engine: self._hear(image, release, engine), engines)
                self.heard[release] = dict(zip(engines, answers, strict=True))
        return self.heard[release]

    def _hear(self, image: Built | None, release: str, engine: str) -> Seen:
        assert image
        own = name_of(f"{engine}-{release}")
        with self.server.driver() as driver:
            driver.renew(own, template_of(release))
        self.server.rows(f"INSERT INTO {own}.address (grp, ip_addr, mask, port) VALUES (1, '{TRUSTED}', 32, 0)")  # noqa: S608
        kamailio = self.bench.start(
            image,
            network_mode="none",
            environment={"LAB_ENGINE": engine, "LAB_DATABASE": own},
            volumes=[
                (self.server.sockets, "/run/mysqld", "rw"),
                (str(versions.ROOT / "images/kamailio/etc"), "/etc/kamailio", "ro"),
            ],
        )
        space = kamailio.get_wrapped_container()
        far_end = self.bench.start("sipp", "sleep", "infinity", network_mode=f"container:{space.id}")
        seen = Seen()
        try:
            ask(kamailio, "sh", "-c", "until kamcmd core.uptime >/dev/null 2>&1; do sleep 0.05; done")
            with open_in(
                str(far_end.get_wrapped_container().id), lambda *words: ask(kamailio, "kamcmd", *words)
            ) as phone:
                _talk(phone, seen)
        finally:
            space.stop()
            seen.exit_code = int(space.wait()["StatusCode"])
            log = space.logs(stdout=False).decode(errors="replace").splitlines()
            seen.errors = tuple(re.sub(r"^ *\d+\(\d+\) ", "", line) for line in log if latency.is_error(line))
            far_end.get_wrapped_container().remove(force=True)
            space.remove(force=True)
        seen.tables = {table: self.server.rows(f"SELECT * FROM {own}.{table}") for table in TABLES}  # noqa: S608
        return seen


def _talk(phone: Phone, seen: Seen) -> None:
    """Hold all conversations. One that breaks off must not hide what comes of the others."""
    for one in CASES:
        try:
            seen.replies[one.name] = one.talk(phone, one.name)
            seen.markers.add(phone.engine)
        except SilenceError as silence:
            seen.trouble[one.name] = repr(silence)
            return
        except (AssertionError, IndexError, StopIteration, ValueError) as error:
            seen.trouble[one.name] = repr(error)


@pytest.fixture(scope="module")
def hearing(bench: Bench, stock: Stock) -> Iterator[Hearing]:
    """A place where every engine of every release can be heard."""
    with bench.database() as server:
        yield Hearing(bench, stock, server)


def _text(datagram: Datagram, engine: str) -> str:
    """What has to be alike: not Kamailio's nonces, tags and branches, not seconds that passed, not the marker."""
    text = re.sub(r'(nonce|response)="[^"]*"', r'\1="..."', datagram.text)
    text = re.sub(r"^(To: .*;tag=)(?!call)[^\r;]+", r"\1...", text, flags=re.MULTILINE)
    text = re.sub(r"branch=z9hG4bK[0-9a-f]+\.[^\r;]+", "branch=...", text)
    text = re.sub(r"expires=3[56]\d\d\b", "expires=3600", text)
    text = text.replace(f"X-Lab-Engine: {engine}\r\n", "X-Lab-Engine: ...\r\n")
    return f"--- at the {datagram.at}:\n" + text.replace("\r\n", "\n")


def assert_alike(own: list[str], native: list[str], cell: str) -> None:
    """Fail with what differs from native routing, line by line."""
    lines = difflib.unified_diff(
        "\n".join(native).splitlines(), "\n".join(own).splitlines(), "native", cell, lineterm="", n=6
    )
    if own != native:
        pytest.fail("\n".join(lines), pytrace=False)


@pytest.mark.parametrize(("release", "engine"), CELLS)
def test_every_conversation_comes_to_its_end(hearing: Hearing, release: str, engine: str) -> None:
    """And the marker, which only that engine's script sets, was in every answer to a keepalive in between."""
    for seen in _cell(hearing, release, engine):
        assert seen.trouble == {}
        assert seen.markers == {engine}


def _cell(hearing: Hearing, release: str, engine: str) -> list[Seen]:
    """What an engine did; nothing where its release is not available."""
    heard = hearing.of(release)
    assert not heard or engine in heard, f"the image of {release} has no {engine}"
    return [heard[engine]] if heard else []


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
@pytest.mark.parametrize("release", RELEASES)
def test_native_routing_replies_as_specified(hearing: Hearing, release: str, one: Case) -> None:
    """Status lines, and what is sent on to whom: on every release the same."""
    for seen in _cell(hearing, release, NATIVE):
        firsts = [datagram.first for datagram in seen.replies[one.name]]
        assert len(firsts) == len(one.expected), firsts
        for first, expected in zip(firsts, one.expected, strict=True):
            assert first.startswith(expected), firsts


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
@pytest.mark.parametrize(("release", "engine"), KEMI)
def test_every_engine_replies_as_native_routing_does(hearing: Hearing, release: str, engine: str, one: Case) -> None:
    """Whole messages, header by header, replies and what is sent on."""
    for seen in _cell(hearing, release, engine):
        native = hearing.of(release)[NATIVE].replies[one.name]
        assert_alike(
            [_text(datagram, engine) for datagram in seen.replies.get(one.name, [])],
            [_text(datagram, NATIVE) for datagram in native],
            f"{engine} on {release}",
        )


@pytest.mark.parametrize(("release", "engine"), CELLS)
def test_kamailio_ends_in_order(hearing: Hearing, release: str, engine: str) -> None:
    """With exit code 0, when it is told to end."""
    for seen in _cell(hearing, release, engine):
        assert seen.exit_code == 0


@pytest.mark.parametrize(("release", "engine"), CELLS)
def test_every_engine_logs_the_errors_of_native_routing(hearing: Hearing, release: str, engine: str) -> None:
    """The ban and the malformed messages; a callback that throws, and answers nothing less for it, would show here."""
    for seen in _cell(hearing, release, engine):
        own, native = ([_complaint(line) for line in one.errors] for one in (seen, hearing.of(release)[NATIVE]))
        assert_alike(own, native, f"{engine} on {release}")
        assert sum(f"pike bans {STRANGER} for a flood" in line for line in own) == 1


def _complaint(line: str) -> str:
    """What is wrong; where in its source an engine found it is its own affair."""
    return re.sub(r"^(\w*: )(\|[^|]*\|[^|]*\|[^|]*\|)?<?[\w/ ]*>?( \[[^]]*\]: \w+\(\))?:? ", r"\1", line)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("release", "engine"), CELLS)
def test_every_engine_leaves_the_rows_of_native_routing(
    hearing: Hearing, release: str, engine: str, table: str
) -> None:
    """The same bindings, accounted calls and missed calls, in all columns that do not tell time or chance."""
    for seen in _cell(hearing, release, engine):
        own, native = (_rows(one.tables[table]) for one in (seen, hearing.of(release)[NATIVE]))
        assert_alike(own, native, f"{engine} on {release}")
        assert own


def _rows(rows: list[dict[str, object]]) -> list[str]:
    return ["\n".join(f"{name}: {value}" for name, value in _columns(row).items()) + "\n" for row in rows]


def _columns(row: dict[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in row.items() if name not in CHANCE}
    if not str(row.get("to_tag", "callee")).startswith("call"):  # Kamailio's own
        del kept["to_tag"]
    return kept
