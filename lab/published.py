"""The 2018 page's table beside a run of its experiment: what it says, what its files do, what a correct one shows.

Right of the wall. The run is the specimen experiments/published-2018.toml; docs/2018.md says what is compared and why.
"""

import csv
import statistics
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lab import figures, stats, store, versions
from lab.errors import BadInputError
from lab.frames import Frames, load
from lab.frames.columns import REASONS
from lab.latency import Pooled, pooled
from lab.model import NATIVE, Cell, Plan
from lab.stats import Comparison

TABLE = versions.ROOT / "results" / "published-2018" / "published-5.2.0.csv"
EXPERIMENT = "published-2018"
COLUMNS = ("slice", "cell", "method", "leg", "retransmission", "usec")
PAGE, AS_PRINTED, AS_RUN, CORRECTED = "published", "as-printed", "as-run", "corrected"
AUTHENTICATED = "authenticated"
MARGIN = 1.1  # "more or less the same": what the page's own runs can resolve
SATURATED = 0.5
QUEUED = "but the machine was the limit, and these are times in its queues"
HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "can't be told"


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the page counts it: every latency line of a log in one heap; of ours, what else was seen."""

    engine: str
    form: str  # PAGE, or the scenario of ours
    number: int
    figures: Pooled
    calls: int = 0
    rate_per_s: float | None = None  # achieved
    successful: int | None = None  # calls, by SIPp
    retransmissions: int | None = None  # latency lines beyond what the scenario sends
    sent_again: int | None = None  # retransmissions by SIPp's own count
    authenticated: int | None = None  # registrations that Kamailio accepted
    methods: dict[str, float] | None = None  # requests a call, retransmissions apart
    replies: dict[str, float] | None = None  # stateless replies a call, by code
    shortest: tuple[str, ...] = ()  # legs of the shortest requests
    longest: tuple[str, ...] = ()
    lost: int | None = None  # datagrams, for want of room in a socket's buffer
    run_delay: float | None = None  # share of the time in which workers could run that they waited for a CPU
    torn: int | None = None  # latency lines that belong to no request
    failed_checks: int | None = None

    @property
    def saturated(self) -> bool:
        """The machine was the limit: its times are of queues, and tell engines apart by who filled them."""
        return bool(self.lost) or (self.run_delay or 0) > SATURATED


@dataclass(frozen=True, slots=True)
class Ratio:
    """Average over all requests of an engine's run, against native's in the same form."""

    engine: str
    form: str
    found: Comparison


@dataclass(frozen=True, slots=True)
class Claim:
    """What the page says, and what was found."""

    says: str
    verdict: str  # "holds", "does not hold", "can't be told"
    figure: str


@dataclass(frozen=True, slots=True)
class Published:
    """Everything of the result page."""

    run: str
    kamailio: str
    offered_per_s: int
    runs: tuple[Run, ...]
    ratios: tuple[Ratio, ...]
    claims: tuple[Claim, ...]
    legs: dict[str, dict[str, float]]  # engine -> leg -> mean usec, of the corrected form

    def of(self, form: str) -> list[Run]:
        """Runs of one form."""
        return [run for run in self.runs if run.form == form]


def read(folder: Path) -> Published:
    """Put a run of the published experiment beside the page; BadInputError when it is a run of something else."""
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    if plan.experiment != EXPERIMENT:
        problem = f"{folder}: a run of {plan.experiment!r}, not of {EXPERIMENT!r}"
        raise BadInputError(problem, remedy=f"lab run experiments/{EXPERIMENT}.toml, or: just published")
    frames = load(folder, COLUMNS)
    runs = (*_page(), *_ours(plan, frames))
    ratios = tuple(_ratios(runs))
    return Published(
        run=folder.name,
        kamailio=", ".join(plan.releases),
        offered_per_s=plan.rounds[0].slices[0].rate_per_s,
        runs=runs,
        ratios=ratios,
        claims=tuple(claims(runs, ratios)),
        legs=_legs(plan, frames.messages),
    )


def of_the_page() -> tuple[Ratio, ...]:
    """What the page's own runs say, with Fieller's intervals."""
    return tuple(_ratios(list(_page())))


def _page() -> Iterator[Run]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cnt, total, low, high = (int(row[name]) for name in ("cnt", "sum_usec", "min_usec", "max_usec"))
            counted = Pooled(cnt, total, low, high, float(row["avg_usec"]))
            yield Run(row["engine"], PAGE, int(row["run"]), counted, calls=20_000)


def _ours(plan: Plan, frames: Frames) -> Iterator[Run]:
    messages = {str(name): group for name, group in frames.messages.groupby("slice", observed=True)}
    cells = {cell.name: cell for cell in plan.cells if cell.name != plan.aa_cell}
    for row in frames.slices.to_dict("records"):
        if row["cell"] in cells and row["slice"] in messages:
            yield _run(cells[row["cell"]], row, messages[row["slice"]])


def _run(cell: Cell, row: Mapping[Hashable, Any], lines: pd.DataFrame) -> Run:
    def whole(name: str) -> int | None:
        return None if pd.isna(row[name]) else int(row[name])

    calls = int(row["calls"])
    names = (str(name) for name in row if str(name).startswith("replies_"))
    replies = {name.removeprefix("replies_"): whole(name) for name in names}
    first = figures.first_transmissions(lines)
    ran, waited = whole("workers_on_cpu_usec"), whole("workers_run_delay_usec")
    return Run(
        engine=cell.engine,
        form=cell.scenario,
        number=int(row["round"]),
        figures=pooled(lines["usec"].tolist()),
        calls=calls,
        rate_per_s=float(row["sipp_rate_per_s"]),
        successful=whole("sipp_successful"),
        retransmissions=whole("retransmissions"),
        sent_again=whole("sipp_retransmissions"),
        authenticated=whole("registrations_accepted"),
        methods={str(name): int(count) / calls for name, count in first["method"].value_counts().items() if count},
        replies={code: count / calls for code, count in replies.items() if count},
        shortest=tuple(sorted(lines.loc[lines["usec"] == lines["usec"].min(), "leg"].astype(str).unique())),
        longest=tuple(sorted(lines.loc[lines["usec"] == lines["usec"].max(), "leg"].astype(str).unique())),
        lost=whole("udp_rcvbuf_errors"),
        run_delay=waited / (waited + ran) if waited is not None and ran else None,
        torn=whole("malformed"),
        failed_checks=len(str(row["reasons"]).split(REASONS)) if row["reasons"] else 0,
    )


def _legs(plan: Plan, messages: pd.DataFrame) -> dict[str, dict[str, float]]:
    first = figures.first_transmissions(messages)
    names = plan.scenario(CORRECTED).leg_names
    cells = [cell for cell in plan.cells if cell.scenario == CORRECTED and cell.name != plan.aa_cell]
    legs = {cell.engine: figures.legs(first[first["cell"] == cell.name], names) for cell in cells}
    return {
        engine: {name: leg.mean_usec for name, leg in own.items() if leg.mean_usec is not None}
        for engine, own in legs.items()
    }


def _ratios(runs: Sequence[Run]) -> Iterator[Ratio]:
    """Ours in pairs, round by round; the page's runs have no partners."""
    for form in dict.fromkeys(run.form for run in runs):
        averages: dict[str, dict[int, float]] = {}
        for run in runs:
            if run.form == form:
                averages.setdefault(run.engine, {})[run.number] = run.figures.avg
        native = averages.pop(NATIVE, {})
        for engine, own in averages.items() if native else ():
            if form == PAGE:
                found = stats.ratio_of_means(list(own.values()), list(native.values()))
            else:
                found = stats.compare(stats.log_ratios(own, native))
            yield Ratio(engine, form, found)


