"""Two runs never measure on the same CPU, and who goes on is known: lock files, which are freed when a holder dies."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from lab.errors import SetupError

TRIES = 5  # to hold what somebody else only looks at
# One place for every checkout and user of the machine, so not in TMPDIR, which may be a user's own. Tests set theirs.
FOLDER = Path(os.environ.get("LAB_CLAIMS", "/tmp/kemi-lab-cpus"))  # noqa: S108  (it holds nothing but locks)


@contextmanager
def claim(cpus: Iterable[int], run: str, folder: Path = FOLDER, *, shared: bool = False) -> Iterator[None]:
    """Hold these CPUs for a run; SetupError naming the other run when one is taken. Only runs that share do so."""
    with ExitStack() as stack:
        for cpu in sorted(cpus):
            file = stack.enter_context(_open(folder, f"cpu{cpu}"))
            if not _locked(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                file.seek(0)
                other = file.read().strip() or "another run"
                remedy = (
                    "wait until it has ended, give this one other CPUs ([cpus] in the experiment file), or begin both "
                    "with --share-cpus"
                )
                raise SetupError(f"CPU {cpu} is taken by {other}", remedy=remedy)
            file.truncate(0)
            file.write(run)
            file.flush()
        yield


@contextmanager
def going_on(run: str, folder: Path = FOLDER) -> Iterator[None]:
    """Until this is over the run goes on, for everybody on this machine; SetupError where it does already."""
    path = folder / _name(run)
    with ExitStack() as stack:
        for _ in range(TRIES):
            file = stack.enter_context(_open(folder, path.name))
            # Who held it before may have unlinked it just now.
            if _locked(file) and path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break
            time.sleep(0.05)  # somebody may only have looked
        else:
            raise SetupError(f"{run} goes on, in another process", remedy="wait until it has ended")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def goes_on(run: str, folder: Path = FOLDER) -> bool:
    """Whether some process of this machine is at a run."""
    try:
        with (folder / _name(run)).open() as file:  # who only looks makes none
            return not _locked(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _name(run: str) -> str:
    return f"run-{run}"


def _open(folder: Path, name: str) -> IO[str]:
    """A lock file that every user may lock."""
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # another user made it, and opened it to all
        folder.chmod(0o777)
    file = (folder / name).open("a+")
    with suppress(PermissionError):  # likewise
        os.fchmod(file.fileno(), 0o666)
    return file


def _locked(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Ours now, or another one's."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
