"""From the profiles of a run to instructions per request: `counts.json`, explained in docs/counting.md."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import store
from lab.counts import callgrind, crossings, probed, record, shares
from lab.counts.callgrind import Block, Part, Request
from lab.counts.probed import CellTime, ProbeRecord
from lab.counts.record import CountRecord
from lab.errors import BadInputError
from lab.model import Cell, Counting, Plan

FILE = "counts.json"
RECEIVE = "receive_msg"  # all that a worker does for a request: see images/counter/kamailio
ROUTES = frozenset({"run_top_route", "sr_kemi_route"})  # request_route, natively and of a script


@dataclass(frozen=True, slots=True)
class LegCount:
    """Instructions of one request of a leg: means of all that were counted."""

    instructions: float  # of receive_msg
    route: float  # of these, in request_route: what a latency line has the time of
    of_rounds: tuple[float, ...]  # the mean of each fresh start
    least: int  # of a request
    most: int
    shares: dict[str, float]  # whose they are: lab.counts.shares
    crossings: float  # calls into KEMI
    crossing: float | None  # instructions of one of them, there and back

    @property
    def spread(self) -> float | None:
        """How far the means of fresh starts are apart, as a share; unknown of one."""
        if len(self.of_rounds) < 2:  # noqa: PLR2004
            return None
        return (max(self.of_rounds) - min(self.of_rounds)) / self.instructions


@dataclass(frozen=True, slots=True)
class CellCount:
    """One cell."""

    engine: str
    kamailio: str
    routing: str
    memory: str
    baseline: str
    whole: str  # what all legs together are called
    of_rounds: tuple[float, ...]  # what a call takes, the mean of each fresh start
    legs: dict[str, LegCount]
    time: CellTime | None = None  # as it runs without valgrind, where that was looked at

    @property
    def instructions(self) -> float:
        """Of a whole call."""
        return sum(self.of_rounds) / len(self.of_rounds)


@dataclass(frozen=True, slots=True)
class Counts:
    """All of a run. `valid`: it came to its end, and every cell was counted in every fresh start."""

    schema_version: int
    run: str
    experiment: str
    plan_hash: str
    ended: str
    valid: bool
    counting: Counting
    rounds: int
    cells: dict[str, CellCount]
    notes: tuple[str, ...]
    ratios: dict[str, dict[str, float]] = field(default_factory=dict)  # see the function of that name


@dataclass(slots=True)
class Requests:
    """Those of one leg in one fresh start: all of them together, and what each took."""

    blocks: Counter[Block] = field(default_factory=Counter)
    totals: list[int] = field(default_factory=list)

    def add(self, request: Request) -> None:
        """One more."""
        self.blocks.update(request.blocks)
        self.totals.append(request.total)


Profiles = dict[str, list[dict[str, Requests]]]  # cell -> fresh start -> leg


def is_one(folder: Path) -> bool:
    """Whether a run's folder has counts, if there are any yet, and no slices to compare."""
    plan = folder / "evidence" / "plan.json"
    return plan.is_file() and store.load(Plan, plan).counting is not None


def write(folder: Path, profiles: Profiles | None = None) -> Counts:
    """Compute it, and keep it in the run's folder."""
    found = compute(folder, profiles)
    store.dump(found, folder / FILE)
    return found


def read(folder: Path) -> Counts:
    """What was kept; computed where it was not."""
    kept = folder / FILE
    return store.load(Counts, kept) if kept.exists() else write(folder)


def collect(folder: Path) -> Profiles:
    """All that was counted, by cells and fresh starts: read from the evidence, which takes some seconds each."""
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    if plan.counting is None:
        raise BadInputError(f"{folder.name}: nothing was counted in it", remedy="lab count counts")
    found: Profiles = {cell.name: [] for cell in plan.cells}
    for place, kept in _records(folder):
        if not kept.reasons:
            found[kept.cell].append(_requests(plan.counting, place, kept))
    return found


def compute(folder: Path, profiles: Profiles | None = None) -> Counts:
    """From the evidence alone, of which the `profiles` may have been read before."""
    seen = collect(folder) if profiles is None else profiles
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    ended = store.status(folder).ended or "not ended"
    times = _times(folder, plan)
    cells = {cell.name: replace(_cell(plan, cell, seen[cell.name]), time=times[cell.name]) for cell in plan.cells}
    sound = [cells[cell.name] for cell in plan.cells if not cell.known_broken]
    found = Counts(
        schema_version=store.SCHEMA_VERSION,
        run=folder.name,
        experiment=plan.experiment,
        plan_hash=plan.hash,
        ended=ended,
        valid=ended == "complete" and all(_whole(cell, plan) for cell in sound),
        counting=plan.counting or Counting(),
        rounds=len(plan.rounds),
        cells=cells,
        notes=tuple(_notes(plan, [kept for _, kept in _records(folder)], [kept for _, kept in _probed(folder)])),
    )
    return replace(found, ratios={name: dict(known) for name, known in ratios(found).items()})


