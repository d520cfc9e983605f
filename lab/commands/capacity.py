"""Commands about the highest rates: capacity, and what other commands show of such a run."""

import argparse
from pathlib import Path

from rich.console import Console

from lab.errors import Exit
from lab.output import say


def capacity(options: argparse.Namespace) -> int:
    """Search the highest rate of every cell, then the table."""
    from dataclasses import replace

    from lab import assembly, experiment, host, runner, validity
    from lab.progress import Lines
    from lab.search import RFC7502

    asked = experiment.read(options.file)
    client = host.engine()
    given = assembly.given(options.kamailio_source, options.kamailio_suite)
    specification = assembly.specify(asked, client, given=given)
    if options.share_cpus:
        specification = replace(specification, share_cpus=True)
    if options.rfc7502:
        specification = replace(specification, asked=replace(specification.asked, search=RFC7502))
    folder = runner.capacity(
        specification,
        client,
        options.results,
        judge_start=validity.judge_start,
        reporter=Lines(Console(stderr=True, highlight=False)),
    )
    return show(folder, as_json=options.json)


def show(folder: Path, *, as_json: bool) -> int:
    """From its evidence."""
    from lab import capacity as figures
    from lab.report import capacity as report

    found = figures.write(folder)
    if as_json:
        say((folder / figures.FILE).read_text(encoding="utf-8"), end="")
    else:
        say(report.text(found, folder), end="")
    return Exit.OK if found.valid else Exit.INVALID
