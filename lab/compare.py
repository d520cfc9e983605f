"""Two datasets, or two cells of one: whether they may be compared, and what their rounds say. docs/gate.md explains.

Right of the wall. Cells of one run are paired round by round. Rounds of two runs are not: there a cell is set beside
its like by its ratio to its own baseline, and by its times alone only where all declared facts agree.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import figures, stats, store, summary
from lab.errors import BadInputError
from lab.frames import load
from lab.model import Cell, Plan
from lab.stats import Comparison

PAIRED = "round by round"
BY_BASELINE = "by its baseline"
BY_TIME = "by its times"
_ABSENT = "not told"
_BASELINES = "baseline's "
# What two runs must share, and what it is called: of the machine, of a cell as it was measured. What a cell is made of
# (engine, release, routing, ...) is what is compared.
_MACHINE = {
    "cpu_model": "processor",
    "cpus_allowed": "CPUs that may be used",
    "memory_bytes": "memory",
    "kernel": "Linux",
    "system": "system",
    "virtualisation": "virtualisation",
    "engine": "Docker Engine",
}
_CELL = ("scenario", "database", "observe", "children", "subscribers", "rate_per_s", "slice_seconds", "memory")

Costs = Mapping[tuple[str, str], Mapping[int, float]]  # (cell, leg) -> round -> usec


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A declared fact in which the two differ."""

    fact: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Row:
    """The second one's leg over the first one's."""

    first: str  # cells
    second: str
    leg: str
    how: str
    found: Comparison


@dataclass(frozen=True, slots=True)
class Compared:
    """What two sides say together."""

    first: str
    second: str
    valid: bool  # both runs are
    alpha: float  # of the intervals: what looks leave of 5 %
    mismatches: tuple[Mismatch, ...]
    rows: tuple[Row, ...]

    @property
    def comparable(self) -> bool:
        """Their times may be set beside each other."""
        return not self.mismatches


@dataclass(frozen=True, slots=True)
class _Side:
    folder: Path
    cell: str  # the one that was named; none: all
    plan: Plan
    valid: bool
    costs: Costs


def read(results: Path, first: str, second: str) -> Compared:
    """Compare RUN with RUN, cell by cell of the same name, or RUN:CELL with RUN:CELL."""
    one, other = (_side(results, text) for text in (first, second))
    if bool(one.cell) != bool(other.cell):
        raise BadInputError(f"{first} and {second}: one names a cell, one does not", remedy="name both, or none")
    pairs = [(one.cell, other.cell)] if one.cell else [(name, name) for name in _shared(one.plan, other.plan)]
    if not pairs:
        cells = " and ".join(", ".join(cell.name for cell in side.plan.cells) for side in (one, other))
        raise BadInputError(f"{first} and {second} have no cell of the same name", remedy=f"name two of {cells}")
    same = one.folder == other.folder
    mismatches = tuple(dict.fromkeys(found for pair in pairs for found in _mismatches(one, other, *pair)))
    return Compared(
        first=first,
        second=second,
        valid=one.valid and other.valid,
        alpha=min(one.plan.alpha, other.plan.alpha),
        mismatches=mismatches,
        rows=tuple(
            row
            for pair in pairs
            for row in (_paired(one, other, *pair) if same else _unpaired(one, other, *pair, by_time=not mismatches))
        ),
    )


def _side(results: Path, text: str) -> _Side:
    run, colon, cell = text.rpartition(":")
    if not colon or Path(text).is_dir():
        run, cell = text, ""
    folder = store.find(results, run)
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    names = [one.name for one in plan.cells]
    if cell and cell not in names:
        raise BadInputError(f"{folder.name} has no cell {cell!r}", remedy=f"there are: {', '.join(names)}")
    frames = load(folder, summary.MESSAGE_COLUMNS)
    timed = summary.timed_slices(plan, frames, complete=summary.is_complete(folder))
    first = figures.first_transmissions(frames.messages[frames.messages["slice"].isin(timed["slice"])])
    return _Side(folder, cell, plan, summary.read(folder).valid, figures.costs(plan, first))


def _shared(first: Plan, second: Plan) -> list[str]:
    names = {cell.name for cell in second.cells}
    return [cell.name for cell in first.cells if cell.name in names]


def _legs(one: _Side, other: _Side, first: str, second: str) -> list[str]:
    theirs = [leg for cell, leg in other.costs if cell == second]
    return [leg for cell, leg in one.costs if cell == first and leg in theirs]


def _paired(one: _Side, other: _Side, first: str, second: str) -> Iterator[Row]:
    """Of one run, whose rounds are the same."""
    for leg in _legs(one, other, first, second):
        logs = stats.log_ratios(other.costs[second, leg], one.costs[first, leg])
        yield Row(first, second, leg, PAIRED, stats.compare(logs, one.plan.alpha))


