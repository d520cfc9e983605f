"""What the kernel has seen of a cell that ran without valgrind: time on the CPU, hardware counters. Pure.

Blocks of calls with bpftrace's probes in place alternate with blocks without, in which perf alone counts: so what the
probes cost is seen in the same fresh start. images/probes has both programs.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from lab.errors import BadInputError
from lab.model import nth
from lab.stats import Comparison, compare

BLOCKS = (False, True, True, False) * 4  # with bpftrace's probes or without: neither is always the later
CALLS = 150  # of each
FOLDER = "probes"  # of the evidence
RECORD = "probes.json"
CLOCK = "task-clock"  # perf's: msec of CPU time, the kernel's included
NONE = "<not supported>"  # in its words: this machine has no such counter
NOT_RUN = "<not counted>"
WHOLE_PERCENT = 99.9  # perf shares counters out where there are more events, and then guesses
_KIND = re.compile(r"\w+/([^/]+)/")  # cpu_core/instructions:u/
UP = b'"up'  # says that all is attached


@dataclass(frozen=True, slots=True)
class Block:
    """Some calls, one by one. What was seen of them lies beside the record."""

    probed: bool  # bpftrace's probes were in place
    calls: int
    messages: dict[str, int]  # latency lines, by leg
    usec: dict[str, float]  # the median of what they say, likewise
    errors: int = 0  # lines that no log of a good block has


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """One cell in one fresh start."""

    round: int
    cell: str
    seconds: float  # from its fresh start to its end
    legs: tuple[str, ...] = ()  # of a call, in the order in which its requests came
    blocks: tuple[Block, ...] = ()
    reasons: tuple[str, ...] = ()  # why it does not count
    attempt: int = 1  # a run that is gone on with tries again what has failed

    @property
    def id(self) -> str:
        """Name of its folder."""
        return nth(f"r{self.round:02d}-{self.cell}", self.attempt)


@dataclass(frozen=True, slots=True)
class Seen:
    """What bpftrace and perf have said of a block."""

    counters: dict[str, float | None]  # by perf's names, of the worker; None: this machine has no such counter
    on_cpu: tuple[int, ...]  # nsec of each request_route, in their order; none without probes
    away: tuple[int, ...]  # nsec within it off the CPU, likewise


@dataclass(frozen=True, slots=True)
class LegTime:
    """request_route of a leg: medians of a fresh start's requests, and the mean of those."""

    on_cpu_usec: float
    away_usec: float  # within it off the CPU: waiting for the database, or for a CPU
    of_rounds: tuple[float, ...]  # usec on the CPU, of each fresh start
    logged_usec: float  # what Kamailio's latency lines say without probes: of both the mean of blocks' medians
    logged_probed_usec: float  # likewise with them

    @property
    def spread(self) -> float | None:
        """How far fresh starts are apart, as a share; unknown of one."""
        if len(self.of_rounds) < 2:  # noqa: PLR2004
            return None
        return (max(self.of_rounds) - min(self.of_rounds)) / self.on_cpu_usec


@dataclass(frozen=True, slots=True)
class CellTime:
    """One cell, as it runs without valgrind."""

    legs: dict[str, LegTime]
    worker_usec: float  # CPU time of the worker for a call, kernel and all, without probes
    probes: Comparison  # that time with them, as a multiple of that without: of neighbouring blocks, not of rounds
    counters: dict[str, float | None]  # of a call, by perf's names; None: this machine has no such counter


def block_file(number: int) -> str:
    """What was said of a block, as JSON lines."""
    return f"b{number:02d}.jsonl"


