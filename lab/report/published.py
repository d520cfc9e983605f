"""The published experiment's result page, as Markdown: the page of 2018 beside this lab's run of it."""

import math
from collections.abc import Iterator, Sequence

from lab.published import AS_PRINTED, AS_RUN, CORRECTED, PAGE, Published, Ratio, Run, authenticated, interval, spread
from lab.report.markdown import table

FORMS = {
    PAGE: "the page, 2018",
    AS_PRINTED: "its files as printed",
    AS_RUN: "its files with a plain Call-ID, as they must have been run",
    CORRECTED: "a correct registration",
}


def markdown(found: Published) -> str:
    """The whole page."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Published) -> Iterator[str]:
    yield f"# The experiment of 2018, repeated: {found.run}"
    yield ""
    yield (
        f"Kamailio {found.kamailio}, conditions of the page as far as they can be had (docs/2018.md), another machine: "
        "times of the page and of this run are not to be compared, only what happens in them. "
        f"Offered: {found.offered_per_s} calls a second."
    )
    yield ""
    yield "## What the page says, and what was found"
    yield ""
    yield from table(("The page", "", "Found"), [(c.says, f"**{c.verdict}**", c.figure) for c in found.claims])
    yield ""
    yield "## An engine's time against native's, over all requests"
    yield ""
    yield from table(("", *FORMS), [_ratio_row(engine, found.ratios) for engine in _engines(found.ratios)])
    yield ""
    yield (
        "Ratio and 95 % interval; of the page by Fieller (its runs have no partners; Welch's degrees of freedom), of "
        "this run by Student over rounds."
    )
    yield ""
    yield "## A correct registration, leg by leg"
    yield ""
    legs = list(dict.fromkeys(leg for means in found.legs.values() for leg in means))
    rows = [
        (engine, *(f"{means[leg]:.1f}" if leg in means else "-" for leg in legs))
        for engine, means in found.legs.items()
    ]
    yield from table(("mean, usec", *legs), rows)
    yield ""
    yield "## What a call does"
    yield ""
    head = (
        "form",
        "engine",
        "achieved calls/s",
        "lines a call",
        "requests a call, each once",
        "stateless replies a call",
        "retransmissions",
        "authenticated",
    )
    yield from table(head, list(_calls(found)))
    yield ""
    yield "## What failed of the lab's own checks"
    yield ""
    checked = ("form", "engine", "run", "datagrams lost", "workers waited for a CPU", "torn lines", "failed checks")
    yield from table(checked, [_checks(run) for run in found.runs if run.failed_checks is not None])
    yield ""
    yield "## Every run, as the page's awk script counts it"
    for form, what in FORMS.items():
        runs = found.of(form)
        if runs:
            yield ""
            yield f"### {form}: {what}"
            yield ""
            yield from table(("engine", "run", "cnt", "sum", "min", "max", "avg"), [_awk(run) for run in runs])
            yield ""
            for engine in dict.fromkeys(run.engine for run in runs):
                mean, deviation = spread([run for run in runs if run.engine == engine])
                yield (
                    f"{engine}: mean of avg {mean:.1f}"
                    + (f", sd {deviation:.1f}" if deviation is not None else "")
                    + "  "
                )


def _engines(ratios: Sequence[Ratio]) -> list[str]:
    return list(dict.fromkeys(ratio.engine for ratio in ratios))


def _checks(run: Run) -> tuple[str, ...]:
    delay = "-" if run.run_delay is None else f"{run.run_delay:.0%}"
    values = (run.number, run.lost, delay, run.torn, run.failed_checks)
    return (run.form, run.engine, *("-" if value is None else str(value) for value in values))


def _ratio_row(engine: str, ratios: Sequence[Ratio]) -> tuple[str, ...]:
    def text(form: str) -> str:
        for ratio in ratios:
            if (ratio.engine, ratio.form) == (engine, form):
                return interval(ratio.found)
        return "-"

    return (engine, *map(text, FORMS))


def _calls(found: Published) -> Iterator[tuple[str, ...]]:
    for form in FORMS:
        for engine in dict.fromkeys(run.engine for run in found.of(form) if run.methods is not None):
            runs = [run for run in found.of(form) if run.engine == engine]
            yield (
                form,
                engine,
                _range([run.rate_per_s for run in runs], 0),
                _range([run.figures.cnt / run.calls for run in runs], 3),
                _shares([run.methods or {} for run in runs]),
                _shares([run.replies or {} for run in runs]),
                _range([run.retransmissions for run in runs], 0),
                authenticated(runs),
            )


def _shares(counts: Sequence[dict[str, float]]) -> str:
    names = dict.fromkeys(name for each in counts for name in each)
    return ", ".join(f"{name} {_range([each.get(name, 0.0) for each in counts], 3)}" for name in names)


def _range(values: Sequence[float | None], digits: int) -> str:
    """What is not known of one run is not known of all."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if len(known) < len(values):
        return "-"
    low, high = (f"{value:.{digits}f}" for value in (min(known), max(known)))
    return low if low == high else f"{low} to {high}"


def _awk(run: Run) -> tuple[str, ...]:
    figures = run.figures
    return (
        run.engine,
        *(str(value) for value in (run.number, figures.cnt, figures.sum, figures.min, figures.max)),
        f"{figures.avg:.6g}",
    )
