"""An experiment file (TOML), read and checked before anything starts: every fault names file, line and key."""

import difflib
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked
from pydantic_core import ErrorDetails

from lab.errors import BadInputError
from lab.model import Limits

Positive = Annotated[int, Field(gt=0, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]
CpuList = Annotated[str, Field(pattern=r"^\d+(-\d+)?(,\d+(-\d+)?)*$")]
_STRICT = ConfigDict(extra="forbid")
_DEFAULT = Limits()


@checked(frozen=True, config=_STRICT)
class CpuLists:
    """CPUs of each role, in the kernel's list form ("0-1,3"). SIPp and MySQL may share; Kamailio had better not."""

    kamailio: CpuList
    mysql: CpuList
    sipp: CpuList
    driver: CpuList


@checked(frozen=True, config=_STRICT)
class LimitKeys:
    """How far a slice may stray before it is invalid: see docs/validity.md."""

    retransmissions: Count = _DEFAULT.retransmissions
    rate_tolerance: Share = _DEFAULT.rate_tolerance
    clock_drift_usec: Positive = _DEFAULT.clock_drift_usec
    steal_share: Share = _DEFAULT.steal_share
    run_delay_share: Share = _DEFAULT.run_delay_share


@checked(frozen=True, config=_STRICT)
class Keys:
    """The keys of an experiment file. docs/experiments.md explains each."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
    engines: Annotated[list[str], Field(min_length=1)]
    baseline: str
    rounds: Positive
    slices: Positive
    slice_seconds: Annotated[float, Field(gt=0, le=600)]
    rate_per_s: Positive
    kamailio: str = ""
    routing: str | list[str] = "parity"
    configuration: str = ""
    scenario: str = "register"
    warmup_slices: Count = 1
    repeats: Count = 2
    children: Literal["auto"] | Positive = "auto"
    subscribers: Positive = 10
    seed: Count = 1
    cpus: Literal["auto", "shared"] | CpuLists = "auto"
    limits: LimitKeys = Field(default_factory=LimitKeys)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A checked experiment, with the file that it came from (paths in it are relative to that)."""

    keys: Keys
    path: Path
    text: str

    @property
    def routings(self) -> tuple[str, ...]:
        """One routing as a rule; a list makes it a factor."""
        return (self.keys.routing,) if isinstance(self.keys.routing, str) else tuple(self.keys.routing)

    @property
    def limits(self) -> Limits:
        """The limits as the domain's value."""
        return Limits(**{f.name: getattr(self.keys.limits, f.name) for f in fields(Limits)})

    def resolve(self, name: str) -> Path:
        """A path of the file, seen from where the file lies."""
        return (self.path.parent / name).resolve()

    def fault(self, key: str, problem: str, remedy: str = "") -> BadInputError:
        """An error that points at a key of this file."""
        return _fault(self.path, self.text, (key,), problem, remedy)


def read(path: Path) -> Experiment:
    """Read and check an experiment file; raise BadInputError naming file, line and key otherwise."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError as error:
        known = ", ".join(sorted(str(p) for p in Path("experiments").glob("*.toml")))
        raise BadInputError(
            f"{path}: no such experiment file", remedy=f"there are: {known}" if known else ""
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{path}: not valid TOML: {error}") from error
    try:
        keys = TypeAdapter(Keys).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise _explain(path, text, first) from error
    return Experiment(keys, path, text)


def _explain(path: Path, text: str, error: ErrorDetails) -> BadInputError:
    location = tuple(str(part) for part in error["loc"] if isinstance(part, int) or part in _known_words(error, text))
    key = location[0] if location else str(error["loc"][0])
    if error["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = [f.name for owner in (Keys, LimitKeys, CpuLists) for f in fields(owner)]
        near = difflib.get_close_matches(location[-1], known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(f.name for f in fields(Keys))}"
        return _fault(path, text, location, "unknown key", remedy)
    if error["type"] in {"missing", "missing_argument"}:
        return BadInputError(f"{path}: key '{error['loc'][-1]}' is missing", remedy="see docs/experiments.md")
    shown = f", not {error['input']!r}"
    return _fault(path, text, location or (key,), error["msg"][0].lower() + error["msg"][1:] + shown)


def _known_words(error: ErrorDetails, text: str) -> set[str]:
    """Those parts of pydantic's location that stand in the file (it adds names of union members)."""
    return {part for part in error["loc"] if isinstance(part, str) and re.search(rf"\b{re.escape(part)}\b", text)}


def _fault(path: Path, text: str, location: tuple[str, ...], problem: str, remedy: str = "") -> BadInputError:
    names = [part for part in location if not part.isdigit()]
    line = 0
    for number, content in enumerate(text.splitlines(), start=1):
        if names and re.match(rf"\s*\[?{re.escape(names[-1])}\b", content):
            line = number
            break
    where = f"{path}:{line}" if line else str(path)
    return BadInputError(f"{where}: {'.'.join(location)}: {problem}", remedy=remedy)
