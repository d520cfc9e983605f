"""A run of `lab capacity` -> its report."""

from collections.abc import Iterator
from pathlib import Path

from lab import store
from lab.capacity import SEARCHES, Capacity
from lab.model import Plan
from lab.report import charts, machine, words
from lab.report.capacity import NAMES
from lab.report.charts import Dot
from lab.report.page import Report
from lab.report.section import Section
from lab.report.story import ENGINES
from lab.search import RFC7502, Search


def build(folder: Path, plan: Plan, found: Capacity) -> Report:
    """Everything that is shown of it, from its searches."""
    searches = [store.load(Search, path) for path in sorted((folder / "evidence" / SEARCHES).glob("*.json"))]
    design = f"{len(plan.rounds)} searches of each rate, each with a fresh start"
    return Report(
        run=folder.name,
        title=f"{found.experiment}: {found.run}",
        design=f"{design}. {'Every search has a confirmed rate' if found.valid else f'Not valid ({found.ended})'}",
        answers=tuple(_answers(found)),
        valid=found.valid,
        sections=(
            *_rates(found),
            *_searches(searches),
            *machine.cpus_of(folder),
            *_notes(found),
            *machine.environment_of(folder, plan),
        ),
        again=(
            *("./justw", "lab", "capacity", f"results/{folder.name}/evidence/experiment.toml"),
            *(("--rfc7502",) if found.parameters == RFC7502 else ()),
        ),
    )


def _answers(found: Capacity) -> Iterator[str]:
    for name, cell in found.cells.items():
        for rate in cell.rates:
            if rate.rate_per_s is not None:
                least = "at least " if rate.at_least else ""
                sure = (
                    f" (95 % interval {rate.ci_low:.0f} to {rate.ci_high:.0f})" if rate.ci_low and rate.ci_high else ""
                )
                yield (
                    f"{ENGINES.get(name, name)} serves {least}{rate.rate_per_s:.0f} {rate.kind}s a second without a "
                    f"failure{sure}, with {cell.subscribers} subscribers."
                )


def _rates(found: Capacity) -> Iterator[Section]:
    panels: dict[str, list[Dot]] = {}
    rows = []
    for name, cell in found.cells.items():
        for rate in cell.rates:
            kind = NAMES.get(rate.kind, rate.kind)
            if rate.rate_per_s is not None:
                panels.setdefault(kind, []).append(Dot(name, rate.rate_per_s, rate.ci_low, rate.ci_high))
            each = ", ".join(str(point.rate_per_s or words.ABSENT) for point in rate.points)
            interval = f"{rate.ci_low:.0f} to {rate.ci_high:.0f}" if rate.ci_low and rate.ci_high else words.ABSENT
            value = words.ABSENT if rate.rate_per_s is None else f"{rate.rate_per_s:.0f}"
            limit = next((point.limit for point in rate.points if point.limit), "")
            rows.append((kind, name, f"{'at least ' * rate.at_least}{value}", interval, each, limit))
    yield Section(
        "rates",
        "The highest rate without a failure",
        "A dot is the mean of all searches, its bar the interval. Bars that overlap a lot tell no engines apart.",
        ("rate", "cell", "per s", "95 % interval", "each search", "what failed above"),
        tuple(rows),
        (lambda: charts.dots(panels, "calls a second")) if panels else None,
    )


def _searches(searches: list[Search]) -> Iterator[Section]:
    for kind in dict.fromkeys(one.kind for one in searches):
        points: dict[str, list[tuple[int, bool]]] = {}
        rows = []
        for one in searches:
            if one.kind == kind:
                for step in one.steps:
                    points.setdefault(one.cell, []).append((step.rate_per_s, bool(step.failures)))
                    rows.append(
                        (one.cell, str(one.round), str(step.rate_per_s), str(step.calls), "; ".join(step.failures))
                    )
        if points:
            yield Section(
                f"search-{kind}",
                f"How the {NAMES.get(kind, kind)} was searched",
                "Each dot is a step of a search: below, all calls were served; above, something failed. Where dots of "
                "both kinds mix, the highest rate is a matter of luck, which is why there are several searches.",
                ("cell", "search", "calls a second", "calls", "failed"),
                tuple(rows),
                lambda points=points: charts.steps(points, "calls a second"),  # type: ignore[misc]
            )


def _notes(found: Capacity) -> Iterator[Section]:
    if found.notes:
        yield Section("notes", "Notes", "What else is to be known of this run.", lines=found.notes)
