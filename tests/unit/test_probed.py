"""What the kernel has seen of a cell: bpftrace's and perf's words are read, and made into time for a request."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import store
from lab.counts import figures, probed
from lab.counts.probed import Block, ProbeRecord, Seen
from lab.errors import BadInputError
from lab.model import Counting
from lab.report import counts as report
from tests.unit import profiles
from tests.unit.test_counts import whole

DATA = Path(__file__).parent / "data"
LEGS = ("challenge", "authenticated")
CALLS = 4
EVENTS = ("instructions:u", "instructions:k", "cycles:u", "cycles:k")


def said(
    *, clock_msec: float = 1.0, wall: tuple[int, ...] = (), away: tuple[int, ...] = (), counters: float | None = None
) -> str:
    """As `watch` says it."""
    lines: list[object] = [{"type": "printf", "data": "up\n"}]
    if wall:
        maps = {"@wall": wall, "@away": away}
        lines += [{"type": "map", "data": {name: {str(n): v for n, v in enumerate(maps[name])}}} for name in maps]
        lines.append({"type": "map", "data": {"@requests": len(wall)}})
    value = probed.NONE if counters is None else f"{counters:.6f}"
    lines.append({"counter-value": f"{clock_msec:.6f}", "event": "task-clock", "pcnt-running": 100.0})
    lines += [{"counter-value": value, "event": event, "pcnt-running": 100.0} for event in EVENTS]
    return "\n".join(map(json.dumps, lines)) + "\n"


def block(*, with_probes: bool, usec: float = 30.0) -> Block:
    """All of its requests are there."""
    return Block(with_probes, CALLS, dict.fromkeys(LEGS, CALLS), dict.fromkeys(LEGS, usec))


def start(number: int, on_cpu: int, extra_msec: float = 0.04) -> tuple[ProbeRecord, list[Seen]]:
    """One fresh start of two blocks without probes around two with them."""
    wall = (on_cpu, on_cpu + 90_000) * CALLS
    away = (0, 50_000) * CALLS
    plain, traced = said(clock_msec=0.8), said(clock_msec=0.8 + extra_msec, wall=wall, away=away)
    blocks = tuple(block(with_probes=one) for one in (False, True, True, False))
    record = ProbeRecord(number, "lua", 9.0, LEGS, blocks)
    return record, [probed.parse(text) for text in (plain, traced, traced, plain)]


def test_a_real_block_is_read() -> None:
    """Of 150 registrations, as it was seen on a machine without hardware counters."""
    seen = probed.parse((DATA / "probes-traced.jsonl").read_text())
    assert len(seen.on_cpu) == len(seen.away) == 300
    assert all(nsec > 10_000 for nsec in seen.on_cpu)
    assert min(seen.away) == 0
    assert seen.counters == {"task-clock": pytest.approx(43.9, rel=0.5), **dict.fromkeys(EVENTS)}


def test_a_real_block_without_probes_has_counters_alone() -> None:
    """Nobody has timed a request."""
    seen = probed.parse((DATA / "probes-plain.jsonl").read_text())
    assert seen.on_cpu == seen.away == ()
    assert seen.counters["task-clock"] == pytest.approx(41.57, rel=0.01)


def test_counters_of_hardware_are_numbers_where_there_are_some() -> None:
    """Of a call, without probes."""
    record, seen = start(1, 30_000)
    assert probed.parse(said(counters=284_464.0)).counters["instructions:u"] == 284_464
    counted = [replace(one, counters={**one.counters, "instructions:u": 4000.0}) for one in seen]
    found = probed.together([(record, counted)])
    assert found is not None
    assert found.counters == {"instructions:u": 1000.0, **dict.fromkeys(EVENTS[1:])}


def test_each_kind_of_core_counts_for_itself() -> None:
    """A worker may have been on one of them alone; where perf has shared a counter out, it has guessed."""
    text = said() + "\n".join(
        json.dumps({"counter-value": value, "event": f"cpu_{kind}/branches:u/", "pcnt-running": 100.0})
        for kind, value in (("core", "700.000000"), ("atom", "<not counted>"))
    )
    assert probed.parse(text).counters["branches:u"] == 700.0
    with pytest.raises(BadInputError, match=r"was only counted for 60\.0 % of the time"):
        probed.parse(text.replace('"pcnt-running": 100.0', '"pcnt-running": 60.0', 1))


def test_a_request_has_its_time_on_the_cpu_and_off_it() -> None:
    """By its leg, which its place tells; the mean of fresh starts' medians."""
    found = probed.together([start(1, 30_000), start(2, 34_000)])
    assert found is not None
    challenge, authenticated = (found.legs[leg] for leg in LEGS)
    assert (challenge.on_cpu_usec, challenge.away_usec, challenge.of_rounds) == (32.0, 0.0, (30.0, 34.0))
    assert (authenticated.on_cpu_usec, authenticated.away_usec) == (72.0, 50.0)
    assert challenge.spread == pytest.approx(4 / 32)
    assert challenge.logged_usec == challenge.logged_probed_usec == 30.0


