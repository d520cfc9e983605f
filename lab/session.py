"""The rounds of a run: fresh start, proof, slices, bindings. Evidence is written as soon as there is some."""

import gzip
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from lab import edges, ending, latency, load, logs, override, sampling, store, turns
from lab import plan as planning
from lab.cores import Layout
from lab.database import Database, name_of, template_of
from lab.deltas import elapsed
from lab.execution import Answer, Held
from lab.latency import Times
from lab.model import Cell, Limits, Plan, Role, RoundPlan, Sample, Scenario, SlicePlan, SliceRecord, StartRecord, nth
from lab.observation import WAYS
from lab.rest import Rest
from lab.running import Running
from lab.search import failures
from lab.starts import Starts
from lab.station import Holder, Station
from lab.testbed import Testbed


class Reporter(Protocol):
    """Who hears what happens while it happens."""

    def stage(self, text: str) -> None:
        """Something other than load is going on."""

    def detail(self, text: str) -> None:
        """A line of what that is about, such as a build's."""

    def slice_done(self, record: SliceRecord) -> None:
        """One more slice has ended."""

    def round_done(self, number: int, so_far: Running) -> None:
        """One more round has ended; what all of them say until now."""

    def note(self, text: str) -> None:
        """Something that a user should know."""


@dataclass(frozen=True, slots=True)
class Judges:
    """Who says whether a slice, or a start, is what it should be: reasons, none meaning valid."""

    slice: Callable[[SliceRecord, Limits, Scenario], tuple[str, ...]]
    start: Callable[[StartRecord], tuple[str, ...]]


