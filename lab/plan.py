"""Experiment -> cells -> seeded rounds of interleaved slices. Pure: the same file gives the same plan and hash."""

import hashlib
import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lab import sequential, turns
from lab.errors import BadInputError
from lab.experiment import Experiment
from lab.model import Cell, Counting, Plan, RoundPlan, Scenario, SlicePlan
from lab.observation import LOG, WAYS

AA_SUFFIX = "-aa"
AUTO = "auto"
_LESS_LOG = "fewer or shorter slices a round, and more rounds instead"
REQUEST_LOG_BYTES = 128  # a latency line
PROFILE_BYTES = 100_000  # callgrind's of a request, some
LOG_VOLUME_BYTES = 2**30  # of compose.yaml
# Keys of an experiment, and fields of a cell, of which a list makes cells; how a cell's name says them, in that order.
FACTORS = {
    "routing": "{}",
    "kamailio": "{}",
    "database": "{}",
    "scenario": "{}",
    "memory": "{}",
    "observe": "{}",
    "configuration": "{}",
    "children": "{}workers",
    "subscribers": "{}subscribers",
    "rate_per_s": "{}ps",
    "slice_seconds": "{:g}s",
}


@dataclass(frozen=True, slots=True)
class Release:
    """What a Kamailio release has: its engines, and what is known of those that cannot do the work."""

    engines: Sequence[str]
    broken: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)  # engine -> exit code of Kamailio, where its end fails
    variant: str = ""  # how its build differs from the release


def make(
    experiment: Experiment,
    *,
    releases: Mapping[str, Release],
    scenarios: Mapping[str, Scenario],
    children: int,
    inputs: Mapping[str, str],
) -> Plan:
    """Fix everything that will happen.

    `releases` are those of the experiment, by name; `scenarios` likewise, with those that set others up; `children` the
    workers of a Kamailio where the file leaves that open; `inputs` has hashes of scripts, configuration and traffic,
    which decide what happens as much as the file does. Raises BadInputError where the file asks for what is not there.
    """
    keys = experiment.keys
    if experiment.specimen and keys.rate_per_s == AUTO:
        raise experiment.fault("rate_per_s", "a specimen has the rate of what it repeats", "give a number")
    everything = list(_cells(experiment, releases, scenarios, children))
    cells = [cell for cell in everything if cell.engine in releases[cell.kamailio].engines]
    for engine in keys.engines:
        if engine not in {cell.engine for cell in cells}:
            problem = f"no engine {engine!r} on Kamailio {', '.join(releases)}"
            known = dict.fromkeys(name for release in releases.values() for name in release.engines)
            raise experiment.fault("engines", problem, f"there are: {', '.join(known)}")
    cells = [_with_what_is_known(cell, releases[cell.kamailio]) for cell in _with_baselines(experiment, cells)]
    cells = [_with_host(experiment, cell, cells) for cell in cells]
    first = next(cell for cell in cells if cell.name == cell.baseline)
    cells.append(replace(first, name=first.name + AA_SUFFIX))
    _check_names(experiment, [cell.name for cell in cells])
    order = random.Random(keys.seed)  # noqa: S311  (an order of slices, no secret)
    draft = Plan(
        experiment=keys.name,
        hash="",
        cells=tuple(cells),
        aa_cell=cells[-1].name,
        rounds=tuple(_round(number, cells, experiment, order) for number in range(1, keys.rounds + 1)),
        repeats=0 if experiment.specimen else keys.repeats,
        scenarios=tuple(scenarios.values()),
        limits=experiment.limits,
        inputs=dict(inputs),
        variants={name: release.variant for name, release in releases.items() if release.variant},
        left_out=tuple(
            f"{cell.name}: Kamailio {cell.kamailio} has no engine {cell.engine}"
            for cell in everything
            if cell.engine not in releases[cell.kamailio].engines
        ),
        specimen=experiment.specimen,
        keep_awake=keys.keep_awake,
        turn_msec=_turn_msec(experiment, cells),
        sipp_processes=keys.sipp_processes,
        rate_share=keys.rate_share if keys.rate_per_s == AUTO else None,
        **_stop(experiment),
    )
    _check_users(experiment, draft)
    if too_much := _too_much_log(draft):
        raise experiment.fault("slices", too_much, _LESS_LOG)
    return _hashed(draft)


