"""A run's answer, in sentences that can be quoted: what costs how many times what, how sure that is, and of what."""

from collections.abc import Iterator

from lab.figures import LegComparison
from lab.model import Plan
from lab.report.words import percent
from lab.summary import Summary

NATIVE = "native"
ENGINES = {
    "native": "Kamailio's own language",
    "lua": "Lua",
    "luajit": "LuaJIT",
    "python": "Python 2",
    "python3": "Python 3",
    "python3s": "Python 3 (one interpreter)",
    "jsdt": "JavaScript (Duktape)",
    "ruby": "Ruby",
    "sqlang": "Squirrel",
}


def answers(summary: Summary, plan: Plan) -> tuple[str, ...]:
    """One a cell, of what all legs together cost where there is such a thing; the first is the headline."""
    if not summary.valid and not summary.specimen:
        return ("This run is not valid: none of its figures should be quoted.",)
    found = tuple(_of_cell(row, summary, plan) for row in _whole(summary))
    if summary.specimen:
        return ("A specimen: it repeats another experiment's conditions, and proves nothing by its figures.", *found)
    return found or tuple(_alone(summary))


def noise(summary: Summary, leg: str, baseline: str) -> float | None:
    """How far a baseline against itself may be from 1, by its interval, as a share; only one of them has a twin."""
    if baseline != summary.cells[summary.aa_cell].baseline:
        return None
    for row in summary.comparisons:
        if (row.cell, row.leg) == (summary.aa_cell, leg) and row.ci_low is not None and row.ci_high is not None:
            return max(abs(row.ci_high - 1), abs(1 - row.ci_low))
    return None


def name(cell: str, summary: Summary) -> str:
    """Of a cell as a reader calls it: its engine, and what else tells cells apart."""
    if cell == summary.aa_cell:
        return f"{name(summary.cells[cell].baseline, summary)}, once more"
    return called(cell, summary.cells[cell].engine)


def called(cell: str, engine: str) -> str:
    """The same of one that is no baseline once more."""
    if cell == engine:
        return ENGINES.get(engine, engine)
    known = engine if engine == NATIVE else ENGINES.get(engine, engine)
    return f"{known} ({cell.removeprefix(f'{engine}-')})" if cell.startswith(f"{engine}-") else cell


def _whole(summary: Summary) -> Iterator[LegComparison]:
    """A cell's comparison of all legs together; of its only leg where there is but one."""
    rows = [row for row in summary.comparisons if row.cell != summary.aa_cell]
    for cell in dict.fromkeys(row.cell for row in rows):
        own = [row for row in rows if row.cell == cell]
        yield next((row for row in own if row.leg == summary.cells[cell].whole), own[-1])


def _of_cell(row: LegComparison, summary: Summary, plan: Plan) -> str:
    what = f"a {row.leg}" if row.leg == summary.cells[row.cell].whole else f"the {row.leg} leg"
    if row.ratio is None:
        return f"{name(row.cell, summary)} could not be compared with {name(row.baseline, summary)}."
    pair = name(row.cell, summary), name(row.baseline, summary)
    alike = row.ci_low is not None and row.ci_high is not None and row.ci_low <= 1 <= row.ci_high
    said = (
        f"{pair[0]} is not told from {pair[1]} on {what}: {row.ratio:.2f} times"
        if alike
        else f"{pair[0]} costs {row.ratio:.2f} times {pair[1]} on {what}"
    )
    if row.ci_low is None or row.ci_high is None:
        return f"{said}; one round has no interval, so nobody knows how sure that is."
    apart = noise(summary, row.leg, row.baseline)
    parts = [
        f"{100 * (1 - plan.alpha):.3g} % interval {row.ci_low:.2f} to {row.ci_high:.2f}",
        f"{row.n_rounds} rounds",
        f"{name(row.baseline, summary)} against itself within {percent(apart)}" if apart is not None else "",
    ]
    return f"{said}, {', '.join(filter(None, parts))}."


def _alone(summary: Summary) -> Iterator[str]:
    for cell, found in summary.cells.items():
        if cell != summary.aa_cell and found.call_usec is not None:
            yield f"A {found.whole} takes {found.call_usec:.0f} usec of {name(cell, summary)}'s request_route here."
