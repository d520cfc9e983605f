"""Counts a cell's instructions: one worker under callgrind, calls one by one, each request a part of a profile.

Nothing here is timed, so cells may be as slow as they are, and the machine as busy.
"""

import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import IO

from lab import latency, load, override, probes, store
from lab.counts import record
from lab.counts.probed import ProbeRecord
from lab.counts.record import CountRecord
from lab.errors import TestbedError
from lab.execution import ask
from lab.model import Cell, Counting, Scenario, StartRecord
from lab.sampling import only_worker
from lab.session import Session
from lab.starts import legs_of_call
from lab.station import Station

LOOKS = 100  # for the last part, which is written after the reply has left
# A part's total is its last line.
_PARTS = """
for look in $(seq "$3"); do
  found=$(grep -c '^totals: ' "$1" 2>/dev/null) || true
  [ "${found:-0}" -lt "$2" ] || break
  sleep 0.1
done
echo "${found:-0}"
"""


@dataclass(slots=True)
class _Seen:
    """What one start has shown."""

    legs: tuple[str, ...] = ()
    parts: int = 0
    expected: int = 0
    reasons: list[str] = field(default_factory=list)


def count(
    session: Session,
    counting: Counting,
    been: Collection[CountRecord] = (),
    looked: Collection[ProbeRecord] = (),
) -> None:
    """Every cell once a round, by itself. What has `been` counted stays, and what had failed is tried again.

    Likewise what was `looked` at, which is done for all cells of a round together. A cell that dies, or cannot be
    proven, does not keep the others waiting.
    """
    looks = list(looked)
    for planned in session.plan.rounds:
        told = f"round {planned.number} of {len(session.plan.rounds)}"
        if counting.probes and (due := _due(session, planned.number, looks)):
            session.reporter.stage(f"{told}: looking at all cells by probes")
            looks += probes.look(session, due, planned.number, looks)
        for cell in _due(session, planned.number, been):
            session.reporter.stage(f"{told}, {cell.name}: counting")
            begun, seen = time.monotonic(), _Seen()
            start = session.next_start(planned.number, [cell])
            with tempfile.TemporaryFile(dir=session.run.folder) as profile:
                try:
                    _one(session.only(cell), counting, (planned.number, start), seen, profile)
                except TestbedError as error:
                    seen.reasons.append(str(error))
                for reason in seen.reasons:
                    session.reporter.note(f"round {planned.number}, {cell.name}: {reason}")
                seconds, reasons = round(time.monotonic() - begun, 1), tuple(seen.reasons)
                kept = CountRecord(
                    *(planned.number, cell.name, seen.parts, seen.expected, seconds, seen.legs, reasons),
                    attempt=1 + sum((one.round, one.cell) == (planned.number, cell.name) for one in been),
                )
                profile.seek(0)
                with session.run.part(record.FOLDER, kept.id) as folder:
                    record.keep(profile, folder)
                    store.dump(kept, folder / record.RECORD)


def _due(session: Session, number: int, records: Collection[CountRecord] | Collection[ProbeRecord]) -> list[Cell]:
    """Cells of which none of these, in that round, counts."""
    good = {one.cell for one in records if one.round == number and not one.reasons}
    return [cell for cell in session.plan.cells if cell.name not in good]


def _one(session: Session, counting: Counting, place: tuple[int, int], seen: _Seen, profile: IO[bytes]) -> None:
    """One fresh start, in the given round and the so-manieth there."""
    (cell,) = session.plan.cells
    with session.fresh(*place) as (starts, stations):
        (started,), (station,) = starts.values(), stations.values()
        if started.reasons:
            raise TestbedError(f"cell {cell.name}: {'; '.join(started.reasons)}")
        scenario = session.plan.scenario_of(cell.name)
        seen.legs = legs_of_call(session.run, started, scenario)
        station.log_latency(wanted=False)  # it would be counted as well
        before, calls = station.log_size(), counting.warmup_calls + counting.calls
        if said := station.rehearse(scenario, load.parts(calls, load.ONE_BY_ONE_PER_S, cell.subscribers)):
            raise TestbedError(said)
        seen.expected = _requests(session, cell, scenario, calls)
        seen.parts = _profile(station, started, seen.expected, profile)
        if seen.parts != seen.expected:
            reason = f"Kamailio has handled {seen.parts} messages, and {seen.expected} belong to a leg or a start"
            seen.reasons.append(f"{reason}: a scenario with replies, or requests of no leg, is not counted")
        found = latency.tally(station.log(before), "", scenario.legs)
        if found.errors:
            seen.reasons.append(f"Kamailio has logged {len(found.errors)} errors: {found.errors[0].strip()}")
        code = station.stop()
        if code != cell.known_end:
            seen.reasons.append(f"Kamailio ended with exit code {code}")


def _requests(session: Session, cell: Cell, scenario: Scenario, calls: int) -> int:
    """The probe, each subscriber's set-up, a call's rehearsal, and all that is warmed up with or counted."""
    setup = session.plan.scenario(scenario.setup).legs if scenario.setup else ()
    return 1 + len(setup) * cell.subscribers + len(scenario.legs) * (1 + calls)


def _profile(station: Station, start: StartRecord, expected: int, into: IO[bytes]) -> int:
    """The worker's file, once it has as many parts as there were requests; the volume has room for the next."""
    worker = only_worker(station.cell.name, start.processes)
    file = f"{override.counts_of(station.cell.name)}.{worker}"
    parts = ask(station.kamailio, ["sh", "-c", _PARTS, "parts", file, str(expected), str(LOOKS)])
    content = ask(station.kamailio, ["cat", file], into)
    if content.code != 0:
        raise TestbedError(f"cell {station.cell.name}: callgrind has written nothing: {content.complaint}")
    ask(station.kamailio, ["rm", "-f", file])
    return int(parts.text or 0)