def test_what_looking_costs_is_of_neighbouring_blocks() -> None:
    """CPU time of the worker for a call, with probes and without."""
    found = probed.together([start(1, 30_000, 0.04), start(2, 30_000, 0.02)])
    assert found is not None
    assert found.worker_usec == pytest.approx(200.0)
    assert found.probes.ratio == pytest.approx((1.05 * 1.025) ** 0.5)
    assert found.probes.n_rounds == 4
    assert found.probes.ci_low is not None
    assert found.probes.ci_low < 1.025


def test_a_block_that_lacks_requests_does_not_count() -> None:
    """Neither of Kamailio's lines nor of the probes may one be missing."""
    whole_block, seen = block(with_probes=True), probed.parse(said(wall=(1,) * 8, away=(0,) * 8))
    assert probed.problem(whole_block, seen, LEGS) == ""
    fewer = replace(whole_block, messages={"challenge": 4, "authenticated": 3})
    assert probed.problem(fewer, seen, LEGS) == "Kamailio has logged 3 of leg authenticated, and not 4"
    other = replace(whole_block, messages={"challenge": 4, "authenticated": 4, "other": 1})
    assert probed.problem(other, seen, LEGS) == "Kamailio has logged 1 of leg other, and not 4"
    assert "1 errors" in probed.problem(replace(whole_block, errors=1), seen, LEGS)
    blind = replace(seen, on_cpu=seen.on_cpu[1:])
    assert probed.problem(whole_block, blind, LEGS) == "the probes have seen 7 request_routes of 8"
    assert probed.problem(block(with_probes=False), probed.parse(said()), LEGS) == ""


@given(st.text() | st.sampled_from(['{"type": "map"}', '{"event": "task-clock"}', "[]", "1", '{"type": 1, "data": 2}']))
def test_what_is_nobodys_words_is_told(text: str) -> None:
    """Whatever it is."""
    with pytest.raises(BadInputError):
        probed.parse(text)


def looked_at(path: Path, *, reasons: tuple[str, ...] = ()) -> Path:
    """A count whose cells were looked at as well."""
    folder = whole(path)
    plan = profiles.plan(Counting(2, 1, probes=True), 2)
    store.dump(plan, folder / "evidence" / "plan.json")
    for number in (1, 2):
        for cell, on_cpu in (("native", 30_000), ("lua", 45_000)):
            record, _ = start(number, on_cpu)
            place = folder / "evidence" / probed.FOLDER / f"r{number:02d}-{cell}"
            place.mkdir(parents=True)
            store.dump(replace(record, cell=cell, reasons=reasons), place / probed.RECORD)
            wall, away = (on_cpu, on_cpu + 90_000) * CALLS, (0, 50_000) * CALLS
            for at, one in enumerate(record.blocks, start=1):
                text = said(clock_msec=0.84, wall=wall, away=away) if one.probed else said(clock_msec=0.8)
                (place / probed.block_file(at)).write_text(text)
    return folder


def test_a_table_has_what_was_seen_below_what_was_counted(tmp_path: Path) -> None:
    """With what looking costs, and that there are no counters here."""
    folder = looked_at(tmp_path)
    found = figures.write(folder)
    assert found.valid
    shown = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.text(found, folder).splitlines()]
    assert ["request_route on CPU, usec", "30.0", "45.0"] in shown
    assert ["- times the baseline", "", "1.500"] in shown
    assert ["off the CPU in it, usec", "50.0", "50.0"] in shown
    assert ["with probes, times that", "1.050", "1.050"] in shown
    assert ["hardware counters", "none here", "none here"] in shown
    assert "request_route on CPU" not in report.text(figures.write(whole(tmp_path / "not")), folder)


def test_a_cell_that_was_not_looked_at_in_every_start_makes_the_run_invalid(tmp_path: Path) -> None:
    """And why is a note."""
    found = figures.write(looked_at(tmp_path, reasons=("SIPp ended with exit code 1",)))
    assert not found.valid
    assert found.cells["lua"].time is None
    assert "round 2, lua, by probes: SIPp ended with exit code 1" in found.notes


def test_evidence_that_is_damaged_is_named(tmp_path: Path) -> None:
    """By its file."""
    folder = looked_at(tmp_path)
    spoiled = folder / "evidence" / probed.FOLDER / "r01-lua" / probed.block_file(2)
    spoiled.write_text(spoiled.read_text()[:-20])
    with pytest.raises(BadInputError, match=r"r01-lua/b02\.jsonl: neither bpftrace's nor perf's"):
        figures.write(folder)
