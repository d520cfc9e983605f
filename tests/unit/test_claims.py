"""Two runs never measure on one CPU; no claim outlives its holder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.claims import claim, goes_on, going_on
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


def test_a_run_is_known_to_go_on(folder: Path) -> None:
    """To everybody on this machine, until it is over; nobody else can go on with it."""
    assert not goes_on("a-run", folder)
    with going_on("a-run", folder):
        assert goes_on("a-run", folder)
        assert not goes_on("another", folder)
        with pytest.raises(SetupError, match="a-run goes on, in another process"), going_on("a-run", folder):
            pass
    assert not goes_on("a-run", folder)
    assert list(folder.glob("run-*")) == []


def test_a_run_whose_driver_died_does_not_go_on(folder: Path) -> None:
    """The kernel frees its lock; the file alone says nothing."""
    source = HOLDER.replace("import claim", "import going_on").replace(
        'claim([1, 2], "the other run"', 'going_on("a-run"'
    )
    command = [sys.executable, "-c", source, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert goes_on("a-run", folder)
        other.kill()
        other.wait()
    assert (folder / "run-a-run").exists()
    assert not goes_on("a-run", folder)


def test_cpus_are_shared_only_by_runs_that_were_all_told_to(folder: Path) -> None:
    """One that was not is not disturbed, and disturbs nobody."""
    first, second = (claim([1], name, folder, shared=True) for name in ("first", "second"))
    with first, second, pytest.raises(SetupError, match="CPU 1 is taken"), claim([1], "third", folder):
        pass
    alone, other = claim([1], "alone", folder), claim([1], "other", folder, shared=True)
    with alone, pytest.raises(SetupError, match="CPU 1 is taken by alone") as refused, other:
        pass
    assert "--share-cpus" in refused.value.remedy
