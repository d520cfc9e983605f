"""Regression, pass, improvement or inconclusive: what intervals allow to say of a candidate. Pure; docs/gate.md.

An interval is all that a verdict looks at: where it does not know, it says so, and that is never a pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lab.stats import Comparison

AA_ALPHA = 0.01  # at this level the A/A interval must hold 1: by chance it does not in one leg of a hundred


class Verdict(StrEnum):
    """What is said of a leg, or of all."""

    PASS = "pass"  # noqa: S105  (a word)
    IMPROVEMENT = "improvement"
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"  # of a run whose slices or starts are not what they should be nothing can be said


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg (or all of a call together) of the candidate against the base, and of the base against itself.

    `aa` is at the candidate's own alpha, `aa_wide` at AA_ALPHA or less, if the candidate's is less. `allowance` is how
    many deltas may pass: one, or more of a figure that is noisier and only guards against what the other does not see.
    """

    name: str
    found: Comparison
    aa: Comparison
    aa_wide: Comparison
    allowance: float = 1.0


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict, and why."""

    verdict: Verdict
    reason: str


def of_leg(leg: Leg, delta: float) -> Ruling:
    """Of one leg; `delta` is the slowdown that may pass, a ratio less 1.

    A figure with an allowance condemns beyond delta, passes below so many of them, and is no improvement.
    """
    ruling = by_interval(leg.found, delta, delta * leg.allowance)
    if ruling.verdict == Verdict.INCONCLUSIVE:
        return ruling
    doubt = _doubt(leg, delta * leg.allowance, ruling.verdict)
    return Ruling(Verdict.INCONCLUSIVE, f"{ruling.reason}, but {doubt}") if doubt else ruling


def of_all(rulings: Sequence[Ruling]) -> Verdict:
    """Of all legs: one that is slower condemns, and all must pass; of nothing there is nothing to say."""
    said = {ruling.verdict for ruling in rulings}
    for verdict in (Verdict.INVALID, Verdict.REGRESSION, Verdict.INCONCLUSIVE, Verdict.IMPROVEMENT):
        if verdict in said:
            return verdict
    return Verdict.PASS if said else Verdict.INCONCLUSIVE


def by_interval(found: Comparison, delta: float, passes: float, more: str = "slower", less: str = "faster") -> Ruling:
    """By where the whole interval lies; `passes` is the slowdown below which it passes, delta or more."""
    low, high = found.ci_low, found.ci_high
    if low is None or high is None:
        what = "no round" if not found.n_rounds else "one round" if found.n_rounds == 1 else "rounds without any spread"
        return Ruling(Verdict.INCONCLUSIVE, f"{what}, so no interval")
    if low > 1 + delta:
        return Ruling(Verdict.REGRESSION, f"it is {more} by {_percent(low - 1)} at least")
    if high < 1 - delta and passes == delta:
        return Ruling(Verdict.IMPROVEMENT, f"it is {less} by {_percent(1 - high)} at least")
    if high < 1 + passes:
        return Ruling(Verdict.PASS, f"it is {more} by {_percent(max(0.0, high - 1))} at most")
    return Ruling(Verdict.INCONCLUSIVE, f"it may be {more} by {_percent(high - 1)}, or by {_percent(low - 1)}")


def _doubt(leg: Leg, passes: float, verdict: Verdict) -> str:
    """Why the run's own A/A arm does not let it say that; nothing when it does."""
    aa, wide = leg.aa, leg.aa_wide
    if aa.ci_low is None or aa.ci_high is None or wide.ci_low is None or wide.ci_high is None:
        return "the base has no interval against itself"
    if wide.excludes_one:
        return f"the base differs from itself ({wide.ci_low:.3f} to {wide.ci_high:.3f})"
    width = max(aa.ci_high - 1, 1 - aa.ci_low)
    claimed = passes if verdict == Verdict.PASS else abs((leg.found.ratio or 1) - 1)
    if width > claimed:
        return f"the base may differ from itself by {_percent(width)}, which is more"
    return ""


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")
