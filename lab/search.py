"""The highest rate without a failure, searched in the manner of RFC 7502: multiply up, back off, confirm. Pure.

A step offers one rate for a while, and fails or not. The rate is multiplied until a step fails; the gap between what
went and what failed is halved (geometrically) until it is narrow; what is left has to go several times in a row, and is
lowered a little each time that it does not. RFC 7502, section 4.10, halves its growth instead of the gap.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lab.deltas import rate_is_off
from lab.model import Limits, Scenario, SliceRecord


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a search goes about it."""

    start_per_s: int = 400  # the first rate
    growth: float = 0.5  # of the rate, as long as nothing fails
    resolution: float = 0.04  # the gap that is narrow enough, relative
    back_off: float = 0.05  # of a rate that could not be confirmed
    tries: int = 2  # a rate fails when so many steps in a row do; in a confirmation one is enough
    confirmations: int = 2  # steps in a row that must go at the end
    step_seconds: float = 1.5
    step_calls: int = 1  # a step has at least so many, however long that takes
    steps: int = 40  # at the most

    def calls(self, rate_per_s: int) -> int:
        """Of a step at this rate."""
        return max(self.step_calls, round(rate_per_s * self.step_seconds))


# What the RFC asks for: r = 100/s, w = 0.10, d = max(0.10, w / 2), batches of 50 000, ten of them at the end.
RFC7502 = Parameters(
    start_per_s=100,
    growth=0.10,
    resolution=0.11,  # the RFC does not go back into the gap; a tenth of a whole rate may round to a little more
    back_off=0.10,
    tries=1,
    confirmations=10,
    step_seconds=0.001,
    step_calls=50_000,
    steps=200,
)


@dataclass(frozen=True, slots=True)
class State:
    """How far a search is. `rate_per_s` is what to offer next; None when it is over."""

    rate_per_s: int | None
    low: int = 0  # the highest rate that went; 0: none
    high: int | None = None  # the lowest one that failed
    failed: int = 0  # steps in a row at this rate
    confirming: bool = False
    confirmed: int = 0  # steps in a row at this rate
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was offered. Not measured is None."""

    slice: str  # its id in the evidence
    rate_per_s: int
    calls: int
    achieved_per_s: float
    seconds: float
    new_bindings: int | None
    sipp_cpu_usec: int | None  # of all SIPp processes
    kamailio_cpu_usec: int | None
    routing_usec: int | None  # of all workers, by their latency lines
    failures: tuple[str, ...] = ()  # empty: it went
    mysql_cpu_usec: int | None = None  # of the database server


@dataclass(frozen=True, slots=True)
class Search:
    """A search with its steps: what it found, or how far it came."""

    cell: str
    kind: str  # what a call is: registration, re-registration, ...
    round: int
    parameters: Parameters
    bindings: int | None  # that there were at its begin
    sipp_processes: int = 1
    steps: tuple[Step, ...] = ()
    rate_per_s: int | None = None  # the highest without a failure, as it was achieved; None: there is none (yet)
    offered_per_s: int | None = None  # for that
    confirmed: bool = False
    ended: bool = False
    problem: str = ""  # why there is none
    ceiling_per_s: int | None = None  # what SIPp can offer here, where that is known
    seconds: float = 0.0  # since the search before or, of a first one, since the start that precedes it


def failures(record: SliceRecord, limits: Limits, _: Scenario) -> tuple[str, ...]:
    """Whether a step was too much: a call that failed, a retransmission, or another rate than the one offered."""
    sipp, tally, calls = record.sipp, record.tally, record.plan.calls
    counts = {
        "calls that did not succeed": max(calls, sipp.created) - sipp.successful,
        "unexpected messages": sipp.unexpected,
        "messages for calls that had ended": sipp.dead_calls,
        "messages of no call": sipp.out_of_call,
    }
    again = max(sipp.retransmissions, tally.retransmissions)
    off = sipp.rate_per_s / record.plan.rate_per_s - 1
    return (
        *(f"{what}: {number} of {calls}" for what, number in counts.items() if number),
        *((f"retransmissions: {again}",) if again > limits.retransmissions else ()),
        *((f"{sipp.rate_per_s:.0f}/s achieved ({off:+.1%})",) if rate_is_off(record, limits.rate_tolerance) else ()),
        *((f"SIPp ended with exit code {sipp.exit_code}",) if sipp.exit_code else ()),
    )


def begin(parameters: Parameters) -> State:
    """Before the first step."""
    return State(parameters.start_per_s)


def after(parameters: Parameters, state: State, *, failed: bool) -> State:
    """What follows from a step at the state's rate."""
    state = replace(state, steps=state.steps + 1)
    state = (_confirm if state.confirming else _narrow)(parameters, state, failed=failed)
    return replace(state, rate_per_s=None) if state.steps >= parameters.steps else state


def found(parameters: Parameters, state: State) -> tuple[int | None, bool]:
    """The rate, and whether it was confirmed: without that it is the highest that went, and no more."""
    confirmed = state.confirming and state.confirmed >= parameters.confirmations
    return state.low or None, confirmed


def achieved(parameters: Parameters, steps: Sequence[Step], offered_per_s: int) -> int:
    """What a rate that was found is worth: the lowest that its confirming steps have achieved, rounded down.

    Never more than was offered: a step may be off by as much as `rate_tolerance`.
    """
    went = [step.achieved_per_s for step in steps if step.rate_per_s == offered_per_s and not step.failures]
    return max(1, min(offered_per_s, *map(math.floor, went[-parameters.confirmations :])))


def problem(steps: Sequence[Step]) -> str:
    """Why steps have found no rate."""
    last, went = steps[-1], sum(not step.failures for step in steps)
    if not went:
        return f"not even {last.rate_per_s}/s went: {last.failures[0]}"
    said = f"{last.rate_per_s}/s: {last.failures[0]}"
    return f"{went} of {len(steps)} steps went, but no rate was confirmed; the last, {said}"


def find(parameters: Parameters, fails: Callable[[int], bool]) -> tuple[int | None, bool]:
    """The whole search over a function that says whether a step at a rate fails."""
    state = begin(parameters)
    while state.rate_per_s is not None:
        state = after(parameters, state, failed=fails(state.rate_per_s))
    return found(parameters, state)


def _narrow(parameters: Parameters, state: State, *, failed: bool) -> State:
    rate = state.rate_per_s or 1
    if failed and state.failed + 1 < parameters.tries:
        return replace(state, failed=state.failed + 1)
    state = replace(state, failed=0, high=rate) if failed else replace(state, failed=0, low=rate)
    if state.high is None:
        return replace(state, rate_per_s=max(rate + 1, round(rate * (1 + parameters.growth))))
    if not state.low:
        return replace(state, rate_per_s=rate // 2 or None)
    middle = round(math.sqrt(state.low * state.high))
    if state.high > state.low * (1 + parameters.resolution) and state.low < middle < state.high:
        return replace(state, rate_per_s=middle)
    return replace(state, rate_per_s=state.low, confirming=True)


def _confirm(parameters: Parameters, state: State, *, failed: bool) -> State:
    rate = state.rate_per_s or 1
    if failed:
        lower = min(rate - 1, round(rate * (1 - parameters.back_off)))
        return replace(state, rate_per_s=lower or None, low=0, confirmed=0)
    confirmed = state.confirmed + 1
    enough = confirmed >= parameters.confirmations
    return replace(state, rate_per_s=None if enough else rate, low=rate, confirmed=confirmed)
