"""The 2018 page's table beside a run of its experiment: what it says, what its files do, what a correct one shows.

Right of the wall. The run is the specimen experiments/published-2018.toml; docs/2018.md says what is compared and why.
"""

import csv
import statistics
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lab import stats, store, versions
from lab.errors import BadInputError
from lab.frames import Frames, load
from lab.latency import Pooled, pooled
from lab.model import NATIVE, Cell, Plan
from lab.stats import Comparison

TABLE = versions.ROOT / "results" / "published-2018" / "published-5.2.0.csv"
EXPERIMENT = "published-2018"
COLUMNS = ("round", "slice", "cell", "method", "cseq", "leg", "retransmission", "usec")
AS_RUN, CORRECTED = "as-run", "corrected"
AUTHENTICATED = "authenticated"


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the page counts it: every latency line of a log in one heap; of ours, what else was seen."""

    engine: str
    form: str  # "published", or the scenario of ours
    number: int
    figures: Pooled
    calls: int = 0
    rate_per_s: float | None = None  # achieved
    successful: int | None = None  # calls, by SIPp
    retransmissions: int | None = None  # latency lines beyond what the scenario sends
    authenticated: int | None = None  # registrations that Kamailio accepted
    methods: dict[str, float] | None = None  # requests a call, retransmissions included
    replies: dict[str, float] | None = None  # stateless replies a call, by code
    extremes: tuple[str, str] = ("", "")  # legs of the shortest and of the longest request


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
    runs = tuple(_page()) + tuple(_ours(plan, frames))
    return Published(
        run=folder.name,
        kamailio=", ".join(plan.releases),
        offered_per_s=plan.rounds[0].slices[0].rate_per_s,
        runs=runs,
        ratios=tuple(_ratios(runs)),
        claims=tuple(_claims(runs)),
        legs=_legs(plan, frames.messages),
    )


def _page() -> Iterator[Run]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cnt, total, low, high = (int(row[name]) for name in ("cnt", "sum_usec", "min_usec", "max_usec"))
            figures = Pooled(cnt, total, low, high, float(row["avg_usec"]))
            yield Run(row["engine"], "published", int(row["run"]), figures, calls=20_000)


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
    in_order = lines.sort_values("usec")["leg"]
    return Run(
        engine=cell.engine,
        form=cell.scenario,
        number=int(row["round"]),
        figures=pooled(lines["usec"].tolist()),
        calls=calls,
        rate_per_s=float(row["sipp_rate_per_s"]),
        successful=whole("sipp_successful"),
        retransmissions=int(lines["retransmission"].sum()),
        authenticated=whole("registrations_accepted"),
        methods={str(name): int(count) / calls for name, count in lines["method"].value_counts().items() if count},
        replies={code: count / calls for code, count in replies.items() if count},
        extremes=(str(in_order.iloc[0]), str(in_order.iloc[-1])),
    )


def _legs(plan: Plan, messages: pd.DataFrame) -> dict[str, dict[str, float]]:
    first = messages[~messages["retransmission"].astype(bool)]
    means: dict[str, dict[str, float]] = {}
    for cell in plan.cells:
        if cell.scenario == CORRECTED and cell.name != plan.aa_cell:
            own = first[first["cell"] == cell.name].groupby("leg", observed=True)["usec"].mean()
            means[cell.engine] = {leg: float(own[leg]) for leg in plan.scenario(CORRECTED).leg_names if leg in own}
    return means


def _ratios(runs: Sequence[Run]) -> Iterator[Ratio]:
    """Ours in pairs, round by round; the page's runs have no partners."""
    for form in dict.fromkeys(run.form for run in runs):
        averages: dict[str, dict[int, float]] = {}
        for run in runs:
            if run.form == form:
                averages.setdefault(run.engine, {})[run.number] = run.figures.avg
        for engine, own in averages.items():
            if engine != NATIVE and NATIVE in averages:
                native = averages[NATIVE]
                paired = stats.compare(stats.log_ratios(own, native))
                free = stats.ratio_of_means(list(own.values()), list(native.values()))
                yield Ratio(engine, form, free if form == "published" else paired)


