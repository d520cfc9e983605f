"""Commands about runs: run, frames, report, published, resolution, observer."""

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.commands.capacity import show as show_capacity
from lab.commands.counts import show as show_counts
from lab.errors import Exit
from lab.model import Plan
from lab.output import say

if TYPE_CHECKING:
    from docker import DockerClient

    from lab.runner import Specification
    from lab.running import Enough
    from lab.summary import Summary


def run(options: argparse.Namespace) -> int:
    """Measure, then figures, then the table."""
    return _analyse(_measure(options, new_rate=options.new_rate), as_json=options.json)


def _measure(options: argparse.Namespace, *, new_rate: bool = False) -> Path:
    """Run the experiment of a file; its sealed folder."""
    from lab import assembly, experiment, host

    asked = experiment.read(options.file)  # what the user wrote comes first
    client = host.engine()
    given = assembly.given(options.kamailio_source, options.kamailio_suite)
    specification = assembly.specify(asked, client, given=given)
    if new_rate:
        if not specification.plan.rate_share:
            raise asked.fault("rate_per_s", "is no rate to be searched", '--new-rate is for rate_per_s = "auto"')
        specification = replace(specification, asked=replace(specification.asked, new_rate=True))
    if options.share_cpus:
        specification = replace(specification, share_cpus=True)
    return carry_out(specification, client, options.results)


def carry_out(specification: "Specification", client: "DockerClient", results: Path, **rule: "Enough") -> Path:
    """Run it, with its progress on standard error; the sealed folder.

    `enough` may be given, as lab.runner has it: by a gate, whose ratios are of trimmed means.
    """
    from lab import runner, trimmed, validity
    from lab.progress import RunProgress
    from lab.running import whole_mean
    from lab.session import Judges

    mean = trimmed.mean if rule else whole_mean
    with RunProgress(Console(stderr=True, highlight=False), specification.plan, mean) as progress:
        judges = Judges(validity.judge, validity.judge_start)
        return runner.run(specification, client, results, judges=judges, reporter=progress, **rule)


def resume(options: argparse.Namespace) -> int:
    """What is left of a run, then figures and table of all of it."""
    from lab import host, resume, store, validity
    from lab.progress import Lines, RunProgress
    from lab.search import failures
    from lab.session import Judges, Reporter

    kept = resume.read(store.find(options.results, options.run))
    client = host.engine()
    judges = Judges(failures if kept.asked.capacity else validity.judge, validity.judge_start)
    console = Console(stderr=True, highlight=False)

    def go_on(reporter: Reporter) -> None:
        resume.resume(kept.folder, client, judges=judges, reporter=reporter, share_cpus=options.share_cpus)

    if kept.asked.capacity or kept.plan.counting:
        go_on(Lines(console))
    else:
        with RunProgress(console, kept.plan, already=[record.plan for _, record in kept.slices]) as progress:
            go_on(progress)
    return _analyse(kept.folder, as_json=options.json)


def frames(options: argparse.Namespace) -> int:
    """Figures again, from the evidence; frames as CSV, too, where that is asked for."""
    from lab import capacity, dataset, store
    from lab.counts import figures as counts
    from lab.errors import BadInputError

    folder = store.find(options.results, options.run)
    if options.csv and (capacity.is_one(folder) or counts.is_one(folder)):
        raise BadInputError(f"{folder.name}: has no frames", remedy=f"its figures: lab report {folder.name} --json")
    code = _analyse(folder, as_json=options.json)
    if options.csv:
        dataset.write_csv(folder)
    return code


def open_(options: argparse.Namespace) -> int:
    """What is inside a run's folder."""
    from lab import dataset, store
    from lab.report.markdown import table

    folder = store.find(options.results, options.run)
    parts = list(dataset.parts(folder))
    if options.json:
        say(json.dumps({"path": str(folder), "parts": [asdict(part) for part in parts]}, indent=1))
        return Exit.OK
    rows = [
        (part.path, f"{part.size / 1000:.0f}", "" if part.rows is None else f"{part.rows} x {part.columns}", part.what)
        for part in parts
    ]
    say(f"{folder}\n")
    say("\n".join(table(("what", "kB", "rows x columns", "is"), rows)))
    if parts[0].rows is not None:
        say(f'\nimport pandas as pd; pd.read_parquet("{folder}/frames/messages.parquet")    more: docs/dataset.md')
    return Exit.OK


def report(options: argparse.Namespace) -> int:
    """The table again, and the same as a page, as Markdown and as figures; with --json only figures for programs."""
    from lab import capacity, store, summary
    from lab.counts import figures

    folder = store.find(options.results, options.run)
    if figures.is_one(folder):
        code = show_counts(folder, as_json=options.json, again=False)
    elif capacity.is_one(folder):
        code = show_capacity(folder, as_json=options.json)
    else:
        code = _show(folder, summary.read(folder), as_json=options.json)
    if not options.json:
        from lab.report import kinds, page

        path = page.write(kinds.build(folder), options.output or folder / page.FOLDER)
        Console(stderr=True, highlight=False).print(f"the same with figures: {path}", markup=False, soft_wrap=True)
    return code


def published(options: argparse.Namespace) -> int:
    """The page of 2018 beside a run of it."""
    from lab import published, store
    from lab.report import published as page

    found = published.read(store.find(options.results, options.run))
    say(json.dumps(asdict(found), indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK


def resolution(options: argparse.Namespace) -> int:
    """What a run can tell apart."""
    from lab import resolution, store
    from lab.report import resolution as page

    found = resolution.read(store.find(options.results, options.run))
    say(json.dumps(asdict(found), indent=1) if options.json else page.text(found), end="\n" * options.json)
    return Exit.OK if found.valid else Exit.INVALID


def observer(options: argparse.Namespace) -> int:
    """What measuring costs: of an experiment that is run for it, or of an earlier run."""
    from lab import dataset, observer, store
    from lab.report import observer as page

    if options.what.endswith(".toml"):
        options.file = Path(options.what)
        folder = _measure(options)
        dataset.derive(folder)
    else:
        folder = store.find(options.results, options.what)
    found = observer.read(folder)
    say(json.dumps(asdict(found), indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK if found.valid else Exit.INVALID


def _analyse(folder: Path, *, as_json: bool) -> int:
    """Right of the wall: evidence -> frames -> summary -> table."""
    from lab import capacity, dataset
    from lab.counts import figures

    if capacity.is_one(folder):
        return show_capacity(folder, as_json=as_json)
    if figures.is_one(folder):
        return show_counts(folder, as_json=as_json)
    return _show(folder, dataset.derive(folder), as_json=as_json)


def _show(folder: Path, summary: "Summary", *, as_json: bool) -> int:
    from lab import store
    from lab.report import terminal, view

    if as_json:
        say(store.as_json(summary).decode(), end="")
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        plan = store.load(Plan, folder / "evidence" / "plan.json")
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        say(terminal.render(view.build(summary, plan, folder), width=width, colour=colour), end="")
    return Exit.OK if summary.valid else Exit.INVALID