def _unpaired(one: _Side, other: _Side, first: str, second: str, *, by_time: bool) -> Iterator[Row]:
    alpha = min(one.plan.alpha, other.plan.alpha)
    baselines = {side.plan.cell(side.plan.cell(cell).baseline).engine for side, cell in ((one, first), (other, second))}
    for leg in _legs(one, other, first, second):
        theirs, ours = (_by_baseline(side, cell, leg) for side, cell in ((other, second), (one, first)))
        # What both are divided by has to be one thing: another release of it may be, another engine is not.
        if theirs is not None and ours is not None and len(baselines) == 1:
            yield Row(first, second, leg, BY_BASELINE, stats.compare_apart(theirs, ours, alpha))
        if by_time:
            times, before = (
                [math.log(usec) for usec in costs.values() if usec > 0]
                for costs in (other.costs[second, leg], one.costs[first, leg])
            )
            yield Row(first, second, leg, BY_TIME, stats.compare_apart(times, before, alpha))


def _by_baseline(side: _Side, cell: str, leg: str) -> list[float] | None:
    """Log ratios to its own baseline; None where it is that, or where that has no such leg."""
    baseline = side.plan.cell(cell).baseline
    if cell == baseline or (baseline, leg) not in side.costs:
        return None
    return stats.log_ratios(side.costs[cell, leg], side.costs[baseline, leg])


def _mismatches(one: _Side, other: _Side, first: str, second: str) -> Iterator[Mismatch]:
    if one.folder == other.folder:
        facts = [_of_cell(side.plan, side.plan.cell(name)) for side, name in ((one, first), (other, second))]
    else:
        facts = [
            {**_of_machine(side.folder), **_of_run(side), **_of_cell(side.plan, side.plan.cell(name))}
            for side, name in ((one, first), (other, second))
        ]
    if one.folder != other.folder:
        baselines = [_of_baseline(side.plan, side.plan.cell(name)) for side, name in ((one, first), (other, second))]
        if all(baselines):
            facts = [told | own for told, own in zip(facts, baselines, strict=True)]
        contents = [_contents(side, name) for side, name in ((one, first), (other, second))]
        # What goes by another name is what is compared; what goes by the same one should be the same.
        facts = [
            {**told, **{name: what for name, what in own.items() if all(name in each for each in contents)}}
            for told, own in zip(facts, contents, strict=True)
        ]
    for fact in dict.fromkeys(name for side in facts for name in side):
        ours, theirs = (side.get(fact, _ABSENT) for side in facts)
        known = [side.get(fact.removeprefix(_BASELINES)) for side in facts]
        if ours != theirs and (not fact.startswith(_BASELINES) or known != [ours, theirs]):
            yield Mismatch(fact, ours, theirs)


def _of_machine(folder: Path) -> dict[str, str]:
    facts, layout = (store.facts(folder / "evidence" / name) for name in ("host.json", "layout.json"))
    told = {what: str(facts[name]) for name, what in _MACHINE.items() if name in facts}
    return {**told, "CPU layout": json.dumps(layout.get("cpus"), sort_keys=True)}


def _of_run(side: _Side) -> dict[str, str]:
    """Images but Kamailio's, which may be what is compared; what all cells share of how they were measured."""
    images, plan = store.facts(side.folder / "evidence" / "images.json"), side.plan
    return {
        "image of SIPp": str((images.get("sipp") or {}).get("id")),
        **{f"image of {name}": str(one.get("id")) for name, one in sorted((images.get("database") or {}).items())},
        "turn_msec": str(plan.turn_msec),
        "keep_awake": str(plan.keep_awake),
        "sipp_processes": str(plan.sipp_processes),
        "cells in a block": str(plan.at_once),
        "limits": ", ".join(f"{name} {value}" for name, value in asdict(plan.limits).items()),
        "warm-up slices": str(_slices(plan, warmup=True)),
        "timed slices": str(_slices(plan, warmup=False)),
        **{name: digest for name, digest in plan.inputs.items() if name.startswith("scenario ")},
    }


def _slices(plan: Plan, *, warmup: bool) -> int:
    """Of a cell in a round."""
    return sum(piece.warmup == warmup for planned in plan.rounds[:1] for piece in planned.slices) // len(plan.cells)


def _contents(side: _Side, name: str) -> dict[str, str]:
    """What a cell and its baseline are made of: image of Kamailio, routing scripts, configuration."""
    images = store.facts(side.folder / "evidence" / "images.json").get("kamailio") or {}
    found: dict[str, str] = {}
    for cell in (side.plan.cell(name), side.plan.cell(side.plan.cell(name).baseline)):
        found[f"image of Kamailio {cell.kamailio}"] = str((images.get(cell.kamailio) or {}).get("id"))
        for key in (f"routing {cell.routing}", f"configuration {cell.configuration}"):
            found[key] = side.plan.inputs.get(key, _ABSENT)
    return found


def _of_cell(plan: Plan, cell: Cell) -> dict[str, str]:
    told = asdict(cell)
    return {**{name: str(told[name]) for name in _CELL}, "legs": ", ".join(plan.scenario_of(cell.name).leg_names)}


def _of_baseline(plan: Plan, cell: Cell) -> dict[str, str]:
    """What it is divided by; nothing of a cell that is a baseline itself."""
    if cell.name == cell.baseline:
        return {}
    told = asdict(plan.cell(cell.baseline))
    return {f"{_BASELINES}{name}": str(told[name]) for name in ("engine", *_CELL)}
