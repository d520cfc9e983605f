"""What a run can tell apart: how its baseline differs from itself, what it sees of a planted slowdown, and the noise.

Right of the wall: from frames alone. docs/resolution.md explains each figure.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from lab import figures, planted, stats, store, summary
from lab.errors import BadInputError
from lab.estimators import ESTIMATORS
from lab.frames import Frames, load
from lab.model import Cell, Plan
from lab.stats import Comparison, Design, Spread

STARTS = ["round", "start"]  # slices of different ones may be hours apart

SECONDS = (120, 300, 600)
CPU = "CPU time"
COLUMNS = ("round", "slice", "cell", "leg", "retransmission", "usec")


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A cell with a planted wait against the baseline."""

    cell: str
    planted_usec: int  # in each request, more than the baseline has
    expected: float  # ratio that this makes of what the baseline takes
    found: Comparison


@dataclass(frozen=True, slots=True)
class Row:
    """One leg by one estimator. `detectable` is by duration of the pair in s, as the A/A pair's noise has it."""

    leg: str
    estimator: str
    usec: float  # what the baseline takes
    aa: Comparison
    slowdowns: tuple[Slowdown, ...]
    spread: Spread | None
    detectable: dict[int, Design | None]


@dataclass(frozen=True, slots=True)
class Resolution:
    """A run's resolution."""

    run: str
    valid: bool  # every planned slice is
    baseline: str
    aa_cell: str
    rounds: int
    pairs: int  # slices of the A/A cell, each with its neighbour of the baseline
    pair_seconds: float  # what such a pair takes
    round_seconds: float  # what a round of the two takes beside them
    rows: tuple[Row, ...]


def read(folder: Path) -> Resolution:
    """A run's resolution; BadInputError where it has no pair of slices to tell it from."""
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    frames = load(folder, COLUMNS)
    timed = summary.timed_slices(plan, frames, complete=summary.is_complete(folder))
    aa = plan.cell(plan.aa_cell)
    costs = _costs(plan, frames.messages, timed)
    noise = _logs(costs, aa.name, aa.baseline)
    if noise.empty:
        problem = f"{folder}: no two valid slices of {aa.name} and {aa.baseline} are neighbours"
        raise BadInputError(problem, remedy=f"lab report {folder.name} says what is wrong with them")
    # Where cells take turns a pair takes all that its block takes.
    paired = {cell.name for cell in plan.cells} if plan.turn_msec else {aa.name, aa.baseline}
    pair_seconds, round_seconds = _durations(frames, paired, len(noise))
    slowdowns = {cell.name: (usec, _logs(costs, cell.name, aa.baseline)) for cell, usec in _planted(plan)}
    scenario = plan.scenario_of(aa.name)

    def row(leg: str, estimator: str) -> Row:
        rounds = _by_round(noise[leg, estimator])
        spread = stats.spread(rounds)
        usec = float(costs.loc[aa.baseline][leg, estimator].mean())
        # A leg's time is of one request, though a call may have several of them; CPU time is of all.
        requests = 1 if leg != scenario.whole else len(scenario.legs if estimator == CPU else scenario.leg_names)
        return Row(
            leg=leg,
            estimator=estimator,
            usec=usec,
            aa=_compare(rounds),
            slowdowns=tuple(
                Slowdown(name, wait, 1 + wait * requests / usec, _compare(_by_round(logs[leg, estimator])))
                for name, (wait, logs) in slowdowns.items()
            ),
            spread=spread,
            detectable={
                seconds: stats.best_design(spread, seconds, round_seconds=round_seconds, pair_seconds=pair_seconds)
                if spread
                else None
                for seconds in SECONDS
            },
        )

    return Resolution(
        run=folder.name,
        valid=summary.read(folder).valid,
        baseline=aa.baseline,
        aa_cell=aa.name,
        rounds=noise.index.get_level_values("round").nunique(),
        pairs=len(noise),
        pair_seconds=pair_seconds,
        round_seconds=round_seconds,
        rows=tuple(row(str(key[0]), str(key[1])) for key in costs.columns.to_flat_index()),
    )


def _planted(plan: Plan) -> Iterator[tuple[Cell, int]]:
    """Cells that are the baseline with a wait, and how many usec that is more than the baseline itself has."""
    baseline = plan.cell(plan.cell(plan.aa_cell).baseline)
    routing, own = planted.split(baseline.routing)
    for cell in plan.cells:
        theirs, usec = planted.split(cell.routing)
        if (
            usec != own
            and replace(cell, name=baseline.name, routing=baseline.routing) == baseline
            and theirs == routing
        ):
            yield cell, usec - own


