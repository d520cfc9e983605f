"""Counts a cell's instructions: one worker under callgrind, calls one by one, each request a part of a profile.

Nothing here is timed, so cells may be as slow as they are, and the machine as busy.
"""

import time
from collections.abc import Collection
from dataclasses import replace

from lab import load, override, store
from lab.counts import record
from lab.counts.record import CountRecord
from lab.errors import TestbedError
from lab.execution import ask
from lab.model import Counting, StartRecord
from lab.sampling import workers
from lab.session import Session
from lab.station import Station

RATE_PER_S = 1000  # offered: more than comes, as each call waits for the one before
LOOKS = 100  # for the last part, which is written after the reply has left
_PARTS = """
for look in $(seq "$3"); do
  found=$(grep -c '^part: ' "$1" 2>/dev/null) || true
  [ "${found:-0}" -lt "$2" ] || break
  sleep 0.1
done
echo "${found:-0}"
"""


def count(
    session: Session,
    counting: Counting,
    been: Collection[tuple[int, str]] = (),
    starts: Collection[StartRecord] = (),
) -> None:
    """Every cell once a round, by itself. What `been` names, by round and cell, is there already; so are `starts`.

    A cell that dies, or cannot be proven, does not keep the others waiting.
    """
    for planned in session.plan.rounds:
        for cell in session.plan.cells:
            if (planned.number, cell.name) in been:
                continue
            start = 1 + sum((one.round, one.cell) == (planned.number, cell.name) for one in starts)
            session.reporter.stage(f"round {planned.number} of {len(session.plan.rounds)}, {cell.name}: counting")
            try:
                _one(session.only(cell), counting, planned.number, start)
            except TestbedError as error:
                if getattr(error, "end_was_asked", False):
                    raise
                session.reporter.note(f"round {planned.number}, {cell.name}: {error}")
                _keep(session, CountRecord(planned.number, cell.name, 0, 0, 0.0, (str(error),)), b"")


def _one(session: Session, counting: Counting, number: int, start: int) -> None:
    (cell,) = session.plan.cells
    begun = time.monotonic()
    with session.fresh(number, start) as (starts, stations):
        (started,), (station,) = starts.values(), stations.values()
        if started.reasons:
            raise TestbedError(f"cell {cell.name}: {'; '.join(started.reasons)}")
        station.log_latency(wanted=False)  # it would be counted as well
        scenario = session.plan.scenario_of(cell.name)
        calls = counting.warmup_calls + counting.calls
        said = station.rehearse(scenario, load.parts(calls, RATE_PER_S, cell.subscribers))
        setup = session.plan.scenario(scenario.setup).legs if scenario.setup else ()
        expected = 1 + len(setup) * cell.subscribers + len(scenario.legs) * (1 + calls)  # the probe, a call's rehearsal
        found, content = _profile(station, started, expected)
        seconds = time.monotonic() - begun
        kept = CountRecord(number, cell.name, found, expected, round(seconds, 1), (said,) if said else ())
        if not said and found != expected:
            reason = f"Kamailio has handled {found} messages, and {expected} belong to a leg or a start"
            kept = replace(kept, reasons=(f"{reason}: a scenario with replies, or requests of no leg, is not counted",))
        for reason in kept.reasons:
            session.reporter.note(f"round {number}, {cell.name}: {reason}")
        _keep(session, kept, content)
        station.stop()


def _keep(session: Session, kept: CountRecord, content: bytes) -> None:
    with session.run.part(record.FOLDER, kept.id) as folder:
        record.keep(content, folder)
        store.dump(kept, folder / record.RECORD)


def _profile(station: Station, start: StartRecord, expected: int) -> tuple[int, bytes]:
    """The worker's file, once it has as many parts as there were requests; the volume has room for the next."""
    (worker,) = workers(start.processes)
    file = f"{override.counts_of(station.cell.name)}.{worker}"
    found = ask(station.kamailio, ["sh", "-c", _PARTS, "parts", file, str(expected), str(LOOKS)])
    content = ask(station.kamailio, ["cat", file])
    if content.code != 0:
        raise TestbedError(f"cell {station.cell.name}: callgrind has written nothing: {content.complaint}")
    ask(station.kamailio, ["rm", "-f", file])
    return int(found.text), content.out
