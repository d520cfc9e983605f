"""The images: what is in them, what is not, and what they do when they are started by themselves."""

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest
from docker.errors import ContainerError
from testcontainers.core.container import DockerContainer

from lab import images, testbed, versions
from lab.errors import Exit, UnavailableError
from lab.images import LABEL_PROJECT, LABEL_RECIPE, PROJECT, Built
from lab.versions import ROOT
from tests.docker.conftest import Bench, Server, Stock, ask

RELEASES = tuple(versions.load().kamailio)
SERVERS = tuple(versions.load().database)
USERS = {
    **dict.fromkeys(RELEASES, ("kamailio", 5060)),
    **dict.fromkeys(SERVERS, ("mysql", 3306)),
    "sipp": ("sipp", 5061),
}
READY_SECONDS = 5  # promised for a database


def made(stock: Stock, built: dict[str, Built], name: str) -> Built | None:
    """An image by its release, its server, or its role; none where a release is not available."""
    if name in RELEASES:
        return stock.kamailio(name)
    return stock.database(name) if name in SERVERS else built[name]


@pytest.fixture(scope="module", params=USERS)
def name(request: pytest.FixtureRequest) -> str:
    """Each image of versions.toml."""
    return str(request.param)


@pytest.fixture(scope="module")
def image(stock: Stock, built: dict[str, Built], name: str) -> list[Built]:
    """That image; none where its release is not available, which the stock has seen to."""
    found = made(stock, built, name)
    return [found] if found else []


@pytest.fixture(scope="module")
def idle(bench: Bench, image: list[Built]) -> list[DockerContainer]:
    """A container of it in which nothing of its own runs."""
    return [bench.start(one, "infinity", entrypoint="sleep", network_mode="none") for one in image]


# --- every image ------------------------------------------------------------------------------------------------------


def test_it_runs_as_a_user_of_its_own(idle: list[DockerContainer], name: str) -> None:
    """Never as root, always under the same number."""
    user, number = USERS[name]
    for container in idle:
        assert ask(container, "id", "-u", "-n").strip() == user
        assert ask(container, "id", "-u").strip() == ask(container, "id", "-g").strip() == str(number)


def test_it_carries_our_labels(client: docker.DockerClient, image: list[Built]) -> None:
    """The project, and the hash of what it was made from."""
    for one in image:
        labels = client.images.get(one.tag).labels
        assert labels[LABEL_PROJECT] == PROJECT
        assert len(labels[LABEL_RECIPE]) == 16


def test_it_records_its_packages(idle: list[DockerContainer], image: list[Built]) -> None:
    """The list in the image, and in a dataset, is what dpkg says."""
    for container, one in zip(idle, image, strict=True):
        said = ask(container, "dpkg-query", "--show", "--showformat", "${Package}\t${Version}\n")
        assert ask(container, "cat", "/usr/share/kemi-lab/packages.tsv") == said
        assert one.packages == dict(line.split("\t") for line in said.splitlines())


@pytest.mark.parametrize("tool", ["gcc", "cc", "g++", "c++", "make", "cmake", "ld"])
def test_it_has_no_compiler(idle: list[DockerContainer], tool: str) -> None:
    """What was needed to build it stayed behind."""
    for container in idle:
        assert ask(container, "sh", "-c", f"command -v {tool} || echo none").strip() == "none"


# --- Kamailio ---------------------------------------------------------------------------------------------------------


def kamailio_of(stock: Stock, release: str) -> list[Built]:
    """Its image; none where it is not available."""
    image = stock.kamailio(release)
    return [image] if image else []


@pytest.mark.parametrize("release", RELEASES)
def test_kamailio_is_the_release_and_small(stock: Stock, release: str) -> None:
    """By its own word, in less than 300 MB; of a line, a version within it."""
    line = versions.load().kamailio[release].line
    for image in kamailio_of(stock, release):
        (version,) = re.findall(r"^version: kamailio (\S+) ", image.version)
        if line:
            assert numbers(line.at_least) <= numbers(version) < numbers(line.below)
        else:
            assert version == release
        assert image.size_bytes < 300_000_000


def numbers(version: str) -> tuple[int, ...]:
    """6.1.4 as (6, 1, 4)."""
    return tuple(int(part) for part in version.split("."))


