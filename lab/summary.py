"""Frames and plan -> summary.json, the contract that other programs rely on. docs/summary.md explains every field.

Right of the wall: a run's folder is enough, neither Docker nor MySQL is asked.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lab import figures, store
from lab.errors import BadInputError
from lab.figures import LegComparison, LegFigures, Steadiness
from lab.frames import Frames, load
from lab.latency import Pooled, pooled
from lab.model import Cell, Plan, SlicePlan
from lab.observation import WAYS
from lab.store import SCHEMA_VERSION, Resumed

FILE = "summary.json"
# Where these are null the machine could not tell: the figures stand without them, but it is said.
ADVISORY = {
    "cpu_usec": "CPU time of Kamailio's container",
    "throttled_periods": "throttling of Kamailio's container",
    "steal_usec": "steal on Kamailio's CPUs",
    "foreign_cpu_share": "what others took of Kamailio's CPUs",
}

MESSAGE_COLUMNS = ("round", "slice", "cell", "leg", "retransmission", "usec")  # that figures are made of

Start = tuple[int, str]  # round and cell


@dataclass(frozen=True, slots=True)
class CellSummary:
    """One cell. Its slices are counted as the plan has them, warm-up included, after repeats."""

    engine: str
    kamailio: str
    routing: str
    database: str
    scenario: str
    baseline: str
    legs: dict[str, LegFigures]  # none where latency lines are switched off
    whole: str  # what all legs together are called
    call_usec: float | None  # the sum of the legs' means
    retransmissions: int | None
    failed_calls_in_all: int
    retransmissions_in_all: int
    cpu_usec_per_call: float | None
    pooled: Pooled | None
    slices_valid: int
    slices_invalid: int
    slices_missing: int  # planned, but never run: the run was interrupted
    slices_repeated: int  # runs beyond the first
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Versioned:
    """What every version of the file has."""

    schema_version: int


@dataclass(frozen=True, slots=True)
class Summary(_Versioned):
    """A run in figures."""

    run: str
    experiment: str
    plan_hash: str
    valid: bool
    specimen: bool  # shown as found, by conditions that are not this lab's
    aa_cell: str
    cells: dict[str, CellSummary]
    broken: dict[str, str]  # cell -> why nothing of it counts
    comparisons: tuple[LegComparison, ...]  # by means
    rounds: tuple[Steadiness, ...]
    start_seconds: float | None  # the longest fresh start of all cells, from new databases until proven and rehearsed
    driver_share: float | None  # time between slices, of the load's own
    notes: tuple[str, ...]
    quantiles: tuple[LegComparison, ...] = ()  # by medians and tails; none in older files
    trimmed: tuple[LegComparison, ...] = ()  # by means without the slowest requests; none in older files


def write(run: Path) -> Summary:
    """Judge the run in this folder, from its plan, frames and status, and write summary.json beside them."""
    summary = _made_of(run)
    store.dump(summary, run / FILE)
    return summary


def _made_of(run: Path) -> Summary:
    plan = store.load(Plan, run / "evidence" / "plan.json")
    status = store.status(run)
    frames = load(run, MESSAGE_COLUMNS)
    return summarise(plan, frames, run=run.name, complete=status.complete, resumed=status.resumed)


def is_complete(run: Path) -> bool:
    """The run was sealed at its planned end."""
    return store.status(run).complete


def read(run: Path) -> Summary:
    """Read what `write` wrote, in this version or an earlier one."""
    plan = run / "evidence" / "plan.json"
    if not (run / FILE).exists() and plan.is_file() and store.load(Plan, plan).counting:
        raise BadInputError(f"{run.name}: is a count of instructions", remedy=f"lab report {run.name} shows it")
    version = store.load(_Versioned, run / FILE).schema_version  # first: fields differ from version to version
    store.require_known(version, run / FILE)
    return _made_of(run) if version < SCHEMA_VERSION else store.load(Summary, run / FILE)


def summarise(plan: Plan, frames: Frames, *, run: str, complete: bool, resumed: Sequence[Resumed] = ()) -> Summary:
    """Turn frames into figures; `complete`: the run was sealed at its planned end; `resumed`: after which breaks."""
    frames = _of_plan(plan, frames)
    starts = _judge_starts(plan, frames.starts, complete=complete)
    slices = _judged(plan, frames.slices, starts)
    timed = _timed(slices)
    messages = frames.messages[frames.messages["slice"].isin(timed["slice"])]
    cells = {cell.name: _cell(cell, plan, starts, _of(slices, cell), _of(messages, cell)) for cell in plan.cells}
    broken = {cell.name: why for cell in plan.cells if (why := _broken(cell, starts, _of(slices, cell)))}
    first = figures.first_transmissions(messages)
    # What is known not to work is no fault of the run: it is listed, and has no figures.
    judged = [cell.name for cell in plan.cells if not cell.known_broken or cell.name not in broken]
    proven = all(not reason for (_, name), reason in starts.items() if name in judged)
    return Summary(
        schema_version=SCHEMA_VERSION,
        run=run,
        experiment=plan.experiment,
        plan_hash=plan.hash,
        valid=complete and proven and all(_whole(cells[name]) for name in judged),
        specimen=plan.specimen is not None,
        aa_cell=plan.aa_cell,
        cells=cells,
        broken=broken,
        comparisons=tuple(figures.comparisons(plan, first)),
        rounds=tuple(figures.steadiness(plan, timed, first, planned.number) for planned in plan.rounds),
        start_seconds=None if frames.starts.empty else float(frames.starts["start_seconds"].max()),
        driver_share=_driver_share(slices, plan.at_once),
        notes=(*map(_told, resumed), *_notes(plan, broken, slices, complete=complete)),
        quantiles=tuple(figures.quantiles(plan, first)),
        trimmed=tuple(figures.trimmed_means(plan, first)),
    )


def timed_slices(plan: Plan, frames: Frames, *, complete: bool) -> pd.DataFrame:
    """The slices that figures are made of: valid, of a proven start, no warm-up."""
    frames = _of_plan(plan, frames)
    return _timed(_judged(plan, frames.slices, _judge_starts(plan, frames.starts, complete=complete)))


def _of_plan(plan: Plan, frames: Frames) -> Frames:
    """Without rounds that were begun and are not in the plan any more, since a declared rule was met before."""
    numbers = [planned.number for planned in plan.rounds]
    slices, starts = (one[one["round"].isin(numbers)] for one in (frames.slices, frames.starts))
    return replace(frames, slices=slices, starts=starts)


def _judged(plan: Plan, slices: pd.DataFrame, starts: Mapping[Start, str]) -> pd.DataFrame:
    """A slice is valid in a valid start only."""
    if plan.specimen:  # its slices are shown as found, every failed check beside them
        return slices.assign(valid=True)
    counted = [not starts.get((row["round"], row["cell"])) for row in _rows(slices, "round", "cell")]
    return slices.assign(valid=slices["valid"].astype(bool) & np.array(counted, dtype=bool))


def _timed(slices: pd.DataFrame) -> pd.DataFrame:
    return slices[slices["valid"] & ~slices["warmup"].astype(bool)]


def _of(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    return frame[frame["cell"] == cell.name]


def _rows(frame: pd.DataFrame, *columns: str) -> list[dict[Hashable, Any]]:
    return frame[list(columns)].to_dict("records")


def _judge_starts(plan: Plan, starts: pd.DataFrame, *, complete: bool) -> dict[Start, str]:
    """Why a start proves nothing; empty where it does. A run that broke off need not have all of them.

    The start of a Kamailio is that of every cell that it serves. Where a round was broken off and gone on with, each of
    its starts must be proven, and bindings are counted at the end of the last one.
    """
    served = {host.name: [cell.name for cell in plan.cells if plan.host(cell.name) == host.name] for host in plan.hosts}
    unknown = "this start has no record" if complete else ""
    reasons = {(planned.number, cell.name): unknown for planned in plan.rounds for cell in plan.cells}
    last = {(row["round"], row["cell"]): row["start"] for row in _rows(starts, "round", "cell", "start")}  # in order
    found: dict[Start, str] = {}
    for row in _rows(starts, "round", "cell", "reasons", "bindings", "start"):
        due = complete and row["start"] == last[row["round"], row["cell"]]
        uncounted = "database: bindings in location not counted" if due and pd.isna(row["bindings"]) else ""
        for name in served[row["cell"]]:
            key = row["round"], name
            found[key] = found.get(key) or row["reasons"] or uncounted
    return reasons | found


def _cell(
    cell: Cell, plan: Plan, starts: Mapping[Start, str], slices: pd.DataFrame, messages: pd.DataFrame
) -> CellSummary:
    """`slices` are all of the cell's, `messages` only those that count."""
    scenario = plan.scenario(cell.scenario)
    logged = WAYS[cell.observe].logged
    legs = figures.legs(figures.first_transmissions(messages), scenario.leg_names if logged else ())
    planned = [piece for number in plan.rounds for piece in number.slices if piece.cell == cell.name]
    begun = int(slices["slice"].isin([piece.id for piece in planned]).sum())
    timed = slices["valid"] & ~slices["warmup"].astype(bool)
    valid = int(timed.sum()) + _valid_warmups(slices, planned)
    return CellSummary(
        engine=cell.engine,
        kamailio=cell.kamailio,
        routing=cell.routing,
        database=cell.database,
        scenario=cell.scenario,
        baseline=cell.baseline,
        legs=legs,
        whole=scenario.whole,
        call_usec=figures.call_usec(legs),
        retransmissions=int(messages["retransmission"].sum()) if logged else None,
        failed_calls_in_all=int(slices["sipp_failed"].sum()),
        retransmissions_in_all=int(slices["sipp_retransmissions"].sum()),
        cpu_usec_per_call=figures.cpu_usec_per_call(slices[timed]),
        pooled=pooled(messages["usec"].tolist()) if logged else None,
        slices_valid=valid,
        slices_invalid=begun - valid,
        slices_missing=len(planned) - begun,
        slices_repeated=len(slices) - begun,
        reasons=tuple(_reasons(cell.name, starts, slices)),
    )


