"""Is a slice, or a start, what it should be? Pure; an empty answer means valid. docs/validity.md has the whole list.

Each reason is a sentence with its numbers. Where a result stands on a check, "not read" is a reason of its own; where
it stands without (throttling, steal, CPU time), the summary says that it was not measured.
"""

from collections.abc import Iterator, Mapping

from lab.deltas import foreign_cpu_share, rate_is_off
from lab.model import NATIVE, OTHER, Limits, Scenario, SliceRecord, StartRecord
from lab.sampling import RECEIVED
from lab.topology import parse_list

TICKS_PER_SECOND = 100
NSEC = 1_000_000_000


def judge(record: SliceRecord, limits: Limits, scenario: Scenario) -> tuple[str, ...]:
    """Every check of one slice that failed, as sentences."""
    return (
        *_sipp(record, limits),
        *_log(record, limits, scenario),
        *_counters(record, scenario),
        *_processes(record),
        *_database(record),
        *_kernel(record, limits),
    )


def judge_start(start: StartRecord) -> tuple[str, ...]:
    """The engine proof of one fresh start and, once its round has ended, its bindings."""
    return (*_engine(start), *_pinning(start), *_end(start), *_bindings(start))


def _sipp(record: SliceRecord, limits: Limits) -> Iterator[str]:
    sipp, calls = record.sipp, record.plan.calls
    if sipp.exit_code != 0:
        yield f"SIPp: exit code {sipp.exit_code}"
    if sipp.created != calls:
        yield f"SIPp: {sipp.created} calls created, {calls} planned"
    if sipp.successful != calls:
        yield f"SIPp: {sipp.successful} of {calls} calls succeeded"
    if sipp.failed:
        yield f"SIPp: {sipp.failed} of {calls} calls failed"
    strays = {
        "unexpected messages": sipp.unexpected,
        "messages for calls that had ended": sipp.dead_calls,
        "messages of no call": sipp.out_of_call,
    }
    yield from (f"SIPp: {what}: {number}" for what, number in strays.items() if number)
    if sipp.retransmissions > limits.retransmissions:
        yield f"SIPp: {_count(sipp.retransmissions, 'retransmission')}, {limits.retransmissions} allowed"
    offered = record.plan.rate_per_s
    if rate_is_off(record, limits.rate_tolerance):
        waited = f" after up to {record.longest_wait_msec} ms for a turn" if record.longest_wait_msec else ""
        yield (
            f"SIPp: {sipp.rate_per_s:.1f} calls/s achieved, {offered} offered "
            f"({sipp.rate_per_s / offered - 1:+.1%}, {limits.rate_tolerance:.1%} allowed{waited})"
        )
    if sipp.peak_calls >= sipp.call_limit:
        yield f"SIPp: {sipp.peak_calls} calls at once reached the limit of {sipp.call_limit}: arrivals were shed"


def _log(record: SliceRecord, limits: Limits, scenario: Scenario) -> Iterator[str]:
    tally = record.tally
    if record.logged:
        yield from _lines(record, limits, scenario)
    elif tally.lines:
        yield f"Kamailio: {_count(tally.lines, 'latency line')}, though they are switched off"
    if tally.malformed:
        yield f"Kamailio: {_count(tally.malformed_count, 'torn latency line')} in the log, first: {tally.malformed[0]}"
    if tally.errors:
        yield f"Kamailio: {_count(tally.error_count, 'error line')} in the log, first: {tally.errors[0]}"


def _lines(record: SliceRecord, limits: Limits, scenario: Scenario) -> Iterator[str]:
    tally, calls = record.tally, record.plan.calls
    for leg in scenario.leg_names:
        seen = tally.messages.get(leg, 0)
        planned = calls * sum(rule.leg == leg for rule in scenario.legs)
        if seen != planned:
            yield f"Kamailio: {seen} latency lines of the {leg} leg, {planned} planned"
    if tally.messages.get(OTHER):
        yield f"Kamailio: {_count(tally.messages[OTHER], 'latency line')} of no leg that the scenario declares"
    if tally.retransmissions > limits.retransmissions:
        yield f"Kamailio: {_count(tally.retransmissions, 'retransmission')} received, {limits.retransmissions} allowed"
    if tally.foreign:
        yield f"Kamailio: {_count(tally.foreign, 'latency line')} of another slice's calls"


def _counters(record: SliceRecord, scenario: Scenario) -> Iterator[str]:
    """Each request of a call has its line, and each call its effects; a retransmitted one perhaps once more.

    Where there are no lines, each call's requests have come, and what SIPp sent again may have.
    """
    tally = record.tally
    again = tally.retransmissions if record.logged else record.sipp.retransmissions
    before, after = record.before.statistics, record.after.statistics
    received = _delta(before, after, RECEIVED)
    if received is None:
        yield _unread(RECEIVED)
    elif record.logged and received != tally.lines:
        yield f"Kamailio: {received} requests received ({RECEIVED}), {tally.lines} latency lines"
    elif not record.logged and not 0 <= received - record.plan.calls * len(scenario.legs) <= again:
        planned = record.plan.calls * len(scenario.legs)
        yield f"Kamailio: {received} requests received ({RECEIVED}), {planned} planned"
    for name, times in scenario.counters.items():
        seen, planned = _delta(before, after, name), times * record.plan.calls
        if seen is None:
            yield _unread(name)
        elif not planned <= seen <= planned + (again if times else 0):
            yield f"Kamailio: {name} grew by {seen}, {planned} planned"


