"""A slice's raw log -> columns, at the speed of a tokeniser instead of a regular expression a line.

A latency line has as many delimiters as a CSV row of five fields, so pyarrow's CSV reader cuts it. Every field but the
Call-ID has few distinct values, even the text with the time in it: each is read as codes into its distinct values, and
only those are matched against lab.latency's patterns and then spread to the rows again.

The raw text lies in memory one block at a time; the columns of one slice do as a whole, since a
retransmission may repeat any earlier line of its slice.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from lab import latency
from lab.errors import BadInputError
from lab.frames.columns import MESSAGES, WORD
from lab.model import Leg, LegRule, SlicePlan, Tally

BLOCK_BYTES = 4 << 20
CALL_ID = "call_id"
# What a line tells by itself; leg and retransmission take the whole slice.
LINE = pa.schema([MESSAGES.schema.field(name) for name in ("worker_pid", "method", "cseq", CALL_ID, "usec")])
LEGS = list(Leg)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Words(NamedTuple):
    """A column of text as its distinct values and, for each row, the place of its value."""

    codes: npt.NDArray[np.int32]
    distinct: list[str]


@dataclass(frozen=True, slots=True)
class Log:
    """A slice's latency lines as rows of the messages frame, and their count (error lines are not looked for)."""

    messages: pa.Table
    tally: Tally


def read(path: Path, plan: SlicePlan, engine: str, legs: tuple[LegRule, ...]) -> Log:
    """All latency lines of a slice's log, in the log's order."""
    lines, malformed = _tokenise(path)
    own: Bools = np.asarray(pc.starts_with(lines[CALL_ID], plan.call_id_prefix))
    leg = _leg(lines, legs, own)
    repeated = _repeated(lines) & own
    same = np.zeros(len(lines), np.int32)  # code of a value that all rows share
    columns = {
        **{name: lines[name] for name in LINE.names},
        "round": pa.array(np.full(len(lines), plan.round)),
        "slice": _word(same, plan.id),
        "cell": _word(same, plan.cell),
        "engine": _word(same, engine),
        "leg": _word(leg, *LEGS),
        "retransmission": pa.array(repeated),
    }
    messages = pa.table([columns[name] for name in MESSAGES.schema.names], schema=MESSAGES.schema)
    return Log(messages, _tally(np.asarray(lines["usec"]), leg, repeated, own, malformed))


def _tokenise(path: Path) -> tuple[pa.Table, list[str]]:
    """The latency lines, and those malformed."""
    table, malformed = _cut(path)
    columns: dict[str, Any] = {CALL_ID: table[CALL_ID].combine_chunks()}
    whole: Bools = np.asarray(pc.binary_length(columns[CALL_ID])) > 0
    for name in latency.FIELDS.keys() - {CALL_ID}:
        field, pattern = _encoded(table[name]), latency.FIELDS[name]
        found = [pattern.fullmatch(text) for text in field.distinct]
        whole &= np.array([match is not None for match in found], np.bool_)[field.codes]
        for group in pattern.groupindex:
            kind = LINE.field(group).type
            convert = int if pa.types.is_integer(kind) else str
            values = pa.array([convert(match[group]) if match else None for match in found], kind)
            columns[group] = values.take(pa.array(field.codes))
    lines = pa.table([columns[name] for name in LINE.names], schema=LINE)
    if not whole.all():
        odd = table.filter(pa.array(~whole)).to_pydict()
        texts = map(latency.DELIMITER.join, zip(*odd.values(), strict=True))
        malformed += [text for text in texts if latency.broken(text, whole=True)]
        lines = lines.filter(pa.array(whole)).combine_chunks()
    return lines, malformed + _torn_end(path)


