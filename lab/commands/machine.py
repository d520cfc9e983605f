"""Commands about this machine: doctor, tune, cpus. Each loads what it needs, so that --help answers at once."""

import argparse
import json
import sys
from contextlib import suppress
from dataclasses import asdict

from lab.errors import BadInputError, Exit
from lab.output import say

_SIGNS = {True: "noise", False: "quiet", None: "?    "}


def doctor(options: argparse.Namespace) -> int:
    """What this machine is, and what disturbs."""
    from lab import disturbances, host

    checks = host.checks(options.results)
    found = disturbances.look()
    if options.json:
        shown = {"checks": [asdict(check) for check in checks], "disturbances": [asdict(one) for one in found]}
        say(json.dumps(shown, indent=1))
    else:
        for check in checks:
            say(f"{'ok ' if check.ok else 'BAD'}  {check.name}: {check.value}{check.advice and '  -> ' + check.advice}")
        say("\nWhat disturbs a measurement here (docs/disturbances.md):")
        for one in found:
            say(f"{_SIGNS[one.disturbs]}  {one.name}: {one.value}")
            if one.disturbs:
                say(f"       {one.effect}\n       -> {one.helps}")
    return Exit.OK if all(check.ok for check in checks) else Exit.SETUP


def tune(options: argparse.Namespace) -> int:
    """Make it quieter, after asking; or as it was."""
    from lab import process, tuning

    if options.undo:
        if options.aslr or options.max_mhz:
            raise BadInputError("--undo restores everything, and takes no other option", remedy="lab tune --undo")
        restored = tuning.undo(tuning.JOURNAL)
        for path, before in restored.items():
            say(f"{path}: {before} again")
        if not restored:
            say(f"nothing is written down in {tuning.JOURNAL}, so nothing is restored")
        return Exit.OK
    changes = tuning.plan(tuning.ROOT, aslr=options.aslr, max_khz=options.max_mhz and options.max_mhz * 1000)
    real = [change for change in changes if change.real]
    for change in real:
        say(f"{change.path}: {change.before} -> {change.after}")
    if not real:
        say("nothing to change: lab doctor says what else disturbs")
        return Exit.OK
    if not options.yes and not _agreed():
        say("nothing was changed")
        return Exit.OK
    with process.undisturbed():
        refused = tuning.apply(changes, tuning.JOURNAL)
    for change, why in refused.items():
        say(f"{change.path}: left as it was: {why}")
    say(f"{len(real) - len(refused)} of {len(real)} changed; as it was: lab tune --undo")
    return Exit.SETUP if refused else Exit.OK


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise BadInputError("nobody to ask whether to change that", remedy="lab tune --yes")
    answer = ""
    with suppress(EOFError):  # Ctrl-D
        answer = input("Change that? lab tune --undo restores it. [y/N] ")
    return answer.strip().lower() in {"y", "yes"}


def cpus(options: argparse.Namespace) -> int:
    """Draw a layout."""
    from lab import experiment, layouts, topology
    from lab.report import cpus

    machine = topology.this()
    layout = layouts.of(experiment.read(options.file)) if options.file else layouts.of_profile(options.profile)
    if options.json:
        say(json.dumps({"layout": asdict(layout), "topology": asdict(machine)}, indent=1))
    else:
        say(cpus.text(machine, layout), end="")
    return Exit.OK
