"""Summary -> view model: what is said, in which words and digits. Pure; knows nothing of terminals or pages."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import store
from lab.cores import Layout
from lab.figures import MEAN, LegComparison, LegFigures
from lab.frames.columns import REASONS
from lab.latency import Pooled
from lab.model import Plan
from lab.report import cpus, words
from lab.report.words import ABSENT
from lab.summary import FILE, CellSummary, Summary

MOST_REASONS = 12
MOST_KINDS = 40
# Between two reasons; a log's own line, of which one may tell, may have such a sign, too.
_BETWEEN = re.compile(rf"{re.escape(REASONS)}(?=(?:SIPp|Kamailio|kernel|database|engine proof): )")
_OWN = re.compile(r", first: .*|(?<![\w.])\d[\d.]*|s\b", re.DOTALL)  # what differs between two of a kind; no sl.200


@dataclass(frozen=True, slots=True)
class LegLine:
    """One leg's figures, in usec."""

    leg: str
    count: str
    mean: str
    median: str
    p10: str
    p95: str
    p99: str
    max: str


@dataclass(frozen=True, slots=True)
class RatioLine:
    """One leg against the baseline; of a median or a tail the leg's name is that of the figure, below its leg."""

    leg: str
    ratio: str
    interval: str
    detectable: str
    rounds: str
    p: str


@dataclass(frozen=True, slots=True)
class CellView:
    """One engine's block."""

    title: str
    broken: str
    legs: tuple[LegLine, ...]
    ratios_title: str
    ratios: tuple[RatioLine, ...]
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """The whole report, top to bottom."""

    title: str
    design: str
    cpus: str  # who ran where; empty where an older run does not tell
    valid: bool
    verdict: str
    cells: tuple[CellView, ...]
    aa_title: str
    aa: tuple[RatioLine, ...]
    remarks: tuple[str, ...]
    failed: tuple[str, ...]  # checks, as many as a screen takes
    where: tuple[str, ...]


def build(summary: Summary, plan: Plan, folder: Path) -> View:
    """Decide every word and digit of the report on the run in `folder`."""
    twin = summary.cells.get(summary.aa_cell)
    place = folder / "evidence" / "layout.json"
    layout = store.load(Layout, place) if place.is_file() else None
    return View(
        title=f"{summary.experiment}: {summary.run}",
        design=_design(plan),
        cpus=cpus.line(layout) if layout else "",
        valid=summary.valid,
        verdict=verdict(summary),
        cells=tuple(_cell(name, summary) for name in summary.cells if name != summary.aa_cell),
        aa_title=f"A/A: {summary.aa_cell} / {twin.baseline}, the same engine twice" if twin else "",
        aa=_ratios(summary, summary.aa_cell),
        remarks=(*remarks(summary), *(f"CPUs: {note}" for note in (layout.notes if layout else ()))),
        failed=tuple(failed(summary, MOST_REASONS)),
        where=(f"{folder}/", *(f"{name}: {what}" for name, what in _PLACES.items())),
    )


_PLACES = {
    FILE: "these figures, for programs",
    "frames/": "every message, slice and start, as Parquet",
    "evidence/": "what was seen, as it was seen",
}


def _design(plan: Plan) -> str:
    timed = [piece for piece in plan.rounds[0].slices if not piece.warmup]
    wholes = {plan.scenario_of(cell.name).whole for cell in plan.cells}
    whole = wholes.pop() if len(wholes) == 1 else "call"
    calls, rate = _or(piece.calls for piece in timed), _or(piece.rate_per_s for piece in timed)
    workers = _or(cell.children for cell in plan.cells)
    return (
        f"{_count(len(plan.rounds), 'round')}, in each {_count(len(timed) // len(plan.cells), 'timed slice')} a cell: "
        f"{calls} {whole}s at {rate}/s; {workers} worker{'' if workers == '1' else 's'}"
    )


