"""Commands that judge: gate, aa, compare, history. The first two measure by themselves."""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.commands.runs import carry_out
from lab.errors import BadInputError, Exit, SetupError, TestbedError
from lab.model import Plan
from lab.output import say

if TYPE_CHECKING:
    from docker import DockerClient

    from lab.candidates import Pair
    from lab.gate import Attempt, Gate
    from lab.runner import Specification
    from lab.running import Enough
    from lab.summary import Summary

# Words, since what has them loads scipy.
IMPROVEMENT = "improvement"
_CODES = {
    "pass": Exit.OK,
    IMPROVEMENT: Exit.OK,
    "regression": Exit.REGRESSION,
    "inconclusive": Exit.INCONCLUSIVE,
    "invalid": Exit.INVALID,
}


def gate(options: argparse.Namespace) -> int:
    """Measure a candidate against its base, and judge it."""
    from lab import gate as rules
    from lab import noise
    from lab.report import gate as page

    files = _files(options)
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="kemi-lab-gate-") as folder:
        client, pair = _pair(options, options.base, options.candidate, Path(folder))
        specification = _specify(options, client, pair)
        known = noise.smallest_delta(
            noise.history(options.results), _machine(client, specification), specification.plan
        )
        if known is None:
            said = "nobody has measured what this machine can tell apart: lab aa does"
            console.print(f"! {said}", markup=False, soft_wrap=True)
        elif options.delta < known:
            problem = f"--delta {options.delta:.1%} is less than this machine can tell apart ({known:.1%} by lab aa)"
            remedy = "a larger delta, or more rounds in the experiment; lab aa, if the machine has become quieter"
            raise BadInputError(problem, remedy=remedy)
        attempts: list[Attempt] = []
        while rules.unsettled(attempts):
            if attempts:
                console.print("! regression: a second, fresh run must say so, too", markup=False, soft_wrap=True)
                # In another order, so that an effect of the order does not confirm itself.
                specification = _specify(options, client, pair, later=len(attempts))
            before = rules.condemned(attempts[-1]) if attempts else ()
            attempts.append(_attempt(options, client, pair, specification, before))
    verdict, reason = rules.conclude(attempts)
    found = rules.Gate(
        base=options.base,
        candidate=options.candidate,
        kind=pair.kind,
        engine=options.engine,
        delta=options.delta,
        smallest_delta=known,
        attempts=tuple(attempts),
        verdict=verdict,
        reason=reason,
    )
    say(json.dumps(asdict(found), indent=1) if options.json else page.text(found), end="\n" * options.json)
    if options.annotate or os.environ.get("GITHUB_ACTIONS") == "true":
        if options.json:  # GitHub reads either stream, programs this one
            console.print(page.annotations(found), end="", markup=False, soft_wrap=True)
        else:
            say(page.annotations(found), end="")
    _tell(options, found, files)
    return Exit.IMPROVEMENT if verdict == IMPROVEMENT and options.tell_improvement else _CODES[verdict]


def _files(options: argparse.Namespace) -> dict[str, Path]:
    """Where to write what others read, looked at before anything is measured; GitHub's job summary is one of them."""
    asked = {"--summary": options.summary or os.environ.get("GITHUB_STEP_SUMMARY"), "--junit": options.junit}
    files = {option: Path(path).absolute() for option, path in asked.items() if path}
    for option, path in files.items():
        try:
            place = path if path.exists() else next(parent for parent in path.parents if parent.exists())
            fit = not path.is_dir() and (path.exists() or place.is_dir()) and os.access(place, os.W_OK)
        except OSError:  # it lies where we may not even look
            fit = False
        if not fit:
            raise BadInputError(f"{option} {path}: no file that can be written")
    return files


def _tell(options: argparse.Namespace, found: "Gate", files: Mapping[str, Path]) -> None:
    """Write the verdict down, in the run's folder as well. It has been said already."""
    from lab import store
    from lab.report import gate as page

    store.dump(found, options.results / found.attempts[-1].run / "gate.json")
    try:
        if summary := files.get("--summary"):
            summary.parent.mkdir(parents=True, exist_ok=True)
            with summary.open("a", encoding="utf-8") as file:
                file.write(page.markdown(found))
        if junit := files.get("--junit"):
            junit.parent.mkdir(parents=True, exist_ok=True)
            junit.write_text(page.junit(found), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"the verdict ({found.verdict}) cannot be written: {error}") from error


