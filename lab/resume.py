"""Goes on with a run that was broken off: the same plan, machine and images, and only what was not sealed yet.

All of it comes from the run's folder. What has changed since is named, and then nothing is begun or changed.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from lab import (
    archive,
    awake,
    claims,
    counter,
    host,
    latency,
    leftovers,
    logs,
    override,
    rates,
    rest,
    runner,
    steps,
    store,
    versions,
)
from lab.cores import Layout
from lab.counts import probed
from lab.counts import record as counts
from lab.counts.probed import ProbeRecord
from lab.counts.record import CountRecord
from lab.errors import BadInputError, SetupError
from lab.images import Built, Workshop
from lab.model import Plan, RoundPlan, SliceRecord, StartRecord
from lab.rest import Rest
from lab.runner import Asked
from lab.running import Enough, narrow_enough
from lab.search import Search
from lab.session import Judges, Reporter, Session
from lab.store import can_go_on
from lab.testbed import Testbed

MEMORY_TOLERANCE = 0.01  # what the kernel keeps for itself differs from boot to boot


@dataclass(frozen=True, slots=True)
class _Images:
    """Those that a run was begun with."""

    kamailio: dict[str, Built]  # by release
    database: dict[str, Built]  # by server
    sipp: Built
    unavailable: dict[str, str]
    probes: Built | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run's folder says of what it was begun with."""

    folder: Path
    plan: Plan
    layout: Layout
    machine: host.Facts
    images: _Images
    asked: Asked

    @property
    def searches(self) -> list[Search]:
        """Of capacity, where it is such a run."""
        return [store.load(Search, path) for path in sorted(self._place(steps.FOLDER).glob("*.json"))]

    @property
    def counts(self) -> list[CountRecord]:
        """Likewise, of instructions."""
        return [found for _, found in store.records(CountRecord, self._place(counts.FOLDER), counts.RECORD)]

    @property
    def looks(self) -> list[ProbeRecord]:
        """Likewise, by probes."""
        return [found for _, found in store.records(ProbeRecord, self._place(probed.FOLDER), probed.RECORD)]

    @property
    def slices(self) -> list[tuple[Path, SliceRecord]]:
        """That were sealed."""
        return list(store.records(SliceRecord, self._place("slices"), "slice.json"))

    @property
    def starts(self) -> list[StartRecord]:
        """That were sealed."""
        return [record for _, record in store.records(StartRecord, self._place("starts"), "start.json")]

    def _place(self, kind: str) -> Path:
        return self.folder / "evidence" / kind


def read(folder: Path) -> Kept:
    """What can be gone on with; BadInputError where that is nothing, or its evidence is not as it was sealed."""
    found = store.status(folder)
    if found.complete:
        raise BadInputError(f"{folder.name}: has come to its end", remedy=f"its table: lab report {folder.name}")
    if found.status == "sealed" and (gone := archive.verify(folder).left_out):
        raise BadInputError(f"{folder.name}: comes from an archive that lacks {gone} of its logs")
    if not can_go_on(folder):
        raise BadInputError(f"{folder.name}: broke off before anything was up", remedy="run its experiment again")
    evidence = folder / "evidence"
    return Kept(
        folder,
        store.load(Plan, evidence / "plan.json"),
        store.load(Layout, evidence / "layout.json"),
        store.load(host.Facts, evidence / "host.json"),
        store.load(_Images, evidence / "images.json"),
        store.load(Asked, evidence / runner.ASKED),
    )


def resume(  # noqa: PLR0913
    folder: Path,
    client: docker.DockerClient,
    *,
    judges: Judges,
    reporter: Reporter,
    share_cpus: bool = False,
    enough: Enough = narrow_enough,
) -> Path:
    """Go on with it, and return the sealed folder; as `lab.runner.run` or, with its judges, `lab.runner.capacity`.

    SetupError names everything that is not as it was when the run was begun.
    """
    first = read(folder)
    plan, layout = first.plan, first.layout
    if plan.keep_awake:
        awake.require()
    host.require_disk(folder.parent, 0)
    with runner.claimed(layout, plan, shared=share_cpus), claims.going_on(folder.name):
        kept = read(folder)  # again, now that nobody else can go on with it
        run, built = _reopened(kept, client)
        with runner.measuring(run, plan, layout):
            bed = Testbed(client, run.id, plan, layout, run.evidence / "testbed")
            bed.write(built.ids)
            with runner.raised(bed, built, run, judges, reporter) as session:
                conditions = runner.conditions(plan, layout, built, kept.machine)
                if kept.asked.capacity:
                    _search(kept, session, conditions)
                elif plan.counting:
                    counter.count(session, plan.counting, kept.counts, kept.looks)
                else:
                    _measure(kept, session, conditions, enough)
    return folder


