"""A slice's raw log -> columns, at the speed of a tokeniser instead of a regular expression a line.

A latency line has as many delimiters as a CSV row of five fields, so pyarrow's CSV reader cuts it. Every field but the
Call-ID has few distinct values, even the text with the time in it: each is read as codes into its distinct values, and
only those are matched against lab.latency's patterns and then spread to the rows again.

Text and columns lie in memory one part of the log at a time. A retransmission may repeat any earlier line of its
slice: of those there stays a byte a request, since SIPp numbers its calls.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

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

PART_BYTES = 32 << 20  # read at once: some 250 thousand lines
BLOCK_BYTES = 4 << 20  # of which each thread of the tokeniser takes one
CALL_ID = "call_id"
# What a line tells by itself; leg and retransmission take more than the line.
LINE = pa.schema([MESSAGES.schema.field(name) for name in ("worker_pid", "method", "cseq", CALL_ID, "usec")])
LEGS = list(Leg)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Words(NamedTuple):
    """A column of text as its distinct values and, for each row, the place of its value."""

    codes: npt.NDArray[np.int32]
    distinct: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a slice's latency lines as rows of the messages frame, and their count (without error lines)."""

    messages: pa.Table
    tally: Tally


def read(path: Path, plan: SlicePlan, engine: str, legs: tuple[LegRule, ...]) -> Iterator[Part]:
    """All latency lines of a slice's log, in the log's order, a part at a time; `total` adds up the counts."""
    slice_ = _Slice(plan, engine, legs)
    for text, last in _texts(path):
        try:
            lines, malformed = _tokenise(text)
        except pa.ArrowInvalid as error:  # a line longer than a block
            raise BadInputError(f"{path}: cannot be read as a log: {error}") from error
        yield slice_.part(lines, malformed + (_torn_end(text) if last else []))


def total(tallies: list[Tally]) -> Tally:
    """Counts of the parts as those of the whole log."""
    return Tally(
        messages={leg: sum(tally.messages[leg] for tally in tallies) for leg in LEGS},
        usec_sum={leg: sum(tally.usec_sum[leg] for tally in tallies) for leg in LEGS},
        retransmissions=sum(tally.retransmissions for tally in tallies),
        foreign=sum(tally.foreign for tally in tallies),
        errors=(),
        malformed=tuple(line for tally in tallies for line in tally.malformed),
    )


def _texts(path: Path) -> Iterator[tuple[bytes, bool]]:
    """A log in parts of whole lines, each with whether it is the last; an empty log is one."""
    with path.open("rb") as log:
        text = _some_lines(log)
        while following := _some_lines(log):
            yield text, False
            text = following
        yield text, True


def _some_lines(log: IO[bytes]) -> bytes:
    return log.read(PART_BYTES) + log.readline()


class _Slice:
    """What its lines have in common, and which requests of it have come."""

    def __init__(self, plan: SlicePlan, engine: str, legs: tuple[LegRule, ...]) -> None:
        self._plan, self._legs = plan, legs
        self._words = {"slice": plan.id, "cell": plan.cell, "engine": engine}
        self._repeats = _Repeats(plan.call_id_prefix)

    def part(self, lines: pa.Table, malformed: list[str]) -> Part:
        """The next lines as messages."""
        own: Bools = np.asarray(pc.starts_with(lines[CALL_ID], self._plan.call_id_prefix))
        leg = _leg(lines, self._legs, own)
        repeated = self._repeats.among(lines, own)
        same = np.zeros(len(lines), np.int32)  # code of a value that all rows share
        columns = {
            **{name: lines[name] for name in LINE.names},
            **{name: _word(same, word) for name, word in self._words.items()},
            "round": pa.array(np.full(len(lines), self._plan.round)),
            "leg": _word(leg, *LEGS),
            "retransmission": pa.array(repeated),
        }
        messages = pa.table([columns[name] for name in MESSAGES.schema.names], schema=MESSAGES.schema)
        return Part(messages, _tally(np.asarray(lines["usec"]), leg, repeated, own, malformed))


def _tokenise(text: bytes) -> tuple[pa.Table, list[str]]:
    """The latency lines, and those malformed."""
    table, malformed = _cut(text)
    columns: dict[str, Any] = {CALL_ID: table[CALL_ID].combine_chunks()}
    whole: Bools = np.asarray(pc.binary_length(columns[CALL_ID])) > 0
    for name in latency.FIELDS.keys() - {CALL_ID}:
        field, pattern = _encoded(table[name]), latency.FIELDS[name]
        found = [pattern.fullmatch(value) for value in field.distinct]
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
        malformed += [line for line in texts if latency.broken(line, whole=True)]
        lines = lines.filter(pa.array(whole)).combine_chunks()
    return lines, malformed


