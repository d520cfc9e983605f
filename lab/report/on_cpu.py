"""Rows of a count's tables: what the kernel has seen of cells that ran without valgrind. None where nobody looked."""

import math
from collections.abc import Callable, Iterator, Mapping

from lab.counts.figures import CellCount
from lab.counts.probed import CellTime, LegTime
from lab.report import words
from lab.stats import Comparison, compare

Row = tuple[str, ...]


def of_call(cells: Mapping[str, CellCount]) -> Iterator[Row]:
    """What a call takes the worker, and what looking costs."""
    times = {name: cell.time for name, cell in cells.items()}
    known = [time for time in times.values() if time]
    if not known:
        return

    def row(head: str, shown: Callable[[CellTime], str]) -> Row:
        return (head, *(shown(time) if time else "" for time in times.values()))

    yield row("worker's CPU time, usec", lambda time: words.usec(time.worker_usec, 1))
    yield row("with probes, times that", lambda time: words.ratio(time.probes.ratio))
    yield row("- its interval", lambda time: words.interval(time.probes))
    there = [name for name in known[0].counters if any(time.counters.get(name) is not None for time in known)]
    if not there:
        yield row("hardware counters", lambda _: "none here")
    for counter in there:
        yield row(f"{counter}, by hardware", lambda time, counter=counter: _counter(time.counters.get(counter)))  # type: ignore[misc]


def of_leg(cells: Mapping[str, CellCount], leg: str) -> Iterator[Row]:
    """What its request_route takes."""
    times = {name: _leg(cell, leg) for name, cell in cells.items()}
    if not any(times.values()):
        return

    def row(head: str, shown: Callable[[LegTime], str]) -> Row:
        return (head, *(shown(time) if time else "" for time in times.values()))

    yield row("request_route on CPU, usec", lambda time: words.usec(time.on_cpu_usec, 1))
    found = {name: _against(times.get(cells[name].baseline), times[name]) for name in cells}
    yield ("- times the baseline", *(words.ratio(one.ratio) if one else "" for one in found.values()))
    yield ("- its interval", *(words.interval(one) if one else "" for one in found.values()))
    yield ("- detectable", *(words.percent(one.mde) if one else "" for one in found.values()))
    yield row("- starts apart by", lambda time: "" if time.spread is None else f"{time.spread:.1%}")
    yield row("off the CPU in it, usec", lambda time: words.usec(time.away_usec, 1))
    yield row("by latency lines, usec", lambda time: words.usec(time.logged_usec, 1))
    yield row("- with probes", lambda time: words.usec(time.logged_probed_usec, 1))


def _leg(cell: CellCount, leg: str) -> LegTime | None:
    return cell.time.legs.get(leg) if cell.time else None


def _against(baseline: LegTime | None, time: LegTime | None) -> Comparison | None:
    """Round by round, in which both were looked at in turn."""
    if not (baseline and time) or baseline is time or len(baseline.of_rounds) != len(time.of_rounds):
        return None
    return compare([math.log(one / other) for one, other in zip(time.of_rounds, baseline.of_rounds, strict=True)])


def _counter(value: float | None) -> str:
    return "none here" if value is None else f"{value:,.0f}".replace(",", " ")
