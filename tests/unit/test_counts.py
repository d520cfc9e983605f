"""Instructions per request: callgrind's file is read to the last number, and whose they are is said."""

import json
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import store, testing
from lab.counts import callgrind, crossings, figures, record, shares
from lab.counts.callgrind import Function, Part
from lab.counts.record import CountRecord
from lab.errors import BadInputError
from lab.model import Counting, Specimen
from lab.plan import counted
from lab.report import counts as report
from tests.unit import profiles

PLAN = testing.plan(engines=("native", "lua"))
COUNTING = Counting(calls=2, warmup_calls=1)


def read(text: str, wanted: range) -> list[Part]:
    """Those parts of a file."""
    return [callgrind.together([one]) for one in callgrind.requests(text.splitlines(keepends=True), wanted)]


def one() -> Part:
    """The one part of a file."""
    (part,) = read(profiles.lines([1000]), range(1))
    return part


def folder(path: Path, *starts: tuple[str, list[int]], ended: str = "complete", reasons: tuple[str, ...] = ()) -> Path:
    """A run of these."""
    return profiles.run(path, profiles.plan(COUNTING, 2), *starts, ended=ended, reasons=reasons)


def whole(path: Path) -> Path:
    """Two cells, two starts: a probe, a rehearsal and a call to warm up, then two calls of two legs each."""
    before = [9000] * 5
    return folder(
        path,
        ("native", [*before, 1000, 2000, 1002, 2004]),
        ("lua", [*before, 3000, 5000, 3000, 5000]),
        ("native", [*before, 1001, 2002, 1001, 2002]),
        ("lua", [*before, 3000, 5000, 3000, 5000]),
    )


def test_a_part_has_what_each_function_executes_itself() -> None:
    """Lines of inlined files belong to the function that they were put into."""
    part = one()
    assert part.total == part.own.total() == 1000 + profiles.ASIDE + profiles.SCRIPT
    names = {function.name: instructions for function, instructions in part.own.items()}
    assert names["receive_msg"] == 1005
    assert names["app_lua_run_ex"] == 40
    assert names["qm_malloc"] == 44


def test_a_part_has_calls_with_all_that_they_lead_to() -> None:
    """Caller and callee are the functions whose own instructions are told elsewhere."""
    part = one()
    calls = {(arc.caller.name, arc.callee.name): number for arc, number in part.calls.items()}
    assert calls["0x000000000001a5f0", "sr_kemi_lua_exec_func"] == 3
    assert {name for arc in part.calls for name in arc} <= set(part.own)
    for function in {arc.callee for arc in part.calls}:
        led_to = sum(n for arc, n in part.inclusive.items() if arc.caller == function)
        came = sum(n for arc, n in part.inclusive.items() if arc.callee == function)
        assert came == part.own[function] + led_to


def test_names_are_known_from_parts_that_are_passed_over() -> None:
    """They are written out once a file."""
    text = profiles.lines([1, 2, 3, 4])
    third, fourth = read(text, range(2, 4))
    assert [third.total, fourth.total] == [total + profiles.ASIDE + profiles.SCRIPT for total in (3, 4)]
    assert set(third.own) == set(read(text, range(1))[0].own)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fn=(8) qm_malloc\n200", "fn=(88)\n200"),  # a name that was never written out
        ("200 44", "200 x"),
        ("calls=4 200", "calls="),
        ("totals: 2154", "totals: 2155"),  # what does not add up is cut off or mixed up
    ],
)
def test_what_is_no_profile_is_named_with_its_line(old: str, new: str) -> None:
    """It is never half read."""
    text = profiles.lines([1000])
    assert old in text
    with pytest.raises(BadInputError, match=r"^(up to )?line \d+: not callgrind's"):
        read(text.replace(old, new), range(1))