def _cut(path: Path) -> tuple[pa.Table, list[str]]:
    """Rows of all lines with a latency line's number of delimiters, and what is malformed among the others."""
    malformed: list[str] = []

    def put_aside(row: csv.InvalidRow) -> Literal["skip"]:
        if latency.broken(row.text, whole=True):
            malformed.append(row.text)
        return "skip"

    types = {name: pa.string() if name == CALL_ID else WORD for name in latency.FIELDS}
    if not path.stat().st_size:  # to pyarrow, an error
        return pa.schema(types.items()).empty_table(), malformed
    with _utf8(path) as text:
        try:
            table = csv.read_csv(
                text,
                read_options=csv.ReadOptions(column_names=list(types), block_size=BLOCK_BYTES),
                parse_options=csv.ParseOptions(
                    delimiter=latency.DELIMITER, quote_char=False, double_quote=False, invalid_row_handler=put_aside
                ),
                convert_options=csv.ConvertOptions(column_types=types, check_utf8=False),
            )
        except pa.ArrowInvalid as error:  # a line longer than a block
            raise BadInputError(f"{path}: cannot be read as a log: {error}") from error
    return table, malformed


@contextmanager
def _utf8(path: Path) -> Iterator[Path]:
    """The log itself or, since pyarrow stumbles over lines that are no UTF-8, a copy that is."""
    with path.open("rb") as log:
        if all(block.isascii() for block in iter(partial(log.read, BLOCK_BYTES // 4), b"")):
            yield path
            return
        log.seek(0)
        with tempfile.NamedTemporaryFile() as copy:
            copy.writelines(latency.decode(line).encode() for line in log)
            copy.flush()
            yield Path(copy.name)


def _torn_end(path: Path) -> list[str]:
    """The last line of a log, if it broke off and would not be noticed otherwise."""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - BLOCK_BYTES))
        tail = log.read()
    end = latency.decode(tail[max(tail.rfind(b"\n"), tail.rfind(b"\r")) + 1 :])
    known = latency.LINE.fullmatch(end) or latency.broken(end, whole=True)
    return [end] if end and not known else []


def _leg(lines: pa.Table, legs: tuple[LegRule, ...], own: Bools) -> npt.NDArray[np.int32]:
    """Which leg, as a place in LEGS: as the scenario declares, and `other` for what belongs to another slice."""
    method, cseq = _encoded(lines["method"]), np.asarray(lines["cseq"])
    leg = np.full(len(lines), LEGS.index(Leg.OTHER), np.int32)
    for rule in legs:
        if rule.method in method.distinct:
            chosen = own & (cseq == rule.cseq) & (method.codes == method.distinct.index(rule.method))
            leg[chosen] = LEGS.index(rule.leg)
    return leg


def _repeated(lines: pa.Table) -> Bools:
    """Whether an earlier line has the same Call-ID, CSeq and method: exact, by one number for the three."""
    method = _encoded(lines["method"])
    cseq, numbers = pd.factorize(np.asarray(lines["cseq"]))
    call = _codes(lines[CALL_ID].combine_chunks().dictionary_encode())
    key = (np.asarray(call.indices, np.int64) * len(numbers) + cseq) * len(method.distinct) + method.codes
    return pd.Series(key).duplicated().to_numpy()


def _tally(usec: Ints, leg: npt.NDArray[np.int32], repeated: Bools, own: Bools, malformed: list[str]) -> Tally:
    first = {name: own & ~repeated & (leg == place) for place, name in enumerate(LEGS)}
    return Tally(
        messages={name: int(rows.sum()) for name, rows in first.items()},
        usec_sum={name: int(usec[rows].sum()) for name, rows in first.items()},
        retransmissions=int(repeated.sum()),
        foreign=int((~own).sum()),
        errors=(),
        malformed=tuple(malformed),
    )


def _encoded(column: "pa.ChunkedArray[Any]") -> Words:
    array = _codes(column.combine_chunks())
    return Words(np.asarray(array.indices), [str(value) for value in array.dictionary.to_pylist()])


def _codes(array: "pa.Array[Any]") -> "pa.DictionaryArray[Any, Any]":
    return cast("pa.DictionaryArray[Any, Any]", array)


def _word(code: npt.NDArray[np.int32], *values: str) -> "pa.DictionaryArray[Any, Any]":
    return pa.DictionaryArray.from_arrays(code, pa.array(values))
