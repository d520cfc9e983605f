"""A count as text: a table a leg, cells side by side, whose instructions they are below each other."""

from collections.abc import Iterator
from pathlib import Path

from lab.counts import probed, shares
from lab.counts.figures import Counts, LegCount, ratios
from lab.report import on_cpu
from lab.report.markdown import table


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
    if counting.probes:
        each = f"{len(probed.BLOCKS)} blocks of {probed.CALLS} calls in each start, half of them with probes"
        yield f"time, by the kernel, without valgrind: {each}"
    yield "valid: every cell in every start" if found.valid else f"not valid ({found.ended}): see the notes"
    yield ""
    head, *body = whole(found)
    yield from table(head, body)
    for leg, _ in by_leg(found):
        yield ""
        head, *body = rows(found, leg)
        yield from table(head, body)
    if found.notes:
        yield ""
        yield "Notes"
        yield from (f"  {note}" for note in found.notes)
    yield ""
    yield f"{folder}"


def whole(found: Counts) -> list[tuple[str, ...]]:
    """What a call takes, its head first."""
    cells = {name: cell for name, cell in found.cells.items() if cell.legs}
    known = ratios(found)
    return [
        (" or ".join(dict.fromkeys(cell.whole for cell in cells.values())), *cells),
        ("instructions", *(number(cell.instructions) for cell in cells.values())),
        (
            "times the baseline",
            *(
                f"{known[name][cell.whole]:.3f}" if cell.whole in known.get(name, {}) else ""
                for name, cell in cells.items()
            ),
        ),
        *on_cpu.of_call(cells),
    ]


def by_leg(found: Counts) -> Iterator[tuple[str, dict[str, LegCount]]]:
    """Each leg with the cells that have it."""
    for leg in dict.fromkeys(leg for cell in found.cells.values() for leg in cell.legs):
        yield leg, {name: cell.legs[leg] for name, cell in found.cells.items() if leg in cell.legs}


def rows(found: Counts, leg: str) -> list[tuple[str, ...]]:
    """One table, its head first; what some cells have is a row for all of them."""
    cells = dict(by_leg(found))[leg]
    known = ratios(found)
    return [
        (leg, *cells),
        ("instructions", *(number(one.instructions) for one in cells.values())),
        ("times the baseline", *(f"{known[name][leg]:.3f}" if leg in known.get(name, {}) else "" for name in cells)),
        ("starts apart by", *("" if one.spread is None else f"{one.spread:.3%}" for one in cells.values())),
        ("in request_route", *(number(one.route) for one in cells.values())),
        *(
            (f"- {share}", *(number(one.shares[share]) if share in one.shares else "" for one in cells.values()))
            for share in shares.in_order({name for one in cells.values() for name in one.shares})
        ),
        ("KEMI calls", *(f"{one.crossings:.1f}" if one.crossings else "" for one in cells.values())),
        ("each, there and back", *("" if one.crossing is None else number(one.crossing) for one in cells.values())),
        *on_cpu.of_leg({name: found.cells[name] for name in cells}, leg),
    ]


def number(value: float, sign: str = "-") -> str:
    """With a space at each thousand; a sign of "+" is shown as well."""
    return format(value, f"{sign},.0f").replace(",", " ")
