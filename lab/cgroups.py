"""CPU time and throttling of a container, from the host's side: cgroups of version 1 and 2; CPU time of all tasks."""

import re
from collections.abc import Iterable
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_SCHEDSTAT = Path("/proc/schedstat")
_PLACES = ("cpuacct", "cpu,cpuacct", "cpu")  # version 1 may mount the two controllers together or apart


class Cgroup:
    """CPU time and throttling of one container, from the host's side: a read takes well under a millisecond."""

    def __init__(self, pid: int) -> None:
        """`pid` is the container's first process, as the host numbers it."""
        self._cpu, self._stat, self._scale = _files(pid)

    def cpu_usec(self) -> int | None:
        """CPU time so far; None where the kernel shows no file."""
        text = _content(self._cpu)
        if text is None:
            return None
        return int(text) // 1000 if self._scale is None else _value(text, self._scale)

    def throttled(self) -> int | None:
        """Periods in which the container was throttled."""
        return _value(_content(self._stat), "nr_throttled")


def _content(path: Path | None) -> str | None:
    """A file of a cgroup; it goes with the container's last process."""
    try:
        return path.read_text(encoding="ascii") if path else None
    except OSError:
        return None


def _files(pid: int) -> tuple[Path | None, Path | None, str | None]:
    """CPU file, statistics file, and the key of CPU time in it (None: the file is a bare number of nanoseconds)."""
    groups: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    if "cpuacct" in groups:  # cgroup v1
        places = [_CGROUPS / name for name in _PLACES]
        account = [p / groups["cpuacct"] / "cpuacct.usage" for p in places]
        stat = [p / groups.get("cpu", "") / "cpu.stat" for p in places]
        return _first(account), _first(stat), None
    unified = _CGROUPS / groups.get("", "") / "cpu.stat"
    found = _first([unified])
    return found, found, "usage_usec"


def _first(candidates: list[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


def _value(text: str | None, key: str) -> int | None:
    found = re.search(rf"^{key} (\d+)$", text or "", re.MULTILINE)
    return int(found[1]) if found else None


def ran_usec(cpus: Iterable[int]) -> int | None:
    """CPU time of all tasks on some CPUs so far, as the kernel charges it: to the nanosecond, not by its ticks.

    From /proc/schedstat (rq_cpu_time), or from cgroup v1's account of the root; None where neither is shown.
    """
    nsec: dict[int, int] = {}
    if text := _content(_SCHEDSTAT):
        nsec = {int(cpu): int(ran) for cpu, ran in re.findall(r"^cpu(\d+) (?:\d+ ){6}(\d+) ", text, re.MULTILINE)}
    elif text := _content(_first([_CGROUPS / place / "cpuacct.usage_percpu" for place in _PLACES])):
        nsec = dict(enumerate(map(int, text.split())))
    wanted = [nsec.get(cpu) for cpu in cpus]
    return None if None in wanted else sum(filter(None, wanted)) // 1000
