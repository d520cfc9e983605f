"""The images: what is in them, what is not, and what they do when they are started by themselves."""

import hashlib
import time

import docker
import pytest
from docker.errors import ContainerError
from testcontainers.core.container import DockerContainer

from lab import testbed, versions
from lab.images import LABEL_PROJECT, LABEL_RECIPE, PROJECT, Built
from lab.versions import ROOT
from tests.docker.conftest import Bench, MySql, ask

ROLES = {"kamailio": ("kamailio", 5060), "mysql": ("mysql", 3306), "sipp": ("sipp", 5061)}
READY_SECONDS = 5  # promised for MySQL


@pytest.fixture(scope="module", params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    """Each of the three."""
    return str(request.param)


@pytest.fixture(scope="module")
def idle(bench: Bench, role: str) -> DockerContainer:
    """A container of the image in which nothing of its own runs."""
    return bench.start(role, "infinity", entrypoint="sleep", network_mode="none")


# --- every image ------------------------------------------------------------------------------------------------------


def test_it_runs_as_a_user_of_its_own(idle: DockerContainer, role: str) -> None:
    """Never as root, always under the same number."""
    name, number = ROLES[role]
    assert ask(idle, "id", "-u", "-n").strip() == name
    assert ask(idle, "id", "-u").strip() == ask(idle, "id", "-g").strip() == str(number)


def test_it_carries_our_labels(client: docker.DockerClient, built: dict[str, Built], role: str) -> None:
    """The project, and the hash of what it was made from."""
    labels = client.images.get(built[role].tag).labels
    assert labels[LABEL_PROJECT] == PROJECT
    assert len(labels[LABEL_RECIPE]) == 16


def test_it_records_its_packages(idle: DockerContainer, built: dict[str, Built], role: str) -> None:
    """The list in the image, and in a dataset, is what dpkg says."""
    said = ask(idle, "dpkg-query", "--show", "--showformat", "${Package}\t${Version}\n")
    assert ask(idle, "cat", "/usr/share/kemi-lab/packages.tsv") == said
    assert built[role].packages == dict(line.split("\t") for line in said.splitlines())


@pytest.mark.parametrize("tool", ["gcc", "cc", "g++", "c++", "make", "cmake", "ld"])
def test_it_has_no_compiler(idle: DockerContainer, tool: str) -> None:
    """What was needed to build it stayed behind."""
    assert ask(idle, "sh", "-c", f"command -v {tool} || echo none").strip() == "none"


# --- Kamailio ---------------------------------------------------------------------------------------------------------


def test_kamailio_is_the_release_and_small(built: dict[str, Built]) -> None:
    """6.0.1, by its own word, in less than 300 MB."""
    assert built["kamailio"].version.startswith("version: kamailio 6.0.1 ")
    assert built["kamailio"].size_bytes < 300_000_000


def test_kamailio_has_the_modules_of_the_configuration_and_no_others(bench: Bench) -> None:
    """As versions.toml lists them."""
    idle = bench.start("kamailio", "infinity", entrypoint="sleep", network_mode="none")
    facts = versions.load()
    there = {name.removesuffix(".so") for name in ask(idle, "ls", "/usr/lib/kamailio/modules").split()}
    assert there == set(facts.kamailio[facts.default_kamailio].modules)


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"LAB_ENGINE": "ruby"}, 64, "LAB_ENGINE=ruby: unknown engine; known are native, lua, python3"),
        ({"LAB_ENGINE": "lua", "LAB_ROUTING": "nowhere"}, 66, "/etc/kamailio/nowhere/lua.lua: no such file"),
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


# --- MySQL ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(bench: Bench) -> "MySql":
    """One with a secret, so with the driver's account."""
    with bench.mysql() as fresh:
        return fresh


def test_mysql_is_mysql_of_the_line_or_later(server: MySql, built: dict[str, Built]) -> None:
    """Not MariaDB; by the server's word and by the image's."""
    with server.driver() as driver:
        version = driver.version()
    assert "mariadb" not in version.lower()
    assert tuple(int(part) for part in version.split("-")[0].split(".")[:2]) >= (9, 7)
    assert f"Ver {version.split('-')[0]}" in built["mysql"].version


