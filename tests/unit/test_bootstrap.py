"""Base images on machines that are not this one: which mirror, which suites, which liberties."""

from pathlib import Path

import pytest

from tests.machine import Machine

MMDEBSTRAP = 'for last; do :; done; cp "$last" "$STATE/debian.sources"'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian 13 machine that has mmdebstrap."""
    machine = Machine(tmp_path)
    machine.command("mmdebstrap", MMDEBSTRAP)
    return machine


def bootstrap(machine: Machine, suite: str, mirror: str = "") -> tuple[str, str]:
    """Call it; return the sources of the image and the call of mmdebstrap."""
    outcome = machine.run("images/base/bootstrap", suite, "out.tar", LAB_DEBIAN_MIRROR=mirror)
    assert outcome.returncode == 0, outcome.stderr
    (call,) = [call for call in machine.calls() if call.startswith("mmdebstrap")]
    return (machine.state / "debian.sources").read_text(), call


def test_the_mirror_is_the_machines_own(machine: Machine) -> None:
    """Found among sources of other people; with the fixes that it gets, too."""
    sources, call = bootstrap(machine, "trixie")
    assert "URIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n" in sources
    assert "URIs: http://mirror.example/fixes\nSuites: trixie-security\n" in sources
    assert "Types: deb\n" in sources
    assert "trixie out.tar" in call


def test_a_named_mirror_comes_first(machine: Machine) -> None:
    """Then nothing of the machine's own sources is in the image."""
    sources, _ = bootstrap(machine, "trixie", mirror="http://named.example/debian")
    assert "URIs: http://named.example/debian\n" in sources
    assert "mirror.example" not in sources


@pytest.mark.parametrize(("suite", "liberty"), [("sid", True), ("trixie", False), ("bookworm", False)])
def test_only_sid_may_be_out_of_date(machine: Machine, suite: str, *, liberty: bool) -> None:
    """And sid alone has neither updates nor a security archive."""
    sources, call = bootstrap(machine, suite)
    assert ("Check-Valid-Until" in call) is liberty
    assert ("-security" not in sources) is liberty


def test_another_distribution_must_name_a_mirror(machine: Machine) -> None:
    """Its own has no Debian."""
    machine.distribution("noble")
    outcome = machine.run("images/base/bootstrap", "sid", "out.tar")
    assert outcome.returncode == 5
    assert "LAB_DEBIAN_MIRROR=" in outcome.stderr
    sources, _ = bootstrap(machine, "sid", mirror="http://named.example/debian")
    assert "Suites: sid\n" in sources


def test_without_root_the_command_that_helps_is_named(machine: Machine) -> None:
    """It is a package of the distribution."""
    (machine.bin / "mmdebstrap").unlink()
    machine.become("joe")
    outcome = machine.run("images/base/bootstrap", "trixie", "out.tar")
    assert outcome.returncode == 5
    assert "    sudo apt-get install mmdebstrap debian-archive-keyring\n" in outcome.stderr
