"""What a run is doing, how far it is, how long it will still take: a bar on a terminal, plain lines in a pipe."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lab.model import OTHER, Plan, SlicePlan, SliceRecord

QUIET_SECONDS = 10  # between two lines where no bar can be drawn
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


class RunProgress:
    """Hears the session (lab.session.Reporter) and shows it. Use as a context manager."""

    def __init__(self, console: Console, plan: Plan) -> None:
        """The plan says how many slices there are; repeats come on top."""
        self._console = console
        slices = [piece for planned in plan.rounds for piece in planned.slices]
        self._total, self._done, self._at_once = len(slices), 0, plan.at_once
        self._seconds_left, self._seconds_done = sum(map(self._seconds, slices)), 0.0
        self._begun = time.monotonic()  # of the load, once there was some
        self._said = float("-inf")
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            auto_refresh=False,  # a thread that draws ten times a second has no place beside a measurement
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=self._total, left="")

    def __enter__(self) -> Self:
        """Start drawing, or begin counting."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave a clean line."""
        self._bar.stop()

    def stage(self, text: str) -> None:
        """Something other than load is going on."""
        self._bar.update(self._task, description=text)
        self._bar.refresh()
        if not self._console.is_terminal:
            self._console.print(f"{text}{self._left()}", highlight=False, markup=False, soft_wrap=True)

    def detail(self, text: str) -> None:
        """A line of what that is about."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=text[: self._console.width // 2])
            self._bar.refresh()
        else:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Something that a user should know."""
        self._console.print(f"! {text}", highlight=False, markup=False, soft_wrap=True)

    def slice_done(self, record: SliceRecord) -> None:
        """One more slice; an invalid one says why at once."""
        if not self._done:
            self._begun = time.monotonic() - self._seconds(record.plan) * self._at_once
        if record.plan.attempt == 1:
            self._done += 1
            self._seconds_done += self._seconds(record.plan)
            self._seconds_left -= self._seconds(record.plan)
        for reason in record.reasons:
            self.note(f"{record.plan.id}: {reason}")
        line = f"{record.plan.id}: {_means(record)}"
        self._bar.update(self._task, completed=self._done, description=line, left=self._left())
        self._bar.refresh()
        if not self._console.is_terminal and time.monotonic() - self._said > QUIET_SECONDS:
            self._said = time.monotonic()
            self._console.print(
                f"{self._done}/{self._total} {line}{self._left()}", highlight=False, markup=False, soft_wrap=True
            )

    def _seconds(self, piece: SlicePlan) -> float:
        """Planned load of a slice; of those that share the same seconds its part of them."""
        return piece.calls / piece.rate_per_s / self._at_once

    def _left(self) -> str:
        elapsed = time.monotonic() - self._begun if self._done else 0
        elapsed += USUAL_PACE * USUAL_WEIGHT_SECONDS
        left = elapsed / (self._seconds_done + USUAL_WEIGHT_SECONDS) * self._seconds_left
        minutes, seconds = divmod(round(left), 60)
        return f", {minutes} min {seconds:02d} s left" if minutes else f", {seconds} s left"


def _means(record: SliceRecord) -> str:
    tally = record.tally
    parts = [
        f"{leg} {tally.usec_sum[leg] / tally.messages[leg]:.0f} usec"
        for leg in tally.messages
        if leg != OTHER and tally.messages[leg]
    ]
    return ", ".join(parts) or "no latency line"
