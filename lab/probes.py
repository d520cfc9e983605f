"""Looks at a cell's worker through the kernel while Kamailio runs without valgrind: `lab count --probes`.

Calls come one by one, as where they are counted. Unlike that it takes time, so what else the machine does is in it.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from lab import latency, load, logs, sampling, starts, store
from lab.counts import probed
from lab.counts.probed import BLOCKS, CALLS, UP, Block, ProbeRecord
from lab.errors import BadInputError, SetupError, TestbedError
from lab.execution import Watch
from lab.model import Cell, Scenario, StartRecord
from lab.session import Session
from lab.station import Station

if TYPE_CHECKING:
    from docker.models.containers import Container

LOOKS = 50  # at the log, for the last line, which comes after its reply
REMEDY = (
    "it takes a kernel with BTF (/sys/kernel/btf/vmlinux), uprobes and perf events, and an engine that may give a "
    "container SYS_ADMIN and SYS_PTRACE: see docs/counting.md. Without --probes instructions are counted all the same"
)


class ProbesError(SetupError):
    """The machine, or its engine, does not let us look."""


@dataclass(slots=True)
class _Look:
    """A cell while it is looked at, and what was seen of it."""

    cell: Cell
    folder: Path
    station: Station
    started: StartRecord
    scenario: Scenario
    worker: int = 0
    watcher: "Container | None" = None
    legs: tuple[str, ...] = ()
    blocks: list[Block] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    refused: dict[bool, ProbesError] = field(default_factory=dict)  # with bpftrace's probes, or without

    def require_life(self) -> None:
        """TestbedError where its Kamailio has ended: then nobody else is to blame."""
        if ended := self.station.ended():
            raise TestbedError(ended)

    @contextmanager
    def trying(self, *, with_probes: bool = False) -> Iterator[None]:
        """What goes wrong with one cell does not keep the others waiting."""
        try:
            yield
        except ProbesError as error:
            self.refused[with_probes] = error
            self.reasons.append(f"{error}: {(error.detail.splitlines() or [''])[-1]}")
        except (TestbedError, BadInputError) as error:
            self.reasons.append(str(error))


def look(session: Session, cells: Sequence[Cell], number: int, been: Collection[ProbeRecord]) -> list[ProbeRecord]:
    """One fresh start of cells in a round, block by block in turn, and its evidence; `been` are those of this run.

    Neighbours in time are what is compared. ProbesError where it cannot work on this machine: as long as it never has.
    """
    begun, start = time.monotonic(), session.next_start(number, cells)
    try:
        with session.only(*cells, counted=False).fresh(number, start) as (started, stations):
            up = {cell: (started[cell.name], stations[cell.name]) for cell in cells}
            return _all(session, number, begun, up, been)
    except TestbedError as error:  # one has not come up; the others may
        ill = [cell for cell in cells if error.cell in {"", cell.name}]
        kept = []
        for cell in ill:
            record = ProbeRecord(number, cell.name, 0.0, reasons=(str(error),), attempt=_attempt(been, number, cell))
            _keep(session, record)
            kept.append(record)
        well = [cell for cell in cells if cell not in ill]
        return kept + (look(session, well, number, [*been, *kept]) if well else [])


def _attempt(been: Collection[ProbeRecord], number: int, cell: Cell) -> int:
    return 1 + sum((one.round, one.cell) == (number, cell.name) for one in been)


def _keep(session: Session, record: ProbeRecord, folder: Path | None = None) -> None:
    """Into its folder, or where there is none, into one of its own."""
    for reason in record.reasons:
        session.reporter.note(f"round {record.round}, {record.cell}, by probes: {reason}")
    if folder is not None:
        store.dump(record, folder / probed.RECORD)
        return
    with session.run.part(probed.FOLDER, record.id) as made:
        store.dump(record, made / probed.RECORD)


def _all(
    session: Session,
    number: int,
    begun: float,
    up: Mapping[Cell, tuple[StartRecord, Station]],
    been: Collection[ProbeRecord],
) -> list[ProbeRecord]:
    attempts = {cell.name: _attempt(been, number, cell) for cell in up}
    parts = [ProbeRecord(number, name, 0.0, attempt=attempt).id for name, attempt in attempts.items()]
    with session.run.parts(probed.FOLDER, parts) as folders:
        looks = [
            _Look(cell, folder, station, started, session.plan.scenario_of(cell.name))
            for folder, (cell, (started, station)) in zip(folders, up.items(), strict=True)
        ]
        with ExitStack() as stack:
            for one in looks:
                with one.trying():
                    _begin(session, one, stack)
            for at, with_probes in enumerate(BLOCKS, start=1):
                for one in (one for one in looks if not one.reasons):
                    with one.trying(with_probes=with_probes):
                        _block(one, at, with_probes=with_probes)
                refused = next((one.refused[with_probes] for one in looks if with_probes in one.refused), None)
                worked = {block.probed for seen in (looks, been) for one in seen for block in one.blocks}
                if refused and with_probes not in worked:
                    raise refused
        for one in looks:
            if one.reasons:
                with suppress(TestbedError):  # its last words
                    one.station.remains(one.folder)
            else:
                with one.trying():
                    _end(one)
        records = [
            ProbeRecord(
                *(number, one.cell.name, round(time.monotonic() - begun, 1), one.legs, tuple(one.blocks)),
                tuple(one.reasons),
                attempts[one.cell.name],
            )
            for one in looks
        ]
        for one, record in zip(looks, records, strict=True):
            _keep(session, record, one.folder)
    return records


def _begin(session: Session, one: _Look, stack: ExitStack) -> None:
    """All that precedes its first block."""
    if one.started.reasons:
        raise TestbedError(f"cell {one.cell.name}: {'; '.join(one.started.reasons)}")
    one.worker = sampling.only_worker(one.cell.name, one.started.processes)
    one.legs = starts.legs_of_call(session.run, one.started, one.scenario)
    _send(one.station, one.scenario)  # to warm up
    one.station.skip()
    try:
        one.watcher = stack.enter_context(session.bed.probes(one.cell))
    except SetupError as error:
        one.require_life()
        raise ProbesError(
            f"what looks at Kamailio cannot be started: {error}", detail=error.detail, remedy=REMEDY
        ) from error


def _end(one: _Look) -> None:
    one.station.fetch(one.folder)
    logs.compress(one.folder)
    code = one.station.stop()
    if code != one.cell.known_end:
        raise TestbedError(f"Kamailio ended with exit code {code}")


def _block(one: _Look, number: int, *, with_probes: bool) -> None:
    """Some calls, and in a file what was seen of them."""
    if one.watcher is None:
        raise TestbedError("nobody looks")
    before, log = one.station.log_size(), b""
    watch = Watch(one.watcher, ["watch", str(one.worker), "trace" if with_probes else "idle"], UP)
    try:
        if watch.up:
            _send(one.station, one.scenario)
            log = _log(one.station, before, CALLS * len(one.scenario.legs))
    finally:
        answer = watch.end()
    if not watch.up or answer.code != 0:
        one.require_life()
        message = f"{'the probes' if with_probes else 'perf'} cannot be used here"
        raise ProbesError(message, detail=answer.last_words, remedy=REMEDY)
    place = one.folder / probed.block_file(number)
    store.write_atomically(place, answer.out)
    times: latency.Times = {}
    tally = latency.tally(log, "", one.scenario.legs, times)
    usec = {leg: float(median(found.elements())) for leg, found in times.items()}
    errors = tally.error_count + tally.malformed_count
    block = Block(with_probes, CALLS, dict(tally.messages), usec, errors)
    if said := probed.problem(block, probed.parse(place.read_text(encoding="utf-8")), one.legs):
        raise TestbedError(f"block {number}: {said}")
    one.blocks.append(block)


def _send(station: Station, scenario: Scenario) -> None:
    calls = load.parts(CALLS, load.ONE_BY_ONE_PER_S, station.cell.subscribers)
    if said := station.rehearse(scenario, calls, one_by_one=True):
        raise TestbedError(said)


def _log(station: Station, offset: int, lines: int) -> bytes:
    """What was logged since, once all of it is there."""
    log = b""
    for _ in range(LOOKS):
        log = station.log(offset)
        if log.count(latency.MARKER.encode()) >= lines:
            break
        time.sleep(0.1)  # between two looks
    return log