def at_rate(plan: Plan, rate_per_s: int) -> Plan:
    """The same plan at a rate that was not known when it was made; BadInputError where a round would log too much."""
    cells = tuple(replace(cell, rate_per_s=rate_per_s) for cell in plan.cells)
    seconds = {cell.name: cell.slice_seconds for cell in cells}

    def offered(piece: SlicePlan) -> SlicePlan:
        return replace(piece, calls=_calls(rate_per_s, seconds[piece.cell]), rate_per_s=rate_per_s)

    rounds = tuple(replace(planned, slices=tuple(map(offered, planned.slices))) for planned in plan.rounds)
    settled = replace(plan, cells=cells, rounds=rounds)
    if too_much := _too_much_log(settled):
        raise BadInputError(
            f"{plan.experiment}: at the {rate_per_s} calls/s that were found, {too_much}", remedy=_LESS_LOG
        )
    return _hashed(settled)


def baseline(plan: Plan) -> Cell:
    """The cell that all is compared with in the end: the first baseline."""
    return plan.cell(plan.aa_cell.removesuffix(AA_SUFFIX))


def only(plan: Plan, *cells: Cell) -> Plan:
    """What concerns some cells; without slices."""
    wanted = {name for cell in cells for name in (cell.scenario, plan.scenario(cell.scenario).setup)}
    scenarios = tuple(one for one in plan.scenarios if one.name in wanted)
    alone = tuple(replace(cell, shares="") for cell in cells)  # one that another's Kamailio serves has its own here
    return _hashed(replace(plan, cells=alone, aa_cell=cells[0].name, rounds=(), scenarios=scenarios, turn_msec=0))


def counted(plan: Plan, counting: Counting, repeats: int) -> Plan:
    """The same cells, whose instructions are counted in so many fresh starts, with one worker each.

    BadInputError where that would not be what it seems: of a specimen, of first registrations, or of too many calls.
    """
    alike: dict[Cell, str] = {}  # what a count depends on -> the first cell that has it
    for cell in plan.cells:
        if cell.observe == LOG and cell.name != plan.aa_cell:
            alike.setdefault(_as_counted(cell), cell.name)
    first = alike.get(_as_counted(baseline(plan)), "")
    cells = tuple(
        replace(
            plan.cell(name),
            children=1,
            baseline=alike.get(_as_counted(plan.cell(plan.cell(name).baseline)), first),
        )
        for name in alike.values()
    )
    if problem := _uncountable(plan, cells, counting):
        raise BadInputError(f"{plan.experiment}: {problem}", remedy="see docs/counting.md")
    gone = [cell.name for cell in plan.cells if cell.name not in {*alike.values(), plan.aa_cell}]
    return _hashed(
        replace(
            plan,
            cells=cells,
            aa_cell=first,
            rounds=tuple(RoundPlan(number, ()) for number in range(1, repeats + 1)),
            repeats=0,
            turn_msec=0,
            keep_awake=False,
            sipp_processes=1,
            rate_share=None,
            looks=(),
            half_width=None,
            counting=counting,
            left_out=(*plan.left_out, *(f"{name}: a count of it would be one of another cell again" for name in gone)),
        )
    )


def _uncountable(plan: Plan, cells: Sequence[Cell], counting: Counting) -> str:
    """Why that would not be a count of what it seems; nothing where it would."""
    if plan.specimen:
        return "a specimen is shown as it was timed, and is not counted"
    if _as_counted(baseline(plan)) not in map(_as_counted, cells):
        return f"{baseline(plan).name} is observed as {baseline(plan).observe!r}, and only {LOG!r} is counted"
    for cell in cells:
        scenario = plan.scenario(cell.scenario)
        if scenario.bindings and not scenario.setup and counting.warmup_calls < cell.subscribers:
            return (
                f"{cell.name} has {cell.subscribers} subscribers, whose first registrations would be counted: "
                f"--warmup-calls {cell.subscribers}, or fewer subscribers"
            )
        if (counting.calls + counting.warmup_calls) * len(scenario.legs) * PROFILE_BYTES > LOG_VOLUME_BYTES // 2:
            return f"{counting.calls} calls are too many: their profiles do not fit into the log volume"
    return ""


def _as_counted(cell: Cell) -> Cell:
    """Without what a count does not depend on."""
    return replace(cell, name="", baseline="", shares="", children=1, rate_per_s=0, slice_seconds=0.0)


def stopped(plan: Plan, rounds: int) -> Plan:
    """What was carried out of a plan whose declared rule was met. Its hash stays that of what was declared."""
    return replace(plan, rounds=plan.rounds[:rounds], stopped_after=rounds)


def again(plan: SlicePlan, position: int) -> SlicePlan:
    """The same slice once more, at a later position of its round."""
    return replace(plan, position=position, attempt=plan.attempt + 1)


