"""Parse, call, print, exit code: the only module that prints or exits."""

import argparse
import errno
import json
import os
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from lab import arguments as arguments_
from lab.errors import BadInputError, Exit, LabError, SetupError, UnavailableError
from lab.model import Plan

if TYPE_CHECKING:
    from lab.images import Recipe
    from lab.summary import Summary

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNS = {True: "noise", False: "quiet", None: "?    "}
GONE = {errno.EPIPE, errno.EIO}  # whoever read what we write: a pipe's other end, a terminal


def entry() -> None:
    """Console script `lab`."""
    sys.unraisablehook = _lost
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        options = arguments_.parser().parse_args(arguments)
    except SystemExit:  # it has said what was asked for, or what is wrong
        _print("", end="")
        raise
    # Files that we write are mounted into containers, whose users are not us.
    os.umask(0o022)
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup: it was asked to go on
            signal.signal(number, _interrupt)
    try:
        return COMMANDS[options.command](options)
    except (KeyboardInterrupt, SystemExit, Exception) as error:  # noqa: BLE001  (each has an exit code of its own)
        return _explain(error, Console(stderr=True, highlight=False))


def _explain(error: BaseException, console: Console) -> int:
    """Say what happened and what helps, if anybody is there to hear it; return the exit code that it has."""
    kept: Path | None = getattr(error, "kept", None)
    error = _known(error)
    try:
        _tell(error, console)
        if kept:
            elsewhere = "" if kept.parent == arguments_.RESULTS else f" --results {shlex.quote(str(kept.parent))}"
            said = f"lab: what was measured is kept: {kept}; its figures: lab frames {kept.name}{elsewhere}"
            console.print(said, markup=False, soft_wrap=True)
    except (OSError, SystemExit):
        _mute(sys.stderr)
        if isinstance(error, OSError) and error.errno in GONE:  # the same befell the command: it was cut off
            return Exit.INTERRUPTED
    if isinstance(error, LabError):
        return error.exit_code
    return Exit.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Exit.DEFECT


def _known(error: BaseException) -> BaseException:
    """The same in our own terms, where it has a meaning for us."""
    if isinstance(error, KeyboardInterrupt | LabError):
        return error
    if isinstance(error, SystemExit):  # rich's, when nobody reads standard error any more
        return KeyboardInterrupt()
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        return SetupError(str(error), remedy="make room, or name another folder by --results")

    from docker.errors import DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415  (what is read as it comes passes requests by)

    if isinstance(error, DockerException | RequestException | HTTPError):
        remedy = "look at the engine's own log (journalctl -u docker); lab down RUN removes what may be left of a run"
        return SetupError(f"the Docker Engine failed: {error}", remedy=remedy)
    return error


def _tell(error: BaseException, console: Console) -> None:
    """First the evidence, then what happened, then what helps."""
    if isinstance(error, KeyboardInterrupt):
        console.print("lab: interrupted; everything that was started is gone again", markup=False)
    elif isinstance(error, LabError):
        if error.detail:
            console.print(error.detail, markup=False, soft_wrap=True)
        console.print(f"lab: {error}", markup=False, style="bold red", soft_wrap=True)
        if error.remedy:
            console.print(f"lab: what helps: {error.remedy}", markup=False, soft_wrap=True)
    else:
        console.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
        console.print("lab: this is a defect of the lab: please report it with the lines above", markup=False)


def _print(text: str, end: str = "\n") -> None:
    """To standard output, at once. A reader that has gone (| head) is no error: the exit code stays what it is."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        _mute(sys.stdout)
        if error.errno not in GONE:
            raise


def _mute(stream: TextIO) -> None:
    """Let what it still holds go nowhere: Python would end with a code of its own when it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """The first one ends the run in order; a second must not stop the taking down."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _lost(lost: "sys.UnraisableHookArgs") -> None:
    """Python only prints what is raised in a destructor. A Ctrl-C that fell into one is sent again."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def _doctor(options: argparse.Namespace) -> int:
    from lab import disturbances, host  # noqa: PLC0415  (each command loads what it needs: --help answers at once)

    checks = host.checks(options.results)
    found = disturbances.look()
    if options.json:
        shown = {"checks": [asdict(check) for check in checks], "disturbances": [asdict(one) for one in found]}
        _print(json.dumps(shown, indent=1))
    else:
        for check in checks:
            _print(
                f"{'ok ' if check.ok else 'BAD'}  {check.name}: {check.value}{check.advice and '  -> ' + check.advice}"
            )
        _print("\nWhat disturbs a measurement here (docs/disturbances.md):")
        for one in found:
            _print(f"{_SIGNS[one.disturbs]}  {one.name}: {one.value}")
            if one.disturbs:
                _print(f"       {one.effect}\n       -> {one.helps}")
    return Exit.OK if all(check.ok for check in checks) else Exit.SETUP


