"""A gate's decisions: when its rounds are enough, what an attempt says, and what two of them say together. Pure.

docs/gate.md explains them. Each leg is judged by its trimmed mean, and by the mean of all of its requests, which is
noisier, so that a slowdown of few requests does not go unseen. A regression is only called one when a second, fresh
attempt calls it that as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab import stats, trimmed, verdict
from lab.model import Plan
from lab.running import Enough, Key, Running
from lab.stats import Comparison
from lab.verdict import AA_ALPHA, Leg, Ruling, Verdict

NAMES = ("base", "candidate")  # cells are called after their engine and these
ATTEMPTS = 2  # of which both must call a regression one
ALL = " (all requests)"  # after a leg's name: by the mean of all, not by the trimmed one
# By instructions, and by time: what that means.
_ALONE = ". It executes no more and takes longer: caches, locks, the kernel and waiting show in time alone"
_DISAGREE = {
    (Verdict.PASS, Verdict.REGRESSION): _ALONE,
    (Verdict.IMPROVEMENT, Verdict.REGRESSION): _ALONE,
    (
        Verdict.REGRESSION,
        Verdict.PASS,
    ): ". It executes more, and takes no time that would matter",
    (Verdict.REGRESSION, Verdict.INCONCLUSIVE): ". It executes more, and what time says is not known",
    (Verdict.REGRESSION, Verdict.INVALID): ". It executes more, and what time says is not known",
    (
        Verdict.REGRESSION,
        Verdict.IMPROVEMENT,
    ): ". It executes more and is faster: fewer misses, locks or waits",
    (Verdict.IMPROVEMENT, Verdict.PASS): ". Only instructions have become fewer beyond delta",
    (Verdict.PASS, Verdict.IMPROVEMENT): ". It executes as much as before and is faster: fewer misses, locks or waits",
}
_WORST_FIRST = (
    Verdict.REGRESSION,
    Verdict.INVALID,
    Verdict.INCONCLUSIVE,
    Verdict.IMPROVEMENT,
    Verdict.PASS,
)
ALLOWANCE = 2.0  # so many deltas may pass by the mean of all: it has up to twice the noise


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of base and candidate, judged leg by leg. Of a run that is not valid there is no verdict."""

    run: str
    valid: bool
    rounds: int
    verdict: Verdict
    legs: dict[str, Comparison]  # by trimmed means, and by those of all requests
    rulings: dict[str, Ruling]
    aa: dict[str, Comparison]  # the base against itself
    failed: tuple[str, ...] = ()  # checks


@dataclass(frozen=True, slots=True)
class Gate:
    """What was asked, what was found, and what that means."""

    base: str
    candidate: str
    kind: str
    engine: str
    delta: float | None  # the slowdown that may pass, a ratio less 1; None where time was not asked for
    smallest_delta: float | None  # that this machine's noise lets a gate find; None: nobody has looked
    attempts: tuple[Attempt, ...]  # by time; none where only instructions were asked for
    verdict: Verdict
    reason: str
    counted: Attempt | None = None  # by instructions, where those were asked for
    counted_delta: float | None = None  # of these, likewise

    @property
    def runs(self) -> tuple[Attempt, ...]:
        """All of them, in the order in which they were made."""
        return (*filter(None, (self.counted,)), *self.attempts)


def enough(candidate: str, delta: float, before: Sequence[str] = ()) -> Enough:
    """The gate's stopping rule: at a look that gives a verdict, or as soon as the run cannot be valid any more.

    Where an earlier run has condemned some legs (`before`), a regression of others settles nothing.
    """

    def rule(plan: Plan, running: Running, number: int) -> str:
        if running.spoilt:
            return running.spoilt
        if number not in plan.looks:
            return ""
        quick, every = running.comparisons(plan, plan.alpha, trimmed.mean), running.comparisons(plan, plan.alpha)
        judged = legs(plan, candidate, quick, every, plan.alpha)
        rulings = {leg.name: verdict.of_leg(leg, delta) for leg in judged}
        whole = verdict.of_all(list(rulings.values()))
        slower = {leg_of(name) for name, ruling in rulings.items() if ruling.verdict == Verdict.REGRESSION}
        if slower and before and not slower & set(before):
            return ""
        return "" if whole == Verdict.INCONCLUSIVE else f"{whole}, by what is known so far"

    return rule


