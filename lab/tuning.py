"""Sets what can be set on this machine, after prior values are safely written down, and restores exactly those.

Nothing but `lab tune` comes here: measuring never changes the host.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import store
from lab.disturbances import SLOW_WAKE_USEC
from lab.errors import SetupError
from lab.kernelfiles import value, values

ROOT = Path("/")
# Of the machine, not of a checkout or a user; it outlives a reboot. Tests have theirs.
JOURNAL = Path(os.environ.get("LAB_TUNED", "/var/lib/kemi-lab/tuned.json"))
NUC_KHZ = 1_900_000  # base clock of the i7-8650U


@dataclass(frozen=True, slots=True)
class Change:
    """One file of the kernel: what it holds, and what it is to hold."""

    path: Path
    before: str
    after: str


def plan(root: Path, *, aslr: bool = False, max_khz: int | None = None) -> tuple[Change, ...]:
    """What would be changed, in this order; nothing that is as it should be already."""
    wanted = dict(_wanted(root, aslr=aslr, max_khz=max_khz))
    return tuple(Change(path, value(path), after) for path, after in wanted.items() if value(path) != after)


def _wanted(root: Path, *, aslr: bool, max_khz: int | None) -> Iterator[tuple[Path, str]]:
    """The clock's limit comes first, so that it is restored last: without turbo some drivers take no higher one."""
    cpu = root / "sys/devices/system/cpu"
    if max_khz is not None:
        yield from dict.fromkeys(values(cpu, "cpufreq/policy*/scaling_max_freq"), str(max_khz)).items()
    for path in values(cpu, "cpufreq/policy*/scaling_governor"):
        if "performance" in value(path.with_name("scaling_available_governors")).split():
            yield path, "performance"
    for path in values(cpu, "cpu[0-9]*/cpuidle/state*/disable"):
        if int(value(path.with_name("latency")) or 0) > SLOW_WAKE_USEC:
            yield path, "1"
    for name, wanted, asked in (
        ("sys/devices/system/cpu/intel_pstate/no_turbo", "1", True),
        ("sys/devices/system/cpu/cpufreq/boost", "0", True),
        ("sys/kernel/mm/transparent_hugepage/enabled", "madvise", True),
        ("proc/sys/kernel/randomize_va_space", "0", aslr),
    ):
        if asked and value(root / name) not in {"", "never"}:
            yield root / name, wanted


def apply(changes: tuple[Change, ...], journal: Path) -> dict[Change, str]:
    """Make them, with what was there written down first. Returns those that the kernel refused, and why.

    A value that cannot be written back as it is now is not changed at all.
    """
    kept = written_down(journal)
    for change in changes:
        kept.setdefault(str(change.path), change.before)  # of two tunings the first one's
    _write_down(kept, journal)
    refused: dict[Change, str] = {}
    for change in changes:
        why = _set(change.path, change.before) or _set(change.path, change.after)
        if why:
            refused[change] = why
            _set(change.path, change.before)
    _write_down({path: before for path, before in kept.items() if value(Path(path)) != before}, journal)
    return refused


def undo(journal: Path) -> dict[str, str]:
    """Restore every value that was written down, and forget it once it is back. Returns file -> value.

    SetupError names what does not come back; that stays written down.
    """
    kept = written_down(journal)
    for _ in range(2):  # one value may have to wait for another
        for path, before in reversed(kept.items()):
            if value(Path(path)) != before:
                _set(Path(path), before)
    left = {path: before for path, before in kept.items() if value(Path(path)) != before}
    _write_down(left, journal)
    if left:
        said = "\n".join(f"{path}: {value(Path(path)) or 'nothing'}, was {before}" for path, before in left.items())
        raise SetupError("not everything could be restored", detail=said, remedy="as root: lab tune --undo")
    return kept


def written_down(journal: Path) -> dict[str, str]:
    """File -> value before the lab changed it; empty where nothing is changed."""
    if not journal.exists():
        return {}
    try:
        kept = json.loads(journal.read_text(encoding="utf-8"))
        return {str(path): str(before) for path, before in kept.items()}
    except (OSError, ValueError, AttributeError) as error:
        problem = f"{journal}: cannot be read: {error}"
        raise SetupError(problem, remedy="it holds the prior value of each file that was changed: set those") from error


def _write_down(kept: dict[str, str], journal: Path) -> None:
    try:
        if kept:
            store.write_atomically(journal, (json.dumps(kept, indent=1) + "\n").encode())
        else:
            journal.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(f"{journal}: {error}", remedy="as root: lab tune") from error


def _set(path: Path, text: str) -> str:
    """Write a value and read it back: why it is not there, or nothing."""
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        return str(error.strerror or error)
    shown = value(path)
    return "" if shown == text else f"the kernel made it {shown or 'nothing'}"
