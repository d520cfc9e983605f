"""What summary.json says of a run: a small run made up as frames, then spoilt in one place at a time."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab import frames, stats, summary, testing
from lab.errors import BadInputError
from lab.figures import LegComparison
from lab.frames import Frames
from lab.model import Cell, LegRule, Plan, Scenario, SlicePlan, Specimen
from lab.plan import again
from lab.summary import Summary, summarise

CALLS = 20
ROUNDS = 3
TIMED = 4  # slices of a cell in a round, after one to warm up
PLANNED = TIMED + 1
RATE = 10
LOAD_USEC = CALLS * 1_000_000 // RATE  # and as long again until the next slice
# usec; Lua takes twice as long for a challenge, and a fifth longer once there are credentials
USEC = {
    "native": {"challenge": 50, "authenticated": 300},
    "lua": {"challenge": 100, "authenticated": 360},
    "python3": {"challenge": 50, "authenticated": 300},
    "native-aa": {"challenge": 50, "authenticated": 300},
}
PLAN = testing.plan(engines=("native", "lua", "python3"), rounds=ROUNDS, slices=TIMED, calls=CALLS)
PIECES = [piece for planned in PLAN.rounds for piece in planned.slices]


@cache
def messages_of(piece: SlicePlan) -> pd.DataFrame:
    """A slice's latency lines: noise of 2 % for the slice and 10 % for each message; cold slices take longer."""
    draw = np.random.default_rng([piece.round, piece.position, piece.attempt])
    factor = math.exp(draw.normal(0, 0.02)) * (3 if piece.warmup else 1)
    parts = [
        pd.DataFrame({"leg": leg, "usec": np.rint(usec * factor * np.exp(draw.normal(0, 0.1, CALLS))).astype("int64")})
        for leg, usec in USEC[piece.cell].items()
    ]
    whole = pd.concat(parts, ignore_index=True)
    return whole.assign(round=piece.round, slice=piece.id, cell=piece.cell, retransmission=False)


def slice_row(piece: SlicePlan, reasons: str = "") -> dict[str, Any]:
    """The columns of `slices` that a summary looks at."""
    return {
        "round": piece.round,
        "start": 1,
        "position": piece.position,
        "slice": piece.id,
        "cell": piece.cell,
        "attempt": piece.attempt,
        "warmup": piece.warmup,
        "valid": not reasons,
        "reasons": reasons,
        "cpu_usec": CALLS * 500,
        "throttled_periods": 0,
        "steal_usec": 0,
        "foreign_cpu_share": 0.01,
        "generator_limited": False,
        "sipp_successful": CALLS,
        "sipp_failed": 0,
        "sipp_retransmissions": 0,
        "calls": CALLS,
        "offered_rate_per_s": RATE,
        "begun_usec": (piece.round * 1000 + piece.position * 2) * LOAD_USEC,
        "duration_usec": LOAD_USEC,
    }


def start_row(number: int, cell: str, reasons: str = "") -> dict[str, Any]:
    """Likewise of `starts`."""
    return {
        "round": number,
        "start": 1,
        "cell": cell,
        "reasons": reasons,
        "bindings": 10,
        "start_seconds": number + len(cell) / 100,
    }


def make_frames(
    pieces: list[SlicePlan] = PIECES,
    *,
    invalid: dict[str, str] | None = None,
    unproven: dict[tuple[int, str], str] | None = None,
) -> Frames:
    """Frames of a run of these slices: `invalid` has reasons by slice, `unproven` by round and cell."""
    invalid, unproven = invalid or {}, unproven or {}
    messages = pd.concat([messages_of(piece) for piece in pieces], ignore_index=True)
    slices = pd.DataFrame([slice_row(piece, invalid.get(piece.id, "")) for piece in pieces])
    keys = dict.fromkeys((piece.round, piece.cell) for piece in pieces)
    starts = pd.DataFrame([start_row(*key, unproven.get(key, "")) for key in keys])
    nullable = {"cpu_usec": "Int64", "throttled_periods": "Int64", "steal_usec": "Int64", "valid": "boolean"}
    nullable |= {"generator_limited": "boolean"}
    return Frames(
        messages=messages.astype({"slice": "category", "cell": "category", "leg": "category"}),
        slices=slices.astype({"cell": "category", "warmup": "boolean", **nullable}),
        starts=starts.astype({"cell": "category", "bindings": "Int64"}),
    )


