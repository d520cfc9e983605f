"""Sections on where a run was made: who ran on which CPU, and machine, images and inputs."""

from collections.abc import Iterator
from pathlib import Path

from lab import store
from lab.cores import Layout
from lab.model import Plan, Role
from lab.report import charts
from lab.report.charts import Box
from lab.report.section import Section


def cpus_of(folder: Path) -> Iterator[Section]:
    """The layout, drawn."""
    place = folder / "evidence" / "layout.json"
    if not place.is_file():
        return
    layout = store.load(Layout, place)
    numbers = sorted({*layout.idle, *(cpu for cpus in layout.cpus.values() for cpu in cpus)})
    roles = [role.value for role in Role]
    boxes = [
        Box(f"CPU {number}", tuple(role.value for role, cpus in layout.cpus.items() if number in cpus))
        for number in numbers
    ]
    yield Section(
        "cpus",
        "Who ran where",
        "Each box is a CPU. Kamailio should have its own: whatever shares it takes from its time.",
        ("CPU", "roles"),
        tuple((box.label, ", ".join(box.roles) or "idle") for box in boxes),
        lambda: charts.cpus(boxes, roles),
        lines=layout.notes,
    )


TRAVELS = "Microseconds are this machine's; ratios travel better, and to another processor not for certain."


def environment_of(folder: Path, plan: Plan, travels: str = TRAVELS) -> Iterator[Section]:
    """Machine, images, inputs, and how far figures hold elsewhere."""
    places = (folder / "evidence" / f"{name}.json" for name in ("host", "images"))
    host, images = (store.facts(place) if place.is_file() else {} for place in places)
    built = [
        *(images.get("kamailio") or {}).values(),
        *(images.get("database") or {}).values(),
        *([images["sipp"]] if images.get("sipp") else []),
    ]
    yield Section(
        "environment",
        "Where, and with what",
        f"{travels} Every package of every image is in evidence/images.json.",
        ("fact", "value"),
        (
            *((name.replace("_", " "), str(value)) for name, value in host.items()),
            *((str(one.get("tag")), f"{one.get('version')} ({str(one.get('id'))[:19]})") for one in built),
            ("experiment", plan.experiment),
            ("plan", plan.hash[:16]),
            *((name, digest[:16]) for name, digest in plan.inputs.items()),
        ),
    )
