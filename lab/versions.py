"""images/versions.toml: the facts about everything that the lab builds, read from the one place that has them."""

import tomllib
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "images" / "versions.toml"

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Kamailio:
    """One release: the suite that it is built on, its source, and what it can do."""

    suite: str
    source_package: str
    tarball: str
    tarball_sha256: str
    engines: list[str]
    modules: list[str]


@dataclass(frozen=True, config=_STRICT)
class Mysql:
    """One release line; the exact version moves with the suite and is recorded, not pinned."""

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
class Versions:
    """The whole file. The first release of each kind is the default."""

    kamailio: dict[str, Kamailio]
    mysql: dict[str, Mysql]
    sipp: dict[str, Sipp]

    @property
    def default_kamailio(self) -> str:
        """The release that an experiment means when it names none."""
        return next(iter(self.kamailio))


@cache
def load() -> Versions:
    """The facts; a fault in the file is a defect of ours, so it is not dressed up."""
    return TypeAdapter(Versions).validate_python(tomllib.loads(FILE.read_text(encoding="utf-8")))
