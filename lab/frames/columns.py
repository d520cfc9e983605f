"""Every column of every frame: name, type, unit, meaning and, for one-row-a-record frames, where its value comes from.

The Parquet schemas and the tables of docs/frames.md derive from here. Not measured is null, never 0.
"""

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

import pyarrow as pa

from lab.deltas import (
    GENERATOR_BUSY,
    all_workers,
    begun_usec,
    clock_drift_usec,
    counter,
    driver_cpu_share,
    duration_usec,
    elapsed,
    foreign_cpu_share,
    generator_limited,
    processes_changed,
    sipp_cpu_share,
    steal_usec,
    workers,
)
from lab.frames.table import BOOL, FLOAT, INT, TEXT, WORD, Column, Table
from lab.model import OTHER, Sample, SliceRecord, StartRecord
from lab.sampling import RECEIVED, SHM_USED

REASONS = "; "  # between reasons, in a column that holds several

MESSAGES = Table(
    "messages",
    "one latency line of a slice",
    (
        Column("round", INT, "", "round, from 1"),
        Column("slice", WORD, "", "slice; its other facts are in `slices`"),
        Column("cell", WORD, "", "arm of the comparison"),
        Column("engine", WORD, "", "routing engine of the cell"),
        Column("worker_pid", INT, "", "Kamailio process that wrote the line, as its container numbers it"),
        Column("method", WORD, "", "SIP method of the request"),
        Column("cseq", INT, "", "number of its CSeq"),
        Column("call_id", TEXT, "", "its Call-ID; those of the slice begin with its round, `.`, its position, `-`"),
        Column("leg", WORD, "", "as the scenario declares; `other` when it does not, and when foreign"),
        Column(
            "retransmission",
            BOOL,
            "",
            "the slice saw this Call-ID, CSeq and method before, as often as the scenario sends it; never when foreign",
        ),
        Column("usec", INT, "usec", "time in the request route, by the wall clock"),
    ),
)


def _edge(name: str) -> Callable[[SliceRecord], int | None]:
    return elapsed(attrgetter(name))


def _workers(name: str, divisor: int = 1) -> Callable[[SliceRecord], int | None]:
    def value(record: SliceRecord) -> int | None:
        used = workers(attrgetter(name))(record)
        return None if used is None else used // divisor

    return value


def _shm(sample: Sample) -> int | None:
    return sample.statistics.get(SHM_USED)


def _at(edge: str, read: Callable[[Sample], int | None]) -> Callable[[SliceRecord], int | None]:
    return lambda record: read(getattr(record, edge))


def _memory() -> Iterator[Column]:
    """At both edges: what is held at the end matters as much as what was added."""
    for name, unit, meaning, read in (
        ("pkg_bytes", "bytes", "private memory that the workers use", all_workers(attrgetter("pkg_bytes"))),
        ("shm_bytes", "bytes", f"shared memory in use (`{SHM_USED}`)", _shm),
        (
            "rss_kib",
            "KiB",
            "workers' resident memory, with what each touched of shm",
            all_workers(attrgetter("rss_kib")),
        ),
    ):
        for edge in ("before", "after"):
            yield Column(f"{name}_{edge}", INT, unit, f"{meaning}, {edge} the slice", _at(edge, read), null=True)


def _declared(counts: str) -> Callable[[SliceRecord], int | None]:
    return _logged(lambda r: sum(count for leg, count in getattr(r.tally, counts).items() if leg != OTHER))


def _other(counts: str) -> Callable[[SliceRecord], int | None]:
    return _logged(lambda record: getattr(record.tally, counts).get(OTHER, 0))


def _logged(value: Callable[[SliceRecord], int]) -> Callable[[SliceRecord], int | None]:
    """Of latency lines, where there are any by design."""
    return lambda record: value(record) if record.logged else None


def _join(name: str) -> Callable[[Any], str]:
    return lambda record: REASONS.join(getattr(record, name))


def _pairs(values: Mapping[str, str]) -> str:
    return REASONS.join(f"{name}={value}" for name, value in sorted(values.items()))


