"""The steps of a search on a cell that is up: each is a slice, and whether it was too much is all that counts.

So noise of the machine is no failure here. It belongs to latency; of capacity it is a part, and repeats show how much.
"""

import itertools
import re
import sys
import time
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


def kinds(plan: Plan, cell: str, parameters: Parameters) -> tuple[str, ...]:
    """What is searched on a cell, in that order.

    A scenario that registers has two rates: with subscribers that have no binding yet, and with the same ones again.
    With too few subscribers for two steps of the former there is only the latter, with all of them.
    """
    scenario = plan.scenario_of(cell)
    if not scenario.bindings or scenario.setup:
        return (scenario.whole,)
    enough = plan.cell(cell).subscribers >= 2 * parameters.calls(parameters.start_per_s)
    return (scenario.whole, _again(plan, cell)) if enough else (_again(plan, cell),)


def _again(plan: Plan, cell: str) -> str:
    """The kind whose calls are of those that have a binding."""
    return f"re-{plan.scenario_of(cell).whole}"


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
    _due: str = ""  # the kind that is searched, or comes next; nothing: all is done
    _going: Search | None = None  # the search of that kind, once it has begun
    _since: float = 0.0  # when the search before had ended, by the monotonic clock
    _gaps: list[tuple[int, int]] = field(default_factory=list)  # of those: first, how many, where not all calls went

    def __enter__(self) -> Self:
        """With a first start."""
        self._due, self._since = self.kinds[0], time.monotonic()
        try:
            self._fresh()
        except BaseException:  # what is up already would stay so
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left running; the evidence of a start that broke off is kept."""
        self._stack.__exit__(kind, error, trace)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is searched on this cell, in that order."""
        (cell,) = self.session.plan.cells
        return kinds(self.session.plan, cell.name, self.parameters)

    def search(self, kind: str, *, distinct: bool = False) -> Search:
        """The highest rate without a failure. With `distinct` each call is of a subscriber that has no binding."""
        self._due = kind
        parameters, found = self.parameters, self.keep(self._begun(kind, self._up.contacts()))
        state = search.begin(parameters)
        while state.rate_per_s is not None:
            step = self._step(state.rate_per_s, distinct=distinct)
            state = search.after(parameters, state, failed=bool(step.failures))
            said = step.failures[0] if step.failures else "ok"
            self.session.reporter.stage(f"round {self.round}, {found.cell}: {kind} at {step.rate_per_s}/s: {said}")
            found = self.keep(replace(found, steps=(*found.steps, step)))
        offered, confirmed = search.found(parameters, state)
        found = self.keep(
            replace(
                found,
                rate_per_s=offered and search.achieved(parameters, found.steps, offered),
                offered_per_s=offered,
                confirmed=confirmed,
                ended=True,
                problem="" if offered else search.problem(found.steps),
            )
        )
        self._due, self._going, self._since = "", None, time.monotonic()
        return found

    def give_up(self, problem: str) -> None:
        """The search that was going on, or was to come, has no result; one that has ended keeps its own."""
        if self._due:
            self.keep(replace(self._going or self._begun(self._due, None), ended=True, problem=problem))

    def keep(self, found: Search) -> Search:
        """As evidence, however far it is, with the time that it has taken."""
        name = f"r{found.round:02d}-{found.cell}-{re.sub(r'[^a-z0-9]+', '-', found.kind.lower())}.json"
        self._going = found = replace(found, seconds=round(time.monotonic() - self._since, 1))
        store.dump(found, self.session.run.evidence / FOLDER / name)
        return found

    def register(self, rate_per_s: int, *, everybody: bool) -> None:
        """Give those a binding whom refreshes will be of: everybody, or whom the search had calls of.

        Some of those calls may have failed. TestbedError where no share of this rate goes: what went in a search may
        not go a moment later (docs/capacity.md).
        """
        self._due = self.again
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

    @property
    def again(self) -> str:
        """The kind whose calls are of those that have a binding."""
        (cell,) = self.session.plan.cells
        return _again(self.session.plan, cell.name)

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
            self._gaps += [(piece.first, calls)] if record.sipp.successful < calls else []
        if record.sipp.exit_code:  # calls were given up: what is still under way must not fall into the next step
            self._up.skip()
        # Of everybody, as they come, some have a binding and some have not.
        return _step(record, new=calls if distinct else 0 if self._among else None)