def claims(runs: Sequence[Run], ratios: Sequence[Ratio]) -> Iterator[Claim]:
    """What the page says, held against these runs."""
    ours = {form: [each for each in runs if each.form == form] for form in (AS_RUN, CORRECTED)}
    for form, some in ours.items():
        if some:
            yield _authenticated(form, some)
            yield _extreme(form, "minimum", "challenge", [each.shortest for each in some])
            longest = _extreme(form, "maximum", AUTHENTICATED, [each.longest for each in some])
            queued = form == CORRECTED and any(each.saturated for each in some)
            yield replace(longest, verdict=UNKNOWN, figure=f"{longest.figure}; {QUEUED}") if queued else longest
    if ours[AS_RUN]:
        yield _excess(ours[AS_RUN])
    yield from _same_time(runs, ratios)


def _verdict(true: int, of: int) -> str:
    """A claim holds if every run bears it out."""
    return HOLDS if true == of else FAILS


def _authenticated(form: str, runs: Sequence[Run]) -> Claim:
    says = f"each registration is challenged, and resent with the authorization header ({form})"
    accepted, calls = [each.authenticated for each in runs], sum(each.calls for each in runs)
    if None in accepted:
        return Claim(says, UNKNOWN, "Kamailio's counter was not read")
    successful = sum(each.successful or 0 for each in runs)
    figure = f"{authenticated(runs)} registrations accepted in {calls} calls, of which {successful} succeeded"
    if not any(accepted):
        return Claim(says, FAILS, figure)
    # A retransmitted one is accepted twice, and a machine at its limit loses some: that refutes nothing.
    whole = successful == calls and all((each.authenticated or 0) >= each.calls for each in runs)
    return Claim(says, HOLDS if whole else UNKNOWN if any(each.saturated for each in runs) else FAILS, figure)


