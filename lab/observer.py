"""What measuring costs: each way of being observed against the same cell with nothing but its log.

Right of the wall. docs/observer.md says what is compared and how to read it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import figures, stats, store, summary
from lab.errors import BadInputError
from lab.frames import load
from lab.model import Cell, Plan
from lab.observation import LOG
from lab.stats import Comparison
from lab.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

# Of these there are figures whether latency lines are written or not: by how a report calls them.
CPU = {"container": "cpu_usec", "workers": "workers_on_cpu_usec", "sipp": "sipp_cpu_usec"}


@dataclass(frozen=True, slots=True)
class Cost:
    """One measure of one cell against that of another, which differs in how it is observed alone."""

    cell: str
    against: str
    measure: str  # a key of CPU, a leg, or what all legs together are called
    found: Comparison


@dataclass(frozen=True, slots=True)
class Observer:
    """A run in costs."""

    run: str
    valid: bool
    rounds: int
    rate_per_s: tuple[int, ...]
    aa_cell: str
    costs: tuple[Cost, ...]
    usec: dict[str, dict[str, float | None]]  # cell -> measure -> mean of a call over its timed slices


def read(folder: Path) -> Observer:
    """Costs of a run; BadInputError where none of its cells is observed otherwise than another."""
    plan = _paired(store.load(Plan, folder / "evidence" / "plan.json"))
    if all(cell.name in {plan.aa_cell, cell.baseline} for cell in plan.cells):
        remedy = 'lab observer experiments/observer.toml, or an experiment with observe = ["log", ...]'
        raise BadInputError(f"{folder}: no two of its cells differ in how they are observed alone", remedy=remedy)
    frames, judged = load(folder, summary.MESSAGE_COLUMNS), summary.read(folder)
    slices = summary.timed_slices(plan, frames, complete=summary.is_complete(folder))
    first = figures.first_transmissions(frames.messages[frames.messages["slice"].isin(slices["slice"])])
    return Observer(
        run=folder.name,
        valid=judged.valid,
        rounds=len(plan.rounds),
        rate_per_s=tuple(sorted({cell.rate_per_s for cell in plan.cells})),
        aa_cell=plan.aa_cell,
        costs=(*_cpu(plan, slices), *_legs(plan, first)),
        usec={cell.name: _usec(slices[slices["cell"] == cell.name], cell.name, judged) for cell in plan.cells},
    )


def _paired(plan: Plan) -> Plan:
    """The plan with each cell against the one that has but its log; those without such a one are left out."""
    logs = {_apart(cell): cell.name for cell in plan.cells if cell.observe == LOG and cell.name != plan.aa_cell}
    others = [cell for cell in plan.cells if cell.name != plan.aa_cell and _apart(cell) in logs]
    twin = plan.cell(plan.aa_cell)
    twins = [twin] if twin.baseline in {cell.name for cell in others} else []
    return replace(plan, cells=(*(replace(cell, baseline=logs[_apart(cell)]) for cell in others), *twins))


def _apart(cell: Cell) -> Cell:
    """A cell apart from how it is observed."""
    return replace(cell, name="", baseline="", shares="", observe=LOG)


def _cpu(plan: Plan, slices: "pd.DataFrame") -> Iterator[Cost]:
    for measure, column in CPU.items():
        used = {cell.name: _by_round(slices[slices["cell"] == cell.name], column) for cell in plan.cells}
        for cell in plan.cells:
            if cell.name != cell.baseline:
                found = stats.compare(stats.log_ratios(used[cell.name], used[cell.baseline]), plan.alpha)
                yield Cost(cell.name, cell.baseline, measure, found)


def _legs(plan: Plan, first: "pd.DataFrame") -> Iterator[Cost]:
    for row in figures.comparisons(plan, first):
        found = Comparison(row.ratio, row.ci_low, row.ci_high, row.mde, row.n_rounds, row.p)
        yield Cost(row.cell, row.baseline, row.leg, found)


def _by_round(slices: "pd.DataFrame", column: str) -> dict[int, float]:
    """Round -> usec a call."""
    rounds: dict[Any, Any] = dict(iter(slices.groupby("round")))
    used = {int(number): _per_call(some, column) for number, some in rounds.items()}
    return {number: usec for number, usec in used.items() if usec is not None}


def _per_call(slices: "pd.DataFrame", column: str) -> float | None:
    measured = slices[slices[column].notna()]
    calls = int(measured["sipp_successful"].sum())
    return float(measured[column].sum()) / calls if calls else None


def _usec(slices: "pd.DataFrame", cell: str, judged: Summary) -> dict[str, float | None]:
    own = judged.cells[cell]
    legs = {name: leg.mean_usec for name, leg in own.legs.items()}
    whole = {own.whole: own.call_usec} if len(legs) > 1 else {}
    return {**{measure: _per_call(slices, column) for measure, column in CPU.items()}, **legs, **whole}
