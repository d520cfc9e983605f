"""What a run says while it goes on: ratios from its slices' logs, and whether a declared rule has enough of them.

Left and right of the wall; what counts in the end is the summary, from every message.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab import stats
from lab.latency import Times
from lab.model import Plan, SliceRecord
from lab.observation import WAYS
from lab.stats import ALPHA, Comparison

Key = tuple[str, str]  # cell, and leg or what all legs together are called
Mean = Callable[[Mapping[int, int]], float]  # of usec -> how many requests took that


def whole_mean(times: Mapping[int, int]) -> float:
    """Of all requests."""
    return sum(usec * requests for usec, requests in times.items()) / sum(times.values())


def compared(plan: Plan, cell: str) -> dict[str, tuple[str, ...]]:
    """What a cell is compared by: name -> legs, whose times are added up.

    The legs that its baseline has, too; where those are all of a call, and several, their sum as well. Nothing of the
    baseline itself, nor where latency lines are switched off.
    """
    baseline = plan.cell(cell).baseline
    if cell == baseline or not all(WAYS[plan.cell(name).observe].logged for name in (cell, baseline)):
        return {}
    own, theirs = (plan.scenario_of(name).leg_names for name in (cell, baseline))
    found: dict[str, tuple[str, ...]] = {leg: (leg,) for leg in own if leg in theirs}
    if own == theirs and len(own) > 1:
        found[plan.scenario_of(cell).whole] = own
    return found


@dataclass(slots=True)
class Running:
    """What requests took, per cell, round and leg, of slices that count."""

    spoilt: str = ""  # why the run cannot be valid any more
    _times: dict[tuple[str, int, str], Counter[int]] = field(default_factory=dict)

    def add(self, record: SliceRecord, times: Times, *, last: bool = False) -> None:
        """One more slice; a warm-up, or one that is not valid, counts for nothing. `last`: it is not run again."""
        if last:
            self.spoil(record.plan.id, record.reasons)
        if record.reasons or record.plan.warmup:
            return
        for leg, taken in times.items():
            self._times.setdefault((record.plan.cell, record.plan.round, leg), Counter()).update(taken)

    def spoil(self, what: str, reasons: Sequence[str]) -> None:
        """Remember the first slice or start that cannot be made good any more, if these are reasons against it."""
        if reasons and not self.spoilt:
            self.spoilt = f"{what}: {reasons[0]}"

    def comparisons(self, plan: Plan, alpha: float = ALPHA, mean: Mean = whole_mean) -> dict[Key, Comparison]:
        """Each cell against its baseline, by the legs that both have, and by all of a call where they have the same."""
        return {key: stats.compare(logs, alpha) for key, logs in self._log_ratios(plan, mean)}

    def _log_ratios(self, plan: Plan, mean: Mean) -> Iterator[tuple[Key, list[float]]]:
        """Their logarithms, one a round."""
        for cell in plan.cells:
            for name, legs in compared(plan, cell.name).items():
                own, theirs = (self._costs(plan, each, legs, mean) for each in (cell.name, cell.baseline))
                yield (cell.name, name), stats.log_ratios(own, theirs)

    def _costs(self, plan: Plan, cell: str, legs: tuple[str, ...], mean: Mean) -> dict[int, float]:
        """Usec of these legs together, by round; of a round that lacks one of them none."""
        found: dict[int, float] = {}
        for planned in plan.rounds:
            keys = [(cell, planned.number, leg) for leg in legs]
            if all(key in self._times for key in keys):
                found[planned.number] = sum(mean(self._times[key]) for key in keys)
        return found


# Asked after a round, which is not the last one, with its number: why no more are needed; nothing: they are.
Enough = Callable[[Plan, Running, int], str]


def narrow_enough(plan: Plan, running: Running, number: int) -> str:
    """The rule of an experiment with [stop]: at a look every interval is as narrow as was declared."""
    if plan.half_width is None or number not in plan.looks:
        return ""
    widths = [_half_width(found) for found in running.comparisons(plan, plan.alpha).values()]
    if not widths or max(widths) > plan.half_width:
        return ""
    return f"no interval is wider than {max(widths):.1%} to either side, {plan.half_width:.1%} were asked for"


def _half_width(found: Comparison) -> float:
    """How far the interval reaches to its wider side, as a share of the ratio; without one it reaches everywhere."""
    if found.ratio is None or found.ci_high is None:
        return math.inf
    return found.ci_high / found.ratio - 1
