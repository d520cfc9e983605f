"""The images: what is in them, who runs them, and that MySQL is ready at once."""

import hashlib
import time
from collections.abc import Iterator

import docker
import mysql.connector
import pytest

from lab import database
from lab.images import Built
from tests.docker.conftest import Bench, MySql, ask

ROLES = ("kamailio", "mysql", "sipp")
READY_SECONDS = 5


@pytest.fixture(scope="module")
def server(bench: Bench) -> Iterator[MySql]:
    """A MySQL with the driver's secret."""
    with bench.mysql() as running:
        yield running


@pytest.mark.parametrize("role", ROLES)
def test_an_image_tells_what_it_is_made_of(built: dict[str, Built], role: str) -> None:
    """Its software's own version, and every package with its version."""
    image = built[role]
    assert image.version
    assert len(image.packages) > 50
    assert image.packages["libc6"]


@pytest.mark.parametrize("role", ROLES)
def test_an_image_carries_our_label_and_no_root(
    client: docker.DockerClient, built: dict[str, Built], role: str
) -> None:
    """By the label it is known as ours; as root nothing runs."""
    attributes = client.images.get(built[role].id).attrs
    assert attributes["Config"]["Labels"]["lab.project"] == "kemi-lab"
    user = attributes["Config"]["User"]
    assert user
    assert user.partition(":")[0] not in {"0", "root"}


def test_kamailio_is_small_and_has_no_compiler(bench: Bench, built: dict[str, Built]) -> None:
    """Built from source in another stage: under 300 MB, nothing to build with."""
    assert built["kamailio"].size_bytes < 300_000_000
    assert "kamailio 6.0.1" in built["kamailio"].version
    box = bench.start("kamailio", entrypoint="sleep infinity")
    code, _ = box.exec(["sh", "-c", "command -v gcc cc make g++ ld"])
    assert code != 0
    assert "kamailio" not in built["kamailio"].packages  # ours, not the distribution's


def test_mysql_is_mysql_of_the_line(server: MySql) -> None:
    """Not MariaDB, and 9.7 or later."""
    with server.driver() as connection:
        version = connection.version()
    assert "mariadb" not in version.lower()
    assert tuple(int(part) for part in version.split(".")[:2]) >= (9, 7)


def test_mysql_answers_within_five_seconds_from_a_fresh_volume(bench: Bench) -> None:
    """Its data directory is in the image. The best of three: a busy neighbour is not the image's fault."""
    times: list[float] = []
    for _ in range(3):
        begun = time.monotonic()
        with bench.mysql():
            times.append(time.monotonic() - begun)
        if times[-1] < READY_SECONDS:
            break
    assert min(times) < READY_SECONDS


def test_the_subscribers_of_the_page_are_there(server: MySql) -> None:
    """test0 to test9, password = name, hashes as Kamailio computes them."""
    rows = server.rows("SELECT username, domain, password, ha1, ha1b FROM kamailio.subscriber ORDER BY id")
    assert [row["username"] for row in rows] == [f"test{number}" for number in range(10)]
    for row in rows:
        name, domain = row["username"], row["domain"]
        assert (domain, row["password"]) == ("127.0.0.1", name)
        assert row["ha1"] == md5(f"{name}:{domain}:{name}")
        assert row["ha1b"] == md5(f"{name}@{domain}:{domain}:{name}")


def test_more_subscribers_on_demand_and_a_database_a_cell(bench: Bench) -> None:
    """They are in the template, so every cell's database has them; a cell's own rows never outlive its round."""
    with bench.mysql() as own, own.driver() as connection:
        connection.add_subscribers(12)
        connection.renew("kamailio_lua")
        own.rows("DELETE FROM kamailio_lua.subscriber")
        connection.renew("kamailio_lua")
        found = own.rows("SELECT username, ha1 FROM kamailio_lua.subscriber WHERE username IN ('test10', 'test11')")
        assert [row["username"] for row in found] == ["test10", "test11"]
        assert found[0]["ha1"] == md5("test10:127.0.0.1:test10")
        assert own.rows("SELECT COUNT(*) AS n FROM kamailio_lua.subscriber") == [{"n": 12}]


def test_without_a_secret_nobody_comes_in_by_tcp(bench: Bench) -> None:
    """By hand there is no secret, and then no account but those of the socket."""
    box = bench.start("mysql", ports=[3306], volumes=[(bench.volume(), "/var/lib/mysql", "rw")])
    local = ["mysql", "--user=root", "--batch", "--skip-column-names", "--execute"]
    deadline = time.monotonic() + 60
    while box.exec([*local, "SELECT 1"])[0] != 0:
        assert time.monotonic() < deadline, "MySQL answers nobody"
    assert ask(box, *local, "SELECT COUNT(*) FROM mysql.user WHERE host <> 'localhost'").strip() == "0"
    port = box.get_exposed_port(3306)
    for user in ("root", "kamailio", database.USER):
        with pytest.raises(mysql.connector.Error):
            mysql.connector.connect(host="127.0.0.1", port=port, user=user, password="")


def test_sipp_runs(bench: Bench) -> None:
    """And says which version it is."""
    assert "SIPp v3.7" in ask(bench.start("sipp", "sleep", "infinity"), "cat", "/usr/share/kemi-lab/version")


def md5(text: str) -> str:
    """As Kamailio's ha1."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
