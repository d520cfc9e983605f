"""Sections on how long requests take: ratios, distributions, rounds, releases."""

from collections.abc import Iterator, Mapping

import numpy as np

from lab import figures
from lab.figures import LegComparison
from lab.report import charts, story, words
from lab.report.charts import Dot
from lab.report.section import Section
from lab.report.told import Told
from lab.summary import CellSummary

SHARES = tuple(np.round(np.concatenate([np.linspace(0, 0.98, 99), np.linspace(0.982, 0.999, 18)]), 4).tolist())


def ratios(told: Told) -> Iterator[Section]:
    """Each cell over its baseline, with the baseline against itself."""
    rows = [row for row in told.summary.comparisons if row.cell in told.cells and row.ratio is not None]
    if not rows:
        return
    twin = {row.leg: row for row in told.summary.comparisons if row.cell == told.summary.aa_cell}
    panels: dict[str, list[Dot]] = {}
    for row in rows:
        panels.setdefault(row.leg, []).append(_dot(told.name(row.cell), row))
    # One baseline has a twin; where cells of a panel have others it says nothing of them.
    bands = {
        leg: (row.ci_low, row.ci_high)
        for leg, row in twin.items()
        if row.ci_low and row.ci_high and {one.baseline for one in rows if one.leg == leg} == {row.baseline}
    }
    for leg, row in twin.items():
        if leg in panels and leg not in bands and row.ratio is not None:
            panels[leg].append(_dot(told.name(row.cell), row))
    yield Section(
        "ratios",
        "What it costs, as a multiple of the baseline",
        f"A dot is the ratio of means over rounds, its bar the interval. {_itself(bands, told)} "
        "Dashed marks: the least difference that this run would have found in four cases of five.",
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


def _dot(name: str, row: LegComparison) -> Dot:
    return Dot(name, row.ratio or 1.0, row.ci_low, row.ci_high, row.mde)


def _itself(bands: Mapping[str, tuple[float, float]], told: Told) -> str:
    """What a figure shows of the baseline against itself."""
    said = []
    if bands:
        said.append("The shaded band is the baseline against itself: a cell whose bar lies outside of it differs.")
    if len({row.baseline for row in told.summary.comparisons}) > 1:
        twin = told.name(told.summary.aa_cell)
        said.append(f"There are several baselines: the table names each. {twin} is one of them against itself.")
    return " ".join(said)


def distributions(told: Told) -> Iterator[Section]:
    """What share of requests took at most so long."""
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


def rounds(told: Told) -> Iterator[Section]:
    """Means of each round, and whether it was steady."""
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


def releases(told: Told) -> Iterator[Section]:
    """Where several were measured: each engine over the baseline of its own release."""
    releases = sorted(told.plan.releases, key=_version)
    found = [
        (row, told.summary.cells[row.cell])
        for row in told.summary.comparisons
        if row.cell in told.cells and row.ratio is not None and row.leg == told.summary.cells[row.cell].whole
    ]
    if len(releases) < 2 or not found:  # noqa: PLR2004
        return
    found.sort(key=lambda each: (each[1].engine, releases.index(each[1].kamailio)))
    lines: dict[str, dict[str, Dot]] = {}
    for row, cell in found:
        lines.setdefault(_line(cell, told.summary.cells[row.baseline]), {})[cell.kamailio] = _dot(row.cell, row)
    single = sum(map(len, lines.values())) == len(found)  # where another factor has several, no line is one engine's
    yield Section(
        "releases",
        "From release to release",
        "Each engine against its baseline, which is of the same release where nothing else is said; the oldest release "
        "first. Where bars of two releases overlap a lot, this run does not tell them apart.",
        ("cell", "release", "ratio", "interval"),
        tuple((told.name(row.cell), cell.kamailio, words.ratio(row.ratio), words.interval(row)) for row, cell in found),
        (lambda: charts.trend(lines, releases, "times the baseline")) if single else None,
    )


def _line(cell: CellSummary, baseline: CellSummary) -> str:
    engine = story.ENGINES.get(cell.engine, cell.engine)
    if cell.kamailio == baseline.kamailio:
        return engine
    other = "its own" if cell.engine == baseline.engine else story.ENGINES.get(baseline.engine, baseline.engine)
    return f"{engine}, over {other} of {baseline.kamailio}"


def _version(release: str) -> list[tuple[int, str]]:
    """So that 5.10 comes after 5.9, and a given source somewhere."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in release.split(".")]
