"""The steps of a search on a cell that is up: each is a slice, and whether it was too much is all that counts.

So noise of the machine is no failure here. It belongs to latency; of capacity it is a part, and repeats show how much.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

from lab import load, sampling, search, store
from lab.errors import TestbedError
from lab.model import Plan, SlicePlan, SliceRecord
from lab.search import Parameters, Search, Step
from lab.session import Session
from lab.station import Station

FOLDER = "searches"  # of the evidence
FILL_SHARES = (0.7, 0.35, 0.15)  # of a rate, to register whom refreshes will be of: until one goes


class Ceilings(Protocol):
    """What is known of SIPp's own limit."""

    def of(self, plan: Plan) -> int | None:
        """How many calls a second of this plan's one cell SIPp can offer here; None where nobody has looked."""

    def keep(self, plan: Plan, found: Sequence[Search]) -> None:
        """A search that may tell more about it."""


@dataclass(slots=True)
class Bench:
    """One cell under search, started afresh as often as that is needed. Use as a context manager."""

    session: Session  # of this cell alone
    numbers: Iterator[int]  # of starts: one of its own for each, so that their evidence has names of its own
    parameters: Parameters
    round: int = 1
    ceiling_per_s: int | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _station: Station | None = None
    _start: int = 0
    _position: int = 0
    _registered: int = 0  # test0 to test<n - 1> have been sent
    _among: int = 0  # refreshes are of test0 to test<n - 1>; 0: of everybody
    _turn: int = 0  # whose comes next
    _found: Search | None = None  # the latest
    _gaps: list[tuple[int, int]] = field(default_factory=list)  # of those that have: first, how many; some calls failed

    def __enter__(self) -> Self:
        """With a first start."""
        self._fresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left running; the evidence of a start that broke off is kept."""
        self._stack.__exit__(kind, error, trace)

    def search(self, kind: str, *, distinct: bool = False) -> Search:
        """The highest rate without a failure. With `distinct` each call is of a subscriber that has no binding."""
        parameters, found = self.parameters, self._begun(kind, self._up.contacts())
        self.keep(found)
        state = search.begin(parameters)
        while state.rate_per_s is not None:
            step = self._step(state.rate_per_s, distinct=distinct)
            state = search.after(parameters, state, failed=bool(step.failures))
            said = step.failures[0] if step.failures else "ok"
            self.session.reporter.stage(f"round {self.round}, {found.cell}: {kind} at {step.rate_per_s}/s: {said}")
            found = replace(found, steps=(*found.steps, step))
            self.keep(found)
        rate, confirmed = search.found(parameters, state)
        problem = "" if rate else f"not even {found.steps[-1].rate_per_s}/s went: {found.steps[-1].failures[0]}"
        found = replace(found, rate_per_s=rate, confirmed=confirmed, ended=True, problem=problem)
        self.keep(found)
        return found

    def give_up(self, problem: str) -> None:
        """The search that was going on, or was to come, has no result."""
        (cell,) = self.session.plan.cells
        whole = self.session.plan.scenario_of(cell.name).whole
        going = self._found
        if going is None or going.ended:
            going = self._begun(whole if going is None else f"re-{whole}", None)
        self.keep(replace(going, ended=True, problem=problem))

    def keep(self, found: Search) -> None:
        """As evidence, however far it is."""
        name = f"r{found.round:02d}-{found.cell}-{re.sub(r'[^a-z0-9]+', '-', found.kind.lower())}.json"
        self._found = found
        store.dump(found, self.session.run.evidence / FOLDER / name)

    def register(self, rate_per_s: int, *, everybody: bool) -> None:
        """Give those a binding whom refreshes will be of: everybody, or whom the search had calls of.

        Some of those calls may have failed. TestbedError where no share of this rate goes: what went in a search may
        not while bindings are written to the database, which comes once a minute and takes seconds.
        """
        plan = self.session.plan
        (cell,) = plan.cells
        if everybody:
            self._gaps.append((self._registered, cell.subscribers - self._registered))
            self._registered = cell.subscribers
        for first, calls in (gap for gap in self._gaps if gap[1]):
            said = ""
            for share in FILL_SHARES:
                rate = max(1, rate_per_s * share)
                parts = load.parts(calls, rate, cell.subscribers, plan.sipp_processes, first)
                said = self._up.rehearse(plan.scenario_of(cell.name), parts)
                if not said:
                    break
                self._up.settle()
            if said:
                raise TestbedError(f"cell {cell.name}: the subscribers cannot be registered: {said}")
        self._gaps, self._among = [], self._registered
        self._up.skip()

    def _begun(self, kind: str, bindings: int | None) -> Search:
        plan = self.session.plan
        return Search(
            cell=plan.cells[0].name,
            kind=kind,
            round=self.round,
            parameters=self.parameters,
            bindings=bindings,
            sipp_processes=plan.sipp_processes,
            ceiling_per_s=self.ceiling_per_s,
        )

    @property
    def _up(self) -> Station:
        if self._station is None:
            raise TestbedError("no cell is up")
        return self._station

    def _fresh(self) -> None:
        self._stack.close()
        self._start, self._position = next(self.numbers), 0
        # The rehearsal has registered the first process's first subscriber: no process begins with its first.
        self._registered = self.session.plan.sipp_processes
        self._gaps = [(0, self._registered)]
        starts, stations = self._stack.enter_context(self.session.fresh(self._start))
        for name, start in starts.items():
            if start.reasons:
                raise TestbedError(f"cell {name}: {'; '.join(start.reasons)}")
        (self._station,) = stations.values()

    def _step(self, rate_per_s: int, *, distinct: bool) -> Step:
        """Offer one rate. Each SIPp process has as many calls as the others, so that its subscribers follow on."""
        (cell,) = self.session.plan.cells
        processes = self.session.plan.sipp_processes
        calls = -(-self.parameters.calls(rate_per_s) // processes) * processes
        if distinct:
            calls = min(calls, (cell.subscribers // processes - 1) * processes)
            if self._registered + calls > cell.subscribers:
                self._fresh()
            first = self._registered
        else:  # where the step before has ended, so that all of them have their turn
            among = self._among or cell.subscribers
            calls = min(calls, among) if among < cell.subscribers else calls
            first = self._turn if self._turn + calls <= among else 0
            self._turn = first + calls
        self._position += 1
        piece = SlicePlan(
            round=self._start,
            position=self._position,
            cell=cell.name,
            warmup=False,
            calls=calls,
            rate_per_s=rate_per_s,
            first=first,
        )
        record = self.session.slice(piece, self._up, keep_log=False)
        if distinct:
            self._registered += calls
            self._gaps += [(piece.first, calls)] if record.sipp.failed else []
        if record.sipp.exit_code:  # calls were given up: what is still under way must not fall into the next step
            self._up.settle()
        return _step(record, distinct=distinct)


def _step(record: SliceRecord, *, distinct: bool) -> Step:
    counted = [edge.statistics.get(sampling.CONTACTS) for edge in (record.before, record.after)]
    added = _less(counted[1], counted[0])
    failures = record.reasons
    if distinct and not failures and added != record.plan.calls:
        failures = (f"{record.plan.calls} subscribers of their own made {added} bindings",)
    return Step(
        slice=record.plan.id,
        rate_per_s=record.plan.rate_per_s,
        calls=record.plan.calls,
        achieved_per_s=record.sipp.rate_per_s,
        seconds=record.sipp.elapsed_msec / 1000,
        new_bindings=added,
        sipp_cpu_usec=_less(record.after.sipp_cpu_usec, record.before.sipp_cpu_usec),
        kamailio_cpu_usec=_less(record.after.cpu_usec, record.before.cpu_usec),
        routing_usec=sum(record.tally.usec_sum.values()),
        failures=failures,
    )


def _less(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier


def point(bench: Bench) -> list[Search]:
    """All that is searched on one cell in one round.

    A scenario that registers has two rates: with subscribers that have no binding yet, and with the same ones again.
    With too few subscribers for two steps of the former there is only the latter, with all of them.
    """
    (cell,) = bench.session.plan.cells
    scenario, parameters = bench.session.plan.scenario_of(cell.name), bench.parameters
    if not scenario.bindings or scenario.setup:
        return [bench.search(scenario.whole)]
    if cell.subscribers < 2 * parameters.calls(parameters.start_per_s):
        bench.register(parameters.start_per_s, everybody=True)
        return [bench.search(f"re-{scenario.whole}")]
    first = bench.search(scenario.whole, distinct=True)
    if not first.rate_per_s:
        return [first]
    bench.register(first.rate_per_s, everybody=False)
    return [first, bench.search(f"re-{scenario.whole}")]


def capacity(session: Session, parameters: Parameters, ceilings: Ceilings) -> None:
    """Every cell once a round, in the plan's order; the A/A cell compares times, and is left out.

    A cell that dies, or cannot be proven, does not keep the others waiting: what is wrong with it is in its evidence.
    """
    numbers = itertools.count(1)
    for planned in session.plan.rounds:
        for name in dict.fromkeys(piece.cell for piece in planned.slices if piece.cell != session.plan.aa_cell):
            alone = session.only(session.plan.cell(name))
            session.reporter.stage(f"round {planned.number} of {len(session.plan.rounds)}, {name}: fresh start")
            bench = Bench(alone, numbers, parameters, planned.number, ceilings.of(alone.plan))
            try:
                with bench:
                    found = point(bench)
                ceilings.keep(alone.plan, found)
            except TestbedError as error:
                session.reporter.note(f"round {planned.number}, {name}: {error}")
                bench.give_up(str(error))
