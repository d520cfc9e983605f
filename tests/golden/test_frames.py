"""Recorded evidence gives exactly the recorded frames. tests/golden/record.py makes both anew."""

import pytest

from tests.golden.record import FOLDER, RUN, TABLES, frames_as_csv


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The frames of the recorded run, as this version makes them."""
    return frames_as_csv(RUN)


@pytest.mark.parametrize("table", TABLES)
def test_the_recorded_run_gives_the_recorded_frames(made: dict[str, str], table: str) -> None:
    """To the last digit: a difference is a change of meaning, for the changelog (Numbers may move)."""
    assert made[table] == (FOLDER / f"{table}.csv").read_text(encoding="utf-8")
