"""The Compose override of a run: one Kamailio and one SIPp a cell, pinned, by image digest. Pure.

It lies in the run's folder, so that anyone can raise that very testbed again (of the default release: docs/results.md):
docker compose -f compose.yaml -f results/<run>/evidence/testbed/override.yaml up
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.cores import Layout
from lab.database import name_of
from lab.model import Cell, Plan, Role
from lab.observation import WAYS, Observation

BASE = "compose.yaml"
VOLUME = "/var/log/kemi-lab"  # where compose.yaml mounts the log volume
DEFAULT_SERVER = "mysql"  # whose socket compose.yaml gives to Kamailio
COUNTED = "LAB_COUNTED"  # set where what is started shall run under valgrind
FRESH = "LAB_FRESH_DATABASES"  # set while the driver has made a database for every cell


@dataclass(frozen=True, slots=True)
class Images:
    """Image ids (sha256:...) of the three roles."""

    kamailio: Mapping[str, str]  # by release
    database: Mapping[str, str]  # by server
    sipp: str
    probes: str = ""  # where the plan has a use for it


class _Replace(dict[str, Any]):
    """A mapping that Compose takes instead of the inherited one (tag !override)."""


class _ReplaceList(list[str]):
    """A list that Compose takes instead of the inherited one."""


class _Dumper(yaml.SafeDumper):
    """Knows the tag !override."""


_Dumper.add_representer(_Replace, lambda dumper, value: dumper.represent_mapping("!override", value))
_Dumper.add_representer(_ReplaceList, lambda dumper, value: dumper.represent_sequence("!override", value))


def _after(server: str) -> _Replace:
    return _Replace({server: {"condition": "service_started"}})


def kamailio_of(cell: str) -> str:
    """Service of a cell's Kamailio."""
    return f"kamailio-{cell}"


def sipp_of(cell: str) -> str:
    """Service of a cell's SIPp."""
    return f"sipp-{cell}"


def probes_of(cell: str) -> str:
    """Service of what looks at a cell's Kamailio."""
    return f"probes-{cell}"


def services_of(plan: Plan) -> list[str]:
    """What is started afresh in every round."""
    return [service for cell in plan.hosts for service in (kamailio_of(cell.name), sipp_of(cell.name))]


def log_of(cell: str) -> str:
    """Kamailio's log inside the log volume."""
    return f"{VOLUME}/{cell}.log"


def counts_of(cell: str) -> str:
    """Callgrind's files inside the log volume: a process's number is added to this."""
    return f"{VOLUME}/{cell}.callgrind"


def build(plan: Plan, layout: Layout, images: Images, folder: str) -> dict[str, Any]:
    """The override. `folder` holds etc/ and scenarios/, as they are mounted."""
    services: dict[str, Any] = {
        **{server: _database(server, layout, images) for server in plan.databases},
        "log-holder": {"image": images.sipp, "cpuset": layout.text(Role.SIPP), "profiles": _ReplaceList()},
        # Nothing waits for the database's health, since nothing checks it here: `up` would end in an error.
        "kamailio": {"scale": 0, "depends_on": _after(plan.databases[0])},
        "sipp": {"scale": 0},
    }
    for cell in plan.hosts:
        way = WAYS[cell.observe]
        services[kamailio_of(cell.name)] = {
            **_kamailio(cell, layout, images.kamailio[cell.kamailio], folder),
            "environment": _environment(cell, way, counted=bool(plan.counting)),
            "command": ["-x", cell.memory, *(["-e"] if way.colour else [])],
            # Whatever the engine's default is: this one can be read back.
            **({"logging": {"driver": "json-file"}} if way.sink == "docker" else {}),
        }
        services[sipp_of(cell.name)] = {
            "extends": {"file": BASE, "service": "sipp"},
            "image": images.sipp,
            "cpuset": layout.text(Role.SIPP),
            **({"cpu_shares": plan.specimen.sipp_cpu_shares} if plan.specimen else {}),
            "profiles": _ReplaceList(),
            "network_mode": f"service:{kamailio_of(cell.name)}",
            "depends_on": {kamailio_of(cell.name): {"condition": "service_started"}},
            "volumes": [_mount(f"{folder}/scenarios", "/scenarios")],
            "command": ["sleep", "infinity"],
        }
        if plan.counting and plan.counting.probes:
            services[probes_of(cell.name)] = {
                "extends": {"file": BASE, "service": "probes"},
                "image": images.probes,
                "cpuset": layout.text(Role.DRIVER),
                # It keeps its profile: who raises this testbed by hand does not get it unasked.
                "pid": f"service:{kamailio_of(cell.name)}",
                "depends_on": {kamailio_of(cell.name): {"condition": "service_started"}},
            }
    return {"services": services}


def text(override: dict[str, Any]) -> str:
    """As YAML."""
    return yaml.dump(override, Dumper=_Dumper, sort_keys=False)


def _database(server: str, layout: Layout, images: Images) -> dict[str, Any]:
    return {
        "image": images.database[server],
        "cpuset": layout.text(Role.MYSQL),
        "ports": ["127.0.0.1::3306"],
        "healthcheck": {"disable": True},  # nothing polls while we measure
        "profiles": _ReplaceList(),
    }


def _kamailio(cell: Cell, layout: Layout, image: str, folder: str) -> dict[str, Any]:
    volumes = [_mount(f"{folder}/etc", "/etc/kamailio")]
    if cell.database != DEFAULT_SERVER:
        volumes.append({"type": "volume", "source": f"{cell.database}-socket", "target": "/run/mysqld"})
    return {
        "extends": {"file": BASE, "service": "kamailio"},
        "image": image,
        "cpuset": layout.text(Role.KAMAILIO),
        "healthcheck": {"disable": True},
        "depends_on": _after(cell.database),
        "volumes": volumes,
    }


def _environment(cell: Cell, way: Observation, *, counted: bool) -> dict[str, str]:
    return {
        "LAB_ENGINE": cell.engine,
        "LAB_CHILDREN": str(cell.children),
        # A database of its own in a run; when somebody raises this testbed by hand the one that the image has, with the
        # tables of the default release.
        "LAB_DATABASE": f"${{{FRESH}:+{name_of(cell.name)}}}",
        "LAB_CONFIGURATION": cell.configuration,
        "LAB_ROUTING": routing_folder(cell.routing),
        "LAB_LOG": "" if way.sink == "docker" else log_of(cell.name),
        **({"LAB_TEE": "1"} if way.sink == "pipe" else {}),
        **({"LAB_COUNTS": f"${{{COUNTED}:+{counts_of(cell.name)}}}"} if counted else {}),
    }


def _mount(source: str, target: str) -> dict[str, Any]:
    """Read-only. In Compose's long form, since a path may hold the short form's ':'."""
    return {"type": "bind", "source": source, "target": target, "read_only": True}


def routing_folder(routing: str) -> str:
    """Name of a routing's folder in the run: the last part of what the experiment calls it."""
    return Path(routing).name
