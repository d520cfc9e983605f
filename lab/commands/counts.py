"""The command about instructions: count, and what other commands show of such a run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.errors import Exit
from lab.output import say

if TYPE_CHECKING:
    from docker import DockerClient

    from lab.counts.figures import Counts
    from lab.model import Plan
    from lab.runner import Specification


def count(options: argparse.Namespace) -> int:
    """Count every cell's instructions, then the table."""
    from dataclasses import replace

    from lab import assembly, experiment, host
    from lab.model import Counting

    asked = experiment.read(options.file)
    client = host.engine()
    given = assembly.given(options.kamailio_source, options.kamailio_suite)
    counting = Counting(options.calls, options.warmup_calls)
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


def show(folder: Path, *, as_json: bool) -> int:
    """From its evidence."""
    from lab.counts import figures

    return _say(folder, figures.write(folder), as_json=as_json)


def report(folder: Path, plan: "Plan", output: Path | None, *, as_json: bool) -> int:
    """The same, and a page with figures where it is not for programs."""
    from lab.counts import figures
    from lab.report import counted, page

    profiles = figures.collect(folder)
    found = figures.write(folder, profiles)
    if not as_json:
        path = page.write(counted.build(folder, plan, found, profiles), output or folder / page.FOLDER)
        Console(stderr=True, highlight=False).print(f"the same with figures: {path}", markup=False, soft_wrap=True)
    return _say(folder, found, as_json=as_json)


def _say(folder: Path, found: "Counts", *, as_json: bool) -> int:
    from lab.counts import figures
    from lab.report import counts

    say((folder / figures.FILE).read_text(encoding="utf-8") if as_json else counts.text(found, folder), end="")
    return Exit.OK if found.valid else Exit.INVALID
