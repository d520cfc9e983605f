"""What a gate compares: a base and a candidate, as somebody names them at a shell.

Both are of one kind, a value of one factor of an experiment: a release, a source tree or tarball, a folder of routing
scripts or one script, a configuration. PATH@COMMIT is what a path of a git repository was at a commit.
"""

import re
import shutil
import tarfile
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from lab import images, planted, process, store, versions
from lab.errors import BadInputError, SetupError
from lab.experiment import Experiment
from lab.gate import NAMES
from lab.images import Recipe
from lab.planted import PlantError, Routing
from lab.runner import CONFIGURATION

_KINDS = (
    "a release (6.0.1), a source tree or tarball, a folder of routing scripts, a script, or a configuration (.cfg); "
    "PATH@COMMIT is any of them as a git repository had it"
)
_COMMIT = "name a commit, a tag or a branch of the repository that the path lies in"


class Kind(StrEnum):
    """The factor that the two differ in."""

    RELEASE = "release"
    SOURCE = "source"
    ROUTING = "routing"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class Pair:
    """Both, ready to be measured: the experiment with them as its one factor, and the Kamailios that are given."""

    experiment: Experiment
    kind: Kind
    base: str  # cells
    candidate: str
    given: dict[str, Recipe] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Named:
    """One of the two: as it was named, and where it lies now; nowhere, if it is a release or a routing of ours."""

    text: str
    path: Path | None

    @property
    def kind(self) -> Kind:
        """What it is; BadInputError where it is nothing."""
        if self.path is None:
            return Kind.RELEASE if versions.load().release(self.text) else Kind.ROUTING
        if (self.path / "src" / "Makefile.defs").is_file():
            return Kind.SOURCE
        if self.path.is_dir():
            return Kind.ROUTING
        if not self.path.is_file():
            raise BadInputError(f"{self.text}: nothing that can be compared", remedy=f"name {_KINDS}")
        if tarfile.is_tarfile(self.path):
            return Kind.SOURCE
        return Kind.CONFIGURATION if _is_common(self.path) else Kind.ROUTING


def pair(asked: Experiment, base: str, candidate: str, engine: str, folder: Path) -> Pair:
    """Turn two names into an experiment that compares them with one engine; copies go into `folder`.

    Everything else, its rounds and limits included, is the asked experiment's.
    """
    if asked.keys.specimen:
        raise asked.fault("specimen", "is shown as found, and never a result: nothing can be judged by it")
    known = list(dict.fromkeys(name for release in versions.load().kamailio.values() for name in release.engines))
    if engine not in known:
        raise BadInputError(f"--engine {engine}: no such engine", remedy=f"there are: {', '.join(known)}")
    both: dict[str, _Named] = {}
    kinds: list[Kind] = []
    for name, text in zip(NAMES, (base, candidate), strict=True):
        try:
            both[name] = _found(text, folder / f"{name}-at-commit")
            kinds.append(both[name].kind)
        except OSError as error:
            raise BadInputError(f"{text}: cannot be read: {error}") from error
    kind = kinds[0]
    if kind != kinds[1]:
        problem = f"{base} is a {kinds[0]} and {candidate} a {kinds[1]}: they do not differ in one thing"
        raise BadInputError(problem, remedy="name two of a kind")
    given: dict[str, Recipe] = {}
    places: dict[str, Path] = {}
    if kind == Kind.RELEASE:
        given = {name: images.kamailio(named.text) for name, named in both.items()}
    elif kind == Kind.SOURCE:
        given = {name: images.kamailio_from(named.path) for name, named in both.items() if named.path}
    elif kind == Kind.ROUTING:
        places = {f"./{name}": _routing(named, folder / name, engine) for name, named in both.items()}
    else:
        files = {name: named.path for name, named in both.items() if named.path}
        places = {f"./{name}.cfg": _copy(path, folder / f"{name}.cfg") for name, path in files.items()}
    cells = [f"{engine}-{name}" for name in NAMES]
    factor = {kind.value: list(places)} if places else {}
    keys = replace(asked.keys, engines=[engine], baseline=cells[0], **factor)  # type: ignore[arg-type]
    return Pair(replace(asked, keys=keys, places=places), kind, cells[0], cells[1], given)


