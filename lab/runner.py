"""Runs one experiment, from plan to sealed evidence.

1. Claim the CPUs.  2. Make the folder: status `started`.  3. Write plan, machine, images and testbed.
4. Start MySQL.  5. Per round: fresh databases and cells, engine proof, slices in the planned order (an invalid one
again, up to the plan's cap), bindings.  6. Seal, whatever happened: what was measured stays.

Nothing here knows how slices are judged or shown: judge and reporter are arguments.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from lab import claims, host, images, load, override, store
from lab.cores import Layout
from lab.database import DOMAIN
from lab.images import Built
from lab.model import Plan, Role
from lab.session import Judges, Reporter, Session
from lab.testbed import Testbed

PROBE = images.FOLDER / "sipp" / "scenarios" / "probe.xml"


@dataclass(frozen=True, slots=True)
class Specification:
    """What is run: all decided, nothing left to look up."""

    plan: Plan
    experiment: str  # the file's text, kept as evidence
    layout: Layout
    images: Mapping[str, Built]  # by role: kamailio, mysql, sipp
    configuration: Path  # the common kamailio.cfg
    routings: Mapping[str, Path]  # routing as the experiment names it -> folder of its scripts
    scenario: Path  # the SIPp file; its declaration lies beside it


def run(
    specification: Specification,
    client: docker.DockerClient,
    results: Path,
    *,
    judges: Judges,
    reporter: Reporter,
) -> Path:
    """Run it and return the sealed folder. On any way out nothing is left running, and what was measured is kept."""
    plan = specification.plan
    host.require_disk(results)
    facts = host.facts(client)  # before we are pinned ourselves
    with (
        claims.claim(specification.layout.all, f"{plan.experiment} (process {os.getpid()})"),
        _pinned(specification.layout),
    ):
        folder = store.Run.create(results, plan.experiment)
        ended = "failed"
        try:
            bed = _prepare(specification, facts, client, folder)
            reporter.stage("starting MySQL")
            with bed.up() as (database, holder):
                database.add_subscribers(plan.subscribers)
                session = Session(plan, specification.layout, folder, bed, database, holder, judges, reporter)
                for number in plan.rounds:
                    session.round(number)
            ended = "complete"
        except KeyboardInterrupt:
            ended = "interrupted"
            raise
        finally:
            folder.seal(ended)
    return folder.folder


def _prepare(
    specification: Specification, facts: host.Facts, client: docker.DockerClient, folder: store.Run
) -> Testbed:
    """Write down all that is known before the first container starts."""
    evidence, plan, built = folder.evidence, specification.plan, specification.images
    store.write_atomically(evidence / "experiment.toml", specification.experiment.encode())
    store.dump(plan, evidence / "plan.json")
    store.dump(facts, evidence / "host.json")
    store.dump(dict(built), evidence / "images.json")
    bed_folder = evidence / "testbed"
    for routing, scripts in specification.routings.items():
        name = override.routing_folder(routing)
        mounted = bed_folder / "etc" / name  # becomes /etc/kamailio
        shutil.copytree(scripts, mounted / name, copy_function=shutil.copyfile)
        shutil.copyfile(specification.configuration, mounted / "kamailio.cfg")
    scenarios = bed_folder / "scenarios"
    scenarios.mkdir(parents=True)
    for source in (specification.scenario, specification.scenario.with_suffix(".toml"), PROBE):
        shutil.copyfile(source, scenarios / source.name)
    (scenarios / "users.csv").write_text(load.users(plan.subscribers, DOMAIN), encoding="ascii")
    bed = Testbed(client, folder.id, plan, specification.layout, bed_folder)
    bed.write(override.Images(built["kamailio"].id, built["mysql"].id, built["sipp"].id))
    return bed


@contextmanager
def _pinned(layout: Layout) -> Iterator[None]:
    """The driver on its own CPUs while it measures."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, layout.cpus[Role.DRIVER])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
