"""One part of a report: a sentence on what to see, a table, and mostly a figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report. `draw` makes its figure, where it has one."""

    name: str  # of its files and its anchor
    title: str
    caption: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    draw: "Callable[[], Figure] | None" = None
    lines: tuple[str, ...] = ()
    warning: bool = False
    listed: bool = True  # among the links at the head of the page: of many alike the first is enough
