"""Two datasets beside each other, as Markdown: in which facts they differ, then ratios."""

from collections.abc import Iterator

from lab.compare import BY_BASELINE, BY_TIME, PAIRED, Compared
from lab.report.markdown import table
from lab.report.words import interval, percent, ratio

_HOW = {
    PAIRED: "cells of one run: each round is a pair",
    BY_BASELINE: "each cell's ratio to the baseline of its own run, second over first: machines may differ",
    BY_TIME: "times of two runs, second over first: the same machine, at two times",
}


def markdown(found: Compared) -> str:
    """The whole page."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Compared) -> Iterator[str]:
    yield f"# {found.second} against {found.first}"
    yield ""
    if not found.valid:
        yield "**INVALID**: one of them has slices that are not; figures are of those that are."
        yield ""
    if found.mismatches:
        yield "They differ in what must be the same for their times to be compared:"
        yield ""
        yield from table(("", "first", "second"), [(one.fact, one.first, one.second) for one in found.mismatches])
        yield ""
    for how, what in _HOW.items():
        rows = [row for row in found.rows if row.how == how]
        if rows:
            yield f"## {how[0].upper()}{how[1:]}"
            yield ""
            yield f"{what[0].upper()}{what[1:]}."
            yield ""
            cells = [
                (
                    row.second if row.first == row.second else f"{row.second} / {row.first}",
                    row.leg,
                    ratio(row.found.ratio),
                    interval(row.found),
                    percent(row.found.mde),
                    str(row.found.n_rounds),
                )
                for row in rows
            ]
            yield from table(
                ("cell", "leg", "ratio", f"{100 * (1 - found.alpha):.3g} % interval", "detectable", "rounds"), cells
            )
            yield ""
    if not found.rows:
        yield "Nothing of them can be compared."
