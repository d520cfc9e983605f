"""A slice's log as columns: the same reading as lab.latency's line by line, only quicker."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from lab.errors import BadInputError
from lab.frames import log
from lab.frames.columns import MESSAGES
from lab.latency import LINES_KEPT, tally
from lab.model import LegRule, SlicePlan
from lab.testing import SCENARIO, latency_line

PLAN = SlicePlan(round=1, position=3, cell="lua-aa", warmup=False, calls=2, rate_per_s=100)
CALL = f"{PLAN.call_id_prefix}17"
CHALLENGE = latency_line(CALL, 118, cseq=1, worker=7)
AUTHENTICATED = latency_line(CALL, 380, cseq=2, worker=8)
# What a scenario may declare: requests that it repeats itself, some of them of no leg, several of one leg.
ON_PURPOSE = (
    LegRule("first", "REGISTER", 1),
    LegRule("third", "REGISTER", 1, order=3),
    LegRule("third", "REGISTER", 2, order=2),
    LegRule("bye", "BYE", 2),
)
ERROR = f" 2(8) ERROR: |1|1 REGISTER|{CALL}|<script>: it failed\n".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test puts its log."""
    return tmp_path / "kamailio.log"


def read(path: Path, *lines: bytes, legs: tuple[LegRule, ...] = SCENARIO.legs) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Messages and malformed lines of a log, after a check that both readers count it alike."""
    path.write_bytes(b"".join(lines))
    parts = list(log.read(path, PLAN, "lua", legs))
    found = log.total([part.tally for part in parts])
    counted = tally(path.read_bytes(), PLAN.call_id_prefix, legs)
    in_order = replace(found, malformed=tuple(sorted(found.malformed)))
    assert in_order == replace(counted, errors=(), further_errors=0, malformed=tuple(sorted(counted.malformed)))
    for part in parts:
        assert part.messages.schema.equals(MESSAGES.schema)
        part.messages.validate(full=True)
    return pa.concat_tables(part.messages for part in parts).unify_dictionaries().to_pandas(), found.malformed


def row(**changed: Any) -> dict[str, Any]:  # noqa: ANN401  (a row has values of many types)
    """The row of CHALLENGE, some of it changed."""
    return {
        "round": 1,
        "slice": "r01-s003-lua-aa",
        "cell": "lua-aa",
        "engine": "lua",
        "worker_pid": 7,
        "method": "REGISTER",
        "cseq": 1,
        "call_id": CALL,
        "leg": "challenge",
        "retransmission": False,
        "usec": 118,
    } | changed


def test_a_line_is_a_row_with_every_column(path: Path) -> None:
    """In the log's order; what is no latency line is no row."""
    frame, malformed = read(path, b"Listening on\n\n", CHALLENGE, ERROR, AUTHENTICATED)
    assert frame.to_dict("records") == [row(), row(worker_pid=8, cseq=2, leg="authenticated", usec=380)]
    assert not malformed


def test_an_empty_log_has_no_rows(path: Path) -> None:
    """Nor has one with other lines only; the columns are there all the same."""
    for content in (b"", b"\n", b"Listening on\n", ERROR):
        frame, malformed = read(path, content)
        assert frame.empty
        assert list(frame.columns) == list(row())
        assert not malformed


def test_a_repeat_is_marked_as_a_retransmission(path: Path) -> None:
    """The first is not, nor is another method or number with the same Call-ID."""
    options = latency_line(CALL, 5, cseq=1, method="OPTIONS")
    frame, _ = read(path, CHALLENGE, AUTHENTICATED, CHALLENGE, options, CHALLENGE)
    assert frame["retransmission"].tolist() == [False, False, True, False, True]
    assert frame["leg"].tolist() == ["challenge", "authenticated", "challenge", "other", "challenge"]


@pytest.mark.parametrize("part_bytes", [log.PART_BYTES, 100])
@pytest.mark.parametrize("call", ["17", "seventeen"])
def test_what_a_scenario_repeats_itself_has_a_leg_by_its_order(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, part_bytes: int
) -> None:
    """A retransmission is what comes beyond that, and has the leg of the last. Parts of a log make no difference."""
    monkeypatch.setattr(log, "PART_BYTES", part_bytes)
    line = latency_line(PLAN.call_id_prefix + call, 5)
    frame, _ = read(path, line, CHALLENGE.replace(b"REGISTER", b"OPTIONS"), line, line, line, line, legs=ON_PURPOSE)
    assert frame["leg"].tolist() == ["first", "other", "other", "third", "third", "third"]
    assert frame["retransmission"].tolist() == [False, False, False, False, True, True]