def _reopened(kept: Kept, client: docker.DockerClient) -> tuple[store.Run, runner.Images]:
    """The run's folder, to be written to again, and its images; nothing has changed before all is known to be there."""
    changed = [*_machine(kept.machine, host.facts(client)), *_testbed(kept.folder), *_gone(kept.images, client)]
    if changed:
        remedy = "a run goes on as it was begun, or not at all: run its experiment again"
        raise SetupError(f"{kept.folder.name} cannot be gone on with", detail="\n".join(changed), remedy=remedy)
    workshop = Workshop(client)
    built = runner.Images(
        kamailio=kept.images.kamailio,
        unavailable=kept.images.unavailable,
        database=kept.images.database,
        sipp=kept.images.sipp,
        schemas={release: workshop.schema(one) for release, one in kept.images.kamailio.items()},
        probes=kept.images.probes,
    )
    leftovers.remove_of(client, kept.folder.name)  # what a driver that was killed has left
    run = store.Run(kept.folder)
    run.mend()
    last = max((record for _, record in kept.slices), key=lambda record: record.before.wall_nsec, default=None)
    return store.Run.reopen(kept.folder, after=last.plan.id if last else ""), built


def _machine(then: host.Facts, now: host.Facts) -> Iterator[str]:
    before, after = asdict(then), asdict(now)
    if abs(now.memory_bytes / then.memory_bytes - 1) < MEMORY_TOLERANCE:
        after["memory_bytes"] = then.memory_bytes
    yield from (f"{name}: was {before[name]}, is {after[name]}" for name in before if before[name] != after[name])


def _testbed(folder: Path) -> Iterator[str]:
    """The rest of it is in the run's folder."""
    mine = folder / "evidence" / "testbed" / override.BASE
    if not mine.is_file() or mine.read_bytes() != (versions.ROOT / override.BASE).read_bytes():
        yield f"{override.BASE}: is not the one that the run was begun with"


def _gone(kept: _Images, client: docker.DockerClient) -> Iterator[str]:
    for one in filter(None, (*kept.kamailio.values(), *kept.database.values(), kept.sipp, kept.probes)):
        try:
            client.images.get(one.id)
        except ImageNotFound:
            yield f"{one.tag}: its image {one.id} is not on this engine"


def _measure(kept: Kept, session: Session, conditions: rates.Conditions, enough: Enough) -> None:
    """The rounds that are left, and the rest of the one that was broken off."""
    starts: defaultdict[int, list[StartRecord]] = defaultdict(list)
    slices: defaultdict[int, list[tuple[Path, SliceRecord]]] = defaultdict(list)
    for start in kept.starts:
        starts[start.round].append(start)
    for folder, record in kept.slices:
        slices[record.plan.round].append((folder, record))
    if kept.plan.rate_share and not starts:
        _set_aside(session.run, rates.EVIDENCE)
        runner.settle(session, kept.asked, conditions)

    def left(planned: RoundPlan) -> Rest | None:
        been = slices[planned.number]
        _replay(session, starts[planned.number], been)
        return rest.of(session.plan, planned, starts[planned.number], [record for _, record in been])

    runner.rounds(session, left, enough)


def _replay(session: Session, starts: list[StartRecord], slices: list[tuple[Path, SliceRecord]]) -> None:
    """What the run knew of a round when it broke off: a declared rule goes by it, when it comes to that round."""
    for start in starts:
        session.running.spoil(start.cell, start.reasons)
    for folder, record in slices:
        times: latency.Times = {}
        with logs.opened(logs.place(folder)) as lines:
            latency.tally(lines, record.plan.call_id_prefix, session.plan.scenario_of(record.plan.cell).legs, times)
        session.running.add(record, times, last=record.plan.attempt > session.plan.repeats)


def _search(kept: Kept, session: Session, conditions: rates.Conditions) -> None:
    """The searches that are left; one that broke off is begun anew."""
    starts = max((start.round for start in kept.starts), default=0)  # they are numbered through
    ceilings = rates.Ceilings(kept.folder.parent, conditions)
    been = steps.done(kept.plan, kept.searches, starts)
    steps.capacity(session, kept.asked.search, ceilings, been)


def _set_aside(run: store.Run, kind: str) -> None:
    """Evidence of what is begun anew: kept, and out of the way."""
    place = run.evidence / kind
    if place.exists():
        remains = run.evidence / "remains"
        remains.mkdir(exist_ok=True)
        number = len(list(remains.glob(f"{kind}-*"))) + 1
        place.replace(remains / f"{kind}-{number}")
