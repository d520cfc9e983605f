"""Runs one experiment, from plan to sealed evidence.

1. Claim the CPUs.  2. Make the images.  3. Make the folder: status `started`.  4. Write plan, machine, images and
testbed.  5. Start the database servers, with the schema of each release.  6. Per round: fresh databases and cells,
engine proof, slices in the planned order (an invalid one again, up to the plan's cap), bindings.  7. Seal, whatever
happened: what was measured stays.

Where the experiment leaves its rate open, that is found between 5 and 6, and the plan is written again. `lab capacity`
has searches in place of 6, `lab count` callgrind's profiles.

Nothing here knows how slices are judged or shown: judge and reporter are arguments.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import docker

from lab import (
    affinity,
    awake,
    claims,
    counter,
    host,
    images,
    load,
    override,
    planted,
    process,
    rates,
    rest,
    search,
    steps,
    store,
    turns,
    versions,
)
from lab import plan as planning
from lab.cores import Layout
from lab.database import DOMAIN, template_of
from lab.errors import UnavailableError
from lab.images import Built, Listen
from lab.model import Plan, Role, RoundPlan, StartRecord
from lab.planted import Routing
from lab.rest import Rest
from lab.running import Enough, narrow_enough
from lab.search import Parameters
from lab.session import Judges, Reporter, Session
from lab.testbed import Testbed

CONFIGURATION = images.FOLDER / "kamailio" / "etc"
SCENARIOS = images.FOLDER / "sipp" / "scenarios"
PROBE = SCENARIOS / "probe.xml"
ASKED = "asked.json"


@dataclass(frozen=True, slots=True)
class Images:
    """All images of a run, and what cannot be had."""

    kamailio: Mapping[str, Built]  # by release
    unavailable: Mapping[str, str]  # release or server -> why
    database: Mapping[str, Built]  # by server
    sipp: Built
    schemas: Mapping[str, bytes]  # release -> its SQL files, as a tar archive
    probes: Built | None = None  # where the plan has a use for it

    @property
    def ids(self) -> override.Images:
        """As the testbed names them."""
        return override.Images(
            kamailio={release: one.id for release, one in self.kamailio.items()},
            database={server: one.id for server, one in self.database.items()},
            sipp=self.sipp.id,
            probes=self.probes.id if self.probes else "",
        )

    def missing(self, plan: Plan) -> dict[str, str]:
        """Cells of a plan for which there is no image, or no engine in it: why."""
        missing: dict[str, str] = {}
        for cell in plan.cells:
            built = self.kamailio.get(cell.kamailio)
            if not built or cell.database not in self.database:
                missing[cell.name] = self.unavailable[cell.database if built else cell.kamailio]
            elif lacks := built.lacks(cell.engine):
                missing[cell.name] = f"{built.tag} has no engine {cell.engine}: {lacks}"
        return missing


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run is, beyond its plan."""

    search: Parameters = field(default_factory=Parameters)  # how the highest rate without a failure is searched
    new_rate: bool = False  # where the experiment leaves its rate open: search, though it may be known
    capacity: bool = False  # it searches highest rates, in place of rounds


@dataclass(frozen=True, slots=True)
class Specification:
    """What is run: all decided, nothing left to look up; the images need only be made."""

    plan: Plan
    experiment: str  # the file's text, kept as evidence
    layout: Layout
    make_images: Callable[[Listen], Images]
    configurations: tuple[Path, ...]  # the common ones of Kamailio
    routings: Mapping[str, Routing]  # as the experiment names them
    traffic: tuple[Path, ...]  # SIPp's files; each declaration lies beside its own
    asked: Asked = Asked()
    required: frozenset[str] = frozenset()  # cells without which nothing is worth running
    share_cpus: bool = False  # with other runs that were told so, too


