"""Calls from a script into Kamailio (KEMI), and what it takes to get there and back. Pure."""

import re
from dataclasses import dataclass

from lab.counts import shares
from lab.counts.callgrind import Function, Part

# Where each engine module begins such a call: sr_kemi_lua_exec_func, sr_apy_kemi_exec_func, ...
# Ruby's module has functions of its own for pseudo-variables, which call each other.
_BEGIN = re.compile(r"\w*kemi\w*_exec_func\Z|app_ruby_pv_(get[a-z]*|set[a-z]*|unset|is_null)\Z")
# It, what is there for each function of KEMI, and what hands the arguments on: whatever these call in Kamailio is what
# the script has asked for.
_WITHIN = re.compile(r"\w*kemi\w*_exec_func(_ex|_\d+)?\Z|app_ruby_pv_\w+\Z")
_HELPERS = re.compile(r"sr_kemi_return_\w+|get_debug_\w+|get_cfg_\w+")
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
        if _begins(arc.callee):
            number += times
            whole += part.inclusive[arc]
        elif within(arc.caller) and _asked(arc.callee):
            asked += part.inclusive[arc]
    return Crossings(number, whole - asked)


def _begins(function: Function) -> bool:
    return bool(_BEGIN.match(function.name)) and shares.of(function) == shares.ENGINE


def within(function: Function) -> bool:
    """Whether it is there to get from a script to what that has asked for: of the engine module, or of the core."""
    return bool(_WITHIN.match(function.name))


def _asked(function: Function) -> bool:
    return not (within(function) or shares.of(function) in _NOT_KAMAILIO or _HELPERS.fullmatch(function.name))