def _cut(text: bytes) -> tuple[pa.Table, list[str]]:
    """Rows of all lines with a latency line's number of delimiters, and what is malformed among the others."""
    malformed: list[str] = []

    def put_aside(row: csv.InvalidRow) -> Literal["skip"]:
        if latency.broken(row.text, whole=True):
            malformed.append(row.text)
        return "skip"

    types = {name: pa.string() if name == CALL_ID else WORD for name in latency.FIELDS}
    if not text:  # to pyarrow, an error
        return pa.schema(types.items()).empty_table(), malformed
    if not text.isascii():  # pyarrow stumbles over lines that are no UTF-8
        text = b"".join(latency.decode(line).encode() for line in text.splitlines(keepends=True))
    buffer: Any = pa.py_buffer(text)  # its stubs know files only
    table = csv.read_csv(
        buffer,
        read_options=csv.ReadOptions(column_names=list(types), block_size=BLOCK_BYTES),
        parse_options=csv.ParseOptions(
            delimiter=latency.DELIMITER, quote_char=False, double_quote=False, invalid_row_handler=put_aside
        ),
        convert_options=csv.ConvertOptions(column_types=types, check_utf8=False),
    )
    return table, malformed


def _torn_end(text: bytes) -> list[str]:
    """The last line of a log, if it broke off and would not be noticed otherwise."""
    end = latency.decode(text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :])
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


class _Repeats:
    """Whether an earlier line of the slice has the same Call-ID, CSeq and method: exact, over all parts of a log."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._numbered: dict[tuple[str, int], Bools] = {}  # method and CSeq -> by the call's number: it has come
        self._others: set[tuple[str, int, str]] = set()

    def among(self, lines: pa.Table, own: Bools) -> Bools:
        """For each row whether it is a repeat. Only the slice's own calls can be told: others began elsewhere."""
        repeated = np.zeros(len(lines), np.bool_)
        left = own.copy()
        numbers = self._numbers(lines, own)
        for kind, rows in _kinds(lines, numbers >= 0):
            if kind in self._numbered or len(self._numbered) < latency.NUMBERED_KINDS:
                repeated[rows] = self._mark(kind, numbers[rows])
                left[rows] = False
        odd = np.flatnonzero(left)
        for row, *key in zip(odd, *(lines[name].take(odd).to_pylist() for name in latency.KEY), strict=True):
            repeated[row] = tuple(key) in self._others
            self._others.add(tuple(key))
        return repeated

    def _numbers(self, lines: pa.Table, own: Bools) -> Ints:
        """The call's number, where that is all of the Call-ID that follows the slice's prefix; else -1."""
        numbers: Ints = np.full(len(lines), -1)
        if not own.any():
            return numbers
        call: Any = pc.utf8_slice_codeunits(lines[CALL_ID].combine_chunks(), len(self._prefix))
        plain = pc.and_(pc.ascii_is_decimal(call), pc.invert(pc.starts_with(call, "0")))
        rows: Bools = own & np.asarray(plain) & (np.asarray(pc.binary_length(call)) <= latency.CALL_DIGITS)
        numbers[rows] = np.asarray(call.filter(pa.array(rows)).cast(pa.int64()))
        return numbers

    def _mark(self, kind: tuple[str, int], numbers: Ints) -> Bools:
        """Which of these calls had one of this kind already; now all have."""
        come = self._numbered.setdefault(kind, np.zeros(0, np.bool_))
        if numbers.max() >= come.size:
            come = self._numbered[kind] = np.concatenate((come, np.zeros(numbers.max() + 1 - come.size, np.bool_)))
        repeated: Bools = come[numbers] | pd.Series(numbers).duplicated().to_numpy()
        come[numbers] = True
        return repeated


def _kinds(lines: pa.Table, wanted: Bools) -> Iterator[tuple[tuple[str, int], Ints]]:
    """Methods and CSeq numbers of the wanted rows, each with its rows."""
    method = _encoded(lines["method"])
    place, cseqs = pd.factorize(np.asarray(lines["cseq"]))
    kind = place * len(method.distinct) + method.codes
    for code in pd.unique(kind[wanted]):
        number, word = divmod(int(code), len(method.distinct))
        yield (method.distinct[word], int(cseqs[number])), np.flatnonzero(wanted & (kind == code))


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
    array = cast("pa.DictionaryArray[Any, Any]", column.combine_chunks())
    return Words(np.asarray(array.indices), [str(value) for value in array.dictionary.to_pylist()])


def _word(code: npt.NDArray[np.int32], *values: str) -> "pa.DictionaryArray[Any, Any]":
    return pa.DictionaryArray.from_arrays(code, pa.array(values))
