"""Kamailio's latency line: its one declaration, and the count of a slice's log. Pure.

Seen on Kamailio 6.0.1 with `latency_cfg_log=2` and `log_prefix="|$mt|$hdr(CSeq)|$ci|"` (here cut in two):

     7(31) INFO: |1|2 REGISTER|1.3-17|
    <core> [core/receive.c:533]: receive_msg(): request-route executed in: 380 usec

lab.frames reads the same declaration, column by column instead of line by line.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BufferedIOBase
from itertools import chain

from lab.model import OTHER, LegRule, Tally

MARKER = "request-route executed in: "
DELIMITER = "|"

# The fields of a latency line between delimiters, in order. Negative times occur when the clock is set back.
FIELDS = {
    "process": re.compile(r" *\d+\((?P<worker_pid>\d{1,9})\) [A-Z]*: "),
    "message_type": re.compile(r"1"),  # $mt of a request
    "cseq": re.compile(r" *(?P<cseq>\d{1,18}) +(?P<method>[^\s|]+) *"),
    "call_id": re.compile(r"(?P<call_id>[^|]+)"),
    "text": re.compile(rf"<core> \[[^]|]*\]: \w+\(\): {MARKER}(?P<usec>-?\d{{1,18}}) usec"),
}
LINE = re.compile(re.escape(DELIMITER).join(pattern.pattern for pattern in FIELDS.values()))

# The same line as the page of 2018 has it: its own log_prefix, and in colour. Escapes are writes of their own, so they
# stand in front of a line or, where the C library cuts a line up, inside it. The former are nothing; the latter stay,
# so that the line counts as torn. Seen on 5.4.4 and 6.0.1: docs/2018.md.
_PAGE_LINE = re.compile(rb"( *\d+\(\d+\) [A-Z]*: )\{(\d+) +(\d+ +[^\s|]+) +([^\s|]+)\} (.*)", re.DOTALL)
_LEADING = re.compile(rb"\A(?:\x1b\[0;\d+;\d+m)+")

# What makes two lines repeats of each other. SIPp numbers the calls of a slice, and is told to end their Call-IDs by
# that number (lab.load): so a flag in an array says that a call has sent this, for the first few methods and CSeqs.
# Whatever else there is (other Call-IDs, ever new CSeqs) is kept as it is.
KEY = ("call_id", "cseq", "method")
CALL_DIGITS = 7
NUMBERED_KINDS = 16
_PLAIN = re.compile(rf"[1-9]\d{{0,{CALL_DIGITS - 1}}}", re.ASCII)

LONGEST_BYTES = 4 << 20  # of a line; what is longer is read in pieces, which count as torn
KEPT_LETTERS = 4096  # of a bad line
LINES_KEPT = 1000  # of the error lines of a slice, and of the malformed ones; the others are counted

# Levels of lines that say that something failed; WARNING and NOTICE do not. The nameless one is the core's L_CRIT.
# Text of a script that ended without a newline has the next line glued to it, so an error is looked for anywhere.
ERROR_LEVELS = ("ALERT", "BUG", "CRITICAL", "ERROR", "")
_ERROR = re.compile(rf"\d\(\d+\) (?:{'|'.join(ERROR_LEVELS)}): ")


# By leg: usec -> how many first transmissions took that.
Times = dict[str, Counter[int]]


def tally(
    log: bytes | Iterable[bytes], call_id_prefix: str, legs: tuple[LegRule, ...], times: Times | None = None
) -> Tally:
    """Count a slice's log: an open binary file, other lines, or all of it. One pass; the first bad lines are kept.

    `times` gets the requests by their usec as well, where it is given.
    """
    leg_of = {(rule.method, rule.cseq, rule.order): rule.leg for rule in legs}
    on_purpose = purposes(legs)
    messages, usec_sum = Counter[str](), Counter[str]()
    seen = _Seen(call_id_prefix)
    retransmissions = foreign = 0
    errors, malformed = Kept(), Kept()
    for line, whole in _lines(log):
        found = LINE.fullmatch(line)
        if not found:
            if broken(line, whole=whole):
                malformed.add(line)
            if is_error(line):
                errors.add(line)
            continue
        call_id, method, cseq = found["call_id"], found["method"], int(found["cseq"])
        if not call_id.startswith(call_id_prefix):
            foreign += 1
            continue
        order = seen.count(call_id, cseq, method)
        if order > on_purpose.get((method, cseq), 1):
            retransmissions += 1
        else:
            leg = leg_of.get((method, cseq, order), OTHER)
            usec = int(found["usec"])
            messages[leg] += 1
            usec_sum[leg] += usec
            if times is not None:
                if leg not in times:
                    times[leg] = Counter()
                times[leg][usec] += 1
    names = leg_names(legs)
    return Tally(
        messages={leg: messages[leg] for leg in names},
        usec_sum={leg: usec_sum[leg] for leg in names},
        retransmissions=retransmissions,
        foreign=foreign,
        errors=tuple(errors.lines),
        malformed=tuple(malformed.lines),
        further_errors=errors.further,
        further_malformed=malformed.further,
    )


def order(log: bytes | Iterable[bytes], legs: tuple[LegRule, ...]) -> tuple[str, ...]:
    """Legs in the order in which the last call's requests were handled, of a log in which it was alone."""
    leg_of = {(rule.method, rule.cseq, rule.order): rule.leg for rule in legs}
    last: deque[tuple[str, int]] = deque(maxlen=len(legs))
    for line, _ in _lines(log):
        if found := LINE.fullmatch(line):
            last.append((found["method"], int(found["cseq"])))
    come = Counter[tuple[str, int]]()
    told: list[str] = []
    for kind in last:
        come[kind] += 1
        told.append(leg_of.get((*kind, come[kind]), OTHER))
    return tuple(told)