def without(plan: Plan, missing: Mapping[str, str]) -> Plan:
    """The same plan without some cells, for reasons that were not known when it was made.

    What is compared with a cell that is missing goes with it; nothing may be left of the plan.
    """
    if not missing:
        return plan
    gone = dict(missing)
    for _ in plan.cells:  # what is compared with one of these may come before it
        for cell in plan.cells:
            if cell.baseline in gone and cell.name not in gone:
                gone[cell.name] = f"{cell.baseline}, which it is compared with, is left out"
    if plan.aa_cell.removesuffix(AA_SUFFIX) in gone:
        gone.setdefault(plan.aa_cell, gone[plan.aa_cell.removesuffix(AA_SUFFIX)])

    def rest(planned: RoundPlan) -> RoundPlan:
        return replace(planned, slices=tuple(piece for piece in planned.slices if piece.cell not in gone))

    return _hashed(
        replace(
            plan,
            cells=tuple(cell for cell in plan.cells if cell.name not in gone),
            rounds=tuple(map(rest, plan.rounds)),
            left_out=(*plan.left_out, *(f"{name}: {reason}" for name, reason in gone.items())),
        )
    )


def log_bytes(plan: Plan) -> int:
    """What Kamailio will write of a whole run at the most, every slice repeated as often as may be."""
    logged = {
        cell.name: scenario.log_bytes or len(scenario.legs) * REQUEST_LOG_BYTES
        for cell in plan.cells
        for scenario in [plan.scenario(cell.scenario)]
    }
    written = sum(piece.calls * logged[piece.cell] for planned in plan.rounds for piece in planned.slices)
    return written * (1 + plan.repeats)


def _hashed(plan: Plan) -> Plan:
    """With the hash of all that it says."""
    whole = asdict(replace(plan, hash=""))
    return replace(plan, hash=hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest())


def _too_much_log(plan: Plan) -> str:
    """A round's log must fit into its volume in memory: a worker whose line finds no room loses it."""
    needed = log_bytes(plan) // len(plan.rounds)
    if needed <= LOG_VOLUME_BYTES:
        return ""
    return f"a round may log some {needed / 1e9:.1f} GB, its volume has {LOG_VOLUME_BYTES / 1e9:.1f}"


def _check_users(experiment: Experiment, plan: Plan) -> None:
    """Each SIPp process has subscribers of its own."""
    fewest = min(cell.subscribers for cell in plan.cells)
    if fewest < plan.sipp_processes:
        problem = f"{plan.sipp_processes} processes cannot share {fewest} subscribers"
        raise experiment.fault("sipp_processes", problem, "more subscribers, or fewer processes")


def _cells(
    experiment: Experiment, releases: Mapping[str, Release], scenarios: Mapping[str, Scenario], children: int
) -> Iterator[Cell]:
    """Every engine with every value of every factor. A name has those that are not the same for all."""
    values = {**{name: experiment.factor(name) for name in FACTORS}, "kamailio": tuple(releases)}
    if experiment.keys.children == "auto":
        values["children"] = (children,)
    if experiment.keys.rate_per_s == AUTO:  # until it is found: see at_rate
        values["rate_per_s"] = (experiment.search.start_per_s,)
    for chosen in itertools.product(*values.values()):
        factors = dict(zip(values, chosen, strict=True))
        scenario = scenarios[factors["scenario"]]
        needed = max(other.subscribers for other in scenarios.values() if other.name in {scenario.name, scenario.setup})
        # The name has the scenario as the file calls it, and subscribers as many as there will be.
        factors["subscribers"] = max(factors["subscribers"], needed)
        shown = [_shown(name, factors[name]) for name, all_ in values.items() if len(all_) > 1]
        for engine in experiment.keys.engines:
            names = {"scenario": scenario.name, "configuration": configuration_file(factors["configuration"])}
            yield Cell(name="-".join((engine, *shown)), engine=engine, **{**factors, **names})


def configuration_file(name: str) -> str:
    """What the file of a configuration is called in a run: as it is called itself, be it ours or the user's."""
    return Path(name).name if is_path(name) else f"{name or 'kamailio'}.cfg"


def is_path(configuration: str) -> bool:
    """The user's file, and not the name of one of ours."""
    return "/" in configuration or "." in configuration


def _shown(factor: str, value: str | float) -> str:
    """A value as a part of a cell's name; of a path the last part."""
    if factor == "configuration":
        value = configuration_file(str(value)).removesuffix(".cfg")
    return FACTORS[factor].format(Path(value).name if isinstance(value, str) else value)


def _with_what_is_known(cell: Cell, release: Release) -> Cell:
    """Of its engine on its release: what it cannot do, with any routing or with this one ("upstream/ruby"); its end."""
    broken = release.broken.get(cell.engine) or release.broken.get(f"{cell.routing}/{cell.engine}", "")
    return replace(cell, known_broken=broken, known_end=release.ends.get(cell.engine, 0))


