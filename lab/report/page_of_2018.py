"""Sections on the page of 2018: what it says, beside any run with its engines; of its own experiment in full."""

from collections.abc import Iterator

from lab import published
from lab.model import NATIVE
from lab.report import charts, story, words
from lab.report.charts import Dot
from lab.report.published import FORMS
from lab.report.section import Section
from lab.report.told import Told


def sections(told: Told) -> Iterator[Section]:
    """Whatever a run allows to say."""
    yield from _repeated(told) if told.plan.experiment == published.EXPERIMENT else _beside(told)


def _repeated(told: Told) -> Iterator[Section]:
    found = published.read(told.folder)
    yield Section(
        "claims",
        "What the page of 2018 says, and what was found",
        "Its own experiment, on another machine: as its files are printed, as they must have been run, and with "
        "registrations that are authenticated. lab published has every run of it.",
        ("the page", "verdict", "found"),
        tuple((claim.says, claim.verdict, claim.figure) for claim in found.claims),
    )
    panels: dict[str, list[Dot]] = {}
    for ratio in found.ratios:
        if ratio.found.ratio is not None:
            dot = Dot(_engine(ratio.engine), ratio.found.ratio, ratio.found.ci_low, ratio.found.ci_high)
            panels.setdefault(FORMS[ratio.form], []).append(dot)
    yield Section(
        "published",
        "All requests in one heap, as the page counts them",
        "An engine's average over native's, with 95 % intervals: of the page by Fieller, since its runs have no "
        "partners, of this run by rounds. A heap of unlike requests says little of either.",
        ("form", "engine", "ratio", "interval"),
        tuple(
            (FORMS[ratio.form], _engine(ratio.engine), words.ratio(ratio.found.ratio), words.interval(ratio.found))
            for ratio in found.ratios
        ),
        (lambda: charts.dots(panels, "times native")) if panels else None,
    )


def _engine(name: str) -> str:
    return story.ENGINES.get(name, name)


def _beside(told: Told) -> Iterator[Section]:
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
