"""The results folder: atomic writes, started -> sealed, a sha256 manifest, and `latest`."""

import copy
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lab import older
from lab.errors import BadInputError, SetupError

SCHEMA_VERSION = 3  # of all that a run's folder holds; docs/dataset.md says what the earlier ones were
LATEST = "latest"
STATUS = "status.json"
MANIFEST = "manifest.sha256"
# What is made of the evidence, and can be made again.
DERIVED = ("frames", "summary.json", "datapackage.json", "capacity.json", "counts.json", "report")
# Of parts of evidence: one that is being written, and several that are whole and have yet to get their names.
_DRAFT, _WHOLE = ".draft-", ".whole-"
T = TypeVar("T")
_adapters: dict[type, TypeAdapter[Any]] = {}


def dump(value: object, path: Path) -> None:
    """Write a model value as JSON, whole or not at all."""
    write_atomically(path, as_json(value))


def as_json(value: object) -> bytes:
    """A model value as text."""
    return bytes(_adapter(type(value)).dump_json(value, indent=1)) + b"\n"


def load(kind: type[T], path: Path) -> T:
    """Read back what `dump` wrote; a file that does not fit is named with the first fault."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: missing: this is no complete dataset") from error
    return parse(kind, content, str(path))


def parse(kind: type[T], content: bytes, name: str) -> T:
    """The same of what was read already, and is called so."""
    try:
        value = _adapter(kind).validate_json(_in_this_form(kind, content, name))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInputError(": ".join(filter(None, (name, place, first["msg"])))) from error
    return value


def _in_this_form(kind: type, content: bytes, name: str) -> bytes:
    """What an earlier version wrote, as this one would have."""
    upgrade = older.FORMS.get(kind)
    try:
        found = json.loads(content) if upgrade else None
    except (ValueError, RecursionError):  # the validator says better what is wrong
        return content
    if not upgrade or not isinstance(found, dict):
        return content
    try:
        upgraded = upgrade(found)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BadInputError(f"{name}: of an earlier version, and cannot be read as one: {error!r}") from error
    return content if upgraded is found else json.dumps(upgraded).encode()


def records(kind: type[T], parent: Path, name: str) -> Iterator[tuple[Path, T]]:
    """Each finished part of evidence with its record; a run that broke off before the first has none."""
    for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
        if not folder.name.startswith("."):
            yield folder, load(kind, folder / name)


def facts(path: Path) -> dict[str, Any]:
    """What a run says of itself where no model of ours is the form; BadInputError naming the file where it does not."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from error


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Making one takes longer than using it, so each is made once."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old file or the new one, never a part."""
    with atomically(path) as file:
        file.write(content)


@contextmanager
def atomically(path: Path) -> Iterator[IO[bytes]]:
    """A draft to write to, which takes its place at the end; nothing is left of it when anything goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_DRAFT, delete=False) as file:
        draft = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.chmod(0o644)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def copy_readable(source: Path, target: Path) -> None:
    """Copy a folder for other users' eyes: containers have users of their own, and a strict umask is no matter."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        runnable = path.is_dir() or os.access(source / path.relative_to(target), os.X_OK)
        path.chmod(0o755 if runnable else 0o644)


def digest(path: Path) -> str:
    """sha256 of a file's content, or of a folder's: names and content of all files in it."""
    if path.is_file():
        return _sha256(path)
    lines = "".join(f"{_sha256(file)}  {file.relative_to(path)}\n" for file in _files(path))
    return hashlib.sha256(lines.encode()).hexdigest()