def legs(
    plan: Plan, candidate: str, quick: Mapping[Key, Comparison], every: Mapping[Key, Comparison], alpha: float
) -> list[Leg]:
    """What is judged: each leg of the candidate, and all of a call together, with the base against itself in it.

    `quick` are comparisons by trimmed means, `every` by those of all requests; both have their intervals at `alpha`.
    """
    return [
        Leg(
            name=f"{leg}{suffix}",
            found=comparison,
            aa=found[plan.aa_cell, leg],
            aa_wide=stats.at_level(found[plan.aa_cell, leg], alpha, min(AA_ALPHA, alpha)),
            allowance=allowance,
        )
        for found, suffix, allowance in ((quick, "", 1.0), (every, ALL, ALLOWANCE))
        for (cell, leg), comparison in found.items()
        if cell == candidate and (plan.aa_cell, leg) in found
    ]


def leg_of(name: str) -> str:
    """The leg, by whichever mean it is judged."""
    return name.removesuffix(ALL)


def attempt(plan: Plan, judged: Sequence[Leg], delta: float, *, run: str, failed: Sequence[str] | None) -> Attempt:
    """Judge a run; `failed` are the checks that make it invalid, None where it is valid."""
    bad = None if failed is None else Ruling(Verdict.INVALID, "the run is not valid")
    rulings = {leg.name: bad or verdict.of_leg(leg, delta) for leg in judged}
    return Attempt(
        run=run,
        valid=failed is None,
        rounds=len(plan.rounds),
        verdict=verdict.of_all([*rulings.values(), *([bad] if bad else [])]),
        legs={leg.name: leg.found for leg in judged},
        rulings=rulings,
        aa={leg.name: leg.aa for leg in judged},
        failed=tuple(failed or ()),
    )


def dead(run: str, why: str) -> Attempt:
    """A run that broke off, as its candidate did not come up, or died: whose fault that is, is known."""
    return Attempt(run=run, valid=False, rounds=0, verdict=Verdict.INVALID, legs={}, rulings={}, aa={}, failed=(why,))


def unsettled(attempts: Sequence[Attempt]) -> bool:
    """Whether another attempt is needed: a first regression has to be confirmed."""
    return not attempts or (attempts[-1].verdict == Verdict.REGRESSION and len(attempts) < ATTEMPTS)


def conclude(attempts: Sequence[Attempt]) -> tuple[Verdict, str]:
    """The verdict of all attempts, and why."""
    last = attempts[-1]
    if last.verdict == Verdict.INVALID:
        return last.verdict, last.failed[0] if last.failed else "not every planned slice is valid"
    if len(attempts) < ATTEMPTS:
        return last.verdict, _why(last, [leg for leg, one in last.rulings.items() if one.verdict == last.verdict])
    if last.verdict != Verdict.REGRESSION:
        why = _why(last, list(last.rulings))
        return Verdict.INCONCLUSIVE, f"a first run said regression, a second one {last.verdict}: {why}"
    slower = [condemned(attempt) for attempt in attempts]
    if both := [leg for leg in slower[-1] if all(leg in legs for legs in slower)]:
        names = [name for name, one in last.rulings.items() if one.verdict == last.verdict and leg_of(name) in both]
        return Verdict.REGRESSION, f"{_why(last, names)}; confirmed by a second run"
    first, second = (", ".join(legs) for legs in slower)
    return Verdict.INCONCLUSIVE, f"a first run condemned {first}, a second one {second}: neither confirms the other"


def together(counted: tuple[Verdict, str] | None, timed: tuple[Verdict, str] | None) -> tuple[Verdict, str]:
    """One verdict of both gates, where both were asked for, and in a sentence what it means that they disagree."""
    if not (counted and timed):
        return counted or timed or (Verdict.INCONCLUSIVE, "nothing was measured")
    kinds = {counted[0], timed[0]}
    worst = next(one for one in _WORST_FIRST if one in kinds)
    said = f"by instructions {counted[0]}: {counted[1]}; by time {timed[0]}: {timed[1]}"
    return worst, said + _DISAGREE.get((counted[0], timed[0]), "")


def condemned(attempt: Attempt) -> list[str]:
    """The legs in which it was a regression, by either mean."""
    slower = (leg_of(name) for name, ruling in attempt.rulings.items() if ruling.verdict == Verdict.REGRESSION)
    return list(dict.fromkeys(slower))


def _why(attempt: Attempt, legs: Sequence[str]) -> str:
    return "; ".join(f"{leg}: {attempt.rulings[leg].reason}" for leg in legs) or "nothing could be compared"