@pytest.mark.parametrize("release", RELEASES)
def test_kamailio_has_the_engines_of_the_release(bench: Bench, stock: Stock, release: str) -> None:
    """All that versions.toml has for it, and none could not be built."""
    facts = versions.load().kamailio[release]
    for image in kamailio_of(stock, release):
        assert image.engines == tuple(facts.engines)
        assert image.failed == {}
        idle = bench.start(image, "infinity", entrypoint="sleep", network_mode="none")
        assert ask(idle, "cat", "/usr/share/kemi-lab/engines").split() == facts.engines


@pytest.mark.parametrize("release", RELEASES)
def test_kamailio_has_the_modules_of_the_configuration_and_no_others(bench: Bench, stock: Stock, release: str) -> None:
    """As versions.toml lists them: the common ones, and those of its engines."""
    facts = versions.load()
    engines = [module for name in facts.kamailio[release].engines for module in facts.engine[name].modules]
    wanted = {*facts.modules, *engines}
    maybe = {module.removesuffix("?") for module in wanted if module.endswith("?")}
    for image in kamailio_of(stock, release):
        idle = bench.start(image, "infinity", entrypoint="sleep", network_mode="none")
        there = {name.removesuffix(".so") for name in ask(idle, "ls", "/usr/lib/kamailio/modules").split()}
        assert there - maybe == wanted - {f"{module}?" for module in maybe}


@pytest.mark.parametrize("release", RELEASES)
def test_lua_and_luajit_lie_side_by_side(bench: Bench, stock: Stock, release: str) -> None:
    """The same module twice, each linked to its own interpreter and not to the other's."""
    for image in kamailio_of(stock, release):
        idle = bench.start(image, "infinity", entrypoint="sleep", network_mode="none")
        for folder, library in (("modules", "liblua5.1.so"), ("luajit", "libluajit-5.1.so")):
            linked = ask(idle, "ldd", f"/usr/lib/kamailio/{folder}/app_lua.so")
            assert [line.split()[0].rpartition(".so")[0] + ".so" for line in linked.splitlines() if "lua" in line] == [
                library
            ]


@pytest.mark.parametrize("release", RELEASES)
def test_kamailio_records_its_source(stock: Stock, release: str) -> None:
    """Tarball, checksum, patches, how it was compiled; of a line, the very version that it says it is."""
    facts = versions.load().kamailio[release]
    for image in kamailio_of(stock, release):
        source, *patches, compiled = image.source.splitlines()
        assert compiled == f"compiled with {versions.load().optimisation}"
        if facts.line:
            (version,) = re.findall(r"^version: kamailio (\S+) ", image.version)
            assert re.fullmatch(rf"kamailio_{re.escape(version)}\.orig\.tar\.\w+ sha256:[0-9a-f]{{64}}", source)
        else:
            assert source == f"{facts.tarball} sha256:{facts.tarball_sha256}"
        assert bool(patches) == bool(facts.patches)
        for patch in patches:
            assert facts.patches
            start = f"with {facts.patches.tarball} debian/patches/{facts.patches.names.removesuffix('*')}"
            assert patch.startswith(start)


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        (
            {"LAB_ENGINE": "sqlang"},
            64,
            f"LAB_ENGINE=sqlang: unknown engine; known are {', '.join(versions.load().kamailio[RELEASES[0]].engines)}",
        ),
        ({"LAB_ENGINE": "lua", "LAB_ROUTING": "nowhere"}, 66, "/etc/kamailio/nowhere/lua.*: no such file"),
    ],
)
def test_kamailio_refuses_what_it_cannot_start(
    bench: Bench, environment: dict[str, str], code: int, words: str
) -> None:
    """With one line and an exit code of its own."""
    with pytest.raises(ContainerError) as refused:
        bench.client.containers.run(
            bench.built["kamailio"].id,
            environment=environment,
            labels={testbed.LABEL_RUN: bench.run},
            network_mode="none",
            remove=True,
            stderr=True,
            volumes={str(ROOT / "images/kamailio/etc"): {"bind": "/etc/kamailio", "mode": "ro"}},
        )
    assert refused.value.exit_status == code
    assert words in str(refused.value)


# --- what cannot be had -----------------------------------------------------------------------------------------------


def test_a_suite_that_the_mirror_does_not_serve_is_not_available(client: docker.DockerClient) -> None:
    """Asked for, it is told with the mirror's own words; and nothing is built on it."""
    assert "404" in images.unavailable("nowhere")
    recipe = replace(images.kamailio(RELEASES[0]), tag="kemi-lab-test/kamailio:nowhere", suite="nowhere")
    with pytest.raises(
        UnavailableError, match=r"base:nowhere: not available: the mirror does not serve it: .*404"
    ) as caught:
        images.Workshop(client).ensure(recipe)
    assert caught.value.exit_code == Exit.SETUP
    assert not client.images.list(name=images.base_tag("nowhere"))


