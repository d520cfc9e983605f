"""The whole domain as plain values: frozen, typed, importing nothing of lab.

Words are the field's: a *cell* is what is compared (an engine on a Kamailio release), a *round* a fresh start of every
cell, a *slice* one short SIPp run against one cell, a *leg* one of the requests of a call (of a registration: two).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

NATIVE = "native"  # Kamailio's own language, the one engine without a KEMI module


# Legs differ several times over and are never pooled. Their names are the scenario's; this is what belongs to none.
OTHER = "other"


def nth(name: str, number: int) -> str:
    """What the first, the second, ... of that name is called."""
    return name if number == 1 else f"{name}-again{number - 1}"


class Role(StrEnum):
    """Who gets CPUs."""

    KAMAILIO = "kamailio"
    MYSQL = "mysql"
    SIPP = "sipp"
    DRIVER = "driver"


# --- what was asked for -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LegRule:
    """Which request of a call is which leg: by method, CSeq number, and which one of those in a call it is."""

    leg: str
    method: str
    cseq: int
    order: int = 1  # one that comes more often than the scenario says is a retransmission


@dataclass(frozen=True, slots=True)
class Scenario:
    """A SIPp scenario and what it declares (its .toml sidecar)."""

    name: str
    legs: tuple[LegRule, ...]
    whole: str = "registration"  # what all legs together are called
    counters: dict[str, int] = field(default_factory=dict)  # by how much Kamailio's counters grow with each call
    traffic: str = ""  # SIPp's file, where it is another scenario's
    setup: str = ""  # scenario that every subscriber goes through before the slices
    subscribers: int = 0  # that it takes at least
    bindings: bool = True  # who went through it has a binding
    ignores_unexpected: bool = False  # a reply that no step waits for is passed over, and ends no call
    log_bytes: int = 0  # what a call logs, where that is more than a latency line a leg

    @property
    def leg_names(self) -> tuple[str, ...]:
        """Legs in the order of a call."""
        return tuple(dict.fromkeys(rule.leg for rule in self.legs))

    @property
    def file(self) -> str:
        """What SIPp is told to play."""
        return self.traffic or f"{self.name}.xml"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a slice may stray before it is invalid."""

    retransmissions: int = 0
    rate_tolerance: float = 0.01  # relative, achieved against offered
    clock_drift_usec: int = 1000  # wall against monotonic clock over the slice
    steal_share: float = 0.05  # of the time of Kamailio's CPUs
    foreign_cpu_share: float = 0.05  # likewise: taken by what is not the lab's
    run_delay_share: float = 0.30  # of the time in which workers wanted a CPU: that they waited for it


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm of the comparison."""

    name: str
    engine: str
    kamailio: str
    routing: str = "parity"
    database: str = "mysql"
    scenario: str = "register"
    memory: str = "qm"  # Kamailio's memory manager; this one is its own default
    observe: str = "log"  # what is written about it while it runs: lab.observation
    configuration: str = "kamailio.cfg"  # name of the common configuration that it is started with
    children: int = 1  # UDP workers
    subscribers: int = 10  # that its calls are of, in turn
    rate_per_s: int = 400  # calls offered
    slice_seconds: float = 2.0
    baseline: str = ""  # name of the cell that it is compared with
    shares: str = ""  # name of the cell whose Kamailio, SIPp and database it uses, too; none: it has its own
    known_broken: str = ""  # what images/versions.toml knows that it cannot do
    known_end: int = 0  # exit code with which its Kamailio is known to end


@dataclass(frozen=True, slots=True)
class Specimen:
    """An experiment that repeats another's conditions against this lab's own rules: shown as found, never a result."""

    order: Literal["interleaved", "in turn"] = "interleaved"
    call_limit: int | None = None  # SIPp's -l; None: never reached
    sipp_cpu_shares: int = 1024  # of its container, where all of a Kamailio's has 1024: who goes first on shared CPUs
    sipp_buffer_bytes: int | None = None  # what its socket holds of replies; None: SIPp's own 64 KiB


@dataclass(frozen=True, slots=True)
class Counting:
    """Instructions are counted, of calls one after the other, and nothing is timed."""

    calls: int = 100  # of each cell and round
    warmup_calls: int = 30  # before them: first-time allocations, caches, each subscriber's first binding
    probes: bool = False  # as it runs without valgrind, too: by the kernel's clocks and counters


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """One SIPp run to come. `attempt` counts up when an invalid slice is run again."""

    round: int
    position: int
    cell: str
    warmup: bool
    calls: int
    rate_per_s: int
    attempt: int = 1
    first: int = 0  # the subscriber that the first call is of

    @property
    def id(self) -> str:
        """Unique in a run; sorts by round and position."""
        return nth(f"r{self.round:02d}-s{self.position:03d}-{self.cell}", self.attempt)

    @property
    def call_id_prefix(self) -> str:
        """How every Call-ID of the slice begins. Short, so that a latency line fits in 128 bytes (decision 0003)."""
        return f"{self.round}.{self.position}-"


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """A fresh start of all cells, then their slices interleaved."""

    number: int
    slices: tuple[SlicePlan, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will happen, fixed before anything starts. `hash` covers all of it."""

    experiment: str
    hash: str
    cells: tuple[Cell, ...]
    aa_cell: str  # the first baseline once more
    rounds: tuple[RoundPlan, ...]
    repeats: int  # how often an invalid slice may be run again
    scenarios: tuple[Scenario, ...]  # of the cells, and those that set them up
    limits: Limits
    inputs: dict[str, str] = field(default_factory=dict)  # files that the experiment names -> sha256 of their content
    variants: dict[str, str] = field(default_factory=dict)  # release -> how its build differs from the release
    left_out: tuple[str, ...] = ()  # what was asked for and is not run, and why
    specimen: Specimen | None = None
    keep_awake: bool = False  # its CPUs never halt
    turn_msec: int = 0  # of each cell of a block, one after the other; 0: a slice has its seconds for itself
    sipp_processes: int = 1  # that share a slice's calls
    rate_share: float | None = None  # of the baseline's zero-failure rate: the offered rate was found by a search
    looks: tuple[int, ...] = ()  # after so many rounds it may stop; none: all rounds are run
    alpha: float = 0.05  # of each look, so that all of them together are wrong in 5 % of runs
    half_width: float | None = None  # of the intervals, as a share of the ratio, with which it stops
    stopped_after: int = 0  # rounds: the rule was met, and the rest is not in the plan any more
    counting: Counting | None = None  # in place of slices

    def cell(self, name: str) -> Cell:
        """A cell by its name."""
        return next(cell for cell in self.cells if cell.name == name)

    def scenario(self, name: str) -> Scenario:
        """A scenario by its name."""
        return next(scenario for scenario in self.scenarios if scenario.name == name)

    def scenario_of(self, cell: str) -> Scenario:
        """What a cell's slices are made of."""
        return self.scenario(self.cell(cell).scenario)

    @property
    def at_once(self) -> int:
        """How many slices share the same seconds: in turns all of a block."""
        return len(self.cells) if self.turn_msec else 1

    @property
    def subscribers(self) -> int:
        """Accounts in the tables: as many as the cell that has most."""
        return max(cell.subscribers for cell in self.cells)

    def host(self, name: str) -> str:
        """The cell whose Kamailio serves a cell: mostly itself."""
        return self.cell(name).shares or name

    @property
    def hosts(self) -> tuple[Cell, ...]:
        """Cells with a Kamailio of their own."""
        return tuple(cell for cell in self.cells if not cell.shares)

    @property
    def releases(self) -> tuple[str, ...]:
        """Kamailio's releases in it."""
        return tuple(dict.fromkeys(cell.kamailio for cell in self.cells))

    @property
    def databases(self) -> tuple[str, ...]:
        """Database servers in it."""
        return tuple(dict.fromkeys(cell.database for cell in self.cells))