SLICES = Table(
    "slices",
    "one slice, valid or not; counters are differences between its edges",
    (
        Column("round", INT, "", "round, from 1", attrgetter("plan.round")),
        Column("start", INT, "", "fresh start of its round, from 1; more where a run was resumed", attrgetter("start")),
        Column("position", INT, "", "place in the round, from 1", attrgetter("plan.position")),
        Column("slice", TEXT, "", "name, unique in a run", attrgetter("plan.id")),
        Column("cell", WORD, "", "arm of the comparison", attrgetter("plan.cell")),
        Column("engine", WORD, "", "routing engine of the cell", attrgetter("engine")),
        Column("attempt", INT, "", "1, or more where an invalid slice was run again", attrgetter("plan.attempt")),
        Column("warmup", BOOL, "", "kept, but left out of every figure", attrgetter("plan.warmup")),
        Column("valid", BOOL, "", "no check failed", attrgetter("valid")),
        Column("reasons", TEXT, "", "the checks that failed, parted by `; `", _join("reasons")),
        Column("calls", INT, "calls", "planned", attrgetter("plan.calls")),
        Column("offered_rate_per_s", INT, "calls/s", "planned", attrgetter("plan.rate_per_s")),
        Column("kamailio_cpus", INT, "CPUs", "given to Kamailio", attrgetter("kamailio_cpus")),
        Column("begun_usec", INT, "usec", "its first edge, by the machine's monotonic clock", begun_usec),
        Column("duration_usec", INT, "usec", "between the edges, by the monotonic clock", duration_usec),
        Column("clock_drift_usec", FLOAT, "usec", "wall clock less monotonic clock over the slice", clock_drift_usec),
        # Kamailio's log; of latency lines null where they are switched off
        Column(
            "messages", INT, "lines", "first transmissions of the scenario's legs", _declared("messages"), null=True
        ),
        Column("other_messages", INT, "lines", "likewise, of no declared leg", _other("messages"), null=True),
        Column(
            "usec",
            INT,
            "usec",
            "sum over first transmissions of the scenario's legs",
            _declared("usec_sum"),
            null=True,
        ),
        Column("other_usec", INT, "usec", "likewise, of no declared leg", _other("usec_sum"), null=True),
        Column(
            "retransmissions",
            INT,
            "lines",
            "repeats that Kamailio saw",
            _logged(attrgetter("tally.retransmissions")),
            null=True,
        ),
        Column(
            "foreign",
            INT,
            "lines",
            "latency lines of another slice's calls",
            _logged(attrgetter("tally.foreign")),
            null=True,
        ),
        Column(
            "malformed", INT, "lines", "torn or mixed latency lines; no messages", attrgetter("tally.malformed_count")
        ),
        Column("errors", INT, "lines", "error lines (ERROR and worse)", attrgetter("tally.error_count")),
        # Kamailio's counters
        Column("received_requests", INT, "requests", f"`{RECEIVED}`", counter(RECEIVED), null=True),
        # Where Kamailio counts its provisional ones; sl.1xx_replies stays 0.
        Column("replies_1xx", INT, "replies", "`sl.xxx_replies`", counter("sl.xxx_replies"), null=True),
        Column("replies_404", INT, "replies", "`sl.404_replies`", counter("sl.404_replies"), null=True),
        Column("replies_401", INT, "replies", "`sl.401_replies`", counter("sl.401_replies"), null=True),
        Column("replies_200", INT, "replies", "`sl.200_replies`", counter("sl.200_replies"), null=True),
        Column(
            "registrations_accepted",
            INT,
            "",
            "`registrar.accepted_regs`",
            counter("registrar.accepted_regs"),
            null=True,
        ),
        Column(
            "registrations_rejected",
            INT,
            "",
            "`registrar.rejected_regs`",
            counter("registrar.rejected_regs"),
            null=True,
        ),
        # the kernel's, and MySQL's
        Column("cpu_usec", INT, "usec", "CPU time of Kamailio's container", _edge("cpu_usec"), null=True),
        Column("throttled_periods", INT, "periods", "its CPU quota ran out", _edge("throttled"), null=True),
        Column(
            "workers_on_cpu_usec", INT, "usec", "CPU time of the UDP workers", _workers("on_cpu_nsec", 1000), null=True
        ),
        Column(
            "workers_run_delay_usec", INT, "usec", "they waited for a CPU", _workers("run_delay_nsec", 1000), null=True
        ),
        Column(
            "voluntary_switches",
            INT,
            "switches",
            "a worker had nothing to do",
            _workers("voluntary_switches"),
            null=True,
        ),
        Column(
            "involuntary_switches",
            INT,
            "switches",
            "a worker was made to wait",
            _workers("involuntary_switches"),
            null=True,
        ),
        *_memory(),
        Column(
            "steal_usec", INT, "usec", "taken by the host from Kamailio's CPUs, in 10 ms steps", steal_usec, null=True
        ),
        Column(
            "foreign_cpu_share",
            FLOAT,
            "share",
            "of the time of Kamailio's CPUs, that others than the lab took, by the kernel's account of what ran there",
            foreign_cpu_share,
            null=True,
        ),
        Column("udp_rcvbuf_errors", INT, "datagrams", "lost to full buffers", _edge("udp_rcvbuf_errors")),
        Column("socket_drops", INT, "datagrams", "dropped at Kamailio's sockets", _edge("socket_drops")),
        Column("processes_changed", BOOL, "", "a Kamailio process died or was born", processes_changed),
        Column("mysql_aborted", INT, "connections", "aborted connections", _edge("mysql_aborted")),
        Column(
            "mysql_statements",
            INT,
            "statements",
            "that read or write rows, of any cell, by the server's count; in turns of all cells of the block",
            _edge("mysql_statements"),
            null=True,
        ),
        Column(
            "mysql_cpu_usec",
            INT,
            "usec",
            "CPU time of its container; in turns of all cells of the block",
            _edge("mysql_cpu_usec"),
            null=True,
        ),
        # the lab's own
        Column("sipp_cpu_usec", INT, "usec", "CPU time of SIPp's container", _edge("sipp_cpu_usec"), null=True),
        Column("sipp_cpu_share", FLOAT, "share", "of one CPU a process, that this is", sipp_cpu_share, null=True),
        Column(
            "generator_limited",
            BOOL,
            "",
            f"SIPp had {GENERATOR_BUSY:.0%} of a CPU or more, and the workers a smaller share of Kamailio's CPUs",
            generator_limited,
            null=True,
        ),
        Column(
            "driver_cpu_usec",
            INT,
            "usec",
            "CPU time of the driver; in turns for all cells of the block",
            _edge("driver_cpu_usec"),
            null=True,
        ),
        Column("driver_cpu_share", FLOAT, "share", "of one CPU, that this is", driver_cpu_share, null=True),
        Column("edge_before_usec", INT, "usec", "the first edge took", attrgetter("before.edge_usec"), null=True),
        Column("edge_after_usec", INT, "usec", "and the last", attrgetter("after.edge_usec"), null=True),
        # SIPp's statistics, at its end
        Column("sipp_exit_code", INT, "", "proves nothing by itself", attrgetter("sipp.exit_code")),
        Column("sipp_created", INT, "calls", "begun", attrgetter("sipp.created")),
        Column("sipp_successful", INT, "calls", "ended as the scenario says", attrgetter("sipp.successful")),
        Column("sipp_failed", INT, "calls", "did not", attrgetter("sipp.failed")),
        Column(
            "sipp_unexpected", INT, "messages", "not the ones that the scenario expects", attrgetter("sipp.unexpected")
        ),
        Column("sipp_dead_calls", INT, "messages", "for calls that had ended", attrgetter("sipp.dead_calls")),
        Column("sipp_out_of_call", INT, "messages", "of no call", attrgetter("sipp.out_of_call")),
        Column("sipp_retransmissions", INT, "messages", "sent again by SIPp", attrgetter("sipp.retransmissions")),
        Column("sipp_peak_calls", INT, "calls", "most at one time", attrgetter("sipp.peak_calls")),
        Column("sipp_call_limit", INT, "calls", "from here on SIPp sheds load", attrgetter("sipp.call_limit")),
        Column("sipp_elapsed_msec", INT, "msec", "by SIPp's clock", attrgetter("sipp.elapsed_msec")),
        Column("sipp_rate_per_s", FLOAT, "calls/s", "achieved", attrgetter("sipp.rate_per_s")),
    ),
)

