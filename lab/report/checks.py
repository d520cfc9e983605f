"""Sections on what a run's figures are worth: validity, and the observer."""

from collections.abc import Iterator

import pandas as pd

from lab.observation import WAYS
from lab.report import view, words
from lab.report.section import Section
from lab.report.told import Told


def validity(told: Told) -> Iterator[Section]:
    """Slices that count and those that do not, with every reason."""
    found = told.summary
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
            *view.failed_by_kind(found),
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


def _share(slices: pd.DataFrame, column: str, times: int = 1) -> str:
    values = slices[column].dropna()
    return words.percent(float(values.mean()) * times) if len(values) else words.ABSENT
