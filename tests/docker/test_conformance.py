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
from tests.docker.conversations import (
    ACCOUNTED,
    BOUND,
    CASES,
    DIFFERENCES,
    MISSED,
    STRANGER,
    TRUSTED,
    UNDECODED,
    UNDECODED_ERROR,
    UNDECODING,
    Case,
    Difference,
    expected_of,
    untold,
)
from tests.docker.phone import Datagram, Phone, SilenceError, open_in

RELEASES = tuple(versions.load().kamailio)
CELLS = tuple(
    (release, engine)
    for release, facts in versions.load().kamailio.items()
    for engine in facts.engines
    if engine not in facts.broken
)
KEMI = tuple((release, engine) for release, engine in CELLS if engine != NATIVE)

# Tables that conversations leave rows in.
TABLES = ("location", "acc", "missed_calls")
# What differs between two runs of one engine, too.
SILENCE = "Kamailio does not even answer a keepalive any more"
CHANCE = frozenset({"id", "ruid", "time", "last_modified", "expires"})


@dataclass
class Seen:
    """Everything that came of an engine's conversations."""

    replies: dict[str, list[Datagram]] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)  # conversations that did not come to their end
    markers: set[str] = field(default_factory=set)
    bindings: str = ""  # what usrloc has in memory, before the end
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()  # what it logged, without what differs from one run to the next
    exit_code: int = -1
    version: str = ""  # of Kamailio, as it says it


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
        seen = Seen(version=image.version.split()[2])
        try:
            ask(kamailio, "sh", "-c", "until kamcmd core.uptime >/dev/null 2>&1; do sleep 0.05; done")
            with open_in(
                str(far_end.get_wrapped_container().id), lambda *words: ask(kamailio, "kamcmd", *words)
            ) as phone:
                _talk(phone, seen)
            if SILENCE not in seen.trouble.values():
                seen.bindings = ask(kamailio, "kamcmd", "ul.dump")
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
        except SilenceError:
            seen.trouble[one.name] = SILENCE
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
    """Status lines, and what is sent on to whom: on every release the same, but for the differences that are listed."""
    for seen in _cell(hearing, release, NATIVE):
        firsts = [datagram.first for datagram in seen.replies[one.name]]
        expected = expected_of(one, seen.version)
        assert len(firsts) == len(expected), firsts
        for first, start in zip(firsts, expected, strict=True):
            assert first.startswith(start), firsts


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: f"{row.releases[0]}-{row.case}")
def test_differences_between_releases_are_of_conversations_that_there_are(row: Difference) -> None:
    """And of releases; each says why."""
    assert row.case in {one.name for one in CASES}
    assert any(release.startswith(row.releases) or row.releases[0].startswith(release) for release in RELEASES)
    assert row.why


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
@pytest.mark.parametrize(("release", "engine"), KEMI)
def test_every_engine_replies_as_native_routing_does(hearing: Hearing, release: str, engine: str, one: Case) -> None:
    """Whole messages, header by header, replies and what is sent on."""
    for seen in _cell(hearing, release, engine):
        native = hearing.of(release)[NATIVE].replies[one.name]
        if engine in UNDECODING and one.name == UNDECODED:
            assert seen.replies[one.name] == []
            continue
        assert_alike(
            [_text(datagram, engine) for datagram in seen.replies.get(one.name, [])],
            [untold(_text(datagram, NATIVE), seen.version) for datagram in native],
            f"{engine} on {release}",
        )


@pytest.mark.parametrize(("release", "engine"), CELLS)
def test_kamailio_ends_as_is_known(hearing: Hearing, release: str, engine: str) -> None:
    """With exit code 0 when it is told to end, or with the one that versions.toml declares: docs/engines/ruby.md."""
    for seen in _cell(hearing, release, engine):
        assert seen.exit_code == versions.load().kamailio[release].ends.get(engine, 0)


@pytest.mark.parametrize(("release", "engine"), CELLS)
def test_every_engine_logs_the_errors_of_native_routing(hearing: Hearing, release: str, engine: str) -> None:
    """The ban and the malformed messages; a callback that throws, and answers nothing less for it, would show here."""
    for seen in _cell(hearing, release, engine):
        own = [_complaint(line) for line in seen.errors]
        if engine in UNDECODING:
            assert [line for line in own if UNDECODED_ERROR.search(line)]
            own = [line for line in own if not UNDECODED_ERROR.search(line)]
        native = [_complaint(line) for line in hearing.of(release)[NATIVE].errors]
        if engine != NATIVE:
            native = [untold(line, seen.version) for line in native]
        assert_alike(own, native, f"{engine} on {release}")
        assert sum(f"pike bans {STRANGER} for a flood" in line for line in own) == 1


def _complaint(line: str) -> str:
    """What is wrong; where in its source and in memory an engine found it is its own affair."""
    line = re.sub(r"\b0x[0-9a-f]+", "0x...", line)
    return re.sub(r"^(\w*: )(\|[^|]*\|[^|]*\|[^|]*\|)?<?[\w/ ]*>?( \[[^]]*\]: \w+\(\))?:? ", r"\1", line)