def _or(numbers: Iterable[int]) -> str:
    """What there is, once each, the least first."""
    return " or ".join(map(str, sorted(set(numbers))))


def verdict(summary: Summary) -> str:
    """Whether a run is valid, and what is missing."""
    if summary.specimen:
        shown = "a specimen: shown as found, with the checks that failed"
        return shown if summary.valid else "INVALID: it broke off, or a start is not proven"
    if summary.valid:
        return "valid: every planned slice" + (" of the cells that are not broken" if summary.broken else "")
    bad = sum(cell.slices_invalid for cell in summary.cells.values())
    missing = sum(cell.slices_missing for cell in summary.cells.values())
    parts = [f"{_count(bad, 'planned slice')} invalid"] if bad else []
    parts += [f"{missing} not run"] if missing else []
    return "INVALID: " + (", ".join(parts) or "see the remarks") + "; figures are of valid slices"


def _cell(name: str, summary: Summary) -> CellView:
    cell = summary.cells[name]
    same = "the baseline" if name == cell.baseline else ""
    engine = "" if cell.engine == name else cell.engine
    about = ", ".join(part for part in (engine, f"Kamailio {cell.kamailio}", same) if part)
    broken = summary.broken.get(name, "")
    return CellView(
        title=f"{name} ({about})",
        broken=f"broken: {broken}" if broken else "",
        legs=() if broken else tuple(_legs(cell)),
        ratios_title=f"{name} / {cell.baseline}",
        ratios=() if broken else _ratios(summary, name),
        facts=() if broken else tuple(_facts(cell)),
    )


def _leg(name: str, leg: LegFigures) -> LegLine:
    return LegLine(
        leg=name,
        count=str(leg.count),
        mean=words.usec(leg.mean_usec, 1),
        median=words.usec(leg.median_usec),
        p10=words.usec(leg.p10_usec),
        p95=words.usec(leg.p95_usec),
        p99=words.usec(leg.p99_usec),
        max=words.usec(leg.max_usec),
    )


def _legs(cell: CellSummary) -> Iterator[LegLine]:
    """A call of several legs has a mean, the sum of theirs, but no percentiles: its legs were timed apart."""
    yield from (_leg(leg, figures) for leg, figures in cell.legs.items())
    if len(cell.legs) > 1:
        yield LegLine(cell.whole, "", words.usec(cell.call_usec, 1), "", "", "", "", "")


def _facts(cell: CellSummary) -> Iterator[str]:
    cpu = words.usec(cell.cpu_usec_per_call)
    ran = cell.slices_valid + cell.slices_invalid + cell.slices_repeated
    yield (
        f"failed calls: {cell.failed_calls_in_all}; retransmissions: {cell.retransmissions_in_all} "
        f"(of all {_count(ran, 'slice')} that ran)"
    )
    yield f"CPU time per {cell.whole}: {cpu} usec"
    parts = [f"{cell.slices_valid} valid"]
    parts += [f"{cell.slices_invalid} invalid"] if cell.slices_invalid else []
    parts += [f"{cell.slices_missing} not run"] if cell.slices_missing else []
    again = f"; {_count(cell.slices_repeated, 'repeat')}" if cell.slices_repeated else ""
    yield f"slices, warm-up included: {', '.join(parts)}{again}"
    if cell.pooled:
        yield f"pooled as in 2018: {_pooled(cell.pooled)}"


def _pooled(pooled: Pooled) -> str:
    """In the words and digits of the 2018 page's script; every request of a cell in one heap."""
    return f"cnt: {pooled.cnt} sum: {pooled.sum} min: {pooled.min} max: {pooled.max} avg: {pooled.avg:.6g}"


def _ratios(summary: Summary, cell: str) -> tuple[RatioLine, ...]:
    return tuple(_ratio(row) for row in _rows(summary, cell))