def test_a_source_that_the_mirror_does_not_serve_is_not_available(client: docker.DockerClient) -> None:
    """A tarball that has left the suite."""
    known = images.kamailio(RELEASES[0])
    gone = {**known.arguments, "TARBALL": "kamailio_0.0.0.orig.tar.gz"}
    recipe = replace(known, tag="kemi-lab-test/kamailio:gone", arguments=gone)
    with pytest.raises(UnavailableError, match=r"not available: kamailio_0\.0\.0\.orig\.tar\.gz"):
        images.Workshop(client).ensure(recipe)
    assert not client.images.list(name=recipe.tag)


# --- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SERVERS)
def flavour(request: pytest.FixtureRequest) -> str:
    """MySQL and MariaDB."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(bench: Bench, stock: Stock, flavour: str) -> Iterator[Server]:
    """One with a secret, so with the driver's account."""
    with bench.database(stock.database(flavour)) as fresh:
        yield fresh
        fresh.container.stop()


def test_a_database_is_of_its_line(server: Server, stock: Stock, flavour: str) -> None:
    """That server, and exactly that line of it: by the server's word and by the image's."""
    line = versions.load().database[flavour].line
    with server.driver() as driver:
        version = driver.version()
    assert ("mariadb" in version.lower()) == (flavour == "mariadb")
    assert version.split(".")[:2] == line.split(".")
    exact = version.split("-")[0].split()[0]
    assert f"Ver {exact}" in stock.database(flavour).version


@pytest.mark.parametrize("name_of_server", SERVERS)
def test_a_database_is_ready_within_five_seconds(bench: Bench, stock: Stock, name_of_server: str) -> None:
    """From a fresh volume to the answer to a query; the best of three, since others may use this machine."""
    image = stock.database(name_of_server)
    seconds: list[float] = []
    while not seconds or (min(seconds) > READY_SECONDS and len(seconds) < 3):
        begun = time.monotonic()
        with bench.database(image) as fresh:
            seconds.append(time.monotonic() - begun)
        fresh.container.stop()
    assert min(seconds) <= READY_SECONDS


@pytest.mark.parametrize("release", RELEASES)
def test_the_schema_of_each_release_loads(server: Server, stock: Stock, release: str) -> None:
    """Beside the others, with the subscribers and our columns; a cell's own database has every row of it."""
    for image in kamailio_of(stock, release):
        template = server.load(release, stock.schema(image))
        with server.driver() as driver:
            driver.renew("kamailio_copy", template)
        for database in (template, "kamailio_copy"):
            rows = server.rows(f"SELECT username FROM {database}.subscriber ORDER BY id")  # noqa: S608
            assert [row["username"] for row in rows] == [f"test{number}" for number in range(10)]
            assert server.rows(f"SELECT src_ip FROM {database}.acc") == []  # noqa: S608
        one, other = (
            server.rows(f"SELECT * FROM {database}.version ORDER BY table_name")  # noqa: S608
            for database in (template, "kamailio_copy")
        )
        assert one == other != []


def test_the_subscribers_are_test0_to_test9(server: Server) -> None:
    """Password = name; both hashes are those of the domain."""
    rows = server.rows("SELECT username, domain, password, ha1, ha1b FROM kamailio.subscriber ORDER BY id")
    assert [row["username"] for row in rows] == [f"test{number}" for number in range(10)]
    for row in rows:
        name = row["username"]
        assert (row["domain"], row["password"]) == ("127.0.0.1", name)
        assert row["ha1"] == _md5(f"{name}:127.0.0.1:{name}")
        assert row["ha1b"] == _md5(f"{name}@127.0.0.1:127.0.0.1:{name}")


def test_more_subscribers_on_demand_are_like_those_baked(server: Server) -> None:
    """test10 and on, in the same form, in a cell's fresh database, too."""
    with server.driver() as driver:
        driver.add_subscribers("kamailio", 1000)
        driver.renew("kamailio_more", "kamailio")
        assert driver.bindings("kamailio_more") == 0
    rows = server.rows("SELECT * FROM kamailio_more.subscriber WHERE username IN ('test9', 'test999') ORDER BY id")
    baked, added = rows
    assert added.keys() == baked.keys()
    assert added["password"] == "test999"  # noqa: S105
    assert added["ha1"] == _md5("test999:127.0.0.1:test999")
    assert added["ha1b"] == _md5("test999@127.0.0.1:127.0.0.1:test999")
    assert server.rows("SELECT COUNT(*) AS number FROM kamailio_more.subscriber") == [{"number": 1000}]
    server.rows("DELETE FROM kamailio.subscriber WHERE id > 10")


