"""What a count leaves as evidence: one folder a cell and fresh start, with a record and callgrind's own file. Pure."""

import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

FOLDER = "counts"  # of the evidence
RECORD = "count.json"
PROFILE = "callgrind.out.xz"  # as callgrind wrote it: xz -d, and KCachegrind opens it
DAMAGED = lzma.LZMAError  # what a profile that is none raises


@dataclass(frozen=True, slots=True)
class CountRecord:
    """One cell in one fresh start."""

    round: int
    cell: str
    parts: int  # requests that the worker has handled, each a part of the profile, the last ones being the counted
    parts_expected: int
    seconds: float  # from its fresh start to the end of its load
    reasons: tuple[str, ...] = ()  # why it does not count

    @property
    def id(self) -> str:
        """Name of its folder."""
        return f"r{self.round:02d}-{self.cell}"


@contextmanager
def profile(folder: Path) -> Iterator[TextIO]:
    """Callgrind's file, line by line."""
    with lzma.open(folder / PROFILE, "rt", encoding="utf-8", errors="replace") as lines:
        yield lines


def keep(content: bytes, folder: Path) -> None:
    """Callgrind's file, compressed: parts are so alike that the least level makes a hundredth of it."""
    (folder / PROFILE).write_bytes(lzma.compress(content, preset=1))
