"""What a run adds to compose.yaml: one Kamailio and one SIPp a cell, pinned, by image digest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import override, testing
from lab.cores import Layout
from lab.model import Cell, Plan, Role
from lab.override import Images

FOLDER = "/results/20261123T080000Z-mine/evidence/testbed"
IMAGES = Images(kamailio="sha256:" + "a" * 64, mysql="sha256:" + "b" * 64, sipp="sha256:" + "c" * 64)
LAYOUT = Layout("lists", {Role.KAMAILIO: (4, 5), Role.MYSQL: (0,), Role.SIPP: (1,), Role.DRIVER: (2,)})
PLAN = replace(
    testing.plan(),
    cells=(
        Cell("native", "native", "6.0.1"),
        Cell("lua-lean", "lua", "6.0.1", "../mine/lean"),
        Cell("native-aa", "native", "6.0.1"),
    ),
)
CELLS = [cell.name for cell in PLAN.cells]
SERVICES = override.build(PLAN, LAYOUT, IMAGES, FOLDER)["services"]


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
    """Beside one MySQL and one holder of the logs for all of them."""
    own = {f"{role}-{cell}" for role in ("kamailio", "sipp") for cell in CELLS}
    assert set(SERVICES) == own | {"mysql", "log-holder", "kamailio", "sipp"}
    assert set(override.services_of(PLAN)) == own


def test_the_services_by_hand_stay_down() -> None:
    """Theirs is the same port, and nobody asked for them."""
    assert [SERVICES[name]["scale"] for name in ("kamailio", "sipp")] == [0, 0]
    assert [name for name, service in SERVICES.items() if service.get("scale") == 0] == ["kamailio", "sipp"]


def test_images_go_by_digest() -> None:
    """A tag may move to another image before somebody raises the testbed again."""
    found = {name: service["image"] for name, service in SERVICES.items() if "image" in service}
    for name, image in found.items():
        role = "sipp" if name == "log-holder" else name.partition("-")[0]
        assert image == getattr(IMAGES, role)
    assert set(found) == set(SERVICES) - {"kamailio", "sipp"}


def test_every_container_is_pinned() -> None:
    """Kamailio to its own CPUs, the log's holder to SIPp's."""
    pinned = {name: service["cpuset"] for name, service in SERVICES.items() if "cpuset" in service}
    assert pinned == (
        {"mysql": "0", "log-holder": "1"}
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
        ("native-aa", "native", "kamailio_native_aa", "parity"),
    ],
)
def test_kamailio_has_engine_database_routing_and_log_of_its_cell(
    cell: str, engine: str, database: str, routing: str
) -> None:
    """By hand, without databases of the driver's, it is the template that is used."""
    assert kamailio(cell)["environment"] == {
        "LAB_ENGINE": engine,
        "LAB_CHILDREN": str(PLAN.children),
        "LAB_DATABASE": f"${{LAB_FRESH_DATABASES:+{database}}}",
        "LAB_ROUTING": routing,
        "LAB_LOG": f"/var/log/kemi-lab/{cell}.log",
    }
    assert kamailio(cell)["volumes"] == [mounted(f"{FOLDER}/etc/{routing}", "/etc/kamailio")]


def test_only_the_driver_reaches_mysql() -> None:
    """At a port of this machine that nobody else has, so that two runs can be up at once."""
    assert SERVICES["mysql"]["ports"] == ["127.0.0.1::3306"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["mysql"]


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
    assert services[f"kamailio-{cell}"]["depends_on"] == ("instead", {"mysql": {"condition": "service_started"}})
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
    assert services["kamailio-native"]["environment"]["LAB_CHILDREN"] == "2"
