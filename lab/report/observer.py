"""What measuring costs, as Markdown: ratios with their intervals, then the times that they are of."""

from collections.abc import Iterator

from lab.observer import Observer
from lab.report.markdown import table
from lab.stats import Comparison

WHAT = {"container": "CPU time of the container", "workers": "CPU time of the workers", "sipp": "CPU time of SIPp"}


def markdown(found: Observer) -> str:
    """The whole page."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Observer) -> Iterator[str]:
    measures = dict.fromkeys(measure for costs in found.usec.values() for measure in costs)
    heads = ["", *(WHAT.get(measure, measure) for measure in measures)]
    pairs = dict.fromkeys((cost.cell, cost.against) for cost in found.costs)
    ratios = {(cost.cell, cost.measure): _ratio(cost.found) for cost in found.costs}
    rates = " or ".join(map(str, found.rate_per_s))
    yield f"# What measuring costs: {found.run}"
    yield ""
    yield f"{found.rounds} rounds, {rates} calls a second; docs/observer.md says what is compared."
    if not found.valid:
        yield ""
        yield "**INVALID**: not every planned slice is valid; figures are of those that are. `lab report` says why."
    yield ""
    yield "## Against the same cell with its log in a file"
    yield ""
    rows = [
        (f"{cell} / {against}{' (A/A)' * (cell == found.aa_cell)}", *(ratios.get((cell, one), "-") for one in measures))
        for cell, against in pairs
    ]
    yield from table(heads, rows)
    yield ""
    yield (
        "Ratio, its 95 % interval (Student, over rounds), and in brackets the smallest difference that would have been "
        "found four times in five. Each interval stands for itself: one in twenty lies beside 1 by chance."
    )
    yield ""
    yield "## A call, in usec"
    yield ""
    yield from table(heads, [(cell, *(_usec(own.get(one)) for one in measures)) for cell, own in found.usec.items()])


def _ratio(found: Comparison) -> str:
    if found.ratio is None:
        return "-"
    if found.ci_low is None or found.ci_high is None or found.mde is None:
        return f"{found.ratio:.3f}"
    return f"{found.ratio:.3f}, {found.ci_low:.3f} to {found.ci_high:.3f} ({found.mde:.1%})".replace("%", " %")


def _usec(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
