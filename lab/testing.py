"""Builders for tests, ours and a user's: logs, records and whole results folders, without Docker.

Everything is seeded by the plan: the same plan gives the same bytes. What they build is valid until a test spoils it:
each builder's value is a frozen dataclass, so `dataclasses.replace` changes one thing.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lab import latency, logs, sampling, store
from lab.latency import Times
from lab.model import (
    NATIVE,
    Cell,
    LegRule,
    Limits,
    Plan,
    Role,
    RoundPlan,
    Sample,
    Scenario,
    SippOutcome,
    SlicePlan,
    SliceRecord,
    StartRecord,
    Worker,
)
from lab.observation import WAYS

CHALLENGE, AUTHENTICATED = "challenge", "authenticated"
SCENARIO = Scenario(
    "register",
    (LegRule(CHALLENGE, "REGISTER", 1), LegRule(AUTHENTICATED, "REGISTER", 2)),
    counters={"sl.401_replies": 1, "sl.200_replies": 1, "registrar.accepted_regs": 1, "registrar.rejected_regs": 0},
)
KAMAILIO = "6.0.1"
WORKERS = (7, 8)
SUBSCRIBERS = 10
CPUS: dict[str, str] = {Role.KAMAILIO: "0", Role.MYSQL: "1", Role.SIPP: "1", Role.DRIVER: "1"}
# What a leg costs the native engine here: median in usec, and spread of its logarithm.
COST = {CHALLENGE: (50.0, 0.2), AUTHENTICATED: (250.0, 0.1)}

_WORKER = Worker(0, 0, 0, 0, rss_kib=20_000, pkg_bytes=1_000_000)
_SECOND = 1_000_000_000
_PROCESSES = {1: "main process - attendant"} | {
    pid: f"udp receiver child={child} sock=127.0.0.1:5060" for child, pid in enumerate(WORKERS)
}


def latency_line(
    call_id: str, usec: int, *, cseq: int = 1, method: str = "REGISTER", worker: int = WORKERS[0]
) -> bytes:
    """A line as Kamailio 6.0.1 writes it with the lab's log_prefix."""
    return (
        f" {worker - 6}({worker}) INFO: |1|{cseq} {method}|{call_id}|"
        f"<core> [core/receive.c:533]: receive_msg(): request-route executed in: {usec} usec\n"
    ).encode()


def slice_log(plan: SlicePlan, *, factor: float = 1.0) -> bytes:
    """What a slice logs when all goes well; `factor` is what its engine costs relative to native."""
    chance = random.Random(plan.id)  # noqa: S311  (reproducible, no secret)
    lines: list[bytes] = []
    for call in range(1, plan.calls + 1):
        for rule in SCENARIO.legs:
            median, spread = COST[rule.leg]
            usec = round(median * factor * chance.lognormvariate(0, spread))
            call_id = f"{plan.call_id_prefix}{call}"
            lines.append(latency_line(call_id, usec, cseq=rule.cseq, worker=chance.choice(WORKERS)))
    return b"".join(lines)


def plan(  # noqa: PLR0913  (a test names the one thing that it is about)
    *,
    engines: Iterable[str] = ("native", "lua", "python3"),
    rounds: int = 2,
    slices: int = 2,
    warmup_slices: int = 1,
    calls: int = 50,
    rate_per_s: int = 100,
) -> Plan:
    """A small experiment with its A/A arm, cells taking turns."""
    names = list(engines)
    cells = [
        Cell(
            engine,
            engine,
            KAMAILIO,
            children=len(WORKERS),
            subscribers=SUBSCRIBERS,
            rate_per_s=rate_per_s,
            slice_seconds=calls / rate_per_s,
            baseline=names[0],
        )
        for engine in names
    ]
    cells.append(replace(cells[0], name=f"{cells[0].name}-aa"))

    def one(number: int) -> RoundPlan:
        order = [(block, cell) for block in range(warmup_slices + slices) for cell in cells]
        return RoundPlan(
            number,
            tuple(
                SlicePlan(number, position, cell.name, block < warmup_slices, calls, rate_per_s)
                for position, (block, cell) in enumerate(order, start=1)
            ),
        )

    return Plan(
        experiment="builder",
        hash="0" * 64,
        cells=tuple(cells),
        aa_cell=cells[-1].name,
        rounds=tuple(one(number) for number in range(1, rounds + 1)),
        repeats=1,
        scenarios=(SCENARIO,),
        limits=Limits(),
    )


def known(plan: Plan, engine: str, *, known_broken: str = "", known_end: int = 0) -> Plan:
    """The same with something that is known of an engine."""
    return replace(
        plan,
        cells=tuple(
            replace(cell, known_broken=known_broken, known_end=known_end) if cell.engine == engine else cell
            for cell in plan.cells
        ),
    )