def _costs(plan: Plan, messages: pd.DataFrame, timed: pd.DataFrame) -> pd.DataFrame:
    """What a slice's legs take: a row a slice (cell, round, block), a column an estimator of a leg.

    Slices of one block are neighbours. One that was run again at the end of its round has none, and is left out; but
    where cells take turns, all of its block was.
    """
    slices = timed.assign(block=_blocks(plan, timed)).dropna(subset=["block"]).set_index("slice")
    scenario = plan.scenario_of(plan.aa_cell)
    first = figures.first_transmissions(messages)
    first = first[first["slice"].isin(slices.index) & first["leg"].isin(scenario.leg_names)]
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (name, leg), usec in first.groupby(["slice", "leg"], observed=True)["usec"]:
        ordered = np.sort(usec.to_numpy(dtype="int64"))
        for estimator, value in ESTIMATORS.items():
            found.setdefault((str(leg), estimator), {})[str(name)] = value(ordered)
    legs = pd.DataFrame(found).reindex(
        index=slices.index, columns=pd.MultiIndex.from_product([scenario.leg_names, ESTIMATORS])
    )
    costs = legs.copy()
    if len(scenario.leg_names) > 1:
        whole = legs.T.groupby(level=1, sort=False).sum(min_count=len(scenario.leg_names)).T
        costs = costs.join(pd.concat({scenario.whole: whole}, axis="columns"))
    costs[scenario.whole, CPU] = (slices["cpu_usec"].astype("Float64") / slices["sipp_successful"]).astype("float64")
    costs.index = pd.MultiIndex.from_frame(slices[["cell", "round", "block"]].astype({"cell": str}))
    return costs.where(costs > 0).dropna(axis="columns", how="all").sort_index()


def _blocks(plan: Plan, slices: pd.DataFrame) -> "pd.Series[float]":
    """A number for each slice: of those of its block, within its round."""
    if plan.at_once > 1:  # they had the same seconds
        when = [*STARTS, "begun_usec", "duration_usec"]
        ordered = slices[when].astype("int64").sort_values(when)
        ends = (ordered["begun_usec"] + ordered["duration_usec"]).groupby([ordered[key] for key in STARTS])
        before = ends.cummax().groupby([ordered[key] for key in STARTS]).shift(fill_value=0)
        return (ordered["begun_usec"] > before).cumsum().astype(float)
    blocks: dict[str, int] = {}
    for planned in plan.rounds:
        count: Counter[str] = Counter()
        for piece in planned.slices:
            blocks[piece.id] = count[piece.cell]
            count[piece.cell] += 1
    return slices["slice"].map(blocks)


def _logs(costs: pd.DataFrame, cell: str, baseline: str) -> pd.DataFrame:
    """Slice by slice ln(cell / baseline), of neighbours; empty where there are none."""
    cells = costs.index.get_level_values("cell")
    own, theirs = (costs[cells == name].droplevel("cell") for name in (cell, baseline))
    return (own / theirs).dropna(how="all").map(math.log, na_action="ignore")


def _by_round(logs: "pd.Series[float]") -> list[list[float]]:
    return [group.tolist() for _, group in logs.dropna().groupby(level="round")]


def _compare(rounds: list[list[float]]) -> Comparison:
    """Of a round the mean of its slices' logarithms: each slice counts as much as any other."""
    return stats.compare([fmean(logs) for logs in rounds])


def _durations(frames: Frames, cells: set[str], pairs: int) -> tuple[float, float]:
    """Seconds that a pair of slices takes with all that goes with it, and what a round takes beside its pairs."""
    slices = frames.slices.sort_values([*STARTS, "begun_usec"])
    end = slices["begun_usec"] + slices["duration_usec"]
    begun = slices.groupby(STARTS)["begun_usec"]
    taken = (begun.shift(-1).fillna(end) - slices["begun_usec"]) / 1e6
    own, warmup = slices["cell"].isin(cells), slices["warmup"].astype(bool)
    rounds = begun.min().size
    first, last = begun.min().to_numpy(), end.groupby([slices[key] for key in STARTS]).max().to_numpy()
    number = begun.min().index.get_level_values("round").to_numpy()
    gaps = (first[1:] - last[:-1])[number[1:] != number[:-1]]  # others are breaks
    between = float(np.median(gaps)) / 1e6 if len(gaps) else float(frames.starts["start_seconds"].max())
    return float(taken[own & ~warmup].sum()) / pairs, between + float(taken[own & warmup].sum()) / rounds
