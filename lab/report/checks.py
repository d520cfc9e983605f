"""Sections on what a run's figures are worth: validity, the observer, and what the page of 2018 says."""

from collections.abc import Iterator

import pandas as pd

from lab import published
from lab.model import NATIVE
from lab.observation import WAYS
from lab.report import story, view, words
from lab.report.section import Section
from lab.report.told import Told

MOST_LISTED = 200  # failed checks: a page is to be read


def validity(told: Told) -> Iterator[Section]:
    """Slices that count and those that do not, with every reason."""
    found = told.summary
    reasons = [reason for cell in found.cells.values() for reason in cell.reasons]
    yield Section(
        "validity",
        "What counts, and what was left out",
        f"A slice that fails a check is run again, {told.plan.repeats} times at most. This run: {view.verdict(found)}.",
        ("cell", "valid", "invalid", "not run", "repeats"),
        tuple(
            (
                told.name(name),
                *(
                    str(number)
                    for number in (cell.slices_valid, cell.slices_invalid, cell.slices_missing, cell.slices_repeated)
                ),
            )
            for name, cell in found.cells.items()
        ),
        lines=(
            *view.remarks(found),
            *(f"{name} is broken: {why}" for name, why in found.broken.items()),
            *reasons[:MOST_LISTED],
            *([f"and {len(reasons) - MOST_LISTED} more, in summary.json"] if len(reasons) > MOST_LISTED else []),
        ),
        warning=not found.valid,
    )


def observer(told: Told) -> Iterator[Section]:
    """How much of the CPUs others had while cells were under load."""
    slices, found = told.timed, told.summary
    facts = [
        (
            words.percent(found.driver_share),
            "time that the driver adds between a round's slices, of the load's own",
        ),
        (_share(slices, "driver_cpu_share"), "of a CPU that the driver had while load was on, on average"),
        (_share(slices, "foreign_cpu_share"), "of Kamailio's CPUs that went to anybody else, on average"),
        (
            _share(slices, "sipp_cpu_share", told.plan.at_once),
            "of a CPU that the SIPps of all cells under load at a time had, on average: from 80 % on a limit",
        ),
    ]
    ways = sorted({cell.observe for cell in told.plan.cells})
    yield Section(
        "observer",
        "What measuring itself takes",
        "Latency lines cost time as well, in every cell alike: lab observer measures how much, docs/observer.md has "
        f"figures. Here: {', '.join(f'{way} ({WAYS[way].sink})' for way in ways)}.",
        ("share", "of what"),
        tuple(facts),
    )


def page_of_2018(told: Told) -> Iterator[Section]:
    """Where both have an engine; the page's Python is Python 2."""
    there = {one.engine: one.found for one in published.of_the_page()}
    rows = []
    for row in told.summary.comparisons:
        cell = told.summary.cells[row.cell]
        engine = cell.engine.removesuffix("3")
        over_native = told.summary.cells[row.baseline].engine == NATIVE and row.cell != told.summary.aa_cell
        if over_native and row.cell in told.cells and row.leg == cell.whole and engine in there:
            theirs = f"{words.ratio(there[engine].ratio)} ({words.interval(there[engine])})"
            ours = f"{words.ratio(row.ratio)} ({words.interval(row)})"
            rows.append((told.name(row.cell), ours, row.leg, story.ENGINES[engine], theirs))
    if rows:
        yield Section(
            "published",
            "What the page of 2018 says",
            "Another machine, Kamailio 5.2.0, all requests in one heap, and very probably without authentication: it "
            "stands here to be looked at, not to be compared with (docs/2018.md).",
            ("cell", "here, over native", "of what", "there", "there, over native, all requests"),
            tuple(rows),
        )


def _share(slices: pd.DataFrame, column: str, times: int = 1) -> str:
    values = slices[column].dropna()
    return words.percent(float(values.mean()) * times) if len(values) else words.ABSENT
