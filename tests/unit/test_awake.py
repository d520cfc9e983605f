"""CPUs that are kept awake: by loops of the lowest policy, which are gone whatever happens."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import awake
from lab.errors import SetupError

PATIENCE_SECONDS = 30
CPU = min(os.sched_getaffinity(0))
HOLDER = f"""
import os, signal
from lab import awake
with awake.kept([{CPU}]):
    print(open(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read(), flush=True)
    signal.pause()
"""


def children() -> set[int]:
    """Of this process."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def test_a_loop_spins_on_its_cpu_by_the_lowest_policy() -> None:
    """And is nice, so that /proc/stat counts it apart; afterwards it is gone."""
    before = children()
    with awake.kept([CPU]):
        (pid,) = children() - before
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        assert os.sched_getaffinity(pid) == {CPU}
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert children() == before


def test_a_loop_ends_with_an_error() -> None:
    """Whatever is raised in between."""
    before = children()
    with pytest.raises(KeyboardInterrupt), awake.kept([CPU]):
        raise KeyboardInterrupt
    assert children() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_loop_does_not_outlive_its_driver(number: signal.Signals) -> None:
    """However that ends, also by what no program can answer."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as holder:
        assert holder.stdout
        loop = os.pidfd_open(int(holder.stdout.readline()))
        holder.send_signal(number)
        ended, _, _ = select.select([loop], [], [], PATIENCE_SECONDS)
        os.close(loop)
    assert ended


def test_a_cpu_that_cannot_be_had_is_told() -> None:
    """Nothing is started half."""
    with pytest.raises(SetupError, match="no loop could be started on CPU 9999"), awake.kept([9999]):
        pytest.fail("it was")


def machine(folder: Path, cgroup: str, autogroup: str = "0") -> Path:
    """What /proc says."""
    (folder / "sys/kernel").mkdir(parents=True)
    (folder / "self").mkdir()
    (folder / "sys/kernel/sched_autogroup_enabled").write_text(f"{autogroup}\n")
    (folder / "self/cgroup").write_text(cgroup)
    return folder


@pytest.mark.parametrize("cgroup", ["0::/\n", "3:cpu,cpuacct:/\n2:memory:/mine\n0::/mine\n", ""])
def test_loops_need_the_root_group(tmp_path: Path, cgroup: str) -> None:
    """There they compete with containers as what they are; of version 1 the group of CPU time counts."""
    awake.require(machine(tmp_path, cgroup), tmp_path / "cgroups")


@pytest.mark.parametrize(
    ("cgroup", "autogroup", "said"),
    [
        ("0::/user.slice/user-0.slice\n", "0", "CPU cgroup /user.slice/user-0.slice"),
        ("4:cpu,cpuacct:/mine\n0::/\n", "0", "CPU cgroup /mine"),
        ("0::/\n", "1", "makes a scheduling group of each session"),
    ],
)
def test_in_a_group_of_their_own_they_would_disturb(tmp_path: Path, cgroup: str, autogroup: str, said: str) -> None:
    """Such a machine is refused, with what helps."""
    with pytest.raises(SetupError, match=said) as caught:
        awake.require(machine(tmp_path, cgroup, autogroup), tmp_path / "cgroups")
    assert caught.value.remedy


def test_the_root_of_a_container_is_not_the_machines(tmp_path: Path) -> None:
    """It is called "/", too, but has a type."""
    (tmp_path / "cgroup.type").write_text("domain\n")
    with pytest.raises(SetupError, match="CPU cgroup /"):
        awake.require(machine(tmp_path, "0::/\n"), tmp_path)
