"""Where processes may run: the driver pinned to its CPUs, and each role's allowed list read back from the kernel."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import SetupError
from lab.execution import ask
from lab.topology import format_list

if TYPE_CHECKING:
    from docker.models.containers import Container

_THREADS = Path("/proc/self/task")
_UNPINNED = "run the lab where sched_setaffinity is allowed and its cgroup has these CPUs: lab cpus shows what there is"
# Process, thread and list, line by line, of every thread of every process. The command's own are among them, which got
# theirs as SIPp does: by an exec.
_SCRIPT = r"sed -s -n '/^\(Tgid\|Pid\|Cpus_allowed_list\):/p' /proc/[0-9]*/task/[0-9]*/status 2>/dev/null || true"

Lists = dict[tuple[str, str], str]  # (process, thread) -> CPUs


@contextmanager
def pinned(cpus: Iterable[int]) -> Iterator[None]:
    """The driver on these CPUs, with all of its threads; later ones inherit that. SetupError where it may not."""
    before = os.sched_getaffinity(0)
    _pin(cpus)
    try:
        yield
    finally:
        _pin(before)


def _pin(cpus: Iterable[int]) -> None:
    """All threads. PermissionError or EINVAL: a cgroup, or who made this container, forbids it."""
    wanted = tuple(sorted(cpus))
    for thread in _threads():
        try:
            os.sched_setaffinity(thread, wanted)
        except ProcessLookupError:  # it has ended
            continue
        except OSError as error:
            message = f"the driver may not pin itself to CPUs {format_list(wanted)}: {error.strerror}"
            raise SetupError(message, remedy=_UNPINNED) from error


def allowed_to_driver() -> str:
    """CPUs that the kernel lets this process use, in its list form; several lists where threads differ."""
    found: set[str] = set()
    for thread in _threads():
        try:
            found.add(format_list(tuple(os.sched_getaffinity(thread))))
        except ProcessLookupError:  # it has ended
            continue
    return " ".join(sorted(found))


def allowed(container: "Container", pids: Iterable[int] = (1,)) -> str:
    """CPUs that the kernel lets a container's processes use; several lists where they, or threads of theirs, differ.

    Nothing where one of `pids` (by the container's own numbers) was not read.
    """
    found = _lists(container)
    if not set(map(str, pids)) <= {process for process, _ in found}:
        return ""
    if len(set(found.values())) > 1:
        # A process that somebody's exec has just begun is in here before it has the container's CPUs: what differs has
        # to be seen twice, of the same thread.
        again = _lists(container)
        found = {thread: again[thread] for thread in found if thread in again}
    return " ".join(sorted(set(found.values())))


def _lists(container: "Container") -> Lists:
    found: Lists = {}
    facts: dict[str, str] = {}
    for line in ask(container, ["sh", "-c", _SCRIPT]).text.splitlines():
        name, _, value = line.partition(":")
        facts[name] = value.strip()
        if name == "Cpus_allowed_list":
            found[facts.get("Tgid", ""), facts.get("Pid", "")] = facts[name]
    return found


def _threads() -> list[int]:
    return [int(thread.name) for thread in _THREADS.iterdir()]
