"""The soak: one real run of many slices, looked at after each; what grows, and how much it would in a longer one.

    python -m tests.faults.soak                   512 slices, some three quarters of an hour
    python -m tests.faults.soak --rounds 2        a quarter of it
    python -m tests.faults.soak --keep FILE       every look as a line of JSON as well

It is no measurement, and may run beside other work; but it takes CPUs. The exit code is 1 if the run did not come to a
valid end, or something is left.
"""

import argparse
import json
import os
import queue
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import docker
from docker.errors import APIError
from docker.models.containers import Container
from rich.console import Console
from rich.table import Table

from lab import execution, override
from tests.docker.driver import SERVICE, Lab, Running

CELLS = 4  # three engines, and native once more
SLICES = 15  # of a cell in a round, and one to warm up
SLICE_SECONDS = 4.0
RATE_PER_S = 300
LONG_SLICES = 500  # of four hours: what all is projected to
PATIENCE_SECONDS = 300
# What is looked at: MiB, but for counts
UNITS = {"files": "", "threads": "", "temporary files": ""}

Look = dict[str, float]


def main() -> int:
    """Run, look, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="of 64 slices each (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="every look as a line of JSON")
    options = parser.parse_args()
    for one in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the former
        signal.signal(one, signal.default_int_handler)
    client = docker.from_env(timeout=120)
    looks: list[Look] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as name, Lab.at(Path(name), client) as lab:
        running = lab.begin("run", _experiment(lab, options.rounds))
        begun = time.monotonic()
        while _sealed(running) and running.process.poll() is None:
            # A look takes as long as a slice where the machine is busy: so it says itself how many there are by then.
            sealed = len(list(lab.runs()[-1].glob("evidence/slices/[!.]*")))
            looks.append({"slice": sealed, "seconds": time.monotonic() - begun, **_look(lab, running)})
            if options.keep:
                with options.keep.open("a") as file:
                    file.write(json.dumps(looks[-1]) + "\n")
            if len(looks) % CELLS == 0:
                print(json.dumps(looks[-1]), file=sys.stderr, flush=True)
        Console(width=140).print(table(looks))
        code = running.end(PATIENCE_SECONDS)
        repeats = sum("-again" in path.name for path in lab.runs()[-1].glob("evidence/slices/*"))
        left = lab.left()
    last = looks[-1] if looks else {"slice": 0, "seconds": 0}
    print(f"{last['slice']:.0f} slices, {repeats} of them repeats, in {last['seconds'] / 60:.0f} minutes")
    print(f"exit code {code}; left: {left or 'nothing'}")
    print(running.output if code == 0 else running.error[-2000:], file=sys.stderr)
    return int(code != 0 or bool(left))


def _experiment(lab: Lab, rounds: int) -> Path:
    limits = {"steal_share": 1.0, "foreign_cpu_share": 1.0, "run_delay_share": 1.0, "rate_tolerance": 0.1}
    return lab.experiment(
        name="soak",
        rounds=rounds,
        slices=SLICES,
        slice_seconds=SLICE_SECONDS,
        rate_per_s=RATE_PER_S,
        repeats=1,
        limits=limits,
    )


def _sealed(running: Running) -> bool:
    """Wait for a slice's line; False when there is none any more, or none for too long."""
    try:
        return bool(running.wait_for(r"^\d+/\d+ "))
    except (AssertionError, queue.Empty):
        return False


def _look(lab: Lab, running: Running) -> Look:
    """The driver, the containers' processes, and what lies on disks and in memory."""
    process = Path(f"/proc/{running.process.pid}")
    containers = {one.labels[SERVICE]: one for one in lab.containers()}
    found: Look = {
        "driver": _resident(process),
        "files": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "temporary files": len(list(Path(lab.environment["TMPDIR"]).iterdir())),
        "evidence": _on_disk(lab.runs()[-1]),
    }
    of_container: Mapping[str, tuple[str, Callable[[Container], float]]] = {
        "MySQL": ("mysql", _memory),
        "MySQL's data": ("mysql", lambda one: _size(one, "/var/lib/mysql")),
        "log volume": ("log-holder", lambda one: _size(one, override.VOLUME)),
        "Kamailio, native": ("kamailio-native", _memory),
        "Kamailio, Lua": ("kamailio-lua", _memory),
        "Kamailio, Python 3": ("kamailio-python3", _memory),
    }
    for name, (service, ask) in of_container.items():
        with suppress(KeyError, FileNotFoundError, APIError, IndexError):  # between two rounds they come and go
            found[name] = ask(containers[service])
    return found


def _resident(process: Path) -> float:
    return int((re.search(r"^RssAnon:\s+(\d+)", (process / "status").read_text(), re.MULTILINE) or [0, 0])[1]) / 1024


def _memory(container: Container) -> float:
    """Of all its processes, without what they share."""
    pids = [int(line[1]) for line in container.top()["Processes"] or ()]
    return sum(_resident(Path(f"/proc/{pid}")) for pid in pids)


def _size(container: Container, folder: str) -> float:
    return int(execution.ask(container, ["du", "-sk", folder]).text.split()[0]) / 1024


def _on_disk(folder: Path) -> float:
    size = 0
    for place, _, names in os.walk(folder):  # which minds no folder that has just got its own name
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(place, name).stat().st_blocks * 512
    return size / 2**20


def table(looks: Sequence[Look]) -> Table:
    """A row of each thing that was looked at: from first to last, and the slope from the second round on."""
    rows = Table("what", "first", "after a round", "last", "most", "by 100 slices", f"in {LONG_SLICES} slices")
    a_round = CELLS * (SLICES + 1)
    for name in dict.fromkeys(name for look in looks for name in look if name not in {"slice", "seconds"}):
        seen = [(look["slice"], look[name]) for look in looks if name in look]
        first = next((place for place, (number, _) in enumerate(seen) if number >= a_round), len(seen) // 2)
        if len({number for number, _ in seen[first:]}) < 2:
            continue
        numbers, values = zip(*seen, strict=True)
        slope = statistics.linear_regression(numbers[first:], values[first:]).slope
        shown = (values[0], values[first], values[-1], max(values), 100 * slope, LONG_SLICES * slope)
        unit = UNITS.get(name, " MiB")
        rows.add_row(name, *(f"{value:.2f}{unit}" for value in shown))
    return rows


if __name__ == "__main__":
    sys.exit(main())
