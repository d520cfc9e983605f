"""The counters at the edges of a slice: what is read, where, and in which order.

Kamailio's container is asked by one exec (RPC counters, workers, sockets); its CPU time is read from the host's cgroup
file *after* that exec at the first edge and *before* it at the last, so that the asking is not in the figure.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from lab.errors import TestbedError
from lab.model import CpuClock

RECEIVED = "core.rcv_requests"
CONTACTS = "usrloc.location_contacts"
_WORKER = "udp receiver"
_CGROUPS = Path("/sys/fs/cgroup")
# What tm's RPC calls the counters that tmx has under these names.
_TM = {
    "total": "UAS_transactions",
    "total_local": "UAC_transactions",
    **{f"{digit}xx": f"{digit}xx_transactions" for digit in range(2, 7)},
    **{name: name for name in ("rpl_received", "rpl_generated", "rpl_sent")},
}

# Runs inside Kamailio's container, in its own pid and network namespaces. Sections are parted by lines '== name'.
SCRIPT = """
set -e
echo '== statistics'; timeout 10 kamcmd stats.get_statistics all
echo '== replies'; timeout 10 kamcmd sl.stats
echo '== transactions'; timeout 10 kamcmd tm.stats
echo '== processes'; timeout 10 kamcmd core.psx
echo '== clocks'
for file in /proc/[0-9]*/schedstat; do
  if read -r run delay _ < "$file"; then file=${file#/proc/}; echo "${file%/schedstat} $run $delay"; fi
done 2>/dev/null
echo '== snmp'; cat /proc/net/snmp
echo '== sockets'; cat /proc/net/udp
echo '== end'
"""


@dataclass(frozen=True, slots=True)
class Inside:
    """What Kamailio's container tells of itself."""

    statistics: dict[str, int]
    processes: dict[int, str]
    workers: dict[int, CpuClock]
    udp_rcvbuf_errors: int
    socket_drops: int


def parse(text: str) -> Inside:
    """Output of SCRIPT -> counters. A missing section is an error, never a zero."""
    parts = sections(text, {"statistics", "replies", "transactions", "processes", "clocks", "snmp", "sockets"})
    processes = parse_processes(parts["processes"])
    clocks = {int(p): CpuClock(int(r), int(d)) for p, r, d in (line.split() for line in parts["clocks"].splitlines())}
    statistics = re.findall(r"^(\w+):(\S+)\s*=\s*(\d+)\s*$", parts["statistics"], re.MULTILINE)
    counters = {f"{group}.{name}": int(value) for group, name, value in statistics}
    # The statistics of sl and of tmx are summed up once a tick at most; RPCs of sl and tm do it when they are asked.
    replies = _pairs(parts["replies"])
    counters |= {f"sl.{code}_replies": count for code, count in replies.items()}
    transactions = {_TM[name]: count for name, count in _pairs(parts["transactions"]).items() if name in _TM}
    if {"rpl_sent", "rpl_generated"} <= transactions.keys():
        transactions["rpl_relayed"] = transactions["rpl_sent"] - transactions["rpl_generated"]
    counters |= {f"tmx.{name}": count for name, count in transactions.items()}
    return Inside(
        statistics=counters,
        processes=processes,
        workers={pid: clocks[pid] for pid, name in processes.items() if _WORKER in name and pid in clocks},
        udp_rcvbuf_errors=_rcvbuf_errors(parts["snmp"]),
        socket_drops=sum(int(line.split()[-1]) for line in parts["sockets"].splitlines()[1:]),
    )


def _pairs(text: str) -> dict[str, int]:
    """Lines "name: number" of an RPC's answer."""
    return {name: int(count) for name, count in re.findall(r"^\s*(\w+):\s*(\d+)\s*$", text, re.MULTILINE)}


def sections(text: str, wanted: set[str]) -> dict[str, str]:
    """Parts of a script's output that follow lines '== name', up to the last such line; all wanted must be there."""
    parts = {m[1]: m[2] for m in re.finditer(r"^== (\w+)\n(.*?)(?=^== )", text, re.DOTALL | re.MULTILINE)}
    missing = wanted - parts.keys()
    if missing:
        raise TestbedError(f"Kamailio's answer is incomplete: no {', '.join(sorted(missing))}", detail=text[-2000:])
    return parts


def parse_processes(text: str) -> dict[int, str]:
    """Kamailio's process list: blocks of PID and DSC lines."""
    found = re.findall(r"PID:\s*(\d+).*?DSC:\s*(.*?)\s*$", text, re.DOTALL | re.MULTILINE)
    return {int(pid): name for pid, name in found}


def _rcvbuf_errors(text: str) -> int:
    names, values = (line.split() for line in text.splitlines() if line.startswith("Udp:"))
    return int(values[names.index("RcvbufErrors")])


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
    if "cpuacct" in groups:  # cgroup v1, which may mount the two controllers together or apart
        places = [_CGROUPS / name for name in ("cpuacct", "cpu,cpuacct", "cpu")]
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


@dataclass(frozen=True, slots=True)
class Outside:
    """What the host tells of Kamailio's container and CPUs, and when that was."""

    monotonic_nsec: int
    wall_nsec: int
    cpu_usec: int | None
    throttled: int | None
    steal_ticks: int | None


def outside(cgroup: Cgroup, cpus: tuple[int, ...]) -> Outside:
    """Read in a few tenths of a millisecond, so both edges of a slice are sharp."""
    return Outside(
        monotonic_nsec=time.monotonic_ns(),
        wall_nsec=time.time_ns(),
        cpu_usec=cgroup.cpu_usec(),
        throttled=cgroup.throttled(),
        steal_ticks=steal_ticks(cpus),
    )


def steal_ticks(cpus: tuple[int, ...]) -> int | None:
    """Time that the hypervisor took from these CPUs so far, in 1/100 s."""
    ticks: list[int] = []
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        parts = line.split()
        if parts and re.fullmatch(r"cpu\d+", parts[0]) and int(parts[0][3:]) in cpus:
            ticks.append(int(parts[8]))
    return sum(ticks) if len(ticks) == len(cpus) else None
