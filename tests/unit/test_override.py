"""What a run adds to compose.yaml: one Kamailio and one SIPp a cell, pinned, by image digest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import override, testing
from lab.cores import Layout
from lab.model import Cell, Counting, Plan, Role
from lab.override import Images

FOLDER = "/results/20261123T080000Z-mine/evidence/testbed"
IMAGES = Images(
    kamailio={"6.0.1": "sha256:" + "a" * 64, "5.6.3": "sha256:" + "d" * 64},
    database={"mysql": "sha256:" + "b" * 64, "mariadb": "sha256:" + "e" * 64},
    sipp="sha256:" + "c" * 64,
)
LAYOUT = Layout("lists", {Role.KAMAILIO: (4, 5), Role.MYSQL: (0,), Role.SIPP: (1,), Role.DRIVER: (2,)})
PLAN = replace(
    testing.plan(),
    cells=(
        Cell("native", "native", "6.0.1"),
        Cell("lua-lean", "lua", "6.0.1", "../mine/lean", memory="fm", children=2),
        Cell("lua-old", "lua", "5.6.3", database="mariadb"),
        Cell("native-aa", "native", "6.0.1"),
    ),
)
CELLS = [cell.name for cell in PLAN.cells]
SERVICES = override.build(PLAN, LAYOUT, IMAGES, FOLDER)["services"]
SERVERS = ["mysql", "mariadb"]


def kamailio(cell: str) -> dict[str, Any]:
    """The service of a cell's Kamailio."""
    service: dict[str, Any] = SERVICES[f"kamailio-{cell}"]
    return service


def sipp(cell: str) -> dict[str, Any]:
    """The service of a cell's SIPp."""
    service: dict[str, Any] = SERVICES[f"sipp-{cell}"]
    return service


def mounted(source: str, target: str) -> dict[str, Any]:
    """A read-only mount in the form that takes any path: in Compose's short one a ':' parts its fields."""
    return {"type": "bind", "source": source, "target": target, "read_only": True}


def test_a_cell_is_a_kamailio_and_a_sipp() -> None:
    """Beside one of each database server and one holder of the logs for all of them."""
    own = {f"{role}-{cell}" for role in ("kamailio", "sipp") for cell in CELLS}
    assert set(SERVICES) == own | {*SERVERS, "log-holder", "kamailio", "sipp"}
    assert set(override.services_of(PLAN)) == own


def test_kamailio_has_the_memory_manager_of_its_cell() -> None:
    """By its own option, which the image passes on."""
    assert [kamailio(cell)["command"] for cell in CELLS] == [["-x", "qm"], ["-x", "fm"], ["-x", "qm"], ["-x", "qm"]]


def test_the_services_by_hand_stay_down() -> None:
    """Theirs is the same port, and nobody asked for them."""
    assert [SERVICES[name]["scale"] for name in ("kamailio", "sipp")] == [0, 0]
    assert [name for name, service in SERVICES.items() if service.get("scale") == 0] == ["kamailio", "sipp"]


def test_only_the_servers_of_the_plan_are_started() -> None:
    """Nobody waits for, or measures beside, a server that no cell uses."""
    alone = override.build(testing.plan(), LAYOUT, IMAGES, FOLDER)["services"]
    assert [name for name in alone if name in SERVERS] == ["mysql"]
    other = replace(testing.plan(), cells=(Cell("lua", "lua", "6.0.1", database="mariadb"),))
    services = override.build(other, LAYOUT, IMAGES, FOLDER)["services"]
    assert [name for name in services if name in SERVERS] == ["mariadb"]
    assert set(services["kamailio"]["depends_on"]) == set(services["kamailio-lua"]["depends_on"]) == {"mariadb"}


def test_images_go_by_digest() -> None:
    """A tag may move to another image before somebody raises the testbed again. Each cell has its release's."""
    found = {name: service["image"] for name, service in SERVICES.items() if "image" in service}
    releases = {f"kamailio-{cell.name}": IMAGES.kamailio[cell.kamailio] for cell in PLAN.cells}
    sipps = dict.fromkeys(("log-holder", *(f"sipp-{cell}" for cell in CELLS)), IMAGES.sipp)
    assert found == releases | sipps | dict(IMAGES.database)


def test_every_container_is_pinned() -> None:
    """Kamailio to its own CPUs, the log's holder to SIPp's."""
    pinned = {name: service["cpuset"] for name, service in SERVICES.items() if "cpuset" in service}
    assert pinned == (
        {"mysql": "0", "mariadb": "0", "log-holder": "1"}
        | {f"kamailio-{cell}": "4-5" for cell in CELLS}
        | {f"sipp-{cell}": "1" for cell in CELLS}
    )


