"""A run's resolution: noise, a planted slowdown and detectable effects, from frames whose truth is known."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab import cli, frames, resolution, summary, testing
from lab.errors import BadInputError, Exit
from lab.estimators import ESTIMATORS, quantile
from lab.model import Plan, SlicePlan, SliceRecord
from lab.report import resolution as page
from lab.resolution import Resolution, Row

WAIT = 30
PLANTED = "native-slow"
SLICE_SECONDS = 0.5


def plan(rounds: int = 4, slices: int = 5, calls: int = 100) -> Plan:
    """Native, its A/A cell, and native with a wait."""
    made = testing.plan(engines=("native", "lua"), rounds=rounds, slices=slices, calls=calls, rate_per_s=2 * calls)
    cells = tuple(
        replace(cell, name=PLANTED, engine="native", routing=f"parity-plus-{WAIT}us") if cell.engine == "lua" else cell
        for cell in made.cells
    )

    def named(piece: SlicePlan) -> SlicePlan:
        return replace(piece, cell=PLANTED) if piece.cell == "lua" else piece

    numbers = tuple(replace(one, slices=tuple(map(named, one.slices))) for one in made.rounds)
    return replace(made, cells=cells, rounds=numbers)


def pieces(plan: Plan, noise: Callable[[SlicePlan], float] = lambda _: 1.0) -> list[tuple[SliceRecord, bytes]]:
    """Its slices, each slower by its noise, and the planted ones by the wait."""
    made = []
    for number in plan.rounds:
        for piece in number.slices:
            log = testing.slice_log(piece, factor=noise(piece))
            if piece.cell == PLANTED:
                log = re.sub(rb"in: (\d+) usec", lambda found: b"in: %d usec" % (int(found[1]) + WAIT), log)
            made.append((testing.record(piece, log), log))
    return made


def run(results: Path, plan: Plan, made: list[tuple[SliceRecord, bytes]]) -> Path:
    """Sealed and analysed."""
    folder = testing.run(results, plan, made)
    frames.write(folder)
    summary.write(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which nothing goes wrong."""
    planned = plan()
    return run(tmp_path_factory.mktemp("results"), planned, pieces(planned))


@pytest.fixture(scope="module")
def found(folder: Path) -> Resolution:
    """What it can tell apart."""
    return resolution.read(folder)


def row(found: Resolution, leg: str, estimator: str = "mean") -> Row:
    """One line."""
    return next(row for row in found.rows if (row.leg, row.estimator) == (leg, estimator))


def test_every_estimator_of_every_leg_has_a_line(found: Resolution) -> None:
    """And CPU time, which no leg has by itself, of the whole."""
    legs = ("challenge", "authenticated", "registration")
    expected = [(leg, name) for leg in legs for name in ESTIMATORS] + [("registration", "CPU time")]
    assert [(row.leg, row.estimator) for row in found.rows] == expected


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_planted_wait_is_seen_by_every_estimator(found: Resolution, estimator: str) -> None:
    """A constant moves the mean and every quantile alike; in a registration it is there twice."""
    for leg, requests in (("challenge", 1), ("authenticated", 1), ("registration", 2)):
        line = row(found, leg, estimator)
        (slowdown,) = line.slowdowns
        assert (slowdown.cell, slowdown.planted_usec) == (PLANTED, WAIT)
        assert slowdown.expected == pytest.approx(1 + requests * WAIT / line.usec)
        assert slowdown.found.ratio == pytest.approx(slowdown.expected, rel=0.02)
        assert slowdown.found.excludes_one


def test_the_baseline_against_itself_is_one(found: Resolution) -> None:
    """Over rounds, each of which is the mean of its pairs' logarithms."""
    for line in found.rows:
        assert line.aa.n_rounds == found.rounds == 4
        assert line.aa.ratio == pytest.approx(1, abs=0.03)
    assert found.pairs == 4 * 5


def test_noise_is_between_slices_or_between_rounds(tmp_path: Path) -> None:
    """What pairs of neighbours share cancels out; what only one of them has is found where it was put."""
    planned = plan(rounds=12, slices=4, calls=20)
    draw = np.random.default_rng(2544)
    moment = draw.normal(0, 0.3, 1000)  # of the machine: of both neighbours
    start = draw.normal(0, 0.10, 1000)  # of a process: of one cell's whole round
    slices = draw.normal(0, 0.05, 100_000)

    def noise(piece: SlicePlan) -> float:
        if piece.cell == PLANTED:
            return 1.0
        block = piece.round * 10 + (piece.position - 1) // 3
        own = start[piece.round] + slices[piece.round * 100 + piece.position] if piece.cell == "native-aa" else 0
        return math.exp(moment[block] + own)

    line = row(resolution.read(run(tmp_path, planned, pieces(planned, noise))), "authenticated")
    assert line.spread
    assert line.spread.between_slices == pytest.approx(0.05, rel=0.2)
    assert line.spread.between_rounds == pytest.approx(0.10, rel=0.4)


def test_more_time_detects_less(found: Resolution) -> None:
    """And each figure is that of a design which fits into its time."""
    for line in found.rows:
        two, five, ten = (line.detectable[seconds] for seconds in (120, 300, 600))
        assert ten
        for seconds, design in ((120, two), (300, five), (600, ten)):
            if design:
                needs = design.rounds * (found.round_seconds + design.slices * found.pair_seconds)
                assert needs <= seconds
                assert design.mde >= ten.mde


