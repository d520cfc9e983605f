"""A ZIP file that somebody has sent: what is in it, once nothing about it can do harm.

Nothing is unpacked here. What is refused, and why: docs/archive.md. Sizes are those that the directory declares;
zipfile reads no byte beyond them, and compares the checksum that is declared.
"""

import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lab.errors import BadInputError

MOST_FILES = 200_000
MOST_BYTES = 64 << 30  # unpacked, all of it
MOST_NAME = 240  # characters: what file systems take, with room for the folder that it goes to
PLAIN = re.compile(r"[A-Za-z0-9 @_+=:,~#()\[\]{}./-]+")
ENCRYPTED = 0x1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL_HEADER = 30  # bytes before a member's name, at the least


@contextmanager
def opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """The file, opened, its directory checked; anything that cannot be read as it says is bad input."""
    try:
        with zipfile.ZipFile(file) as archive:
            if problem := _problem(archive):
                raise refused(file, problem)
            yield archive
    except FileNotFoundError as error:
        raise BadInputError(f"{file}: no such file") from error
    except IsADirectoryError as error:
        raise BadInputError(f"{file}: is a folder, not an archive") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise refused(file, f"damaged, or no archive: {error}") from error


def refused(file: Path, problem: str) -> BadInputError:
    """What is said of every archive that is not as `lab archive` makes it."""
    return BadInputError(f"{file}: {problem}", remedy="take the archive again from where it came from")


def _problem(archive: zipfile.ZipFile) -> str:
    """The first thing that is wrong with the directory; empty if nothing is."""
    members = archive.infolist()
    if not members:
        return "empty"
    if len(members) > MOST_FILES:
        return f"{len(members)} files: at most {MOST_FILES} are taken"
    size = sum(member.file_size for member in members)
    if size > MOST_BYTES:
        return f"{size} bytes when unpacked: at most {MOST_BYTES} are taken"
    for member in members:
        if problem := _of_member(member):
            return f"{member.orig_filename[:MOST_NAME]!r}: {problem}"
    return _together(members)


def _of_member(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename  # as it is in there: the other one was cut at a NUL
    path = PurePosixPath(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if not PLAIN.fullmatch(name) or len(name) > MOST_NAME:
        return "a name with odd characters, or too long"
    if path.is_absolute() or ".." in path.parts or str(path) != name:
        return "leaves its folder, or is no plain path"
    if kind not in {0, stat.S_IFREG}:
        return "a link, a folder or a device: only files are taken"
    if member.flag_bits & ENCRYPTED:
        return "encrypted"
    if member.compress_type not in METHODS:
        return f"compressed by method {member.compress_type}, where deflate is known"
    return ""


def _together(members: list[zipfile.ZipInfo]) -> str:
    """Names that are one on some file system; files within files; data that serves several of them (a bomb)."""
    seen: set[str] = set()
    for member in members:
        name = member.orig_filename.casefold()
        if name in seen:
            return f"{member.orig_filename!r}: twice"
        seen.add(name)
    for member in members:
        for parent in PurePosixPath(member.orig_filename.casefold()).parents:
            if str(parent) in seen:
                return f"{member.orig_filename!r}: lies in what is a file"
    end = 0
    for member in sorted(members, key=lambda one: one.header_offset):
        if member.header_offset < end:
            return f"{member.orig_filename!r}: shares its data with another one"
        end = member.header_offset + _LOCAL_HEADER + len(member.orig_filename) + member.compress_size
    return ""
