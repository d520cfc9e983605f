"""What counts of two cells allow to say of a change. Pure; docs/gate.md.

There is no noise to be averaged out: what fresh starts of the same cell differ by is known, and small. So an interval
is all that the starts have shown, each of the one against each of the other, and what is known to be left on top.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from statistics import fmean

from lab.counts.figures import CellCount, Counts
from lab.gate import Attempt
from lab.stats import Comparison
from lab.verdict import Ruling, Verdict, by_interval, of_all

RESIDUAL = 0.001  # docs/counting.md: what fresh starts may differ by
LEAST_DELTA = 0.002  # that can be asked for
STARTS = 3


def attempt(found: Counts, base: str, candidate: str, delta: float) -> Attempt:
    """A run of base and candidate, judged leg by leg. What could not be counted is invalid, whatever the rest says."""
    ours, theirs = found.cells[candidate], found.cells[base]
    legs = dict(_legs(ours, theirs))
    bad = None if found.valid else Ruling(Verdict.INVALID, "the run is not valid")
    rulings = {name: bad or by_interval(one, delta, delta, "costlier", "cheaper") for name, one in legs.items()}
    return Attempt(
        run=found.run,
        valid=found.valid,
        rounds=found.rounds,
        verdict=of_all([*rulings.values(), *([bad] if bad else [])]),
        legs=legs,
        rulings=rulings,
        aa=dict(_legs(theirs, theirs)),
        failed=() if found.valid else found.notes or ("not every fresh start was counted",),
    )


def _legs(ours: CellCount, theirs: CellCount) -> Iterator[tuple[str, Comparison]]:
    for name, leg in ours.legs.items():
        if name in theirs.legs:
            yield name, compare(leg.of_rounds, theirs.legs[name].of_rounds)
    if len(ours.legs) > 1 and ours.legs.keys() == theirs.legs.keys():
        yield ours.whole, compare(ours.of_rounds, theirs.of_rounds)


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
    """Of means of fresh starts; `mde` is the least difference that would show."""
    ratios = [one / other for one, other in product(ours, theirs)]
    low, high = min(ratios) / (1 + RESIDUAL), max(ratios) * (1 + RESIDUAL)
    ratio = fmean(ours) / fmean(theirs)
    return Comparison(ratio, low, high, math.sqrt(high / low) - 1, len(ours))
