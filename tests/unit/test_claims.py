"""Two runs never measure on one CPU; no claim outlives its holder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.claims import claim
from lab.errors import Exit, SetupError

HOLDER = """
import sys
from pathlib import Path
from lab.claims import claim
with claim([1, 2], "the other run", Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where claims lie; nobody has made it yet."""
    return tmp_path / "cpus"


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds CPUs 1 and 2 until it is told to end, or dies."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other


def test_a_cpu_is_given_to_one_run_at_a_time(folder: Path) -> None:
    """The second is told which CPU, whose it is, and what helps."""
    first, second = claim([0, 1], "20261123T080000Z-quick", folder), claim([1, 2], "second", folder)
    with first, pytest.raises(SetupError) as caught, second:
        pass
    assert str(caught.value) == "CPU 1 is taken by 20261123T080000Z-quick"
    assert caught.value.exit_code == Exit.SETUP
    assert "[cpus]" in caught.value.remedy


def test_another_process_counts_as_well(folder: Path) -> None:
    """Runs are processes, of whichever checkout; when one dies, the kernel frees what it held."""
    with held_by_another_process(folder) as other:
        with pytest.raises(SetupError, match="CPU 2 is taken by the other run"), claim([2, 3], "mine", folder):
            pass
        other.kill()
        other.wait()
        with claim([2, 3], "mine", folder):
            assert (folder / "cpu2").read_text() == "mine"


def test_runs_on_other_cpus_do_not_meet(folder: Path) -> None:
    """A large machine can measure several things at once."""
    with claim([0, 1], "first", folder), claim([2, 3], "second", folder):
        assert (folder / "cpu1").read_text() == "first"
        assert (folder / "cpu3").read_text() == "second"


def test_a_claim_ends_with_its_run(folder: Path) -> None:
    """However the run ends."""
    with pytest.raises(KeyboardInterrupt), claim([0, 1], "first", folder):
        raise KeyboardInterrupt
    with claim([0, 1], "a longer name than the first", folder):
        pass
    with claim([0, 1], "third", folder):
        assert (folder / "cpu0").read_text() == "third"


def test_a_refused_claim_holds_nothing(folder: Path) -> None:
    """CPU 0 was free, and is free again."""
    with claim([1], "first", folder):
        with pytest.raises(SetupError), claim([0, 1], "second", folder):
            pass
        with claim([0], "third", folder):
            pass


def test_every_user_of_the_machine_may_claim(folder: Path) -> None:
    """Whoever came first, and whatever his umask."""
    with claim([0], "first", folder):
        assert folder.stat().st_mode & 0o777 == 0o777
        assert (folder / "cpu0").stat().st_mode & 0o666 == 0o666


@pytest.mark.parametrize(
    ("own", "folder"),
    [({}, "/tmp/kemi-lab-cpus"), ({"LAB_CLAIMS": "/elsewhere/cpus"}, "/elsewhere/cpus")],  # noqa: S108
)
def test_every_user_looks_in_the_same_place(tmp_path: Path, own: dict[str, str], folder: str) -> None:
    """Though each may have a TMPDIR of his own. Only who says so has claims of his own: these tests, for one."""
    environment = {name: value for name, value in os.environ.items() if name != "LAB_CLAIMS"}
    environment |= {"TMPDIR": str(tmp_path), **own}
    command = [sys.executable, "-c", "from lab import claims; print(claims.FOLDER)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == folder