def _valid_warmups(slices: pd.DataFrame, planned: Sequence[SlicePlan]) -> int:
    """Of those that are planned and have begun; in a round that was gone on with on each of its starts there are some.

    Timed slices stand on the warm-ups of their own start, so the start that has fewest counts.
    """
    warmup = slices["warmup"].astype(bool)
    first = slices["slice"].isin([piece.id for piece in planned])
    found = 0
    for _, ran in slices.groupby("round"):
        begun = int((warmup & first)[ran.index].sum())
        by_start = (ran["valid"] & warmup[ran.index]).groupby(ran["start"]).sum()
        timed = (~warmup[ran.index]).groupby(ran["start"]).any()
        needed = by_start[timed] if timed.any() else by_start.groupby(lambda _: 0).sum()
        found += min(begun, int(needed.min()))
    return found


def _whole(cell: CellSummary) -> bool:
    return not cell.slices_invalid and not cell.slices_missing


def _broken(cell: Cell, starts: Mapping[Start, str], slices: pd.DataFrame) -> str:
    """Why nothing of a cell counts; empty where something does, or where nothing was tried yet."""
    timed = slices[~slices["warmup"].astype(bool)]
    if timed["valid"].any():
        return ""
    reasons = list(_reasons(cell.name, starts, timed))
    if not reasons:
        return ""
    known = f"; known: {cell.known_broken}" if cell.known_broken else ""
    return f"none of its {len(timed)} timed slices is valid; {reasons[0]}{known}"


