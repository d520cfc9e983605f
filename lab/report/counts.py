"""A count as text: a table a leg, cells side by side, whose instructions they are below each other."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lab.counts import shares
from lab.counts.figures import Counts, LegCount, ratios
from lab.report.markdown import table

Row = tuple[str, Callable[[LegCount], str]]


def text(found: Counts, folder: Path) -> str:
    """All of it."""
    return "\n".join(_lines(found, folder)) + "\n"


def _lines(found: Counts, folder: Path) -> Iterator[str]:
    counting = found.counting
    yield found.run
    yield (
        f"instructions per request, by callgrind: {counting.calls} calls one by one, after {counting.warmup_calls} to "
        f"warm up, in each of {found.rounds} fresh starts; one worker"
    )
    yield "valid: every cell in every start" if found.valid else f"not valid ({found.ended}): see the notes"
    for leg in dict.fromkeys(leg for cell in found.cells.values() for leg in cell.legs):
        yield ""
        yield from _leg(found, leg)
    if found.notes:
        yield ""
        yield "Notes"
        yield from (f"  {note}" for note in found.notes)
    yield ""
    yield f"{folder}"


def _leg(found: Counts, leg: str) -> Iterator[str]:
    """One table; what some cells have is a row for all of them."""
    cells = {name: cell.legs[leg] for name, cell in found.cells.items() if leg in cell.legs}
    whose = shares.in_order({name for one in cells.values() for name in one.shares})
    rows: list[Row] = [
        ("instructions", lambda one: _number(one.instructions)),
        ("starts apart by", lambda one: "" if one.spread is None else f"{one.spread:.3%}"),
        ("in request_route", lambda one: _number(one.route)),
        *((f"- {name}", _share(name)) for name in whose),
        ("KEMI calls", lambda one: f"{one.crossings:.1f}" if one.crossings else ""),
        ("each, there and back", lambda one: "" if one.crossing is None else _number(one.crossing)),
    ]
    written = [(name, *(tell(one) for one in cells.values())) for name, tell in rows]
    written.insert(1, ("times the baseline", *_ratios(found, leg, cells)))
    yield from table((leg, *cells), written)


def _share(name: str) -> Callable[[LegCount], str]:
    return lambda one: _number(one.shares[name]) if name in one.shares else ""


def _ratios(found: Counts, leg: str, cells: Mapping[str, LegCount]) -> Iterator[str]:
    known = ratios(found)
    return (f"{known[name][leg]:.3f}" if leg in known.get(name, {}) else "" for name in cells)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")
