"""What a run shows while it works, where no bar can be drawn: how far it is, and how long it will take."""

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from lab import progress, testing
from lab.progress import RunProgress
from lab.running import Running

SETUP_SECONDS = 40.0
SLICE_SECONDS = 2.5  # for two of load
PLAN = testing.plan(rounds=4, slices=3, calls=200, rate_per_s=100)
SLICES = [piece for planned in PLAN.rounds for piece in planned.slices]
RECORDS = [testing.record(piece, testing.slice_log(piece)) for piece in SLICES]


@pytest.fixture(autouse=True)
def nobodys_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever these tests run, and in whichever terminal."""
    for name in ("CI", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list of one, for a test to move."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def run(now: list[float]) -> list[str]:
    """The lines of a run that is set up and then goes through its slices."""
    console = Console(file=io.StringIO(), width=200)
    with RunProgress(console, PLAN) as shown:
        shown.stage("starting MySQL")
        now[0] += SETUP_SECONDS
        for record in RECORDS:
            now[0] += SLICE_SECONDS
            shown.slice_done(record)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def seconds_left(line: str) -> int:
    """What a line says about the time to come."""
    found = re.search(r"(?:(\d+) min )?(\d+) s left$", line)
    assert found, line
    return int(found[1] or 0) * 60 + int(found[2])


def test_the_time_left_is_right_from_the_first_slice_on(clock: list[float]) -> None:
    """Even before it, by what is usual. Setting up says nothing about the load to come."""
    lines = run(clock)
    assert lines[0].startswith("starting MySQL, ")
    for line in lines:
        done = 0 if line == lines[0] else int(line.partition("/")[0])
        assert seconds_left(line) == pytest.approx((len(SLICES) - done) * SLICE_SECONDS, rel=0.1, abs=1)


def test_slices_in_turns_share_their_seconds(clock: list[float]) -> None:
    """A block of them takes no longer than one."""
    cells = len(PLAN.cells)
    console = Console(file=io.StringIO(), width=200)
    with RunProgress(console, replace(PLAN, turn_msec=40)) as shown:
        for number, record in enumerate(RECORDS):
            clock[0] += SLICE_SECONDS if number % cells == 0 else 0
            shown.slice_done(record)
            if number % cells == cells - 1:  # a whole block has ended
                shown.stage(f"{number + 1}/ done")
    assert isinstance(console.file, io.StringIO)
    for line in console.file.getvalue().splitlines():
        if "/ done" in line:
            blocks_left = (len(SLICES) - int(line.partition("/")[0])) / cells
            assert seconds_left(line) == pytest.approx(blocks_left * SLICE_SECONDS, rel=0.1, abs=1)


def test_a_line_says_how_far_it_is_and_what_was_seen(clock: list[float]) -> None:
    """And that no more often than somebody would read it."""
    lines = run(clock)
    assert re.match(
        rf"1/{len(SLICES)} r01-s001-native at 100/s: challenge \d+ usec, authenticated \d+ usec, ", lines[1]
    )
    assert len(lines) - 1 <= len(SLICES) * SLICE_SECONDS / progress.QUIET_SECONDS + 1


def test_a_repeat_is_no_progress_and_its_reason_is_told(clock: list[float]) -> None:
    """It takes time all the same."""
    console = Console(file=io.StringIO(), width=200)
    invalid = replace(RECORDS[0], reasons=("SIPp: 3 of 200 calls failed",))
    again = replace(RECORDS[0], plan=replace(RECORDS[0].plan, attempt=2))
    with RunProgress(console, PLAN) as shown:
        for record in (invalid, again):
            clock[0] += progress.QUIET_SECONDS + 1
            shown.slice_done(record)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "! r01-s001-native: SIPp: 3 of 200 calls failed"
    assert [line.partition(" ")[0] for line in lines[1:]] == [f"1/{len(SLICES)}"] * 2
    assert seconds_left(lines[2]) > seconds_left(lines[1])


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_forced_colour_makes_a_file_no_terminal() -> None:
    """Its lines stay lines."""
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    go(console)
    assert isinstance(console.file, io.StringIO)
    assert "\x1b" not in console.file.getvalue()


def go(console: Console) -> None:
    """A whole run, each round told at its end."""
    so_far = Running()
    with RunProgress(console, PLAN) as shown:
        for record in RECORDS:
            so_far.add(record, testing.times(record.plan, testing.slice_log(record.plan)))
            shown.slice_done(record)
            if record.plan.position == len(PLAN.rounds[0].slices):
                shown.round_done(record.plan.round, so_far)


def test_rounds_say_their_ratios_so_far() -> None:
    """Of each cell and its A/A arm, by all legs together; with an interval from the second round on."""
    console = Console(file=io.StringIO(), width=200)
    go(console)
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("after round ")]
    assert len(lines) == len(PLAN.rounds)
    cells = ("lua/native", "python3/native", "native-aa/native")
    for line in lines:
        assert re.findall(r"(\S+) registration \d\.\d{3}", line) == list(cells)
    assert "(" not in lines[0]
    assert len(re.findall(r"registration \d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", lines[1])) == len(cells)


def test_a_terminal_has_a_live_view() -> None:
    """Ratios above the bar, drawn anew at each slice; nothing of it stays at the end."""
    console = Console(file=Screen(), width=120, height=30, color_system=None)
    go(console)
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert re.search(r"lua/native +registration +\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\) +4 rounds", drawn)
    assert f"{len(SLICES)}/{len(SLICES)}" in drawn
    assert f"after round {len(PLAN.rounds)} of {len(PLAN.rounds)}:" in drawn
    assert drawn.rstrip("\n").endswith("\x1b[2K")  # the view's last line, erased


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb"), ("TTY_INTERACTIVE", "0")])
def test_where_nothing_can_be_drawn_lines_are_plain(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """In CI's log, though it may pose as a terminal, and on a terminal that cannot move its cursor."""
    monkeypatch.setenv(name, value)
    console = Console(file=Screen(), width=200, color_system=None)
    go(console)
    assert isinstance(console.file, io.StringIO)
    assert "\x1b" not in console.file.getvalue()
    assert "after round 1: lua/native registration " in console.file.getvalue()


def test_in_ci_a_run_is_quiet(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line in two minutes, beside what rounds say."""
    monkeypatch.setenv("CI", "true")
    lines = run(clock)
    assert len(lines) - 1 <= len(SLICES) * SLICE_SECONDS / progress.QUIET_SECONDS_IN_CI + 1