# --- what was seen ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worker:
    """One of Kamailio's workers so far: /proc/PID/schedstat, /proc/PID/status, and its own word for pkg memory."""

    on_cpu_nsec: int
    run_delay_nsec: int
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    rss_kib: int | None = None  # shared memory that it has touched is in it
    pkg_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one edge of a slice. Not measured is None, never 0."""

    monotonic_nsec: int
    wall_nsec: int
    cpu_usec: int | None  # of Kamailio's container, from its cgroup
    throttled: int | None  # periods in which the cgroup was throttled
    statistics: dict[str, int]  # Kamailio's RPC counters, "group.name"
    processes: dict[int, str]  # Kamailio's process list: pid -> description
    workers: dict[int, Worker]  # UDP workers only
    udp_rcvbuf_errors: int
    socket_drops: int
    steal_ticks: int | None  # summed over Kamailio's CPUs, 1/100 s
    mysql_aborted: int
    # What older evidence lacks:
    mysql_statements: int | None = None  # that read or write rows, of anybody
    sipp_cpu_usec: int | None = None  # of SIPp's container
    mysql_cpu_usec: int | None = None  # of the database server's container
    driver_cpu_usec: int | None = None  # of this very process
    ran_usec: int | None = None  # CPU time of all tasks on Kamailio's CPUs
    edge_usec: int | None = None  # that it took to ask for all this


@dataclass(frozen=True, slots=True)
class SippOutcome:
    """The last row of SIPp's statistics file, and its exit code."""

    exit_code: int
    created: int
    successful: int
    failed: int
    unexpected: int
    dead_calls: int
    out_of_call: int
    retransmissions: int
    peak_calls: int
    call_limit: int
    elapsed_msec: int
    rate_per_s: float
    processes: int = 1  # that shared the calls