def judge(frames: Frames, *, complete: bool = True, plan: Plan = PLAN) -> Summary:
    """The summary of frames, as of a run that was sealed at its planned end."""
    return summarise(plan, frames, run="a-run", complete=complete)


@pytest.fixture(scope="module")
def sound() -> Summary:
    """The summary of a run without fault."""
    return judge(make_frames())


def timed_messages(cell: str, *, but: str = "") -> pd.DataFrame:
    """What must count for a cell: every message of its timed slices, perhaps without one slice."""
    pieces = [p for p in PIECES if p.cell == cell and not p.warmup and p.id != but]
    return pd.concat([messages_of(piece) for piece in pieces], ignore_index=True)


# --- a sound run ----------------------------------------------------------------------------------------------------


def test_a_run_without_fault_is_valid(sound: Summary) -> None:
    """Every planned slice is valid, so nothing else is said."""
    assert sound.valid
    assert sound.broken == {}
    assert sound.notes == ()
    for cell in sound.cells.values():
        assert (cell.slices_valid, cell.slices_invalid, cell.slices_missing) == (ROUNDS * PLANNED, 0, 0)
        assert cell.reasons == ()


def test_figures_are_over_all_messages_of_timed_slices_leg_by_leg(sound: Summary) -> None:
    """Warm-up is in no figure, and the legs are never pooled."""
    messages = timed_messages("lua")
    for leg, found in sound.cells["lua"].legs.items():
        usec = messages.loc[messages["leg"] == leg, "usec"]
        assert found.count == ROUNDS * TIMED * CALLS
        assert found.mean_usec == pytest.approx(usec.mean())
        assert found.median_usec == usec.median()
        assert [found.p10_usec, found.p95_usec, found.p99_usec] == pytest.approx(list(usec.quantile([0.1, 0.95, 0.99])))
        assert found.max_usec == usec.max()


def test_the_drivers_own_time_is_told(sound: Summary) -> None:
    """The longest fresh start; and, within rounds, what lies between the slices over what was to be sent."""
    slices = len(USEC) * PLANNED
    assert sound.start_seconds == pytest.approx(ROUNDS + len("native-aa") / 100)
    assert sound.driver_share == pytest.approx((slices - 1) / slices)


def test_failed_calls_and_retransmissions_are_those_of_every_slice() -> None:
    """Whatever its verdict: valid slices have none by definition, and nobody would be told of the others."""
    found = make_frames(invalid={"r01-s005-native": "SIPp: 2 of 20 calls failed"})
    bad = found.slices["slice"] == "r01-s005-native"
    found.slices.loc[bad, ["sipp_failed", "sipp_retransmissions"]] = [2, 5]
    cell = judge(found).cells["native"]
    assert (cell.failed_calls_in_all, cell.retransmissions_in_all, cell.retransmissions) == (2, 5, 0)


def test_a_call_costs_the_sum_of_its_legs_means(sound: Summary) -> None:
    """The legs are different requests: means add up, percentiles would not."""
    legs = sound.cells["native"].legs
    total = (legs["challenge"].mean_usec or 0) + (legs["authenticated"].mean_usec or 0)
    assert sound.cells["native"].call_usec == pytest.approx(total)


def test_cpu_time_is_shared_out_over_the_registrations_of_timed_slices(sound: Summary) -> None:
    """20 registrations took 10000 usec in each slice."""
    assert sound.cells["lua"].cpu_usec_per_call == 500


def test_pooled_figures_mix_all_requests_as_the_2018_page_did(sound: Summary) -> None:
    """To the digits that awk prints."""
    usec = timed_messages("native")["usec"]
    pooled = sound.cells["native"].pooled
    assert pooled
    assert (pooled.cnt, pooled.sum, pooled.min, pooled.max) == (len(usec), usec.sum(), usec.min(), usec.max())
    assert f"{pooled.avg:.6g}" == f"{usec.sum() / len(usec):.6g}"


def silent() -> Plan:
    """Lua's cell is native's with its latency lines switched off."""
    lua = replace(PLAN.cell("lua"), observe="no-log", shares="native")
    return replace(PLAN, cells=tuple(lua if cell.name == "lua" else cell for cell in PLAN.cells))