def test_a_file_that_was_cut_off_has_fewer_parts() -> None:
    """Its last part never comes to its total."""
    assert len(read(profiles.lines([1, 2])[:-40], range(2))) == 1


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789+-*() =calsfnobwheirptu:\n", max_size=300))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    """Nothing but BadInputError reaches the caller."""
    try:
        read("part: 1\n" + text, range(3))
    except BadInputError as error:
        assert str(error)  # noqa: PT017  (that it is this one is the point)


@pytest.mark.parametrize(
    ("path", "file", "share"),
    [
        ("/usr/lib/kamailio/modules/app_lua.so", "/source/src/modules/app_lua/app_lua_api.c", shares.ENGINE),
        ("/usr/lib/kamailio/modules/luajit/app_lua.so", "app_lua_api.c", shares.ENGINE),
        ("/usr/lib/kamailio/modules/app_jsdt.so", "/source/src/modules/app_jsdt/duktape.c", shares.INTERPRETER),
        ("/usr/lib/kamailio/modules/app_jsdt.so", "/source/src/modules/app_jsdt/app_jsdt_api.c", shares.ENGINE),
        ("/usr/lib/kamailio/modules/app_sqlang.so", "/src/modules/app_sqlang/squirrel/sqvm.cpp", shares.INTERPRETER),
        ("/usr/lib/kamailio/modules/app_sqlang.so", "???", shares.INTERPRETER),
        ("/usr/lib/kamailio/modules/app_sqlang.so", "/source/src/modules/app_sqlang/app_sqlang_api.c", shares.ENGINE),
        ("/usr/lib/kamailio/modules/app_lua.so", "???", shares.ENGINE),
        ("/usr/lib/x86_64-linux-gnu/liblua5.1.so.0.0.0", "???", shares.INTERPRETER),
        ("/usr/lib/x86_64-linux-gnu/libluajit-5.1.so.2.1.0", "???", shares.INTERPRETER),
        ("/usr/lib/x86_64-linux-gnu/libpython3.13.so.1.0", "???", shares.INTERPRETER),
        ("/usr/lib/x86_64-linux-gnu/libruby-3.3.so.3.3.8", "???", shares.INTERPRETER),
        ("/usr/sbin/kamailio", "/source/src/core/receive.c", shares.CORE),
        ("/usr/sbin/kamailio", "/source/src/core/mem/f_malloc.c", shares.MEMORY),
        ("/usr/lib/kamailio/modules/registrar.so", "/source/src/modules/registrar/save.c", "registrar"),
        ("/usr/lib/kamailio/modules/db_mysql.so", "/source/src/modules/db_mysql/km_dbase.c", shares.DATABASE),
        ("/usr/lib/x86_64-linux-gnu/libmariadb.so.3", "???", shares.DATABASE),
        ("/usr/lib/kamailio/libsrdb1.so.1", "/source/src/lib/srdb1/db_query.c", shares.DATABASE),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "./malloc/malloc.c", shares.LIBC),
        ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "???", shares.LIBC),
        ("/usr/lib/x86_64-linux-gnu/libssl.so.3", "???", shares.OTHER),
        ("???", "???", shares.NO_FILE),
    ],
)
def test_whose_an_instruction_is(path: str, file: str, share: str) -> None:
    """By its program or library, and there by its source file."""
    assert shares.of(Function(path, file, "f")) == share


def test_crossings_are_told_from_what_they_call() -> None:
    """Three calls of 300 + 240 instructions, and 60 of the core's helper that hands arguments on."""
    found = crossings.of(one())
    assert found.number == 3
    assert found.instructions == 300 + 240 + 60


def test_figures_are_of_the_last_calls_alone(tmp_path: Path) -> None:
    """Means of all that were counted, and of each fresh start; what came before counts for nothing."""
    found = figures.compute(whole(tmp_path))
    assert found.valid
    base = profiles.ASIDE + profiles.SCRIPT
    native = found.cells["native"].legs
    assert native["challenge"].instructions == pytest.approx(base + 1001)
    assert native["authenticated"].instructions == pytest.approx(base + 2002)
    assert list(native["authenticated"].of_rounds) == pytest.approx([base + 2002] * 2)
    assert [native["challenge"].least, native["challenge"].most] == [base + 1000, base + 1002]
    assert native["challenge"].spread == pytest.approx(0)
    lua = found.cells["lua"].legs["challenge"]
    assert lua.route == profiles.SCRIPT
    assert lua.crossings == 3
    assert lua.crossing == pytest.approx(200)
    assert sum(lua.shares.values()) == pytest.approx(lua.instructions)
    assert lua.shares[shares.MEMORY] == 44
    assert figures.ratios(found)["lua"]["challenge"] == pytest.approx((base + 3000) / (base + 1001))


def test_the_table_has_cells_side_by_side(tmp_path: Path) -> None:
    """It reads at a terminal, and is Markdown as well."""
    place = whole(tmp_path)
    text = report.text(figures.compute(place), place)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert "3 156" in rows["instructions"]
    assert "- memory manager" in rows
    assert rows["KEMI calls"].count("3.0") == 2
    assert "2 calls one by one, after 1 to warm up, in each of 2 fresh starts" in text


def test_a_cell_that_failed_makes_it_invalid(tmp_path: Path) -> None:
    """Its reason is told; nothing is made of what it left."""
    found = figures.compute(folder(tmp_path, ("native", []), reasons=("SIPp ended with exit code 1",)))
    assert not found.valid
    assert found.cells["native"].legs == {}
    assert "round 1, native: SIPp ended with exit code 1" in found.notes


def test_one_that_was_broken_off_is_not_valid(tmp_path: Path) -> None:
    """What there is, is shown."""
    before = [9000] * 5
    found = figures.compute(folder(tmp_path, ("native", [*before, 1, 2, 3, 4]), ended="interrupted"))
    assert not found.valid
    assert found.cells["native"].legs["challenge"].spread is None


def test_a_profile_that_is_damaged_is_named(tmp_path: Path) -> None:
    """The file, not the library that could not read it."""
    place = whole(tmp_path)
    file = place / "evidence" / record.FOLDER / "r01-lua" / record.PROFILE
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BadInputError, match=r"r01-lua/callgrind\.out\.xz"):
        figures.compute(place)


