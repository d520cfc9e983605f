"""A sealed run as one file, and back: the same run makes the same bytes, and every byte is accounted for.

A ZIP file with one folder, which is the run's. In it, beside the run's own files, `checksums.sha256` of all of them.
What Kamailio logged may be left out: the run's own manifest still lists it. docs/archive.md has the format.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab import store, untrusted
from lab.errors import BadInputError, SetupError

SUFFIX = ".kemi-lab.zip"
CHECKSUMS = "checksums.sha256"
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in it: the earliest that ZIP knows
RUN = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9_.+-]+")  # as lab.store names a run, and so never `latest`
LOG = re.compile(r"evidence/(.*/)?kamailio[^/]*\.log(\.gz)?")  # what Kamailio wrote, message by message
EVIDENCE = "evidence/"
MOST_SMALL = 64 << 20  # bytes that are read into memory
MOST_TOLD = 20  # differences
_PIECE = 1 << 20
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive, or a run's folder, has been found to hold."""

    run: str
    files: int
    size: int  # bytes, unpacked
    left_out: int  # logs that were sealed and are not there


def pack(run: Path, file: Path, *, logs: bool) -> Contents:
    """Write a sealed run to one file, whole or not at all; `logs`: with what Kamailio wrote.

    Raises BadInputError where the run is not sealed, or not as it was sealed any more.
    """
    sealed = _check_folder(run)
    names = [name for name in _names(run) if logs or not LOG.fullmatch(name)]
    if odd := [name for name in names if not untrusted.fits(f"{sealed.run}/{name}")]:
        raise BadInputError(f"{run}: an archive takes no such names: {', '.join(map(repr, odd))}")
    sums = "".join(f"{store.digest(run / name)}  {name}\n" for name in names)
    try:
        with store.atomically(file) as draft, zipfile.ZipFile(draft, "w") as archive:
            archive.writestr(_member(f"{sealed.run}/{CHECKSUMS}"), sums)
            for name in names:
                member = _member(f"{sealed.run}/{name}")
                member.file_size = (run / name).stat().st_size  # what is over 2 GiB has another form
                with (run / name).open("rb") as source, archive.open(member, "w") as target:
                    shutil.copyfileobj(source, target, _PIECE)
            archive.close()
            draft.flush()
            return _check_archive(Path(draft.name))  # before an older file gives way to it
    except OSError as error:
        raise SetupError(f"{file}: cannot be written: {error}", remedy="name another file: --output") from error


def verify(path: Path) -> Contents:
    """Check every byte of an archive, or of a run's folder; what differs is in the error's detail."""
    return _check_folder(path) if path.is_dir() else _check_archive(path)


def restore(file: Path, results: Path) -> Path:
    """Unpack an archive into the folder of results: checked, and whole or not at all. The run's folder."""
    with untrusted.opened(file) as archive, _draft(results) as draft:
        size = sum(member.file_size for member in archive.infolist())
        if size > (free := shutil.disk_usage(results).free):
            raise SetupError(f"{file}: {size} bytes when unpacked, and {free} are free", remedy="--results elsewhere")
        target = results / _run_of(file, archive)
        if target.exists():
            raise BadInputError(f"{target}: is there already", remedy="--results names another folder")
        _read(file, archive, draft)
        draft.chmod(0o755)
        draft.rename(target)
    return target


def run_of(file: Path) -> str:
    """The id of the run that an archive holds."""
    with untrusted.opened(file) as archive:
        return _run_of(file, archive)


def _check_archive(file: Path) -> Contents:
    with untrusted.opened(file) as archive:
        return _read(file, archive, None)


def _read(file: Path, archive: zipfile.ZipFile, target: Path | None) -> Contents:
    """Every member, compared with the list of checksums and the run's own seal; written below `target`, if given."""
    run = _run_of(file, archive)
    members = {member.filename.removeprefix(f"{run}/"): member for member in archive.infolist()}
    listed = _sums(file, CHECKSUMS, _small(file, archive, members, CHECKSUMS))
    found = {
        name: _copy(archive, member, target / name if target else None)
        for name, member in members.items()
        if name != CHECKSUMS  # it is the archive's, not the run's
    }
    _tell(file, _differences(listed, found))
    texts = {name: _small(file, archive, members, name) for name in (store.MANIFEST, store.STATUS)}
    left_out = _check_seal(file, run, texts, found)
    return Contents(run, len(found), sum(member.file_size for member in members.values()), left_out)


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path | None) -> str:
    """A member's checksum, while it is written to its place; empty where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with archive.open(member) as source, _file(target) as out:
            while piece := source.read(_PIECE):
                digest.update(piece)
                out.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return ""
    return digest.hexdigest()


@contextmanager
def _file(path: Path | None) -> Iterator[IO[bytes]]:
    """A new file, and its folders; without a path what is written goes nowhere."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
    with (path or Path(os.devnull)).open("xb" if path else "wb") as file:
        yield file