@dataclass(slots=True)
class Session:
    """What all rounds of a run share."""

    plan: Plan
    layout: Layout
    run: store.Run
    bed: Testbed
    databases: Mapping[str, Database]  # by server
    holder: Holder
    judges: Judges
    reporter: Reporter
    running: Running = field(default_factory=Running)  # what the slices so far say

    def only(self, *cells: Cell, counted: bool = True) -> "Session":
        """The same for some cells; without rounds. Not `counted`: without valgrind, though it may be there."""
        plan = planning.only(self.plan, *cells)
        if not counted:
            plan = replace(plan, counting=None)
        return replace(self, plan=plan, bed=self.bed.only(plan))

    def round(self, planned: RoundPlan, left: Rest) -> None:
        """One fresh start of every cell (those that share a Kamailio: of that), and all slices that are left."""
        self.reporter.stage(f"round {planned.number} of {len(self.plan.rounds)}: fresh start of all cells")
        with self.fresh(planned.number, left.start) as (starts, stations):
            for start in starts.values():
                self.running.spoil(start.cell, start.reasons)
            proven = {name: stations[name] for name, start in starts.items() if not start.reasons}
            self._slices(planned.number, left, proven)
            with ending.collecting(lambda: self.reporter.note("finishing this round; Ctrl-C again ends it at once")):
                self._bindings(left, starts, stations)
        self.reporter.round_done(planned.number, self.running)

    def next_start(self, number: int, cells: Iterable[Cell]) -> int:
        """Of cells that come up together in a round: later than any of which one of them has left something."""
        names = {f"r{number:02d}-{cell.name}" for cell in cells}
        there = {path.name for kind in ("starts", "remains") for path in (self.run.evidence / kind).glob("r*")}
        return 1 + max((start for name in names for start in _numbers(name, there)), default=0)

    @contextmanager
    def fresh(self, number: int, start: int = 1) -> Iterator[tuple[dict[str, StartRecord], dict[str, Station]]]:
        """Every cell anew, with an empty database, and with what its start has shown. All are gone afterwards."""
        begun = time.monotonic()
        for cell in self.plan.hosts:
            self.databases[cell.database].renew(name_of(cell.name), template_of(cell.kamailio))
        with self.bed.fresh_start(self.holder) as stations:
            for station in stations.values():
                station.start = start
            try:
                fresh = Starts(self.plan, self.layout, self.run, self.holder, self.judges.start)
                starts = fresh.prove(number, stations, begun)
                for record in starts.values():
                    for reason in record.reasons:
                        self.reporter.note(f"round {number}, {record.cell}: {reason}")
                yield starts, stations
            except BaseException:
                self._remains(number, stations)
                raise

    def _remains(self, number: int, stations: dict[str, Station]) -> None:
        """A round that broke off: what its containers still have, as far as that can be had."""
        for name, station in stations.items():
            # Whatever goes wrong here: the error that broke the round off is the one to be told.
            part = nth(f"r{number:02d}-{name}", station.start)
            with suppress(Exception), self.run.part("remains", part) as folder:
                station.remains(folder)

    def _slices(self, number: int, left: Rest, stations: dict[str, Station]) -> None:
        """The planned order; an invalid slice goes to the end of the queue once more. `stations` are of the hosts.

        Where cells take turns all of a block are under load in the same seconds, and are run again together.
        """
        queue = deque([piece for piece in block if self.plan.host(piece.cell) in stations] for block in left.blocks)
        position = left.position
        too_much = {piece.cell: piece.rate_per_s for block in queue for piece in block}
        while queue:
            block = queue.popleft()
            seen = self._block([(piece, stations[self.plan.host(piece.cell)]) for piece in block])
            repeats = []
            for piece, (record, times) in zip(block, seen, strict=True):
                if record.reasons and piece.attempt <= self.plan.repeats:
                    position += 1
                    repeats.append(planning.again(piece, position))
                if record.valid or not failures(record, self.plan.limits, self.plan.scenario_of(piece.cell)):
                    too_much.pop(piece.cell, None)
                self.running.add(record, times, last=piece.attempt > self.plan.repeats)
                self.reporter.slice_done(record)
            if repeats:
                # A warm-up only warms what comes after it.
                (queue.appendleft if repeats[0].warmup else queue.append)(repeats)
        remedy = '. Offer fewer, or let the lab find what can be served: rate_per_s = "auto" (docs/capacity.md)'
        for name, rate in too_much.items():
            self.reporter.note(
                f"round {number}, {name}: {rate} calls/s is more than it serves: every slice had failures"
                f"{'' if self.plan.specimen else remedy}"  # which has the rate of what it repeats
            )

    def slice(self, piece: SlicePlan, station: Station, *, keep_log: bool = True) -> SliceRecord:
        """One slice by itself."""
        ((record, _),) = self._block([(piece, station)], keep_log=keep_log)
        return record

    def _block(
        self, pieces: Sequence[tuple[SlicePlan, Station]], *, keep_log: bool = True
    ) -> list[tuple[SliceRecord, Times]]:
        """Edges, load, edges of slices that share their seconds; then logs, verdicts, and the seal of each.

        A slice of several has the same seconds as the others, with its own part of them. Who asks for an end meanwhile
        gets it when they are sealed, who asks twice at once.
        """
        if not pieces:
            return []
        with ending.collecting(lambda: self.reporter.note("finishing this slice; Ctrl-C again ends it at once")):
            return self._collected(pieces, keep_log=keep_log)

    def _collected(
        self, pieces: Sequence[tuple[SlicePlan, Station]], *, keep_log: bool
    ) -> list[tuple[SliceRecord, Times]]:
        cpus = self.layout.cpus[Role.KAMAILIO]
        for piece, station in pieces:
            station.log_latency(wanted=WAYS[self.plan.cell(piece.cell).observe].logged)
        asked = [(station, self.databases[station.cell.database]) for _, station in pieces]
        with ThreadPoolExecutor(len(pieces)) as pool:
            try:
                before, aimed = edges.before(
                    asked, cpus, lambda: list(pool.map(self._aim, *zip(*pieces, strict=True), range(len(pieces))))
                )
                fired = list(pool.map(Station.fire, aimed))
            except BaseException:  # nobody waits for the load to end by itself
                for _, station in pieces:
                    station.cut_off()
                raise
        after = edges.after(asked, cpus)
        with ExitStack() as stack:
            folders = stack.enter_context(self.run.parts("slices", [piece.id for piece, _ in pieces]))
            seen = [
                self._seen(piece, station, folder, at, answers)
                for (piece, station), folder, at, answers in zip(
                    pieces, folders, zip(before, after, strict=True), fired, strict=True
                )
            ]
            records = self._judged([record for record, _, _ in seen])
            for folder, record in zip(folders, records, strict=True):
                store.dump(record, folder / "slice.json")
                if keep_log:
                    logs.compress(folder)
                else:
                    (folder / logs.NAME).unlink()
        for (piece, station), (_, _, size) in zip(pieces, seen, strict=True):
            station.log_offset += size  # only now: what a broken slice has logged is still to be had
            if not keep_log:
                station.drop_log()
            files = (name for part in load.of_slice(self.plan, piece) for name in load.files(piece, part))
            self.holder.remove([*(f"{override.VOLUME}/{name}" for name in files), load.MESSAGES])
        return [(record, times) for record, (_, times, _) in zip(records, seen, strict=True)]

    def _aim(self, piece: SlicePlan, station: Station, turn: int) -> list[Held]:
        return station.aim(load.command(self.plan, piece, part, turn) for part in load.of_slice(self.plan, piece))

    def _seen(
        self, piece: SlicePlan, station: Station, folder: Path, at: tuple[Sample, Sample], fired: Sequence[Answer]
    ) -> tuple[SliceRecord, Times, int]:
        """A slice as it was, its logs fetched into its folder; what requests took; how much Kamailio has logged."""
        parts = load.of_slice(self.plan, piece)
        files = {name: kept for part in parts for name, kept in load.files(piece, part).items()}
        scenario, way = self.plan.scenario_of(piece.cell), WAYS[self.plan.cell(piece.cell).observe]
        received = [edge.statistics.get(sampling.RECEIVED, 0) for edge in at]
        size = station.fetch(folder, (received[1] - received[0]) * way.logged, files)
        if way.colour:
            _in_our_form(folder)
        times: Times = {}
        with (folder / logs.NAME).open("rb") as log:
            tally = latency.tally(log, piece.call_id_prefix, scenario.legs, times)
        record = SliceRecord(
            plan=piece,
            engine=station.cell.engine,
            before=at[0],
            after=at[1],
            sipp=load.together(
                [
                    load.outcome(
                        folder / load.name_of(load.STATISTICS_NAME, part),
                        load.call_limit(self.plan, part),
                        answer.code,
                        answer.last_words,
                    )
                    for part, answer in zip(parts, fired, strict=True)
                ]
            ),
            tally=tally,
            kamailio_cpus=len(self.layout.cpus[Role.KAMAILIO]),
            beside_kamailio=self.layout.beside(Role.KAMAILIO),
            logged=way.logged,
            longest_wait_msec=turns.longest_wait(self.plan.turn_msec, len(self.plan.cells)),
            start=station.start,
        )
        return record, times, size

    def _judged(self, records: Sequence[SliceRecord]) -> tuple[SliceRecord, ...]:
        """Slices of one block, each with the verdict. Those that shared their seconds are valid or invalid together."""
        judged = []
        for record in records:
            others = [other for other in records if other is not record]
            # Where another role has the same CPUs, its containers of other cells are there as well.
            told = replace(
                record,
                beside_kamailio=None if others and record.beside_kamailio else record.beside_kamailio,
                neighbours_cpu_usec=_sum(elapsed(lambda sample: sample.cpu_usec)(other) for other in others),
                neighbours_sipp_cpu_usec=_sum(elapsed(lambda sample: sample.sipp_cpu_usec)(other) for other in others),
            )
            reasons = self.judges.slice(told, self.plan.limits, self.plan.scenario_of(record.plan.cell))
            judged.append(replace(told, reasons=reasons))
        return _all_or_none(judged, self.plan)

    def _bound(self, cell: str, calls: int) -> int | None:
        """How many subscribers have a binding after so many calls; unknown of a specimen."""
        scenario = self.plan.scenario_of(cell)
        if self.plan.specimen:
            return None
        if not scenario.bindings:
            return 0
        subscribers = self.plan.cell(cell).subscribers
        return subscribers if scenario.setup else min(calls, subscribers)

    def _bindings(self, left: Rest, starts: dict[str, StartRecord], stations: dict[str, Station]) -> None:
        """Kamailio writes its bindings back when it ends in order: one for each subscriber that registered.

        (`ul.flush` by RPC writes nothing in this database mode, and says that all is well: decision 0012.)
        """
        # Whose end is known to fail does not get as far as writing them: these are counted in its memory.
        in_memory = {
            name: station.contacts()
            for name, station in stations.items()
            if station.cell.known_end and not starts[name].reasons
        }
        with ThreadPoolExecutor(len(stations)) as pool:
            codes = dict(zip(stations, pool.map(Station.stop, stations.values()), strict=True))
        calls = dict.fromkeys(starts, 1)  # the rehearsal's
        for piece in (piece for block in left.blocks for piece in block):
            host = self.plan.host(piece.cell)
            calls[host] = max(calls[host], piece.calls)
        for name, start in starts.items():
            if start.reasons:
                continue
            folder = self.run.evidence / "starts" / start.id
            station = stations[name]
            store.write_atomically(folder / "kamailio-end.log", station.log(station.log_offset))
            counted = replace(
                start,
                exit_code=codes[name],
                exit_code_known=station.cell.known_end,
                bindings=(
                    in_memory[name]
                    if name in in_memory
                    else self.databases[station.cell.database].bindings(name_of(name))
                ),
                bindings_expected=self._bound(name, calls[name]),
            )
            counted = replace(counted, reasons=self.judges.start(counted))
            for reason in counted.reasons:
                self.reporter.note(f"round {start.round}, {name}: {reason}")
            self.running.spoil(name, counted.reasons)
            store.dump(counted, folder / "start.json")


