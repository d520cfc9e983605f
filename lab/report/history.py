"""Ratios over time as Markdown: one line a run, and a line where they changed."""

from collections.abc import Iterator

from lab.history import Change, History, Series
from lab.report.markdown import table
from lab.report.words import interval, ratio


def markdown(found: History) -> str:
    """The whole page."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: History) -> Iterator[str]:
    yield "# Ratios over time"
    yield ""
    if not found.series:
        yield "No valid run has a ratio."
    for series in found.series:
        yield f"## {series.experiment}: {series.cell} / {series.baseline}, {series.leg}"
        yield ""
        yield from table(("run", "ratio", "95 % interval", "change"), list(_rows(series)))
        yield ""
    if found.left_out:
        yield "Left out:"
        yield ""
        yield from (f"- {run}: {why}" for run, why in found.left_out.items())


def _rows(series: Series) -> Iterator[tuple[str, ...]]:
    changes = {change.run: change for change in series.changes}
    for point in series.points:
        yield point.run, ratio(point.ratio), interval(point), _change(changes.get(point.run))


def _change(change: Change | None) -> str:
    return "" if change is None else f"{change.step - 1:+.1%}, from {change.before:.3f} to {change.after:.3f}"