def _rows(summary: Summary, cell: str) -> Iterator[LegComparison]:
    """Each leg by its mean, then by that of its quicker requests, by its median and its tails."""
    for row in summary.comparisons:
        if row.cell == cell:
            yield row
            others = (*summary.trimmed, *summary.quantiles)
            yield from (one for one in others if (one.cell, one.leg) == (cell, row.leg))


def _ratio(row: LegComparison) -> RatioLine:
    p = row.p if row.p_holm is None else row.p_holm
    return RatioLine(
        leg=row.leg if row.figure == MEAN else f"  {row.figure}",
        ratio=words.ratio(row.ratio),
        interval=words.interval(row),
        detectable=words.percent(row.mde),
        rounds=str(row.n_rounds),
        p=ABSENT if p is None else "<0.001" if p < 0.001 else f"{p:.3f}",  # noqa: PLR2004
    )


def remarks(summary: Summary) -> Iterator[str]:
    """What else is to be known of a run, in sentences."""
    yield from summary.notes
    if summary.start_seconds is not None and summary.driver_share is not None:
        yield (
            f"a fresh start of all cells took {summary.start_seconds:.1f} s at most; from the first slice of a round "
            f"to its last the driver added {summary.driver_share:.0%} to the load's own time"
        )
    yield (
        "pooled figures mix all requests, though the legs differ several times over: they are there to be set "
        "beside the 2018 page, not to compare engines"
    )
    for row in summary.comparisons:
        if row.cell == summary.aa_cell and row.excludes_one:
            yield (
                f"A/A: the interval of the {row.leg} leg excludes 1 although both cells are the same: noise between "
                "the rounds is larger than it looks, or chance (at 95 %, one leg in twenty)"
            )
    for row in summary.comparisons:
        if row.second and row.second.agrees is False:
            second = words.interval(row.second)
            yield f"{row.cell}, {row.leg}: a second opinion, by the rounds' ranks, disagrees: {second}"
    for steadiness in summary.rounds:
        if steadiness.steady is False and steadiness.ratio is not None:
            yield (
                f"round {steadiness.round} was not steady: its second half took {steadiness.ratio - 1:+.1%} "
                "against its first"
            )
    if summary.comparisons and all(row.ci_low is None for row in summary.comparisons):
        yield "no interval: that takes two rounds or more"


def failed(summary: Summary, most: int) -> Iterator[str]:
    """Failed checks, so many at most, and how many more there are."""
    reasons = list(_together(reason for cell in summary.cells.values() for reason in cell.reasons))
    yield from reasons[:most]
    if len(reasons) > most:
        yield f"and {len(reasons) - most} more, in {FILE}"


def failed_by_kind(summary: Summary) -> Iterator[str]:
    """Failed checks, each kind once, the most frequent first: of how many slices or starts, and the first's words."""
    kinds: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for reason in sorted(reason for cell in summary.cells.values() for reason in cell.reasons):
        where, _, text = reason.partition(": ")
        for one in _BETWEEN.split(text):
            kinds["starts" if where.startswith("start ") else "slices", _OWN.sub("", one)].setdefault(where, one)
    in_order = sorted(kinds.items(), key=lambda kind: len(kind[1]), reverse=True)
    for (things, _), found in in_order[:MOST_KINDS]:
        first = ": ".join(next(iter(found.items())))
        yield first if len(found) == 1 else f"in {len(found)} {things}, such as {first}"
    if len(in_order) > MOST_KINDS:
        yield f"and {len(in_order) - MOST_KINDS} more kinds"


def _together(reasons: Iterable[str]) -> Iterator[str]:
    """In the order of slices; what is said of several of a round, as of those that shared their seconds, once."""
    whose: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for reason in sorted(reasons):
        name, _, text = reason.partition(": ")
        whose[name.partition("-")[0], text].append(name)
    for (_, text), names in whose.items():
        others = f" and {len(names) - 1} more of its round" if len(names) > 1 else ""
        yield f"{names[0]}{others}: {text}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
