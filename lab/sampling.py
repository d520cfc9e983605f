"""The counters at the edges of a slice: what is read, where, and in which order.

Kamailio's container is asked by one exec (RPC counters, workers, sockets); CPU time is read from the host's files
*after* that exec at the first edge and *before* it at the last, so that the asking is not in the figure.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.cgroups import Cgroup, ran_usec
from lab.errors import TestbedError
from lab.model import Role, Worker

RECEIVED = "core.rcv_requests"
CONTACTS = "usrloc.location_contacts"
SHM_USED = "shmem.used_size"
_WORKER = "udp receiver"
_SECTIONS = {"statistics", "replies", "transactions", "processes", "pkg", "clocks", "status", "snmp", "sockets"}
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
echo '== pkg'; timeout 10 kamcmd pkg.stats || true
echo '== clocks'
for file in /proc/[0-9]*/schedstat; do
  if read -r run delay _ < "$file"; then file=${file#/proc/}; echo "${file%/schedstat} $run $delay"; fi
done 2>/dev/null
echo '== status'; grep -E '^(VmRSS|(non)?voluntary_ctxt_switches):' /proc/[0-9]*/status 2>/dev/null || true
echo '== snmp'; cat /proc/net/snmp
echo '== sockets'; cat /proc/net/udp
echo '== end'
"""


@dataclass(frozen=True, slots=True)
class Inside:
    """What Kamailio's container tells of itself."""

    statistics: dict[str, int]
    processes: dict[int, str]
    workers: dict[int, Worker]
    udp_rcvbuf_errors: int
    socket_drops: int


def parse(text: str) -> Inside:
    """Output of SCRIPT -> counters. What is missing, or no number, is an error, never a zero."""
    parts = sections(text, _SECTIONS)
    try:
        return _parsed(parts)
    except (ValueError, IndexError) as error:
        raise TestbedError(f"Kamailio's answer cannot be read: {error}", detail=text[-2000:]) from error


def _parsed(parts: dict[str, str]) -> Inside:
    processes = parse_processes(parts["processes"])
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
        workers=_workers(parts, set(workers(processes))),
        udp_rcvbuf_errors=_rcvbuf_errors(parts["snmp"]),
        socket_drops=sum(int(line.split()[-1]) for line in parts["sockets"].splitlines()[1:]),
    )


def workers(processes: Mapping[int, str]) -> tuple[int, ...]:
    """Numbers of the UDP workers, of all processes by their names."""
    return tuple(pid for pid, name in processes.items() if _WORKER in name)


def only_worker(cell: str, processes: Mapping[int, str]) -> int:
    """Where there is to be one; TestbedError where a configuration has others than it was told."""
    found = workers(processes)
    if len(found) != 1:
        raise TestbedError(f"cell {cell}: has {len(found)} UDP workers, of which one is looked at")
    return found[0]


def _workers(parts: dict[str, str], pids: set[int]) -> dict[int, Worker]:
    """Those of these processes that have clocks; what else is not told of one is None."""
    status = {(int(p), name): int(n) for p, name, n in re.findall(r"/(\d+)/status:(\w+):\s*(\d+)", parts["status"])}
    used = re.findall(r"^\s*pid: (\d+)$.*?^\s*used: (\d+)$", parts["pkg"], re.DOTALL | re.MULTILINE)
    pkg = {int(pid): int(number) for pid, number in used}
    rows = ([int(number) for number in line.split()] for line in parts["clocks"].splitlines())
    return {
        pid: Worker(
            on_cpu_nsec=on_cpu,
            run_delay_nsec=delay,
            voluntary_switches=status.get((pid, "voluntary_ctxt_switches")),
            involuntary_switches=status.get((pid, "nonvoluntary_ctxt_switches")),
            rss_kib=status.get((pid, "VmRSS")),
            pkg_bytes=pkg.get(pid),
        )
        for pid, on_cpu, delay in rows
        if pid in pids
    }


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


@dataclass(frozen=True, slots=True)
class Outside:
    """What the host tells of the containers and of Kamailio's CPUs, and when that was."""

    monotonic_nsec: int
    wall_nsec: int
    cpu_usec: int | None
    throttled: int | None
    sipp_cpu_usec: int | None
    mysql_cpu_usec: int | None
    driver_cpu_usec: int
    ran_usec: int | None
    steal_ticks: int | None


def outside(cgroups: Mapping[Role, Cgroup], cpus: tuple[int, ...]) -> Outside:
    """Read in a few tenths of a millisecond, so both edges of a slice are sharp; `cpus` are Kamailio's."""
    kamailio = cgroups[Role.KAMAILIO]
    return Outside(
        monotonic_nsec=time.monotonic_ns(),
        wall_nsec=time.time_ns(),
        cpu_usec=kamailio.cpu_usec(),
        throttled=kamailio.throttled(),
        sipp_cpu_usec=cgroups[Role.SIPP].cpu_usec(),
        mysql_cpu_usec=cgroups[Role.MYSQL].cpu_usec(),
        driver_cpu_usec=time.process_time_ns() // 1000,
        ran_usec=ran_usec(cpus),
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
