"""The CPUs of a machine as its kernel describes them: cores, SMT siblings, nodes, caches. Never from a count."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

SYSFS = Path("/sys/devices")
FULL_CAPACITY = 1024  # cpu_capacity of the fastest CPU of a machine whose CPUs differ
EFFICIENT_BELOW = 0.75  # of the fastest one's capacity; cores of one kind differ by less, when some clock higher


class Kind(StrEnum):
    """What a hybrid machine's cores are; on any other machine all are performance cores."""

    PERFORMANCE = "performance"
    EFFICIENT = "efficient"


@dataclass(frozen=True, slots=True)
class Cpu:
    """One logical CPU that is online."""

    number: int
    package: int
    node: int
    siblings: tuple[int, ...]  # the online CPUs of its physical core, itself among them
    cache: tuple[int, ...]  # the online CPUs that share its last-level cache; empty: the kernel does not say
    kind: Kind = Kind.PERFORMANCE


@dataclass(frozen=True, slots=True)
class Core:
    """A physical core, as far as it may be used."""

    threads: tuple[int, ...]  # that we may use
    closed: tuple[int, ...]  # siblings that are online, but not for us: who runs there slows us down
    package: int
    node: int
    cache: tuple[int, ...]  # the online CPUs that share its last-level cache; empty: the kernel does not say
    kind: Kind


@dataclass(frozen=True)
class Topology:
    """A machine's CPUs. `allowed` are those that the cgroup and the affinity of this process leave."""

    cpus: tuple[Cpu, ...]
    allowed: tuple[int, ...]
    offline: tuple[int, ...] = ()
    memory_bytes: int = 0

    @cached_property
    def cores(self) -> tuple[Core, ...]:
        """Physical cores with at least one CPU for us, by their first one."""
        return tuple(self._cores())

    def _cores(self) -> Iterator[Core]:
        seen: set[int] = set()
        for cpu in self.cpus:
            threads = tuple(number for number in cpu.siblings if number in self.allowed)
            if threads and cpu.number not in seen:
                seen.update(cpu.siblings)
                closed = tuple(number for number in cpu.siblings if number not in self.allowed)
                yield Core(threads, closed, cpu.package, cpu.node, cpu.cache, cpu.kind)

    @property
    def nodes(self) -> dict[int, tuple[Core, ...]]:
        """NUMA node -> its cores that we may use."""
        nodes: dict[int, list[Core]] = {}
        for core in self.cores:
            nodes.setdefault(core.node, []).append(core)
        return {node: tuple(cores) for node, cores in sorted(nodes.items())}


def this() -> Topology:
    """The machine that we are on, as far as this process may use it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return read(SYSFS, tuple(sorted(os.sched_getaffinity(0))), memory)


def read(root: Path, allowed: tuple[int, ...], memory_bytes: int) -> Topology:
    """What a kernel says in its /sys/devices."""
    system = root / "system" / "cpu"
    # What we may use is online, even where a container is shown fewer.
    online = tuple(sorted({*_list(system / "online"), *allowed}))
    atoms = _list(root / "cpu_atom" / "cpus")
    capacities = {number: _number(system / f"cpu{number}" / "cpu_capacity") for number in online}
    fastest = max((capacity for capacity in capacities.values() if capacity), default=FULL_CAPACITY)

    def kind(number: int) -> Kind:
        slow = (capacities[number] or fastest) < EFFICIENT_BELOW * fastest
        return Kind.EFFICIENT if number in atoms or slow else Kind.PERFORMANCE

    return Topology(
        cpus=tuple(_cpu(system / f"cpu{number}", number, kind(number)) for number in online),
        allowed=tuple(sorted(allowed)),
        offline=_list(system / "offline"),
        memory_bytes=memory_bytes,
    )


def _cpu(folder: Path, number: int, kind: Kind) -> Cpu:
    """Kernels before 5.4 know core_cpus_list as thread_siblings_list; some virtual machines know neither."""
    topology = folder / "topology"
    siblings = _list(topology / "core_cpus_list") or _list(topology / "thread_siblings_list") or (number,)
    nodes = [int(path.name.removeprefix("node")) for path in folder.glob("node[0-9]*")]
    return Cpu(
        number=number,
        package=_number(topology / "physical_package_id") or 0,
        node=nodes[0] if nodes else 0,
        siblings=siblings,
        cache=_last_cache(folder / "cache"),
        kind=kind,
    )


def _last_cache(folder: Path) -> tuple[int, ...]:
    levels = {
        _number(index / "level") or 0: _list(index / "shared_cpu_list")
        for index in folder.glob("index[0-9]*")
        if _text(index / "type") != "Instruction"
    }
    return levels[max(levels)] if levels else ()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:  # absent, or not to be read by this user: the kernel does not say
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _list(path: Path) -> tuple[int, ...]:
    text = _text(path)
    return parse_list(text) if text else ()


def parse_list(text: str) -> tuple[int, ...]:
    """'0-2,5' -> (0, 1, 2, 5). ValueError where it is no such list: as a cpuset, an empty one would mean every CPU."""
    found: set[int] = set()
    for part in text.strip().split(","):
        bounds = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        cpus = range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1) if bounds else ()
        if not cpus:
            raise ValueError("a list of CPUs such as 0-2,5")
        found.update(cpus)
    return tuple(sorted(found))


def format_list(cpus: tuple[int, ...]) -> str:
    """(0, 1, 2, 5) -> '0-2,5'."""
    parts: list[str] = []
    start = previous = None
    for cpu in (*sorted(cpus), None):
        if start is None or previous is None:
            start = previous = cpu
        elif cpu == previous + 1:
            previous = cpu
        else:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = previous = cpu
    return ",".join(parts)