def _found(text: str, folder: Path) -> _Named:
    if versions.load().release(text) or (_is_ours(text) and not Path(text).exists()):
        return _Named(text, None)
    path, _, commit = text.rpartition("@")
    if path and commit and not Path(text).exists():
        return _Named(text, _at_commit(text, Path(path).absolute(), commit, folder))
    return _Named(text, Path(text))


def _is_ours(text: str) -> bool:
    return re.fullmatch(r"[\w-]+", text) is not None and (CONFIGURATION / planted.split(text)[0]).is_dir()


def _is_common(path: Path) -> bool:
    """A configuration; native's own routing script is a .cfg as well, but has a request_route and loads no module."""
    if path.suffix != ".cfg":
        return False
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    words = {name: re.search(rf"^\s*{name}\b", text, re.MULTILINE) for name in ("loadmodule", "request_route")}
    return bool(words["loadmodule"]) or not words["request_route"]


def _at_commit(text: str, path: Path, commit: str, folder: Path) -> Path:
    """A copy of a path as a commit of its repository has it; BadInputError where that has no such thing."""
    folder.mkdir()
    tarball, tree = folder / "archive.tar", folder / "tree"
    if commit.startswith("-"):
        raise BadInputError(f"{text}: {commit!r} is no commit", remedy=_COMMIT)
    try:
        # The path's own last part may be a link, and another one then: it is followed there, not here.
        inside = path.parent.resolve() if path.name else path
        top = process.run(
            ["git", "-C", str(_nearest(path, inside)), "rev-parse", "--show-toplevel"], what="git rev-parse"
        )
        # All of it: what the path has may be a link to what lies beside it.
        archive = ["git", "-C", top, "archive", "--format=tar", f"--output={tarball}", commit]
        process.run(archive, what=f"git archive of {commit}")
        tree.mkdir()
        # Not by tarfile, whose filters Python 3.11 has from its fourth release on only.
        process.run(["tar", "-xf", str(tarball), "-C", str(tree)], what="tar")
        found = tree / (inside / path.name).relative_to(Path(top).resolve())
        there = found.resolve().is_relative_to(tree.resolve()) and found.exists()
    except (SetupError, OSError, ValueError) as error:
        detail = error.detail if isinstance(error, SetupError) else ""
        raise BadInputError(f"{text}: {error}", detail=detail, remedy=_COMMIT) from error
    if not there:
        raise BadInputError(f"{text}: {commit} has no such file or folder", remedy=_COMMIT)
    return found.resolve()


def _nearest(path: Path, inside: Path) -> Path:
    """Where to ask git from: the path itself, if it is the top of a repository."""
    return path if (path / ".git").exists() else inside


def _copy(path: Path, copy: Path) -> Path:
    """Of a file or a folder; what cannot be read is the user's, and named."""
    try:
        if path.is_dir():
            store.copy_readable(path, copy)
        else:
            shutil.copyfile(path, copy)
    except (OSError, shutil.Error) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from error
    return copy


def _routing(named: _Named, copy: Path, engine: str) -> Path:
    """A copy of a folder; of a single script a folder with that alone, called as the engine's script is to be."""
    if named.path is None:
        base, usec = planted.split(named.text)
        try:
            planted.check(CONFIGURATION / base, [engine] if usec else [])
        except PlantError as error:
            raise BadInputError(f"{named.text}: {error}") from error
        planted.place(Routing(CONFIGURATION / base, usec), copy)
    elif named.path.is_dir():
        _copy(named.path, copy)
    else:
        ours = planted.script_of(CONFIGURATION / "parity", engine)
        if ours and ours.suffix != named.path.suffix:
            problem = f"{named.text}: a script of engine {engine} is a {ours.suffix}"
            raise BadInputError(problem, remedy="--engine names the engine that yours is for")
        copy.mkdir()
        _copy(named.path, copy / f"{engine}{named.path.suffix}")
    if planted.script_of(copy, engine) is None:
        there = ", ".join(sorted(path.name for path in copy.iterdir())) or "nothing"
        raise BadInputError(f"{named.text} has no script for engine {engine}", remedy=f"it has {there}: docs/gate.md")
    return copy