def test_nothing_polls_while_we_measure() -> None:
    """Whatever has a healthcheck in compose.yaml has none in a run, and nobody waits for one."""
    by_hand = yaml.safe_load((Path(__file__).parents[2] / override.BASE).read_text())["services"]
    checked = {name for name, service in by_hand.items() if "healthcheck" in service}
    for name, service in SERVICES.items():
        if name.partition("-")[0] in checked and service.get("scale") != 0:
            assert service["healthcheck"] == {"disable": True}
        awaited = service.get("depends_on", {}).values()
        assert [awaits for awaits in awaited if awaits["condition"] != "service_started"] == []


@pytest.mark.parametrize("cell", CELLS)
def test_sipp_is_in_its_own_kamailios_network(cell: str) -> None:
    """Its address counts as Kamailio's own; it waits in a container that is already there."""
    assert sipp(cell)["network_mode"] == f"service:kamailio-{cell}"
    assert sipp(cell)["depends_on"] == {f"kamailio-{cell}": {"condition": "service_started"}}
    assert sipp(cell)["command"] == ["sleep", "infinity"]
    assert sipp(cell)["volumes"] == [mounted(f"{FOLDER}/scenarios", "/scenarios")]


@pytest.mark.parametrize(
    ("cell", "engine", "database", "routing"),
    [
        ("native", "native", "kamailio_native", "parity"),
        ("lua-lean", "lua", "kamailio_lua_lean", "lean"),
        ("lua-old", "lua", "kamailio_lua_old", "parity"),
        ("native-aa", "native", "kamailio_native_aa", "parity"),
    ],
)
def test_kamailio_has_engine_database_routing_and_log_of_its_cell(
    cell: str, engine: str, database: str, routing: str
) -> None:
    """By hand, without databases of the driver's, it is the template that is used."""
    assert kamailio(cell)["environment"] == {
        "LAB_ENGINE": engine,
        "LAB_CHILDREN": str(PLAN.cell(cell).children),
        "LAB_DATABASE": f"${{LAB_FRESH_DATABASES:+{database}}}",
        "LAB_ROUTING": routing,
        "LAB_LOG": f"/var/log/kemi-lab/{cell}.log",
        "LAB_CONFIGURATION": "kamailio.cfg",
    }
    assert kamailio(cell)["volumes"][0] == mounted(f"{FOLDER}/etc", "/etc/kamailio")


@pytest.mark.parametrize("cell", CELLS)
def test_kamailio_has_the_socket_of_its_own_server(cell: str) -> None:
    """And starts after that one. MySQL's is what it has by hand; compose.yaml has a volume for each."""
    server = PLAN.cell(cell).database
    sockets = [{"type": "volume", "source": f"{server}-socket", "target": "/run/mysqld"}]
    assert kamailio(cell)["volumes"][1:] == ([] if server == "mysql" else sockets)
    assert set(kamailio(cell)["depends_on"]) == {server}
    by_hand = yaml.safe_load((Path(__file__).parents[2] / override.BASE).read_text())
    assert f"{server}-socket:/run/mysqld" in by_hand["services"][server]["volumes"]
    assert f"{server}-socket" in by_hand["volumes"]
    assert f"{override.DEFAULT_SERVER}-socket:/run/mysqld" in by_hand["services"]["kamailio"]["volumes"]


@pytest.mark.parametrize(
    ("observe", "log", "tee", "options"),
    [
        ("log", "/var/log/kemi-lab/lua.log", None, []),
        ("trace", "/var/log/kemi-lab/lua.log", None, []),
        ("pipe", "/var/log/kemi-lab/lua.log", "1", []),
        ("colour", "/var/log/kemi-lab/lua.log", None, ["-e"]),
        ("docker", "", None, []),
        ("page", "/var/log/kemi-lab/lua.log", "1", ["-e"]),
    ],
)
def test_a_cell_logs_as_it_is_observed(observe: str, log: str, tee: str | None, options: list[str]) -> None:
    """One thing of it apart from the others; by Docker, with a driver that can be read back."""
    plan = replace(PLAN, cells=(Cell("lua", "lua", "6.0.1", observe=observe, configuration="published.cfg"),))
    service = override.build(plan, LAYOUT, IMAGES, FOLDER)["services"]["kamailio-lua"]
    assert (service["environment"]["LAB_LOG"], service["environment"].get("LAB_TEE")) == (log, tee)
    assert service["command"] == ["-x", "qm", *options]
    assert service.get("logging") == ({"driver": "json-file"} if observe == "docker" else None)
    assert service["environment"]["LAB_CONFIGURATION"] == "published.cfg"


