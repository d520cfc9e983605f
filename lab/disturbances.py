"""What on this machine disturbs a measurement: each with its value, its effect and what helps. Changes nothing.

docs/disturbances.md explains them at length. What `lab tune` can set is in lab/tuning.py.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.kernelfiles import value, values

ROOT = Path("/")
TUNE = "lab tune"
WATCH_SECONDS = 1.0
BUSY_SHARE = 0.02  # of all CPUs, by others
STEAL_SHARE = 0.005
SLOW_WAKE_USEC = 20  # an idle state that takes longer shows in the challenge leg
CLOCK_KEEPERS = {"chronyd", "ntpd", "systemd-timesyn", "timesyncd"}  # as comm has them: 15 letters at most
NONE = "none"
NOT_SHOWN = "not shown"
TICKS = 8  # user, nice, system, idle, iowait, irq, softirq, steal


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One thing that can disturb; `disturbs` is None where the kernel does not show it."""

    name: str
    value: str
    disturbs: bool | None
    effect: str
    helps: str = ""


def look(root: Path = ROOT) -> tuple[Disturbance, ...]:
    """Everything that `lab doctor` lists after its checks. Watches the CPUs for a second."""
    return tuple(found for one in _ALL for found in one(root))


def _governor(root: Path) -> Iterator[Disturbance]:
    found = set(values(root, "sys/devices/system/cpu/cpufreq/policy*/scaling_governor").values())
    yield Disturbance(
        "governor",
        ", ".join(sorted(found)) or NOT_SHOWN,
        bool(found - {"performance"}) if found else None,
        "the clock follows the load: a cell that comes after a pause begins slowly",
        TUNE,
    )


def _turbo(root: Path) -> Iterator[Disturbance]:
    off = value(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    boost = value(root / "sys/devices/system/cpu/cpufreq/boost")
    on = off == "0" or boost == "1"
    yield Disturbance(
        "turbo",
        "on" if on else "off" if off or boost else NOT_SHOWN,
        on if off or boost else None,
        "the clock depends on temperature and on how many cores work: figures drift within a run",
        TUNE,
    )


def _idle_states(root: Path) -> Iterator[Disturbance]:
    states = values(root, "sys/devices/system/cpu/cpu[0-9]*/cpuidle/state*/latency")
    open_ = [int(usec) for path, usec in states.items() if value(path.with_name("disable")) != "1"]
    yield Disturbance(
        "idle states",
        f"up to {max(open_)} usec to wake" if open_ else NOT_SHOWN,
        max(open_) > SLOW_WAKE_USEC if open_ else None,
        "a CPU that sleeps deeply between requests takes time to wake, more at low rates",
        TUNE,
    )


def _steal_and_load(root: Path) -> Iterator[Disturbance]:
    before = _ticks(root)
    time.sleep(WATCH_SECONDS)
    spent = [now - then for now, then in zip(_ticks(root), before, strict=True)]
    shown = len(spent) == TICKS
    whole = sum(spent) or 1
    steal = spent[7] / whole if shown else 0.0
    busy = sum(spent[i] for i in (0, 1, 2, 5, 6)) / whole if shown else 0.0
    yield Disturbance(
        "steal",
        f"{steal:.1%} in {WATCH_SECONDS:.0f} s" if shown else NOT_SHOWN,
        steal > STEAL_SHARE if shown else None,
        "the hypervisor gave our CPUs to others: requests wait for nothing of ours",
        "a machine of your own; a run marks slices in which it was too much (limit steal_share)",
    )
    yield Disturbance(
        "other load",
        f"{busy:.1%} of all CPUs in {WATCH_SECONDS:.0f} s" if shown else NOT_SHOWN,
        busy > BUSY_SHARE if shown else None,
        "others take CPUs, caches and memory from what is measured",
        "end what else runs here: top",
    )


def _ticks(root: Path) -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal: of all CPUs together, in 1/100 s."""
    line = value(root / "proc/stat").partition("\n")[0]
    return [int(part) for part in line.split()[1 : 1 + TICKS]]


def _huge_pages(root: Path) -> Iterator[Disturbance]:
    mode = value(root / "sys/kernel/mm/transparent_hugepage/enabled")
    yield Disturbance(
        "transparent huge pages",
        mode or NOT_SHOWN,
        mode == "always" if mode else None,
        "memory is rearranged while we measure: some starts are faster than others by chance",
        TUNE,
    )


def _aslr(root: Path) -> Iterator[Disturbance]:
    mode = value(root / "proc/sys/kernel/randomize_va_space")
    yield Disturbance(
        "ASLR",
        {"0": "off", "1": "partly", "2": "on"}.get(mode, NOT_SHOWN),
        mode != "0" if mode else None,
        "each start lies elsewhere in memory, with other cache conflicts: more rounds average it out",
        f"{TUNE} --aslr: not by default, since it weakens the machine",
    )


def _irqbalance(root: Path) -> Iterator[Disturbance]:
    seen = _seen(root, {"irqbalance"})
    yield Disturbance(
        "irqbalance",
        NOT_SHOWN if seen is None else "running" if seen else "not running",
        None if seen is None else bool(seen),
        "interrupts move to other CPUs in the middle of a run, Kamailio's among them",
        "systemctl stop irqbalance; afterwards: systemctl start irqbalance",
    )


def _swap(root: Path) -> Iterator[Disturbance]:
    listed = value(root / "proc/swaps")
    devices = listed.splitlines()[1:]
    used = sum(int(line.split()[3]) for line in devices)
    yield Disturbance(
        "swap",
        f"{used / 1024:.0f} MiB in use" if devices else NONE if listed else NOT_SHOWN,
        used > 0 if listed else None,
        "what was swapped out is read from disk when it is needed again",
        "swapoff --all; afterwards: swapon --all",
    )


def _clock(root: Path) -> Iterator[Disturbance]:
    seen = _seen(root, CLOCK_KEEPERS)
    yield Disturbance(
        "clock",
        NOT_SHOWN if seen is None else f"kept by {', '.join(sorted(seen)) or 'nobody'}",
        None if seen is None else bool(seen),
        "latency is wall-clock time: slewing stretches it by up to 0.05 %, a step makes its slice invalid",
        "none needed: a run checks each slice (limit clock_drift_usec)",
    )


def _virtualisation(_root: Path) -> Iterator[Disturbance]:
    kind = _detected("--vm")
    inside = _detected("--container")
    yield Disturbance(
        "virtualisation",
        (kind or NOT_SHOWN) + (f", in {inside}" if inside not in {"", NONE} else ""),
        kind != NONE if kind else None,
        "cores and siblings are the hypervisor's word, and a sibling may be another guest's",
        "compare ratios of one run, as always; a machine of your own",
    )


def _seen(root: Path, names: set[str]) -> set[str] | None:
    """Which of these programs run here; None where none shows, and the machine's own ones would not show either.

    They do not in a container, nor where others' processes are hidden.
    """
    running = names & set(values(root, "proc/[0-9]*/comm").values())
    shown = value(root / "proc/1/comm") and _detected("--container") in {"", NONE}
    return running if running or shown else None


def _detected(what: str) -> str:
    try:
        command = ["systemd-detect-virt", what]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


_ALL: tuple[Callable[[Path], Iterator[Disturbance]], ...] = (
    _governor,
    _turbo,
    _idle_states,
    _steal_and_load,
    _huge_pages,
    _aslr,
    _irqbalance,
    _swap,
    _clock,
    _virtualisation,
)
