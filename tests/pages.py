"""Runs to be reported, made up: plain ones, some of several releases, and one of `lab capacity`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lab import capacity, frames, store, summary, testing
from lab.model import Plan
from lab.report import page, rates, run
from lab.report.page import Report
from lab.search import Parameters, Search, Step
from tests.unit import machine

PLAN = testing.plan(engines=("native", "lua", "python3"), rounds=4, slices=2, calls=20)


def made(results: Path, plan: Plan = PLAN, *, spoilt: str = "", factors: Mapping[str, float] | None = None) -> Path:
    """A run with its figures, in which Lua costs 1.2 times native; `spoilt`: why its first slices do not count."""
    slices = testing.slices(plan, factors or {"lua": 1.2})
    if spoilt:
        slices = [(replace(record, reasons=(spoilt,)), log) for record, log in slices[:3]] + slices[3:]
    folder = machine.describe(testing.run(results, plan, slices))
    frames.write(folder)
    summary.write(folder)
    return folder


def of_releases(*releases: str, engines: tuple[str, ...] = ("native", "lua")) -> Plan:
    """A plan of these, in their order, each engine with the native one of its own release as its baseline."""
    plan = testing.plan(engines=engines, rounds=3, slices=1, calls=20)
    cells = tuple(
        replace(cell, name=f"{cell.name}-{release}", kamailio=release, baseline=f"native-{release}")
        for release in releases
        for cell in plan.cells
        if cell.name != plan.aa_cell
    )
    cells += (replace(plan.cells[-1], kamailio=releases[0], baseline=f"native-{releases[0]}"),)
    first = plan.rounds[0].slices[0]
    rounds = tuple(
        replace(
            planned,
            slices=tuple(
                replace(first, round=planned.number, position=place, cell=cell.name, warmup=False)
                for place, cell in enumerate(cells, 1)
            ),
        )
        for planned in plan.rounds
    )
    return replace(plan, cells=cells, rounds=rounds)


def report(folder: Path) -> Report:
    """What is shown of a run."""
    return run.build(folder, store.load(Plan, folder / "evidence" / "plan.json"), summary.read(folder))


def written(folder: Path) -> Path:
    """A run's page."""
    return page.write(report(folder), folder / page.FOLDER)


def of_rates(results: Path) -> Path:
    """The page of a run of `lab capacity`, of two cells and three rounds."""
    plan = testing.plan(engines=("native", "lua"), rounds=3)
    made = store.Run.create(results, "capacity")
    store.dump(plan, made.evidence / "plan.json")
    (made.evidence / "searches").mkdir()
    for cell, limit in (("native", 2800), ("lua", 2300)):
        for number in (1, 2, 3):
            found = limit + 10 * number
            steps = tuple(
                Step(f"r0{number}-s00{place}-{cell}", rate, rate, float(rate), 1.0, rate, 600_000, 300_000, 900_000)
                for place, rate in enumerate((1000, 2000, found), 1)
            )
            steps = (*steps, replace(steps[-1], rate_per_s=3200, failures=("retransmissions: 3",)))
            search = Search(
                cell, "registration", number, Parameters(), 0, 1, steps, rate_per_s=found, confirmed=True, ended=True
            )
            store.dump(search, made.evidence / "searches" / f"r0{number}-{cell}-registration.json")
    made.seal("complete")
    folder = machine.describe(made.folder)
    return page.write(rates.build(folder, plan, capacity.compute(folder)), folder / page.FOLDER)
