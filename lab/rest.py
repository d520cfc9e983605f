"""What is left of a round that was broken off, by its plan and by what was sealed of it. Pure.

Nothing that was sealed is measured again but warm-ups, since the rest of the round stands on a fresh start. Bindings of
a start that was broken off were never counted; those of the round's last start are.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lab.model import Plan, RoundPlan, SlicePlan, SliceRecord, StartRecord

Block = tuple[SlicePlan, ...]  # slices that share their seconds
_NEW = 0  # a position that has yet to be found


@dataclass(frozen=True, slots=True)
class Rest:
    """What a round still has to do, on a fresh start of its own."""

    start: int  # of the round: 1, or more where it was broken off
    position: int  # the last one that a slice of the round has
    blocks: tuple[Block, ...]


def whole(plan: Plan, planned: RoundPlan) -> Rest:
    """All of it."""
    return Rest(1, len(planned.slices), tuple(_blocks(plan, planned)))


def of(plan: Plan, planned: RoundPlan, starts: Sequence[StartRecord], slices: Sequence[SliceRecord]) -> Rest | None:
    """By the records of this round; None where it has come to its end.

    A cell that could not be proven stays out of its round, as it would have without a break.
    """
    if not starts:
        return whole(plan, planned)
    last = max(start.start for start in starts)
    if _ended(plan, [start for start in starts if start.start == last]):
        return None
    unproven = {start.cell for start in starts if start.reasons}
    due = (*_planned(plan, planned, slices), *_open_repeats(plan, planned, slices))
    proven = (tuple(piece for piece in block if plan.host(piece.cell) not in unproven) for block in due)
    position = max([len(planned.slices), *(record.plan.position for record in slices)])
    numbers = itertools.count(position + 1)
    blocks = tuple(
        tuple(piece if piece.position else replace(piece, position=next(numbers)) for piece in block)
        for block in proven
        if block
    )
    return Rest(last + 1, next(numbers) - 1, blocks)


def _planned(plan: Plan, planned: RoundPlan, slices: Sequence[SliceRecord]) -> Iterator[Block]:
    """All warm-ups, those that have been as further ones; and what has not been of the rest."""
    been = {record.plan.id for record in slices}
    for block in _blocks(plan, planned):
        if block[0].warmup:
            yield tuple(replace(piece, position=_NEW) if piece.id in been else piece for piece in block)
        else:
            yield tuple(piece for piece in block if piece.id not in been)


def _blocks(plan: Plan, planned: RoundPlan) -> Iterator[Block]:
    size = plan.at_once
    return (planned.slices[first : first + size] for first in range(0, len(planned.slices), size))


def _ended(plan: Plan, starts: Sequence[StartRecord]) -> bool:
    """Every Kamailio was either not proven or ended in order."""
    ended = {start.cell for start in starts if start.reasons or start.exit_code is not None}
    return ended >= {host.name for host in plan.hosts}


def _open_repeats(plan: Plan, planned: RoundPlan, slices: Sequence[SliceRecord]) -> Iterator[Block]:
    """Repeats of timed slices that were invalid: those that have not been yet."""
    tried = Counter((record.plan.cell, record.plan.attempt) for record in slices if not record.plan.warmup)
    failed = Counter(
        (record.plan.cell, record.plan.attempt) for record in slices if not record.plan.warmup and record.reasons
    )
    timed = {piece.cell: piece for piece in planned.slices if not piece.warmup}
    for attempt in range(1, plan.repeats + 1):
        owed = {cell: failed[cell, attempt] - tried[cell, attempt + 1] for cell in timed}
        for number in range(max(owed.values(), default=0)):
            block = tuple(
                replace(piece, attempt=attempt + 1, position=_NEW)
                for cell, piece in timed.items()
                if owed[cell] > number
            )
            yield from [block] if plan.at_once > 1 else ((piece,) for piece in block)