def parse(text: str) -> Seen:
    """What `watch` has said; BadInputError where that is not what it says."""
    counters: dict[str, float | None] = {}
    maps: dict[str, Any] = {}
    try:
        for line in filter(None, text.splitlines()):
            said = json.loads(line)
            if "event" in said:
                name, value = _counter(said)
                counters[name] = value if value is None else (counters.get(name) or 0.0) + value
            elif said["type"] == "map":
                maps |= said["data"]
        numbers = range(int(maps.get("@requests", 0)))
        wall, away = ([int(maps[name][str(one)]) for one in numbers] for name in ("@wall", "@away"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"neither bpftrace's nor perf's: {error!r}") from error
    if not counters.get(CLOCK):
        raise BadInputError(f"perf has not said {CLOCK}")
    on_cpu = tuple(whole - off for whole, off in zip(wall, away, strict=True))
    return Seen(counters, on_cpu, tuple(away))


def _counter(said: Mapping[str, Any]) -> tuple[str, float | None]:
    """Of one event, of each kind of core where there are several: its name, how often; None: there is no counter."""
    event, value = _KIND.sub(r"\1", said["event"]), said["counter-value"]
    if value == NONE:
        return event, None
    if value == NOT_RUN:  # by a kind of core on which the worker never was
        return event, 0.0
    if said["pcnt-running"] < WHOLE_PERCENT:
        raise ValueError(f"{event} was only counted for {said['pcnt-running']} % of the time")
    return event, float(value)


def read(folder: Path, record: ProbeRecord) -> list[Seen]:
    """Of each block; BadInputError names the file that is none."""
    found = []
    for number in range(1, len(record.blocks) + 1):
        path = folder / block_file(number)
        try:
            found.append(parse(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, BadInputError) as error:
            raise BadInputError(f"{path}: {error}") from error
    return found


def problem(block: Block, seen: Seen, legs: Sequence[str]) -> str:
    """Why a block does not count; nothing where it does."""
    expected = block.calls * len(legs)
    if found := {leg: number for leg, number in block.messages.items() if number != block.calls * (leg in legs)}:
        told = ", ".join(f"{number} of leg {leg}" for leg, number in found.items())
        return f"Kamailio has logged {told}, and not {block.calls}"
    if block.errors:
        return f"Kamailio has logged {block.errors} errors or torn lines"
    if block.probed and len(seen.on_cpu) != expected:
        return f"the probes have seen {len(seen.on_cpu)} request_routes of {expected}"
    return ""


def together(starts: Sequence[tuple[ProbeRecord, Sequence[Seen]]]) -> CellTime | None:
    """Of a cell's fresh starts; None where there is none."""
    if not starts:
        return None
    plain = [pair for pair in _blocks(starts) if not pair[0].probed]
    return CellTime(
        legs={leg: _leg(leg, starts) for leg in starts[0][0].legs},
        worker_usec=fmean(_clock(*pair) for pair in plain),
        probes=compare([extra for record, seen in starts for extra in _extra(record.blocks, seen)]),
        counters={name: _mean_counter(name, plain) for name in plain[0][1].counters if name != CLOCK},
    )


def _blocks(starts: Iterable[tuple[ProbeRecord, Sequence[Seen]]]) -> Iterator[tuple[Block, Seen]]:
    for record, seen in starts:
        yield from zip(record.blocks, seen, strict=True)


def _clock(block: Block, seen: Seen) -> float:
    """Usec of CPU time for a call."""
    return (seen.counters[CLOCK] or 0.0) * 1000 / block.calls


def _extra(blocks: Sequence[Block], seen: Sequence[Seen]) -> Iterator[float]:
    """CPU time with probes against that without, as logarithms: of each two neighbours, of which one has them."""
    pairs = list(zip(blocks, seen, strict=True))
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        probed, plain = (one, other) if one[0].probed else (other, one)
        yield math.log(_clock(*probed) / _clock(*plain))


def _mean_counter(name: str, blocks: Sequence[tuple[Block, Seen]]) -> float | None:
    """Of a call; None where one block has none."""
    values = [seen.counters.get(name) for _, seen in blocks]
    known = [value / block.calls for value, (block, _) in zip(values, blocks, strict=True) if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _leg(leg: str, starts: Sequence[tuple[ProbeRecord, Sequence[Seen]]]) -> LegTime:
    on_cpu, away = [], []
    for record, seen in starts:
        place, step = record.legs.index(leg), len(record.legs)
        on_cpu.append(median(nsec for one in seen for nsec in one.on_cpu[place::step]) / 1000)
        away.append(median(nsec for one in seen for nsec in one.away[place::step]) / 1000)
    logged = {
        probed: fmean(block.usec[leg] for block, _ in _blocks(starts) if block.probed is probed)
        for probed in (False, True)
    }
    return LegTime(
        on_cpu_usec=fmean(on_cpu),
        away_usec=fmean(away),
        of_rounds=tuple(on_cpu),
        logged_usec=logged[False],
        logged_probed_usec=logged[True],
    )
