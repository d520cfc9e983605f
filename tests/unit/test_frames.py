"""From a run's evidence to its frames: what is in them, and what happens when evidence is missing or was changed."""

import gzip
import json
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab import dataset, frames, logs, plan, store, testing
from lab.errors import BadInputError, SetupError
from lab.frames import dataset as frames_of
from lab.frames import log
from lab.frames.columns import SLICES, TABLES
from lab.frames.table import VERSION, Table
from lab.latency import tally
from lab.model import Plan, Sample, SliceRecord, Worker

PLAN = testing.plan(rounds=2, slices=1, calls=3)
FIRST = "r01-s001-native"
DOCS = Path(__file__).parents[2] / "docs" / "frames.md"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound run of two rounds, four cells and two slices each, with three calls a slice."""
    return testing.run(tmp_path_factory.mktemp("results"), PLAN)


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to do with as a test likes."""
    return shutil.copytree(sound, tmp_path / sound.name)


def evidence(run: Path, *parts: str) -> Path:
    """A file of it."""
    return run.joinpath("evidence", *parts)


def made(run: Path) -> frames.Frames:
    """Its frames, made now."""
    frames.write(run)
    return frames.load(run)


def change(path: Path, edit: Callable[[SliceRecord], SliceRecord]) -> None:
    """Write a slice's record anew."""
    store.dump(edit(store.load(SliceRecord, path)), path)


def relog(run: Path, edit: Callable[[bytes], bytes]) -> None:
    """Write the first slice's log anew."""
    place = evidence(run, "slices", FIRST, logs.KEPT)
    place.write_bytes(gzip.compress(edit(gzip.decompress(place.read_bytes()))))


def test_a_row_for_each_message_slice_and_start(run: Path) -> None:
    """Warm-up slices are in the frames, too, and slices come in the order in which they ran."""
    found = made(run)
    planned = [piece for number in PLAN.rounds for piece in number.slices]
    assert found.slices["slice"].tolist() == [piece.id for piece in planned]
    assert found.slices["warmup"].tolist() == [piece.warmup for piece in planned]
    assert len(found.messages) == sum(2 * piece.calls for piece in planned)
    assert found.messages["slice"].unique().tolist() == [piece.id for piece in planned]
    assert len(found.starts) == len(PLAN.rounds) * len(PLAN.cells)


def test_round_100_comes_after_round_99(tmp_path: Path) -> None:
    """By number, not by name."""
    rounds = tuple(
        replace(PLAN.rounds[0], number=n, slices=tuple(replace(s, round=n) for s in PLAN.rounds[0].slices[:1]))
        for n in (99, 100)
    )
    found = made(testing.run(tmp_path, replace(PLAN, rounds=rounds)))
    assert found.slices["round"].tolist() == [99, 100]
    assert found.starts["round"].tolist() == [99] * 4 + [100] * 4


def test_an_invalid_slice_is_there_with_its_reasons_and_messages(tmp_path: Path) -> None:
    """Nothing that was measured is lost; slices says what counts."""
    pieces = testing.slices(PLAN)
    bad = replace(pieces[5][0], reasons=("SIPp: exit code 1", "database: 2 aborted connections"))
    again = plan.again(bad.plan, position=9)
    log = testing.slice_log(again)
    pieces[5:6] = [(bad, pieces[5][1]), (testing.record(again, log, engine=bad.engine), log)]
    found = made(testing.run(tmp_path, PLAN, pieces))
    rows = found.slices[found.slices["slice"].isin([bad.plan.id, again.id])]
    assert rows["valid"].tolist() == [False, True]
    assert rows["reasons"].tolist() == ["SIPp: exit code 1; database: 2 aborted connections", ""]
    assert rows["attempt"].tolist() == [1, 2]
    assert (found.messages["slice"] == bad.plan.id).sum() == 6


