"""Commands that measure by themselves, and judge: gate, aa."""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lab.commands import attempts
from lab.errors import BadInputError, Exit, SetupError
from lab.output import say

if TYPE_CHECKING:
    from lab.gate import Gate

TIME, INSTRUCTIONS, BOTH = "time", "instructions", "both"
DELTA, DELTA_INSTRUCTIONS = 0.03, 0.005
# Words, since what has them loads scipy.
IMPROVEMENT = "improvement"
_CODES = {
    "pass": Exit.OK,
    IMPROVEMENT: Exit.OK,
    "regression": Exit.REGRESSION,
    "inconclusive": Exit.INCONCLUSIVE,
    "invalid": Exit.INVALID,
}


def gate(options: argparse.Namespace) -> int:
    """Measure a candidate against its base, and judge it."""
    from lab import gate as rules
    from lab.report import gate as page

    files = _files(options)
    console = Console(stderr=True, highlight=False)
    delta, counted_delta = _deltas(options)
    with tempfile.TemporaryDirectory(prefix="kemi-lab-gate-") as folder:
        asked = attempts.ask(options, options.base, options.candidate, Path(folder))
        known = _known(asked, delta) if delta else None
        counted = attempts.counted(asked, counted_delta) if counted_delta else None
        timed = attempts.timed(asked, delta) if delta else []
    verdict, reason = rules.together(
        rules.conclude([counted]) if counted else None, rules.conclude(timed) if timed else None
    )
    found = rules.Gate(
        base=options.base,
        candidate=options.candidate,
        kind=asked.pair.kind,
        engine=options.engine,
        delta=delta,
        smallest_delta=known,
        attempts=tuple(timed),
        verdict=verdict,
        reason=reason,
        counted=counted,
        counted_delta=counted_delta,
    )
    say(json.dumps(asdict(found), indent=1) if options.json else page.text(found), end="\n" * options.json)
    if options.annotate or os.environ.get("GITHUB_ACTIONS") == "true":
        if options.json:  # GitHub reads either stream, programs this one
            console.print(page.annotations(found), end="", markup=False, soft_wrap=True)
        else:
            say(page.annotations(found), end="")
    _tell(options, found, files)
    return Exit.IMPROVEMENT if verdict == IMPROVEMENT and options.tell_improvement else _CODES[verdict]


def _deltas(options: argparse.Namespace) -> tuple[float | None, float | None]:
    """What may pass by time, and by instructions; None of what was not asked for."""
    from lab.counts.judge import LEAST_DELTA

    asked = options.delta_instructions or (options.delta if options.by == INSTRUCTIONS else None)
    delta, counted = options.delta or DELTA, asked or DELTA_INSTRUCTIONS
    if options.by != TIME and counted < LEAST_DELTA:
        problem = f"{counted:.2%} more instructions are less than the {LEAST_DELTA:.1%} that can be asked for"
        raise BadInputError(problem, remedy="fresh starts may differ by half of that: docs/counting.md")
    return (None if options.by == INSTRUCTIONS else delta), (None if options.by == TIME else counted)


def _known(asked: attempts.Asked, delta: float) -> float | None:
    """What this machine can tell apart; a gate that asks for less is refused."""
    from lab import noise

    specification = attempts.specify(asked)
    entries = noise.history(asked.options.results)
    known = noise.smallest_delta(entries, attempts.machine(asked, specification), specification.plan)
    if known is None:
        said = "! nobody has measured what this machine can tell apart: lab aa does"
        Console(stderr=True, highlight=False).print(said, markup=False, soft_wrap=True)
    elif delta < known:
        problem = f"--delta {delta:.1%} is less than this machine can tell apart ({known:.1%} by lab aa)"
        remedy = "a larger delta, or more rounds in the experiment; lab aa, if the machine has become quieter"
        raise BadInputError(problem, remedy=remedy)
    return known


def _files(options: argparse.Namespace) -> dict[str, Path]:
    """Where to write what others read, looked at before anything is measured; GitHub's job summary is one of them."""
    asked = {"--summary": options.summary or os.environ.get("GITHUB_STEP_SUMMARY"), "--junit": options.junit}
    files = {option: Path(path).absolute() for option, path in asked.items() if path}
    for option, path in files.items():
        try:
            place = path if path.exists() else next(parent for parent in path.parents if parent.exists())
            fit = not path.is_dir() and (path.exists() or place.is_dir()) and os.access(place, os.W_OK)
        except OSError:  # it lies where we may not even look
            fit = False
        if not fit:
            raise BadInputError(f"{option} {path}: no file that can be written")
    return files


def _tell(options: argparse.Namespace, found: "Gate", files: Mapping[str, Path]) -> None:
    """Write the verdict down, in the run's folder as well. It has been said already."""
    from lab import store
    from lab.report import gate as page

    store.dump(found, options.results / found.runs[-1].run / "gate.json")
    try:
        if summary := files.get("--summary"):
            summary.parent.mkdir(parents=True, exist_ok=True)
            with summary.open("a", encoding="utf-8") as file:
                file.write(page.markdown(found))
        if junit := files.get("--junit"):
            junit.parent.mkdir(parents=True, exist_ok=True)
            junit.write_text(page.junit(found), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"the verdict ({found.verdict}) cannot be written: {error}") from error


def aa(options: argparse.Namespace) -> int:
    """Measure the baseline against itself, and what that lets a gate find here."""
    from lab import noise
    from lab.report import gate as page

    noise.history(options.results)  # what cannot be read is told before half an hour, not after it
    with tempfile.TemporaryDirectory(prefix="kemi-lab-aa-") as folder:
        asked = attempts.ask(options, options.routing, options.routing, Path(folder))
        # In all of its rounds: one that stops when it is quiet would say that the machine is.
        run, plan, summary = attempts.measure(asked, attempts.specify(asked), lambda _plan, _running, _number: "")
    entries = noise.history(options.results)
    latest = next(one for one in entries if one.run == run.name)
    alike = noise.alike(entries, latest.machine, plan)
    delta = noise.smallest_delta(alike, latest.machine, plan)
    if options.json:
        say(json.dumps({"latest": asdict(latest), "history": [asdict(one) for one in alike], "delta": delta}, indent=1))
    else:
        say(page.noise(latest, plan, alike, delta), end="")
    return Exit.OK if summary.valid else Exit.INVALID
