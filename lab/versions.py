"""images/versions.toml: the facts about everything that the lab builds, read from the one place that has them."""

import tomllib
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lab.errors import BadInputError

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "images" / "versions.toml"

UNOPTIMISED = "-unoptimised"  # behind a release's name

_REMEDY = "git diff shows what has changed in it"
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Engine:
    """A routing engine: what brings it, what compiles that, and where it can be had."""

    modules: list[str] = Field(default_factory=list)  # with a "?": where the release has it
    packages: list[str] = Field(default_factory=list)
    suites: list[str] | None = None  # None: every suite


@dataclass(frozen=True, config=_STRICT)
class Line:
    """A range of versions, of a suite that moves."""

    at_least: str
    below: str


@dataclass(frozen=True, config=_STRICT)
class Patches:
    """Patches of the suite's own source package, which make a build a variant of the release."""

    tarball: str
    tarball_sha256: str
    names: str  # a glob over its series
    why: str


@dataclass(frozen=True, config=_STRICT)
class Kamailio:
    """One release: the suite that it is built on, its source, and what it can do."""

    suite: str
    source_package: str
    tarball: str
    tarball_sha256: str
    engines: list[str]
    line: Line | None = None
    patches: Patches | None = None
    # Engine, or routing/engine -> what it cannot do, as docs/engines has it.
    broken: dict[str, str] = Field(default_factory=dict)
    ends: dict[str, int] = Field(default_factory=dict)  # engine -> Kamailio's exit code, where its end fails

    @property
    def variant(self) -> str:
        """How the build differs from the release; nothing where it does not."""
        patches = self.patches
        return f"with {patches.names} of {patches.tarball}: {patches.why}" if patches else ""


@dataclass(frozen=True)
class Build:
    """A release as it is compiled: as all are, or as its own make does."""

    facts: Kamailio
    optimised: bool

    @property
    def variant(self) -> str:
        """How it differs from the release, and from how others are compiled; nothing where it does not."""
        own = "" if self.optimised else "compiled without optimisation, as its own make does"
        return "; ".join(filter(None, (self.facts.variant, own)))


@dataclass(frozen=True, config=_STRICT)
class Database:
    """A server; the exact version of its line moves with the suite and is recorded, not pinned."""

    suite: str
    package: str
    line: str


@dataclass(frozen=True, config=_STRICT)
class Sipp:
    """The load generator."""

    suite: str
    source_package: str
    tarball: str
    tarball_sha256: str


@dataclass(frozen=True, config=_STRICT)
class Probes:
    """bpftrace and perf, of whatever version the suite has."""

    suite: str


@dataclass(frozen=True, config=_STRICT)
class Versions:
    """The whole file. The first release of each kind is the default."""

    modules: list[str]
    optimisation: str  # of Kamailio's code, for the compiler
    engine: dict[str, Engine]
    kamailio: dict[str, Kamailio]
    database: dict[str, Database]
    sipp: dict[str, Sipp]
    probes: Probes

    @property
    def default_kamailio(self) -> str:
        """The release that an experiment means when it names none."""
        return next(iter(self.kamailio))

    def release(self, name: str) -> Build | None:
        """A release by its name, also as its own make compiles it; None where there is none of that name."""
        known = self.kamailio.get(name.removesuffix(UNOPTIMISED))
        return Build(known, optimised=not name.endswith(UNOPTIMISED)) if known else None

    def engines_on(self, suite: str) -> list[str]:
        """Engines that can be compiled on a suite, whatever the release."""
        return [name for name, facts in self.engine.items() if facts.suites is None or suite in facts.suites]


@cache
def load() -> Versions:
    """The facts."""
    return read(FILE)


def read(path: Path) -> Versions:
    """BadInputError names the file, and every key that is not as it must be."""
    try:
        found = TypeAdapter(Versions).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise BadInputError(f"{path}: {'; '.join(told)}", remedy=_REMEDY) from error
    except (OSError, ValueError, RecursionError) as error:  # tomllib's is a ValueError
        raise BadInputError(f"{path}: {error}", remedy=_REMEDY) from error
    for what in ("kamailio", "database", "sipp"):
        if not getattr(found, what):
            raise BadInputError(f"{path}: {what}: there is none")
    return found