def test_what_was_not_measured_is_null_and_never_zero(run: Path) -> None:
    """A counter that one edge lacks has no difference."""

    def unmeasured(edge: Sample) -> Sample:
        nothing = dict.fromkeys(f.name for f in fields(Sample) if "None" in str(f.type))
        return replace(edge, **nothing, statistics={}, workers={})  # type: ignore[arg-type]

    change(evidence(run, "slices", FIRST, "slice.json"), lambda record: replace(record, after=unmeasured(record.after)))
    slices = made(run).slices
    logged = ["messages", "other_messages", "usec", "other_usec", "retransmissions", "foreign"]
    nullable = [column.name for column in SLICES.columns if column.null and column.name not in logged]
    assert len(nullable) == 30
    there = [name for name in nullable if name.endswith("_before") or name == "edge_before_usec"]
    assert slices.loc[0, there].notna().all()
    assert slices.loc[0, [name for name in nullable if name not in there]].isna().all()
    uncounted = ["replies_1xx", "replies_404"]  # of which these edges have no counter
    assert slices.loc[1:, uncounted].isna().all(axis=None)
    assert slices.loc[1:, [name for name in nullable if name not in uncounted]].notna().all(axis=None)
    assert str(slices["cpu_usec"].dtype) == "Int64"


def test_latency_lines_that_are_switched_off_are_null(run: Path) -> None:
    """And have no messages; what else a log holds is counted."""
    change(evidence(run, "slices", FIRST, "slice.json"), testing.unlogged)
    relog(run, lambda _: b"")
    found = made(run)
    logged = ["messages", "other_messages", "usec", "other_usec", "retransmissions", "foreign"]
    assert found.slices.loc[0, logged].isna().all()
    assert found.slices.loc[1:, logged].notna().all(axis=None)
    assert (found.slices.loc[0, ["malformed", "errors"]] == 0).all()
    assert FIRST not in set(found.messages["slice"])


def test_differences_are_taken_between_the_edges(run: Path) -> None:
    """Whatever the counters stood at before."""

    def spend(record: SliceRecord) -> SliceRecord:
        before = replace(
            record.before,
            cpu_usec=700,
            steal_ticks=5,
            socket_drops=3,
            workers={7: Worker(5_000, 2_000, 10, 2, rss_kib=300, pkg_bytes=2000)},
        )
        after = replace(
            before,
            monotonic_nsec=before.monotonic_nsec + 4_000_000_000,
            wall_nsec=before.wall_nsec + 4_000_000_500,
            cpu_usec=1000,
            steal_ticks=7,
            socket_drops=4,
            workers={7: Worker(95_000, 12_000, 17, 5, rss_kib=310, pkg_bytes=1900)},
            mysql_statements=20,
            sipp_cpu_usec=3_300_000,
            mysql_cpu_usec=40,
            driver_cpu_usec=4000,
            ran_usec=160_300,
            processes={1: "another"},
        )
        return replace(record, before=before, after=after)

    change(evidence(run, "slices", FIRST, "slice.json"), spend)
    first = made(run).slices.iloc[0]
    assert first["duration_usec"] == 4_000_000
    assert first["clock_drift_usec"] == 0.5
    assert first["cpu_usec"] == 300
    assert first["steal_usec"] == 20_000
    assert first["socket_drops"] == 1
    assert first["workers_on_cpu_usec"] == 90
    assert first["workers_run_delay_usec"] == 10
    assert (first["voluntary_switches"], first["involuntary_switches"]) == (7, 3)
    assert (first["rss_kib_before"], first["rss_kib_after"]) == (300, 310)
    assert (first["pkg_bytes_before"], first["pkg_bytes_after"]) == (2000, 1900)
    assert first["mysql_statements"] == 20
    assert (first["sipp_cpu_usec"], first["mysql_cpu_usec"]) == (3_300_000, 40)
    assert first["driver_cpu_share"] == 0.001
    assert first["foreign_cpu_share"] == pytest.approx(0.04)
    assert first["processes_changed"]


@pytest.mark.parametrize(
    ("sipp", "workers", "limited"),
    [(0.79, 0.5, False), (0.8, 0.5, True), (0.9, 0.95, False), (None, 0.5, None)],
)
def test_a_slice_in_which_sipp_was_the_limit_is_labelled(
    run: Path, *, sipp: float | None, workers: float, limited: bool | None
) -> None:
    """It had most of its one CPU, and the workers less of theirs: the slice is valid, and its rate is SIPp's."""

    def spend(record: SliceRecord) -> SliceRecord:
        nsec = record.after.monotonic_nsec - record.before.monotonic_nsec
        clocks = dict(zip(testing.WORKERS, (Worker(round(workers * nsec), 0), Worker(0, 0)), strict=True))
        usec = None if sipp is None else round(sipp * nsec / 1000)
        return replace(record, after=replace(record.after, workers=clocks, sipp_cpu_usec=usec))

    change(evidence(run, "slices", FIRST, "slice.json"), spend)
    first = made(run).slices.iloc[0]
    assert pd.isna(first["generator_limited"]) if limited is None else first["generator_limited"] == limited
    assert first["valid"]