def _reasons(cell: str, starts: Mapping[Start, str], slices: pd.DataFrame) -> Iterator[str]:
    """Every failed check: of starts, and of slices, those that were run again included."""
    for (number, name), reason in starts.items():
        if name == cell and reason:
            yield f"start r{number:02d}-{name}: {reason}"
    for row in _rows(slices, "slice", "reasons"):
        if row["reasons"]:
            yield f"{row['slice']}: {row['reasons']}"


def _driver_share(slices: pd.DataFrame, at_once: int) -> float | None:
    """What the driver adds to the load: from the first slice of a round to its last, over what was to be sent.

    So many slices at once share the same seconds.
    """
    if slices.empty:
        return None
    ends = slices["begun_usec"] + slices["duration_usec"]
    timed = slices[["round", "start"]].assign(begun=slices["begun_usec"], end=ends)
    rounds = timed.groupby(["round", "start"])  # between two starts of a round lies the break
    load_usec = (slices["calls"] / slices["offered_rate_per_s"]).sum() * 1e6 / at_once
    return float((rounds["end"].max() - rounds["begun"].min()).sum() / load_usec - 1)


def _told(resumed: Resumed) -> str:
    how = {"interrupted": "it had been interrupted", "failed": "it had failed", "killed": "its driver had been killed"}
    after = f"after {resumed.after}" if resumed.after else "before its first slice"
    return f"resumed {after}, at {resumed.at}: {how.get(resumed.ended, resumed.ended)}"


def _notes(plan: Plan, broken: Mapping[str, str], slices: pd.DataFrame, *, complete: bool) -> Iterator[str]:
    if not complete:
        yield "the run was not sealed as complete: it was interrupted, or has failed"
    if plan.specimen:
        yield "a specimen: it repeats another experiment's conditions; its figures are shown as found and prove nothing"
    if plan.looks:
        sure = (
            f"it may stop after {', '.join(map(str, plan.looks))} rounds, so each interval is at {1 - plan.alpha:.1%}"
        )
        yield f"stopped after {plan.stopped_after} rounds: {sure}" if plan.stopped_after else sure
    yield from (f"left out: {what}" for what in plan.left_out)
    yield from (f"Kamailio {release} is a variant, {variant}" for release, variant in plan.variants.items())
    for cell in plan.cells:
        if complete and cell.known_broken and cell.name not in broken:
            yield f"{cell.name} works, though images/versions.toml says that it is broken: {cell.known_broken}"
    if limited := int(slices["generator_limited"].fillna(value=False).sum()):
        yield f"SIPp, not Kamailio, was the limit in {limited} of {len(slices)} slices (generator_limited)"
    for column, what in ADVISORY.items():
        if slices[column].isna().any():
            yield f"not measured on this machine: {what}"
