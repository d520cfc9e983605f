"""A run's resolution as text: a table a leg, a line an estimator. Also readable as Markdown."""

from collections.abc import Iterator

from lab.published import interval
from lab.report.markdown import table
from lab.resolution import Resolution, Row
from lab.stats import Design


def text(found: Resolution) -> str:
    """All of it."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Resolution) -> Iterator[str]:
    yield f"# What {found.run} can tell apart"
    yield ""
    yield (
        f"{found.aa_cell} against {found.baseline}, the same twice: {found.rounds} rounds with {found.pairs} pairs of "
        f"neighbouring slices in all."
    )
    yield (
        f"A pair takes {found.pair_seconds:.2f} s, and a round of these two {found.round_seconds:.1f} s beside its "
        "pairs. Intervals are at 95 %."
    )
    yield (
        "After so many minutes: the least effect that is found with 80 % probability, by the rounds x pairs that serve "
        "best."
    )
    if not found.valid:
        yield ""
        yield "Not every planned slice is valid: these figures are of those that are."
    for leg in dict.fromkeys(row.leg for row in found.rows):
        rows = [row for row in found.rows if row.leg == leg]
        yield ""
        yield f"## {leg}"
        yield ""
        yield from table(_head(rows[0]), [_cells(row) for row in rows])


def _head(row: Row) -> tuple[str, ...]:
    planted = (words for each in row.slowdowns for words in (f"with {each.planted_usec:+} usec", f"{each.cell}"))
    minutes = (f"{seconds / 60:g} min" for seconds in row.detectable)
    return ("estimator", "usec", "A/A ratio", *planted, "sd, slices", "sd, rounds", *minutes)


def _cells(row: Row) -> tuple[str, ...]:
    planted = (words for each in row.slowdowns for words in (f"{each.expected:.3f}", interval(each.found)))
    spread = (row.spread.between_slices, row.spread.between_rounds) if row.spread else (None, None)
    return (
        row.estimator,
        f"{row.usec:.1f}",
        interval(row.aa),
        *planted,
        *("-" if value is None else f"{value:.2%}" for value in spread),
        *map(_design, row.detectable.values()),
    )


def _design(design: Design | None) -> str:
    return f"{design.mde:.2%} ({design.rounds} x {design.slices})" if design else "-"