def run(  # noqa: PLR0913
    specification: Specification,
    client: docker.DockerClient,
    results: Path,
    *,
    judges: Judges,
    reporter: Reporter,
    enough: Enough = narrow_enough,
) -> Path:
    """Run it and return the sealed folder. On any way out nothing is left running, and what was measured is kept.

    `enough` is asked after each round, and may end it before the last one.
    """
    host.require_disk(results, planning.log_bytes(specification.plan))
    with _session(specification, client, results, judges, reporter) as (session, found):
        if session.plan.rate_share:
            settle(session, specification.asked, found)
        rounds(session, lambda planned: rest.whole(session.plan, planned), enough)
    return session.run.folder


def settle(session: Session, asked: Asked, conditions: rates.Conditions) -> None:
    """Find the rate that the plan leaves open; the plan is then another one."""
    session.plan = rates.settle(session, asked.search, conditions, again=asked.new_rate)
    store.dump(session.plan, session.run.evidence / "plan.json")
    host.require_disk(session.run.folder.parent, planning.log_bytes(session.plan))


def rounds(session: Session, left: Callable[[RoundPlan], Rest | None], enough: Enough) -> None:
    """What is left of each round, until there is `enough`."""
    for planned in session.plan.rounds:
        if due := left(planned):
            session.round(planned, due)
        more = planned.number < len(session.plan.rounds)
        if more and (why := enough(session.plan, session.running, planned.number)):
            session.reporter.note(f"stopped after {planned.number} of {len(session.plan.rounds)} rounds: {why}")
            store.dump(planning.stopped(session.plan, planned.number), session.run.evidence / "plan.json")
            break


def capacity(
    specification: Specification,
    client: docker.DockerClient,
    results: Path,
    *,
    judge_start: Callable[[StartRecord], tuple[str, ...]],
    reporter: Reporter,
) -> Path:
    """Search the highest rate of every cell instead, once a round, and return the sealed folder; as in `run`."""
    host.require_disk(results, 0)
    judges = Judges(search.failures, judge_start)
    specification = replace(specification, asked=replace(specification.asked, capacity=True))
    with _session(specification, client, results, judges, reporter) as (session, found):
        steps.capacity(session, specification.asked.search, rates.Ceilings(results, found))
    return session.run.folder


def count(
    specification: Specification,
    client: docker.DockerClient,
    results: Path,
    *,
    judge_start: Callable[[StartRecord], tuple[str, ...]],
    reporter: Reporter,
) -> Path:
    """Count the instructions of every cell of a plan that is for that, and return the sealed folder; as in `run`."""
    host.require_disk(results, 0)
    with _session(specification, client, results, Judges(search.failures, judge_start), reporter) as (session, _):
        if session.plan.counting:
            counter.count(session, session.plan.counting)
    return session.run.folder


def claimed(layout: Layout, plan: Plan, *, shared: bool) -> AbstractContextManager[None]:
    """The CPUs of a layout, for a run of this plan."""
    return claims.claim(layout.all, f"{plan.experiment} (process {os.getpid()})", shared=shared)


@contextmanager
def _session(
    specification: Specification, client: docker.DockerClient, results: Path, judges: Judges, reporter: Reporter
) -> Iterator[tuple[Session, rates.Conditions]]:
    """Everything up to the first load, and everything after the last; and the conditions that a rate depends on."""
    plan = specification.plan
    if plan.keep_awake:
        awake.require()
    with claimed(specification.layout, plan, shared=specification.share_cpus):
        built = specification.make_images(reporter.detail)
        plan = planning.without(plan, built.missing(plan))
        if not {plan.aa_cell, *specification.required} <= {cell.name for cell in plan.cells}:
            message = "what this experiment compares with cannot be had"
            raise UnavailableError(message, detail="\n".join(plan.left_out))
        for left_out in plan.left_out:
            reporter.note(f"left out: {left_out}")
        for note in specification.layout.notes:
            reporter.note(f"CPUs: {note}")
        facts = host.facts(client)  # before we are pinned ourselves
        folder = store.Run.create(results, plan.experiment)
        with claims.going_on(folder.id), measuring(folder, plan, specification.layout):
            store.dump(facts, folder.evidence / "host.json")
            store.dump(specification.layout, folder.evidence / "layout.json")
            bed = _prepare(specification, plan, built, client, folder)
            with raised(bed, built, folder, judges, reporter) as session:
                yield session, conditions(plan, specification.layout, built, facts)