@pytest.mark.parametrize(("theirs", "limited"), [(0.39, False), (0.4, True), (None, None)])
def test_in_turns_the_sipps_of_a_block_are_the_limit_together(
    run: Path, *, theirs: float | None, limited: bool | None
) -> None:
    """No two of them send at once, so one CPU would do for all."""

    def spend(record: SliceRecord) -> SliceRecord:
        usec = (record.after.monotonic_nsec - record.before.monotonic_nsec) / 1000
        after = replace(record.after, sipp_cpu_usec=round(0.4 * usec))
        neighbours = None if theirs is None else round(theirs * usec)
        return replace(record, after=after, neighbours_sipp_cpu_usec=neighbours)

    change(evidence(run, "slices", FIRST, "slice.json"), spend)
    first = made(run).slices.iloc[0]
    assert pd.isna(first["generator_limited"]) if limited is None else first["generator_limited"] == limited


def test_each_cells_messages_have_the_legs_of_its_own_scenario(tmp_path: Path) -> None:
    """In messages by name; in slices those of the scenario together, and what is none of its legs apart."""
    lua = replace(testing.SCENARIO, name="one", legs=(replace(testing.SCENARIO.legs[1], leg="with credentials"),))
    cells = tuple(replace(cell, scenario="one") if cell.name == "lua" else cell for cell in PLAN.cells)
    pieces = [
        (replace(record, tally=tally(log, record.plan.call_id_prefix, lua.legs)), log)
        if record.plan.cell == "lua"
        else (record, log)
        for record, log in testing.slices(PLAN)
    ]
    found = made(testing.run(tmp_path, replace(PLAN, cells=cells, scenarios=(*PLAN.scenarios, lua)), pieces))
    legs = found.messages.groupby("cell", observed=True)["leg"].unique()
    assert set(legs["lua"]) == {"other", "with credentials"}
    assert set(legs["native"]) == {"challenge", "authenticated"}
    row = found.slices[found.slices["cell"] == "lua"].iloc[0]
    assert (row["messages"], row["other_messages"]) == (3, 3)
    messages = found.messages[found.messages["slice"] == row["slice"]]
    assert row["usec"] == messages.loc[messages["leg"] == "with credentials", "usec"].sum()
    assert row["other_usec"] == messages.loc[messages["leg"] == "other", "usec"].sum()


