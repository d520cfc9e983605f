"""Figures of a report, drawn by matplotlib from plain values: as SVG for the page, and as PNG. Knows nothing of runs.

A figure is as wide as a phone, so that its letters can be read there. Colours are Okabe's and Ito's, the light blue
darker so that it stands out on white, with three more, which stay apart for colour-blind eyes, and lines differ in
their dashes as well. On the page each colour is a variable of the style sheet, so that dark is dark.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.typing import RcKeyType

WIDTH = 4.6  # inches: 440 px on a page
INK, GRID, BAND, PAPER = "#1f2328", "#d0d7de", "#e6ebf1", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f6000", "#2f8fd0", "#8250df", "#57606a")
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)))
VARIABLES = {INK: "ink", GRID: "grid", BAND: "band", PAPER: "paper"} | {
    colour: f"c{number}" for number, colour in enumerate(COLOURS)
}
MANY = 1000  # so many times as long, and there is no room for 20, 50, 200, ... between 10, 100, ...
_POSITIONS = re.compile(r'\b(?:d|x|y|transform)="[^"]*"')  # in points, of which a hundredth is enough
_RULES: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read out, searched and selected
    "svg.hashsalt": "kemi-lab",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],  # each text of a figure names all of them
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,  # names are the user's, and a dollar is a dollar
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True, slots=True)
class Dot:
    """A figure with its interval; of a ratio what could have been seen around 1, too."""

    label: str
    value: float
    low: float | None
    high: float | None
    detectable: float | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A CPU, and who is on it."""

    label: str
    roles: tuple[str, ...]