@dataclass(frozen=True, slots=True)
class Tally:
    """A slice's log, counted. `messages` has first transmissions per leg; `usec_sum` likewise."""

    messages: dict[str, int]
    usec_sum: dict[str, int]
    retransmissions: int
    foreign: int  # latency lines whose Call-ID is of another slice
    errors: tuple[str, ...]  # ERROR, CRITICAL, ALERT, BUG lines; the first ones, as with those below
    malformed: tuple[str, ...] = ()  # torn or interleaved latency lines: they count nowhere, so any is one too many
    further_errors: int = 0  # that are not kept: a log may have gigabytes of them
    further_malformed: int = 0

    @property
    def error_count(self) -> int:
        """Error lines in all."""
        return len(self.errors) + self.further_errors

    @property
    def malformed_count(self) -> int:
        """Malformed lines in all."""
        return len(self.malformed) + self.further_malformed

    @property
    def lines(self) -> int:
        """Latency lines of the slice, retransmissions and foreign ones included."""
        return sum(self.messages.values()) + self.retransmissions + self.foreign


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One slice as it was: plan, edges, outcome. Sealed in slice.json; the log lies beside it."""

    plan: SlicePlan
    engine: str
    before: Sample
    after: Sample
    sipp: SippOutcome
    tally: Tally
    kamailio_cpus: int  # how many CPUs Kamailio was given
    beside_kamailio: tuple[Role, ...] | None = None  # roles with the same CPUs; None: one has only some of them
    logged: bool = True  # its requests have latency lines; where they have none, counters alone speak for it
    longest_wait_msec: int = 0  # that a call may have waited for its cell's turn before it sent anything
    neighbours_cpu_usec: int | None = 0  # of Kamailios whose turns came between its own, on the same CPUs
    neighbours_sipp_cpu_usec: int | None = 0  # of their SIPps
    start: int = 1  # fresh start of its round that it stands on: more than one where the run was resumed
    reasons: tuple[str, ...] = ()  # the runner's verdict: empty means valid

    @property
    def valid(self) -> bool:
        """No check failed."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class StartRecord:
    """One fresh start of a cell, with the proof that this engine and this script answer."""

    round: int
    cell: str
    engine: str
    kamailio: str
    image: str  # digest
    start_seconds: float
    marker: str  # X-Lab-Engine of the probe's reply
    engine_word: str  # Kamailio's own word for engine and script
    script: str
    request_route: bool  # the loaded configuration has one
    processes: dict[int, str]
    cpus_asked: dict[str, str]  # role -> CPUs, in the kernel's list form
    cpus_allowed: dict[str, str]  # the same, read back from the kernel
    exit_code: int | None = None  # of Kamailio, ended in order when the round was over
    exit_code_known: int = 0  # what an engine is known to end with on this release
    bindings: int | None = None  # rows in location after that
    bindings_expected: int | None = None
    start: int = 1  # of its round: more than one where the run was resumed
    reasons: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        """Unique in a run; sorts by round."""
        return nth(f"r{self.round:02d}-{self.cell}", self.start)