@dataclass(slots=True)
class Kept:
    """The first lines of a kind, and how many more there were."""

    lines: list[str] = field(default_factory=list)
    further: int = 0

    def add(self, line: str) -> None:
        """One more."""
        if len(self.lines) < LINES_KEPT:
            self.lines.append(line[:KEPT_LETTERS])
        else:
            self.further += 1


def leg_names(legs: tuple[LegRule, ...]) -> tuple[str, ...]:
    """The legs that a scenario declares, and the one for all else."""
    return (*dict.fromkeys(rule.leg for rule in legs), OTHER)


def purposes(legs: tuple[LegRule, ...]) -> dict[tuple[str, int], int]:
    """How often a scenario itself sends a method with a CSeq within one call."""
    found: dict[tuple[str, int], int] = {}
    for rule in legs:
        kind = rule.method, rule.cseq
        found[kind] = max(found.get(kind, 1), rule.order)
    return found


def plain(line: bytes) -> bytes:
    """A line of the page's log in the form of ours: no colour in front, its prefix between bars. Others stay."""
    line = _LEADING.sub(b"", line)
    found = _PAGE_LINE.fullmatch(line)
    return b"|".join(found.groups()) if found else line


class _Seen:
    """How often each request of a slice has come, in a byte each where its calls are numbered."""

    def __init__(self, prefix: str) -> None:
        self._from = len(prefix)
        self._numbered: dict[tuple[str, int], bytearray] = {}
        self._others = Counter[tuple[str, int, str]]()

    def count(self, call_id: str, cseq: int, method: str) -> int:
        """How often it has come, this time included (at most 255)."""
        number, kind = call_id[self._from :], (method, cseq)
        if not _PLAIN.fullmatch(number) or (kind not in self._numbered and len(self._numbered) == NUMBERED_KINDS):
            self._others[call_id, cseq, method] += 1
            return self._others[call_id, cseq, method]
        come, call = self._numbered.setdefault(kind, bytearray()), int(number)
        if call >= len(come):
            come.extend(bytes(call + 1 - len(come)))
        come[call] = min(come[call] + 1, 255)
        return come[call]


def is_error(line: str) -> bool:
    """Kamailio reports a failure in this line. Further lines of the same report have no head and are not counted."""
    return _ERROR.search(line) is not None


def broken(line: str, *, whole: bool) -> bool:
    """What LINE does not match, and yet it is (a part of) a latency line, or may be one that broke off at the end.

    Two workers that wrote into each other, a prefix that another script has set, a full disk: none may pass unseen.
    """
    return MARKER in line or not whole


def decode(raw: bytes) -> str:
    """Text of a log. Bytes that are not UTF-8 stay visible and distinct instead of failing or becoming one sign."""
    return raw.decode("utf-8", "backslashreplace")


def pieces(log: BufferedIOBase) -> Iterator[bytes]:
    """Lines of a file, but never more at once than memory is for."""
    return iter(partial(log.readline, LONGEST_BYTES), b"")


def _lines(log: bytes | Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """Lines without their end, and whether they had one: only the last may not."""
    chunks = (log,) if isinstance(log, bytes) else pieces(log) if isinstance(log, BufferedIOBase) else log
    for raw in chain.from_iterable(chunk.splitlines(keepends=True) for chunk in chunks):
        text = raw.rstrip(b"\r\n")
        if text:
            yield decode(text), len(text) < len(raw)


@dataclass(frozen=True, slots=True)
class Pooled:
    """The five figures of the 2018 page: over all requests, whatever their leg."""

    cnt: int
    sum: int
    min: int
    max: int
    avg: float


def pooled(values: Iterable[int]) -> Pooled:
    """What the page's awk script prints under gawk, to the digit.

    That includes its start values: without a value below it the minimum is 1000000, and the maximum is never negative.
    awk counts in doubles (exact to 2**53 usec, 285 years) and prints what is no integer by %.6g.
    """
    numbers = [int(value) for value in values]  # numpy's 32-bit integers would overflow in the sum
    total = sum(numbers)
    mean = total / len(numbers) if numbers else 0.0
    return Pooled(
        cnt=len(numbers),
        sum=total,
        min=min(1_000_000, min(numbers, default=1_000_000)),
        max=max(0, max(numbers, default=0)),
        avg=mean if mean.is_integer() else float(f"{mean:.6g}"),
    )