def _processes(record: SliceRecord) -> Iterator[str]:
    before, after = record.before.processes, record.after.processes
    if not before or not after:
        yield "Kamailio: process list not read"
        return
    for pid in sorted(before.keys() - after.keys()):
        yield f"Kamailio: process {pid} ({before[pid]}) is gone"
    for pid in sorted(after.keys() - before.keys()):
        yield f"Kamailio: process {pid} ({after[pid]}) is new"
    for pid in sorted(before.keys() & after.keys()):
        if before[pid] != after[pid]:
            yield f"Kamailio: process {pid} was {before[pid]!r} and is {after[pid]!r}"


def _database(record: SliceRecord) -> Iterator[str]:
    aborted = record.after.mysql_aborted - record.before.mysql_aborted
    if aborted:
        yield f"database: {_count(aborted, 'aborted connection')}"


def _kernel(record: SliceRecord, limits: Limits) -> Iterator[str]:
    before, after = record.before, record.after
    lost = after.udp_rcvbuf_errors - before.udp_rcvbuf_errors
    if lost:
        yield f"kernel: {_count(lost, 'UDP message')} lost to full receive buffers (RcvbufErrors)"
    drops = after.socket_drops - before.socket_drops
    if drops:
        yield f"kernel: {_count(drops, 'message')} dropped at Kamailio's sockets"
    if before.throttled is not None and after.throttled is not None and after.throttled != before.throttled:
        yield f"kernel: Kamailio's CPU quota ran out in {_count(after.throttled - before.throttled, 'period')}"
    elapsed = after.monotonic_nsec - before.monotonic_nsec
    if elapsed <= 0:
        yield f"kernel: the slice's edges are {elapsed} nsec apart"
        return
    yield from _clock(record, limits, elapsed)
    yield from _shares(record, limits, elapsed)


def _clock(record: SliceRecord, limits: Limits, elapsed: int) -> Iterator[str]:
    stepped = abs(record.after.wall_nsec - record.before.wall_nsec - elapsed) / 1000
    if stepped > limits.clock_drift_usec:
        yield f"kernel: the clock moved by {stepped:.0f} usec against time, {limits.clock_drift_usec} allowed"


def _shares(record: SliceRecord, limits: Limits, elapsed: int) -> Iterator[str]:
    """What others took of the CPU time that was Kamailio's."""
    before, after = record.before, record.after
    available = elapsed * record.kamailio_cpus
    if before.steal_ticks is not None and after.steal_ticks is not None:
        steal = (after.steal_ticks - before.steal_ticks) / TICKS_PER_SECOND * NSEC / available
        if steal > limits.steal_share:
            yield f"kernel: {steal:.1%} of Kamailio's CPU time stolen by the host, {limits.steal_share:.1%} allowed"
    foreign = foreign_cpu_share(record)
    if foreign is not None and foreign > limits.foreign_cpu_share:
        yield (
            f"kernel: {foreign:.1%} of Kamailio's CPU time taken by strangers, {limits.foreign_cpu_share:.1%} allowed"
        )
    workers = before.workers.keys() & after.workers.keys()
    if not workers:
        yield "kernel: run delay of Kamailio's workers not read"
        return
    # Against what they ran, not against the slice's time: most of that a worker sleeps, and nobody keeps it waiting.
    waited = sum(after.workers[pid].run_delay_nsec - before.workers[pid].run_delay_nsec for pid in workers)
    ran = sum(after.workers[pid].on_cpu_nsec - before.workers[pid].on_cpu_nsec for pid in workers)
    delay = waited / (waited + ran) if waited else 0
    if delay > limits.run_delay_share:
        yield (
            f"kernel: of the time in which they could run, workers waited for a CPU {delay:.1%}, "
            f"{limits.run_delay_share:.1%} allowed"
        )


def _engine(start: StartRecord) -> Iterator[str]:
    if start.marker != start.engine:
        answer = f"marked {start.marker!r}" if start.marker else "without a marker"
        yield f"engine proof: the probe's reply came {answer}, {start.engine!r} expected"
    if start.engine_word != start.engine:
        yield f"engine proof: Kamailio says that its engine is {start.engine_word!r}, {start.engine!r} expected"
    if start.engine == NATIVE:
        if not start.request_route:
            yield "engine proof: the loaded configuration has no request_route, native needs one"
        return
    if start.request_route:
        yield f"engine proof: the loaded configuration has a request_route, so {start.engine} is not asked"
    if not start.script:
        yield f"engine proof: Kamailio names no script of {start.engine}"


def _pinning(start: StartRecord) -> Iterator[str]:
    """Every role runs where it was told to; the kernel may show several lists of a role, one a process."""
    if not start.processes:
        yield "Kamailio: process list not read"
    for role, asked in start.cpus_asked.items():
        lists = start.cpus_allowed.get(role, "").split()
        if not lists:
            yield f"kernel: the CPUs that {role} got were not read"
        for got in lists:
            if parse_list(got) != parse_list(asked):
                yield f"kernel: {role} may run on CPUs {got}, {asked} asked"


def _end(start: StartRecord) -> Iterator[str]:
    if start.exit_code not in {None, 0, start.exit_code_known}:
        yield f"Kamailio: ended with exit code {start.exit_code}"


def _bindings(start: StartRecord) -> Iterator[str]:
    """Not counted yet is no failure; the end of a round without a count is one (lab.summary looks for that)."""
    if start.bindings_expected is None:
        return
    if start.bindings is None:
        yield f"database: bindings in location not counted, {start.bindings_expected} expected"
    elif start.bindings != start.bindings_expected:
        yield f"database: {_count(start.bindings, 'binding')} in location, {start.bindings_expected} expected"


def _delta(before: Mapping[str, int], after: Mapping[str, int], name: str) -> int | None:
    return after[name] - before[name] if name in before and name in after else None


def _unread(name: str) -> str:
    return f"Kamailio: counter {name} not read"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
