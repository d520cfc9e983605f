"""The noise of this machine: how far a cell differs from itself, kept as a history, and the smallest delta for a gate.

An entry is one run of a cell against itself: by `lab aa`, or by a gate, whose A/A arm is one as well. Right of the
wall.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lab import stats, store
from lab.model import Plan
from lab.stats import Comparison, Spread
from lab.summary import Summary

FOLDER = ".noise"  # in the results folder
RECENT = 10  # entries that speak for the machine as it is now


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of a cell against itself."""

    run: str
    machine: str  # what it ran on: key of facts and CPU layout
    design: str  # how it was measured: key of rate, slices, turns, rounds, looks
    cell: str
    valid: bool
    rounds: int
    legs: dict[str, Comparison]
    detectable: dict[str, float]  # by leg: a ratio less 1 that all rounds of this design find with 80 % probability


def entry(folder: Path, plan: Plan, summary: Summary) -> Entry:
    """What a run says of its baseline against itself."""
    rows = [row for row in summary.comparisons if row.cell == plan.aa_cell]
    planned = plan.looks[-1] if plan.looks else len(plan.rounds)
    deviations = {row.leg: stats.deviation(row.comparison, plan.alpha) for row in rows}
    facts, layout = (
        json.loads((folder / "evidence" / name).read_text("utf-8")) for name in ("host.json", "layout.json")
    )
    return Entry(
        run=folder.name,
        machine=machine_of(facts, layout["cpus"]),
        design=design_of(plan),
        cell=plan.cell(plan.aa_cell).baseline,
        valid=summary.valid,
        rounds=max((row.n_rounds for row in rows), default=0),
        legs={row.leg: row.comparison for row in rows},
        detectable={
            leg: stats.detectable(Spread(0.0, spread), planned, 1, plan.alpha)
            for leg, spread in deviations.items()
            if spread is not None and planned > 1
        },
    )


def machine_of(facts: Mapping[str, object], cpus: Mapping[str, Sequence[int]]) -> str:
    """Key of what noise depends on: processor, memory, kernel, virtualisation, and who sits where."""
    named = {name: facts[name] for name in ("cpu_model", "cpus_allowed", "memory_bytes", "kernel", "virtualisation")}
    return _key({**named, "cpus": {role: list(numbers) for role, numbers in cpus.items()}})


def design_of(plan: Plan) -> str:
    """Key of how much is measured, and how: not of what."""
    cell = plan.cell(plan.aa_cell)
    first = [piece for piece in plan.rounds[0].slices if piece.cell == cell.name] if plan.rounds else []
    return _key(
        {
            "slices": len(first),
            "slice_seconds": cell.slice_seconds,
            "rate_per_s": cell.rate_per_s,
            "children": cell.children,
            "turn_msec": plan.turn_msec,
            "scenario": cell.scenario,
        }
    )


def keep(results: Path, found: Entry) -> None:
    """Add it to the history, or put it in the place of an earlier judgement of the same run."""
    store.dump(found, results / FOLDER / f"{found.run}.json")


def history(results: Path) -> list[Entry]:
    """All entries, the oldest first; one that cannot be read is named."""
    return [store.load(Entry, path) for path in sorted((results / FOLDER).glob("*.json"))]


def smallest_delta(entries: Iterable[Entry], machine: str, design: str) -> float | None:
    """The least slowdown that a gate here may be asked to find: what its noisiest leg lets it find, as lately seen.

    The median of the last valid entries of this machine and design; None where there is none.
    """
    alike = [one for one in entries if (one.machine, one.design) == (machine, design) and one.valid and one.detectable]
    return median(max(one.detectable.values()) for one in alike[-RECENT:]) if alike else None


def _key(whole: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
