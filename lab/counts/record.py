"""What a count leaves as evidence: one folder a cell and fresh start, with a record and callgrind's own file. Pure."""

import lzma
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.errors import BadInputError
from lab.model import nth

FOLDER = "counts"  # of the evidence
RECORD = "count.json"
PROFILE = "callgrind.out.xz"  # as callgrind wrote it: xz -d, and KCachegrind opens it
# A profile may come from anybody.
MOST_MEMORY = 64 << 20  # bytes, of the decompressor
MOST_BYTES = 2 << 30  # of a profile
PIECE = 1 << 20  # bytes, of which a line has fewer


@dataclass(frozen=True, slots=True)
class CountRecord:
    """One cell in one fresh start."""

    round: int
    cell: str
    parts: int  # requests that the worker has handled, each a part of the profile, the last ones being the counted
    parts_expected: int
    seconds: float  # from its fresh start until its profile was there
    legs: tuple[str, ...] = ()  # of a call, in the order in which its requests came
    reasons: tuple[str, ...] = ()  # why it does not count
    attempt: int = 1  # a run that is gone on with tries again what has failed

    @property
    def id(self) -> str:
        """Name of its folder."""
        return nth(f"r{self.round:02d}-{self.cell}", self.attempt)


@contextmanager
def profile(folder: Path) -> Iterator[Iterator[str]]:
    """Callgrind's file, line by line; BadInputError where it is none, or more than anybody's memory is for."""
    path = folder / PROFILE
    try:
        with path.open("rb") as file:
            yield _lines(file)
    except (OSError, EOFError, lzma.LZMAError, BadInputError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from error


def _lines(file: IO[bytes]) -> Iterator[str]:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY)
    rest, read = b"", 0
    while not decompressor.eof:
        packed = file.read(PIECE) if decompressor.needs_input else b""
        if decompressor.needs_input and not packed:
            raise EOFError("it ends too early")
        piece = decompressor.decompress(packed, max_length=PIECE)
        read += len(piece)
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > PIECE or read > MOST_BYTES:
            raise BadInputError("it has more, or longer lines, than a profile of ours")
        yield from (f"{line.decode(errors='replace')}\n" for line in whole)
    if rest:
        yield rest.decode(errors="replace")


def keep(content: IO[bytes], folder: Path) -> None:
    """Callgrind's file, compressed: parts are so alike that the least level makes some fiftieth of it."""
    with lzma.open(folder / PROFILE, "wb", preset=1) as kept:
        shutil.copyfileobj(content, kept, PIECE)
