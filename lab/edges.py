"""Both edges of slices that are under load in the same seconds (mostly one): what the counters are then.

The expensive questions, which run programs in the containers, are outermost; the clocks are next to the load. So what
the asking takes is in no slice's CPU time, nor what it takes to start SIPp, which comes between the two. (Counters that
only those programs can read, such as how long workers have waited for a CPU, begin before that; workers are idle then.)
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from lab import sampling
from lab.database import Activity, Database
from lab.model import Sample
from lab.station import Station

Asked = Sequence[tuple[Station, Database]]
Ready = TypeVar("Ready")


def before(asked: Asked, cpus: tuple[int, ...], prepare: Callable[[], Ready]) -> tuple[list[Sample], Ready]:
    """First edge, with `cpus` as Kamailio's; and what `prepare` says, which is the last thing before the clocks."""
    begun = time.monotonic_ns()
    answers = [(station.inside(), database.activity()) for station, database in asked]
    ready = prepare()
    clocks = [sampling.outside(station.cgroups, cpus) for station, _ in asked]
    return _samples(begun, answers, clocks), ready


def after(asked: Asked, cpus: tuple[int, ...]) -> list[Sample]:
    """Last edge."""
    begun = time.monotonic_ns()
    clocks = [sampling.outside(station.cgroups, cpus) for station, _ in asked]
    answers = [(station.inside(), database.activity()) for station, database in asked]
    return _samples(begun, answers, clocks)


def _samples(
    begun_nsec: int, answers: Sequence[tuple[sampling.Inside, Activity]], clocks: Sequence[sampling.Outside]
) -> list[Sample]:
    edge_usec = (time.monotonic_ns() - begun_nsec) // 1000
    return [
        Sample(**_fields(inside), **_fields(outside), **_fields(activity), edge_usec=edge_usec)
        for (inside, activity), outside in zip(answers, clocks, strict=True)
    ]


def _fields(value: sampling.Inside | sampling.Outside | Activity) -> dict[str, Any]:
    """Fields by name; what they hold stays as it is."""
    return {f.name: getattr(value, f.name) for f in fields(value)}
