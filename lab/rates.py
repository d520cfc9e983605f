"""Rates that were found before, under the same conditions: for `rate_per_s = "auto"`, and SIPp's own ceiling."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lab import plan as planning
from lab import search, store, turns
from lab.errors import RateError
from lab.model import Plan
from lab.search import Parameters, Search
from lab.session import Session
from lab.steps import Bench

FOLDER = ".rates"  # in the results folder
EVIDENCE = "rate"
TRIVIAL = "trivial"  # the routing that answers at once: what is measured with it is SIPp


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a rate depends on beyond the plan: image ids, facts of the machine, CPUs of each role."""

    kamailio: str  # the baseline's
    database: str
    sipp: str
    machine: Mapping[str, object]
    cpus: Mapping[str, Sequence[int]]


def settle(session: Session, parameters: Parameters, conditions: Conditions, *, again: bool) -> Plan:
    """The session's plan at its share of the highest rate that the baseline serves without a failure.

    The search is in the run's evidence, be it of this run or of an earlier one under the same conditions; `again` makes
    one in any case. RateError where nothing can be served.
    """
    cell = planning.baseline(session.plan)
    alone = session.only(cell)
    kept = session.run.folder.parent / FOLDER / f"{_key_of_rate(alone.plan, parameters, conditions)}.json"
    if kept.is_file() and not again:
        found = store.load(Search, kept)
    else:
        alone = replace(alone, run=session.run.below(EVIDENCE), judges=replace(alone.judges, slice=search.failures))
        with Bench(alone, itertools.count(1), parameters, round=0) as bench:
            found = bench.search(alone.plan.scenario_of(cell.name).whole)
    store.dump(found, session.run.evidence / EVIDENCE / "search.json")
    if not found.rate_per_s:
        remedy = "is the machine busy? does the scenario fit the routing? or offer a rate of your own: rate_per_s"
        raise RateError(f"there is no rate that {cell.name} serves without a failure: {found.problem}", remedy=remedy)
    if found.confirmed:
        store.dump(found, kept)
    # What one cell could be offered alone is shared by those that take turns, and none is offered in a turn's rest.
    share = (session.plan.rate_share or 1) * (turns.FILLED / session.plan.at_once if session.plan.turn_msec else 1)
    settled = planning.at_rate(session.plan, max(1, int(found.rate_per_s * share)))
    each = f" of each of {settled.at_once} cells, together" if settled.at_once > 1 else ""
    session.reporter.note(
        f"rate: {planning.baseline(settled).rate_per_s}/s{each}, {settled.rate_share:.0%} of the {found.rate_per_s}/s "
        f"that {cell.name} serves without a failure{'' if found.confirmed else ' (not confirmed)'}"
    )
    return settled


@dataclass(frozen=True, slots=True)
class Ceilings:
    """SIPp's own limit on this machine, where somebody has measured it, against the routing that answers at once."""

    results: Path
    conditions: Conditions

    def of(self, plan: Plan) -> int | None:
        """How many calls a second of this plan's one cell SIPp can offer; None where nobody has looked."""
        return None if _is_trivial(plan) else self._kept(plan)

    def keep(self, plan: Plan, found: Sequence[Search]) -> None:
        """Remember the highest that a search against that routing has found and confirmed: chance only lowers it."""
        first = found[0]
        if _is_trivial(plan) and first.confirmed and (first.rate_per_s or 0) > (self._kept(plan) or 0):
            store.dump(first, self._path(plan))

    def _kept(self, plan: Plan) -> int | None:
        path = self._path(plan)
        return store.load(Search, path).rate_per_s if path.is_file() else None

    def _path(self, plan: Plan) -> Path:
        (cell,) = plan.cells
        whole = {
            "traffic": plan.scenario(cell.scenario).file,
            "sipp_processes": plan.sipp_processes,
            "keep_awake": plan.keep_awake,
            "sipp": self.conditions.sipp,
            "machine": dict(self.conditions.machine),
            "cpus": dict(self.conditions.cpus),
        }
        return self.results / FOLDER / f"ceiling-{_digest(whole)}.json"


def _is_trivial(plan: Plan) -> bool:
    return plan.cells[0].routing == TRIVIAL


def _key_of_rate(plan: Plan, parameters: Parameters, conditions: Conditions) -> str:
    """Of everything that the rate depends on; names of experiment and cell are not of it, nor is what is offered."""
    (cell,) = plan.cells
    free = {"name": "", "baseline": "", "rate_per_s": 0, "slice_seconds": 0}
    return _digest(
        {
            "cell": asdict(cell) | free,
            "scenarios": [asdict(one) for one in plan.scenarios],
            "inputs": plan.inputs,
            "limits": asdict(plan.limits),
            "keep_awake": plan.keep_awake,
            "sipp_processes": plan.sipp_processes,
            "parameters": asdict(parameters),
            "conditions": asdict(conditions),
        }
    )


def _digest(whole: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]
