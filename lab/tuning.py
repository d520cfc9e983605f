"""Sets what can be set on this machine, after prior values are safely written down, and restores exactly those.

Nothing but `lab tune` comes here: measuring never changes the host.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import store
from lab.disturbances import SLOW_WAKE_USEC
from lab.errors import SetupError
from lab.kernelfiles import value, values

ROOT = Path("/")
# Of the machine, not of a checkout or a user; it outlives a reboot. Tests have theirs.
JOURNAL = Path(os.environ.get("LAB_TUNED", "/var/lib/kemi-lab/tuned.json"))
CPU = Path("sys/devices/system/cpu")
CPUFREQ = CPU / "cpufreq"
ASLR = Path("proc/sys/kernel/randomize_va_space")


@dataclass(frozen=True, slots=True)
class Change:
    """One file of the kernel: what it holds, and what it is to hold."""

    path: Path
    before: str
    after: str

    @property
    def real(self) -> bool:
        """Not only to be written down."""
        return self.before != self.after


def plan(root: Path, *, aslr: bool = False, max_khz: int | None = None) -> tuple[Change, ...]:
    """What would be changed, in this order; nothing that is as it should be already.

    SetupError where something is asked for that this machine does not show.
    """
    if max_khz is not None and not values(root, f"{CPUFREQ}/policy*/scaling_max_freq"):
        raise SetupError("this machine shows no clock that could be capped", remedy="leave out --max-mhz")
    if aslr and not value(root / ASLR):
        raise SetupError("this machine does not show its address space randomisation", remedy="leave out --aslr")
    wanted = dict(_wanted(root, aslr=aslr, max_khz=max_khz))
    changes = [change for path, after in wanted.items() if (change := Change(path, value(path), after)).real]
    # Turbo and the governor move limits, and forget what else was set: that is written down, too, to be restored last.
    beside = _beside(root) if any(root / CPU in change.path.parents for change in changes) else {}
    planned = {change.path for change in changes}
    return (*(Change(path, it, it) for path, it in beside.items() if path not in planned), *changes)


def _beside(root: Path) -> dict[Path, str]:
    """What a change of the clock's settings may move without being asked to."""
    governors = set(values(root, f"{CPUFREQ}/policy*/scaling_governor").values())
    names = ("scaling_max_freq", "scaling_min_freq", "scaling_setspeed", "energy_performance_preference", "boost")
    patterns = (
        *(f"{CPUFREQ}/policy*/{name}" for name in names),
        *(f"{CPUFREQ}/{place}{governor}/*" for governor in sorted(governors) for place in ("", "policy*/")),
    )
    found = {path: shown for pattern in patterns for path, shown in values(root, pattern).items()}
    return {path: shown for path, shown in found.items() if not shown.startswith("<")}  # <unsupported>


def _wanted(root: Path, *, aslr: bool, max_khz: int | None) -> Iterator[tuple[Path, str]]:
    """The clock's limit comes first, so that it is restored last: without turbo some drivers take no higher one."""
    if max_khz is not None:
        yield from dict.fromkeys(values(root, f"{CPUFREQ}/policy*/scaling_max_freq"), str(max_khz)).items()
    for path in values(root, f"{CPUFREQ}/policy*/scaling_governor"):
        if "performance" in value(path.with_name("scaling_available_governors")).split():
            yield path, "performance"
    for path in values(root, f"{CPU}/cpu[0-9]*/cpuidle/state*/disable"):
        if int(value(path.with_name("latency")) or 0) > SLOW_WAKE_USEC:
            yield path, "1"
    for name, wanted, asked in (
        (CPU / "intel_pstate/no_turbo", "1", True),
        (CPUFREQ / "boost", "0", True),
        ("sys/kernel/mm/transparent_hugepage/enabled", "madvise", True),
        (ASLR, "0", aslr),
    ):
        if asked and value(root / name) not in {"", "never"}:
            yield root / name, wanted


def apply(changes: tuple[Change, ...], journal: Path) -> dict[Change, str]:
    """Make them, with what was there written down first. Returns those that the kernel refused, and why.

    A value that cannot be written back as it is now is not changed at all. SetupError while another tuning goes on, or
    where one was done since these changes were planned: what it left is not what was there.
    """
    with _alone(journal):
        return _apply(changes, journal)


def _apply(changes: tuple[Change, ...], journal: Path) -> dict[Change, str]:
    if moved := next((change for change in changes if value(change.path) != change.before), None):
        problem = f"{moved.path}: was {moved.before}, and is {value(moved.path) or 'gone'} by now"
        raise SetupError(problem, remedy="somebody else changes it: lab tune, again")
    earlier = written_down(journal)
    _write_down(_and(earlier, changes), journal)
    refused: dict[Change, str] = {}
    for change in changes:
        if change.real and (why := _set(change.path, change.before) or _set(change.path, change.after)):
            refused[change] = why
            _set(change.path, change.before)
    made = [change for change in changes if change not in refused]
    _write_down(_and(earlier, made if any(change.real for change in made) else []), journal)
    return refused


def _and(earlier: dict[str, str], changes: Iterable[Change]) -> dict[str, str]:
    """What is to be restored after these changes, too; of two tunings the first one's values."""
    return {**earlier, **{str(it.path): it.before for it in changes if str(it.path) not in earlier}}


def undo(journal: Path) -> dict[str, str]:
    """Restore every value that was written down, and forget it once it is back. Returns file -> value.

    SetupError names what does not come back; that stays written down.
    """
    if not written_down(journal):  # whoever may not write there learns that there is nothing to do
        return {}
    with _alone(journal):
        return _undo(journal)


def _undo(journal: Path) -> dict[str, str]:
    kept = written_down(journal)
    for _ in range(2):  # one value may have to wait for another
        for path, before in reversed(kept.items()):
            if value(Path(path)) != before:
                _set(Path(path), before)
    gone = {path for path in kept if not Path(path).exists()}  # with a driver or a kernel that had it
    left = {path: before for path, before in kept.items() if path not in gone and value(Path(path)) != before}
    if left != kept:
        _write_down(left, journal)
    if left:
        said = "\n".join(f"{path}: {value(Path(path)) or 'nothing'}, was {before}" for path, before in left.items())
        raise SetupError("not everything could be restored", detail=said, remedy="as root: lab tune --undo")
    return {path: before for path, before in kept.items() if path not in gone}


@contextmanager
def _alone(journal: Path) -> Iterator[None]:
    """Two at once would take each other's values for the machine's own. The kernel frees the lock when we die."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        file = journal.with_suffix(".lock").open("a")
    except OSError as error:
        raise SetupError(f"{journal}: {error}", remedy="as root: lab tune") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError("another lab tune is at work", remedy="wait until it has ended") from error
        yield


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
    if not path.exists():
        return "there is no such file"
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        return str(error.strerror or error)
    shown = value(path)
    return "" if shown == text else f"the kernel made it {shown or 'nothing'}"
