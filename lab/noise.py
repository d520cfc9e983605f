"""The noise of this machine: how far a cell differs from itself, kept as a history, and the smallest delta for a gate.

An entry is one run of a cell against itself: by `lab aa`, or by a gate, whose A/A arm is one as well. Right of the
wall.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from lab import stats, store, trimmed
from lab.gate import ALL, ALLOWANCE
from lab.model import Plan
from lab.stats import Comparison, Spread
from lab.summary import Summary

FOLDER = ".noise"  # in the results folder
RECENT = 5  # entries that speak for the machine as it is now


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of a cell against itself."""

    run: str
    machine: str  # what it ran on: key of facts and CPU layout
    design: str  # how it was measured: key of rate, slices, turns, ...; how many rounds is not of it
    cell: str
    valid: bool
    rounds: int
    legs: dict[str, Comparison]
    deviations: dict[str, float]  # by leg, of the rounds' log ratios; of a leg without an interval there is none

    @property
    def deviation(self) -> float | None:
        """Of the noisiest leg, as a gate sees it: of what may be slower by several deltas its share."""
        seen = (one / (ALLOWANCE if leg.endswith(ALL) else 1) for leg, one in self.deviations.items())
        return max(seen, default=None)


def entry(folder: Path, plan: Plan, summary: Summary) -> Entry:
    """What a run says of its baseline against itself, by both means that a gate goes by."""
    both = ((summary.trimmed, ""), (summary.comparisons, ALL))
    legs = {f"{row.leg}{of}": row.comparison for rows, of in both for row in rows if row.cell == plan.aa_cell}
    deviations = {leg: stats.deviation(found, plan.alpha) for leg, found in legs.items()}
    return Entry(
        run=folder.name,
        machine=machine_at(folder),
        design=design_of(plan),
        cell=plan.cell(plan.aa_cell).baseline,
        valid=summary.valid,
        rounds=max((found.n_rounds for found in legs.values()), default=0),
        legs=legs,
        deviations={leg: spread for leg, spread in deviations.items() if spread is not None},
    )


def detectable(deviation: float, plan: Plan) -> float | None:
    """The effect (a ratio less 1) that all rounds of a plan find with 80 % probability, at the alpha of its looks.

    `deviation` is that of the rounds' log ratios. None for a plan of one round.
    """
    rounds = plan.looks[-1] if plan.looks else len(plan.rounds)
    return stats.detectable(Spread(0.0, deviation), rounds, 1, plan.alpha) if rounds > 1 else None


def machine_at(folder: Path) -> str:
    """Key of what a run's folder says of its machine; nothing, where it does not."""
    try:
        facts, layout = (json.loads((folder / "evidence" / name).read_bytes()) for name in ("host.json", "layout.json"))
        return machine_of(facts, layout["cpus"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def machine_of(facts: Mapping[str, object], cpus: Mapping[str, Sequence[int]]) -> str:
    """Key of what noise depends on: processor, memory, kernel, virtualisation, and who sits where."""
    named = {name: facts[name] for name in ("cpu_model", "cpus_allowed", "memory_bytes", "kernel", "virtualisation")}
    return _key({**named, "cpus": {role: list(numbers) for role, numbers in cpus.items()}})


def design_of(plan: Plan) -> str:
    """Key of how it is measured: not of what, nor of how many rounds."""
    cell = plan.cell(plan.aa_cell)
    told = asdict(cell)
    named = ("engine", "scenario", "database", "memory", "observe", "children", "subscribers", "slice_seconds")
    slices = sum(piece.cell == cell.name and not piece.warmup for piece in plan.rounds[0].slices) if plan.rounds else 0
    return _key(
        {
            **{name: told[name] for name in named},
            # A rate that is searched is another one each time that it is.
            "rate": f"share {plan.rate_share}" if plan.rate_share else cell.rate_per_s,
            "slices": slices,
            "figure": f"{trimmed.FIGURE} {trimmed.LEFT_OUT_PERCENT} %",
            "turn_msec": plan.turn_msec,
            "sipp_processes": plan.sipp_processes,
            "keep_awake": plan.keep_awake,
            "cells": len(plan.cells),
        }
    )


def keep(results: Path, found: Entry) -> None:
    """Add it to the history, or put it in the place of an earlier judgement of the same run."""
    store.dump(found, results / FOLDER / f"{found.run}.json")


def history(results: Path) -> list[Entry]:
    """All entries, the oldest first; one that cannot be read is named."""
    return [store.load(Entry, path) for path in sorted((results / FOLDER).glob("*.json"))]


def alike(entries: Iterable[Entry], machine: str, plan: Plan) -> list[Entry]:
    """Those of this machine that were measured as a plan measures."""
    return [one for one in entries if (one.machine, one.design) == (machine, design_of(plan))]


def smallest_delta(entries: Iterable[Entry], machine: str, plan: Plan) -> float | None:
    """The least slowdown that a gate by this plan may be asked to find: by its noisiest leg, as lately seen.

    By the median of the last valid entries of this machine and design; None where there is none.
    """
    valid = [one for one in alike(entries, machine, plan) if one.valid and one.deviations]
    return detectable(median(one.deviation or 0.0 for one in valid[-RECENT:]), plan) if valid else None


def _key(whole: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