def look(number: int) -> tuple[str, str | tuple[int, tuple[int, ...]]]:
    """Colour and dashes of a thing, by its number: both are another's after 32."""
    return COLOURS[number % len(COLOURS)], DASHES[(number + number // len(COLOURS)) % len(DASHES)]


def _numbers(order: Sequence[str], panels: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Each name's number: by the order of the whole report, so that it looks the same in every figure."""
    return {name: number for number, name in enumerate(dict.fromkeys([*order, *chain(*panels.values())]))}


def dots(
    panels: Mapping[str, Sequence[Dot]],
    unit: str,
    *,
    order: Sequence[str] = (),
    bands: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """A panel a leg, a line a cell. With `bands` these are ratios, and a panel may have a shaded band."""
    rows = [len(panel) for panel in panels.values()]
    numbers = _numbers(order, {leg: [dot.label for dot in panel] for leg, panel in panels.items()})
    with blank(0.5 + 0.34 * sum(rows) + 0.45 * len(rows)) as figure:
        axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=[each + 0.4 for each in rows])
        for (leg, panel), (one,) in zip(panels.items(), axes, strict=True):
            one.set_title(leg)
            if bands is not None:
                one.axvline(1, color=INK, linewidth=0.8)
                if leg in bands:
                    one.axvspan(*bands[leg], color=BAND, linewidth=0)
            for place, row in enumerate(panel):
                colour, _ = look(numbers[row.label])
                if row.detectable is not None:
                    for end in (1 / (1 + row.detectable), 1 + row.detectable):
                        one.plot([end, end], [place - 0.3, place + 0.3], color=INK, linewidth=0.8, dashes=(2, 1))
                if row.low is not None and row.high is not None:
                    one.plot([row.low, row.high], [place, place], color=colour, linewidth=2.4)
                one.plot([row.value], [place], marker="o", markersize=5, color=colour)
            one.set_yticks(range(len(panel)), [row.label for row in panel])
            one.set_ylim(len(panel) - 0.4, -0.6)
            one.tick_params(axis="y", length=0)
            _grid(one, "x")
        axes[-1][0].set_xlabel(unit)
        if bands is not None:
            _times(axes[-1][0], axes[-1][0].xaxis)
    return figure


def _times(axes: Axes, axis: XAxis | YAxis) -> None:
    """Ratios on a logarithmic axis: half as much is as far from 1 as twice as much."""
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    step = next((step for step, widest in ((0.05, 1.5), (0.2, 3)) if high / low < widest), None)
    ticks = [round(step * number, 2) for number in range(1, 80)] if step else [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))


def distributions(
    legs: Mapping[str, Mapping[str, Sequence[float]]], shares: Sequence[float], order: Sequence[str] = ()
) -> Figure:
    """A panel a leg: what share of requests took at most so long, on a logarithmic axis; a line a cell."""
    numbers = _numbers(order, legs)
    with blank(0.6 + 2.1 * len(legs) + 0.4) as figure:
        axes = figure.subplots(len(legs), 1, squeeze=False)
        for (leg, cells), (one,) in zip(legs.items(), axes, strict=True):
            one.set_title(leg)
            for cell, usec in cells.items():
                colour, dashes = look(numbers[cell])
                one.plot(usec, shares, color=colour, linestyle=dashes, linewidth=1.6, label=cell)
            one.set_xscale("log")
            one.xaxis.set_major_formatter(FuncFormatter(lambda usec, _: f"{usec:g}"))
            first, last = one.get_xlim()
            one.xaxis.set_major_locator(LogLocator(subs=(1,) if last / first > MANY else (1, 2, 5), numticks=8))
            one.xaxis.set_minor_formatter(NullFormatter())
            one.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
            _grid(one, "both")
        axes[-1][0].set_xlabel("usec in request_route")
        _legend(figure, *axes[:, 0])
    return figure


def rounds(legs: Mapping[str, Mapping[str, Mapping[int, float]]], unit: str, order: Sequence[str] = ()) -> Figure:
    """A panel a leg: a figure by round, a line a cell."""
    numbers = _numbers(order, legs)
    with blank(0.6 + 1.6 * len(legs) + 0.4) as figure:
        axes = figure.subplots(len(legs), 1, sharex=True, squeeze=False)
        for (leg, cells), (one,) in zip(legs.items(), axes, strict=True):
            one.set_title(leg)
            for cell, values in cells.items():
                colour, dashes = look(numbers[cell])
                one.plot(
                    list(values),
                    list(values.values()),
                    color=colour,
                    linestyle=dashes,
                    linewidth=1.2,
                    marker="o",
                    markersize=3,
                    label=cell,
                )
            one.set_ylabel(unit)
            _grid(one, "y")
        axes[-1][0].set_xlabel("round")
        axes[-1][0].xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(figure, *axes[:, 0])
    return figure


def bars(values: Mapping[str, Sequence[float]], parts: Sequence[str], unit: str) -> Figure:
    """A bar a cell, of parts one after the other."""
    with blank(0.7 + 0.34 * len(values) + 0.3) as figure:
        one = figure.subplots()
        for place, each in enumerate(values.values()):
            begin = 0.0
            for number, (part, value) in enumerate(zip(parts, each, strict=True)):
                label = part if place == 0 else None
                one.barh(place, value, left=begin, height=0.6, color=look(number)[0], label=label)
                begin += value
        one.set_yticks(range(len(values)), list(values))
        one.set_ylim(len(values) - 0.4, -0.6)
        one.tick_params(axis="y", length=0)
        one.set_xlabel(unit)
        one.xaxis.set_major_locator(MaxNLocator(5))
        one.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace(",", "\u202f")))
        _grid(one, "x")
        if len(parts) > 1:
            _legend(figure, one)
    return figure