def _step(record: SliceRecord, *, new: int | None) -> Step:
    """`new` bindings are to be made by its calls, where that is known."""
    before, after, failures = record.before, record.after, record.reasons
    added = _less(after.statistics.get(sampling.CONTACTS), before.statistics.get(sampling.CONTACTS))
    # Fewer than none: some have expired, in a search of hours.
    if new is not None and not failures and (added is None or max(added, 0) != new):
        who = "subscribers of their own" if new else "refreshes"
        failures = (f"{record.plan.calls} {who} made {added} new bindings",)
    return Step(
        slice=record.plan.id,
        rate_per_s=record.plan.rate_per_s,
        calls=record.plan.calls,
        achieved_per_s=record.sipp.rate_per_s,
        seconds=record.sipp.elapsed_msec / 1000,
        new_bindings=added,
        sipp_cpu_usec=_less(after.sipp_cpu_usec, before.sipp_cpu_usec),
        kamailio_cpu_usec=_less(after.cpu_usec, before.cpu_usec),
        routing_usec=sum(record.tally.usec_sum.values()) if any(record.tally.messages.values()) else None,
        failures=failures,
        mysql_cpu_usec=_less(after.mysql_cpu_usec, before.mysql_cpu_usec),
    )


def _less(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier


@dataclass(frozen=True, slots=True)
class Done:
    """What a run that is gone on with has of its searches."""

    points: frozenset[tuple[int, str]] = frozenset()  # round and cell, all of whose searches have ended
    starts: int = 0  # the highest number that a start has


NOTHING = Done()


def done(plan: Plan, searches: Sequence[Search], starts: int) -> Done:
    """By what it has kept. A cell's next search, if there is one, stands on what the one before has registered."""
    ended: dict[tuple[int, str], list[Search]] = {}
    for one in searches:
        ended.setdefault((one.round, one.cell), []).append(one)
    return Done(frozenset(key for key, found in ended.items() if _whole(plan, found)), starts)


def _whole(plan: Plan, found: Sequence[Search]) -> bool:
    """All of one point's have ended, and there are as many as there should be; where the first has no rate, itself."""
    due = kinds(plan, found[0].cell, found[0].parameters)
    nothing = any(one.ended and not one.rate_per_s for one in found)
    return all(one.ended for one in found) and (nothing or len(found) == len(due))


def point(bench: Bench) -> list[Search]:
    """All that is searched on one cell in one round."""
    kind, *then = bench.kinds
    if kind == bench.again:
        bench.register(bench.parameters.start_per_s, everybody=True)
    first = bench.search(kind, distinct=bool(then))
    if not then or not first.rate_per_s:
        return [first]
    bench.register(first.rate_per_s, everybody=False)
    return [first, bench.search(bench.again)]


def capacity(session: Session, parameters: Parameters, ceilings: Ceilings, been: Done = NOTHING) -> None:
    """Every cell once a round, in the plan's order; the A/A cell compares times, and is left out.

    A cell that dies, or cannot be proven, does not keep the others waiting: what is wrong with it is in its evidence.
    """
    numbers = itertools.count(been.starts + 1)
    (session.run.evidence / FOLDER).mkdir(exist_ok=True)
    for planned in session.plan.rounds:
        for name in dict.fromkeys(piece.cell for piece in planned.slices if piece.cell != session.plan.aa_cell):
            if (planned.number, name) in been.points:
                continue
            alone = session.only(session.plan.cell(name))
            session.reporter.stage(f"round {planned.number} of {len(session.plan.rounds)}, {name}: fresh start")
            bench = Bench(alone, numbers, parameters, planned.number, ceilings.of(alone.plan))
            try:
                with bench:
                    found = point(bench)
                ceilings.keep(alone.plan, found)
            except TestbedError as error:
                if getattr(error, "end_was_asked", False):
                    raise
                session.reporter.note(f"round {planned.number}, {name}: {error}")
                bench.give_up(str(error))
