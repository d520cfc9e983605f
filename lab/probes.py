"""Looks at a cell's worker through the kernel while Kamailio runs without valgrind: `lab count --probes`.

Calls come one by one, as where they are counted. Unlike that it takes time, so what else the machine does is in it.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from lab import latency, load, logs, sampling, starts, store
from lab.counts import probed
from lab.counts.probed import BLOCKS, CALLS, UP, Block, ProbeRecord
from lab.errors import BadInputError, SetupError, TestbedError
from lab.execution import Watch
from lab.model import Cell, Scenario
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
class _Seen:
    """What one start has shown."""

    legs: tuple[str, ...] = ()
    blocks: list[Block] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def look(session: Session, cell: Cell, number: int, start: int, been: Collection[ProbeRecord]) -> ProbeRecord:
    """One fresh start of a cell in a round, and its evidence; `been` are those that there were in this run.

    ProbesError where it cannot work on this machine: as long as it never has.
    """
    begun, seen = time.monotonic(), _Seen()
    attempt = 1 + sum((one.round, one.cell) == (number, cell.name) for one in been)
    part = ProbeRecord(number, cell.name, 0.0, attempt=attempt).id
    with session.run.part(probed.FOLDER, part) as folder:
        try:
            _one(session.only(cell, counted=False), (number, start), seen, folder)
        except ProbesError as error:
            if not any(one.blocks for one in been) and not seen.blocks:
                raise
            seen.reasons.append(f"{error}: {error.detail}")
        except (TestbedError, BadInputError) as error:
            seen.reasons.append(str(error))
        for reason in seen.reasons:
            session.reporter.note(f"round {number}, {cell.name}, by probes: {reason}")
        seconds = round(time.monotonic() - begun, 1)
        kept = ProbeRecord(
            number, cell.name, seconds, seen.legs, tuple(seen.blocks), tuple(seen.reasons), attempt=attempt
        )
        store.dump(kept, folder / probed.RECORD)
    return kept


def _one(session: Session, place: tuple[int, int], seen: _Seen, folder: Path) -> None:
    (cell,) = session.plan.cells
    with session.fresh(*place) as (started_cells, stations):
        (started,), (station,) = started_cells.values(), stations.values()
        if started.reasons:
            raise TestbedError(f"cell {cell.name}: {'; '.join(started.reasons)}")
        worker = sampling.only_worker(cell.name, started.processes)
        scenario = session.plan.scenario_of(cell.name)
        seen.legs = starts.legs_of_call(session.run, started, scenario)
        _send(station, scenario)  # to warm up
        station.skip()
        with session.bed.probes(cell) as watcher:
            for number, with_probes in enumerate(BLOCKS, start=1):
                place_of_block = folder / probed.block_file(number)
                block = _block(station, scenario, watcher, worker, place_of_block, with_probes=with_probes)
                found = probed.parse(place_of_block.read_text(encoding="utf-8"))
                if said := probed.problem(block, found, seen.legs):
                    seen.reasons.append(f"block {number}: {said}")
                seen.blocks.append(block)
        station.fetch(folder)
        logs.compress(folder)
        code = station.stop()
        if code != cell.known_end:
            seen.reasons.append(f"Kamailio ended with exit code {code}")


def _block(  # noqa: PLR0913
    station: Station, scenario: Scenario, watcher: "Container", worker: int, place: Path, *, with_probes: bool
) -> Block:
    """Some calls, and in `place` what was seen of them."""
    before, log = station.log_size(), b""
    watch = Watch(watcher, ["watch", str(worker), "trace" if with_probes else "idle"], UP)
    try:
        if watch.up:
            _send(station, scenario)
            log = _log(station, before, CALLS * len(scenario.legs))
    finally:
        answer = watch.end()
    if not watch.up or answer.code != 0:
        message = f"{'the probes' if with_probes else 'perf'} cannot be used here"
        raise ProbesError(message, detail=answer.last_words, remedy=REMEDY)
    store.write_atomically(place, answer.out)
    times: latency.Times = {}
    tally = latency.tally(log, "", scenario.legs, times)
    usec = {leg: float(median(found.elements())) for leg, found in times.items()}
    return Block(with_probes, CALLS, dict(tally.messages), usec, errors=tally.error_count + tally.malformed_count)


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