def _tune(options: argparse.Namespace) -> int:
    from lab import process, tuning  # noqa: PLC0415

    if options.undo:
        if options.aslr or options.max_mhz:
            raise BadInputError("--undo restores everything, and takes no other option", remedy="lab tune --undo")
        restored = tuning.undo(tuning.JOURNAL)
        for path, before in restored.items():
            _print(f"{path}: {before} again")
        if not restored:
            _print(f"nothing is written down in {tuning.JOURNAL}, so nothing is restored")
        return Exit.OK
    changes = tuning.plan(tuning.ROOT, aslr=options.aslr, max_khz=options.max_mhz and options.max_mhz * 1000)
    real = [change for change in changes if change.real]
    for change in real:
        _print(f"{change.path}: {change.before} -> {change.after}")
    if not real:
        _print("nothing to change: lab doctor says what else disturbs")
        return Exit.OK
    if not options.yes and not _agreed():
        _print("nothing was changed")
        return Exit.OK
    with process.undisturbed():
        refused = tuning.apply(changes, tuning.JOURNAL)
    for change, why in refused.items():
        _print(f"{change.path}: left as it was: {why}")
    _print(f"{len(real) - len(refused)} of {len(real)} changed; as it was: lab tune --undo")
    return Exit.SETUP if refused else Exit.OK


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise BadInputError("nobody to ask whether to change that", remedy="lab tune --yes")
    answer = ""
    with suppress(EOFError):  # Ctrl-D
        answer = input("Change that? lab tune --undo restores it. [y/N] ")
    return answer.strip().lower() in {"y", "yes"}


def _cpus(options: argparse.Namespace) -> int:
    from lab import experiment, layouts, topology  # noqa: PLC0415
    from lab.report import cpus  # noqa: PLC0415

    machine = topology.this()
    layout = layouts.of(experiment.read(options.file)) if options.file else layouts.of_profile(options.profile)
    if options.json:
        _print(json.dumps({"layout": asdict(layout), "topology": asdict(machine)}, indent=1))
    else:
        _print(cpus.text(machine, layout), end="")
    return Exit.OK


def _images(options: argparse.Namespace) -> int:
    from lab import host, images  # noqa: PLC0415

    workshop = images.Workshop(host.engine(), _listener())
    recipes = _recipes(options)
    for recipe in () if options.list else recipes:
        try:
            workshop.ensure(recipe)
        except UnavailableError as error:
            if not options.all:
                raise
            Console(stderr=True, highlight=False).print(f"! {error}", markup=False, soft_wrap=True)
    rows = [(recipe, workshop.built(recipe) if workshop.current(recipe) else None) for recipe in recipes]
    if options.json:
        _print(json.dumps([{"tag": recipe.tag, "image": built and asdict(built)} for recipe, built in rows], indent=1))
    else:
        for recipe, built in rows:
            _print(
                f"{recipe.tag:28} {built.size_bytes / 1e6:4.0f} MB  {built.version}"
                if built
                else f"{recipe.tag:28} missing, or out of date: lab images"
            )
    return Exit.OK


def _engines(options: argparse.Namespace) -> int:
    from lab import host, images, matrix  # noqa: PLC0415

    places = list(matrix.places(images.Workshop(host.engine(), _listener())))
    if options.json:
        _print(json.dumps([asdict(place) for place in places], indent=1))
        return Exit.OK
    engines = list(dict.fromkeys(place.engine for place in places))
    width = max(map(len, (*matrix.State, *engines))) + 2
    _print(f"{'Kamailio':10} {'suite':10} " + "".join(f"{engine:{width}}" for engine in engines).rstrip())
    for release in dict.fromkeys(place.kamailio for place in places):
        row = [place for place in places if place.kamailio == release]
        states = ("" if place.state == matrix.State.NONE else place.state for place in row)
        _print(f"{release:10} {row[0].suite:10} " + "".join(f"{state:{width}}" for state in states).rstrip())
    for place in places:
        if place.why:
            _print(f"Kamailio {place.kamailio}, {place.engine}: {place.state}: {place.why}")
        for limit in place.limits:
            _print(f"Kamailio {place.kamailio}, {place.engine}: {limit}")
    for variant in dict.fromkeys(f"Kamailio {place.kamailio} {place.variant}" for place in places if place.variant):
        _print(variant)
    return Exit.OK


