"""A SIPp scenario's declaration, `<name>.toml` beside `<name>.xml`: which request is which leg, what a call does."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lab.errors import BadInputError
from lab.model import OTHER, LegRule, Scenario

_STRICT = ConfigDict(extra="forbid")
_REMEDY = "see docs/scenarios.md"
_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}
Count = Annotated[int, Field(ge=0, strict=True)]
Name = Annotated[str, Field(min_length=1)]
File = Annotated[str, Field(pattern=r"^[^/]+\.xml$")]


@dataclass(frozen=True, config=_STRICT)
class LegKeys:
    """Which request a leg is."""

    method: Name
    cseq: Count
    order: Annotated[int, Field(ge=1, strict=True)] = 1


@dataclass(frozen=True, config=_STRICT)
class Keys:
    """The keys of a declaration. docs/scenarios.md explains each."""

    legs: Annotated[dict[Name, LegKeys], Field(min_length=1)]
    counters: dict[str, Count] = Field(default_factory=dict)
    whole: Name = "registration"
    traffic: File = ""
    setup: Name = ""
    subscribers: Count = 0
    bindings: Annotated[bool, Field(strict=True)] = True
    ignores_unexpected: Annotated[bool, Field(strict=True)] = False
    log_bytes: Count = 0


def read(path: Path) -> Scenario:
    """The declaration of the scenario in `path` (.xml); BadInputError names the file and what is wrong in it."""
    sidecar = path.with_suffix(".toml")
    try:
        keys = TypeAdapter(Keys).validate_python(tomllib.loads(sidecar.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        remedy = "write it: [legs] with a name = { method = ..., cseq = ... } for each request of a call"
        raise BadInputError(f"{sidecar}: missing: it declares which request is which leg", remedy=remedy) from error
    except OSError as error:
        raise BadInputError(f"{sidecar}: cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError(f"{sidecar}: not valid TOML: {error}", remedy=_REMEDY) from error
    except ValidationError as error:
        raise BadInputError(f"{sidecar}: {_explain(error)}", remedy=_REMEDY) from error
    rules = tuple(LegRule(leg, rule.method, rule.cseq, rule.order) for leg, rule in keys.legs.items())
    if OTHER in keys.legs:
        raise BadInputError(f"{sidecar}: legs: {OTHER!r} is what belongs to no leg", remedy=_REMEDY)
    if len({(rule.method, rule.cseq, rule.order) for rule in rules}) < len(rules):
        raise BadInputError(f"{sidecar}: legs: one request twice", remedy="order = 2 is the second in a call")
    return Scenario(
        name=path.stem,
        legs=rules,
        whole=keys.whole,
        counters=keys.counters,
        traffic=keys.traffic,
        setup=keys.setup,
        subscribers=keys.subscribers,
        bindings=keys.bindings,
        ignores_unexpected=keys.ignores_unexpected,
        log_bytes=keys.log_bytes,
    )


def _explain(error: ValidationError) -> str:
    """One of its faults; a misspelt key before the missing one that it was meant to be."""
    first = min(error.errors(), key=lambda each: each["type"] not in _UNKNOWN)
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {'unknown key' if first['type'] in _UNKNOWN else first['msg']}"