def test_small_slices_share_a_row_group(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of its own for each takes more room than its rows; but a writer holds no more than a few."""
    file = run / "frames" / "messages.parquet"
    seen = []
    for rows in (1, 12, 1_000_000):  # a slice has six
        monkeypatch.setattr(frames_of, "GROUP_ROWS", rows)
        frames.write(run)
        seen.append((pq.ParquetFile(file).num_row_groups, pd.read_parquet(file)))
    assert [groups for groups, _ in seen] == [16, 8, 1]
    for _, messages in seen[1:]:
        pd.testing.assert_frame_equal(messages, seen[0][1])


def test_units_and_meanings_travel_with_the_file(run: Path) -> None:
    """Somebody who has only the Parquet file can read it."""
    frames.write(run)
    metadata = pq.read_schema(run / "frames" / "messages.parquet").field("usec").metadata
    assert metadata
    assert metadata[b"unit"] == b"usec"
    assert b"request route" in metadata[b"meaning"]


def test_a_run_that_broke_off_at_once_has_empty_frames(tmp_path: Path) -> None:
    """No slice, no start: no rows, all columns."""
    run = testing.run(tmp_path, replace(PLAN, rounds=()), ended="interrupted")
    found = made(run)
    for frame, table in zip((found.messages, found.slices, found.starts), TABLES, strict=True):
        assert frame.empty
        assert list(frame.columns) == [column.name for column in table.columns]


def test_unfinished_folders_are_not_looked_into(run: Path) -> None:
    """A slice appears under its name when it is whole."""
    evidence(run, "slices", ".r09-s001-native-draft").mkdir()
    assert len(made(run).slices) == 16


def test_frames_are_made_again_from_the_same_evidence(run: Path) -> None:
    """Again is the same, and leaves nothing else behind."""
    first, second = made(run), made(run)
    pd.testing.assert_frame_equal(first.messages, second.messages)
    assert sorted(path.name for path in run.iterdir()) == ["evidence", "frames", "manifest.sha256", "status.json"]
    assert sorted(path.name for path in (run / "frames").iterdir()) == [f"{t.name}.parquet" for t in TABLES]


# --- evidence that is not as it should be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing",
    [
        ("plan.json",),
        ("slices", FIRST, "slice.json"),
        ("slices", FIRST, logs.KEPT),
        ("starts", "r01-lua", "start.json"),
    ],
)
def test_missing_evidence_is_named(run: Path, missing: tuple[str, ...]) -> None:
    """And no frame is written."""
    evidence(run, *missing).unlink()
    with pytest.raises(BadInputError, match=rf"{missing[-1]}: missing"):
        frames.write(run)
    assert not (run / "frames").exists()


def test_old_frames_stay_when_new_ones_cannot_be_made(run: Path) -> None:
    """All or nothing."""
    before = made(run)
    evidence(run, "slices", FIRST, logs.KEPT).unlink()
    with pytest.raises(BadInputError):
        frames.write(run)
    pd.testing.assert_frame_equal(frames.load(run).messages, before.messages)


@pytest.mark.parametrize(
    ("edit", "difference"),
    [
        (lambda log: log[: log.index(b"\n") + 1], "messages: challenge 1, but authenticated 3, challenge 3"),
        (lambda log: log.replace(b" usec", b"0 usec", 1), "usec_sum: "),
        (lambda log: log + log[: log.index(b"\n") + 1], "retransmissions: 1, but 0"),
        (lambda log: log + testing.latency_line("r09-x", 5), "foreign: 1, but 0"),
        (lambda log: log + b"torn", "malformed: 1, but 0"),
    ],
)
def test_a_log_that_is_not_the_one_that_was_judged(run: Path, edit: Callable[[bytes], bytes], difference: str) -> None:
    """The runner counted this log when it judged the slice: a log that counts otherwise was changed since."""
    relog(run, edit)
    with pytest.raises(BadInputError, match=rf"kamailio\.log\.gz: {difference}"):
        frames.write(run)


@pytest.mark.parametrize(
    "damage",
    [lambda log: log[: len(log) // 2], lambda _: b"no gzip", lambda log: log[:20] + b"\xff" * 9 + log[29:]],
    ids=["cut off", "something else", "other bytes in it"],
)
def test_a_log_that_cannot_be_decompressed(run: Path, damage: Callable[[bytes], bytes]) -> None:
    """Cut off, or with other bytes in it: the file is named."""
    place = evidence(run, "slices", FIRST, logs.KEPT)
    place.write_bytes(damage(place.read_bytes()))
    with pytest.raises(BadInputError, match=r"kamailio\.log\.gz: cannot be read"):
        frames.write(run)


def test_a_log_that_is_one_endless_line_is_no_log(run: Path) -> None:
    """However little of a disk it takes, it is not read into memory."""
    relog(run, lambda _: bytes(6 * log.PART_BYTES))
    tracemalloc.start()
    with pytest.raises(BadInputError, match=r"kamailio\.log\.gz: "):
        frames.write(run)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * log.PART_BYTES


@pytest.mark.parametrize("name", ["status.json", "frames/slices.parquet"])
def test_what_a_version_to_come_wrote_is_left_as_it_is(run: Path, name: str) -> None:
    """And told, before anything is written."""
    dataset.derive(run)
    place = run / name
    if name.endswith(".json"):
        place.write_text(json.dumps(json.loads(place.read_text()) | {"schema_version": 99}))
    else:
        table = pq.read_table(place)
        pq.write_table(table.replace_schema_metadata({VERSION: "99"}), place)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(BadInputError, match="schema version 99: this kemi-lab reads up to 3"):
        dataset.derive(run) if name == "status.json" else frames.load(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_column_that_came_later_is_made_of_the_records(run: Path) -> None:
    """Without a new version."""
    expected = made(run)
    place = run / "frames" / "slices.parquet"
    pq.write_table(pq.read_table(place).drop_columns(["cpu_usec"]), place)
    pd.testing.assert_frame_equal(frames.load(run).slices, expected.slices)


def test_a_log_that_lies_there_as_it_was_written_is_read(run: Path) -> None:
    """As runs of early versions have it."""
    expected = made(run)
    place = evidence(run, "slices", FIRST, logs.KEPT)
    (place.parent / logs.NAME).write_bytes(gzip.decompress(place.read_bytes()))
    place.unlink()
    pd.testing.assert_frame_equal(made(run).messages, expected.messages)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (
            lambda record: replace(record, plan=replace(record.plan, position=2)),
            "says that it is slice r01-s002-native",
        ),
        (lambda record: replace(record, engine="lua"), "engine 'lua', but plan.json has 'native'"),
    ],
)
def test_a_record_that_is_not_of_this_slice(
    run: Path, edit: Callable[[SliceRecord], SliceRecord], problem: str
) -> None:
    """Swapped folders would swap engines."""
    change(evidence(run, "slices", FIRST, "slice.json"), edit)
    with pytest.raises(BadInputError, match=problem):
        frames.write(run)


def test_a_cell_that_is_not_in_the_plan(run: Path) -> None:
    """A slice of another run was put in."""
    path = evidence(run, "plan.json")
    store.dump(replace(store.load(Plan, path), cells=PLAN.cells[1:]), path)
    with pytest.raises(BadInputError, match=r"cell 'native' is not in plan\.json"):
        frames.write(run)


def test_a_disk_that_cannot_be_written(run: Path) -> None:
    """Said with the folder's name; a file in the way stands for a full disk."""
    (run / "frames").write_text("in the way", encoding="utf-8")
    with pytest.raises(SetupError, match="frames: cannot write frames"):
        frames.write(run)
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


# --- frames that are not as they should be ------------------------------------------------------------------------


def test_frames_that_were_never_made(run: Path) -> None:
    """The remedy says how to make them."""
    with pytest.raises(BadInputError, match=r"messages\.parquet: missing") as caught:
        frames.load(run)
    assert "lab frames" in caught.value.remedy


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda table: table.drop_columns(["usec"]), "columns missing: usec"),
        (lambda table: table.append_column("extra", table["usec"]), "columns unknown: extra"),
        (lambda table: table.set_column(0, "round", table["usec"].cast(pa.string())), "columns of another type: round"),
    ],
)
def test_columns_are_checked(run: Path, edit: Callable[[pa.Table], pa.Table], problem: str) -> None:
    """Strict: a file of another version is not taken for one of this."""
    frames.write(run)
    path = run / "frames" / "messages.parquet"
    pq.write_table(edit(pq.read_table(path)), path)
    with pytest.raises(BadInputError, match=problem):
        frames.load(run)


