"""The command about instructions: count, and what other commands show of such a run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.errors import Exit
from lab.output import say

if TYPE_CHECKING:
    from docker import DockerClient

    from lab.runner import Specification


def count(options: argparse.Namespace) -> int:
    """Count every cell's instructions, then the table."""
    from dataclasses import replace

    from lab import assembly, experiment, host
    from lab.model import Counting

    asked = experiment.read(options.file)
    client = host.engine()
    given = assembly.given(options.kamailio_source, options.kamailio_suite)
    counting = Counting(options.calls, options.warmup_calls, options.probes)
    specification = assembly.specify(asked, client, given=given, counting=(counting, options.repeats))
    if options.share_cpus:
        specification = replace(specification, share_cpus=True)
    return show(carry_out(specification, client, options.results), as_json=options.json)


def carry_out(specification: "Specification", client: "DockerClient", results: Path) -> Path:
    """Count it, with its progress on standard error; the sealed folder."""
    from lab import runner, validity
    from lab.progress import Lines

    console = Console(stderr=True, highlight=False)
    return runner.count(specification, client, results, judge_start=validity.judge_start, reporter=Lines(console))


def show(folder: Path, *, as_json: bool, again: bool = True) -> int:
    """From its evidence; not `again` where its figures are kept."""
    from lab.counts import figures
    from lab.report import counts

    found = figures.write(folder) if again else figures.read(folder)
    say((folder / figures.FILE).read_text(encoding="utf-8") if as_json else counts.text(found, folder), end="")
    return Exit.OK if found.valid else Exit.INVALID