def test_time_is_taken_from_the_run_itself(found: Resolution) -> None:
    """A pair is two slices; a round has its start and the warm-up besides.

    The builder's slices of half a second begin every second, three cells in turn; its rounds begin 100 s after each
    other.
    """
    assert found.pair_seconds == pytest.approx(2 * 2 * SLICE_SECONDS, rel=0.1)
    assert found.round_seconds == pytest.approx(100 - (5 + 1) * 3 + 2 * 2 * SLICE_SECONDS, rel=0.05)


def test_a_slice_without_a_neighbour_is_left_out(tmp_path: Path) -> None:
    """One that was run again at the end of its round is valid, but of another moment."""
    planned = plan(rounds=2, slices=3)
    made = pieces(planned)
    at = next(n for n, (record, _) in enumerate(made) if record.plan.cell == "native" and not record.plan.warmup)
    record, log = made[at]
    made[at] = (replace(record, reasons=("SIPp: it stumbled",)), log)
    later = replace(record.plan, position=99, attempt=2)
    log = testing.slice_log(later)
    found = resolution.read(run(tmp_path, planned, [*made, (testing.record(later, log), log)]))
    assert found.valid
    assert found.pairs == 2 * 3 - 1


def test_in_turns_a_block_that_was_run_again_has_its_pair(tmp_path: Path) -> None:
    """All of it was, in the same seconds. A pair takes what its block takes."""
    planned = replace(plan(rounds=2, slices=3), turn_msec=40)
    cells = len(planned.cells)

    def at(record: SliceRecord, begun: int) -> SliceRecord:
        lasted = record.after.monotonic_nsec - record.before.monotonic_nsec
        before = replace(record.before, monotonic_nsec=begun)
        return replace(record, before=before, after=replace(record.after, monotonic_nsec=begun + lasted))

    made = pieces(planned)
    # Each begins a little later than the one before, the baseline first.
    later_msec = {cell.name: number for number, cell in enumerate(planned.cells)}

    def begun(record: SliceRecord, n: int) -> int:
        return made[n // cells * cells][0].before.monotonic_nsec + later_msec[record.plan.cell] * 1_000_000

    made = [(at(record, begun(record, n)), log) for n, (record, log) in enumerate(made)]
    assert resolution.read(run(tmp_path / "whole", planned, made)).pairs == 2 * 3
    again = []
    for n in range(cells, 2 * cells):  # the first timed block
        record, log = made[n]
        made[n] = (replace(record, reasons=("SIPp: it stumbled",)), log)
        later = replace(record.plan, position=90 + n, attempt=2)
        log = testing.slice_log(later)
        again.append((at(testing.record(later, log), record.before.monotonic_nsec + 50 * 1_000_000_000), log))
    found = resolution.read(run(tmp_path / "again", planned, [*made, *again]))
    assert found.valid
    assert found.pairs == 2 * 3


def test_one_round_has_no_interval_and_detects_nothing(tmp_path: Path) -> None:
    """The unit of inference is the round."""
    planned = plan(rounds=1, slices=2)
    found = resolution.read(run(tmp_path, planned, pieces(planned)))
    assert {line.aa.ci_low for line in found.rows} == {None}
    assert {design for line in found.rows for design in line.detectable.values()} == {None}
    assert "| -" in page.text(found)


def test_a_run_without_pairs_is_refused(tmp_path: Path) -> None:
    """With the command that says why."""
    planned = plan(rounds=1, slices=1)
    made = [(replace(record, reasons=("SIPp: it stumbled",)), log) for record, log in pieces(planned)]
    with pytest.raises(BadInputError, match="no two valid slices of native-aa and native are neighbours") as caught:
        resolution.read(run(tmp_path, planned, made))
    assert "lab report" in caught.value.remedy


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_quantiles_see_less_than_a_microsecond(share: float) -> None:
    """Times are whole microseconds; a shift of 0.3 usec moves a quantile by as much, not by none or one."""
    draw = np.random.default_rng(6076).gamma(4, 5, 20_000)
    estimator = quantile(share)
    here, there = (estimator(np.sort(np.round(draw + shift).astype("int64"))) for shift in (0.0, 0.3))
    assert there - here == pytest.approx(0.3, abs=0.1)
    assert here == pytest.approx(float(np.quantile(draw, share)), abs=0.1)


def test_the_page_has_a_table_a_leg(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was planted beside what was found, and when which effect would be."""
    assert cli.main(["resolution", folder.name, "--results", str(folder.parent)]) == Exit.OK
    said = capsys.readouterr().out
    assert re.findall(r"^## (.*)$", said, re.MULTILINE) == ["challenge", "authenticated", "registration"]
    head = next(line for line in said.splitlines() if line.startswith("| estimator"))
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        *("estimator", "usec", "A/A ratio", "with +30 usec", PLANTED, "sd, slices", "sd, rounds"),
        *("2 min", "5 min", "10 min"),
    ]
    assert len({len(line) for line in said.split("## ")[1].splitlines() if line.startswith("|")}) == 1


def test_programs_get_the_same_figures(folder: Path, found: Resolution, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON."""
    assert cli.main(["resolution", "--json", "--results", str(folder.parent)]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert said["pairs"] == found.pairs
    assert said["rows"][0]["slowdowns"][0]["found"]["ratio"] == row(found, "challenge").slowdowns[0].found.ratio


def test_of_an_invalid_run_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the exit code, too."""
    planned = plan(rounds=2, slices=2)
    made = pieces(planned)
    made[-1] = (replace(made[-1][0], reasons=("SIPp: it stumbled",)), made[-1][1])
    run(tmp_path, planned, made)
    assert cli.main(["resolution", "--results", str(tmp_path)]) == Exit.INVALID
    assert "Not every planned slice is valid" in capsys.readouterr().out