def conditions(plan: Plan, layout: Layout, built: Images, facts: host.Facts) -> rates.Conditions:
    """What the rate of a plan's first baseline depends on."""
    first = planning.baseline(plan)
    return rates.Conditions(
        kamailio=built.kamailio[first.kamailio].id,
        database=built.database[first.database].id,
        sipp=built.sipp.id,
        machine=asdict(facts),
        cpus={role.value: cpus for role, cpus in layout.cpus.items()},
    )


@contextmanager
def raised(bed: Testbed, built: Images, folder: store.Run, judges: Judges, reporter: Reporter) -> Iterator[Session]:
    """Database servers up, each with schema and subscribers of its releases. At the end all is gone."""
    plan = bed.plan
    reporter.stage("starting the database")
    with bed.up() as (databases, holder):
        for server, database in databases.items():
            releases = {cell.kamailio for cell in plan.cells if cell.database == server}
            for release in sorted(releases):
                bed.load_schema(server, release, built.schemas[release])
                database.add_subscribers(template_of(release), plan.subscribers)
        yield Session(plan, bed.layout, folder, bed, databases, holder, judges, reporter)


@contextmanager
def measuring(folder: store.Run, plan: Plan, layout: Layout) -> Iterator[None]:
    """CPUs as the plan has them, and at the end, whichever that is, a sealed run; an error knows where that lies."""
    kept = layout.all if plan.keep_awake else ()
    try:
        with awake.kept(kept), affinity.pinned(layout.cpus[Role.DRIVER]):
            yield
    except BaseException as error:
        error.kept = folder.folder  # type: ignore[attr-defined]
        interrupted = not isinstance(error, Exception)  # Ctrl-C, or nobody reads our progress any more
        with process.undisturbed():
            folder.seal("interrupted" if interrupted else "failed", error="" if interrupted else str(error))
        raise
    with process.undisturbed():
        folder.seal("complete")


def _prepare(
    specification: Specification, plan: Plan, built: Images, client: docker.DockerClient, folder: store.Run
) -> Testbed:
    """Write down all that is known before the first container starts."""
    evidence = folder.evidence
    store.write_atomically(evidence / "experiment.toml", specification.experiment.encode())
    store.dump(plan, evidence / "plan.json")
    store.dump(specification.asked, evidence / ASKED)
    store.dump(
        {
            "kamailio": dict(built.kamailio),
            "database": dict(built.database),
            "sipp": built.sipp,
            "unavailable": dict(built.unavailable),
            **({"probes": built.probes} if built.probes else {}),
        },
        evidence / "images.json",
    )
    bed_folder = evidence / "testbed"
    etc = bed_folder / "etc"  # becomes /etc/kamailio
    etc.mkdir(parents=True)
    # A configuration may include ours.
    for source in (CONFIGURATION / "kamailio.cfg", *specification.configurations):
        shutil.copyfile(source, etc / source.name)
    for name, routing in specification.routings.items():
        planted.place(routing, etc / override.routing_folder(name))
    scenarios = bed_folder / "scenarios"
    scenarios.mkdir()
    for source in (*specification.traffic, PROBE):
        shutil.copyfile(source, scenarios / source.name)
    if plan.turn_msec:
        (scenarios / turns.FOLDER).mkdir()
        for name in {plan.scenario_of(cell.name).file for cell in plan.cells}:
            waiting = turns.with_wait((scenarios / name).read_bytes(), plan.turn_msec, len(plan.cells))
            (scenarios / turns.FOLDER / name).write_bytes(waiting)
    for subscribers in sorted({cell.subscribers for cell in plan.cells}):
        (scenarios / load.users_file(subscribers)).write_text(load.users(subscribers, DOMAIN), encoding="ascii")
    shutil.copyfile(versions.ROOT / override.BASE, bed_folder / override.BASE)
    bed = Testbed(client, folder.id, plan, specification.layout, bed_folder)
    bed.write(built.ids)
    store.to_disk(evidence)
    return bed
