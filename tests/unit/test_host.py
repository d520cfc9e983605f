"""What this machine is: facts that are looked up, and told."""

from pathlib import Path

import pytest

from lab import host


@pytest.mark.parametrize(
    ("sources", "value"),
    [
        (("software", "uprobe"), "none, as in most virtual machines"),
        (("software", "cpu"), "cpu"),
        (("cpu_core", "cpu_atom"), "cpu_atom, cpu_core"),
        (("armv8_pmuv3_0",), "armv8_pmuv3_0"),
    ],
)
def test_whether_there_are_hardware_counters_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: tuple[str, ...], value: str
) -> None:
    """By what the kernel lists; to have none is no fault."""
    for name in sources:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(host, "EVENT_SOURCES", tmp_path)
    (check,) = (check for check in host.checks(tmp_path) if check.name == "hardware counters")
    assert (check.value, check.ok) == (value, True)
