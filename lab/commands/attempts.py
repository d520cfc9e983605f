"""What gates are made of: runs of a base and a candidate, by time or by instructions, each judged by itself."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.commands.counts import carry_out as count
from lab.commands.runs import carry_out
from lab.errors import TestbedError
from lab.model import Counting, Plan

if TYPE_CHECKING:
    from docker import DockerClient

    from lab.candidates import Pair
    from lab.gate import Attempt
    from lab.runner import Specification
    from lab.running import Enough
    from lab.summary import Summary


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to be judged: the command line, the engine, and both."""

    options: argparse.Namespace
    client: "DockerClient"
    pair: "Pair"


def ask(options: argparse.Namespace, base: str, candidate: str, folder: Path) -> Asked:
    """Find both; copies go into `folder`."""
    from lab import candidates, experiment, host

    pair = candidates.pair(experiment.read(options.experiment), base, candidate, options.engine, folder)
    return Asked(options, host.engine(), pair)


def specify(asked: Asked, *, later: int = 0, counting: tuple[Counting, int] | None = None) -> "Specification":
    """What is run; a `later` attempt has a seed of its own."""
    from lab import assembly, experiment

    options, pair = asked.options, asked.pair
    seed = pair.experiment.keys.seed + later
    seeded = replace(pair.experiment, keys=replace(pair.experiment.keys, seed=seed))
    specification = assembly.specify(seeded, asked.client, given=pair.given, counting=counting)
    words = [options.base, options.candidate] if options.command == "gate" else ["--routing", options.routing]
    how = ["--by", "instructions"] if counting else []
    command = ["lab", options.command, *words, "--engine", options.engine, *how]
    text = experiment.carried_out(command, seed, specification.experiment)
    return replace(specification, experiment=text, required=frozenset({pair.base, pair.candidate}))


def machine(asked: Asked, specification: "Specification") -> str:
    """What noise depends on."""
    from lab import host, noise

    cpus = {role.value: numbers for role, numbers in specification.layout.cpus.items()}
    return noise.machine_of(asdict(host.facts(asked.client)), cpus)


def measure(asked: Asked, specification: "Specification", enough: "Enough") -> "tuple[Path, Plan, Summary]":
    """One run, its figures, and its part in the history of this machine's noise."""
    from lab import dataset, noise, store

    folder = carry_out(specification, asked.client, asked.options.results, enough=enough)
    found = dataset.derive(folder)
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    noise.keep(asked.options.results, noise.entry(folder, plan, found))
    return folder, plan, found


def timed(asked: Asked, delta: float) -> "list[Attempt]":
    """By time: a regression is confirmed by a second run."""
    from lab import gate as rules

    attempts: list[Attempt] = []
    while rules.unsettled(attempts):
        if attempts:
            said = "! regression: a second, fresh run must say so, too"
            Console(stderr=True, highlight=False).print(said, markup=False, soft_wrap=True)
        # In another order each time, so that an effect of the order does not confirm itself.
        specification = specify(asked, later=len(attempts))
        before = rules.condemned(attempts[-1]) if attempts else ()
        attempts.append(_attempt(asked, specification, delta, before))
    return attempts


def _attempt(asked: Asked, specification: "Specification", delta: float, before: Sequence[str]) -> "Attempt":
    from lab import gate as rules

    candidate = asked.pair.candidate
    try:
        folder, plan, summary = measure(asked, specification, rules.enough(candidate, delta, before))
    except TestbedError as error:
        if error.cell != candidate:
            raise
        Console(stderr=True, highlight=False).print(error.detail, markup=False, soft_wrap=True)
        kept: Path = error.kept  # type: ignore[attr-defined]  # as every error of a run has it
        return rules.dead(kept.name, str(error))
    quick, every = (
        {(row.cell, row.leg): row.comparison for row in rows} for rows in (summary.trimmed, summary.comparisons)
    )
    judged = rules.legs(plan, candidate, quick, every, plan.alpha)
    return rules.attempt(plan, judged, delta, run=folder.name, failed=_failed(plan, summary))


def _failed(plan: Plan, summary: "Summary") -> list[str] | None:
    """Why the run is not valid, what weighs most first; None where it is. What a repeat has made good is not of it."""
    if summary.valid:
        return None
    reasons = [reason for cell in summary.cells.values() for reason in cell.reasons]
    starts = [reason for reason in reasons if reason.startswith("start ")]
    last = f"-again{plan.repeats}:"
    slices = [reason for reason in reasons if reason not in starts and (last in reason or not plan.repeats)]
    return [*starts, *slices, *(f"{cell}: {why}" for cell, why in summary.broken.items()), *summary.notes]


def counted(asked: Asked, delta: float) -> "Attempt":
    """By instructions; of a base that cannot be counted there is nothing to say."""
    from lab.counts import figures, judge

    specification = specify(asked, counting=(Counting(), judge.STARTS))
    folder = count(specification, asked.client, asked.options.results)
    found = figures.write(folder)
    if not found.cells[asked.pair.base].legs:
        raise TestbedError(f"the base cannot be counted: {next(iter(found.notes), 'nobody knows why')}")
    return judge.attempt(found, asked.pair.base, asked.pair.candidate, delta)
