"""Two runs never measure on the same CPU: a lock file a CPU, which the kernel frees when its holder dies."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lab.errors import SetupError

# One place for every checkout and user of the machine, so not in TMPDIR, which may be a user's own. Tests set theirs.
FOLDER = Path(os.environ.get("LAB_CLAIMS", "/tmp/kemi-lab-cpus"))  # noqa: S108  (it holds nothing but locks)


@contextmanager
def claim(cpus: Iterable[int], run: str, folder: Path = FOLDER) -> Iterator[None]:
    """Hold these CPUs for a run; SetupError naming the other run when one is taken."""
    with ExitStack() as stack:
        folder.mkdir(exist_ok=True)
        with suppress(PermissionError):  # another user made it, and opened it to all
            folder.chmod(0o777)
        for cpu in sorted(cpus):
            path = folder / f"cpu{cpu}"
            existed = path.exists()
            file = stack.enter_context(path.open("a+"))
            if not existed:
                path.chmod(0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                other = file.read().strip() or "another run"
                remedy = "wait until it has ended, or give this one other CPUs ([cpus] in the experiment file)"
                raise SetupError(f"CPU {cpu} is taken by {other}", remedy=remedy) from error
            file.truncate(0)
            file.write(run)
            file.flush()
        yield