def _whole(cell: CellCount, plan: Plan) -> bool:
    """Counted, and looked at where it should be, in every fresh start."""
    seen = [*cell.legs.values(), *(cell.time.legs.values() if cell.time else ())]
    looked = bool(cell.time) or not (plan.counting and plan.counting.probes)
    return bool(cell.legs) and looked and all(len(leg.of_rounds) == len(plan.rounds) for leg in seen)


def _records(folder: Path) -> list[tuple[Path, CountRecord]]:
    return list(store.records(CountRecord, folder / "evidence" / record.FOLDER, record.RECORD))


def _probed(folder: Path) -> list[tuple[Path, ProbeRecord]]:
    return list(store.records(ProbeRecord, folder / "evidence" / probed.FOLDER, probed.RECORD))


def _times(folder: Path, plan: Plan) -> dict[str, CellTime | None]:
    """Of each cell: what the kernel has seen in its fresh starts."""
    starts: dict[str, list[tuple[ProbeRecord, list[probed.Seen]]]] = {cell.name: [] for cell in plan.cells}
    for place, kept in _probed(folder):
        if not kept.reasons:
            starts[kept.cell].append((kept, probed.read(place, kept)))
    try:
        return {name: probed.together(seen) for name, seen in starts.items()}
    except (ValueError, LookupError, ZeroDivisionError) as error:  # blocks that no run of ours has kept
        raise BadInputError(f"{folder / 'evidence' / probed.FOLDER}: does not fit together: {error!r}") from error


def _cell(plan: Plan, cell: Cell, starts: Sequence[Mapping[str, Requests]]) -> CellCount:
    legs = {name: _leg([start[name] for start in starts]) for name in (starts[0] if starts else ())}
    scenario = plan.scenario_of(cell.name)
    return CellCount(
        engine=cell.engine,
        kamailio=cell.kamailio,
        routing=cell.routing,
        memory=cell.memory,
        baseline=cell.baseline,
        whole=scenario.whole,
        of_rounds=tuple(
            map(sum, zip(*(legs[rule.leg].of_rounds for rule in scenario.legs), strict=True)) if legs else ()
        ),
        legs=legs,
    )


def _requests(counting: Counting, folder: Path, found: CountRecord) -> dict[str, Requests]:
    """The counted parts of one profile, by legs: calls came one by one, so each has its requests in their order."""
    wanted = range(found.parts - counting.calls * len(found.legs), found.parts)
    legs = {name: Requests() for name in found.legs}
    with record.profile(folder) as lines:
        for number, request in enumerate(callgrind.requests(lines, wanted)):
            legs[found.legs[number % len(found.legs)]].add(request)
    if sum(len(leg.totals) for leg in legs.values()) != len(wanted):
        raise BadInputError(f"{folder / record.PROFILE}: has fewer parts than {found.parts}, which its record says")
    return legs


def _leg(starts: Sequence[Requests]) -> LegCount:
    """Of the requests of each fresh start."""
    whole, totals = Part(), [total for start in starts for total in start.totals]
    for start in starts:
        whole.add(start.blocks)
    found, number = crossings.of(whole), len(totals)
    return LegCount(
        instructions=whole.total / number,
        route=_route(whole) / number,
        of_rounds=tuple(sum(start.totals) / len(start.totals) for start in starts),
        least=min(totals),
        most=max(totals),
        shares=_shares(whole, number),
        crossings=found.number / number,
        crossing=found.instructions / found.number if found.number else None,
    )


def _route(part: Part) -> int:
    return sum(
        instructions
        for arc, instructions in part.inclusive.items()
        if arc.caller.name == RECEIVE and arc.callee.name in ROUTES
    )


def _shares(part: Part, number: int) -> dict[str, float]:
    found: dict[str, int] = {}
    for function, instructions in part.own.items():
        share = shares.of(function)
        found[share] = found.get(share, 0) + instructions
    return {name: found[name] / number for name in shares.in_order(set(found))}


def _notes(plan: Plan, kept: Sequence[CountRecord], looked: Sequence[ProbeRecord]) -> Iterator[str]:
    yield from (f"left out: {left_out}" for left_out in plan.left_out)
    for cell in plan.cells:
        if cell.known_broken:
            yield f"{cell.name}: known to be broken: {cell.known_broken}"
    for found in kept:
        yield from (f"round {found.round}, {found.cell}: {reason}" for reason in found.reasons)
    for one in looked:
        yield from (f"round {one.round}, {one.cell}, by probes: {reason}" for reason in one.reasons)


def ratios(counts: Counts) -> Mapping[str, Mapping[str, float]]:
    """Of each cell that is compared: instructions of its baseline's legs that it has, too, as a multiple of those.

    Where both have the same legs, and several, all of a call as well, which comes first.
    """
    return {
        name: dict(_ratios(cell, counts.cells[cell.baseline]))
        for name, cell in counts.cells.items()
        if cell.baseline != name and cell.baseline in counts.cells
    }


def _ratios(cell: CellCount, baseline: CellCount) -> Iterator[tuple[str, float]]:
    if len(cell.legs) > 1 and cell.legs.keys() == baseline.legs.keys():
        yield cell.whole, cell.instructions / baseline.instructions
    for leg, found in cell.legs.items():
        if leg in baseline.legs:
            yield leg, found.instructions / baseline.legs[leg].instructions
