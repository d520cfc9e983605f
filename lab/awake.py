"""Keeps CPUs from halting: a virtual machine's idle CPU goes back to the host, and comes back late and cold.

On each CPU a loop spins by the policy SCHED_IDLE: whatever else wants the CPU has it at once. That holds among the
tasks of one scheduling group only, and a group of its own would have a full share; so `require` refuses where the
loops would be in one. The loops are nice, so that /proc/stat tells their time (nice) from everybody else's.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab.errors import SetupError
from lab.kernelfiles import value

# It ends with its parent, however that ends.
_LOOP = """
import os
os.sched_setaffinity(0, [{cpu}])
os.nice(19)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.write(1, b"!")
while os.getppid() == {parent}:
    for _ in range(100000):
        pass
"""


def require(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
    """Raise SetupError where the loops would have a scheduling group of their own, beside that of the containers."""
    if value(proc / "sys/kernel/sched_autogroup_enabled") == "1":
        problem = "keep_awake: the kernel makes a scheduling group of each session, so the loops would get a full share"
        raise SetupError(problem, remedy="sysctl -w kernel.sched_autogroup_enabled=0, until it is set to 1 again")
    group = _cpu_group(value(proc / "self/cgroup"))
    # A container of version 2 calls its own cgroup "/"; only the true root has no type.
    if group != "/" or (cgroups / "cgroup.type").exists():
        problem = f"keep_awake: this process is in the CPU cgroup {group}, where the loops would get a full share"
        raise SetupError(problem, remedy="start the lab from the root cgroup")


def _cpu_group(text: str) -> str:
    """Our cgroup of the controller `cpu`: that of version 1 where it has one, or that of version 2."""
    groups = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in text.splitlines()}
    return next((path for names, path in groups.items() if "cpu" in names.split(",")), groups.get("", "/"))


@contextmanager
def kept(cpus: Iterable[int]) -> Iterator[None]:
    """None of these CPUs halts meanwhile; on every way out the loops are gone."""
    with ExitStack() as stack:
        for cpu in cpus:
            stack.enter_context(_loop(cpu))
        yield


@contextmanager
def _loop(cpu: int) -> Iterator[None]:
    """One that spins by the time it is yielded."""
    command = [sys.executable, "-I", "-S", "-c", _LOOP.format(cpu=cpu, parent=os.getpid())]
    # A session of its own: a terminal's Ctrl-C is ours to answer.
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as loop:  # noqa: S603
        try:
            if not loop.stdout or not loop.stdout.read(1):
                raise SetupError(f"keep_awake: no loop could be started on CPU {cpu}")
            yield
        finally:
            loop.kill()