def test_the_schema_is_kamailios_with_our_columns(server: Server) -> None:
    """Tables that the configuration uses; accounting has the columns that it fills."""
    tables = {row["TABLE_NAME"] for row in server.rows(_COLUMNS)}
    assert tables >= {"version", "subscriber", "location", "acc", "missed_calls", "address", "trusted"}
    for table in ("acc", "missed_calls"):
        columns = {row["COLUMN_NAME"] for row in server.rows(_COLUMNS) if row["TABLE_NAME"] == table}
        assert columns >= {"src_user", "src_domain", "src_ip", "dst_ouser", "dst_user", "dst_domain"}


ACCOUNTS = {
    "mysql": {
        ("kamailio", "localhost", "auth_socket"),
        ("lab", "%", "caching_sha2_password"),
        ("root", "localhost", "auth_socket"),
    },
    # The account that MariaDB's own views run as: it is locked.
    "mariadb": {
        ("kamailio", "localhost", "unix_socket"),
        ("lab", "%", "mysql_native_password"),
        ("root", "localhost", "unix_socket"),
    },
}
UNLOCKED = {
    "mysql": "SELECT user, host, plugin FROM mysql.user WHERE account_locked = 'N'",
    "mariadb": "SELECT user, host, JSON_VALUE(priv, '$.plugin') AS plugin FROM mysql.global_priv"
    " WHERE NOT COALESCE(JSON_VALUE(priv, '$.account_locked'), 0)",
}


def test_accounts_are_as_few_as_can_be(server: Server, flavour: str) -> None:
    """Kamailio and root come by the socket as who they are to the kernel; the driver alone comes by TCP."""
    rows = server.rows(UNLOCKED[flavour])
    assert {(row["user"], row["host"], row["plugin"]) for row in rows} == ACCOUNTS[flavour]


def test_without_a_secret_nobody_comes_by_tcp(bench: Bench, stock: Stock, flavour: str) -> None:
    """As by hand: there is no account for it."""
    open_to_all = bench.start(stock.database(flavour), network_mode="none")
    ask(open_to_all, "sh", "-c", "until mysql --user=root --execute='SELECT 1' >/dev/null 2>&1; do sleep 0.05; done")
    hosts = ask(
        open_to_all, "mysql", "--user=root", "--skip-column-names", "--execute=SELECT DISTINCT host FROM mysql.user"
    )
    assert hosts.split() == ["localhost"]


def test_kamailio_may_write_rows_and_nothing_else(bench: Bench, server: Server, stock: Stock, flavour: str) -> None:
    """In databases of its own name alone; it cannot change a table."""
    wanted = 'mysql --user=kamailio --socket=/run/mysqld/mysqld.sock --execute "$1" 2>&1 || true'
    visitor = DockerContainer(stock.database(flavour).id, volumes=[(server.sockets, "/run/mysqld", "rw")]).with_kwargs(
        labels={testbed.LABEL_RUN: bench.run}, entrypoint="sleep", user="5060:5060", network_mode="none"
    )
    visitor.with_command(["infinity"]).start()

    def say(statement: str) -> str:
        return ask(visitor, "sh", "-c", wanted, "say", statement)

    assert "10" in say("SELECT COUNT(*) FROM kamailio.subscriber")
    assert "denied" in say("DROP TABLE kamailio.location")
    assert "denied" in say("SELECT * FROM mysql.user")


_COLUMNS = "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.columns WHERE TABLE_SCHEMA = 'kamailio'"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# --- SIPp -------------------------------------------------------------------------------------------------------------


def test_sipp_says_where_it_comes_from(built: dict[str, Built]) -> None:
    """Its version, and whether it was built from source."""
    (version,) = versions.load().sipp
    assert built["sipp"].version.startswith(f"SIPp v{version}")
    source = f"(built from source: {versions.load().sipp[version].tarball})"
    package = f"(the suite's binary package 1:{version}-"
    assert source in built["sipp"].version or package in built["sipp"].version
