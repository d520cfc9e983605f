"""Recorded evidence gives exactly the recorded frames. tests/golden/record.py makes both anew."""

from functools import cache

import pytest

from tests.golden.record import FOLDER, RUNS, TABLES, frames_as_csv


@cache
def made(run: str) -> dict[str, str]:
    """The frames of a recorded run, as this version makes them."""
    return frames_as_csv(FOLDER / run)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("run", RUNS)
def test_a_recorded_run_gives_the_recorded_frames(run: str, table: str) -> None:
    """To the last digit: a difference is a change of meaning, for the changelog (Numbers may move)."""
    assert made(run)[table] == (FOLDER / run / f"{table}.csv").read_text(encoding="utf-8")
