"""A slice's log as it is kept: compressed once the slice is judged, and read as a stream of any length."""

import gzip
import shutil
from io import BufferedIOBase
from pathlib import Path

NAME = "kamailio.log"
KEPT = f"{NAME}.gz"
RAW = "kamailio-raw.log.gz"  # where the log is not what Kamailio wrote: that


def place(folder: Path) -> Path:
    """Where a slice's log lies, or should; runs of early versions have it as it was."""
    plain = folder / NAME
    return plain if plain.exists() else folder / KEPT


def opened(path: Path) -> BufferedIOBase:
    """To be read, decompressed where it is compressed. What is damaged raises OSError, EOFError or zlib.error."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def compress(folder: Path) -> None:
    """Keep a slice's log as KEPT alone: the same log makes the same bytes."""
    log = folder / NAME
    with (
        log.open("rb") as lines,
        (folder / KEPT).open("wb") as file,
        # The least level: the next slice waits for it, and lines so alike shrink to a tenth by any.
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as kept,
    ):
        shutil.copyfileobj(lines, kept, 1 << 20)
    log.unlink()
