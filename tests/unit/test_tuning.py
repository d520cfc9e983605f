"""What `lab tune` sets, and that `lab tune --undo` restores exactly what was there, whatever happened in between."""

import fcntl
import json
from pathlib import Path

import pytest

from lab import tuning
from lab.errors import SetupError
from tests.unit import laptop

CPU = "sys/devices/system/cpu"
PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
ASLR = "proc/sys/kernel/randomize_va_space"


class Kernel:
    """A laptop whose files answer as a kernel's do: they take only what they know, and show a choice in brackets."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every write to it goes through `write`."""
        self.root = laptop.write(root)
        self.journal = root / "var" / "tuned.json"
        self.locked: set[str] = set()  # files that nobody may write
        self.stubborn: dict[str, str] = {}  # file -> what it makes of any value but its own
        self.history: list[str] = []
        written = Path.write_text

        def write(path: Path, text: str, encoding: str | None = None, errors: str | None = None) -> int:
            if not path.is_relative_to(root) or path.is_relative_to(self.journal.parent):
                return written(path, text, encoding, errors)
            name = str(path.relative_to(root))
            if name in self.locked:
                raise PermissionError(13, "Permission denied")
            self.history.append(f"{name}={text}")
            if name == PAGES:
                text = "always madvise never".replace(text, f"[{text}]")
            elif name in self.stubborn and text != laptop.FILES[name]:
                text = self.stubborn[name]
            return written(path, text, encoding, errors)

        monkeypatch.setattr(Path, "write_text", write)

    def apply(self, *, aslr: bool = False, max_khz: int | None = None) -> dict[str, str]:
        """Tune it: what was refused, and why."""
        refused = tuning.apply(tuning.plan(self.root, aslr=aslr, max_khz=max_khz), self.journal)
        return {str(change.path.relative_to(self.root)): why for change, why in refused.items()}


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A laptop in everyday use."""
    return Kernel(tmp_path, monkeypatch)


def test_what_disturbs_is_set(kernel: Kernel) -> None:
    """The governor, turbo, deep idle states and huge pages; neither ASLR nor the clock, unless asked for."""
    assert kernel.apply() == {}
    changed = {name for name, text in laptop.read(kernel.root).items() if text != laptop.FILES[name]}
    assert changed == {
        f"{CPU}/cpufreq/policy0/scaling_governor",
        f"{CPU}/cpufreq/policy1/scaling_governor",
        f"{CPU}/intel_pstate/no_turbo",
        f"{CPU}/cpu0/cpuidle/state3/disable",
        PAGES,
    }


def test_more_is_set_when_asked_for(kernel: Kernel) -> None:
    """The NUC's clock on every CPU, and addresses that are the same at each start."""
    kernel.apply(aslr=True, max_khz=1_900_000)
    now = laptop.read(kernel.root)
    assert now[ASLR] == "0"
    assert now[f"{CPU}/cpufreq/policy0/scaling_max_freq"] == now[f"{CPU}/cpufreq/policy1/scaling_max_freq"] == "1900000"


def test_undo_restores_exactly_what_was_there(kernel: Kernel) -> None:
    """Each CPU's own clock limit, the chosen mode of huge pages; and afterwards nothing is written down any more."""
    kernel.apply(aslr=True, max_khz=1_900_000)
    restored = tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == {**laptop.FILES, PAGES: "[always] madvise never"}
    assert restored[str(kernel.root / f"{CPU}/cpufreq/policy1/scaling_max_freq")] == "4100000"
    assert not kernel.journal.exists()
    assert tuning.undo(kernel.journal) == {}


def test_the_clock_limit_is_restored_last(kernel: Kernel) -> None:
    """Some drivers take no limit above the base clock while turbo is off."""
    kernel.apply(max_khz=1_900_000)
    kernel.history.clear()
    tuning.undo(kernel.journal)
    limits = [number for number, line in enumerate(kernel.history) if "scaling_max_freq" in line]
    turbo = [number for number, line in enumerate(kernel.history) if "no_turbo" in line]
    assert max(turbo) < min(limits)


