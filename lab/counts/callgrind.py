"""Callgrind's profiles, as `--combine-dumps=yes` writes them: one file a process, in it one part a dump. Pure.

The format is described in valgrind's manual ("Callgrind Format Specification"). Names are written out once a file and
then called by their numbers, so a part cannot be read without those before it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What some lines of a file say that no blank one divides: mostly a function. The same lines are the same block."""

    own: tuple[tuple[Function, int], ...]  # instructions of functions themselves
    calls: tuple[tuple[Arc, int, int], ...]  # how often, and instructions of all that they led to
    object: str  # that holds for the lines after it
    file: str
    total: int  # instructions of its functions


@dataclass(frozen=True, slots=True)
class Request:
    """One dump: what has been executed since the one before."""

    blocks: tuple[Block, ...]
    total: int  # as callgrind says, and as its blocks add up


@dataclass(slots=True)
class Part:
    """What some requests have together: instructions of functions, and of calls with all that they led to."""

    own: Counter[Function] = field(default_factory=Counter)
    calls: Counter[Arc] = field(default_factory=Counter)
    inclusive: Counter[Arc] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Of all functions."""
        return self.own.total()

    def add(self, blocks: Mapping[Block, int]) -> None:
        """These as well, each so many times."""
        for block, times in blocks.items():
            for function, instructions in block.own:
                self.own[function] += times * instructions
            for arc, number, instructions in block.calls:
                self.calls[arc] += times * number
                self.inclusive[arc] += times * instructions


def together(requests: Iterable[Request]) -> Part:
    """Of several requests, of which most blocks are the same."""
    found: Counter[Block] = Counter()
    for request in requests:
        found.update(request.blocks)
    part = Part()
    part.add(found)
    return part


def requests(lines: Iterable[str], wanted: range) -> Iterator[Request]:
    """Those parts of a file, which are numbered from 0, in order.

    Raises BadInputError with the number of the line that is none of callgrind's, or where a part does not add up.
    """
    reader, number = _Reader(), -1
    waiting: list[str] = []
    blocks: list[Block] = []
    for at, line in enumerate(lines, start=1):
        try:
            if line.startswith("part: "):
                number += 1
                if number >= wanted.stop:
                    return
                reader.begin()
                waiting, blocks = [], []
            elif line == "\n" or line.startswith("totals: "):
                blocks.append(reader.read(waiting))
                waiting = []
                if line != "\n" and number in wanted:
                    yield _request(blocks, int(line.split()[1]))
            else:
                waiting.append(line)
        except (ValueError, KeyError, IndexError) as error:
            said = (waiting or [line])[0][:80].rstrip()
            message = f"{'up to ' * bool(waiting)}line {at}: not callgrind's: {said!r}: {error}"
            raise BadInputError(message) from error


def _request(blocks: Sequence[Block], total: int) -> Request:
    found = sum(block.total for block in blocks)
    if found != total:
        raise ValueError(f"its functions have {found} instructions, all of it {total}")
    return Request(tuple(blocks), total)


class _Reader:
    """Where in a file we are. Requests are much alike, so most blocks have been there before, word by word."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {"object": {}, "file": {}, "function": {}}
        self._known: dict[tuple[str, str, str], Block] = {}
        self.begin()

    def begin(self) -> None:
        """A part: nothing of the one before holds but the names."""
        self._object = self._file = ""

    def read(self, lines: Sequence[str]) -> Block:
        """The next block."""
        key = ("".join(lines), self._object, self._file)
        block = self._known.get(key) or self._new(lines)
        self._known[key] = block
        self._object, self._file = block.object, block.file
        return block

    def _new(self, lines: Sequence[str]) -> Block:
        own: Counter[Function] = Counter()
        calls: list[tuple[Arc, int, int]] = []
        # Of a call, what is not said is as it is around it. A file's lines that the compiler has put into a function
        # (fi, fe) are that function's own.
        at = {"ob": self._object, "fl": self._file, "fi": self._file}
        called: dict[str, str] = {}
        function, times = Function("", "", ""), 0
        for line in lines:
            key, sign, rest = line.partition("=")
            if line[0] in _POSITION:
                words = line.split()
                instructions = int(words[1]) if len(words) > 1 else 0
                if "cfn" in called:
                    callee = Function(called.get("cob", at["ob"]), called.get("cfi", at["fi"]), called["cfn"])
                    calls.append((Arc(function, callee), times, instructions))
                    called = {}
                else:
                    own[function] += instructions
            elif sign and key in _TABLES:
                name = self._name(_TABLES[key], rest.rstrip("\n"))
                if key == "fn":
                    function = Function(at["ob"], at["fl"], name)
                elif key.startswith("c"):
                    called["cfi" if key == "cfl" else key] = name
                else:
                    at |= {"fl": name, "fi": name} if key == "fl" else {"fi" if key == "fe" else key: name}
            elif sign and key == "calls":
                times = int(rest.split()[0])
        return Block(tuple(own.items()), tuple(calls), at["ob"], at["fl"], own.total())

    def _name(self, table: str, text: str) -> str:
        match = _NAME.match(text)
        if not match:
            return text
        number, name = match.groups()
        if name is not None:
            self._names[table][number] = name
        return self._names[table][number]
