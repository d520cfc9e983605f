"""Callgrind's profiles, as `--combine-dumps=yes` writes them: one file a process, in it one part a dump. Pure.

The format is described in valgrind's manual ("Callgrind Format Specification"). Names are written out once a file and
then called by their numbers, so a part cannot be read without those before it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lab.errors import BadInputError

_NAME = re.compile(r"\((\d+)\)(?: (.*))?\Z")
_POSITION = frozenset("0123456789+-*")  # what a line with instructions begins with
# Which table of names a line's name is in.
_TABLES = {
    "ob": "object",
    "cob": "object",
    "fl": "file",
    "fi": "file",
    "fe": "file",
    "cfi": "file",
    "cfl": "file",
    "fn": "function",
    "cfn": "function",
}


class Function(NamedTuple):
    """Where instructions were executed."""

    object: str  # program or library, as its path in the container
    file: str  # of its source, where that is known; else ???
    name: str


class Arc(NamedTuple):
    """Who called whom."""

    caller: Function
    callee: Function


@dataclass(slots=True)
class Part:
    """What one dump has: instructions of functions themselves, and of calls with all that they led to."""

    own: Counter[Function] = field(default_factory=Counter)
    calls: Counter[Arc] = field(default_factory=Counter)
    inclusive: Counter[Arc] = field(default_factory=Counter)
    total: int = 0  # as callgrind says

    def add(self, other: "Part") -> None:
        """Both together."""
        self.own.update(other.own)
        self.calls.update(other.calls)
        self.inclusive.update(other.inclusive)
        self.total += other.total


def count(lines: Iterable[str]) -> int:
    """How many parts there are, that of the program's end included."""
    return sum(line.startswith("part: ") for line in lines)


def parts(lines: Iterable[str], wanted: range) -> Iterator[Part]:
    """Those parts of a file, which are numbered from 0, in order.

    Raises BadInputError with the number of the line that is none of callgrind's, or where a part does not add up.
    """
    reader, part, number = _Reader(), None, -1
    for at, line in enumerate(lines, start=1):
        try:
            if line.startswith("part: "):
                number += 1
                if number >= wanted.stop:
                    return
                part = Part() if number in wanted else None
                reader.begin(part)
            elif line.startswith("totals: ") and part is not None:
                reader.end()
                part.total = int(line.split()[1])
                _check(part)
                yield part
                part = None
            else:
                reader.take(line)
        except (ValueError, KeyError, IndexError) as error:
            raise BadInputError(f"line {at}: not callgrind's: {line[:80].rstrip()!r}: {error}") from error


def _check(part: Part) -> None:
    found = part.own.total()
    if found != part.total:
        raise ValueError(f"its functions have {found} instructions, all of it {part.total}")


class _Reader:
    """Where in a file we are. A million lines are read a second: hence the care about what is done for each."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {"object": {}, "file": {}, "function": {}}
        self._costs: dict[str, int] = {}  # lines that were read before
        self.begin(None)

    def begin(self, part: Part | None) -> None:
        """A part: nothing of the one before holds but the names."""
        self._part = part
        self._object = self._file = self._current = ""
        self._function = Function("", "", "")
        self._own = 0
        self._called_object = self._called_file = ""
        self._called: Function | None = None
        self._times = 0

    def end(self) -> None:
        """Of a function: what it has executed itself is known."""
        if self._own and self._part is not None:
            self._part.own[self._function] += self._own
        self._own = 0

    def take(self, line: str) -> None:
        """One line of it."""
        if line[0] in _POSITION:
            if self._part is not None:
                self._cost(self._part, line)
            return
        key, sign, rest = line.partition("=")
        if sign and key in _TABLES:
            self._named(key, self._name(_TABLES[key], rest.rstrip("\n")))
        elif sign and key == "calls":
            self._times = int(rest.split()[0])

    def _named(self, key: str, name: str) -> None:
        if key == "ob":
            self._object = name
        elif key == "fl":
            self._file = self._current = name
        elif key == "fn":
            self.end()
            self._function = Function(self._object, self._file, name)
        elif key == "cob":
            self._called_object = name
        elif key in {"cfi", "cfl"}:
            self._called_file = name
        elif key in {"fi", "fe"}:  # another file's lines that the compiler has put into this function: they are its own
            self._current = name
        elif key == "cfn":
            # What is not said is as it is around the call.
            self._called = Function(self._called_object or self._object, self._called_file or self._current, name)
            self._called_object = self._called_file = ""

    def _name(self, table: str, text: str) -> str:
        match = _NAME.match(text)
        if not match:
            return text
        number, name = match.groups()
        if name is not None:
            self._names[table][number] = name
        return self._names[table][number]

    def _cost(self, part: Part, line: str) -> None:
        instructions = self._costs.get(line)
        if instructions is None:
            words = line.split()
            instructions = self._costs[line] = int(words[1]) if len(words) > 1 else 0
        if self._called is None:
            self._own += instructions
            return
        arc = Arc(self._function, self._called)
        part.calls[arc] += self._times
        part.inclusive[arc] += instructions
        self._called = None