def _claims(runs: Sequence[Run]) -> Iterator[Claim]:
    run, correct = ([each for each in runs if each.form == form] for form in (AS_RUN, CORRECTED))
    if not run or not correct:
        return
    yield _authenticated(run, correct)
    yield _minimum(run, correct)
    yield _maximum(run, correct)
    yield _excess(run)
    yield from _same_time(runs)


def _authenticated(run: Sequence[Run], correct: Sequence[Run]) -> Claim:
    accepted, theirs = (sum(each.authenticated or 0 for each in some) for some in (run, correct))
    calls = sum(each.calls for each in run)
    return Claim(
        "each registration is challenged, and resent with the authorization header",
        "does not hold" if not accepted else "holds" if accepted == calls else "can't be told",
        f"as run: {accepted} of {calls} registrations authenticated; corrected: {theirs} of "
        f"{sum(each.calls for each in correct)}",
    )


def _minimum(run: Sequence[Run], correct: Sequence[Run]) -> Claim:
    right = sum(each.extremes[0] == "challenge" for each in correct)
    as_run = ", ".join(sorted({each.extremes[0] for each in run}))
    return Claim(
        "the minimum is the first REGISTER, which is challenged",
        "holds" if right == len(correct) else "does not hold",
        f"corrected: the shortest request is a challenge in {right} of {len(correct)} runs; as run it is: {as_run}",
    )


def _maximum(run: Sequence[Run], correct: Sequence[Run]) -> Claim:
    right = sum(each.extremes[1] == AUTHENTICATED for each in correct)
    as_run = ", ".join(sorted({each.extremes[1] for each in run}))
    return Claim(
        "the maximum is the REGISTER with valid credentials",
        "holds" if right == len(correct) else "does not hold",
        f"corrected: the longest request is an authenticated one in {right} of {len(correct)} runs; as run there is "
        f"none such, the longest is: {as_run}",
    )


def _excess(run: Sequence[Run]) -> Claim:
    excess = [each.figures.cnt - 3 * each.calls for each in run]
    repeats = [each.retransmissions or 0 for each in run]
    low, high = min(each.figures.cnt for each in run), max(each.figures.cnt for each in run)
    holds = excess == repeats
    return Claim(
        "a count above 60000 comes from retransmissions",
        "holds" if holds else "does not hold",
        f"as run: {low} to {high} requests, of which {sum(repeats)} in {len(run)} runs are retransmissions"
        f"{'' if holds else f' (beyond three a call: {sum(excess)})'}; but 60000 is three requests a call, and a "
        "registration takes two",
    )


def _same_time(runs: Sequence[Run]) -> Iterator[Claim]:
    for ratio in _ratios(runs):
        if ratio.engine == "lua" and ratio.form != "as-printed":
            found = ratio.found
            told = found.ci_low is not None and found.excludes_one
            yield Claim(
                f"native and Lua take more or less the same time ({ratio.form})",
                "does not hold" if told else "can't be told",
                f"Lua takes {_times(found)} native's time, over all requests",
            )


def _times(found: Comparison) -> str:
    if found.ratio is None:
        return "an unknown part of"
    if found.ci_low is None or found.ci_high is None:
        return f"{found.ratio:.3f} times (no interval)"
    return f"{found.ratio:.3f} times ({found.ci_low:.3f} to {found.ci_high:.3f})"


def spread(runs: Sequence[Run]) -> tuple[float, float | None]:
    """Mean of the runs' averages and their standard deviation, in usec."""
    averages = [run.figures.avg for run in runs]
    return statistics.fmean(averages), statistics.stdev(averages) if len(averages) > 1 else None