@pytest.mark.parametrize(("release", "engine"), CELLS)
def test_every_engine_has_the_bindings_of_native_routing(hearing: Hearing, release: str, engine: str) -> None:
    """As usrloc tells them by RPC, in all that does not tell time or chance."""
    for seen in _cell(hearing, release, engine):
        own, native = (_dump(one.bindings) for one in (seen, hearing.of(release)[NATIVE]))
        assert_alike(own, native, f"{engine} on {release}")
        assert len([line for line in own if "AoR:" in line]) == len(BOUND)


def _dump(text: str) -> list[str]:
    return re.sub(r"(Expires|Last-Keepalive|Last-Modified|Ruid|Slot|CSeq): .*", r"\1: ...", text).splitlines()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("release", "engine"), KEMI)
def test_every_engine_leaves_the_rows_of_native_routing(
    hearing: Hearing, release: str, engine: str, table: str
) -> None:
    """The same bindings, accounted calls and missed calls, in all columns that do not tell time or chance.

    Where Kamailio's end is known to fail, it does not get as far as writing the bindings that it has in memory.
    """
    for seen in _cell(hearing, release, engine):
        own, native = (_rows(one.tables[table]) for one in (seen, hearing.of(release)[NATIVE]))
        lost = table == "location" and engine in versions.load().kamailio[release].ends
        assert_alike(own, [] if lost else native, f"{engine} on {release}")


@pytest.mark.parametrize("release", RELEASES)
def test_the_rows_of_native_routing_are_those_of_its_calls(hearing: Hearing, release: str) -> None:
    """Who was bound when it ended, which calls were accounted and which were missed: on every release the same."""
    for seen in _cell(hearing, release, NATIVE):
        bound = sorted(f"{row['username']} {row['contact']}" for row in seen.tables["location"])
        assert bound == list(BOUND)
        for table, expected in (("acc", ACCOUNTED), ("missed_calls", MISSED)):
            rows = [f"{row['callid']} {row['method']} {row['sip_code']}" for row in seen.tables[table]]
            assert rows == list(expected), table
            for row in seen.tables[table]:
                ours = "callee" if row["from_tag"] == "caller" else "caller"
                assert row["to_tag"] == ours or str(row["callid"]) == "call_to_an_unreachable_contact", row


@pytest.mark.parametrize("release", RELEASES)
def test_what_native_routing_adds_and_takes_away(hearing: Hearing, release: str) -> None:
    """What all could lose together: hints, routes, marks of NAT, credentials."""
    for seen in _cell(hearing, release, NATIVE):
        replies = seen.replies
        sent_on = next(one for one in replies["message_to_another_domain"] if one.at == "elsewhere")
        assert sent_on.headers("P-Hint") == ["outbound"]
        assert sent_on.headers("Route") == []
        assert sent_on.headers("Proxy-Authorization") == []
        published = next(one for one in replies["publish"] if one.first.startswith("PUBLISH"))
        assert published.headers("Proxy-Authorization") != []
        for name, marked in (("call_answered", False), ("call_from_behind_nat", True), ("call_to_behind_nat", True)):
            invite = next(one for one in replies[name] if one.first.startswith("INVITE"))
            assert (";nat=yes" in invite.header("Record-Route")) is marked, name
            notify = next(one for one in replies[name] if one.first.startswith("NOTIFY"))
            assert len(notify.headers("Record-Route")) == 1, name
        nated = next(one for one in replies["call_from_behind_nat"] if one.first.startswith("INVITE"))
        assert ";alias=127.0.0.1~5070~1" in nated.header("Contact")
        answer = next(
            one for one in replies["call_to_behind_nat"] if "CSeq: 2 INVITE" in one.text and one.first == "200 OK"
        )
        assert ";alias=127.0.0.1~5072~1" in answer.header("Contact")
        asked = replies["ask_for_several_bindings"][-1]
        assert asked.header("Contact").count("sip:test4@") == 2


@pytest.mark.parametrize("release", RELEASES)
def test_contacts_behind_nat_are_marked_as_such(hearing: Hearing, release: str) -> None:
    """Flags 6 and 7 of the branch, and the address that the request came from."""
    for seen in _cell(hearing, release, NATIVE):
        for row in seen.tables["location"]:
            nated = "192.168." in str(row["contact"])
            assert row["cflags"] == (2**6 + 2**7 if nated else 0), row
            assert (row["received"] is not None) is nated, row


def _rows(rows: list[dict[str, object]]) -> list[str]:
    return ["\n".join(f"{name}: {value}" for name, value in _columns(row).items()) + "\n" for row in rows]


def _columns(row: dict[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in row.items() if name not in CHANCE}
    if not str(row.get("to_tag", "callee")).startswith("call"):  # Kamailio's own
        del kept["to_tag"]
    return kept
