"""What disturbs is found, named with its value and effect, and never mistaken for what is not shown."""

from pathlib import Path

import pytest

from lab import disturbances
from lab.disturbances import Disturbance
from tests.unit import laptop

NAMES = (
    *(
        "governor",
        "turbo",
        "idle states",
        "steal",
        "other load",
        "transparent huge pages",
        "ASLR",
        "irqbalance",
        "swap",
    ),
    *("clock", "virtualisation"),
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbances, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(disturbances, "_detected", lambda _what: "none")  # wherever the tests run


def look(root: Path) -> dict[str, Disturbance]:
    """All of them by name."""
    return {one.name: one for one in disturbances.look(root)}


def test_each_has_a_name_a_value_an_effect_and_a_remedy(tmp_path: Path) -> None:
    """In the order in which they are told."""
    found = look(laptop.write(tmp_path))
    assert tuple(found) == NAMES
    assert all(one.value and one.effect and one.helps for one in found.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("governor", "powersave"),
        ("turbo", "on"),
        ("idle states", "up to 890 usec to wake"),
        ("transparent huge pages", "always"),
        ("ASLR", "on"),
        ("irqbalance", "running"),
        ("swap", "50 MiB in use"),
        ("clock", "kept by chronyd"),
    ],
)
def test_a_laptop_disturbs(tmp_path: Path, name: str, value: str) -> None:
    """In everyday use, in every way."""
    found = look(laptop.write(tmp_path))[name]
    assert (found.value, found.disturbs) == (value, True)


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("sys/devices/system/cpu/intel_pstate/no_turbo", "1", "turbo"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state3/disable", "1", "idle states"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never", "transparent huge pages"),
        ("proc/sys/kernel/randomize_va_space", "0", "ASLR"),
        ("proc/17/comm", "irq/17-nvme", "irqbalance"),
        ("proc/swaps", "Filename Type Size Used Priority", "swap"),
        ("proc/18/comm", "cron", "clock"),
    ],
)
def test_what_is_set_right_does_not_disturb(tmp_path: Path, file: str, text: str, name: str) -> None:
    """One by one."""
    (laptop.write(tmp_path) / file).write_text(f"{text}\n")
    assert look(tmp_path)[name].disturbs is False


def test_one_slow_cpu_is_enough(tmp_path: Path) -> None:
    """All governors are looked at."""
    first = laptop.write(tmp_path) / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    first.write_text("performance\n")
    assert (look(tmp_path)["governor"].value, look(tmp_path)["governor"].disturbs) == ("performance, powersave", True)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_what_is_not_shown_is_not_judged(tmp_path: Path, name: str) -> None:
    """As in most virtual machines, containers and sandboxes: no /proc, no /sys, nobody else's processes."""
    found = look(tmp_path)[name]
    assert (found.value, found.disturbs) == ("not shown", None)


@pytest.mark.parametrize("name", ["irqbalance", "clock"])
def test_a_container_does_not_show_the_machines_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What runs beside it, runs."""
    root = laptop.write(tmp_path)
    for number in (17, 18):
        (root / f"proc/{number}/comm").write_text("bash\n")
    monkeypatch.setattr(disturbances, "_detected", lambda what: "docker" if what == "--container" else "none")
    assert look(root)[name].disturbs is None


def test_a_process_may_call_itself_anything(tmp_path: Path) -> None:
    """The kernel cuts its name at 15 bytes, in the middle of a letter if need be."""
    root = laptop.write(tmp_path)
    (root / "proc/19/comm").write_bytes(b"abc\xc3\xff\n")
    assert look(root)["irqbalance"].disturbs


@pytest.mark.parametrize(
    ("later", "name", "value"),
    [
        ("cpu  150 0 50 1050 0 0 0 10", "other load", "50.0% of all CPUs in 0 s"),
        ("cpu  100 0 50 1090 0 0 0 20", "steal", "10.0% in 0 s"),
    ],
)
def test_load_and_steal_are_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str, name: str, value: str
) -> None:
    """Over a moment, not since the machine came up."""
    stat = laptop.write(tmp_path) / "proc/stat"
    monkeypatch.setattr("time.sleep", lambda _seconds: stat.write_text(later))
    found = look(tmp_path)[name]
    assert (found.value, found.disturbs) == (value, True)


def test_each_has_its_row_in_the_docs() -> None:
    """In the same order."""
    page = (Path(__file__).parents[2] / "docs" / "disturbances.md").read_text()
    rows = page[page.index("| What |") :].partition("\n\n")[0].splitlines()[2:]
    assert tuple(row.split("|")[1].strip() for row in rows) == NAMES


def test_this_machine_can_be_looked_at() -> None:
    """Whatever it is."""
    assert tuple(look(Path("/"))) == NAMES
