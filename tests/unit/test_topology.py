"""What the kernel shows of a machine, read back: cores, siblings, nodes, kinds, what is ours."""

import random
from pathlib import Path

import pytest

from lab import topology
from lab.topology import Kind, format_list, parse_list
from tests.unit.machines import MACHINES

# machine -> cores that are ours, whether siblings are online, nodes with cores of ours, efficient cores
SEEN = {
    "2-core virtual machine": (2, False, 1, 0),
    "4-core laptop": (4, True, 1, 0),
    "hybrid": (16, True, 1, 8),
    "2-socket server": (20, True, 2, 0),
    "64-core sockets, SMT off": (128, False, 8, 0),
    "ARM big.LITTLE": (6, False, 1, 4),
    "container with three CPUs": (2, True, 1, 0),
    "offline CPUs": (4, True, 1, 0),
    "1-core virtual machine with two threads": (1, True, 1, 0),
    "hybrid, efficient cores only": (2, True, 1, 2),
    "2-socket server, a part of it": (20, True, 2, 0),
    "64-core sockets, a part of one node": (8, False, 1, 0),
    "2-socket server, one node": (16, False, 1, 0),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_seen_as_it_is(tmp_path: Path, name: str) -> None:
    """Never by a count of CPUs: eight of them are four cores here and eight there."""
    seen = MACHINES[name].topology(tmp_path)
    efficient = [core for core in seen.cores if core.kind == Kind.EFFICIENT]
    siblings = any(len(cpu.siblings) > 1 for cpu in seen.cpus)
    assert (len(seen.cores), siblings, len(seen.nodes), len(efficient)) == SEEN[name]


def test_siblings_share_a_core(tmp_path: Path) -> None:
    """And a cache; the cores of the two sockets are apart."""
    seen = MACHINES["2-socket server"].topology(tmp_path)
    assert [core.threads for core in seen.cores][:2] == [(0, 20), (1, 21)]
    assert {core.node: core.package for core in seen.cores} == {0: 0, 1: 1}
    assert seen.cpus[0].cache == parse_list("0-9,20-29")


def test_what_the_cgroup_takes_is_not_ours(tmp_path: Path) -> None:
    """A sibling that is online and not ours may be somebody's: that is told."""
    seen = MACHINES["container with three CPUs"].topology(tmp_path)
    assert [(core.threads, core.closed) for core in seen.cores] == [((1, 5), ()), ((2,), (6,))]


def test_a_cpu_that_is_offline_is_nobodys(tmp_path: Path) -> None:
    """It is no sibling of anything, and no closed one."""
    seen = MACHINES["offline CPUs"].topology(tmp_path)
    assert [(core.threads, core.closed) for core in seen.cores] == [((0, 4), ()), ((1,), ()), ((2,), ()), ((3,), ())]
    assert seen.offline == (5, 6, 7)


def test_an_old_kernel_calls_siblings_otherwise(tmp_path: Path) -> None:
    """thread_siblings_list, before 5.4."""
    root = MACHINES["4-core laptop"].write(tmp_path)
    for path in root.rglob("core_cpus_list"):
        path.rename(path.with_name("thread_siblings_list"))
    assert len(topology.read(root, tuple(range(8)), 0).cores) == 4


def test_what_we_may_use_is_online(tmp_path: Path) -> None:
    """A container may be shown fewer CPUs than it has, and under other numbers."""
    root = MACHINES["2-core virtual machine"].write(tmp_path)
    seen = topology.read(root, (6, 7), 0)
    assert [core.threads for core in seen.cores] == [(6,), (7,)]


def test_a_kernel_that_shows_nothing_has_cores_of_one_cpu(tmp_path: Path) -> None:
    """Some sandboxes have no /sys/devices/system/cpu at all."""
    seen = topology.read(tmp_path, (0, 1), 0)
    assert [(core.threads, core.node) for core in seen.cores] == [((0,), 0), ((1,), 0)]
    assert seen.cpus[0].cache == ()


def test_this_machine_can_be_read() -> None:
    """Whatever it is: what we may use is online, and a CPU is its own sibling."""
    seen = topology.this()
    assert seen.allowed
    assert set(seen.allowed) <= {cpu.number for cpu in seen.cpus}
    assert all(cpu.number in cpu.siblings for cpu in seen.cpus)
    assert sorted(number for core in seen.cores for number in core.threads) == sorted(seen.allowed)
    assert seen.memory_bytes > 0


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", (0,)), ("0-2,5", (0, 1, 2, 5)), ("0,2,4-5", (0, 2, 4, 5)), ("7-8,10-12", (7, 8, 10, 11, 12))],
)
def test_the_list_form(text: str, cpus: tuple[int, ...]) -> None:
    """Both ways."""
    assert parse_list(text) == cpus
    assert format_list(cpus) == text


@pytest.mark.parametrize(("text", "cpus"), [("5,0-2", (0, 1, 2, 5)), ("1,1,0-1", (0, 1)), ("2-2\n", (2,))])
def test_reading_is_more_liberal_than_writing(text: str, cpus: tuple[int, ...]) -> None:
    """Any order, overlaps, the kernel's newline."""
    assert parse_list(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "3-1", "1:2", "0-1000000"])
def test_what_is_no_list(text: str) -> None:
    """An empty cpuset would mean every CPU, so nothing is ever read as nothing."""
    with pytest.raises(ValueError, match="a list of CPUs"):
        parse_list(text)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_written_is_read_again(seed: int) -> None:
    """Any set of CPUs, in any order."""
    chance = random.Random(seed)  # noqa: S311  (reproducible, no secret)
    cpus = chance.sample(range(70), chance.randint(1, 60))
    assert parse_list(format_list(tuple(cpus))) == tuple(sorted(cpus))
