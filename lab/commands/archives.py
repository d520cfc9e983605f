"""Commands about archives: archive, verify, restore, reproduce."""

import argparse
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.errors import BadInputError, Exit
from lab.model import Plan
from lab.output import say

if TYPE_CHECKING:
    from lab.archive import Contents
    from lab.experiment import Experiment


def archive(options: argparse.Namespace) -> int:
    """A run -> a file; its path is on standard output."""
    from lab import archive, store

    run = store.find(options.results, options.run)
    file = options.output or Path(f"{run.name}{archive.SUFFIX}")
    contents = archive.pack(run, file, logs=options.with_logs)
    return _say(contents, file, as_json=options.json, text=str(file))


def verify(options: argparse.Namespace) -> int:
    """Every byte of an archive, or of a run's folder."""
    from lab import archive, store

    path = options.file if options.file.exists() else store.find(options.results, str(options.file))
    contents = archive.verify(path)
    logs = f"; {contents.left_out} logs were left out of it" if contents.left_out else ""
    text = f"{path}: {contents.files} files of run {contents.run}, {contents.size} bytes, all as they were sealed{logs}"
    return _say(contents, path, as_json=options.json, text=text)


def restore(options: argparse.Namespace) -> int:
    """A file -> a run's folder; its path is on standard output."""
    from lab import archive

    folder = archive.restore(options.file, options.results)
    return _say(archive.verify(folder), folder, as_json=options.json, text=str(folder))


def reproduce(options: argparse.Namespace) -> int:
    """The same experiment again, here; what differs, and both beside each other."""
    from lab import archive, assembly, compare, dataset, host, store
    from lab.commands.runs import carry_out
    from lab.report import compare as page

    earlier = options.results / archive.run_of(options.file)
    if earlier.exists():
        archive.verify(options.file)
        archive.verify(earlier)
    else:
        archive.restore(options.file, options.results)
    asked = _asked(earlier)
    compare.read(options.results, earlier.name, earlier.name)  # what cannot be compared is told before it is run
    client = host.engine()
    specification = assembly.specify(asked, client)
    then = store.load(Plan, earlier / "evidence" / "plan.json")
    if then.rate_share:
        how = "a plan whose rate is searched here"
    else:
        same = then.hash == specification.plan.hash
        how = "the same plan" if same else "another plan: what it is made of has changed"
    Console(stderr=True, highlight=False).print(f"{earlier.name} again, by {how}", markup=False, soft_wrap=True)
    folder = carry_out(specification, client, options.results)
    dataset.derive(folder)
    found = compare.read(options.results, earlier.name, folder.name)
    whole = {**asdict(found), "comparable": found.comparable}
    say(json.dumps(whole, indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK if found.valid else Exit.INVALID


def _asked(run: Path) -> "Experiment":
    """What a run has kept of its experiment; files of a user's own are those that it had mounted."""
    from lab import capacity, experiment, override, planted, store
    from lab.counts import figures

    kept = experiment.read(run / "evidence" / "experiment.toml")
    if command := experiment.command_of(kept.text):
        remedy = f"again: {shlex.join(command)}"
        raise BadInputError(f"{run.name}: is of a gate, whose candidates are not in it", remedy=remedy)
    if capacity.is_one(run):
        raise BadInputError(f"{run.name}: is a search of capacity", remedy=f"again: lab capacity {kept.path}")
    if figures.is_one(run):
        raise BadInputError(f"{run.name}: is a count of instructions", remedy=f"again: lab count {kept.path}")
    if given := [
        name for name in store.load(Plan, run / "evidence" / "plan.json").inputs if name.startswith("kamailio ")
    ]:
        remedy = f"again: lab run {kept.path} --kamailio-source PATH"
        raise BadInputError(f"{run.name}: is of {given[0]}, a source that is not in it", remedy=remedy)
    etc = run / "evidence" / "testbed" / "etc"
    # A wait that is planted into a routing of one's own is in the copy already.
    own = {
        name: etc / override.routing_folder(name)
        for name in kept.factor("routing")
        if "/" in name and not planted.split(name)[1]
    }
    own |= {name: etc / Path(name).name for name in kept.factor("configuration") if "/" in name}
    return replace(kept, places=own)


def _say(contents: "Contents", path: Path, *, as_json: bool, text: str) -> int:
    say(json.dumps({"path": str(path), **asdict(contents)}, indent=1) if as_json else text)
    return Exit.OK