STARTS = Table(
    "starts",
    "one fresh start of a cell, with its engine proof",
    (
        Column("round", INT, "", "round, from 1", attrgetter("round")),
        Column("start", INT, "", "fresh start of its round, from 1; more where a run was resumed", attrgetter("start")),
        Column("cell", WORD, "", "arm of the comparison", attrgetter("cell")),
        Column("engine", WORD, "", "routing engine asked for", attrgetter("engine")),
        Column("kamailio", WORD, "", "release", attrgetter("kamailio")),
        Column("image", WORD, "", "digest of the image", attrgetter("image")),
        Column("valid", BOOL, "", "no check failed", lambda r: not r.reasons),
        Column("reasons", TEXT, "", "the checks that failed, parted by `; `", _join("reasons")),
        Column(
            "start_seconds",
            FLOAT,
            "s",
            "from new databases until it has been proven and rehearsed",
            attrgetter("start_seconds"),
        ),
        Column("marker", TEXT, "", "`X-Lab-Engine` of the probe's reply", attrgetter("marker")),
        Column("engine_word", TEXT, "", "Kamailio's own word for its engine", attrgetter("engine_word")),
        Column("script", TEXT, "", "and for its script", attrgetter("script")),
        Column("request_route", BOOL, "", "the loaded configuration has one", attrgetter("request_route")),
        Column("processes", INT, "processes", "of Kamailio", lambda r: len(r.processes)),
        Column("cpus_asked", TEXT, "", "CPUs that each role was to have", lambda r: _pairs(r.cpus_asked)),
        Column("cpus_allowed", TEXT, "", "and those that the kernel allows", lambda r: _pairs(r.cpus_allowed)),
        Column("exit_code", INT, "", "of Kamailio, ended in order after the round", attrgetter("exit_code"), null=True),
        Column(
            "bindings",
            INT,
            "rows",
            "in `location` after that; in memory before, where its end is known to fail",
            attrgetter("bindings"),
            null=True,
        ),
        Column("bindings_expected", INT, "rows", "likewise, expected", attrgetter("bindings_expected"), null=True),
    ),
)

TABLES = (MESSAGES, SLICES, STARTS)


def from_records(table: Table, records: list[SliceRecord] | list[StartRecord]) -> pa.Table:
    """One row a record."""
    columns = {c.name: [c.value(record) for record in records] for c in table.columns if c.value}
    return pa.table(columns, schema=table.schema)