def test_a_second_tuning_keeps_the_first_ones_values(kernel: Kernel) -> None:
    """What was there before the lab came is what is restored."""
    kernel.apply(max_khz=3_000_000)
    kernel.apply(max_khz=1_900_000)
    tuning.undo(kernel.journal)
    assert laptop.read(kernel.root)[f"{CPU}/cpufreq/policy0/scaling_max_freq"] == "4200000"


def test_values_are_written_down_before_anything_changes(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at its first write, it leaves a journal that restores everything."""

    def killed(_path: Path, _text: str) -> str:
        raise KeyboardInterrupt

    changes = tuning.plan(kernel.root)
    monkeypatch.setattr(tuning, "_set", killed)
    with pytest.raises(KeyboardInterrupt):
        tuning.apply(changes, kernel.journal)
    written = json.loads(kernel.journal.read_text())
    assert written == {str(change.path): change.before for change in changes}
    assert str(kernel.root / PAGES) in written


def test_it_restores_after_a_crash_in_the_middle(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some values changed, some not: all are as they were."""
    setter = tuning._set  # noqa: SLF001
    left = 3

    def dying(path: Path, text: str) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return setter(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_set", dying)
        with pytest.raises(KeyboardInterrupt):
            tuning.apply(tuning.plan(kernel.root), kernel.journal)
    assert laptop.read(kernel.root) != laptop.FILES
    tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == laptop.FILES


def test_it_restores_after_a_reboot(kernel: Kernel) -> None:
    """The kernel has begun with its own defaults, which need not be what somebody had set before the lab came."""
    limit, turbo = f"{CPU}/cpufreq/policy0/scaling_max_freq", f"{CPU}/intel_pstate/no_turbo"
    (kernel.root / limit).write_text("3500000")  # as its owner wants it
    kernel.apply(max_khz=1_900_000)
    for name, text in laptop.FILES.items():
        (kernel.root / name).write_text(text)
    assert laptop.read(kernel.root)[limit] == "4200000"
    restored = tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == {**laptop.FILES, limit: "3500000"}
    assert restored[str(kernel.root / turbo)] == laptop.FILES[turbo]
    assert not kernel.journal.exists()


def test_what_somebody_has_changed_since_it_was_planned_is_left_alone(kernel: Kernel) -> None:
    """Another tuning, say, while the question stood there: what was read then is not what is there."""
    planned = tuning.plan(kernel.root, aslr=True)
    kernel.apply()
    tuned = laptop.read(kernel.root)
    with pytest.raises(SetupError, match=r"was .*, and is .* by now"):
        tuning.apply(planned, kernel.journal)
    assert laptop.read(kernel.root) == tuned
    tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == laptop.FILES


def test_two_tunings_at_once_are_refused(kernel: Kernel) -> None:
    """Each would take the other's values for the machine's own; an undo waits as well."""
    kernel.apply()
    tuned = laptop.read(kernel.root)
    with kernel.journal.with_suffix(".lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SetupError, match="another lab tune is at work"):
            kernel.apply(aslr=True)
        with pytest.raises(SetupError, match="another lab tune is at work"):
            tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == tuned
    tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == laptop.FILES


def test_without_a_journal_nothing_is_changed(kernel: Kernel) -> None:
    """Its folder cannot be made: another user, a read-only disk."""
    kernel.journal.parent.write_text("no folder")
    with pytest.raises(SetupError, match=r"tuned\.json"):
        kernel.apply()
    assert laptop.read(kernel.root) == laptop.FILES


def test_what_cannot_be_written_is_left_as_it_was(kernel: Kernel) -> None:
    """And named, with the kernel's reason; the rest is set, and nothing of the refused is to be undone."""
    name = f"{CPU}/intel_pstate/no_turbo"
    kernel.locked.add(name)
    assert kernel.apply() == {name: "Permission denied"}
    assert laptop.read(kernel.root)[name] == "0"
    assert str(kernel.root / name) not in tuning.written_down(kernel.journal)


def test_what_the_kernel_makes_something_else_of_is_put_back(kernel: Kernel) -> None:
    """A clock limit below what the CPU can do is rounded up: that is not what was asked for."""
    name = f"{CPU}/cpufreq/policy0/scaling_max_freq"
    kernel.stubborn[name] = "2100000"
    assert kernel.apply(max_khz=1_900_000) == {name: "the kernel made it 2100000"}
    assert laptop.read(kernel.root)[name] == "4200000"


def test_what_cannot_be_restored_is_named_and_kept(kernel: Kernel) -> None:
    """With its value before and now, so that somebody else can."""
    kernel.apply()
    kernel.locked.add(PAGES)
    with pytest.raises(SetupError, match="not everything") as caught:
        tuning.undo(kernel.journal)
    assert f"{PAGES}: madvise, was always" in caught.value.detail
    assert tuning.written_down(kernel.journal) == {str(kernel.root / PAGES): "always"}
    kernel.locked.clear()
    tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == laptop.FILES


def test_a_broken_journal_is_no_permission_to_forget(kernel: Kernel) -> None:
    """It is named, and nothing is changed."""
    kernel.journal.parent.mkdir()
    kernel.journal.write_text("{")
    with pytest.raises(SetupError, match="cannot be read"):
        kernel.apply()
    with pytest.raises(SetupError, match="cannot be read"):
        tuning.undo(kernel.journal)
    assert laptop.read(kernel.root) == laptop.FILES


def test_a_machine_that_shows_nothing_has_nothing_to_set(tmp_path: Path) -> None:
    """Most virtual machines."""
    assert tuning.plan(tmp_path) == ()


def test_what_was_asked_for_and_is_not_there_is_told(tmp_path: Path) -> None:
    """Rather than taken for done."""
    with pytest.raises(SetupError, match="no clock that could be capped"):
        tuning.plan(tmp_path, max_khz=1_900_000)
    with pytest.raises(SetupError, match="address space randomisation"):
        tuning.plan(tmp_path, aslr=True)


def test_what_turbo_and_governor_move_is_restored_last(kernel: Kernel) -> None:
    """Without turbo some drivers show, and take, no limit above the base clock; a governor forgets its settings."""
    limit = kernel.root / f"{CPU}/cpufreq/policy0/scaling_max_freq"
    setting = kernel.root / f"{CPU}/cpufreq/policy0/powersave/ignore_nice_load"
    kernel.apply()
    limit.write_text("1900000")
    setting.write_text("0")
    kernel.apply(max_khz=1_500_000)
    kernel.history.clear()
    tuning.undo(kernel.journal)
    now = laptop.read(kernel.root)
    assert now[f"{CPU}/cpufreq/policy0/scaling_max_freq"] == "4200000"
    assert now[f"{CPU}/cpufreq/policy0/powersave/ignore_nice_load"] == "1"
    order = [line.partition("=")[0].rpartition("/")[2] for line in kernel.history]
    assert order.index("scaling_governor") < order.index("ignore_nice_load") < order.index("scaling_max_freq")


def test_what_is_gone_cannot_be_restored_and_is_forgotten(kernel: Kernel) -> None:
    """A driver, or a kernel, that had the file."""
    kernel.apply()
    gone = kernel.root / f"{CPU}/cpu0/cpuidle/state3/disable"
    gone.unlink()
    assert str(gone) not in tuning.undo(kernel.journal)
    assert not kernel.journal.exists()


def test_a_quiet_machine_is_left_alone(kernel: Kernel) -> None:
    """What is as it should be is neither changed nor written down."""
    kernel.apply(aslr=True)
    assert [change for change in tuning.plan(kernel.root, aslr=True) if change.real] == []