def test_only_a_count_writes_profiles() -> None:
    """A file of its own for each cell, in the log volume."""
    counted = override.build(replace(PLAN, counting=Counting()), LAYOUT, IMAGES, FOLDER)["services"]
    for cell in ("native", "lua-lean"):
        place = f"${{{override.COUNTED}:+{override.VOLUME}/{cell}.callgrind}}"  # none where it is started without
        assert counted[f"kamailio-{cell}"]["environment"]["LAB_COUNTS"] == place
        assert "LAB_COUNTS" not in kamailio(cell)["environment"]


def test_only_a_count_with_probes_has_who_looks_at_kamailio() -> None:
    """In that Kamailio's pid namespace, on the driver's CPU, and not started with the cells."""
    plan = replace(PLAN, counting=Counting(probes=True))
    services = override.build(plan, LAYOUT, replace(IMAGES, probes="sha256:probes"), FOLDER)["services"]
    for cell in ("native", "lua-lean"):
        looking = services[f"probes-{cell}"]
        assert looking["extends"]["service"] == "probes"
        assert (looking["image"], looking["pid"]) == ("sha256:probes", f"service:kamailio-{cell}")
        assert looking["cpuset"] == LAYOUT.text(Role.DRIVER)
        assert "profiles" not in looking  # compose.yaml's holds: nobody gets it unasked
        assert f"probes-{cell}" not in override.services_of(plan)
    without = override.build(replace(PLAN, counting=Counting()), LAYOUT, IMAGES, FOLDER)["services"]
    assert not any(name.startswith("probes") for name in without)


def test_who_shares_a_kamailio_has_none() -> None:
    """Nor a SIPp: both are the other cell's."""
    cells = (*PLAN.cells, Cell("lua-no-log", "lua", "5.6.3", observe="no-log", shares="lua-old"))
    plan = replace(PLAN, cells=cells)
    services = override.build(plan, LAYOUT, IMAGES, FOLDER)["services"]
    assert services.keys() == SERVICES.keys()
    assert override.services_of(plan) == override.services_of(PLAN)


def test_only_the_driver_reaches_a_server() -> None:
    """At a port of this machine that nobody else has, so that two runs can be up at once."""
    for server in SERVERS:
        assert SERVICES[server]["ports"] == ["127.0.0.1::3306"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == SERVERS


class Tagged(yaml.SafeLoader):
    """Reads what Compose reads: a value and whether it takes the inherited one's place."""


def _override(loader: yaml.SafeLoader, node: yaml.Node) -> tuple[str, object]:
    if isinstance(node, yaml.MappingNode):
        return "instead", dict(loader.construct_mapping(node, deep=True))
    assert isinstance(node, yaml.SequenceNode)
    return "instead", loader.construct_sequence(node, deep=True)


Tagged.add_constructor("!override", _override)


def written(plan: Plan = PLAN) -> dict[str, Any]:
    """The file as Compose sees it."""
    text = override.text(override.build(plan, LAYOUT, IMAGES, FOLDER))
    services: dict[str, Any] = yaml.load(text, Loader=Tagged)["services"]  # noqa: S506  (a safe loader)
    return services


@pytest.mark.parametrize("cell", CELLS)
def test_what_compose_would_merge_is_replaced(cell: str) -> None:
    """A dependency on the service by hand, and profiles that would keep a service down."""
    services = written()
    server = PLAN.cell(cell).database
    assert services[f"kamailio-{cell}"]["depends_on"] == ("instead", {server: {"condition": "service_started"}})
    assert services[server]["profiles"] == ("instead", [])
    assert services[f"sipp-{cell}"]["depends_on"] == {f"kamailio-{cell}": {"condition": "service_started"}}
    assert services[f"sipp-{cell}"]["profiles"] == services["log-holder"]["profiles"] == ("instead", [])


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_extends_the_service_by_hand(cell: str) -> None:
    """The testbed is described once."""
    services = written()
    for role in ("kamailio", "sipp"):
        assert services[f"{role}-{cell}"]["extends"] == {"file": "compose.yaml", "service": role}


def test_cpus_and_workers_are_text() -> None:
    """As bare numbers Compose would refuse them."""
    services = written()
    assert services["mysql"]["cpuset"] == "0"
    assert services["kamailio-lua-lean"]["environment"]["LAB_CHILDREN"] == "2"