def test_more_repeats_than_a_byte_counts(path: Path) -> None:
    """The last is as much a retransmission as the second."""
    frame, _ = read(path, *[CHALLENGE] * 600, legs=ON_PURPOSE)
    assert frame["retransmission"].tolist() == [False] * 3 + [True] * 597


def test_foreign_calls_are_rows_of_no_leg(path: Path) -> None:
    """They took Kamailio's time, so they are shown; what they repeat was perhaps in another slice's log."""
    stranger = latency_line("1.2-4", 70)
    frame, _ = read(path, stranger, stranger, CHALLENGE)
    assert frame["leg"].tolist() == ["other", "other", "challenge"]
    assert frame["retransmission"].tolist() == [False, False, False]


def test_interleaved_lines_are_told(path: Path) -> None:
    """One worker wrote into the other's line."""
    half = len(CHALLENGE) // 2
    frame, malformed = read(path, CHALLENGE[:half] + AUTHENTICATED + CHALLENGE[half:])
    assert frame.empty
    assert len(malformed) == 2


def test_a_torn_end_is_told(path: Path) -> None:
    """With or without the marker in what is left."""
    for length in (30, 100):
        frame, malformed = read(path, CHALLENGE, AUTHENTICATED[:length])
        assert len(frame) == 1
        assert malformed == (AUTHENTICATED[:length].decode(),)


def test_of_a_flood_of_torn_lines_the_first_are_kept_and_all_are_counted(path: Path) -> None:
    """By both readers alike; a log may have gigabytes of them."""
    flood = [CHALLENGE[30:]] * (LINES_KEPT + 500)
    _, malformed = read(path, CHALLENGE, *flood)
    assert len(malformed) == LINES_KEPT
    total = log.total([part.tally for part in log.read(path, PLAN, "lua", SCENARIO.legs)])
    assert (total.malformed_count, total.lines) == (LINES_KEPT + 500, 1)


def test_a_missing_newline_at_the_end_costs_nothing(path: Path) -> None:
    """The last line is whole."""
    frame, malformed = read(path, CHALLENGE, AUTHENTICATED.rstrip())
    assert len(frame) == 2
    assert not malformed


def test_bytes_that_are_no_utf8(path: Path) -> None:
    """In a latency line, and in a line that the tokeniser has to put aside."""
    odd = CHALLENGE.replace(CALL.encode(), CALL.encode() + b"\xff")
    frame, malformed = read(path, b"\xfe|\xfe\n", odd, odd, b"\xff" + CHALLENGE, "é".encode() + CHALLENGE)
    assert frame["call_id"].tolist() == [CALL + r"\xff"] * 2
    assert frame["retransmission"].tolist() == [False, True]
    assert sorted(malformed) == sorted([r"\xff" + CHALLENGE.decode().rstrip(), "é" + CHALLENGE.decode().rstrip()])


def test_great_numbers_are_kept(path: Path) -> None:
    """CSeq and time beyond 32 bits, as a strange client or a clock set back gives them."""
    frame, _ = read(
        path, latency_line(CALL, -(2**40), cseq=2**32), latency_line(CALL, 2**40, cseq=10**17, method="BYE")
    )
    assert frame["cseq"].tolist() == [2**32, 10**17]
    assert frame["usec"].tolist() == [-(2**40), 2**40]


def test_quotes_and_commas_are_only_signs(path: Path) -> None:
    """A Call-ID may hold what CSV gives a meaning to."""
    strange = ['"', '"a', "a,b;c\td", "\\", "NULL", "#", "''"]
    frame, _ = read(path, *(latency_line(call, 1) for call in strange))
    assert frame["call_id"].tolist() == strange