def _recipes(options: argparse.Namespace) -> "tuple[Recipe, ...]":
    """What `lab images` is about: the testbed's, every release's, or those of a given source."""
    from lab import images  # noqa: PLC0415

    by_hand = images.by_hand()
    if options.kamailio_source:
        return (images.kamailio_from(options.kamailio_source, options.kamailio_suite), *by_hand[1:])
    return images.everything() if options.all else by_hand


def _up(_: argparse.Namespace) -> int:
    from lab import by_hand, host, images  # noqa: PLC0415

    workshop = images.Workshop(host.engine(), _listener())
    for recipe in images.by_hand():
        workshop.ensure(recipe)
    by_hand.up(workshop.client)
    _print("MySQL and Kamailio are up; registrations: docker compose run --rm sipp; down again: lab down")
    return Exit.OK


def _down(options: argparse.Namespace) -> int:
    from lab import by_hand, host, store, testbed  # noqa: PLC0415

    if options.run is None:
        by_hand.down(host.engine())
        return Exit.OK
    run = options.run
    with suppress(BadInputError):  # its folder may be elsewhere, or gone
        run = store.find(arguments_.RESULTS, run).name
    if not testbed.remove_all(host.engine(), run):
        raise BadInputError(
            f"nothing of a run {run!r} is on the engine", remedy="docker ps --all --filter label=lab.run"
        )
    return Exit.OK


def _run(options: argparse.Namespace) -> int:
    from lab import assembly, experiment, host, runner, validity  # noqa: PLC0415
    from lab.progress import RunProgress  # noqa: PLC0415
    from lab.session import Judges  # noqa: PLC0415

    asked = experiment.read(options.file)  # what the user wrote comes first
    client = host.engine()
    console = Console(stderr=True, highlight=False)
    specification = assembly.specify(
        asked, client, kamailio_source=options.kamailio_source, kamailio_suite=options.kamailio_suite
    )
    with RunProgress(console, specification.plan) as progress:
        folder = runner.run(
            specification,
            client,
            options.results,
            judges=Judges(validity.judge, validity.judge_start),
            reporter=progress,
        )
    return _analyse(folder, as_json=options.json)


def _frames(options: argparse.Namespace) -> int:
    from lab import store  # noqa: PLC0415

    return _analyse(store.find(options.results, options.run), as_json=options.json)


def _report(options: argparse.Namespace) -> int:
    from lab import store, summary  # noqa: PLC0415

    folder = store.find(options.results, options.run)
    return _show(folder, summary.read(folder), as_json=options.json)


def _published(options: argparse.Namespace) -> int:
    from lab import published, store  # noqa: PLC0415
    from lab.report import published as page  # noqa: PLC0415

    found = published.read(store.find(options.results, options.run))
    _print(json.dumps(asdict(found), indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK


def _analyse(folder: Path, *, as_json: bool) -> int:
    """Right of the wall: evidence -> frames -> summary -> table."""
    from lab import frames, summary  # noqa: PLC0415

    frames.write(folder)
    return _show(folder, summary.write(folder), as_json=as_json)


def _show(folder: Path, summary: "Summary", *, as_json: bool) -> int:
    from lab import store  # noqa: PLC0415
    from lab.report import terminal, view  # noqa: PLC0415

    if as_json:
        _print((folder / "summary.json").read_text(encoding="utf-8"), end="")
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        plan = store.load(Plan, folder / "evidence" / "plan.json")
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        _print(terminal.render(view.build(summary, plan, folder), width=width, colour=colour), end="")
    return Exit.OK if summary.valid else Exit.INVALID


def _listener() -> Callable[[str], None]:
    """Build output: one moving line on a terminal, whole lines in a pipe."""
    console = Console(stderr=True, highlight=False)

    def listen(line: str) -> None:
        if console.is_terminal:
            console.print(line[: console.width - 1], markup=False, end="\r", overflow="crop", no_wrap=True)
        else:
            console.print(line, markup=False, soft_wrap=True)

    return listen


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "doctor": _doctor,
    "tune": _tune,
    "cpus": _cpus,
    "images": _images,
    "engines": _engines,
    "up": _up,
    "down": _down,
    "run": _run,
    "frames": _frames,
    "report": _report,
    "published": _published,
}
