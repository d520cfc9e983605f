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
MOST_RATIO, RATIO_FROM = 250, 256 << 20  # unpacked over packed, where that is a lot: logs have 30
MOST_NAME = 240  # characters: what file systems take, with room for the folder that it goes to
PLAIN = re.compile(r"[A-Za-z0-9 @_+=:,~#()\[\]{}./-]+")
ENCRYPTED = 0x1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL_HEADER = 30  # bytes before a member's name, at the least


@contextmanager
def opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """The file, opened, its directory checked; anything that cannot be read as it says is bad input."""
    try:
        archive = zipfile.ZipFile(file)
    except FileNotFoundError as error:
        raise BadInputError(f"{file}: no such file") from error
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read: {error}") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise refused(file, f"damaged, or no archive: {error}") from error
    try:
        with archive:
            if problem := _problem(archive):
                raise refused(file, problem)
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise refused(file, f"damaged, or no archive: {error}") from error


def fits(name: str) -> bool:
    """Whether a file may be called so."""
    path = PurePosixPath(name)
    plain = PLAIN.fullmatch(name) and len(name) <= MOST_NAME
    return bool(plain) and not path.is_absolute() and ".." not in path.parts and str(path) == name


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
    if size > max(RATIO_FROM, MOST_RATIO * sum(member.compress_size for member in members)):
        return f"{size} bytes when unpacked, out of next to nothing"
    for member in members:
        if problem := _of_member(member):
            return f"{member.orig_filename[:MOST_NAME]!r}: {problem}"
    return _together(members, archive.start_dir)


def _of_member(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename  # as it is in there: the other one was cut at a NUL
    kind = stat.S_IFMT(member.external_attr >> 16)
    if not fits(name):
        return "a name that leaves its folder, is too long, or has odd characters"
    if kind not in {0, stat.S_IFREG}:
        return "a link, a folder or a device: only files are taken"
    if member.flag_bits & ENCRYPTED:
        return "encrypted"
    if member.compress_type not in METHODS:
        return f"compressed by method {member.compress_type}, where deflate is known"
    return ""


def _together(members: list[zipfile.ZipInfo], directory: int) -> str:
    """Names that are one on some file system; files within files; data of several (a bomb), or outside of the file."""
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
        if end > directory:
            return f"{member.orig_filename!r}: its data is not in the file"
    return ""
