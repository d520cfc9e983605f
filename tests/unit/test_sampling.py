"""The counters at the edges of a slice: what Kamailio's container says, and what the host says of it."""

import os
from pathlib import Path

import pytest

from lab import sampling
from lab.cgroups import Cgroup
from lab.errors import TestbedError
from lab.model import Role, Worker

SECTIONS = {
    "statistics": (
        "core:rcv_requests = 1201\nregistrar:accepted_regs = 600\nsl:401_replies = 590\ntmx:UAS_transactions = 0\n"
    ),
    "replies": "{\n\t200: 599\n\t401: 600\n\t4xx: 1\n}\n",
    "transactions": (
        "{\n\tcurrent: 0\n\twaiting: 0\n\ttotal: 300\n\ttotal_local: 1\n\trpl_received: 450\n\trpl_generated: 7\n"
        "\trpl_sent: 457\n\t6xx: 0\n\t5xx: 0\n\t4xx: 2\n\t3xx: 0\n\t2xx: 298\n\tcreated: 300\n}\n"
    ),
    "processes": (
        "{\n\tIDX: 0\n\tPID: 1\n\tDSC: main process - attendant\n}\n"
        "{\n\tIDX: 1\n\tPID: 7\n\tDSC: udp receiver child=0 sock=127.0.0.1:5060\n}\n"
        "{\n\tIDX: 2\n\tPID: 8\n\tDSC: udp receiver child=1 sock=127.0.0.1:5060\n}\n"
        "{\n\tIDX: 3\n\tPID: 9\n\tDSC: slow timer\n}\n"
    ),
    "pkg": (
        "{\n\tentry: 1\n\tpid: 7\n\trank: 1\n\tused: 1390512\n\tfree: 6693872\n\treal_used: 1694736\n}\n"
        "{\n\tentry: 2\n\tpid: 8\n\trank: 2\n\tused: 1390448\n\tfree: 6694160\n\treal_used: 1694448\n}\n"
    ),
    "clocks": "1 5000000 100\n7 91234567 345678\n8 81234567 245678\n9 1000 10\n33 2000 0\n",
    "status": (
        "/proc/7/status:VmRSS:\t    3700 kB\n/proc/7/status:voluntary_ctxt_switches:\t120\n"
        "/proc/7/status:nonvoluntary_ctxt_switches:\t3\n/proc/8/status:VmRSS:\t    3528 kB\n"
        "/proc/8/status:voluntary_ctxt_switches:\t110\n/proc/8/status:nonvoluntary_ctxt_switches:\t2\n"
    ),
    "snmp": (
        "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
        "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n"
        "Udp: 2402 5 12 2403 11 0 0 0 0\n"
        "UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdpLite: 0 0 0 0 99 0\n"
    ),
    "sockets": (
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
        "drops\n"
        "  123: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000  5060        0 4711 2 0 3\n"
        "  124: 0100007F:13CE 00000000:0000 07 00000000:00000000 00:00000000 00000000  5061        0 4712 2 0 4\n"
    ),
}


def said(**changed: str) -> str:
    """What Kamailio's container answers, with sections changed."""
    return "".join(f"== {name}\n{text}" for name, text in (SECTIONS | changed).items()) + "== end\n"


def test_counters_go_by_group_and_name() -> None:
    """The names that Kamailio gives them."""
    assert sampling.parse(said()).statistics == {
        "core.rcv_requests": 1201,
        "registrar.accepted_regs": 600,
        "sl.200_replies": 599,
        "sl.401_replies": 600,
        "sl.4xx_replies": 1,
        "tmx.UAS_transactions": 300,
        "tmx.UAC_transactions": 1,
        "tmx.2xx_transactions": 298,
        "tmx.3xx_transactions": 0,
        "tmx.4xx_transactions": 2,
        "tmx.5xx_transactions": 0,
        "tmx.6xx_transactions": 0,
        "tmx.rpl_received": 450,
        "tmx.rpl_generated": 7,
        "tmx.rpl_sent": 457,
        "tmx.rpl_relayed": 450,
    }


def test_replies_are_asked_of_the_module_that_sends_them() -> None:
    """Its statistics are summed up once a tick at most, and lag behind."""
    assert sampling.parse(said()).statistics["sl.401_replies"] == 600


