"""What a slice used: differences of counters between its edges. None where an edge lacks the counter."""

from collections.abc import Callable

from lab.model import Sample, SliceRecord

NSEC_PER_USEC = 1000
USEC_PER_TICK = 10_000


def elapsed(read: Callable[[Sample], int | None]) -> Callable[[SliceRecord], int | None]:
    """Difference of a counter over the slice."""

    def value(record: SliceRecord) -> int | None:
        before, after = read(record.before), read(record.after)
        return None if before is None or after is None else after - before

    return value


def counter(name: str) -> Callable[[SliceRecord], int | None]:
    """Difference of one of Kamailio's RPC counters."""
    return elapsed(lambda sample: sample.statistics.get(name))


def workers(clock: str) -> Callable[[SliceRecord], int | None]:
    """Difference of a clock summed over the workers, in usec. Unknown when they are not the same ones at both edges."""

    def value(record: SliceRecord) -> int | None:
        before, after = record.before.workers, record.after.workers
        if not before or before.keys() != after.keys():
            return None
        nsec = sum(getattr(after[pid], clock) - getattr(before[pid], clock) for pid in after)
        return int(nsec // NSEC_PER_USEC)

    return value


def begun_usec(record: SliceRecord) -> int:
    """The first edge, on a clock that all slices of a run share."""
    return record.before.monotonic_nsec // NSEC_PER_USEC


def duration_usec(record: SliceRecord) -> int:
    """Time between the edges."""
    return (record.after.monotonic_nsec - record.before.monotonic_nsec) // NSEC_PER_USEC


def clock_drift_usec(record: SliceRecord) -> float:
    """How far the wall clock ran away from the monotonic one: latencies are measured by the former."""
    wall = record.after.wall_nsec - record.before.wall_nsec
    monotonic = record.after.monotonic_nsec - record.before.monotonic_nsec
    return (wall - monotonic) / NSEC_PER_USEC


def steal_usec(record: SliceRecord) -> int | None:
    """Time that the host took from Kamailio's CPUs."""
    ticks = elapsed(lambda sample: sample.steal_ticks)(record)
    return None if ticks is None else ticks * USEC_PER_TICK


def processes_changed(record: SliceRecord) -> bool:
    """Kamailio's process list is another one."""
    return record.before.processes != record.after.processes
