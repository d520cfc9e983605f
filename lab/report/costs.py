"""Sections on what a call costs beside its time: replies, and CPU time of Kamailio and the database."""

from collections.abc import Iterator

import pandas as pd

from lab import figures
from lab.report import charts, words
from lab.report.section import Section
from lab.report.told import Told


def replies(told: Told) -> Iterator[Section]:
    """What Kamailio answered to each call, and what came twice."""
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


def cpu_time(told: Told) -> Iterator[Section]:
    """Of Kamailio and of the database a call; nothing where nobody could count it."""
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
    ran = slices.sort_values(["round", "start", "begun_usec"])
    ends = (ran["begun_usec"] + ran["duration_usec"] / 2).groupby([ran["round"], ran["start"]]).shift()
    block = (ends.isna() | (ran["begun_usec"] > ends)).cumsum()
    blocks = ran.assign(block=block, counts=ran["slice"].isin(timed["slice"])).groupby("block")
    whole = blocks.agg(used=("mysql_cpu_usec", "mean"), calls=("sipp_successful", "sum"), counts=("counts", "any"))
    whole = whole[whole["counts"] & whole["used"].notna() & (whole["calls"] > 0)]
    return float(whole["used"].sum() / whole["calls"].sum()) if len(whole) else None


def _part(one: float | None, other: float) -> float | None:
    return None if one is None or not one + other else one / (one + other)
