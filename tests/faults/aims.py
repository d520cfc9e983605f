"""What must hold of a run whatever happened to it. Each broken aim is a sentence.

The truth does not come from the lab: whoever injected a fault knows when, and whose slices it must have hit.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import Exit
from lab.store import digest
from tests.docker.driver import Lab, Running
from tests.faults.scene import Struck

# SIPp is not up at once, and what comes after its last call hits nothing any more.
LOAD_BEGINS_SECONDS, LOAD_ENDS_EARLIER_SECONDS = 0.3, 0.1
NSEC = 1_000_000_000
KILLED = -9
ENDS = {Exit.OK, Exit.INVALID, Exit.SETUP, Exit.INTERRUPTED}


@dataclass(frozen=True, slots=True)
class Sealed:
    """A slice as it lies in the run's folder."""

    name: str
    cell: str
    round: int
    valid: bool
    begins: float  # its load, time.time()
    ends: float

    def hit_by(self, struck: Struck) -> bool:
        """It cannot be valid: the fault was there while its load surely was."""
        there = self.cell in struck.cells and struck.round in {None, self.round}
        return there and self.begins <= struck.until and struck.since <= self.ends


def slices(folder: Path) -> list[Sealed]:
    """All that are sealed."""
    return sorted(map(_sealed, folder.glob("evidence/slices/[!.]*/slice.json")), key=lambda one: one.begins)


def sums(folder: Path) -> dict[str, str]:
    """Of every sealed slice."""
    return {path.name: digest(path) for path in folder.glob("evidence/slices/[!.]*")}


def wrong(folder: Path, struck: Struck) -> Iterator[str]:
    """An invalid slice that counts as valid."""
    for one in slices(folder):
        if one.valid and one.hit_by(struck):
            yield f"{one.name} is valid, and was hit"


def lost(folder: Path, before: Mapping[str, str]) -> Iterator[str]:
    """A sealed slice that is gone, or another."""
    after = sums(folder)
    yield from (f"{name} is lost" for name, content in before.items() if after.get(name) != content)


def left(lab: Lab, folder: Path | None) -> Iterator[str]:
    """On the engine, among temporary files, in the run's folder."""
    yield from lab.left()
    yield from (str(path) for path in Path(lab.environment["TMPDIR"]).iterdir() if path.name != "cpus")
    if folder:
        yield from (str(path) for path in folder.rglob(".*"))


def unexplained(running: Running, folder: Path | None, *, killed: bool) -> Iterator[str]:
    """An end without a sentence of our own that says why; a driver that was `killed` has none."""
    code = running.process.returncode
    if code not in ({KILLED} if killed else ENDS):
        yield f"exit code {code}"
    if "Traceback" in running.error:
        yield "a traceback"
    ours = [line for line in running.error.splitlines() if line.startswith("lab: ")]
    if code in {Exit.SETUP, Exit.INTERRUPTED} and not ours:
        yield "no sentence"
    if code == Exit.INVALID and folder and not any(_reasons(folder)):
        yield "no reason of any slice or start"
    if folder and code != KILLED:
        status = json.loads((folder / "status.json").read_text())
        complete = status["ended"] == "complete"
        if complete != (code in {Exit.OK, Exit.INVALID}):
            yield f"status.json says {status['ended']}, the exit code {code}"


def _reasons(folder: Path) -> Iterator[str]:
    for kind in ("slices/*/slice.json", "starts/*/start.json"):
        for path in folder.glob(f"evidence/{kind}"):
            yield from json.loads(path.read_text())["reasons"]


def _sealed(path: Path) -> Sealed:
    record: dict[str, Any] = json.loads(path.read_text())
    plan, begins = record["plan"], record["before"]["wall_nsec"] / NSEC
    return Sealed(
        name=path.parent.name,
        cell=plan["cell"],
        round=plan["round"],
        valid=not record["reasons"],
        begins=begins + LOAD_BEGINS_SECONDS,
        ends=begins + plan["calls"] / plan["rate_per_s"] - LOAD_ENDS_EARLIER_SECONDS,
    )
