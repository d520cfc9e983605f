"""View -> text for a terminal or a pipe, drawn by rich. Returns a string: only lab.cli prints."""

import io
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.report.view import CellView, LegLine, RatioLine, View

UNBOUNDED = 10_000  # columns, where nothing shows an edge: a line in a file or a pipe stays one line
LEG_HEADS = ("usec", "count", "mean", "median", "p10", "p95", "p99", "max")
RATIO_HEADS = ("ratio", "95 % interval", "detectable", "rounds")
LEG_WIDTH = 13  # "authenticated": the columns of all tables stand below each other


def render(view: View, *, width: int | None = None, colour: bool = False) -> str:
    """Draw the report. `width` is the terminal's; None means that there is none, so no line is broken."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width or UNBOUNDED,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    console.print(Group(*_page(view)))
    return "".join(line.rstrip(" ") + "\n" for line in out.getvalue().splitlines())


def _page(view: View) -> Iterator[RenderableType]:
    yield Text(view.title, style="bold")
    yield Text(view.design)
    if view.cpus:
        yield Text(view.cpus)
    yield Text(view.verdict, style="green" if view.valid else "bold red")
    for cell in view.cells:
        yield Text()
        yield from _cell(cell)
    if view.aa:
        yield Text()
        yield Text(view.aa_title, style="bold")
        yield _ratios("", view.aa, p="p")
    for title, lines in (("Remarks", view.remarks), ("Failed checks", view.failed), ("Results", view.where)):
        if lines:
            yield Text()
            yield Text(title, style="bold")
            yield _lines(lines)


def _cell(cell: CellView) -> Iterator[RenderableType]:
    yield Text(cell.title, style="bold")
    if cell.broken:
        yield _lines([cell.broken], style="red")
        return
    if cell.legs:
        yield _legs(cell.legs)
    if cell.ratios:
        yield _ratios(cell.ratios_title, cell.ratios, p="p (Holm)")
    yield _lines(cell.facts)


def _legs(lines: Sequence[LegLine]) -> RenderableType:
    table = _table(LEG_HEADS)
    for line in lines:
        table.add_row(line.leg, line.count, line.mean, line.median, line.p10, line.p95, line.p99, line.max)
    return Padding.indent(table, 2)


def _ratios(title: str, lines: Sequence[RatioLine], *, p: str) -> RenderableType:
    table = _table((title, *RATIO_HEADS, p))
    for line in lines:
        table.add_row(line.leg, line.ratio, line.interval, line.detectable, line.rounds, line.p)
    return Padding.indent(table, 2)


def _table(heads: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, head in enumerate(heads):
        first = number == 0
        table.add_column(head, no_wrap=True, justify="left" if first else "right", min_width=LEG_WIDTH if first else 6)
    return table


def _lines(lines: Sequence[str], style: str = "") -> RenderableType:
    """Each line indented, and its continuation likewise where a terminal's edge breaks it."""
    return Padding.indent(Group(*(Text(line, style=style, overflow="fold") for line in lines)), 2)
