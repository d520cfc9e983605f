"""A run's folder -> frames: evidence to Parquet, and Parquet to pandas."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lab import logs, store
from lab.errors import BadInputError, SetupError
from lab.frames import log
from lab.frames.columns import MESSAGES, SLICES, STARTS, TABLES, from_records
from lab.frames.table import VERSION, Table
from lab.model import Plan, SliceRecord, StartRecord, Tally
from lab.store import SCHEMA_VERSION

FOLDER = "frames"
EVIDENCE = "evidence"
GROUP_ROWS = 100_000  # at least, of the messages, but for the last ones
_REMEDY = "make them from the evidence: lab frames RUN (a search of capacity and a count have none: lab report RUN)"
_PANDAS = {pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype(), pa.bool_(): pd.BooleanDtype()}


@dataclass(frozen=True, slots=True)
class Frames:
    """A run as frames; docs/frames.md explains every column."""

    messages: pd.DataFrame
    slices: pd.DataFrame
    starts: pd.DataFrame


def write(run: Path) -> None:
    """Evidence -> frames/*.parquet. Each file appears whole; memory holds one part of a log at a time."""
    plan = store.load(Plan, run / EVIDENCE / "plan.json")
    slices = _slices(run)
    for folder, record in slices:
        _check_slice(folder, record, plan)
    with _drafts(run) as draft:
        parts = (part for folder, record in slices for part in _messages(folder, record, plan))
        write_messages(parts, draft / _file(MESSAGES))
        for table in (SLICES, STARTS):
            pq.write_table(_of_records(run, table), draft / _file(table))


def write_messages(parts: Iterable[pa.Table], path: Path) -> None:
    """Parts of logs as they come, several small ones to a row group."""
    # Call-IDs hardly repeat, but begin alike: their encoding keeps what differs.
    storage: dict[str, Any] = {
        "use_dictionary": [column.name for column in MESSAGES.columns if column.name != log.CALL_ID],
        "column_encoding": {log.CALL_ID: "DELTA_BYTE_ARRAY"},
        "compression": "zstd",
    }
    with pq.ParquetWriter(path, MESSAGES.schema, **storage) as writer:
        waiting: list[pa.Table] = []
        for messages in parts:
            waiting.append(messages)
            if sum(map(len, waiting)) >= GROUP_ROWS:
                writer.write_table(_joined(waiting))
                waiting = []
        if waiting:
            writer.write_table(_joined(waiting))


def _joined(parts: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def load(run: Path, messages: Sequence[str] | None = None) -> Frames:
    """The frames of a run as pandas sees them: of `messages` all columns, or those named (Call-IDs take the most room).

    Raises BadInputError where a file is not what this version writes.
    """
    wanted = {MESSAGES.name: messages}
    return Frames(**{table.name: _load(run, table, wanted.get(table.name)) for table in TABLES})


def _file(table: Table) -> str:
    return f"{table.name}.parquet"


def _slices(run: Path) -> list[tuple[Path, SliceRecord]]:
    """In the order in which they ran."""
    return sorted(store.records(SliceRecord, run / EVIDENCE / "slices", "slice.json"), key=_slice_order)


def _of_records(run: Path, table: Table) -> pa.Table:
    """The frame that has a row a record."""
    if table is SLICES:
        return from_records(table, [record for _, record in _slices(run)])
    starts = store.records(StartRecord, run / EVIDENCE / "starts", "start.json")
    in_order = sorted(starts, key=lambda start: (start[1].round, start[1].start, start[0]))
    return from_records(table, [record for _, record in in_order])


def _slice_order(item: tuple[Path, SliceRecord]) -> tuple[int, int, int, int]:
    plan = item[1].plan
    return plan.round, item[1].start, plan.position, plan.attempt


def _check_slice(folder: Path, record: SliceRecord, plan: Plan) -> None:
    """A slice belongs to its folder, its plan and its engine."""
    path = folder / "slice.json"
    if record.plan.id != folder.name:
        raise BadInputError(f"{path}: says that it is slice {record.plan.id}")
    engines = {cell.name: cell.engine for cell in plan.cells}
    if record.plan.cell not in engines:
        raise BadInputError(
            f"{path}: cell {record.plan.cell!r} is not in plan.json", remedy=f"cells: {', '.join(engines)}"
        )
    if record.engine != engines[record.plan.cell]:
        raise BadInputError(f"{path}: engine {record.engine!r}, but plan.json has {engines[record.plan.cell]!r}")


def _messages(folder: Path, record: SliceRecord, plan: Plan) -> Iterator[pa.Table]:
    """A slice's messages; they must be those that the runner counted when it judged the slice."""
    path = logs.place(folder)
    tallies: list[Tally] = []
    try:
        for part in log.read(path, record.plan, record.engine, plan.scenario_of(record.plan.cell).legs):
            tallies.append(part.tally)
            yield part.messages
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: missing: this is no complete dataset") from error
    found = log.total(tallies)
    for what in ("messages", "usec_sum", "retransmissions", "foreign", "malformed_count"):
        counted, sealed = _shown(found, what), _shown(record.tally, what)
        if counted != sealed:
            raise BadInputError(
                f"{path}: {what.removesuffix('_count')}: {counted or 0}, but {sealed or 0} in slice.json",
                remedy=log.CHANGED,
            )


def _shown(tally: Tally, what: str) -> str:
    """One of its counts, in a form to compare and to print: a leg of none or unnamed is the same."""
    value = getattr(tally, what)
    if isinstance(value, dict):
        return ", ".join(f"{leg} {count}" for leg, count in sorted(value.items()) if count)
    return str(value)


@contextmanager
def _drafts(run: Path) -> Iterator[Path]:
    """A folder for drafts, whose files then take their places; on failure nothing has changed."""
    try:
        draft = Path(tempfile.mkdtemp(dir=run, prefix=f".{FOLDER}-"))
        try:
            yield draft
            (run / FOLDER).mkdir(exist_ok=True)
            for file in draft.iterdir():
                file.replace(run / FOLDER / file.name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise SetupError(f"{run / FOLDER}: cannot write frames: {error}") from error


def _load(run: Path, table: Table, wanted: Sequence[str] | None) -> pd.DataFrame:
    path = run / FOLDER / _file(table)
    try:
        schema = pq.read_schema(path)
        version = _version(schema, path)
        # Of messages there are no records: what they lack is an error, so a column more is a new version.
        if table is MESSAGES or (version == SCHEMA_VERSION and schema.names == table.schema.names):
            read = pq.read_table(path, columns=None if wanted is None else list(wanted))
        else:  # of an earlier version, or of one that had fewer columns: what they were made of has the rest
            read = _of_records(run, table)
            schema = read.schema
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: missing", remedy=_REMEDY) from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadInputError(f"{path}: cannot be read: {error}", remedy=_REMEDY) from error
    _check_columns(path, schema, table.schema)
    for column in table.columns:
        if not column.null and column.name in read.column_names and read.column(column.name).null_count:
            raise BadInputError(f"{path}: column {column.name} lacks values", remedy=_REMEDY)
    # Where a value may be missing, pandas' own types keep an integer an integer.
    nullable = any(column.null for column in table.columns)
    try:
        return read.to_pandas(types_mapper=_PANDAS.get if nullable else None)
    except (ValueError, pa.ArrowException) as error:  # text that is none
        raise BadInputError(f"{path}: cannot be read: {error}", remedy=_REMEDY) from error


def _version(schema: pa.Schema, path: Path) -> int:
    """That a file says it is of; 0 for the first two, which do not."""
    said = (schema.metadata or {}).get(VERSION.encode(), b"0")
    if not said.isdigit():
        raise BadInputError(f"{path}: {VERSION} {said!r}: no number", remedy=_REMEDY)
    store.require_known(int(said), path)
    return int(said)


def _check_columns(path: Path, found: pa.Schema, declared: pa.Schema) -> None:
    types = {field.name: field.type for field in declared}
    missing = [name for name in types if name not in found.names]
    unknown = [name for name in found.names if name not in types]
    other = [name for name in types if name in found.names and found.field(name).type != types[name]]
    for what, names in (("missing", missing), ("unknown", unknown), ("of another type", other)):
        if names:
            raise BadInputError(f"{path}: columns {what}: {', '.join(names)}", remedy=_REMEDY)
