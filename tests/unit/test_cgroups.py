"""CPU time and throttling of a container, as either version of cgroups shows them."""

from pathlib import Path

import pytest

from lab import cgroups
from lab.cgroups import Cgroup


class Kernel:
    """A machine's /proc and /sys, as files."""

    def __init__(self, root: Path) -> None:
        """Empty at first."""
        self.root = root

    def has(self, path: str, text: str) -> None:
        """A file that the kernel shows."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def path(self, *parts: str) -> Path:
        """Where a path of the kernel's is."""
        return self.root.joinpath(*(part.lstrip("/") for part in parts))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The kernel that is asked."""
    kernel = Kernel(tmp_path)
    monkeypatch.setattr(cgroups, "Path", kernel.path)
    monkeypatch.setattr(cgroups, "_CGROUPS", kernel.path("/sys/fs/cgroup"))
    monkeypatch.setattr(cgroups, "_SCHEDSTAT", kernel.path("/proc/schedstat"))
    return kernel


@pytest.mark.parametrize("mounts", [("cpuacct", "cpu"), ("cpu,cpuacct", "cpu,cpuacct")])
def test_cpu_time_of_a_version_1_cgroup(kernel: Kernel, mounts: tuple[str, str]) -> None:
    """In nanoseconds; the two controllers may be mounted together or apart."""
    kernel.has("/proc/4711/cgroup", "5:cpuset:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n")
    kernel.has(f"/sys/fs/cgroup/{mounts[0]}/docker/abc/cpuacct.usage", "123456789\n")
    kernel.has(f"/sys/fs/cgroup/{mounts[1]}/docker/abc/cpu.stat", "nr_periods 10\nnr_throttled 3\nthrottled_time 5\n")
    cgroup = Cgroup(4711)
    assert (cgroup.cpu_usec(), cgroup.throttled()) == (123456, 3)


def test_cpu_time_of_a_version_2_cgroup(kernel: Kernel) -> None:
    """In microseconds, in one file with the rest."""
    kernel.has("/proc/4711/cgroup", "0::/system.slice/docker-abc.scope\n")
    stat = "usage_usec 123456\nuser_usec 100000\nsystem_usec 23456\nnr_periods 0\nnr_throttled 2\n"
    kernel.has("/sys/fs/cgroup/system.slice/docker-abc.scope/cpu.stat", stat)
    cgroup = Cgroup(4711)
    assert (cgroup.cpu_usec(), cgroup.throttled()) == (123456, 2)


def test_a_cgroup_without_bandwidth_control(kernel: Kernel) -> None:
    """The file is there, but has no line of throttling."""
    kernel.has("/proc/4711/cgroup", "0::/docker/abc\n")
    kernel.has("/sys/fs/cgroup/docker/abc/cpu.stat", "usage_usec 5\n")
    assert Cgroup(4711).throttled() is None


@pytest.mark.parametrize("groups", ["4:cpu,cpuacct:/docker/abc\n", "0::/docker/abc\n", ""])
def test_what_the_kernel_does_not_show_is_not_measured(kernel: Kernel, groups: str) -> None:
    """None, never 0: a host may hide the files from us."""
    kernel.has("/proc/4711/cgroup", groups)
    cgroup = Cgroup(4711)
    assert (cgroup.cpu_usec(), cgroup.throttled()) == (None, None)


def test_a_container_that_has_ended_is_not_measured_any_more(kernel: Kernel) -> None:
    """Its files go with its last process; the checks that follow say that it died."""
    kernel.has("/proc/4711/cgroup", "0::/docker/abc\n")
    kernel.has("/sys/fs/cgroup/docker/abc/cpu.stat", "usage_usec 5\nnr_throttled 0\n")
    cgroup = Cgroup(4711)
    kernel.path("/sys/fs/cgroup/docker/abc/cpu.stat").unlink()
    assert (cgroup.cpu_usec(), cgroup.throttled()) == (None, None)


SCHEDSTAT = """\
version 15
timestamp 4295
cpu0 0 0 0 0 0 0 1000000 5 6
domain0 3 0 0 0
cpu1 0 0 0 0 0 0 20000000 5 6
cpu10 0 0 0 0 0 0 300000000 5 6
"""


@pytest.mark.parametrize(("cpus", "usec"), [((0,), 1000), ((1, 10), 320_000), ((1, 2), None)])
def test_what_all_tasks_ran_is_that_of_the_asked_cpus(kernel: Kernel, cpus: tuple[int, ...], usec: int | None) -> None:
    """By the scheduler's statistics; not measured where one of them is not shown."""
    kernel.has("/proc/schedstat", SCHEDSTAT)
    assert cgroups.ran_usec(cpus) == usec


def test_where_the_scheduler_shows_nothing_the_root_cgroup_does(kernel: Kernel) -> None:
    """Of version 1, whose account is by CPU; version 2 has none, and then nothing is measured."""
    assert cgroups.ran_usec((0,)) is None
    kernel.has("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage_percpu", "1000000 20000000 300000000\n")
    assert cgroups.ran_usec((0, 2)) == 301_000
    assert cgroups.ran_usec((3,)) is None
