"""A run of whatever kind -> its report."""

from pathlib import Path

from lab import capacity, store, summary
from lab.counts import figures
from lab.model import Plan
from lab.report import counted, rates, run
from lab.report.page import Report


def build(folder: Path) -> Report:
    """By what lies in its folder: counts, searches, or slices."""
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    if figures.is_one(folder):
        profiles = figures.collect(folder)
        return counted.build(folder, plan, figures.compute(folder, profiles), profiles)
    if capacity.is_one(folder):
        return rates.build(folder, plan, capacity.compute(folder))
    return run.build(folder, plan, summary.read(folder))
