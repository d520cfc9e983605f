"""What a slice used: differences of counters between its edges, and shares. None where an edge lacks the counter.

Pure, and for both sides: the judge and the frames must not differ in what they call a share.
"""

from collections.abc import Callable
from operator import attrgetter

from lab.model import Role, Sample, SliceRecord, Worker

NSEC_PER_USEC = 1000
USEC_PER_TICK = 10_000
GENERATOR_BUSY = 0.8  # of one CPU for each of its processes
_CPU_TIME = {
    Role.KAMAILIO: "cpu_usec",
    Role.SIPP: "sipp_cpu_usec",
    Role.MYSQL: "mysql_cpu_usec",
    Role.DRIVER: "driver_cpu_usec",
}


def elapsed(read: Callable[[Sample], int | None]) -> Callable[[SliceRecord], int | None]:
    """Difference of a counter over the slice."""

    def value(record: SliceRecord) -> int | None:
        before, after = read(record.before), read(record.after)
        return None if before is None or after is None else after - before

    return value


def counter(name: str) -> Callable[[SliceRecord], int | None]:
    """Difference of one of Kamailio's RPC counters."""
    return elapsed(lambda sample: sample.statistics.get(name))


def all_workers(read: Callable[[Worker], int | None]) -> Callable[[Sample], int | None]:
    """Sum over the workers at an edge. Unknown when it is of one of them, or when there is none."""

    def value(sample: Sample) -> int | None:
        numbers = [number for worker in sample.workers.values() if (number := read(worker)) is not None]
        return sum(numbers) if numbers and len(numbers) == len(sample.workers) else None

    return value


def workers(read: Callable[[Worker], int | None]) -> Callable[[SliceRecord], int | None]:
    """Difference of what is summed over the workers. Unknown when they are not the same ones at both edges."""
    summed = elapsed(all_workers(read))
    return lambda record: summed(record) if record.before.workers.keys() == record.after.workers.keys() else None


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


def foreign_cpu_share(record: SliceRecord) -> float | None:
    """Share of the time of Kamailio's CPUs that strangers took: other programs, the kernel's own threads.

    It is what all tasks ran there, by the kernel's own account, without Kamailio's time and that of other roles on the
    very same CPUs. Interrupts are in the time of whom they interrupt; those of an idle CPU are nobody's. /proc/stat
    would not do: its columns are sampled at ticks, and were 2.5 % beside that account in the median of 20 intervals of
    2 s, 14 % at most; idle time was 0.35 % and 2.6 % beside it (2-core virtual machine, Linux 6.18).
    """
    if record.beside_kamailio is None:
        return None
    used = [_used(record, _CPU_TIME[role]) for role in (Role.KAMAILIO, *record.beside_kamailio)]
    used.append(record.neighbours_cpu_usec)
    ran, available = _used(record, "ran_usec"), duration_usec(record) * record.kamailio_cpus
    if ran is None or None in used or available <= 0:
        return None
    return (ran - sum(filter(None, used))) / available


def _used(record: SliceRecord, name: str) -> int | None:
    return elapsed(attrgetter(name))(record)


def driver_cpu_share(record: SliceRecord) -> float | None:
    """What measuring took of one CPU."""
    return _share(_used(record, "driver_cpu_usec"), duration_usec(record))


def sipp_cpu_share(record: SliceRecord) -> float | None:
    """What SIPp had of one CPU for each of its processes, from its start to its end: less than between the edges."""
    return _share(_used(record, "sipp_cpu_usec"), record.sipp.elapsed_msec * 1000 * record.sipp.processes)


def rate_is_off(record: SliceRecord, tolerance: float) -> bool:
    """SIPp achieved another rate than it was to offer. The last calls of a cell may have waited for its turn."""
    offered, achieved = record.plan.rate_per_s, record.sipp.rate_per_s
    lowest = record.plan.calls / (record.plan.calls / offered + record.longest_wait_msec / 1000)
    return not lowest * (1 - tolerance) <= achieved <= offered * (1 + tolerance)


def generator_limited(record: SliceRecord) -> bool | None:
    """SIPp was busy, and had a larger share of its CPUs than the workers of theirs: it may have set the pace.

    A process of SIPp is one thread, so it has one CPU. Those of cells that take turns count as one: no two of them send
    at once.
    """
    nsec = workers(lambda worker: worker.on_cpu_nsec)(record)
    ours = _share(nsec, duration_usec(record) * record.kamailio_cpus * NSEC_PER_USEC)
    others = _share(record.neighbours_cpu_usec, duration_usec(record) * record.kamailio_cpus)
    sipp = sipp_cpu_share(record)
    their_sipps = _share(record.neighbours_sipp_cpu_usec, record.sipp.elapsed_msec * 1000 * record.sipp.processes)
    if sipp is None or ours is None or others is None or their_sipps is None:
        return None
    return sipp + their_sipps >= GENERATOR_BUSY and sipp + their_sipps > ours + others


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None or whole <= 0 else part / whole
