"""Machines to lay roles out on: written from published listings, as said with each, and never measured on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lab.topology import Topology, format_list, parse_list, read

GB = 10**9


@dataclass(frozen=True)
class Machine:
    """What the kernel shows of a machine, in short."""

    source: str  # where its listing is from
    cores: tuple[str, ...]  # CPUs of each physical core, in the kernel's list form
    nodes: tuple[str, ...]  # CPUs of each memory node
    packages: tuple[str, ...]
    caches: tuple[str, ...]  # CPUs that share a last-level cache
    atoms: str = ""  # efficient cores of an Intel hybrid
    capacity: tuple[tuple[str, int], ...] = ()  # of an ARM machine
    offline: str = ""
    allowed: str = ""  # by the cgroup; empty: all that are online
    memory_bytes: int = 16 * GB

    def write(self, root: Path) -> Path:
        """Its /sys/devices, as far as the lab reads it."""
        system = root / "system" / "cpu"
        offline = set(parse_list(self.offline)) if self.offline else set()
        everything = {cpu for core in self.cores for cpu in parse_list(core)}
        _put(system / "online", format_list(tuple(everything - offline)))
        _put(system / "offline", self.offline)
        if self.atoms:
            _put(root / "cpu_atom" / "cpus", self.atoms)
        for cpu in everything - offline:
            folder = system / f"cpu{cpu}"
            _put(folder / "topology" / "core_cpus_list", _with(cpu, self.cores, offline))
            _put(folder / "topology" / "physical_package_id", _index(cpu, self.packages))
            _put(folder / "cache" / "index0" / "level", "1")
            _put(folder / "cache" / "index0" / "type", "Data")
            _put(folder / "cache" / "index0" / "shared_cpu_list", _with(cpu, self.cores, offline))
            _put(folder / "cache" / "index3" / "level", "3")
            _put(folder / "cache" / "index3" / "type", "Unified")
            _put(folder / "cache" / "index3" / "shared_cpu_list", _with(cpu, self.caches, offline))
            (folder / f"node{_index(cpu, self.nodes)}").mkdir()
            for cpus, capacity in self.capacity:
                if cpu in parse_list(cpus):
                    _put(folder / "cpu_capacity", str(capacity))
        return root

    def topology(self, root: Path) -> Topology:
        """As the lab reads it back."""
        online = parse_list((self.write(root) / "system" / "cpu" / "online").read_text())
        return read(root, parse_list(self.allowed) if self.allowed else online, self.memory_bytes)


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")


def _index(cpu: int, groups: tuple[str, ...]) -> str:
    return str(next(number for number, group in enumerate(groups) if cpu in parse_list(group)))


def _with(cpu: int, groups: tuple[str, ...], offline: Iterable[int]) -> str:
    """The CPUs online of the group that has this one."""
    return format_list(tuple(set(parse_list(groups[int(_index(cpu, groups))])) - set(offline)))


def _pairs(first: range, distance: int) -> tuple[str, ...]:
    return tuple(f"{cpu},{cpu + distance}" for cpu in first)


def _single(cpus: range) -> tuple[str, ...]:
    return tuple(str(cpu) for cpu in cpus)


LAPTOP = Machine(
    "lscpu -e of 4-core Intel laptops (Core i5-9300H and others): CPU n and n+4 on core n; the NUC's is alike",
    cores=_pairs(range(4), 4),
    nodes=("0-7",),
    packages=("0-7",),
    caches=("0-7",),
)

HYBRID = Machine(
    "lscpu --all --extended of a Core i9-12900K: 8 P-cores with CPUs 0-15 in pairs, 8 E-cores with CPUs 16-23",
    cores=(*(f"{cpu}-{cpu + 1}" for cpu in range(0, 16, 2)), *_single(range(16, 24))),
    nodes=("0-23",),
    packages=("0-23",),
    caches=("0-23",),
    atoms="16-23",
    memory_bytes=64 * GB,
)

SERVER = Machine(
    "lscpu -e of a server with two Xeon E5-2660 v2: 10 cores each, siblings 20 apart, a node a socket",
    cores=_pairs(range(20), 20),
    nodes=("0-9,20-29", "10-19,30-39"),
    packages=("0-9,20-29", "10-19,30-39"),
    caches=("0-9,20-29", "10-19,30-39"),
    memory_bytes=256 * GB,
)

EPYC = Machine(
    "lscpu of a server with two EPYC 7742, SMT off, four nodes a socket (NPS4); four cores share an L3",
    cores=_single(range(128)),
    nodes=tuple(f"{cpu}-{cpu + 15}" for cpu in range(0, 128, 16)),
    packages=("0-63", "64-127"),
    caches=tuple(f"{cpu}-{cpu + 3}" for cpu in range(0, 128, 4)),
    memory_bytes=512 * GB,
)

MACHINES = {
    "2-core virtual machine": Machine(
        "lscpu -e of the virtual machine that this lab was built on: no SMT shown, one node",
        cores=_single(range(2)),
        nodes=("0-1",),
        packages=("0-1",),
        caches=("0-1",),
        memory_bytes=8 * GB,
    ),
    "4-core laptop": LAPTOP,
    "hybrid": HYBRID,
    "2-socket server": SERVER,
    "64-core sockets, SMT off": EPYC,
    "ARM big.LITTLE": Machine(
        "the RK3399's device tree: Cortex-A53 0-3, Cortex-A72 4-5; no L3, an L2 a cluster; capacity from 485 and 1024",
        cores=_single(range(6)),
        nodes=("0-5",),
        packages=("0-5",),
        caches=("0-3", "4-5"),
        capacity=(("0-3", 381), ("4-5", 1024)),
        memory_bytes=4 * GB,
    ),
    "container with three CPUs": replace(
        LAPTOP,
        source=f"{LAPTOP.source}; a cgroup that leaves CPUs 1, 2 and 5, that is one core whole and half of another",
        allowed="1-2,5",
    ),
    "offline CPUs": replace(
        LAPTOP,
        source=f"{LAPTOP.source}; CPUs 5 to 7 taken offline, as a kernel does after echo 0 > cpuN/online",
        offline="5-7",
    ),
    "1-core virtual machine with two threads": Machine(
        "a small cloud machine, whose two CPUs are one core's threads: lscpu shows Thread(s) per core 2, Core(s) 1",
        cores=("0-1",),
        nodes=("0-1",),
        packages=("0-1",),
        caches=("0-1",),
        memory_bytes=4 * GB,
    ),
    "hybrid, efficient cores only": replace(
        HYBRID, source=f"{HYBRID.source}; a cgroup that leaves two E-cores", allowed="16-17"
    ),
    "2-socket server, a part of it": replace(
        SERVER,
        source=f"{SERVER.source}; a cgroup that leaves the first threads of all cores, and three siblings",
        allowed="0-19,30-32",
    ),
    "64-core sockets, a part of one node": replace(
        EPYC,
        source=f"{EPYC.source}; a cgroup that leaves one L3's cores, and two of either of its neighbours",
        allowed="2-9",
    ),
    "2-socket server, one node": Machine(
        "lscpu -e of servers whose firmware interleaves memory: even CPUs on one socket, odd ones on the other",
        cores=_single(range(16)),
        nodes=("0-15",),
        packages=("0,2,4,6,8,10,12,14", "1,3,5,7,9,11,13,15"),
        caches=("0,2,4,6,8,10,12,14", "1,3,5,7,9,11,13,15"),
        memory_bytes=64 * GB,
    ),
}