class Run:
    """One run's folder while it is written. docs/results.md draws the layout."""

    def __init__(self, folder: Path) -> None:
        """`create` makes a new one."""
        self.folder = folder
        self.id = folder.name
        self.evidence = folder / "evidence"
        self._started = _now()
        self._resumed: tuple[Resumed, ...] = ()

    @classmethod
    def create(cls, results: Path, experiment: str) -> "Run":
        """Make a folder of its own for a run, marked as started, never yet as good."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        # What runs on the engine is known by this name alone, whichever folder a run's results lie in.
        folder = results / f"{stamp}-{experiment}-{secrets.token_hex(2)}"
        try:
            results.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            run = cls(folder)
            run.evidence.mkdir()
            run._status("started", ended_at=None, ended=None)
        except OSError as error:
            raise SetupError(
                f"{results}: cannot write results: {error}", remedy="give another folder: --results"
            ) from error
        return run

    @classmethod
    def reopen(cls, folder: Path, after: str) -> "Run":
        """One that has not come to its end, to go on with; `after` is the last slice that it has.

        What was derived of it so far is gone, as it would not fit any more; of its evidence nothing is.
        """
        run, before = cls(folder), status(folder)
        run._started = before.started_at
        run._resumed = (*before.resumed, Resumed(_now(), before.ended or "killed", after))
        run._status("started", ended_at=None, ended=None)
        run.mend()
        for name in (MANIFEST, *DERIVED):
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return run

    def below(self, name: str) -> "Run":
        """The same run for what has evidence of its own kind: it lies in a folder of that name."""
        within = copy.copy(self)
        within.evidence = self.evidence / name
        within.evidence.mkdir(exist_ok=True)
        return within

    @contextmanager
    def part(self, kind: str, name: str) -> Iterator[Path]:
        """A folder of evidence (a slice, a start) that appears whole, under its name, or not at all."""
        with self.parts(kind, [name]) as (folder,):
            yield folder

    @contextmanager
    def parts(self, kind: str, names: Sequence[str]) -> Iterator[list[Path]]:
        """Several of them: all or none, whatever happens, once `mend` has been called after a power cut."""
        parent = self.evidence / kind
        parent.mkdir(exist_ok=True)
        _sync([self.evidence])
        if written := next((name for name in names if (parent / name).exists()), None):
            raise FileExistsError(f"{parent / written}: evidence is never written over")
        draft = Path(tempfile.mkdtemp(dir=parent, prefix=_DRAFT))
        try:
            folders = [draft / name for name in names]
            for folder in folders:
                folder.mkdir()
            yield folders
            for folder in folders:
                folder.chmod(0o755)
            to_disk(draft)
            draft = draft.replace(draft.with_name(draft.name.replace(_DRAFT, _WHOLE, 1)))  # from here on they are
            _settle(draft)
        except BaseException:
            if draft.name.startswith(_DRAFT):
                shutil.rmtree(draft, ignore_errors=True)
            raise

    def mend(self) -> None:
        """After a driver that was killed: parts that were whole get their names, those that were not are gone."""
        for path in self.evidence.glob(f"**/{_WHOLE}*"):
            _settle(path)
        for path in [*self.evidence.glob(f"**/{_DRAFT}*"), *self.folder.glob(f"{_DRAFT}*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)  # it may lie in one that is gone

    def seal(self, ended: str, error: str = "") -> None:
        """Write the manifest, then the status, then move `latest`. Nothing under evidence/ changes afterwards."""
        self.mend()
        lines = [f"{_sha256(path)}  {path.relative_to(self.folder)}\n" for path in _files(self.evidence)]
        write_atomically(self.folder / MANIFEST, "".join(lines).encode())
        self._status("sealed", ended_at=_now(), ended=ended, error=error)
        link = self.folder.parent / f".{LATEST}-{self.id}"
        link.unlink(missing_ok=True)
        link.symlink_to(self.id)
        link.replace(self.folder.parent / LATEST)

    def _status(self, status: str, *, ended_at: str | None, ended: str | None, error: str = "") -> None:
        content = {
            "schema_version": SCHEMA_VERSION,
            "run": self.id,
            "status": status,
            "started_at": self._started,
            "ended_at": ended_at,
            "ended": ended,
            "error": error,
            "resumed": [asdict(one) for one in self._resumed],
        }
        write_atomically(self.folder / STATUS, (json.dumps(content, indent=1) + "\n").encode())


@dataclass(frozen=True, slots=True)
class Resumed:
    """That a run was gone on with: when, how it had ended before ("killed": not at all), and after which slice."""

    at: str
    ended: str
    after: str


@dataclass(frozen=True, slots=True)
class Status:
    """How a run says that it is: started or sealed; it has ended complete, failed, interrupted, or not at all."""

    run: str
    status: str
    ended: str | None
    schema_version: int = 1
    started_at: str = ""
    resumed: tuple[Resumed, ...] = ()

    @property
    def complete(self) -> bool:
        """It was sealed at its planned end."""
        return self.status == "sealed" and self.ended == "complete"


def status(folder: Path) -> Status:
    """What a run's folder says of itself."""
    found = load(Status, folder / STATUS)
    require_known(found.schema_version, folder / STATUS)
    return found


def can_go_on(folder: Path) -> bool:
    """Whether a run has got as far as a testbed: then it has all that it was begun with."""
    return (folder / "evidence" / "testbed" / "override.yaml").is_file()


def require_known(version: int, path: Path) -> None:
    """Raise BadInputError for a file of a version that is yet to come."""
    if version > SCHEMA_VERSION:
        problem = f"{path}: schema version {version}: this kemi-lab reads up to {SCHEMA_VERSION}"
        raise BadInputError(problem, remedy="a newer kemi-lab")


def find(results: Path, run: str) -> Path:
    """The folder that RUN means: a path, an id in `results`, or `latest`."""
    for candidate in (results / run, Path(run)):
        if (candidate / STATUS).is_file():
            status(candidate)  # of a version to come nothing else may be read as it would be here
            return candidate.resolve()
    known = sorted(path.parent.name for path in results.glob(f"*/{STATUS}") if not path.parent.is_symlink())
    remedy = f"runs in {results}: {', '.join(known[-5:])}" if known else f"{results} holds no run yet: lab run FILE"
    raise BadInputError(f"no run {run!r}", remedy=remedy)


def _settle(whole: Path) -> None:
    """Parts that are whole get their names, beside the folder that they lie in."""
    _sync([whole.parent])
    for folder in sorted(whole.iterdir()):
        folder.replace(whole.parent / folder.name)
    whole.rmdir()
    _sync([whole.parent])


def to_disk(folder: Path) -> None:
    """Written for good, with all that is in it, so that a power cut takes nothing of it."""
    _sync([*_files(folder), *(path for path in folder.rglob("*") if path.is_dir()), folder])


def _sync(paths: Iterable[Path]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