def authenticated(runs: Sequence[Run]) -> str:
    """How many registrations Kamailio has accepted; one that was sent twice counts twice."""
    if any(run.authenticated is None for run in runs):
        return "not read"
    return str(sum(run.authenticated or 0 for run in runs))


def _extreme(form: str, what: str, leg: str, legs: Sequence[tuple[str, ...]]) -> Claim:
    true = sum(leg in each for each in legs)
    request = "first REGISTER, challenged" if leg == "challenge" else "authenticated REGISTER"
    absent = "; there is no authenticated request" if leg == AUTHENTICATED and form != CORRECTED else ""
    seen = ", ".join(sorted({name for each in legs for name in each}))
    return Claim(
        f"the {what} is the {request} ({form})",
        _verdict(true, len(legs)),
        f"so it is in {true} of {len(legs)} runs; what it is at all: {seen}{absent}",
    )


def _excess(runs: Sequence[Run]) -> Claim:
    above = [each for each in runs if each.figures.cnt > 3 * each.calls]
    known = all(each.sent_again is not None for each in above)
    explained = sum(each.figures.cnt - (each.sent_again or 0) <= 3 * each.calls for each in above)
    low, high = min(each.figures.cnt for each in runs), max(each.figures.cnt for each in runs)
    return Claim(
        f"a count above 60000 comes from retransmissions ({AS_RUN})",
        _verdict(explained, len(above)) if above and known else UNKNOWN,
        f"{low} to {high} requests for {runs[0].calls} calls, in {len(above)} of {len(runs)} runs above three a call, "
        f"which what SIPp sent again explains in {explained}; "
        f"{sum(each.sent_again or 0 for each in runs)} retransmissions by its count. But three a call is what this "
        "traffic sends, and a registration takes two",
    )


def _same_time(runs: Sequence[Run], ratios: Sequence[Ratio]) -> Iterator[Claim]:
    for ratio in ratios:
        if ratio.engine == "lua" and ratio.form != AS_PRINTED:
            pair = [each for each in runs if each.form == ratio.form and each.engine in {NATIVE, "lua"}]
            queued = any(each.saturated for each in pair)
            yield Claim(
                f"native and Lua take more or less the same time ({ratio.form})",
                UNKNOWN if queued else _within(ratio.found),
                f"Lua's time against native's, over all requests: {interval(ratio.found)}"
                + (f"; {QUEUED}" if queued else ""),
            )


def _within(found: Comparison) -> str:
    """Whether a ratio is 1, give or take what the page's own runs can resolve."""
    low, high = found.ci_low, found.ci_high
    if low is None or high is None:
        return UNKNOWN
    if low >= 1 / MARGIN and high <= MARGIN:
        return HOLDS
    return FAILS if low > MARGIN or high < 1 / MARGIN else UNKNOWN


def interval(found: Comparison) -> str:
    """A ratio with its interval, as far as there is one."""
    if found.ratio is None:
        return "-"
    bounds = f" ({found.ci_low:.3f} to {found.ci_high:.3f})" if found.ci_low is not None else ""
    return f"{found.ratio:.3f}{bounds}"


def spread(runs: Sequence[Run]) -> tuple[float, float | None]:
    """Mean of the runs' averages and their standard deviation, in usec."""
    averages = [run.figures.avg for run in runs]
    return statistics.fmean(averages), statistics.stdev(averages) if len(averages) > 1 else None
