"""Looks at a cell's worker through the kernel while Kamailio runs without valgrind: `lab count --probes`.

Calls come one by one, as where they are counted. Unlike that it takes time, so what else the machine does is in it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from lab import latency, load, logs, store
from lab.counts import probed
from lab.counts.probed import UP, Block, ProbeRecord
from lab.errors import BadInputError, SetupError, TestbedError
from lab.execution import Watch
from lab.model import Cell, Scenario
from lab.sampling import workers
from lab.session import Session
from lab.station import Station

if TYPE_CHECKING:
    from docker.models.containers import Container

BLOCKS = (False, True, True, False) * 4  # with probes or without: neither is always the later
CALLS = 150  # of each
LOOKS = 50  # at the log, for the last line, which comes after its reply
REMEDY = (
    "it takes a kernel with BTF (/sys/kernel/btf/vmlinux), uprobes and perf events, and an engine that may give a "
    "container SYS_ADMIN and SYS_PTRACE: see docs/counting.md. Without --probes instructions are counted all the same"
)


class ProbesError(SetupError):
    """The machine, or its engine, does not let us look."""


@dataclass(slots=True)
class _Seen:
    """What one start has shown."""

    legs: tuple[str, ...] = ()
    blocks: list[Block] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def look(session: Session, cell: Cell, number: int, start: int, attempt: int) -> None:
    """One fresh start of a cell in a round, and its evidence. ProbesError where that cannot work on this machine."""
    begun, seen = time.monotonic(), _Seen()
    part = ProbeRecord(number, cell.name, 0.0, attempt=attempt).id
    with session.run.part(probed.FOLDER, part) as folder:
        try:
            _one(session.only(cell, counted=False), (number, start), seen, folder)
        except (TestbedError, BadInputError) as error:
            seen.reasons.append(str(error))
        for reason in seen.reasons:
            session.reporter.note(f"round {number}, {cell.name}, by probes: {reason}")
        kept = (number, cell.name, round(time.monotonic() - begun, 1), seen.legs, tuple(seen.blocks))
        store.dump(ProbeRecord(*kept, tuple(seen.reasons), attempt), folder / probed.RECORD)


def _one(session: Session, place: tuple[int, int], seen: _Seen, folder: Path) -> None:
    (cell,) = session.plan.cells
    with session.fresh(*place) as (starts, stations):
        (started,), (station,) = starts.values(), stations.values()
        if started.reasons:
            raise TestbedError(f"cell {cell.name}: {'; '.join(started.reasons)}")
        (worker,) = workers(started.processes)
        scenario = session.plan.scenario_of(cell.name)
        log = session.run.evidence / "starts" / started.id / logs.NAME
        seen.legs = latency.order(log.read_bytes(), scenario.legs)
        station.log_latency(wanted=True)
        _send(station, scenario)  # to warm up
        station.skip()
        with session.bed.probes(cell) as watcher:
            for number, with_probes in enumerate(BLOCKS, start=1):
                block = _block(station, scenario, watcher, [str(worker), *["trace"] * with_probes], folder, number)
                found = probed.parse((folder / probed.block_file(number)).read_text(encoding="utf-8"))
                if said := probed.problem(block, found, seen.legs):
                    seen.reasons.append(f"block {number}: {said}")
                seen.blocks.append(block)
        station.fetch(folder)
        logs.compress(folder)
        code = station.stop()
        if code != cell.known_end:
            seen.reasons.append(f"Kamailio ended with exit code {code}")


def _block(  # noqa: PLR0913, PLR0917
    station: Station, scenario: Scenario, watcher: "Container", what: Sequence[str], folder: Path, number: int
) -> Block:
    before, log = station.log_size(), b""
    watch = Watch(watcher, ["watch", *what], UP)
    try:
        if watch.up:
            _send(station, scenario)
            log = _log(station, before, CALLS * len(scenario.legs))
    finally:
        answer = watch.end()
    store.write_atomically(folder / probed.block_file(number), answer.out)
    if not watch.up or answer.code != 0:
        message = f"{'the probes' if 'trace' in what else 'perf'} cannot be used here"
        raise ProbesError(message, detail=answer.last_words, remedy=REMEDY)
    times: latency.Times = {}
    tally = latency.tally(log, "", scenario.legs, times)
    usec = {leg: median(found.elements()) for leg, found in times.items()}
    return Block("trace" in what, CALLS, dict(tally.messages), usec)


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
    return log