def test_what_must_be_there_is_never_null(run: Path) -> None:
    """A mean would leave it out without a word."""
    frames.write(run)
    path = run / "frames" / "messages.parquet"
    table = pq.read_table(path)
    number = table.schema.get_field_index("usec")
    holes = pa.array([None, *table["usec"].to_pylist()[1:]], pa.int64())
    pq.write_table(table.set_column(number, pa.field("usec", pa.int64()), holes), path)
    with pytest.raises(BadInputError, match=r"messages\.parquet: column usec lacks values"):
        frames.load(run)


def test_a_file_that_is_no_parquet(run: Path) -> None:
    """Named like the others."""
    frames.write(run)
    (run / "frames" / "slices.parquet").write_bytes(b"nonsense")
    with pytest.raises(BadInputError, match=r"slices\.parquet: cannot be read"):
        frames.load(run)


# --- the declaration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_page_shows_the_declared_columns(table: Table) -> None:
    """docs/frames.md holds the generated tables, word for word."""
    assert table.markdown in DOCS.read_text(encoding="utf-8"), f"docs/frames.md lacks:\n{table.markdown}"


def test_units_are_in_the_names() -> None:
    """A column of time ends in its unit."""
    for column in (column for table in TABLES for column in table.columns):
        if column.unit in {"usec", "msec"}:
            assert column.name.endswith(column.unit)
        if column.unit == "calls/s":
            assert column.name.endswith("_per_s")


def test_names_are_unique_and_explained() -> None:
    """Every column has a meaning."""
    for table in TABLES:
        assert len({column.name for column in table.columns}) == len(table.columns)
        assert all(column.meaning for column in table.columns)
