"""What is left of a round that was broken off: nothing twice but warm-ups, nothing forgotten."""

from dataclasses import replace

import pytest

from lab import rest, testing
from lab.model import Plan, SliceRecord, StartRecord

PLAN = testing.plan(engines=("native", "lua"), rounds=1, slices=2, warmup_slices=1, calls=4)
ROUND = PLAN.rounds[0]
CELLS = [cell.name for cell in PLAN.cells]
IN_TURNS = replace(PLAN, turn_msec=40)


def starts(number: int = 1, *, ended: bool = False, unproven: str = "") -> list[StartRecord]:
    """A fresh start of all cells."""
    return [
        replace(
            testing.start(1, cell),
            start=number,
            exit_code=0 if ended else None,
            bindings=10 if ended else None,
            reasons=("it is another one",) if cell.name == unproven else (),
        )
        for cell in PLAN.cells
    ]


def slices(count: int, *bad: int, start: int = 1) -> list[SliceRecord]:
    """The first so many as planned, some of them invalid (by their positions)."""
    return [
        replace(
            testing.record(piece, testing.slice_log(piece)),
            start=start,
            reasons=("disturbed",) if piece.position in bad else (),
        )
        for piece in ROUND.slices[:count]
    ]


def left(found: rest.Rest | None) -> list[str]:
    """Ids of the slices, in order."""
    assert found
    return [piece.id for block in found.blocks for piece in block]


def test_a_round_that_was_never_begun_is_left_as_planned() -> None:
    """On its first start."""
    found = rest.of(PLAN, ROUND, [], [])
    assert found == rest.whole(PLAN, ROUND)
    assert left(found) == [piece.id for piece in ROUND.slices]
    assert (found.start, found.position) == (1, 9)


def test_nothing_is_left_of_a_round_whose_kamailios_have_ended() -> None:
    """Then its bindings are counted, too. One that was never proven has no end to wait for."""
    assert rest.of(PLAN, ROUND, starts(ended=True), slices(9)) is None
    ended = [record for record in starts(ended=True) if record.cell != "lua"]
    unproven = [record for record in starts(unproven="lua") if record.cell == "lua"]
    assert rest.of(PLAN, ROUND, [*ended, *unproven], slices(9)) is None


def test_what_was_sealed_is_not_measured_again() -> None:
    """Only warm-ups are, as the rest stands on a fresh start; ids stay unique."""
    found = rest.of(PLAN, ROUND, starts(), slices(5))
    assert found
    assert found.start == 2
    assert left(found) == [
        "r01-s010-native",
        "r01-s011-lua",
        "r01-s012-native-aa",
        *(piece.id for piece in ROUND.slices[5:]),
    ]
    assert found.position == 12


def test_a_warm_up_that_was_not_is_as_planned() -> None:
    """It has not been repeated."""
    assert left(rest.of(PLAN, ROUND, starts(), slices(1))) == [
        "r01-s010-native",
        *(piece.id for piece in ROUND.slices[1:]),
    ]
    assert left(rest.of(PLAN, ROUND, starts(), [])) == [piece.id for piece in ROUND.slices]


def test_a_repeat_that_was_owed_is_still() -> None:
    """Of a timed slice that was invalid, unless it has been run again already."""
    found = rest.of(PLAN, ROUND, starts(), slices(9, 5, 8))
    assert left(found)[3:] == ["r01-s013-lua-again1", "r01-s014-lua-again1"]
    repeated = replace(slices(9)[7], plan=replace(ROUND.slices[7], attempt=2, position=10))
    found = rest.of(PLAN, ROUND, starts(), [*slices(9, 5, 8), repeated])
    assert left(found)[3:] == ["r01-s014-lua-again1"]
    twice = replace(PLAN, repeats=2)
    failed_again = replace(repeated, reasons=("disturbed",))
    found = rest.of(twice, ROUND, starts(), [*slices(9, 8), failed_again])
    assert left(found)[3:] == ["r01-s014-lua-again2"]
    assert left(rest.of(PLAN, ROUND, starts(), [*slices(9, 8), failed_again]))[3:] == []  # no more than the plan has


def test_a_round_that_lacks_its_end_alone_has_warm_ups_alone() -> None:
    """Bindings are counted when a Kamailio ends: so it needs one."""
    assert len(left(rest.of(PLAN, ROUND, starts(), slices(9)))) == len(CELLS)


def test_a_third_start_follows_the_second() -> None:
    """It was broken off twice; warm-ups are then numbered on."""
    again = [
        replace(record, plan=replace(record.plan, position=9 + number))
        for number, record in enumerate(slices(3, start=2), start=1)
    ]
    found = rest.of(PLAN, ROUND, [*starts(), *starts(2)], [*slices(5), *again])
    assert found
    assert found.start == 3
    assert left(found)[:3] == ["r01-s013-native", "r01-s014-lua", "r01-s015-native-aa"]


def test_a_cell_that_was_not_proven_stays_out_of_its_round() -> None:
    """As it would have without a break; whoever it serves does, too."""
    found = rest.of(PLAN, ROUND, starts(unproven="lua"), [record for record in slices(5) if record.plan.cell != "lua"])
    assert found
    assert {piece.cell for block in found.blocks for piece in block} == {"native", "native-aa"}


@pytest.mark.parametrize(("plan", "sizes"), [(PLAN, [1] * 8), (IN_TURNS, [3, 3, 2])])
def test_who_shares_seconds_does_so_again(plan: Plan, sizes: list[int]) -> None:
    """Blocks are those of the plan; repeats of one block are one."""
    found = rest.of(plan, ROUND, starts(), [record for record in slices(9, 4, 5) if record.plan.position < 7])
    assert found
    assert [len(block) for block in found.blocks] == sizes