def _run_of(file: Path, archive: zipfile.ZipFile) -> str:
    """The one folder that everything lies in."""
    tops = {member.filename.partition("/")[0] for member in archive.infolist()}
    (run, *others) = sorted(tops)
    if others or not RUN.fullmatch(run) or f"{run}/{CHECKSUMS}" not in archive.NameToInfo:
        raise untrusted.refused(file, "no archive of a run")
    return run


def _small(file: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> str:
    """A member that is read into memory, as text."""
    if name not in members:
        raise untrusted.refused(file, f"{name}: missing")
    if members[name].file_size > MOST_SMALL:
        raise untrusted.refused(file, f"{name}: larger than {MOST_SMALL} bytes")
    try:
        return archive.read(members[name]).decode()
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise untrusted.refused(file, f"{name}: damaged: {error}") from error


def _check_folder(run: Path) -> Contents:
    """A run's folder against its own seal."""
    try:
        texts = {name: (run / name).read_text(encoding="utf-8") for name in (store.MANIFEST, store.STATUS)}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{run}: is not sealed: {error}", remedy="lab report RUN says how it has ended") from error
    names = _names(run)
    found = {name: store.digest(run / name) for name in names if name.startswith(EVIDENCE)}
    left_out = _check_seal(run, "", texts, found)
    size = sum((run / name).stat().st_size for name in names)
    return Contents(_run_that_is_sealed(run, texts[store.STATUS]), len(names), size, left_out)


def _check_seal(where: Path, run: str, texts: Mapping[str, str], found: Mapping[str, str]) -> int:
    """Evidence is what was sealed, but for logs that were left out: how many."""
    told = _run_that_is_sealed(where, texts[store.STATUS])
    if run and told != run:
        raise untrusted.refused(where, f"{store.STATUS}: is of run {told!r}, the folder is {run!r}")
    sealed = _sums(where, store.MANIFEST, texts[store.MANIFEST])
    evidence = {name: sha for name, sha in found.items() if name.startswith(EVIDENCE)}
    left_out = {name for name in sealed if name not in evidence and LOG.fullmatch(name)}
    kept = {name: sha for name, sha in sealed.items() if name not in left_out}
    _tell(where, _differences(kept, evidence))
    return len(left_out)


def _run_that_is_sealed(where: Path, text: str) -> str:
    """By its status; the id that it has there."""
    status = store.parse(store.Status, text.encode(), f"{where}: {store.STATUS}")
    store.require_known(status.schema_version, where)
    if status.status != "sealed" or not RUN.fullmatch(status.run):
        raise BadInputError(f"{where}: is not sealed: it is running, or its driver was killed")
    return status.run


def _sums(where: Path, name: str, text: str) -> dict[str, str]:
    """A list of checksums as sha256sum has it."""
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fits = _LINE.fullmatch(line)
        if not fits or fits[2] in sums or not untrusted.fits(fits[2]):
            raise untrusted.refused(where, f"{name}, line {number}: no checksum, or one twice")
        sums[fits[2]] = fits[1]
    return sums


def _differences(listed: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    yield from (f"missing: {name}" for name in sorted(listed.keys() - found.keys()))
    yield from (f"not listed: {name}" for name in sorted(found.keys() - listed.keys()))
    yield from (f"changed: {name}" for name in sorted(listed.keys() & found.keys()) if listed[name] != found[name])


def _tell(where: Path, differences: Iterable[str]) -> None:
    told = list(differences)
    if told:
        more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
        raise BadInputError(
            f"{where}: {len(told)} file{'s differ' if len(told) > 1 else ' differs'} from what was sealed",
            detail="\n".join([*told[:MOST_TOLD], *more]),
            remedy="take it again from where it came from",
        )


def _names(run: Path) -> list[str]:
    """Files of a run, seen from its folder; no drafts, and not the list that is made anew."""
    paths = [path for path in run.rglob("*") if not path.relative_to(run).parts[0].startswith(".")]
    if links := [path for path in paths if path.is_symlink()]:
        raise BadInputError(f"{links[0]}: is a link: a run has none, and nobody knows what belongs to it")
    names = (path.relative_to(run) for path in paths if path.is_file())
    return sorted(str(name) for name in names if str(name) != CHECKSUMS)


def _member(name: str) -> zipfile.ZipInfo:
    """With nothing in it that depends on when, where and by whom it is written."""
    member = zipfile.ZipInfo(name, EPOCH)
    member.create_system = 3  # Unix, wherever we are
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


@contextmanager
def _draft(results: Path) -> Iterator[Path]:
    """A folder beside its place; nothing is left of it when anything goes wrong."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=results, prefix=".restore-"))
    except OSError as error:
        raise SetupError(
            f"{results}: cannot write results: {error}", remedy="--results names another folder"
        ) from error
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