def cpus(boxes: Sequence[Box], roles: Sequence[str]) -> Figure:
    """A box a CPU: who runs where; the same colour is the same role."""
    tall = max(1, *(len(box.roles) for box in boxes))
    in_row = 4
    lines = -(-len(boxes) // in_row)
    with blank(0.2 + lines * (0.45 + 0.26 * tall)) as figure:
        one = figure.subplots()
        for number, box in enumerate(boxes):
            row, column = divmod(number, in_row)
            left, top = column * 1.1, -row * (tall + 1.8)
            one.add_patch(Rectangle((left, top - tall - 1), 1.0, tall + 1, facecolor=BAND, edgecolor=GRID))
            one.text(left + 0.05, top - 0.55, box.label, va="center", fontsize=8, weight="bold")
            for place, role in enumerate(box.roles or ("idle",)):
                colour = look(roles.index(role))[0] if role in roles else GRID
                at = top - 1.5 - place
                one.add_patch(Rectangle((left + 0.06, at - 0.36), 0.06, 0.72, facecolor=colour, edgecolor="none"))
                one.text(left + 0.17, at, role, va="center", fontsize=8)
        one.set_xlim(-0.03, min(in_row, max(2, len(boxes))) * 1.1)
        one.set_ylim(0.7 - lines * (tall + 1.8), 0.1)
        one.set_axis_off()
    return figure


def steps(cells: Mapping[str, Sequence[tuple[int, bool]]], unit: str) -> Figure:
    """Steps of searches, a line a cell: what was offered, and whether anything of it failed."""
    with blank(0.8 + 0.5 * len(cells)) as figure:
        one = figure.subplots()
        for number, points in enumerate(cells.values()):
            for failed in (False, True):
                rates = [rate for rate, went in points if went == failed]
                places = [number + (-0.15 if failed else 0.15)] * len(rates)
                one.plot(
                    rates,
                    places,
                    linestyle="none",
                    marker="x" if failed else "o",
                    markersize=4,
                    color=COLOURS[1] if failed else COLOURS[0],
                    label="something failed" if failed else "all were served",
                )
        one.set_yticks(range(len(cells)), list(cells))
        one.set_ylim(len(cells) - 0.4, -0.6)
        one.set_xlabel(unit)
        _grid(one, "x")
        handles, labels = one.get_legend_handles_labels()
        figure.legend(handles[:2], labels[:2], loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def trend(lines: Mapping[str, Mapping[str, Dot]], releases: Sequence[str], unit: str) -> Figure:
    """A line an engine, over releases in their order, with intervals: beside each other, so that none hides another."""
    with blank(2.6) as figure:
        one = figure.subplots()
        for number, (engine, values) in enumerate(lines.items()):
            colour, dashes = look(number)
            aside = 0.06 * (number - (len(lines) - 1) / 2)
            places = [releases.index(release) + aside for release in values]
            ratios = [dot.value for dot in values.values()]
            one.plot(places, ratios, color=colour, linestyle=dashes, linewidth=0.8, marker="o", label=engine)
            for place, dot in zip(places, values.values(), strict=True):
                if dot.low is not None and dot.high is not None:
                    one.plot([place, place], [dot.low, dot.high], color=colour, linewidth=2.4)
        one.set_xticks(range(len(releases)), list(releases))
        one.set_ylabel(unit)
        one.axhline(1, color=INK, linewidth=0.8)
        _times(one, one.yaxis)
        _grid(one, "y")
        _legend(figure, one)
    return figure


def svg(figure: Figure, name: str, title: str, *, page: bool) -> str:
    """As an element of a page, with names of its own and colours of the style sheet; or as a file by itself."""
    out = io.StringIO()
    with mpl.rc_context(_RULES):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = _POSITIONS.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), out.getvalue())
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    text = re.sub(r"<svg ", f'<svg role="img" aria-label="{label}" ', text, count=1)
    if not page:
        return text
    text = text[text.index("<svg ") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return re.sub("|".join(VARIABLES), lambda found: f"var(--{VARIABLES[found[0]]})", text)


def png(figure: Figure) -> bytes:
    """For where SVG is not taken; on white."""
    out = io.BytesIO()
    with mpl.rc_context(_RULES):
        figure.savefig(out, format="png", dpi=200, metadata={"Software": None})
    return out.getvalue()


@contextmanager
def blank(height: float) -> Iterator[Figure]:
    """Without pyplot, whose figures are global."""
    with mpl.rc_context(_RULES):
        yield Figure(figsize=(WIDTH, height))


def _grid(axes: Axes, which: Literal["both", "x", "y"]) -> None:
    axes.grid(visible=True, axis=which, color=GRID, linewidth=0.6)
    axes.tick_params(length=0)


def _legend(figure: Figure, *panels: Axes) -> None:
    """Below everything; a name once, whichever panels have it."""
    found = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    for columns in (min(3, len(found)), 2, 1) if len(found) > 1 else ():
        legend = figure.legend(
            list(found.values()), list(found), loc="outside lower center", ncols=columns, frameon=False, fontsize=8
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
