"""A call tree as a figure: a function is as wide as its share, and what it calls lies below it.

Drawn by matplotlib as all others are: flame graph tools that are kept draw stacks, which callgrind has not, or pages
that want JavaScript.
"""

from collections.abc import Callable, Iterator, Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from lab.counts import shares
from lab.counts.tree import Node
from lab.report.charts import COLOURS, GRID, PAPER, WIDTH, blank

LINE = 0.15  # inches
LETTER = 0.055  # inches, at most, at this size
SIZE = 6
SEEN_THROUGH = 0.55  # so that names can be read on any colour, in the light and in the dark
SHORTEST = 4  # letters: a shorter name is left out
MODULES, REST = "other modules", "others"
COLOUR = dict(
    zip(
        (
            *(shares.CORE, shares.ENGINE, shares.INTERPRETER, shares.DATABASE, shares.MEMORY, MODULES, shares.LIBC),
            REST,
        ),
        COLOURS,
        strict=True,
    )
)
Colour = Callable[[Node], str]


def group(share: str) -> str:
    """A share, where all of Kamailio's modules are one."""
    known = {*shares.FIRST, *shares.LAST}
    return share if share in COLOUR else REST if share in known else MODULES


def whose(node: Node) -> str:
    """Colour by whose it is."""
    return COLOUR[group(shares.of(node.function))]


def draw(root: Node, colour: Colour = whose, legend: Mapping[str, str] = COLOUR) -> Figure:
    """From its root at the top, down to what is called last."""
    deep = _depth(root)
    with blank(LINE * deep + 0.5) as figure:
        axes = figure.subplots()
        for node, left, depth in _placed(root, root.instructions):
            width = node.instructions / root.instructions
            bar = Rectangle((left, depth), width, 1, facecolor=colour(node), edgecolor=PAPER, linewidth=0.4)
            bar.set_alpha(SEEN_THROUGH)
            axes.add_patch(bar)
            axes.text(left + 0.003, depth + 0.5, _label(node, width), va="center", fontsize=SIZE, clip_on=True)
        axes.set_xlim(0, 1)
        axes.set_ylim(deep, 0)
        axes.set_axis_off()
        patches = [Patch(color=one, label=name) for name, one in legend.items()]
        figure.legend(handles=patches, loc="outside lower center", ncols=4, frameon=False, fontsize=SIZE)
    return figure


def _placed(node: Node, whole: float, left: float = 0.0, depth: int = 0) -> Iterator[tuple[Node, float, int]]:
    """Each function with its left end, as a share, and how deep it lies."""
    yield node, left, depth
    for called in node.calls:
        yield from _placed(called, whole, left, depth + 1)
        left += called.instructions / whole


def _label(node: Node, width: float) -> str:
    """Its name, as far as there is room."""
    room = int(width * WIDTH / LETTER)
    name = f"{node.function.name} and {node.circle - 1} more" if node.circle > 1 else node.function.name
    if room < SHORTEST:
        return ""
    return name if len(name) <= room else f"{name[: room - 1]}…"


def _depth(node: Node) -> int:
    return 1 + max(map(_depth, node.calls), default=0)


def changes(root: Node, before: Node | None) -> tuple[Colour, dict[str, str]]:
    """Colours by what a function executes here beyond another tree, where it was called on the same way; a legend."""
    known: dict[tuple[str, ...], float] = {}
    if before:
        _paths(before, (), known)
    here: dict[int, tuple[str, ...]] = {}
    _places(root, (), here)
    more, less, same = COLOURS[1], COLOURS[0], GRID
    noticed = 0.002 * root.instructions

    def colour(node: Node) -> str:
        difference = node.instructions - known.get(here[id(node)], 0.0)
        return same if abs(difference) < noticed else more if difference > 0 else less

    return colour, {"more than before": more, "less": less, "the same": same}


def _paths(node: Node, above: tuple[str, ...], found: dict[tuple[str, ...], float]) -> None:
    path = (*above, node.function.name)
    found[path] = found.get(path, 0.0) + node.instructions
    for called in node.calls:
        _paths(called, path, found)


def _places(node: Node, above: tuple[str, ...], found: dict[int, tuple[str, ...]]) -> None:
    found[id(node)] = path = (*above, node.function.name)
    for called in node.calls:
        _places(called, path, found)
