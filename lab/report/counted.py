"""A run of `lab count` -> its report."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab import experiment
from lab.counts import tree
from lab.counts.callgrind import Part
from lab.counts.figures import RECEIVE, Counts, LegCount, Profiles, ratios
from lab.counts.tree import Node
from lab.model import Plan
from lab.report import charts, counts, flame, machine
from lab.report.page import Report
from lab.report.section import Section
from lab.report.story import called

TRAVELS = "Instructions are the same with these images wherever the C library finds a processor of the same kind."
LEAST = 0.004  # share of a request: what is less is not drawn by itself
DIFFERENT = 15  # functions that are told


def build(folder: Path, plan: Plan, found: Counts, profiles: Profiles) -> Report:
    """Everything that is shown of it."""
    names = {name: called(name, cell.engine) for name, cell in found.cells.items()}
    counting = found.counting
    return Report(
        run=folder.name,
        title=f"{found.experiment}: {found.run}",
        design=(
            f"Instructions, counted by callgrind: {counting.calls} calls one by one, after {counting.warmup_calls} to "
            f"warm up, in each of {found.rounds} fresh starts; one worker. "
            f"{'Every cell was counted in every start' if found.valid else f'Not valid ({found.ended})'}"
        ),
        answers=tuple(_answers(found, names)),
        valid=found.valid,
        sections=(
            *_call(found),
            *_legs(found, names),
            *_trees(found, profiles, names),
            *_differences(found, profiles, names),
            *_notes(found),
            *machine.environment_of(folder, plan, TRAVELS),
        ),
        again=_again(folder, plan, found),
    )


def _again(folder: Path, plan: Plan, found: Counts) -> tuple[str, ...]:
    """The command that did it, with its numbers; of a gate that gate's."""
    kept = folder / "evidence" / "experiment.toml"
    if kept.is_file() and (command := experiment.command_of(kept.read_text(encoding="utf-8"))):
        return ("./justw", *command)
    given = ("--kamailio-source", "SOURCE") if any(name.startswith("kamailio ") for name in plan.inputs) else ()
    counting = found.counting
    probes = ("--probes",) if counting.probes else ()
    return (
        *("./justw", "lab", "count", f"results/{folder.name}/evidence/experiment.toml"),
        *("--calls", str(counting.calls), "--warmup-calls", str(counting.warmup_calls), "--repeats", str(found.rounds)),
        *(*probes, *given),
    )


def _answers(found: Counts, names: Mapping[str, str]) -> Iterator[str]:
    """A sentence a cell that is compared, or of each cell where none is."""
    if not found.valid:
        yield "This count is not valid: none of its figures should be quoted."
        return
    for name, known in ratios(found).items():
        cell = found.cells[name]
        legs = [f"{ratio:.2f} times on the {what} leg" for what, ratio in known.items() if what in cell.legs]
        told = f"{names[name]} executes {{}} the instructions of {names[cell.baseline]} on {{}}"
        if cell.whole in known:
            yield f"{told.format(f'{known[cell.whole]:.2f} times', f'a {cell.whole}')} ({', '.join(legs)})."
        elif known:
            (leg, ratio), *_ = known.items()
            yield f"{told.format(f'{ratio:.2f} times', f'the {leg} leg')}."


def _call(found: Counts) -> Iterator[Section]:
    if any(cell.time for cell in found.cells.values()):
        head, *rows = counts.whole(found)
        yield Section(
            "call",
            "A call, and the time that it takes the worker",
            "Instructions are counted under valgrind. All else is of the same Kamailio without it: CPU time of its "
            "worker as the kernel has it, what looking adds to that, and what counters of the processor say where "
            "there are some. Below, request_route is timed from its entry to its return, without the time off the CPU.",
            head,
            tuple(rows),
        )