def record(plan: SlicePlan, log: bytes, *, engine: str = "native") -> SliceRecord:
    """The record of a slice that logged `log`, everything else being as it should."""
    tally = latency.tally(log.splitlines(keepends=True), plan.call_id_prefix, SCENARIO.legs)
    nsec = plan.calls * _SECOND // plan.rate_per_s
    start = (plan.round * 100 + plan.position) * 2 * nsec
    usec = sum(tally.usec_sum.values())
    counters = {name: times * plan.calls for name, times in SCENARIO.counters.items()}
    before = Sample(
        monotonic_nsec=start,
        wall_nsec=1_700_000_000 * _SECOND + start,
        cpu_usec=0,
        throttled=0,
        statistics={sampling.RECEIVED: 0, sampling.SHM_USED: 3_000_000, **dict.fromkeys(counters, 0)},
        processes=_PROCESSES,
        workers=dict.fromkeys(WORKERS, _WORKER),
        udp_rcvbuf_errors=0,
        socket_drops=0,
        steal_ticks=0,
        mysql_aborted=0,
        mysql_statements=0,
        sipp_cpu_usec=0,
        mysql_cpu_usec=0,
        driver_cpu_usec=0,
        ran_usec=0,
        edge_usec=80_000,
    )
    cpu_usec = usec * 6 // 5
    after = replace(
        before,
        monotonic_nsec=before.monotonic_nsec + nsec,
        wall_nsec=before.wall_nsec + nsec + 2000,
        cpu_usec=cpu_usec,
        statistics={sampling.RECEIVED: tally.lines, sampling.SHM_USED: 3_001_000, **counters},
        workers=dict.fromkeys(
            WORKERS,
            replace(
                _WORKER,
                on_cpu_nsec=usec * 500,
                run_delay_nsec=usec * 10,
                voluntary_switches=plan.calls,
                involuntary_switches=1,
            ),
        ),
        mysql_statements=plan.calls,
        sipp_cpu_usec=cpu_usec // 2,
        mysql_cpu_usec=cpu_usec // 3,
        driver_cpu_usec=1000,
        ran_usec=cpu_usec,  # nobody else was there
    )
    sipp = SippOutcome(
        exit_code=0,
        created=plan.calls,
        successful=plan.calls,
        failed=0,
        unexpected=0,
        dead_calls=0,
        out_of_call=0,
        retransmissions=0,
        peak_calls=3,
        call_limit=10_000,
        elapsed_msec=nsec // 1_000_000,
        rate_per_s=float(plan.rate_per_s),
    )
    return SliceRecord(plan, engine, before, after, sipp, tally, kamailio_cpus=1, beside_kamailio=())


def times(plan: SlicePlan, log: bytes) -> Times:
    """What the requests of a slice's log took."""
    found: Times = {}
    latency.tally(log, plan.call_id_prefix, SCENARIO.legs, found)
    return found


def unlogged(record: SliceRecord) -> SliceRecord:
    """The same slice with its latency lines switched off; its log is empty."""
    return replace(record, logged=False, tally=latency.tally(b"", record.plan.call_id_prefix, SCENARIO.legs))


def start(number: int, cell: Cell) -> StartRecord:
    """A fresh start of a cell that proved its engine."""
    native = cell.engine == NATIVE
    return StartRecord(
        round=number,
        cell=cell.name,
        engine=cell.engine,
        kamailio=cell.kamailio,
        image="sha256:" + "0" * 64,
        start_seconds=1.5,
        marker=cell.engine,
        engine_word=cell.engine,
        script="" if native else f"/etc/kamailio/parity/{cell.engine}",
        request_route=native,
        processes=_PROCESSES,
        cpus_asked=CPUS,
        cpus_allowed=CPUS,
        bindings=SUBSCRIBERS,
        bindings_expected=SUBSCRIBERS,
    )


def slices(plan: Plan, factors: Mapping[str, float] | None = None) -> list[tuple[SliceRecord, bytes]]:
    """All slices of a plan with their logs; `factors` are the costs of engines, relative to native."""
    made: list[tuple[SliceRecord, bytes]] = []
    for piece in (piece for number in plan.rounds for piece in number.slices):
        cell = plan.cell(piece.cell)
        log = slice_log(piece, factor=(factors or {}).get(cell.engine, 1.0))
        done = record(piece, log, engine=cell.engine)
        made.append((done, log) if WAYS[cell.observe].logged else (unlogged(done), b""))
    return made


def run(
    results: Path,
    plan: Plan,
    made: Iterable[tuple[SliceRecord, bytes]] | None = None,
    *,
    spoil: Callable[[StartRecord], StartRecord] = lambda start: start,
    ended: str = "complete",
) -> Path:
    """A sealed results folder: of `plan`, with the slices that were made of it (all, by default)."""
    folder = store.Run.create(results, plan.experiment)
    (folder.evidence / "experiment.toml").write_text(f'name = "{plan.experiment}"\n', encoding="utf-8")
    store.dump(plan, folder.evidence / "plan.json")
    for number in plan.rounds:
        for cell in plan.hosts:
            with folder.part("starts", f"r{number.number:02d}-{cell.name}") as part:
                store.dump(spoil(start(number.number, cell)), part / "start.json")
                (part / logs.NAME).write_bytes(b"")
    for done, log in slices(plan) if made is None else made:
        with folder.part("slices", done.plan.id) as part:
            store.dump(done, part / "slice.json")
            (part / logs.NAME).write_bytes(log)
            logs.compress(part)
    folder.seal(ended)
    return folder.folder
