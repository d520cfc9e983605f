"""What a report shows, in its order: each section a sentence on what to see, a table, and mostly a figure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lab import figures, published
from lab.model import NATIVE, Plan
from lab.observation import WAYS
from lab.report import charts, machine, story, view, words
from lab.report.charts import Dot
from lab.report.section import Section
from lab.summary import Summary

SHARES = tuple(np.round(np.concatenate([np.linspace(0, 0.98, 99), np.linspace(0.982, 0.999, 18)]), 4).tolist())
MOST_LISTED = 200  # failed checks: a page is to be read


@dataclass(frozen=True, slots=True)
class Told:
    """A run as its folder tells it."""

    folder: Path
    plan: Plan
    summary: Summary
    slices: pd.DataFrame  # all that ran
    timed: pd.DataFrame  # those that figures are made of
    first: pd.DataFrame  # their messages: first transmissions

    @property
    def cells(self) -> list[str]:
        """What has figures, but for the baseline's twin."""
        return [name for name in self.summary.cells if name not in {self.summary.aa_cell, *self.summary.broken}]

    def name(self, cell: str) -> str:
        """As a reader calls it."""
        return story.name(cell, self.summary)

    @property
    def names(self) -> list[str]:
        """Of all cells, in the order that gives each its colour."""
        return [self.name(cell) for cell in self.summary.cells]

    @property
    def whole(self) -> str:
        """What all legs of a call together are called, if that is one thing."""
        found = {self.summary.cells[cell].whole for cell in self.cells}
        return found.pop() if len(found) == 1 else "call"


def all_of(told: Told) -> Iterator[Section]:
    """In the order in which an engineer asks."""
    for make in (_ratios, _distributions, _rounds, _replies, _cpu_time, _releases):
        yield from make(told)
    yield from machine.cpus_of(told.folder)
    for make in (_validity, _observer, _page_of_2018):
        yield from make(told)
    yield from machine.environment_of(told.folder, told.plan)


def _ratios(told: Told) -> Iterator[Section]:
    rows = [row for row in told.summary.comparisons if row.cell in told.cells and row.ratio is not None]
    if not rows:
        return
    twin = {row.leg: row for row in told.summary.comparisons if row.cell == told.summary.aa_cell}
    panels: dict[str, list[Dot]] = {}
    for row in rows:
        panels.setdefault(row.leg, []).append(
            Dot(told.name(row.cell), row.ratio or 1.0, row.ci_low, row.ci_high, row.mde)
        )
    # One baseline has a twin; where cells of a panel have others it says nothing of them.
    bands = {
        leg: (row.ci_low, row.ci_high)
        for leg, row in twin.items()
        if row.ci_low and row.ci_high and {one.baseline for one in rows if one.leg == leg} == {row.baseline}
    }
    yield Section(
        "ratios",
        "What it costs, as a multiple of the baseline",
        "A dot is the ratio of means over rounds, its bar the interval. The shaded band is the baseline against "
        "itself: a cell whose bar lies outside of it differs. Dashed marks: the least difference that this run would "
        "have found in four cases of five.",
        ("leg", "cell", "baseline", "ratio", f"interval at {1 - told.plan.alpha:.1%}", "detectable", "rounds"),
        tuple(
            (
                row.leg,
                told.name(row.cell),
                told.name(row.baseline),
                words.ratio(row.ratio),
                words.interval(row),
                words.percent(row.mde),
                str(row.n_rounds),
            )
            for row in (*rows, *twin.values())
        ),
        lambda: charts.dots(panels, "times the baseline", order=told.names, bands=bands),
    )


def _distributions(told: Told) -> Iterator[Section]:
    legs: dict[str, dict[str, list[float]]] = {}
    rows = []
    for cell in told.cells:
        for leg, one in told.summary.cells[cell].legs.items():
            usec = told.first.loc[(told.first["cell"] == cell) & (told.first["leg"] == leg), "usec"].to_numpy()
            if not usec.size:
                continue
            legs.setdefault(leg, {})[told.name(cell)] = np.maximum(np.quantile(usec, SHARES), 0.5).tolist()
            figures_ = (one.p10_usec, one.median_usec, one.mean_usec, one.p95_usec, one.p99_usec, one.max_usec)
            rows.append((leg, told.name(cell), str(one.count), *(words.usec(each) for each in figures_)))
    if legs:
        yield Section(
            "distributions",
            "How long requests take",
            "What share of requests took at most so long: a line further to the right is slower, a long flat top is a "
            "long tail. The last thousandth is in the table alone. Legs are never mixed, as they differ several times "
            "over.",
            ("leg", "cell", "requests", "p10", "median", "mean", "p95", "p99", "max"),
            tuple(rows),
            lambda: charts.distributions(legs, SHARES, told.names),
        )


