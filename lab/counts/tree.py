"""Who called whom, as one tree: what a flame graph shows. Pure.

Callgrind knows arcs, not stacks: where a function is called by several, what it does is shared out among these by what
each call led to. That is exact for a function that does the same for whoever calls it. Functions that call each other
in a circle are one, as no arc says how deep in it one is: an interpreter, say, with all that it calls itself by. So is
what every call into KEMI goes through, or each of them would seem to have led to a part of all that is called so.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lab.counts import crossings
from lab.counts.callgrind import Function, Part

_AGAIN = re.compile(r"'\d+\Z")  # callgrind's mark of a function that is called within itself
_CLONE = re.compile(
    r"(\.(constprop|isra|part|cold|lto_priv)(\.\d+)?)+(?='\d+\Z|\Z)"
)  # gcc's, of a copy that it has made
Calls = Mapping[Function, Counter[Function]]  # caller -> callee -> instructions that the calls led to


@dataclass(frozen=True, slots=True)
class Node:
    """A function as it was called here, with what it has called, the largest first."""

    function: Function
    instructions: float  # with all that it led to
    circle: int  # how many functions call each other in it; 1: none but itself
    calls: "tuple[Node, ...]"


class _Graph(NamedTuple):
    """Without circles: those have become one function each."""

    own: Counter[Function]
    led_to: Calls
    members: Counter[Function]

    def whole(self, function: Function) -> int:
        """What it executes itself, and all that it calls."""
        return self.own[function] + self.led_to.get(function, Counter()).total()

    def node(self, function: Function, instructions: float, least: float) -> Node:
        """It, as it was called with so many instructions."""
        share = instructions / (self.whole(function) or 1)
        called = self.led_to.get(function, Counter()).most_common()
        calls = tuple(self.node(callee, led * share, least) for callee, led in called if led * share >= least)
        return Node(function, instructions, self.members[function], calls)


def grow(part: Part, root: str, least: float) -> Node | None:
    """From the function of that name on. What is less than `least`, a share of all, is not told from its caller's own.

    None where that function is not there.
    """
    graph = _graph(part, least * part.own.total())
    for function in graph.own:
        if function.name == root:
            whole = graph.whole(function)
            return graph.node(function, float(whole), whole * least)
    return None


def _graph(part: Part, least: float) -> _Graph:
    own, calls = _once_each(part)
    name = _names(own, calls, least)
    together: Counter[Function] = Counter()
    led_to: defaultdict[Function, Counter[Function]] = defaultdict(Counter)
    for function, instructions in own.items():
        together[name[function]] += instructions
    for caller, called in calls.items():
        for callee, instructions in called.items():
            if name[caller] != name[callee]:
                led_to[name[caller]][name[callee]] += instructions
    return _Graph(together, led_to, Counter(name.values()))


def _once_each(part: Part) -> tuple[Counter[Function], Calls]:
    """Functions, and those that are called within themselves, as one; arcs between those that were counted."""
    own: Counter[Function] = Counter()
    for function, instructions in part.own.items():
        own[_once(function)] += instructions
    calls: defaultdict[Function, Counter[Function]] = defaultdict(Counter)
    for arc, instructions in part.inclusive.items():
        caller, callee = map(_once, arc)
        if caller in own and callee in own:  # callgrind also tells who called the first of them, once a file
            calls[caller][callee] += instructions
    return own, calls


def _once(function: Function) -> Function:
    return function._replace(name=_AGAIN.sub("", function.name))


def _names(own: Counter[Function], calls: Calls, least: float) -> dict[Function, Function]:
    """Of each function the one that it is called by: itself or, in a circle, that of it which others call most.

    A circle that is closed by arcs of next to nothing (a reply that looks for an event route) is none.
    """
    found: dict[Function, Function] = {}
    for circle in _circles(list(own), calls, least):
        entered = Counter(dict.fromkeys(sorted(circle), 0))
        if len(circle) > 1:
            for caller, called in calls.items():
                if caller not in circle:
                    entered.update({one: called[one] for one in circle})
        ((most, _),) = entered.most_common(1)
        found |= dict.fromkeys(circle, most)
    ways = sorted(function for function in own if crossings.within(function))
    return found | (dict.fromkeys(ways, ways[0]) if ways else {})


def _circles(functions: Sequence[Function], calls: Calls, least: float) -> list[set[Function]]:
    """Each function with all that it calls, through others or not, and that call it."""
    number = {function: place for place, function in enumerate(functions)}
    arcs = [
        (number[caller], number[callee])
        for caller, called in calls.items()
        for callee, instructions in called.items()
        if instructions >= least
    ]
    rows, columns = zip(*arcs, strict=True) if arcs else ((), ())
    graph = coo_array(([True] * len(arcs), (rows, columns)), shape=(len(number), len(number)))
    found: defaultdict[int, set[Function]] = defaultdict(set)
    for function, circle in zip(functions, connected_components(graph, connection="strong")[1], strict=True):
        found[int(circle)].add(function)
    return list(found.values())


def differences(part: Part, requests: int, other: Part, others: int, number: int) -> list[tuple[str, float, float]]:
    """Functions of which a request differs most: instructions in `part`, and in the other, each of so many requests."""
    ours, theirs = _by_name(part), _by_name(other)
    found = [(name, ours[name] / requests, theirs[name] / others) for name in sorted(ours.keys() | theirs.keys())]
    found.sort(key=lambda row: -abs(row[1] - row[2]))
    return [row for row in found[:number] if row[1] != row[2]]


def _by_name(part: Part) -> Counter[str]:
    """Copies of a function that the compiler has made are that function: another compiler makes others."""
    found: Counter[str] = Counter()
    for function, instructions in part.own.items():
        found[f"{_CLONE.sub('', function.name)} ({function.object.rpartition('/')[2]})"] += instructions
    return found