def silenced(unproven: dict[tuple[int, str], str] | None = None) -> Frames:
    """Its frames: no messages, and no start of its own."""
    made = make_frames(unproven=unproven)
    return replace(
        made,
        messages=made.messages[made.messages["cell"] != "lua"],
        starts=made.starts[made.starts["cell"] != "lua"],
    )


def test_a_cell_without_latency_lines_has_no_legs_and_no_zeros() -> None:
    """It is valid, has CPU time, and is compared in no leg."""
    found = judge(silenced(), plan=silent())
    lua = found.cells["lua"]
    assert found.valid
    assert (lua.legs, lua.call_usec, lua.pooled, lua.retransmissions) == ({}, None, None, None)
    assert lua.cpu_usec_per_call == 500
    assert {row.cell for row in found.comparisons} == {"python3", "native-aa"}


def test_a_start_speaks_for_every_cell_of_its_kamailio() -> None:
    """What it does not prove counts for none of them."""
    found = judge(silenced({(1, "native"): "engine proof: no marker"}), plan=silent())
    for name in ("native", "lua"):
        assert found.cells[name].slices_invalid == PLANNED
        assert f"start r01-{name}: engine proof: no marker" in found.cells[name].reasons


# --- comparisons ----------------------------------------------------------------------------------------------------


def test_every_cell_but_the_baseline_is_compared_in_every_leg(sound: Summary) -> None:
    """The A/A cell, too: it is how the noise of the run shows."""
    assert [(row.cell, row.leg) for row in sound.comparisons] == [
        ("lua", "challenge"),
        ("lua", "authenticated"),
        ("lua", "registration"),
        ("python3", "challenge"),
        ("python3", "authenticated"),
        ("python3", "registration"),
        ("native-aa", "challenge"),
        ("native-aa", "authenticated"),
        ("native-aa", "registration"),
    ]
    assert {row.baseline for row in sound.comparisons} == {"native"}
    assert {row.n_rounds for row in sound.comparisons} == {ROUNDS}


def comparison(found: Summary, cell: str, leg: str) -> LegComparison:
    """One row."""
    return next(row for row in found.comparisons if (row.cell, row.leg) == (cell, leg))


def test_the_unit_of_inference_is_the_round(sound: Summary) -> None:
    """Not the slice, and never the message: three rounds give three logarithms."""
    lua, native = timed_messages("lua"), timed_messages("native")
    means = [
        table[table["leg"] == "challenge"].groupby("round")["usec"].mean().apply(math.log) for table in (lua, native)
    ]
    expected = stats.compare(list(means[0] - means[1]))
    row = comparison(sound, "lua", "challenge")
    assert (row.ratio, row.ci_low, row.ci_high, row.mde) == pytest.approx(
        (expected.ratio, expected.ci_low, expected.ci_high, expected.mde)
    )


def test_known_effects_come_back_in_the_right_leg(sound: Summary) -> None:
    """Twice as long for the challenge, a fifth for the other leg, (100 + 360) / (50 + 300) for both together."""
    assert comparison(sound, "lua", "challenge").ratio == pytest.approx(2.0, rel=0.05)
    assert comparison(sound, "lua", "authenticated").ratio == pytest.approx(1.2, rel=0.05)
    assert comparison(sound, "lua", "registration").ratio == pytest.approx(460 / 350, rel=0.05)
    assert comparison(sound, "native-aa", "registration").ratio == pytest.approx(1.0, rel=0.05)


def test_a_round_without_both_legs_has_no_registration_to_compare() -> None:
    """Half a registration must not pass for a cheap one."""
    made = make_frames()
    half = (made.messages["round"] == 2) & (made.messages["cell"] == "lua")
    kept = made.messages[~(half & (made.messages["leg"] == "authenticated"))]
    found = judge(replace(made, messages=kept))
    rounds = {leg: comparison(found, "lua", leg).n_rounds for leg in ("challenge", "authenticated", "registration")}
    assert rounds == {"challenge": ROUNDS, "authenticated": ROUNDS - 1, "registration": ROUNDS - 1}