def _legs(found: Counts, names: Mapping[str, str]) -> Iterator[Section]:
    for leg, cells in counts.by_leg(found):
        head, *rows = counts.rows(found, leg)
        bars = {names[name]: [_group(one, part) for part in flame.COLOUR] for name, one in cells.items()}
        yield Section(
            f"instructions-{leg}",
            f"Instructions of a request: {leg}",
            "Whose they are: of the module that brings the engine, the interpreter that it runs, Kamailio's core, its "
            "memory manager, its other modules, the database's client, the C library. A call into KEMI is counted from "
            "the engine module's entry to its return, without what was called.",
            head,
            tuple(rows),
            lambda bars=bars: charts.bars(bars, list(flame.COLOUR), "instructions"),  # type: ignore[misc]
        )


def _group(one: LegCount, part: str) -> float:
    return sum(number for share, number in one.shares.items() if flame.group(share) == part)


def _trees(found: Counts, profiles: Profiles, names: Mapping[str, str]) -> Iterator[Section]:
    for leg, cells in counts.by_leg(found):
        for name in cells:
            part, requests = _requests(profiles, name, leg)
            grown = _grown(part, requests, LEAST)
            if grown is None:
                continue
            yield Section(
                f"tree-{leg}-{name}",
                f"Where they go: {leg}, {names[name]}",
                "Each bar is a function, as wide as all that it led to, below the one that called it. Functions that "
                "call each other in a circle are one bar. The table has what a function executes itself.",
                ("function", "instructions", "of all"),
                tuple(_own(part, requests)),
                lambda grown=grown: flame.draw(grown),  # type: ignore[misc]
                listed=name == next(iter(cells)),
            )
            baseline = found.cells[name].baseline
            if baseline != name and baseline in cells and found.cells[baseline].engine == found.cells[name].engine:
                # Finer than what is drawn: what is there in one of them by a hair is in the other as well.
                before = _grown(*_requests(profiles, baseline, leg), LEAST / 20)
                yield Section(
                    f"change-{leg}-{name}",
                    f"What has changed: {leg}, {names[name]} against {names[baseline]}",
                    f"The tree of {names[name]}: what executes more than in that of {names[baseline]}, or less.",
                    draw=lambda grown=grown, before=before: flame.draw(  # type: ignore[misc]
                        grown, *flame.changes(grown, before)
                    ),
                )


def _grown(part: Part, requests: int, least: float) -> Node | None:
    """A mean request's tree."""
    grown = tree.grow(part, RECEIVE, least)
    return grown and _mean(grown, requests)


def _mean(node: Node, requests: int) -> Node:
    below = tuple(_mean(one, requests) for one in node.calls)
    return Node(node.function, node.instructions / requests, node.circle, below)


def _requests(profiles: Profiles, name: str, leg: str) -> tuple[Part, int]:
    """All of a leg's together, and how many there are."""
    part = Part()
    for start in profiles[name]:
        part.add(start[leg].blocks)
    return part, sum(len(start[leg].totals) for start in profiles[name])


def _own(part: Part, requests: int) -> Iterator[tuple[str, ...]]:
    """What executes most itself."""
    for function, number in part.own.most_common(DIFFERENT):
        told = f"{function.name} ({function.object.rpartition('/')[2]})"
        yield told, counts.number(number / requests), f"{number / part.total:.1%}"


def _differences(found: Counts, profiles: Profiles, names: Mapping[str, str]) -> Iterator[Section]:
    for leg, cells in counts.by_leg(found):
        compared = [name for name in cells if found.cells[name].baseline in cells.keys() - {name}]
        for name in compared:
            baseline = found.cells[name].baseline
            (part, requests), (other, others) = (_requests(profiles, one, leg) for one in (name, baseline))
            rows = tree.differences(part, requests, other, others, DIFFERENT)
            yield Section(
                f"differences-{leg}-{name}",
                f"What makes the difference: {leg}, {names[name]} against {names[baseline]}",
                "Functions of which the one executes more, or less, than the other, by instructions of a request.",
                ("function", names[name], names[baseline], "difference"),
                tuple(
                    (told, *map(counts.number, (here, there)), counts.number(here - there, sign="+"))
                    for told, here, there in rows
                ),
                listed=name == compared[0],
            )


def _notes(found: Counts) -> Sequence[Section]:
    if not found.notes:
        return ()
    return (Section("notes", "Notes", "What else is to be known of this run.", lines=found.notes),)
