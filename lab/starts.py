"""A round's fresh starts: who answers, what the slices stand on, and one call of theirs, before anything is timed."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from lab import latency, load, logs, proof, store
from lab.affinity import allowed, allowed_to_driver
from lab.cores import Layout
from lab.errors import TestbedError
from lab.execution import ask
from lab.model import Plan, Role, Scenario, StartRecord
from lab.station import Holder, Station

SETUP_RATE_PER_S = 400  # of all cells together, which are set up at the same time; at least


@dataclass(frozen=True, slots=True)
class Starts:
    """What the starts of a run share. `judge` gives the reasons against one, none meaning that it is proven."""

    plan: Plan
    layout: Layout
    run: store.Run
    holder: Holder
    judge: Callable[[StartRecord], tuple[str, ...]]

    def prove(self, number: int, stations: dict[str, Station], begun: float) -> dict[str, StartRecord]:
        """The engine proof of every cell, outside of any timed slice."""
        with ThreadPoolExecutor(len(stations)) as pool:
            starts = list(pool.map(lambda station: self._start(number, station, begun), stations.values()))
        return {start.cell: start for start in starts}

    def _start(self, number: int, station: Station, begun: float) -> StartRecord:
        """Ask one cell who it is; its first log and the probe are the evidence."""
        cell = station.cell
        probed = ask(station.sipp, load.probe(cell.name, one_by_one=station.counted))
        answer = ask(station.kamailio, ["sh", "-c", proof.SCRIPT])
        if answer.code != 0:
            last = station.log().decode(errors="replace")
            message = f"cell {cell.name}: Kamailio does not say what it is: {answer.complaint}"
            raise TestbedError(message, detail="\n".join(last.splitlines()[-30:]))
        word = proof.parse(answer.text)
        # Only of a probe that went well: the file may be of an earlier round.
        probe_log = self.holder.read(load.probe_log(cell.name)) if probed.code == 0 else b""
        start = StartRecord(
            round=number,
            cell=cell.name,
            engine=cell.engine,
            kamailio=cell.kamailio,
            image=str(station.kamailio.attrs["Image"]),
            start_seconds=0.0,
            marker=load.marker(probe_log.decode(errors="replace")),
            engine_word=word.engine,
            script=word.script,
            request_route=word.request_route,
            processes=word.processes,
            cpus_asked={role.value: self.layout.text(role) for role in Role},
            cpus_allowed={
                Role.KAMAILIO.value: allowed(station.kamailio, word.processes),
                Role.SIPP.value: allowed(station.sipp),
                Role.MYSQL.value: allowed(station.mysql),
                Role.DRIVER.value: allowed_to_driver(),
            },
            start=station.start,
        )
        start = replace(start, reasons=(*self.judge(start), *self._rehearse(station)))
        with self.run.part("starts", start.id) as folder:
            (folder / "probe.log").write_bytes(probe_log or probed.last_words.encode())
            (folder / "proof.txt").write_text(answer.text, encoding="utf-8")
            store.write_atomically(folder / "inspect.json", station.inspect())
            if self.plan.specimen:  # its configuration may have what ours leaves out
                station.settle()
            station.log_offset = station.fetch(folder, 0 if start.reasons else self._rehearsed(cell.name))
            start = replace(start, start_seconds=time.monotonic() - begun)
            store.dump(start, folder / "start.json")
        return start

    def _rehearse(self, station: Station) -> tuple[str, ...]:
        """What the slices stand on, and one call of theirs: an engine that cannot do it is told before it is timed."""
        scenario = self.plan.scenario_of(station.cell.name)
        subscribers, rate = station.cell.subscribers, station.cell.rate_per_s
        processes = self.plan.sipp_processes
        if scenario.setup:
            setup = self.plan.scenario(scenario.setup)
            at_once = sum(bool(self.plan.scenario_of(cell.name).setup) for cell in self.plan.hosts)
            together = max(rate, SETUP_RATE_PER_S) // at_once or 1
            said = station.rehearse(setup, load.parts(subscribers, together, subscribers, processes))
            if said:
                return (f"set-up by {setup.name}: {said}",)
        if self.plan.specimen:
            return ()
        said = station.rehearse(scenario, load.parts(1, rate, subscribers))
        return (f"rehearsal of {scenario.name}: {said}",) if said else ()

    def _rehearsed(self, cell: str) -> int:
        """Requests before the first slice: the probe, each subscriber's set-up, one call."""
        scenario, subscribers = self.plan.scenario_of(cell), self.plan.cell(cell).subscribers
        setup = len(self.plan.scenario(scenario.setup).legs) * subscribers if scenario.setup else 0
        return 1 + setup + (0 if self.plan.specimen else len(scenario.legs))


def legs_of_call(run: store.Run, started: StartRecord, scenario: Scenario) -> tuple[str, ...]:
    """In the order of a call's requests: as the rehearsal's one call has shown, the last thing that a start logs."""
    log = run.evidence / "starts" / started.id / logs.NAME
    found = latency.order(log.read_bytes(), scenario.legs)
    if sorted(found) != sorted(rule.leg for rule in scenario.legs):
        said = f"a call's requests were {', '.join(found) or 'none'}"
        raise TestbedError(f"{said}: which is which leg is told by their order, so each has to come once")
    return found