def test_holm_counts_the_engines_and_not_the_aa_cell(sound: Summary) -> None:
    """Two hypotheses a leg: the A/A cell is a check of the lab, none of the experiment."""
    rows = {name: comparison(sound, name, "challenge") for name in ("lua", "python3", "native-aa")}
    engines = {name: rows[name].p or 0 for name in ("lua", "python3")}
    assert {name: rows[name].p_holm for name in engines} == stats.holm(engines)
    assert rows["lua"].p_holm == pytest.approx(2 * (rows["lua"].p or 0))
    assert rows["native-aa"].p_holm is None


def test_a_round_that_slows_down_in_the_middle_is_labelled() -> None:
    """All cells alike, so the ratios stand; but the reader is told."""
    frames = make_frames()
    positions = {piece.id: piece.position for piece in PIECES}
    late = frames.messages["slice"].astype(str).map(positions) > len(PLAN.cells) * (1 + TIMED // 2)
    second = frames.messages["round"] == 2
    frames.messages.loc[late & second, "usec"] *= 2
    assert [(row.round, row.steady) for row in judge(frames).rounds] == [(1, True), (2, False), (3, True)]


# --- what does not count --------------------------------------------------------------------------------------------


def spoilt_slice() -> SlicePlan:
    """A timed slice of Lua in the second round."""
    return next(p for p in PIECES if p.round == 2 and p.cell == "lua" and not p.warmup)


def test_an_invalid_slice_is_left_out_and_its_reason_told() -> None:
    """One slice less in every figure, and the run is not valid."""
    bad = spoilt_slice()
    found = judge(make_frames(invalid={bad.id: "SIPp: 3 of 20 calls failed"}))
    lua = found.cells["lua"]
    assert not found.valid
    assert (lua.slices_valid, lua.slices_invalid) == (ROUNDS * PLANNED - 1, 1)
    assert lua.reasons == (f"{bad.id}: SIPp: 3 of 20 calls failed",)
    assert lua.pooled
    assert lua.pooled.sum == timed_messages("lua", but=bad.id)["usec"].sum()
    assert lua.pooled.cnt == (ROUNDS * TIMED - 1) * CALLS * 2


def test_a_valid_repeat_makes_the_run_valid_and_the_reason_stays() -> None:
    """The plan is fulfilled; that it took two attempts is no secret."""
    bad = spoilt_slice()
    repeat = again(bad, position=99)
    found = judge(make_frames([*PIECES, repeat], invalid={bad.id: "SIPp: exit code 1"}))
    lua = found.cells["lua"]
    assert found.valid
    assert (lua.slices_valid, lua.slices_invalid, lua.slices_repeated) == (ROUNDS * PLANNED, 0, 1)
    assert lua.reasons == (f"{bad.id}: SIPp: exit code 1",)
    assert lua.legs["challenge"].count == ROUNDS * TIMED * CALLS


def test_an_invalid_warm_up_slice_spoils_the_run_but_no_figure(sound: Summary) -> None:
    """It is a planned slice like any other; what it measured is left out anyway."""
    cold = next(p for p in PIECES if p.warmup and p.cell == "lua")
    found = judge(make_frames(invalid={cold.id: "kernel: stolen"}))
    assert not found.valid
    reasons = (f"{cold.id}: kernel: stolen",)
    valid = ROUNDS * PLANNED - 1
    assert found.cells["lua"] == replace(sound.cells["lua"], slices_valid=valid, slices_invalid=1, reasons=reasons)


def test_slices_of_an_unproven_start_do_not_count() -> None:
    """Whoever answered in that round may not have been Lua."""
    found = judge(make_frames(unproven={(3, "lua"): "engine proof: no marker"}))
    lua = found.cells["lua"]
    assert not found.valid
    assert lua.reasons == ("start r03-lua: engine proof: no marker",)
    assert lua.slices_invalid == PLANNED
    assert comparison(found, "lua", "challenge").n_rounds == ROUNDS - 1
    assert comparison(found, "native-aa", "challenge").n_rounds == ROUNDS


def test_a_cell_without_any_valid_slice_is_broken() -> None:
    """Its figures and ratios are null, never 0."""
    found = judge(make_frames(unproven={(number, "lua"): "engine proof: no marker" for number in (1, 2, 3)}))
    lua = found.cells["lua"]
    assert found.broken == {"lua": "none of its 12 timed slices is valid; start r01-lua: engine proof: no marker"}
    assert lua.legs["challenge"].count == 0
    assert lua.legs["challenge"].mean_usec is None
    assert lua.call_usec is None
    assert lua.cpu_usec_per_call is None
    row = comparison(found, "lua", "registration")
    assert (row.ratio, row.ci_low, row.mde, row.n_rounds) == (None, None, None, 0)


KNOWN = testing.known(PLAN, "lua", known_broken="it cuts pointers: docs/engines/lua.md")
UNPROVEN = {(number, "lua"): "rehearsal of register: SIPp ended with exit code 1" for number in (1, 2, 3)}


def rehearsed_in_vain() -> Frames:
    """Of Lua there are starts that say why not, and no slice."""
    pieces = [piece for piece in PIECES if piece.cell != "lua"]
    made = make_frames(pieces)
    failed = pd.DataFrame([start_row(*key, reason) for key, reason in UNPROVEN.items()])
    starts = pd.concat([made.starts.astype({"cell": "object"}), failed], ignore_index=True)
    return replace(made, starts=starts.astype({"cell": "category", "bindings": "Int64"}))


def test_a_cell_that_is_known_to_be_broken_is_no_fault_of_the_run() -> None:
    """It is listed with what is known of it, and has no number; the others make the run valid."""
    found = judge(rehearsed_in_vain(), plan=KNOWN)
    assert found.valid
    assert found.broken == {
        "lua": "none of its 0 timed slices is valid; "
        "start r01-lua: rehearsal of register: SIPp ended with exit code 1; "
        "known: it cuts pointers: docs/engines/lua.md"
    }
    lua = found.cells["lua"]
    assert lua.call_usec is None
    assert lua.cpu_usec_per_call is None
    assert {leg.count for leg in lua.legs.values()} == {0}
    assert {leg.mean_usec for leg in lua.legs.values()} == {None}
    assert {row.ratio for row in found.comparisons if row.cell == "lua"} == {None}
    assert found.notes == ()


def test_what_is_broken_and_not_known_to_be_is_a_fault() -> None:
    """The same run, of which nobody expected that."""
    found = judge(rehearsed_in_vain())
    assert not found.valid
    assert list(found.broken) == ["lua"]
    assert "known" not in found.broken["lua"]


def test_only_the_cell_that_is_known_to_be_broken_is_excused() -> None:
    """An invalid slice of another one is as bad as ever."""
    made = rehearsed_in_vain()
    bad = next(p.id for p in PIECES if p.cell == "python3" and not p.warmup)
    spoilt = made.slices["slice"] == bad
    slices = made.slices.assign(
        valid=made.slices["valid"] & ~spoilt, reasons=made.slices["reasons"].where(~spoilt, "SIPp: exit code 1")
    )
    assert not judge(replace(made, slices=slices), plan=KNOWN).valid


def test_what_is_known_to_be_broken_and_works_is_told(sound: Summary) -> None:
    """What versions.toml says is then wrong; its figures count like any other's."""
    found = judge(make_frames(), plan=KNOWN)
    assert found.valid
    assert found.broken == {}
    assert found.cells == sound.cells
    assert found.notes == (
        "lua works, though images/versions.toml says that it is broken: it cuts pointers: docs/engines/lua.md",
    )


def test_a_cell_that_is_known_to_be_broken_and_half_works_is_judged() -> None:
    """It has figures, so its faults are faults."""
    found = judge(make_frames(unproven={(1, "lua"): "engine proof: no marker"}), plan=KNOWN)
    assert not found.valid
    assert found.broken == {}


def test_holm_counts_what_was_compared() -> None:
    """A broken cell has no probability, and costs the others none."""
    found = judge(rehearsed_in_vain(), plan=KNOWN)
    row = comparison(found, "python3", "challenge")
    assert row.p_holm == row.p


# --- other experiments ----------------------------------------------------------------------------------------------


def test_a_specimen_is_shown_as_found() -> None:
    """Every slice counts, whatever its checks say; they stand beside it, and nobody may take it for a result."""
    bad = {piece.id: "SIPp: 3 of 20 calls failed" for piece in PIECES}
    found = judge(make_frames(invalid=bad), plan=replace(PLAN, specimen=Specimen()))
    assert found.specimen
    assert found.valid  # that is: it came to its end
    lua = found.cells["lua"]
    assert lua.legs["challenge"].count == ROUNDS * TIMED * CALLS
    assert (lua.slices_valid, lua.slices_invalid) == (ROUNDS * PLANNED, 0)
    assert len(lua.reasons) == ROUNDS * PLANNED
    assert "a specimen" in found.notes[0]
    assert "prove nothing" in found.notes[0]


def test_a_specimen_that_broke_off_is_not_whole() -> None:
    """It is shown all the same."""
    found = judge(make_frames(), complete=False, plan=replace(PLAN, specimen=Specimen()))
    assert not found.valid
    assert found.cells["lua"].legs["challenge"].count == ROUNDS * TIMED * CALLS


def test_a_specimen_of_an_unproven_start_is_invalid() -> None:
    """Whatever its conditions: who answered must be known."""
    starts = {(2, "lua"): "engine proof: the probe's reply came without a marker"}
    found = judge(make_frames(unproven=starts), plan=replace(PLAN, specimen=Specimen()))
    assert not found.valid


def test_what_was_left_out_is_told() -> None:
    """In the order in which it was."""
    found = judge(make_frames(), plan=replace(PLAN, left_out=("ruby: no image", "jsdt: no image")))
    assert found.valid
    assert found.notes == ("left out: ruby: no image", "left out: jsdt: no image")


def test_each_cell_is_compared_with_its_own_baseline() -> None:
    """And Holm's family is what one baseline is compared with, the A/A cell never."""
    names = {"native": "native", "lua": "native", "python3": "lua", "native-aa": "native"}
    cells = tuple(replace(cell, baseline=names[cell.name]) for cell in PLAN.cells)
    found = judge(make_frames(), plan=replace(PLAN, cells=cells))
    assert {row.cell: row.baseline for row in found.comparisons} == {
        name: baseline for name, baseline in names.items() if name != "native"
    }
    assert comparison(found, "python3", "challenge").ratio == pytest.approx(0.5, rel=0.05)
    for name in ("lua", "python3"):
        row = comparison(found, name, "challenge")
        assert row.p_holm == row.p
    assert {name: cell.baseline for name, cell in found.cells.items()} == names


def other_scenario(*legs: str) -> Plan:
    """The plan with another scenario in Lua's cell, of these legs."""
    rules = tuple(LegRule(leg, "INVITE", number) for number, leg in enumerate(legs, start=1))
    other = Scenario("invite", rules, whole="call")
    cells = tuple(replace(cell, scenario="invite") if cell.name == "lua" else cell for cell in PLAN.cells)
    return replace(PLAN, cells=cells, scenarios=(*PLAN.scenarios, other))


def test_only_legs_that_both_have_are_compared() -> None:
    """A call is not a registration, whatever one of its requests is called."""
    found = judge(make_frames(), plan=other_scenario("challenge", "invite"))
    assert [row.leg for row in found.comparisons if row.cell == "lua"] == ["challenge"]
    assert list(found.cells["lua"].legs) == ["challenge", "invite"]
    assert found.cells["lua"].call_usec is None  # of the invite leg nothing was seen
    assert (found.cells["lua"].whole, found.cells["native"].whole) == ("call", "registration")


def test_a_call_of_one_leg_is_compared_once() -> None:
    """The leg is all of it."""
    one = Scenario("challenge", (LegRule("challenge", "REGISTER", 1),), whole="refusal")
    cells = tuple(replace(cell, scenario="challenge") for cell in PLAN.cells)
    made = make_frames()
    alone = replace(made, messages=made.messages[made.messages["leg"] == "challenge"])
    found = judge(alone, plan=replace(PLAN, cells=cells, scenarios=(one,)))
    assert [row.leg for row in found.comparisons if row.cell == "lua"] == ["challenge"]
    assert found.cells["lua"].call_usec == found.cells["lua"].legs["challenge"].mean_usec


def test_the_sum_of_all_legs_is_called_as_the_scenario_says() -> None:
    """In the comparisons as in the cells."""
    call = replace(PLAN.scenarios[0], whole="call")
    found = judge(make_frames(), plan=replace(PLAN, scenarios=(call,)))
    assert [row.leg for row in found.comparisons if row.cell == "lua"] == ["challenge", "authenticated", "call"]


def test_a_leg_may_be_called_as_a_column_is() -> None:
    """Names are the scenario's; ours must not get in their way."""
    rules = (LegRule("whole", "REGISTER", 1), LegRule("authenticated", "REGISTER", 2))
    made = make_frames()
    legs = made.messages["leg"].astype(str).replace("challenge", "whole").astype("category")
    plan = replace(PLAN, scenarios=(replace(PLAN.scenarios[0], legs=rules),))
    found = judge(replace(made, messages=made.messages.assign(leg=legs)), plan=plan)
    assert comparison(found, "lua", "whole").ratio == pytest.approx(2.0, rel=0.05)
    assert comparison(found, "lua", "registration").ratio == pytest.approx(460 / 350, rel=0.05)


def test_a_cell_has_its_factors() -> None:
    """So that a reader need not take its name apart."""
    cells = (*PLAN.cells[:1], Cell("lua", "lua", "5.6.3", "lean", "mariadb", baseline="native"), *PLAN.cells[2:])
    lua = judge(make_frames(), plan=replace(PLAN, cells=cells)).cells["lua"]
    assert (lua.kamailio, lua.routing, lua.database, lua.scenario) == ("5.6.3", "lean", "mariadb", "register")


# --- runs that broke off, records that are missing ------------------------------------------------------------------


def test_a_cell_is_not_broken_before_a_timed_slice_was_tried() -> None:
    """Interrupted after the warm-up, of which one slice was invalid."""
    pieces = [piece for piece in PIECES if piece.round == 1 and piece.warmup]
    found = judge(make_frames(pieces, invalid={pieces[1].id: "kernel: stolen"}), complete=False)
    assert found.broken == {}
    assert found.cells["lua"].slices_missing == ROUNDS * PLANNED - 1


def test_bindings_that_nobody_counted_make_a_complete_run_invalid() -> None:
    """A check that was not made is not a check passed."""
    frames = make_frames()
    frames.starts.loc[(frames.starts["round"] == 1) & (frames.starts["cell"] == "lua"), "bindings"] = pd.NA
    found = judge(frames)
    assert not found.valid
    assert found.cells["lua"].reasons == ("start r01-lua: database: bindings in location not counted",)


def test_a_start_without_a_record_proves_nothing() -> None:
    """Its slices do not count either."""
    frames = make_frames()
    known = frames.starts[~((frames.starts["round"] == 2) & (frames.starts["cell"] == "native"))]
    found = judge(replace(frames, starts=known))
    assert not found.valid
    assert found.cells["native"].reasons == ("start r02-native: this start has no record",)


def test_an_interrupted_run_is_never_valid_but_shows_what_it_has() -> None:
    """Two rounds of three, the second without its last slice."""
    pieces = [piece for piece in PIECES if piece.round < 3][:-1]
    found = judge(make_frames(pieces), complete=False)
    assert not found.valid
    assert found.notes == ("the run was not sealed as complete: it was interrupted, or has failed",)
    assert found.cells["lua"].slices_missing == PLANNED
    assert found.cells["native-aa"].slices_missing == PLANNED + 1
    assert found.cells["lua"].reasons == ()
    assert comparison(found, "lua", "challenge").n_rounds == 2


def test_a_run_that_ended_before_its_first_slice_has_a_summary() -> None:
    """Nothing is known, nothing is 0, and nothing breaks."""
    frames = make_frames()
    empty = Frames(frames.messages[:0], frames.slices[:0], frames.starts[:0])
    found = judge(empty, complete=False)
    assert not found.valid
    assert found.broken == {}
    assert found.cells["native"].legs["challenge"].mean_usec is None
    assert {row.n_rounds for row in found.comparisons} == {0}


def test_a_retransmission_is_counted_and_pooled_but_no_figure_of_its_leg() -> None:
    """A declared tolerance may let one pass: its time is that of a request which had its answer already."""
    frames = make_frames()
    extra = messages_of(spoilt_slice())[:1].assign(retransmission=True, usec=99_999)
    messages = pd.concat([frames.messages, extra], ignore_index=True)
    lua = judge(replace(frames, messages=messages)).cells["lua"]
    assert lua.retransmissions == 1
    assert lua.legs["challenge"].count == ROUNDS * TIMED * CALLS
    assert (lua.legs["challenge"].max_usec or 0) < 99_999
    assert lua.pooled
    assert (lua.pooled.cnt, lua.pooled.max) == (2 * ROUNDS * TIMED * CALLS + 1, 99_999)


def test_what_the_machine_could_not_tell_is_said_and_null() -> None:
    """Latency stands without CPU time and steal, so the run is valid."""
    frames = make_frames()
    frames.slices["cpu_usec"] = pd.Series([pd.NA] * len(frames.slices), dtype="Int64")
    frames.slices["steal_usec"] = frames.slices["cpu_usec"]
    found = judge(frames)
    assert found.valid
    assert found.cells["lua"].cpu_usec_per_call is None
    assert found.notes == (
        "not measured on this machine: CPU time of Kamailio's container",
        "not measured on this machine: steal on Kamailio's CPUs",
    )


def test_where_sipp_was_the_limit_it_is_said() -> None:
    """The slices count: every call went well. Only their rate is not Kamailio's."""
    frames = make_frames()
    frames.slices.loc[:1, "generator_limited"] = True
    found = judge(frames)
    assert found.valid
    assert found.notes == (
        f"SIPp, not Kamailio, was the limit in 2 of {len(frames.slices)} slices (generator_limited)",
    )


# --- the file -------------------------------------------------------------------------------------------------------


def make_run(results: Path, ended: str = "complete") -> Path:
    """A real results folder of the plan, with its frames: Lua costs twice as much."""
    run = testing.run(results, PLAN, testing.slices(PLAN, {"lua": 2.0}), ended=ended)
    frames.write(run)
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was sealed at its planned end."""
    return make_run(tmp_path)


def test_the_file_has_every_field_that_other_programs_rely_on(run: Path) -> None:
    """The contract of summary.json, name by name."""
    summary.write(run)
    found = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert found["schema_version"] == 3
    assert found["experiment"] == PLAN.experiment
    assert found["valid"] is True
    assert found["broken"] == {}
    assert list(found["cells"]) == ["native", "lua", "python3", "native-aa"]
    cell = found["cells"]["lua"]
    assert cell["engine"] == "lua"
    assert cell["kamailio"] == "6.0.1"
    assert cell["reasons"] == []
    assert (cell["database"], cell["scenario"], cell["baseline"]) == ("mysql", "register", "native")
    assert cell["whole"] == "registration"
    assert {"retransmissions", "call_usec", "cpu_usec_per_call", "slices_valid", "slices_invalid"} < cell.keys()
    assert (found["aa_cell"], found["specimen"]) == ("native-aa", False)
    figures = {"count", "mean_usec", "median_usec", "p10_usec", "p95_usec", "p99_usec", "max_usec"}
    assert {leg: set(of) for leg, of in cell["legs"].items()} == {"challenge": figures, "authenticated": figures}
    assert cell["pooled"].keys() == {"cnt", "sum", "min", "max", "avg"}
    fields = {"cell", "baseline", "leg", "ratio", "ci_low", "ci_high", "mde", "n_rounds"}
    assert all(fields < row.keys() for row in found["comparisons"])
    assert found["comparisons"][0]["ratio"] == pytest.approx(2.0, rel=0.1)


def test_what_was_written_is_read_back(run: Path) -> None:
    """`report` shows what `run` has shown."""
    written = summary.write(run)
    assert summary.read(run) == written


@pytest.mark.parametrize("ended", ["interrupted", "failed"])
def test_only_a_run_sealed_at_its_planned_end_can_be_valid(tmp_path: Path, ended: str) -> None:
    """However complete its slices are."""
    assert not summary.write(make_run(tmp_path, ended)).valid


def test_a_run_without_a_seal_is_incomplete(run: Path) -> None:
    """Killed before it could say how it ended."""
    status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    (run / "status.json").write_text(json.dumps({**status, "status": "started", "ended": None}), encoding="utf-8")
    assert not summary.write(run).valid


def test_a_summary_of_a_version_to_come_is_refused(run: Path) -> None:
    """Nobody knows what its fields mean."""
    summary.write(run)
    other = json.loads((run / "summary.json").read_text(encoding="utf-8")) | {"schema_version": 4}
    (run / "summary.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(BadInputError, match="schema version 4: this kemi-lab reads up to 3"):
        summary.read(run)


def test_a_run_without_a_summary_is_named(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(BadInputError, match="missing"):
        summary.read(tmp_path)