def test_mysql_is_ready_within_five_seconds(bench: Bench) -> None:
    """From a fresh volume to the answer to a query; the best of three, since others may use this machine."""
    seconds: list[float] = []
    while not seconds or (min(seconds) > READY_SECONDS and len(seconds) < 3):
        begun = time.monotonic()
        with bench.mysql() as fresh:
            seconds.append(time.monotonic() - begun)
        fresh.container.stop()
    assert min(seconds) <= READY_SECONDS


def test_the_subscribers_are_test0_to_test9(server: MySql) -> None:
    """Password = name; both hashes are those of the domain."""
    rows = server.rows("SELECT username, domain, password, ha1, ha1b FROM kamailio.subscriber ORDER BY id")
    assert [row["username"] for row in rows] == [f"test{number}" for number in range(10)]
    for row in rows:
        name = row["username"]
        assert (row["domain"], row["password"]) == ("127.0.0.1", name)
        assert row["ha1"] == _md5(f"{name}:127.0.0.1:{name}")
        assert row["ha1b"] == _md5(f"{name}@127.0.0.1:127.0.0.1:{name}")


def test_more_subscribers_on_demand_are_like_those_baked(server: MySql) -> None:
    """test10 and on, in the same form, in a cell's fresh database, too."""
    with server.driver() as driver:
        driver.add_subscribers(1000)
        driver.renew("kamailio_more")
        assert driver.bindings("kamailio_more") == 0
    rows = server.rows("SELECT * FROM kamailio_more.subscriber WHERE username IN ('test9', 'test999') ORDER BY id")
    baked, added = rows
    assert added.keys() == baked.keys()
    assert added["password"] == "test999"  # noqa: S105
    assert added["ha1"] == _md5("test999:127.0.0.1:test999")
    assert added["ha1b"] == _md5("test999@127.0.0.1:127.0.0.1:test999")
    assert server.rows("SELECT COUNT(*) AS number FROM kamailio_more.subscriber") == [{"number": 1000}]
    server.rows("DELETE FROM kamailio.subscriber WHERE id > 10")


def test_the_schema_is_kamailios_with_our_columns(server: MySql) -> None:
    """Tables that the configuration uses; accounting has the columns that it fills."""
    tables = {row["TABLE_NAME"] for row in server.rows(_COLUMNS)}
    assert tables >= {"version", "subscriber", "location", "acc", "missed_calls", "address", "trusted"}
    for table in ("acc", "missed_calls"):
        columns = {row["COLUMN_NAME"] for row in server.rows(_COLUMNS) if row["TABLE_NAME"] == table}
        assert columns >= {"src_user", "src_domain", "src_ip", "dst_ouser", "dst_user", "dst_domain"}


def test_accounts_are_as_few_as_can_be(server: MySql) -> None:
    """Kamailio and root come by the socket as who they are to the kernel; the driver alone comes by TCP."""
    rows = server.rows("SELECT user, host, plugin FROM mysql.user WHERE account_locked = 'N' ORDER BY user")
    assert [(row["user"], row["host"], row["plugin"]) for row in rows] == [
        ("kamailio", "localhost", "auth_socket"),
        ("lab", "%", "caching_sha2_password"),
        ("root", "localhost", "auth_socket"),
    ]


def test_without_a_secret_nobody_comes_by_tcp(bench: Bench) -> None:
    """As by hand: there is no account for it."""
    open_to_all = bench.start("mysql", network_mode="none")
    ask(open_to_all, "sh", "-c", "until mysql --user=root --execute='SELECT 1' >/dev/null 2>&1; do sleep 0.05; done")
    hosts = ask(
        open_to_all, "mysql", "--user=root", "--skip-column-names", "--execute=SELECT DISTINCT host FROM mysql.user"
    )
    assert hosts.split() == ["localhost"]


def test_kamailio_may_write_rows_and_nothing_else(bench: Bench, server: MySql) -> None:
    """In databases of its own name alone; it cannot change a table."""
    wanted = 'mysql --user=kamailio --socket=/run/mysqld/mysqld.sock --execute "$1" 2>&1 || true'
    visitor = DockerContainer(bench.built["mysql"].id, volumes=[(server.sockets, "/run/mysqld", "rw")]).with_kwargs(
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
