"""Runs one experiment, from plan to sealed evidence.

1. Claim the CPUs.  2. Make the images.  3. Make the folder: status `started`.  4. Write plan, machine, images and
testbed.  5. Start MySQL.  6. Per round: fresh databases and cells, engine proof, slices in the planned order (an
invalid one again, up to the plan's cap), bindings.  7. Seal, whatever happened: what was measured stays.

Nothing here knows how slices are judged or shown: judge and reporter are arguments.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker

from lab import claims, host, images, load, override, process, store
from lab import plan as planning
from lab.cores import Layout
from lab.database import DOMAIN
from lab.images import Built, Listen
from lab.model import Plan, Role
from lab.session import Judges, Reporter, Session
from lab.testbed import Testbed

PROBE = images.FOLDER / "sipp" / "scenarios" / "probe.xml"


@dataclass(frozen=True, slots=True)
class Specification:
    """What is run: all decided, nothing left to look up; the images need only be made."""

    plan: Plan
    experiment: str  # the file's text, kept as evidence
    layout: Layout
    make_images: Callable[[Listen], Mapping[str, Built]]  # by role: kamailio, mysql, sipp
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
    host.require_disk(results, planning.log_bytes(plan))
    with claims.claim(specification.layout.all, f"{plan.experiment} (process {os.getpid()})"):
        built = specification.make_images(reporter.detail)
        facts = host.facts(client)  # before we are pinned ourselves
        folder = store.Run.create(results, plan.experiment)
        with _sealed(folder), _pinned(specification.layout):
            bed = _prepare(specification, facts, built, client, folder)
            reporter.stage("starting MySQL")
            with bed.up() as (database, holder):
                database.add_subscribers(plan.subscribers)
                session = Session(plan, specification.layout, folder, bed, database, holder, judges, reporter)
                for number in plan.rounds:
                    session.round(number)
    return folder.folder


@contextmanager
def _sealed(folder: store.Run) -> Iterator[None]:
    """Seal the run at its end, whichever that is; an error takes with it where the run lies."""
    try:
        yield
    except BaseException as error:
        interrupted = not isinstance(error, Exception)  # Ctrl-C, or nobody reads our progress any more
        with process.undisturbed():
            folder.seal("interrupted" if interrupted else "failed", error="" if interrupted else str(error))
        error.kept = folder.folder  # type: ignore[attr-defined]
        raise
    with process.undisturbed():
        folder.seal("complete")


def _prepare(
    specification: Specification,
    facts: host.Facts,
    built: Mapping[str, Built],
    client: docker.DockerClient,
    folder: store.Run,
) -> Testbed:
    """Write down all that is known before the first container starts."""
    evidence, plan = folder.evidence, specification.plan
    store.write_atomically(evidence / "experiment.toml", specification.experiment.encode())
    store.dump(plan, evidence / "plan.json")
    store.dump(facts, evidence / "host.json")
    store.dump(dict(built), evidence / "images.json")
    bed_folder = evidence / "testbed"
    for routing, scripts in specification.routings.items():
        name = override.routing_folder(routing)
        mounted = bed_folder / "etc" / name  # becomes /etc/kamailio
        store.copy_readable(scripts, mounted / name)
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
    """The driver on its own CPUs while it measures, with all of its threads; later ones inherit that."""
    before = os.sched_getaffinity(0)
    _pin(layout.cpus[Role.DRIVER])
    try:
        yield
    finally:
        _pin(before)


def _pin(cpus: Iterable[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), cpus)
