"""Keeps a run of each schema version, as an archive: what later versions have to be able to read.

    python -m tests.golden.schemas NAME         a run as this version writes it
    python -m tests.golden.schemas NAME RUN     a run that another version has written

The same plan each time: native, Lua and native once more, three rounds of a warm-up and a timed slice of four calls,
Lua costing 1.2 times native. Older ones were written by `make` in a tree of their own version: 1 by commit d46fc14,
2-plan by 3f78899 (workers and subscribers belong to the plan), 2-cell by 059378e (to a cell).
"""

import sys
import tempfile
from pathlib import Path

from lab import archive, dataset, testing

FOLDER = Path(__file__).parent / "schemas"
EXAMPLES = ("1", "2-plan", "2-cell", "3")


def make(results: Path) -> Path:
    """A run with all that is derived."""
    plan = testing.plan(engines=("native", "lua"), rounds=3, slices=1, warmup_slices=1, calls=4)
    run = testing.run(results, plan, testing.slices(plan, {"lua": 1.2}))
    dataset.derive(run)
    return run


def main(name: str, run: str = "") -> None:
    """Pack it, logs included."""
    with tempfile.TemporaryDirectory() as results:
        archive.pack(Path(run) if run else make(Path(results)), FOLDER / f"{name}.zip", logs=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