def _numbers(name: str, there: Iterable[str]) -> Iterator[int]:
    """Which ones of that name there are: see nth."""
    for other in there:
        number = other.removeprefix(f"{name}-again")
        if other == name:
            yield 1
        elif number != other and number.isdecimal():
            yield 1 + int(number)


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Unknown where one of them is."""
    known = list(numbers)
    return None if None in known else sum(filter(None, known))


def _all_or_none(records: Sequence[SliceRecord], plan: Plan) -> tuple[SliceRecord, ...]:
    """What disturbed one slice of a block was there for all, and all are run again.

    But a cell that fails in each attempt, or is known to, fails by itself: it does not keep the others from a result.
    """

    def condemns(record: SliceRecord) -> bool:
        again = record.plan.attempt <= plan.repeats
        return bool(record.reasons) and again and not plan.cell(record.plan.cell).known_broken

    bad = next((record.plan.cell for record in records if condemns(record)), "")
    reason = f"{bad}, which had its turns in the same seconds, was invalid"
    return tuple(record if record.reasons or not bad else replace(record, reasons=(reason,)) for record in records)


def _in_our_form(folder: Path) -> None:
    """A log as the page of 2018 has it, kept as it was and, in its place, as the lab reads it."""
    log, raw = folder / logs.NAME, folder / logs.RAW
    with log.open("rb") as lines, gzip.open(raw, "wb", compresslevel=1) as kept:
        shutil.copyfileobj(lines, kept)
    with gzip.open(raw, "rb") as lines, log.open("wb") as ours:
        ours.writelines(latency.plain(line) for line in lines)
