"""Calls from a script into Kamailio (KEMI), and what it takes to get there and back. Pure."""

import re
from dataclasses import dataclass

from lab.counts import shares
from lab.counts.callgrind import Function, Part

# Where each engine module begins such a call: sr_kemi_lua_exec_func, sr_apy_kemi_exec_func, ...
_BEGIN = re.compile(r"\w*kemi\w*_exec_func\Z")
# It, and what it hands the arguments on by: whatever these call in Kamailio is what the script has asked for.
_WITHIN = re.compile(r"\w*kemi\w*_exec_func(_ex)?\Z")
_HELPERS = frozenset({"sr_kemi_exec_func", "get_debug_level", "get_debug_facility", "get_cfg_get"})
_NOT_KAMAILIO = frozenset({shares.ENGINE, shares.INTERPRETER, shares.LIBC, shares.OTHER})


@dataclass(frozen=True, slots=True)
class Crossings:
    """How many, and the instructions of all of them.

    From the engine module's entry to its return, without the function that was called. What the interpreter does before
    and after is its own.
    """

    number: int
    instructions: int


def of(part: Part) -> Crossings:
    """In so many requests as the part has."""
    number = whole = asked = 0
    for arc, times in part.calls.items():
        if _begins(arc.callee) and not _within(arc.caller):
            number += times
            whole += part.inclusive[arc]
        elif _within(arc.caller) and _asked(arc.callee):
            asked += part.inclusive[arc]
    return Crossings(number, whole - asked)


def _begins(function: Function) -> bool:
    return bool(_BEGIN.match(function.name)) and shares.of(function) == shares.ENGINE


def _within(function: Function) -> bool:
    return bool(_WITHIN.match(function.name))  # the core's own is called sr_kemi_exec_func


def _asked(function: Function) -> bool:
    return shares.of(function) not in _NOT_KAMAILIO and function.name not in _HELPERS
