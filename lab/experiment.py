"""An experiment file (TOML), read and checked before anything starts: every fault names file, line and key."""

import difflib
import re
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked
from pydantic_core import ErrorDetails

from lab import topology, versions
from lab.errors import BadInputError
from lab.model import Limits, Specimen
from lab.observation import LOG, WAYS
from lab.search import Parameters


def _cpu_list(text: str) -> str:
    topology.parse_list(text)
    return text


def _routing(text: str) -> str:
    if Path(text).name in {"", ".."}:  # the run's own copy is called by that name
        raise ValueError("a routing of ours, or the path of a folder by its name,")
    return text


def _database(text: str) -> str:
    known = versions.load().database
    if text not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return text


def _observe(text: str) -> str:
    if text not in WAYS:
        raise ValueError(f"one of {', '.join(WAYS)}")
    return text


Positive = Annotated[int, Field(gt=0, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Part = Annotated[float, Field(gt=0, lt=1, strict=True)]
Growth = Annotated[float, Field(gt=0, le=10, strict=True)]
Processes = Annotated[int, Field(gt=0, le=9, strict=True)]  # each has a digit in its Call-IDs
CpuList = Annotated[str, AfterValidator(_cpu_list)]
Routing = Annotated[str, AfterValidator(_routing)]
Database = Annotated[str, AfterValidator(_database)]
Observe = Annotated[str, AfterValidator(_observe)]
Memory = Literal["qm", "fm", "tlsf"]
Seconds = Annotated[float, Field(gt=0, le=600, strict=True)]
_CARRIED_OUT, _SEED = "# as carried out by: ", ", with seed "
_STRICT = ConfigDict(extra="forbid")
_DEFAULT = Limits()
_SPECIMEN = Specimen()
_SEARCH = Parameters()


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
    foreign_cpu_share: Share = _DEFAULT.foreign_cpu_share
    run_delay_share: Share = _DEFAULT.run_delay_share


@checked(frozen=True, config=_STRICT)
class SearchKeys:
    """How the highest rate without a failure is searched: see docs/capacity.md."""

    start_per_s: Positive = _SEARCH.start_per_s
    growth: Growth = _SEARCH.growth
    resolution: Part = _SEARCH.resolution
    back_off: Part = _SEARCH.back_off
    tries: Positive = _SEARCH.tries
    confirmations: Positive = _SEARCH.confirmations
    step_seconds: Seconds = _SEARCH.step_seconds
    step_calls: Positive = _SEARCH.step_calls
    steps: Positive = _SEARCH.steps


@checked(frozen=True, config=_STRICT)
class SpecimenKeys:
    """Conditions of another experiment that break this lab's own rules: see docs/experiments.md."""

    order: Literal["interleaved", "in turn"] = _SPECIMEN.order
    call_limit: Positive | None = _SPECIMEN.call_limit
    sipp_cpu_shares: Positive = _SPECIMEN.sipp_cpu_shares
    sipp_buffer_bytes: Positive | None = _SPECIMEN.sipp_buffer_bytes


@checked(frozen=True, config=_STRICT)
class StopKeys:
    """When a run may stop before its last round: see docs/statistics.md."""

    looks: list[Positive]
    half_width: Part | None = None


@checked(frozen=True, config=_STRICT)
class Keys:
    """The keys of an experiment file. docs/experiments.md explains each."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
    engines: Annotated[list[str], Field(min_length=1)]
    baseline: str
    rounds: Positive
    slices: Positive
    slice_seconds: Seconds | Annotated[list[Seconds], Field(min_length=1)]
    rate_per_s: Literal["auto"] | Positive | Annotated[list[Positive], Field(min_length=1)]
    kamailio: str | Annotated[list[str], Field(min_length=1)] = ""
    routing: Routing | Annotated[list[Routing], Field(min_length=1)] = "parity"
    database: Database | Annotated[list[Database], Field(min_length=1)] = "mysql"
    scenario: str | Annotated[list[str], Field(min_length=1)] = "register"
    memory: Memory | Annotated[list[Memory], Field(min_length=1)] = "qm"
    observe: Observe | Annotated[list[Observe], Field(min_length=1)] = LOG
    configuration: str | Annotated[list[str], Field(min_length=1)] = ""
    warmup_slices: Count = 1
    repeats: Count = 4
    children: Literal["auto"] | Positive | Annotated[list[Positive], Field(min_length=1)] = "auto"
    subscribers: Positive | Annotated[list[Positive], Field(min_length=1)] = 10
    rate_share: Part = 0.35
    sipp_processes: Processes = 1
    seed: Count = 1
    cpus: Literal["auto", "nuc", "isolated", "shared"] | CpuLists = "auto"
    keep_awake: Annotated[bool, Field(strict=True)] = False
    turn_msec: Annotated[int, Field(ge=0, le=1000, strict=True)] = 0
    limits: LimitKeys = Field(default_factory=LimitKeys)
    search: SearchKeys = Field(default_factory=SearchKeys)
    stop: StopKeys | None = None
    specimen: SpecimenKeys | None = None


_TABLES = {
    "limits": LimitKeys,
    "cpus": CpuLists,
    "search": SearchKeys,
    "stop": StopKeys,
    "specimen": SpecimenKeys,
}
_KEYS = {f.name for owner in (Keys, *_TABLES.values()) for f in fields(owner)}
_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}
_MISSING = {"missing", "missing_argument"}
_WORDS = {  # where pydantic's would not help
    "dataclass_type": "a table",
    "too_short": "a list with something in it",
    "string_type": "a string",
    "string_pattern_mismatch": "a word of small letters, digits and '-'",
    "string_too_long": "a shorter word",
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """A checked experiment, with the file that it came from (paths in it are relative to that)."""

    keys: Keys
    path: Path
    text: str
    places: dict[str, Path] = field(default_factory=dict)  # of names that do not lie beside the file

    def factor(self, key: str) -> tuple[Any, ...]:
        """Values of a key that may have one or, as a factor of the experiment, several: each of its declared type."""
        value = getattr(self.keys, key)
        return tuple(value) if isinstance(value, list) else (value,)

    @property
    def limits(self) -> Limits:
        """The limits as the domain's value."""
        return Limits(**{f.name: getattr(self.keys.limits, f.name) for f in fields(Limits)})

    @property
    def search(self) -> Parameters:
        """Likewise."""
        return Parameters(**{f.name: getattr(self.keys.search, f.name) for f in fields(Parameters)})

    @property
    def specimen(self) -> Specimen | None:
        """Likewise."""
        asked = self.keys.specimen
        return Specimen(**{f.name: getattr(asked, f.name) for f in fields(Specimen)}) if asked else None

    def resolve(self, name: str) -> Path:
        """A path of the file, seen from where the file lies."""
        return self.places.get(name) or (self.path.parent / name).resolve()

    def fault(self, key: str, problem: str, remedy: str = "") -> BadInputError:
        """An error that points at a key of this file."""
        return _fault(self.path, self.text, (key,), problem, remedy)


def carried_out(command: Sequence[str], seed: int, text: str) -> str:
    """An experiment's text, above it the command line that had a part in it, and the seed of this run of it."""
    return f"{_CARRIED_OUT}{shlex.join(command)}{_SEED}{seed}\n{text}"


def command_of(text: str) -> list[str]:
    """That command; nothing where the text stands for itself."""
    first = text.partition("\n")[0]
    return shlex.split(first.removeprefix(_CARRIED_OUT).rpartition(_SEED)[0]) if first.startswith(_CARRIED_OUT) else []


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
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInputError(f"{path}: not valid TOML: {error}") from error
    try:
        keys = TypeAdapter(Keys).validate_python(raw)
    except ValidationError as error:
        raise _explain(path, text, error.errors()) from error
    return Experiment(keys, path, text)


def _explain(path: Path, text: str, errors: list[ErrorDetails]) -> BadInputError:
    """Of several faults the one that says most.

    A misspelt key comes before the missing one that it was meant to be, a key of a table before the table.
    """
    first = min(errors, key=lambda error: (error["type"] not in _UNKNOWN, -len(_location(error))))
    location = _location(first)
    if first["type"] in _UNKNOWN:
        known = [f.name for f in fields(_TABLES.get(location[0], Keys) if len(location) > 1 else Keys)]
        near = difflib.get_close_matches(location[-1], known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return _fault(path, text, location, "unknown key", remedy)
    if first["type"] in _MISSING:
        return BadInputError(f"{path}: key '{'.'.join(location)}' is missing", remedy="see docs/experiments.md")
    # Where a key may be one thing or another, pydantic has a fault for either. That it may be a list helps nobody.
    here = [error for error in errors if _location(error) == location]
    told = [error for error in here if error["type"] != "list_type"] or here
    wanted = " or ".join(dict.fromkeys(map(_wanted, told)))
    return _fault(path, text, location, f"{wanted[0].lower()}{wanted[1:]} expected, not {first['input']!r}")


def _location(error: ErrorDetails) -> tuple[str, ...]:
    """Keys and list places of pydantic's location, without its names for what a key may be."""
    misspelt = error["loc"][-1] if error["type"] in _UNKNOWN else None
    return tuple(str(part) for part in error["loc"] if isinstance(part, int) or part in {misspelt, *_KEYS})


def _wanted(error: ErrorDetails) -> str:
    return _WORDS.get(error["type"], error["msg"].removeprefix("Input should be ").removeprefix("Value error, "))


def _fault(path: Path, text: str, location: tuple[str, ...], problem: str, remedy: str = "") -> BadInputError:
    line = _line(text, [part for part in location if not part.isdigit()])
    where = f"{path}:{line}" if line else str(path)
    return BadInputError(f"{where}: {'.'.join(location)}: {problem}", remedy=remedy)


def _line(text: str, names: list[str]) -> int:
    """Number of the line where a key stands, looked for from its table on; of the table where it has no own; or 0."""
    found = 0
    lines = text.splitlines()
    for name in names:
        rest = enumerate(lines[found:], start=found + 1)
        found = next((number for number, line in rest if re.match(rf"\s*\[?{re.escape(name)}\b", line)), found)
    return found
