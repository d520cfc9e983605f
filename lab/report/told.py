"""A run as its folder tells it: what all sections of its report are made of."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lab.model import Plan
from lab.report import story
from lab.summary import Summary


@dataclass(frozen=True, slots=True)
class Told:
    """A run as its folder tells it."""

    folder: Path
    plan: Plan
    summary: Summary
    slices: pd.DataFrame  # all that ran
    timed: pd.DataFrame  # those that figures are made of
    first: pd.DataFrame  # their messages: first transmissions

    @property
    def cells(self) -> list[str]:
        """What has figures, but for the baseline's twin."""
        return [name for name in self.summary.cells if name not in {self.summary.aa_cell, *self.summary.broken}]

    def name(self, cell: str) -> str:
        """As a reader calls it."""
        return story.name(cell, self.summary)

    @property
    def names(self) -> list[str]:
        """Of all cells, in the order that gives each its colour."""
        return [self.name(cell) for cell in self.summary.cells]

    @property
    def whole(self) -> str:
        """What all legs of a call together are called, if that is one thing."""
        found = {self.summary.cells[cell].whole for cell in self.cells}
        return found.pop() if len(found) == 1 else "call"