def test_transactions_are_asked_of_the_module_that_has_them() -> None:
    """What tmx says of them is up to two seconds old: longer than a short slice."""
    assert sampling.parse(said()).statistics["tmx.UAS_transactions"] == 300


def test_only_workers_have_clocks() -> None:
    """On the CPU, and waiting for one; timers and the attendant take no requests."""
    inside = sampling.parse(said())
    assert inside.workers == {
        7: Worker(91234567, 345678, 120, 3, rss_kib=3700, pkg_bytes=1390512),
        8: Worker(81234567, 245678, 110, 2, rss_kib=3528, pkg_bytes=1390448),
    }
    assert inside.processes[9] == "slow timer"
    assert sorted(inside.processes) == [1, 7, 8, 9]


def test_what_is_not_told_of_a_worker_is_not_zero() -> None:
    """Kamailio without that RPC, a kernel without those lines: its clocks are there all the same."""
    inside = sampling.parse(said(pkg="error: 500 - command pkg.stats not found\n", status=""))
    assert inside.workers[7] == Worker(91234567, 345678, None, None, rss_kib=None, pkg_bytes=None)


def test_messages_that_the_kernel_lost() -> None:
    """To full buffers, of UDP and not of its sibling; and at either socket."""
    inside = sampling.parse(said())
    assert (inside.udp_rcvbuf_errors, inside.socket_drops) == (11, 7)


def test_no_socket_is_no_drop() -> None:
    """The table's head is no row."""
    assert sampling.parse(said(sockets=SECTIONS["sockets"].splitlines()[0] + "\n")).socket_drops == 0


@pytest.mark.parametrize("name", SECTIONS)
def test_a_missing_section_is_an_error(name: str) -> None:
    """Never a zero, which would look as if nothing had happened."""
    text = "".join(f"== {other}\n{text}" for other, text in SECTIONS.items() if other != name) + "== end\n"
    with pytest.raises(TestbedError, match=f"incomplete: no {name}"):
        sampling.parse(text)


def test_an_answer_that_broke_off_is_an_error() -> None:
    """Its last section may be half of one."""
    with pytest.raises(TestbedError, match="no sockets") as caught:
        sampling.parse(said().removesuffix("== end\n"))
    assert "drops" in caught.value.detail


def test_counters_that_are_not_there_are_not_zero() -> None:
    """An RPC that says something else gives no counters; whoever needs one sees that it is absent."""
    unavailable = "error: 500 - stats unavailable\n"
    assert sampling.parse(said(statistics=unavailable, replies=unavailable, transactions=unavailable)).statistics == {}


STAT = """\
cpu  400 0 400 9000 1 0 2 77 0 0
cpu0 100 0 100 2000 0 0 1 10 0 0
cpu1 100 0 100 2000 0 0 1 20 0 0
cpu10 100 0 100 2000 1 0 0 40 0 0
intr 12345
"""


@pytest.mark.parametrize(("cpus", "ticks"), [((0,), 10), ((1, 10), 60), ((0, 1, 10), 70), ((1, 2), None)])
def test_stolen_time_is_that_of_the_asked_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: tuple[int, ...], ticks: int | None
) -> None:
    """Not of the whole machine; not measured where one of them is not shown."""
    stat = tmp_path / "stat"
    stat.write_text(STAT)
    monkeypatch.setattr(sampling, "Path", lambda _: stat)
    assert sampling.steal_ticks(cpus) == ticks


def test_this_very_machine_can_be_asked() -> None:
    """Time goes on between two questions, on the clock of either kind; CPU time never goes back."""
    cpus = tuple(os.sched_getaffinity(0))
    cgroups = dict.fromkeys(Role, Cgroup(os.getpid()))
    first, second = sampling.outside(cgroups, cpus), sampling.outside(cgroups, cpus)
    assert second.monotonic_nsec > first.monotonic_nsec
    assert (second.cpu_usec or 0) >= (first.cpu_usec or 0)
    assert second.driver_cpu_usec >= first.driver_cpu_usec
    assert (second.ran_usec or 0) >= (first.ran_usec or 0)
    assert (second.steal_ticks or 0) >= (first.steal_ticks or 0)