def _with_baselines(experiment: Experiment, cells: Sequence[Cell]) -> list[Cell]:
    """Each cell with what it is compared with. Where groups have baselines of their own, those go with the first."""
    found = {cell.name: _baseline(experiment, cell, cells) for cell in cells}
    first = next(found[cell.name] for cell in cells)
    return [replace(cell, baseline=first if found[cell.name] == cell.name else found[cell.name]) for cell in cells]


def _baseline(experiment: Experiment, cell: Cell, cells: Sequence[Cell]) -> str:
    """The cell that the file names; or, where it names an engine, that one with the same factors otherwise."""
    wanted = experiment.keys.baseline
    names = [other.name for other in cells]
    if wanted in names:
        return wanted
    for other in cells:
        if replace(cell, name="", engine=wanted) == replace(other, name=""):
            return other.name
    engines = list(dict.fromkeys(other.engine for other in cells))
    remedy = f"cells: {', '.join(names)}; or an engine that every group of cells has: {', '.join(engines)}"
    raise experiment.fault("baseline", f"{wanted!r} is no cell of this experiment", remedy)


def _stop(experiment: Experiment) -> dict[str, Any]:
    """When it looks, how sure it must be each time, and with what it stops."""
    stop = experiment.keys.stop
    if not stop:
        return {}
    if problem := sequential.problem(stop.looks, experiment.keys.rounds):
        raise experiment.fault("looks", problem)
    looks = tuple(stop.looks)
    return {"looks": looks, "alpha": sequential.nominal_alpha(looks), "half_width": stop.half_width}


def _turn_msec(experiment: Experiment, cells: Sequence[Cell]) -> int:
    """How long the turns of a block's cells are, where they take turns; not all can."""
    turn_msec = experiment.keys.turn_msec
    if turn_msec and experiment.specimen:
        raise experiment.fault("turn_msec", "a specimen's slices are one cell's each", "leave it out")
    if turn_msec and (shared := next((cell for cell in cells if cell.shares), None)):
        problem = f"{shared.name} is served by the Kamailio of {shared.shares}: one of them a slice"
        raise experiment.fault("turn_msec", problem, f"leave out observe = {shared.observe!r}")
    if 0 < turn_msec < turns.SHORTEST_MSEC:
        problem = f"in {turn_msec} ms SIPp's clock hardly moves: a turn has at least {turns.SHORTEST_MSEC} ms"
        raise experiment.fault("turn_msec", problem, "40 is a good length")
    if turn_msec and len({cell.slice_seconds for cell in cells}) > 1:
        problem = "cells that take turns share their seconds, so their slices have the same length"
        raise experiment.fault("slice_seconds", problem, "one value, or leave out turn_msec")
    return turn_msec


def _with_host(experiment: Experiment, cell: Cell, cells: Sequence[Cell]) -> Cell:
    """One whose log is switched off while it runs, with the cell whose process that is: the same in all but its log."""
    if WAYS[cell.observe].logged:
        return cell
    wanted = replace(cell, name="", baseline="", observe=LOG)
    for other in cells:
        if replace(other, name="", baseline="") == wanted:
            return replace(cell, shares=other.name)
    problem = f"{cell.observe!r} is the Kamailio of {LOG!r} with its log switched off"
    raise experiment.fault("observe", problem, f'list both: observe = ["{LOG}", "{cell.observe}"]')


def _check_names(experiment: Experiment, names: Sequence[str]) -> None:
    """A cell's name is part of the names of its services, its database and its files."""
    if len(set(names)) != len(names):
        raise experiment.fault("engines", f"cells are not distinct: {', '.join(names)}")
    for name in names:
        if not re.fullmatch(r"[a-z0-9.-]+", name):
            remedy = "where routing is a list, call its folders by small letters, digits, '-' and '.'"
            raise experiment.fault("routing", f"no cell can be called {name!r}", remedy)


def _round(number: int, cells: Sequence[Cell], experiment: Experiment, order: random.Random) -> RoundPlan:
    """Blocks in which every cell has one slice, in random order: neighbours in time are what is compared."""
    keys = experiment.keys
    blocks = [
        (block, cell) for block in range(keys.warmup_slices + keys.slices) for cell in order.sample(cells, len(cells))
    ]
    if experiment.specimen and experiment.specimen.order == "in turn":
        blocks.sort(key=lambda piece: cells.index(piece[1]))
    slices = (
        SlicePlan(
            round=number,
            position=position,
            cell=cell.name,
            warmup=block < keys.warmup_slices,
            calls=_calls(cell.rate_per_s, cell.slice_seconds),
            rate_per_s=cell.rate_per_s,
        )
        for position, (block, cell) in enumerate(blocks, start=1)
    )
    return RoundPlan(number, tuple(slices))


def _calls(rate_per_s: int, seconds: float) -> int:
    return max(1, round(rate_per_s * seconds))