def _rounds(told: Told) -> Iterator[Section]:
    costs = figures.costs(told.plan, told.first)
    names = [name for name in (*told.cells, told.summary.aa_cell) if name in told.summary.cells]
    legs: dict[str, dict[str, Mapping[int, float]]] = {}
    for name in names:
        for (cell, leg), by_round in costs.items():
            if cell == name and by_round:
                legs.setdefault(leg, {})[told.name(name)] = by_round
    if not legs or len(told.plan.rounds) < 2:  # noqa: PLR2004  (one round is no course)
        return
    steady = {one.round: one for one in told.summary.rounds}
    yield Section(
        "rounds",
        "Rounds, one after the other",
        "Means of each round. Lines that rise and fall together are the machine's own drift, which a ratio does not "
        "see; a line that leaves the others for a round is an outlier.",
        ("leg", "cell", *(f"r{number.number}" for number in told.plan.rounds)),
        (
            *(
                (leg, cell, *(words.usec(by_round.get(number.number), 1) for number in told.plan.rounds))
                for leg, cells in legs.items()
                for cell, by_round in cells.items()
            ),
            (
                "second half of a round against its first",
                "",
                *(
                    words.ratio(steady[number.number].ratio if number.number in steady else None)
                    for number in told.plan.rounds
                ),
            ),
        ),
        lambda: charts.rounds(legs, "usec", told.names),
    )


def _replies(told: Told) -> Iterator[Section]:
    rows = []
    for cell in told.cells:
        own = told.timed[told.timed["cell"] == cell]
        calls = int(own["sipp_successful"].sum())
        counted = [own[name].sum(min_count=1) for name in ("replies_1xx", "replies_401", "replies_200", "replies_404")]
        per_call = ["-" if not calls or pd.isna(number) else f"{float(number) / calls:.3f}" for number in counted]
        seen = told.summary.cells[cell]
        again = (str(seen.retransmissions_in_all), str(seen.failed_calls_in_all))
        rows.append((told.name(cell), str(calls), *per_call, *again))
    if rows:
        yield Section(
            "replies",
            "Replies and retransmissions",
            "Replies that Kamailio sent for each call, by its own count. All cells should send the same; "
            "retransmissions and failed calls should be none, since a request that comes twice is answered twice.",
            ("cell", "calls", "1xx", "401", "200", "404", "retransmissions (all slices)", "failed calls (all slices)"),
            tuple(rows),
        )


def _cpu_time(told: Told) -> Iterator[Section]:
    kamailio: dict[str, float] = {}
    for cell in told.cells:
        used = figures.cpu_usec_per_call(told.timed[told.timed["cell"] == cell])
        if used is not None:
            kamailio[cell] = used
    if not kamailio:
        return
    if told.plan.turn_msec:
        # Who used the one server cannot be told there: the mean of all cells.
        mean = database_usec(told.slices, told.timed)
        database = dict.fromkeys(kamailio, mean)
        how = " Cells took turns, so the database's part is the mean of all of them."
    else:
        database = {cell: database_usec(told.timed, told.timed[told.timed["cell"] == cell]) for cell in kamailio}
        how = ""
    parts = {told.name(cell): (used, database[cell] or 0.0) for cell, used in kamailio.items()}
    yield Section(
        "cpu-time",
        f"CPU time of a {told.whole}",
        f"What Kamailio's processes and the database server burn for a {told.whole}, inside of request_route and "
        f"outside of it.{how}",
        ("cell", "Kamailio, usec", "database, usec", "database's share"),
        tuple(
            (told.name(cell), words.usec(used), words.usec(database[cell]), words.percent(_part(database[cell], used)))
            for cell, used in kamailio.items()
        ),
        lambda: charts.bars(parts, ("Kamailio", "database"), f"usec of CPU time a {told.whole}"),
    )


def database_usec(slices: pd.DataFrame, timed: pd.DataFrame) -> float | None:
    """CPU time of the database a call, over the blocks that timed slices lie in; None where nobody has measured it.

    Slices of a block are under load in the same seconds, and each has what the server used in all of them.
    """
    ran = slices.sort_values(["round", "begun_usec"])
    ends = (ran["begun_usec"] + ran["duration_usec"] / 2).groupby(ran["round"]).shift()
    block = (ends.isna() | (ran["begun_usec"] > ends)).cumsum()
    blocks = ran.assign(block=block, counts=ran["slice"].isin(timed["slice"])).groupby("block")
    whole = blocks.agg(used=("mysql_cpu_usec", "mean"), calls=("sipp_successful", "sum"), counts=("counts", "any"))
    whole = whole[whole["counts"] & whole["used"].notna() & (whole["calls"] > 0)]
    return float(whole["used"].sum() / whole["calls"].sum()) if len(whole) else None


def _part(one: float | None, other: float) -> float | None:
    return None if one is None or not one + other else one / (one + other)


