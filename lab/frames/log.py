"""A slice's raw log -> columns, at the speed of a tokeniser instead of a regular expression a line.

A latency line has as many delimiters as a CSV row of five fields, so pyarrow's CSV reader cuts it. Every field but the
Call-ID has few distinct values, even the text with the time in it: each is read as codes into its distinct values, and
only those are matched against lab.latency's patterns and then spread to the rows again.

Text and columns lie in memory one part of the log at a time. A retransmission may repeat any earlier line of its
slice: of those there stays a byte a request, since SIPp numbers its calls.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from lab import latency, logs
from lab.errors import BadInputError
from lab.frames.columns import MESSAGES
from lab.frames.table import WORD
from lab.model import OTHER, LegRule, SlicePlan, Tally

PART_BYTES = 32 << 20  # read at once: some 250 thousand lines
BLOCK_BYTES = latency.LONGEST_BYTES  # of which each thread of the tokeniser takes one
CALL_ID = "call_id"
CHANGED = "the evidence was changed after the run: take it from its archive again"
# What a line tells by itself; leg and retransmission take more than the line.
LINE = pa.schema([MESSAGES.schema.field(name) for name in ("worker_pid", "method", "cseq", CALL_ID, "usec")])

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.uint8]


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
    legs = dict.fromkeys(leg for tally in tallies for leg in tally.messages)
    malformed = [line for tally in tallies for line in tally.malformed][: latency.LINES_KEPT]
    return Tally(
        messages={leg: sum(tally.messages[leg] for tally in tallies) for leg in legs},
        usec_sum={leg: sum(tally.usec_sum[leg] for tally in tallies) for leg in legs},
        retransmissions=sum(tally.retransmissions for tally in tallies),
        foreign=sum(tally.foreign for tally in tallies),
        errors=(),
        malformed=tuple(malformed),
        further_malformed=sum(tally.malformed_count for tally in tallies) - len(malformed),
    )


def _texts(path: Path) -> Iterator[tuple[bytes, bool]]:
    """A log in parts of whole lines, each with whether it is the last; an empty log is one."""
    try:
        with logs.opened(path) as log:
            text = _some_lines(log)
            while following := _some_lines(log):
                yield text, False
                text = following
            yield text, True
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}", remedy=CHANGED) from error


def _some_lines(log: BufferedIOBase) -> bytes:
    """Whole lines; but for one that is longer than the tokeniser takes, which it tells."""
    return log.read(PART_BYTES) + log.readline(BLOCK_BYTES + 1)


class _Slice:
    """What its lines have in common, and which requests of it have come."""

    def __init__(self, plan: SlicePlan, engine: str, legs: tuple[LegRule, ...]) -> None:
        self._plan, self._legs = plan, legs
        self._words = {"slice": plan.id, "cell": plan.cell, "engine": engine}
        self._names, self._purposes = latency.leg_names(legs), latency.purposes(legs)
        self._seen = _Seen(plan.call_id_prefix)

    def part(self, lines: pa.Table, malformed: list[str]) -> Part:
        """The next lines as messages."""
        own: Bools = np.asarray(pc.starts_with(lines[CALL_ID], self._plan.call_id_prefix))
        leg, repeated = self._leg(lines, own)
        same = np.zeros(len(lines), np.int32)  # code of a value that all rows share
        columns = {
            **{name: lines[name] for name in LINE.names},
            **{name: _word(same, word) for name, word in self._words.items()},
            "round": pa.array(np.full(len(lines), self._plan.round)),
            "leg": _word(leg, *self._names),
            "retransmission": pa.array(repeated),
        }
        messages = pa.table([columns[name] for name in MESSAGES.schema.names], schema=MESSAGES.schema)
        first = {name: own & ~repeated & (leg == place) for place, name in enumerate(self._names)}
        usec = np.asarray(lines["usec"])
        tally = Tally(
            messages={name: int(rows.sum()) for name, rows in first.items()},
            usec_sum={name: int(usec[rows].sum()) for name, rows in first.items()},
            retransmissions=int(repeated.sum()),
            foreign=int((~own).sum()),
            errors=(),
            malformed=tuple(malformed[: latency.LINES_KEPT]),
            further_malformed=max(0, len(malformed) - latency.LINES_KEPT),
        )
        return Part(messages, tally)

    def _leg(self, lines: pa.Table, own: Bools) -> tuple[npt.NDArray[np.int32], Bools]:
        """Which leg, as a place in the names: as the scenario declares. And whether it came more often than that."""
        order = self._seen.count(lines, own)
        method, cseq = _encoded(lines["method"]), np.asarray(lines["cseq"])

        def kind(name: str, number: int) -> Bools:
            place = method.distinct.index(name) if name in method.distinct else -1
            rows: Bools = own & (cseq == number) & (method.codes == place)
            return rows

        leg = np.full(len(lines), self._names.index(OTHER), np.int32)
        repeated: Bools = own & (order > 1)
        for (name, number), times in self._purposes.items():
            rows = kind(name, number)
            repeated[rows] = order[rows] > times
        for rule in self._legs:
            rows = kind(rule.method, rule.cseq)
            # A repeat has the leg of what it repeats: of the last one that the scenario sends itself.
            last = rule.order == self._purposes[rule.method, rule.cseq]
            leg[rows & ((order == rule.order) | (last & (order > rule.order)))] = self._names.index(rule.leg)
        return leg, repeated


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


class _Seen:
    """How often the slice has had a Call-ID, CSeq and method: exact, over all parts of a log."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._numbered: dict[tuple[str, int], Counts] = {}  # method and CSeq -> by the call's number: how often
        self._others = Counter[tuple[str, int, str]]()

    def count(self, lines: pa.Table, own: Bools) -> Ints:
        """For each row which one of its kind it is, from 1; 0 for other slices' calls, which began elsewhere."""
        order: Ints = np.zeros(len(lines), np.int64)
        left = own.copy()
        numbers = self._numbers(lines, own)
        for kind, rows in _kinds(lines, numbers >= 0):
            if kind in self._numbered or len(self._numbered) < latency.NUMBERED_KINDS:
                order[rows] = self._mark(kind, numbers[rows])
                left[rows] = False
        odd = np.flatnonzero(left)
        for row, *key in zip(odd, *(lines[name].take(odd).to_pylist() for name in latency.KEY), strict=True):
            self._others[tuple(key)] += 1
            order[row] = self._others[tuple(key)]
        return order

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

    def _mark(self, kind: tuple[str, int], numbers: Ints) -> Ints:
        """How often each of these calls had one of this kind, these included."""
        come = self._numbered.setdefault(kind, np.zeros(0, np.uint8))
        if numbers.max() >= come.size:
            come = self._numbered[kind] = np.concatenate((come, np.zeros(numbers.max() + 1 - come.size, np.uint8)))
        order: Ints = come[numbers] + pd.Series(numbers).groupby(numbers).cumcount().to_numpy() + 1
        np.maximum.at(come, numbers, np.minimum(order, 255).astype(np.uint8))
        return order


def _kinds(lines: pa.Table, wanted: Bools) -> Iterator[tuple[tuple[str, int], Ints]]:
    """Methods and CSeq numbers of the wanted rows, each with its rows."""
    method = _encoded(lines["method"])
    place, cseqs = pd.factorize(np.asarray(lines["cseq"]))
    kind = place * len(method.distinct) + method.codes
    for code in pd.unique(kind[wanted]):
        number, word = divmod(int(code), len(method.distinct))
        yield (method.distinct[word], int(cseqs[number])), np.flatnonzero(wanted & (kind == code))


def _encoded(column: "pa.ChunkedArray[Any]") -> Words:
    array = cast("pa.DictionaryArray[Any, Any]", column.combine_chunks())
    return Words(np.asarray(array.indices), [str(value) for value in array.dictionary.to_pylist()])


def _word(code: npt.NDArray[np.int32], *values: str) -> "pa.DictionaryArray[Any, Any]":
    return pa.DictionaryArray.from_arrays(code, pa.array(values))
