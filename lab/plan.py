"""Experiment -> cells -> seeded rounds of interleaved slices. Pure: the same file gives the same plan and hash."""

import hashlib
import json
import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lab.errors import BadInputError
from lab.experiment import Experiment
from lab.model import MEASURED_LEGS, Cell, Leg, LegRule, Plan, RoundPlan, Scenario, SlicePlan

AA_SUFFIX = "-aa"
CALL_LOG_BYTES = 2 * 128  # a latency line for each leg
LOG_VOLUME_BYTES = 2**30  # of compose.yaml


def make(  # noqa: PLR0913
    experiment: Experiment,
    *,
    engines: Sequence[str],
    kamailio: str,
    scenario: Scenario,
    children: int,
    inputs: Mapping[str, str],
) -> Plan:
    """Fix everything that will happen.

    `engines` are those that the Kamailio release has; `children` the workers of each Kamailio, already decided;
    `inputs` has hashes of scripts, configuration and traffic, which decide what happens as much as the file does.
    Raises BadInputError where the file asks for what is not there.
    """
    keys = experiment.keys
    for engine in keys.engines:
        if engine not in engines:
            problem = f"no engine {engine!r} on Kamailio {kamailio}"
            raise experiment.fault("engines", problem, f"there are: {', '.join(engines)}")
    cells = _cells(experiment, kamailio)
    names = [cell.name for cell in cells]
    if keys.baseline not in names:
        raise experiment.fault(
            "baseline", f"{keys.baseline!r} is no cell of this experiment", f"cells: {', '.join(names)}"
        )
    baseline = cells[names.index(keys.baseline)]
    cells = (*cells, replace(baseline, name=baseline.name + AA_SUFFIX))
    _check_names(experiment, [cell.name for cell in cells])
    calls = max(1, round(keys.rate_per_s * keys.slice_seconds))
    order = random.Random(keys.seed)  # noqa: S311  (an order of slices, no secret)
    draft = Plan(
        experiment=keys.name,
        hash="",
        cells=cells,
        baseline=keys.baseline,
        rounds=tuple(_round(number, cells, experiment, calls, order) for number in range(1, keys.rounds + 1)),
        repeats=keys.repeats,
        children=children,
        subscribers=keys.subscribers,
        scenario=scenario,
        limits=experiment.limits,
        inputs=dict(inputs),
    )
    _check_log(experiment, draft)
    digest = hashlib.sha256(json.dumps(asdict(draft), sort_keys=True).encode()).hexdigest()
    return replace(draft, hash=digest)


def again(plan: SlicePlan, position: int) -> SlicePlan:
    """The same slice once more, at a later position of its round."""
    return replace(plan, position=position, attempt=plan.attempt + 1)


def log_bytes(plan: Plan) -> int:
    """What Kamailio will write of a whole run at the most, every slice repeated as often as may be."""
    calls = sum(piece.calls for planned in plan.rounds for piece in planned.slices)
    return calls * (1 + plan.repeats) * CALL_LOG_BYTES


def read_scenario(path: Path) -> Scenario:
    """A SIPp scenario's declaration: `<name>.toml` beside `<name>.xml`.

    It says which request is which leg:  [legs]  challenge = { method = "REGISTER", cseq = 1 }
    """
    sidecar = path.with_suffix(".toml")
    try:
        raw = tomllib.loads(sidecar.read_text(encoding="utf-8"))
        legs = tuple(LegRule(Leg(name), str(rule["method"]), int(rule["cseq"])) for name, rule in raw["legs"].items())
    except FileNotFoundError as error:
        remedy = "write it: [legs] with challenge and authenticated = { method = ..., cseq = ... }"
        raise BadInputError(f"{sidecar}: missing: it declares which request is which leg", remedy=remedy) from error
    except (tomllib.TOMLDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadInputError(f"{sidecar}: {type(error).__name__}: {error}", remedy="see docs/experiments.md") from error
    absent = [leg.value for leg in MEASURED_LEGS if leg not in {rule.leg for rule in legs}]
    if absent:
        raise BadInputError(f"{sidecar}: [legs] lacks {', '.join(absent)}", remedy="see docs/experiments.md")
    return Scenario(path.stem, legs)


def _check_log(experiment: Experiment, plan: Plan) -> None:
    """A round's log must fit into its volume in memory: a worker whose line finds no room loses it."""
    needed = log_bytes(plan) // len(plan.rounds)
    if needed > LOG_VOLUME_BYTES:
        problem = f"a round may log some {needed / 1e9:.1f} GB, its volume has {LOG_VOLUME_BYTES / 1e9:.1f}"
        raise experiment.fault("slices", problem, "fewer or shorter slices a round, and more rounds instead")


def _cells(experiment: Experiment, kamailio: str) -> tuple[Cell, ...]:
    routings = experiment.routings
    return tuple(
        Cell(
            name=engine if len(routings) == 1 else f"{engine}-{Path(routing).name}",
            engine=engine,
            kamailio=kamailio,
            routing=routing,
        )
        for routing in routings
        for engine in experiment.keys.engines
    )


def _check_names(experiment: Experiment, names: Sequence[str]) -> None:
    """A cell's name is part of the names of its services, its database and its files."""
    if len(set(names)) != len(names):
        raise experiment.fault("engines", f"cells are not distinct: {', '.join(names)}")
    for name in names:
        if not re.fullmatch(r"[a-z0-9-]+", name):
            remedy = "where routing is a list, call its folders by small letters, digits and '-'"
            raise experiment.fault("routing", f"no cell can be called {name!r}", remedy)


def _round(number: int, cells: tuple[Cell, ...], experiment: Experiment, calls: int, order: random.Random) -> RoundPlan:
    """Blocks in which every cell has one slice, in random order: neighbours in time are what is compared."""
    keys = experiment.keys
    slices: list[SlicePlan] = []
    for block in range(keys.warmup_slices + keys.slices):
        for cell in order.sample(cells, len(cells)):
            slices.append(
                SlicePlan(
                    round=number,
                    position=len(slices) + 1,
                    cell=cell.name,
                    warmup=block < keys.warmup_slices,
                    calls=calls,
                    rate_per_s=keys.rate_per_s,
                )
            )
    return RoundPlan(number, tuple(slices))