def test_what_is_kept_is_what_is_computed(tmp_path: Path) -> None:
    """counts.json says all of it, for programs."""
    place = whole(tmp_path)
    found = figures.write(place)
    assert figures.read(place) == found
    assert json.loads((place / figures.FILE).read_text())["cells"]["lua"]["legs"]["challenge"]["crossings"] == 3


def test_a_run_without_counts_is_refused(tmp_path: Path) -> None:
    """With the command that makes one."""
    run = store.Run.create(tmp_path, "timed")
    store.dump(PLAN, run.evidence / "plan.json")
    with pytest.raises(BadInputError, match="nothing was counted"):
        figures.compute(run.folder)


def test_a_count_has_the_cells_of_its_experiment_once() -> None:
    """One worker each; neither slices nor the baseline once more, which would be counted twice for nothing."""
    plan = counted(PLAN, Counting(), 3)
    assert [cell.name for cell in plan.cells] == ["native", "lua"]
    assert {cell.children for cell in plan.cells} == {1}
    assert [planned.slices for planned in plan.rounds] == [(), (), ()]
    assert plan.counting == Counting()
    assert plan.hash != PLAN.hash


def test_what_a_count_does_not_depend_on_makes_no_cells() -> None:
    """Workers, rates and ways of observing: the first is counted, and the others are named."""
    native, lua, _ = PLAN.cells
    more = (
        replace(native, name="native-2workers", children=2),
        replace(lua, name="lua-2workers", children=2, baseline="native-2workers"),
        replace(native, name="native-no-log", observe="no-log", shares="native"),
    )
    plan = counted(replace(PLAN, cells=(*more[:2], *PLAN.cells, more[2])), Counting(), 1)
    assert {cell.name: cell.baseline for cell in plan.cells} == {
        "native-2workers": "native-2workers",
        "lua-2workers": "native-2workers",
    }
    assert {line.partition(":")[0] for line in plan.left_out} == {"native", "lua", "native-no-log"}


@pytest.mark.parametrize(
    ("changes", "counting", "problem"),
    [
        ({"specimen": Specimen()}, Counting(), "a specimen"),
        ({}, Counting(warmup_calls=9), "has 10 subscribers, whose first registrations would be counted"),
        ({}, Counting(calls=3000), "do not fit into the log volume"),
    ],
)
def test_what_cannot_be_counted_is_told_before_anything_starts(
    changes: dict[str, Any], counting: Counting, problem: str
) -> None:
    """It would look like a count, and be one of something else."""
    with pytest.raises(BadInputError, match=problem):
        counted(replace(PLAN, **changes), counting, 1)


def test_what_is_observed_otherwise_is_not_counted() -> None:
    """Where that is the baseline, nothing is."""
    cells = tuple(replace(cell, observe="page") for cell in PLAN.cells)
    with pytest.raises(BadInputError, match="native is observed as 'page', and only 'log' is counted"):
        counted(replace(PLAN, cells=cells), Counting(), 1)


def test_legs_are_told_by_the_order_in_which_they_came(tmp_path: Path) -> None:
    """And not by that in which a scenario declares them."""
    plan = profiles.plan(COUNTING, 1)
    place = profiles.run(tmp_path, plan, ("native", [9000] * 5 + [1000, 2000, 1000, 2000]))
    record_of = place / "evidence" / record.FOLDER / "r01-native" / record.RECORD
    kept = store.load(CountRecord, record_of)
    store.dump(replace(kept, legs=kept.legs[::-1]), record_of)
    legs = figures.compute(place).cells["native"].legs
    assert legs["authenticated"].instructions < legs["challenge"].instructions


def test_what_was_tried_again_counts_once(tmp_path: Path) -> None:
    """The attempt that went; what was wrong with the other is still told."""
    plan = profiles.plan(COUNTING, 1)
    good = [9000] * 5 + [1000, 2000, 1000, 2000]
    place = profiles.run(tmp_path, plan, ("native", good), ("lua", good))
    kept = CountRecord(1, "native", 0, 0, 1.0, reasons=("SIPp ended with exit code 1",))
    counts = place / "evidence" / record.FOLDER
    (counts / "r01-native").rename(counts / "r01-native-again1")
    (counts / "r01-native").mkdir()
    store.dump(kept, counts / "r01-native" / record.RECORD)
    found = figures.compute(place)
    assert found.valid
    assert "round 1, native: SIPp ended with exit code 1" in found.notes


def test_a_profile_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """It may come from anybody: a line without an end, a dictionary of a gigabyte."""
    for content, filters in ((b"x" * (3 << 20), {"dict_size": 1 << 20}), (b"x", {"dict_size": 1 << 28})):
        packed = lzma.compress(content, filters=[{"id": lzma.FILTER_LZMA2, **filters}])
        (tmp_path / record.PROFILE).write_bytes(packed)
        with pytest.raises(BadInputError, match="cannot be read"), record.profile(tmp_path) as lines:
            list(lines)
