"""A slowdown of known size: the routing `<routing>-plus-<N>us` is that routing with a wait of N usec in each request.

The wait is planted into the run's own copy of the scripts, at the head of what every request goes through. It is a busy
one: it takes CPU time, as a slower script would. It ends with the first look at the clock after N microseconds, so it
takes up to one look longer; with what sets it up, one to two microseconds in all (docs/resolution.md).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab import store

_NAME = re.compile(r"(?P<routing>.+)-plus-(?P<usec>[1-9]\d{0,4})us")


class PlantError(Exception):
    """A script that no wait can be planted into; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Routing:
    """A folder of routing scripts, and the wait that each request is to have in them."""

    folder: Path
    planted_usec: int = 0


@dataclass(frozen=True, slots=True)
class _Wait:
    """`body` goes below the line `head`, with its indent; `end` to the end of the file, whose order does not matter."""

    head: re.Pattern[str]
    body: str
    end: str = ""


# By what a script's name ends in.
_WAITS = {
    # $TV(sn) reads the clock, of which $TV(un) then has the microseconds. By default a loop may have 100 turns.
    ".cfg": _Wait(
        re.compile(r"^( *)request_route *\{ *\n", re.MULTILINE),
        "    $var(planted) = $TV(sn);\n"
        "    $var(planted) = $TV(un);\n"
        "    while ((1000000 + $TV(un) - $var(planted)) mod 1000000 < USEC) { $var(now) = $TV(sn); }\n",
        "\nmax_while_loops=1000000\n",
    ),
    # Its one clock of microseconds is the process's CPU time.
    ".lua": _Wait(
        re.compile(r"^( *)function ksr_request_route\(\) *\n", re.MULTILINE),
        "    local planted = os.clock() + USECe-6\n    while os.clock() < planted do end\n",
    ),
    # The one such clock that both Python 2 and 3 have.
    ".py": _Wait(
        re.compile(r"^( *)def ksr_request_route\(.*\).*: *\n", re.MULTILINE),
        "    planted = planted_clock() + USECe-6\n    while planted_clock() < planted:\n        pass\n",
        "\n\nfrom time import time as planted_clock\n",
    ),
}


def split(name: str) -> tuple[str, int]:
    """The routing that a name means, and the wait in it in usec: 0 where it names none."""
    found = _NAME.fullmatch(name)
    return (found["routing"], int(found["usec"])) if found else (name, 0)


def check(folder: Path, engines: Iterable[str]) -> None:
    """Raise PlantError unless the script of each of these engines can have a wait."""
    for engine in engines:
        script = script_of(folder, engine)
        if script is None:
            raise PlantError(f"{folder} has no script for engine {engine}")
        wait = _WAITS.get(script.suffix)
        if wait is None:
            raise PlantError(f"engine {engine} has no clock that a wait of microseconds could go by")
        heads = len(wait.head.findall(_read(script)))
        if heads != 1:
            raise PlantError(f"{script} has {heads} lines like {wait.head.pattern!r}, where there must be one")


def place(routing: Routing, target: Path) -> None:
    """Copy a routing's folder, and plant its wait into every script of the copy that can have one."""
    store.copy_readable(routing.folder, target)
    for script in sorted(target.iterdir()) if routing.planted_usec else ():
        wait = _WAITS.get(script.suffix)
        if wait and len(wait.head.findall(_read(script))) == 1:
            _write(script, _with(_read(script), wait, routing.planted_usec))


def _with(text: str, wait: _Wait, usec: int) -> str:
    body = wait.body.replace("USEC", str(usec))

    def below(head: re.Match[str]) -> str:
        return head[0] + "".join(f"{head[1]}{line}" for line in body.splitlines(keepends=True))

    return wait.head.sub(below, text) + wait.end


def script_of(folder: Path, engine: str) -> Path | None:
    """An engine's script, by the rules of images/kamailio/entrypoint: LuaJIT runs Lua's, Python 3 may run Python's."""
    stems = (engine, engine.removesuffix("jit"), engine.removesuffix("3"))
    return next((path for stem in stems for path in sorted(folder.glob(f"{stem}.*"))), None)


def _read(script: Path) -> str:
    return script.read_text(encoding="utf-8", errors="surrogateescape")


def _write(script: Path, text: str) -> None:
    script.write_text(text, encoding="utf-8", errors="surrogateescape")
