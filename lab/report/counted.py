"""A run of `lab count` -> its report."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab.counts import tree
from lab.counts.callgrind import Part
from lab.counts.figures import RECEIVE, Counts, LegCount, Profiles, ratios
from lab.counts.tree import Node
from lab.model import Plan
from lab.report import charts, counts, flame, machine
from lab.report.page import Report
from lab.report.section import Section
from lab.report.story import called

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
            *_legs(found, names),
            *_trees(found, profiles, names),
            *_differences(found, profiles, names),
            *_notes(found),
            *machine.environment_of(folder, plan, "Instructions are the same on any machine that runs these images."),
        ),
        again=("./justw", "lab", "count", f"results/{folder.name}/evidence/experiment.toml", *_options(found)),
    )


def _options(found: Counts) -> Iterator[str]:
    yield from ("--calls", str(found.counting.calls), "--warmup-calls", str(found.counting.warmup_calls))
    yield from ("--repeats", str(found.rounds))


def _answers(found: Counts, names: Mapping[str, str]) -> Iterator[str]:
    """A sentence a cell that is compared, or of each cell where none is."""
    if not found.valid:
        yield "This count is not valid: none of its figures should be quoted."
        return
    for name, known in ratios(found).items():
        cell = found.cells[name]
        times = [
            f"{ratio:.2f} times on {'a' if what == cell.whole else 'the'} {what}{' leg' * (what in cell.legs)}"
            for what, ratio in known.items()
        ]
        if times:
            yield f"{names[name]} executes {', '.join(times)} the instructions of {names[cell.baseline]}."


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
            grown = _grown(profiles, name, leg)
            if grown is None:
                continue
            requests = sum(len(start[leg].totals) for start in profiles[name])
            cell = found.cells[name]
            yield Section(
                f"tree-{leg}-{name}",
                f"Where they go: {leg}, {names[name]}",
                "Each bar is a function, as wide as all that it led to, below the one that called it. Functions that "
                "call each other in a circle are one bar. The table has what a function executes itself.",
                ("function", "instructions", "of all"),
                tuple(_own(profiles, name, leg, requests)),
                lambda grown=grown: flame.draw(grown),  # type: ignore[misc]
                listed=name == next(iter(cells)),
            )
            before = _grown(profiles, cell.baseline, leg) if cell.baseline in cells else None
            if before and cell.baseline != name and found.cells[cell.baseline].engine == cell.engine:
                yield Section(
                    f"change-{leg}-{name}",
                    f"What has changed: {leg}, {names[name]} against {names[cell.baseline]}",
                    f"The tree of {names[name]}: what executes more than in that of {names[cell.baseline]}, or less.",
                    draw=lambda grown=grown, before=before: flame.draw(  # type: ignore[misc]
                        grown, *flame.changes(grown, before)
                    ),
                )


def _grown(profiles: Profiles, name: str, leg: str) -> Node | None:
    """A mean request's tree."""
    whole, requests = _whole(profiles, name, leg)
    grown = tree.grow(whole, RECEIVE, LEAST)
    return grown and _mean(grown, requests)


def _mean(node: Node, requests: int) -> Node:
    below = tuple(_mean(one, requests) for one in node.calls)
    return Node(node.function, node.instructions / requests, node.circle, below)


def _whole(profiles: Profiles, name: str, leg: str) -> tuple[Part, int]:
    whole = Part()
    for start in profiles[name]:
        whole.add(start[leg].whole)
    return whole, sum(len(start[leg].totals) for start in profiles[name])


def _own(profiles: Profiles, name: str, leg: str, requests: int) -> Iterator[tuple[str, ...]]:
    """What executes most itself."""
    whole, _ = _whole(profiles, name, leg)
    for function, number in whole.own.most_common(DIFFERENT):
        told = f"{function.name} ({function.object.rpartition('/')[2]})"
        yield told, counts.number(number / requests), f"{number / whole.total:.1%}"


def _differences(found: Counts, profiles: Profiles, names: Mapping[str, str]) -> Iterator[Section]:
    for leg, cells in counts.by_leg(found):
        compared = [name for name in cells if found.cells[name].baseline in cells.keys() - {name}]
        for name in compared:
            baseline = found.cells[name].baseline
            (whole, requests), (other, others) = (_whole(profiles, one, leg) for one in (name, baseline))
            rows = tree.differences(whole, requests, other, others, DIFFERENT)
            yield Section(
                f"differences-{leg}-{name}",
                f"What makes the difference: {leg}, {names[name]} against {names[baseline]}",
                "Functions of which the one executes more, or less, than the other, by instructions of a request.",
                ("function", names[name], names[baseline], "difference"),
                tuple(
                    (told, *map(counts.number, (here, there)), f"{here - there:+,.0f}") for told, here, there in rows
                ),
            )


def _notes(found: Counts) -> Sequence[Section]:
    if not found.notes:
        return ()
    return (Section("notes", "Notes", "What else is to be known of this run.", lines=found.notes),)