def _attempt(
    options: argparse.Namespace,
    client: "DockerClient",
    pair: "Pair",
    specification: "Specification",
    before: Sequence[str],
) -> "Attempt":
    from lab import gate as rules

    enough = rules.enough(pair.candidate, options.delta, before)
    try:
        folder, plan, summary = _measure(options, client, specification, enough)
    except TestbedError as error:
        if error.cell != pair.candidate:
            raise
        Console(stderr=True, highlight=False).print(error.detail, markup=False, soft_wrap=True)
        kept: Path = error.kept  # type: ignore[attr-defined]  # as every error of a run has it
        return rules.dead(kept.name, str(error))
    quick, every = (
        {(row.cell, row.leg): row.comparison for row in rows} for rows in (summary.trimmed, summary.comparisons)
    )
    judged = rules.legs(plan, pair.candidate, quick, every, plan.alpha)
    return rules.attempt(plan, judged, options.delta, run=folder.name, failed=_failed(plan, summary))


def _failed(plan: Plan, summary: "Summary") -> list[str] | None:
    """Why the run is not valid, what weighs most first; None where it is. What a repeat has made good is not of it."""
    if summary.valid:
        return None
    reasons = [reason for cell in summary.cells.values() for reason in cell.reasons]
    starts = [reason for reason in reasons if reason.startswith("start ")]
    last = f"-again{plan.repeats}:"
    slices = [reason for reason in reasons if reason not in starts and (last in reason or not plan.repeats)]
    return [*starts, *slices, *(f"{cell}: {why}" for cell, why in summary.broken.items()), *summary.notes]


def aa(options: argparse.Namespace) -> int:
    """Measure the baseline against itself, and what that lets a gate find here."""
    from lab import noise
    from lab.report import gate as page

    noise.history(options.results)  # what cannot be read is told before half an hour, not after it
    with tempfile.TemporaryDirectory(prefix="kemi-lab-aa-") as folder:
        client, pair = _pair(options, options.routing, options.routing, Path(folder))
        specification = _specify(options, client, pair)
        # In all of its rounds: one that stops when it is quiet would say that the machine is.
        run, plan, summary = _measure(options, client, specification, lambda _plan, _running, _number: "")
    entries = noise.history(options.results)
    latest = next(one for one in entries if one.run == run.name)
    alike = noise.alike(entries, latest.machine, plan)
    delta = noise.smallest_delta(alike, latest.machine, plan)
    if options.json:
        say(json.dumps({"latest": asdict(latest), "history": [asdict(one) for one in alike], "delta": delta}, indent=1))
    else:
        say(page.noise(latest, plan, alike, delta), end="")
    return Exit.OK if summary.valid else Exit.INVALID


def compare(options: argparse.Namespace) -> int:
    """Two datasets, or two cells of one."""
    from lab import compare
    from lab.report import compare as page

    found = compare.read(options.results, options.first, options.second)
    whole = {**asdict(found), "comparable": found.comparable}
    say(json.dumps(whole, indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK if found.valid else Exit.INVALID


def history(options: argparse.Namespace) -> int:
    """Ratios of all runs in a folder, and where they changed."""
    from lab import history
    from lab.report import history as page

    found = history.read(options.results, options.name)
    say(json.dumps(asdict(found), indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK


def _pair(options: argparse.Namespace, base: str, candidate: str, folder: Path) -> "tuple[DockerClient, Pair]":
    from lab import candidates, experiment, host

    pair = candidates.pair(experiment.read(options.experiment), base, candidate, options.engine, folder)
    return host.engine(), pair


def _specify(options: argparse.Namespace, client: "DockerClient", pair: "Pair", *, later: int = 0) -> "Specification":
    """What is run; a `later` attempt has a seed of its own."""
    from lab import assembly, experiment

    seed = pair.experiment.keys.seed + later
    asked = replace(pair.experiment, keys=replace(pair.experiment.keys, seed=seed))
    specification = assembly.specify(asked, client, given=pair.given)
    words = [options.base, options.candidate] if options.command == "gate" else ["--routing", options.routing]
    command = ["lab", options.command, *words, "--engine", options.engine]
    text = experiment.carried_out(command, seed, specification.experiment)
    return replace(specification, experiment=text, required=frozenset({pair.base, pair.candidate}))


def _machine(client: "DockerClient", specification: "Specification") -> str:
    from lab import host, noise

    cpus = {role.value: numbers for role, numbers in specification.layout.cpus.items()}
    return noise.machine_of(asdict(host.facts(client)), cpus)


def _measure(
    options: argparse.Namespace, client: "DockerClient", specification: "Specification", enough: "Enough"
) -> "tuple[Path, Plan, Summary]":
    """One run, its figures, and its part in the history of this machine's noise."""
    from lab import dataset, noise, store

    folder = carry_out(specification, client, options.results, enough=enough)
    found = dataset.derive(folder)
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    noise.keep(options.results, noise.entry(folder, plan, found))
    return folder, plan, found
