"""Parse, call, explain what went wrong, exit code: the only module that exits."""

import errno
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from lab import arguments as arguments_
from lab import ending
from lab.commands import COMMANDS
from lab.errors import Exit, LabError, SetupError
from lab.output import GONE, mute, say

if TYPE_CHECKING:
    from pathlib import Path


def entry() -> None:
    """Console script `lab`."""
    sys.unraisablehook = _lost
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        options = arguments_.parser().parse_args(arguments)
    except SystemExit:  # it has said what was asked for, or what is wrong
        say("", end="")
        raise
    # Files that we write are mounted into containers, whose users are not us.
    os.umask(0o022)
    ending.listen()
    try:
        return COMMANDS[options.command](options)
    except (KeyboardInterrupt, SystemExit, Exception) as error:  # noqa: BLE001  (each has an exit code of its own)
        return _explain(error, Console(stderr=True, highlight=False))


def _explain(error: BaseException, console: Console) -> int:
    """Say what happened and what helps, if anybody is there to hear it; return the exit code that it has."""
    from lab import store  # noqa: PLC0415

    kept: Path | None = getattr(error, "kept", None)
    error = _known(error)
    try:
        _tell(error, console)
        if kept:
            elsewhere = "" if kept.parent == arguments_.RESULTS else f" --results {shlex.quote(str(kept.parent))}"
            said = f"lab: what was measured is kept: {kept}; its figures: lab frames {kept.name}{elsewhere}"
            console.print(said, markup=False, soft_wrap=True)
            if store.can_go_on(kept):
                console.print(f"lab: to go on with it: lab resume {kept.name}{elsewhere}", markup=False, soft_wrap=True)
    except (OSError, SystemExit):
        mute(sys.stderr)
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
        remedy = "look at the engine's own log (journalctl -u docker); lab clean --yes removes what a run may have left"
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


def _lost(lost: "sys.UnraisableHookArgs") -> None:
    """Python only prints what is raised in a destructor. A Ctrl-C that fell into one is sent again."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, ending.asked)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