def test_parts_and_blocks_make_no_difference(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of many parts and blocks is read as one, repeats across them included."""
    lines = [latency_line(f"{PLAN.call_id_prefix}{call}", call, cseq=cseq) for call in range(100) for cseq in (1, 2)]
    whole, _ = read(path, *lines, *lines[:50])
    monkeypatch.setattr(log, "BLOCK_BYTES", 300)
    monkeypatch.setattr(log, "PART_BYTES", 1000)
    parts, _ = read(path, *lines, *lines[:50])
    pd.testing.assert_frame_equal(whole, parts)
    assert whole["retransmission"].sum() == 50


def test_only_a_part_of_a_log_lies_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the log is: parts are read when they are asked for."""
    monkeypatch.setattr(log, "PART_BYTES", 1000)
    path.write_bytes(b"".join(latency_line(f"{PLAN.call_id_prefix}{call}", 1) for call in range(100)))
    rows = [len(part.messages) for part in log.read(path, PLAN, "lua", SCENARIO.legs)]
    assert sum(rows) == 100
    assert max(rows) < 12


@pytest.mark.parametrize("call", ["17", "007", "", "0", "17///REGISTER", "99999999", "٣", "1e3", "-4"])
def test_a_repeat_is_a_repeat_whatever_the_call_id(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Numbered as SIPp does it or not, near or far; what only looks alike is another call."""
    monkeypatch.setattr(log, "PART_BYTES", 100)
    line, other = (latency_line(PLAN.call_id_prefix + name, 1) for name in (call, "7"))
    frame, _ = read(path, line, other, line, other, line)
    assert frame["retransmission"].tolist() == [False, False, True, True, True]


def test_ever_new_methods_and_numbers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More kinds of requests than have an array of their own: none is taken for another."""
    monkeypatch.setattr(log, "PART_BYTES", 500)
    lines = [latency_line(CALL, 1, cseq=cseq, method=method) for cseq in range(1, 30) for method in ("REGISTER", "ACK")]
    frame, _ = read(path, *lines, *reversed(lines))
    assert frame["retransmission"].tolist() == [False] * len(lines) + [True] * len(lines)


def test_a_line_longer_than_a_block_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No log of Kamailio has one of 4 MB; whatever it is, it is named."""
    monkeypatch.setattr(log, "BLOCK_BYTES", 300)
    path.write_bytes(CHALLENGE * 5 + b"x" * 1000 + b"\n" + CHALLENGE * 5)
    with pytest.raises(BadInputError, match=r"kamailio\.log: cannot be read as a log"):
        list(log.read(path, PLAN, "lua", SCENARIO.legs))


@pytest.mark.parametrize("seed", range(40))
def test_both_readers_agree_on_any_traffic(path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever is declared, and however often, in which order and in how many parts it comes."""
    monkeypatch.setattr(log, "PART_BYTES", log.PART_BYTES if seed % 2 else 700)
    chance = random.Random(seed)  # noqa: S311  (reproducible, no secret)
    kinds = [(method, cseq) for method in ("REGISTER", "ACK", "BYE") for cseq in (1, 2)]
    declared = {(*chance.choice(kinds), chance.randrange(1, 4)) for _ in range(chance.randrange(1, 7))}
    rules = tuple(LegRule(chance.choice("abc"), method, cseq, order) for method, cseq, order in sorted(declared))
    names = [f"{PLAN.call_id_prefix}{call}" for call in (1, 2, 300, "x", "07")] + ["1.2-1"]
    lines = [
        latency_line(chance.choice(names), chance.randrange(500), cseq=cseq, method=method)
        for method, cseq in chance.choices(kinds, k=80)
    ]
    read(path, *lines, legs=rules)  # checks that they do


@pytest.mark.parametrize("seed", range(40))
def test_both_readers_agree_on_any_mess(path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Latency lines cut, glued, repeated and mixed with others at random: each byte of trouble is seen by both."""
    monkeypatch.setattr(log, "PART_BYTES", log.PART_BYTES if seed % 2 else 700)
    chance = random.Random(seed)  # noqa: S311  (reproducible, no secret)
    good = [latency_line(f"{PLAN.call_id_prefix}{call}", call, cseq=1 + call % 3) for call in range(8)]
    other = [
        ERROR,
        b"\n",
        b"|NA|NULL|null|nan\n",
        b"||||\n",
        b"\r\n",
        b"\xff|\xfe",
        b"\0",
        b"a\rb",
        latency_line("x", 1),
    ]
    mess = bytearray(b"".join(chance.choice(good + other) for _ in range(60)))
    for _ in range(chance.randrange(12)):
        start = chance.randrange(len(mess))
        del mess[start : start + chance.randrange(40)]
    for _ in range(chance.randrange(6)):
        place = chance.randrange(len(mess))
        mess[place:place] = chance.choice([b"|", b"\n", b"\r", b"\xff", b'"', b" 7(7) INFO: "])
    read(path, bytes(mess))  # checks that they do
