"""From the searches of a run to the highest rates of its cells: `capacity.json`, explained in docs/capacity.md."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import stats, store
from lab.errors import BadInputError
from lab.model import Cell, Plan
from lab.search import Parameters, Search, Step

SEARCHES = "searches"  # of the evidence
FILE = "capacity.json"
# Where SIPp is as busy as this, or this near to what it offers a responder that does nothing, it may be the limit.
SIPP_CPU_SHARE = 0.8
CEILING_SHARE = 0.75
PATIENCE_SECONDS = 120  # a search that took longer is noted


@dataclass(frozen=True, slots=True)
class Point:
    """One search: the highest rate without a failure, in one round."""

    round: int
    rate_per_s: int | None
    confirmed: bool
    at_least: bool  # SIPp may have been the limit
    steps: int
    attempted: int  # calls of all steps
    bindings: int | None  # at the search's begin
    sipp_cpu_share: float | None  # of one CPU and process, at that rate
    kamailio_cpu_usec_per_call: float | None  # at that rate
    mysql_cpu_share: float | None  # of one CPU, at that rate
    worker_share: float | None  # of the time, that a worker was routing at that rate, waits for the database included
    limit: str  # what was wrong with the lowest rate that failed
    seconds: float  # that it took, its start and the registering before included
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """What the rounds say together: a geometric mean, and Student's interval of the logarithms."""

    kind: str
    rate_per_s: float | None
    ci_low: float | None
    ci_high: float | None
    at_least: bool
    ceiling_per_s: int | None  # SIPp's own
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class CellRates:
    """One cell."""

    engine: str
    kamailio: str
    children: int
    subscribers: int
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Capacity:
    """All of a run. `valid`: it came to its end, and every search has a confirmed rate."""

    schema_version: int
    run: str
    experiment: str
    plan_hash: str
    ended: str
    valid: bool
    parameters: Parameters
    rate_tolerance: float
    cells: dict[str, CellRates]
    notes: tuple[str, ...]


def is_one(folder: Path) -> bool:
    """Whether a run's folder has searches of capacity, and no slices to compare."""
    return (folder / "evidence" / SEARCHES).is_dir()


def write(folder: Path) -> Capacity:
    """Compute it, and keep it in the run's folder."""
    found = compute(folder)
    store.dump(found, folder / FILE)
    return found


def compute(folder: Path) -> Capacity:
    """From the evidence alone."""
    evidence = folder / "evidence"
    plan = store.load(Plan, evidence / "plan.json")
    searches = [store.load(Search, path) for path in sorted((evidence / SEARCHES).glob("*.json"))]
    if not searches:
        raise BadInputError(f"{folder.name}: no search has begun: there is nothing to show")
    ended = store.status(folder).ended or "not ended"
    cells = [cell for cell in plan.cells if cell.name != plan.aa_cell]
    found = {cell.name: _cell(cell, [one for one in searches if one.cell == cell.name]) for cell in cells}
    sound = [found[cell.name] for cell in cells if not cell.known_broken]
    return Capacity(
        schema_version=store.SCHEMA_VERSION,
        run=folder.name,
        experiment=plan.experiment,
        plan_hash=plan.hash,
        ended=ended,
        valid=ended == "complete" and all(_whole(cell, len(plan.rounds)) for cell in sound),
        parameters=searches[0].parameters,
        rate_tolerance=plan.limits.rate_tolerance,
        cells=found,
        notes=tuple(_notes(found, plan)),
    )


def _cell(cell: Cell, searches: Sequence[Search]) -> CellRates:
    kinds = dict.fromkeys(one.kind for one in sorted(searches, key=lambda one: one.kind.startswith("re-")))
    rates = tuple(_rate(kind, [one for one in searches if one.kind == kind], cell.children) for kind in kinds)
    return CellRates(cell.engine, cell.kamailio, cell.children, cell.subscribers, rates)


def _whole(cell: CellRates, rounds: int) -> bool:
    """Every round has a confirmed rate of each kind."""
    return bool(cell.rates) and all(
        len(rate.points) == rounds and all(point.confirmed for point in rate.points) for rate in cell.rates
    )


def _rate(kind: str, searches: Sequence[Search], children: int) -> Rate:
    points = tuple(_point(one, children) for one in searches)
    found = stats.compare([math.log(point.rate_per_s) for point in points if point.rate_per_s])
    return Rate(
        kind=kind,
        rate_per_s=found.ratio,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        at_least=any(point.at_least for point in points),
        ceiling_per_s=searches[-1].ceiling_per_s,
        points=points,
    )


def _point(found: Search, children: int) -> Point:
    rate = found.rate_per_s
    offered = found.offered_per_s or found.rate_per_s  # older evidence has one of them
    went = [step for step in found.steps if step.rate_per_s == offered and not step.failures]
    timed = [step for step in went if step.seconds]
    failed = [step for step in found.steps if step.failures and step.rate_per_s > (offered or 0)]
    share = _mean([used for step in went if (used := _sipp_share(step, found.sipp_processes)) is not None])
    near = bool(rate and found.ceiling_per_s and rate >= CEILING_SHARE * found.ceiling_per_s)
    return Point(
        round=found.round,
        rate_per_s=rate,
        confirmed=found.confirmed,
        at_least=bool(rate) and ((share is not None and share >= SIPP_CPU_SHARE) or near or not failed),
        steps=len(found.steps),
        attempted=sum(step.calls for step in found.steps),
        bindings=found.bindings,
        sipp_cpu_share=share,
        kamailio_cpu_usec_per_call=_mean(
            [step.kamailio_cpu_usec / step.calls for step in went if step.kamailio_cpu_usec is not None]
        ),
        mysql_cpu_share=_mean(
            [step.mysql_cpu_usec / 1e6 / step.seconds for step in timed if step.mysql_cpu_usec is not None]
        ),
        worker_share=_mean(
            [step.routing_usec / 1e6 / step.seconds / children for step in timed if step.routing_usec is not None]
        ),
        limit=min(failed, key=lambda step: step.rate_per_s).failures[0] if failed else "",
        seconds=found.seconds,
        problem=found.problem or ("" if found.ended else "the search was broken off"),
    )


def _sipp_share(step: Step, processes: int) -> float | None:
    if step.sipp_cpu_usec is None or not step.seconds:
        return None
    return step.sipp_cpu_usec / 1e6 / step.seconds / processes


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _notes(cells: dict[str, CellRates], plan: Plan) -> Iterator[str]:
    yield from (f"left out: {left_out}" for left_out in plan.left_out)
    for name, cell in cells.items():
        if known := plan.cell(name).known_broken:
            yield f"{name}: known to be broken: {known}"
        if not cell.rates:
            yield f"{name}: not searched"
        for rate in cell.rates:
            for point in rate.points:
                which = f"{name}, {rate.kind}, round {point.round}"
                if point.problem:
                    yield f"{which}: {point.problem}"
                elif not point.confirmed:
                    yield f"{which}: not confirmed within {point.steps} steps"
                if point.seconds > PATIENCE_SECONDS:
                    yield f"{which}: took {point.seconds:.0f} s, more than {PATIENCE_SECONDS}"
        if cell.rates and cell.rates[0].kind.startswith("re-"):
            yield f"{name}: {cell.subscribers} subscribers are too few for calls that are all of distinct ones"
