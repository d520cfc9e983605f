"""What a run is doing, how far it is, how long it will still take, and what its rounds say so far.

A live view on a terminal; plain lines in a pipe, and fewer of them where CI says that it is CI.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from lab import running
from lab.model import OTHER, Plan, SlicePlan, SliceRecord
from lab.running import Key, Mean, Running, whole_mean
from lab.stats import Comparison

QUIET_SECONDS = 10  # between two lines where nothing can be drawn
QUIET_SECONDS_IN_CI = 120
MOST_SHOWN = 16  # ratios, of the live view
# Time against planned load, before any was seen: what is usual, and how many seconds of load outweigh it.
USUAL_PACE = 1.25
USUAL_WEIGHT_SECONDS = 10.0


class Lines:
    """Hears a session of which nobody knows how long it takes, and says each line as it comes."""

    def __init__(self, console: Console) -> None:
        """Where to."""
        self._console = console

    def stage(self, text: str) -> None:
        """What is going on."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    detail = stage

    def note(self, text: str) -> None:
        """Something that a user should know."""
        self.stage(f"! {text}")

    def slice_done(self, record: SliceRecord) -> None:
        """A search says more of its steps than a slice does."""

    def round_done(self, number: int, so_far: Running) -> None:
        """Nor is there a ratio to be told."""


class RunProgress:
    """Hears the session (lab.session.Reporter) and shows it. Use as a context manager."""

    def __init__(
        self, console: Console, plan: Plan, mean: Mean = whole_mean, already: Sequence[SlicePlan] = ()
    ) -> None:
        """The plan says how many slices there are, some of which have been; repeats come on top.

        Ratios are of these means.
        """
        self._console = console
        slices = [piece for planned in plan.rounds for piece in planned.slices]
        self._planned = {piece.id for piece in slices}
        been = [piece for piece in already if piece.id in self._planned]
        self._total, self._done, self._at_once = len(slices), len(been), plan.at_once
        self._seconds_left, self._seconds_done = sum(map(self._seconds, slices)) - sum(map(self._seconds, been)), 0.0
        self._begun = time.monotonic()  # of the load, once there was some
        self._said = float("-inf")
        self._in_ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
        self._quiet_seconds = QUIET_SECONDS_IN_CI if self._in_ci else QUIET_SECONDS
        self._plan, self._mean = plan, mean
        self._ratios = Table.grid(padding=(0, 2))
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task = self._bar.add_task("starting", total=self._total, completed=self._done, left="")
        # A thread that draws ten times a second has no place beside a measurement.
        self._live = Live(console=console, transient=True, auto_refresh=False)
        # As rich draws, and only where it goes to a terminal: colour may be forced into a file.
        self._can_draw = console.is_interactive and console.file.isatty() and not self._in_ci

    def __enter__(self) -> Self:
        """Start drawing, or begin counting."""
        if self._can_draw:
            self._live.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave a clean line."""
        self._live.stop()

    def _draw(self) -> None:
        if self._live.is_started:
            self._live.update(Group(self._bar, self._ratios), refresh=True)  # what is too long is cut at its end

    def stage(self, text: str) -> None:
        """Something other than load is going on."""
        self._bar.update(self._task, description=text)
        self._draw()
        if not self._can_draw:
            self._console.print(f"{text}{self._left()}", highlight=False, markup=False, soft_wrap=True)

    def detail(self, text: str) -> None:
        """A line of what that is about."""
        if self._can_draw:
            self._bar.update(self._task, description=text[: self._console.width // 2])
            self._draw()
        else:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Something that a user should know."""
        self._console.print(f"! {text}", highlight=False, markup=False, soft_wrap=True)

    def slice_done(self, record: SliceRecord) -> None:
        """One more slice; an invalid one says why at once."""
        if not self._seconds_done:
            self._begun = time.monotonic() - self._seconds(record.plan) * self._at_once
        if record.plan.id in self._planned:
            self._done += 1
            self._seconds_done += self._seconds(record.plan)
            self._seconds_left -= self._seconds(record.plan)
        for reason in record.reasons:
            self.note(f"{record.plan.id}: {reason}")
        line = f"{record.plan.id} at {record.plan.rate_per_s}/s: {_means(record)}"
        self._bar.update(self._task, completed=self._done, description=line, left=self._left())
        self._draw()
        if not self._can_draw and time.monotonic() - self._said > self._quiet_seconds:
            self._said = time.monotonic()
            self._console.print(
                f"{self._done}/{self._total} {line}{self._left()}", highlight=False, markup=False, soft_wrap=True
            )

    def round_done(self, number: int, so_far: Running) -> None:
        """One more round: what all of them say until now."""
        found = list(_so_far(self._plan, so_far.comparisons(self._plan, self._plan.alpha, self._mean)))
        self._ratios = Table.grid(padding=(0, 2))
        self._ratios.add_row(f"after round {number} of {len(self._plan.rounds)}:")
        for name, what, comparison in found[:MOST_SHOWN]:
            self._ratios.add_row(name, what, _ratio(comparison), f"{comparison.n_rounds} rounds")
        self._draw()
        if found and not self._can_draw:
            said = ", ".join(f"{name} {what} {_ratio(comparison)}" for name, what, comparison in found)
            self._console.print(f"after round {number}: {said}", highlight=False, markup=False, soft_wrap=True)

    def _seconds(self, piece: SlicePlan) -> float:
        """Planned load of a slice; of those that share the same seconds its part of them."""
        return piece.calls / piece.rate_per_s / self._at_once

    def _left(self) -> str:
        elapsed = time.monotonic() - self._begun if self._seconds_done else 0
        elapsed += USUAL_PACE * USUAL_WEIGHT_SECONDS
        left = elapsed / (self._seconds_done + USUAL_WEIGHT_SECONDS) * self._seconds_left
        minutes, seconds = divmod(round(left), 60)
        return f", {minutes} min {seconds:02d} s left" if minutes else f", {seconds} s left"


def _so_far(plan: Plan, found: Mapping[Key, Comparison]) -> Iterator[tuple[str, str, Comparison]]:
    """Each cell over its baseline, by all legs together where there is such a thing, else by its last leg."""
    for cell in plan.cells:
        legs = list(running.compared(plan, cell.name))
        if legs and found[cell.name, legs[-1]].ratio is not None:
            yield f"{cell.name}/{cell.baseline}", legs[-1], found[cell.name, legs[-1]]


def _ratio(found: Comparison) -> str:
    interval = "" if found.ci_low is None else f" ({found.ci_low:.3f} to {found.ci_high:.3f})"
    return f"{found.ratio:.3f}{interval}"


def _means(record: SliceRecord) -> str:
    tally = record.tally
    parts = [
        f"{leg} {tally.usec_sum[leg] / tally.messages[leg]:.0f} usec"
        for leg in tally.messages
        if leg != OTHER and tally.messages[leg]
    ]
    return ", ".join(parts) or "no latency line"
