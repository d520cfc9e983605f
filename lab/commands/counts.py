"""The command about instructions: count, and what other commands show of such a run."""

import argparse
from pathlib import Path

from rich.console import Console

from lab.errors import Exit
from lab.output import say


def count(options: argparse.Namespace) -> int:
    """Count every cell's instructions, then the table."""
    from dataclasses import replace

    from lab import assembly, experiment, host, runner, validity
    from lab.model import Counting
    from lab.progress import Lines

    asked = experiment.read(options.file)
    client = host.engine()
    given = assembly.given(options.kamailio_source, options.kamailio_suite)
    counting = Counting(options.calls, options.warmup_calls)
    specification = assembly.specify(asked, client, given=given, counting=(counting, options.repeats))
    if options.share_cpus:
        specification = replace(specification, share_cpus=True)
    folder = runner.count(
        specification,
        client,
        options.results,
        judge_start=validity.judge_start,
        reporter=Lines(Console(stderr=True, highlight=False)),
    )
    return show(folder, as_json=options.json)


def show(folder: Path, *, as_json: bool) -> int:
    """From its evidence."""
    from lab.counts import figures
    from lab.report import counts as report

    found = figures.write(folder)
    if as_json:
        say((folder / figures.FILE).read_text(encoding="utf-8"), end="")
    else:
        say(report.text(found, folder), end="")
    return Exit.OK if found.valid else Exit.INVALID