def _releases(told: Told) -> Iterator[Section]:
    """Where several were measured: each engine over the baseline of its own release."""
    releases = sorted(told.plan.releases, key=_version)
    found = [
        (row, told.summary.cells[row.cell])
        for row in told.summary.comparisons
        if row.cell in told.cells
        and row.ratio is not None
        and row.leg == told.summary.cells[row.cell].whole
        and told.summary.cells[row.cell].kamailio == told.summary.cells[row.baseline].kamailio
    ]
    if len(releases) < 2 or not found:  # noqa: PLR2004
        return
    found.sort(key=lambda each: (each[1].engine, releases.index(each[1].kamailio)))
    lines: dict[str, dict[str, float]] = {}
    for row, cell in found:
        lines.setdefault(story.ENGINES.get(cell.engine, cell.engine), {})[cell.kamailio] = row.ratio or 1.0
    single = sum(map(len, lines.values())) == len(found)  # where another factor has several, no line is one engine's
    yield Section(
        "releases",
        "From release to release",
        "Each engine against the baseline of the same release, the oldest release first.",
        ("cell", "release", "ratio", "interval"),
        tuple((told.name(row.cell), cell.kamailio, words.ratio(row.ratio), words.interval(row)) for row, cell in found),
        (lambda: charts.trend(lines, releases, "times the baseline")) if single else None,
    )


def _version(release: str) -> list[tuple[int, str]]:
    """So that 5.10 comes after 5.9, and a given source somewhere."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in release.split(".")]


def _validity(told: Told) -> Iterator[Section]:
    found = told.summary
    reasons = [reason for cell in found.cells.values() for reason in cell.reasons]
    yield Section(
        "validity",
        "What counts, and what was left out",
        f"A slice that fails a check is run again, {told.plan.repeats} times at most. This run: {view.verdict(found)}.",
        ("cell", "valid", "invalid", "not run", "repeats"),
        tuple(
            (
                told.name(name),
                *(
                    str(number)
                    for number in (cell.slices_valid, cell.slices_invalid, cell.slices_missing, cell.slices_repeated)
                ),
            )
            for name, cell in found.cells.items()
        ),
        lines=(
            *view.remarks(found),
            *(f"{name} is broken: {why}" for name, why in found.broken.items()),
            *reasons[:MOST_LISTED],
            *([f"and {len(reasons) - MOST_LISTED} more, in summary.json"] if len(reasons) > MOST_LISTED else []),
        ),
        warning=not found.valid,
    )


def _observer(told: Told) -> Iterator[Section]:
    slices, found = told.timed, told.summary
    facts = [
        (
            words.percent(found.driver_share),
            "time that the driver adds between a round's slices, of the load's own",
        ),
        (_share(slices, "driver_cpu_share"), "of a CPU that the driver had while load was on, on average"),
        (_share(slices, "foreign_cpu_share"), "of Kamailio's CPUs that went to anybody else, on average"),
        (
            _share(slices, "sipp_cpu_share", told.plan.at_once),
            "of a CPU that the SIPps of all cells under load at a time had, on average: from 80 % on a limit",
        ),
    ]
    ways = sorted({cell.observe for cell in told.plan.cells})
    yield Section(
        "observer",
        "What measuring itself takes",
        "Latency lines cost time as well, in every cell alike: lab observer measures how much, docs/observer.md has "
        f"figures. Here: {', '.join(f'{way} ({WAYS[way].sink})' for way in ways)}.",
        ("share", "of what"),
        tuple(facts),
    )


def _page_of_2018(told: Told) -> Iterator[Section]:
    """Where both have an engine; the page's Python is Python 2."""
    there = {one.engine: one.found for one in published.of_the_page()}
    rows = []
    for row in told.summary.comparisons:
        cell = told.summary.cells[row.cell]
        engine = cell.engine.removesuffix("3")
        over_native = told.summary.cells[row.baseline].engine == NATIVE and row.cell != told.summary.aa_cell
        if over_native and row.cell in told.cells and row.leg == cell.whole and engine in there:
            theirs = f"{words.ratio(there[engine].ratio)} ({words.interval(there[engine])})"
            ours = f"{words.ratio(row.ratio)} ({words.interval(row)})"
            rows.append((told.name(row.cell), ours, row.leg, story.ENGINES[engine], theirs))
    if rows:
        yield Section(
            "published",
            "What the page of 2018 says",
            "Another machine, Kamailio 5.2.0, all requests in one heap, and very probably without authentication: it "
            "stands here to be looked at, not to be compared with (docs/2018.md).",
            ("cell", "here, over native", "of what", "there", "there, over native, all requests"),
            tuple(rows),
        )


def _share(slices: pd.DataFrame, column: str, times: int = 1) -> str:
    values = slices[column].dropna()
    return words.percent(float(values.mean()) * times) if len(values) else words.ABSENT
