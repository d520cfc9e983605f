"""What is large: a log of two gigabytes, and a run of five million latency lines; seconds, and the most memory of each.

    python -m tests.benchmarks.large           8 GB of disk in the temporary folder (TMPDIR)
    python -m tests.benchmarks.large --gb 0.2 --million 0.5

Each step is a process of its own, so its memory is its own: what it had resident at most (VmHWM), libraries included.
"""

import argparse
import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pandas as pd

from lab import dataset, latency, logs, store, testing, versions
from lab.errors import Exit
from lab.frames import log as columns
from lab.model import Plan, SlicePlan
from lab.report import page, run
from lab.station import Holder
from tests.unit import machine

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PIECE = SlicePlan(round=1, position=1, cell="lua", warmup=False, calls=9_000_000, rate_per_s=10_000)
CALLS_AT_ONCE = 10_000  # that are written


def main() -> int:
    """Measure and print; the exit code says only whether it could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.0, help="of the log (default: %(default)s)")
    parser.add_argument("--million", type=float, default=5.0, help="latency lines of the run (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="large-") as name:
        folder = Path(name)
        volume, fetched = folder / "volume", folder / "fetched"
        for one in (volume, fetched):
            one.mkdir()
        folder.chmod(0o755)  # the container's user is nobody's
        lines = _write(volume / "lua.log", options.gb * 1e9)
        print(f"a log of {(volume / 'lua.log').stat().st_size / 1e9:.2f} GB, {lines} latency lines")
        _step("fetched from a container", partial(_fetch, volume, fetched))
        (volume / "lua.log").unlink()
        _step("counted", partial(_count, fetched))
        _step("compressed", partial(logs.compress, fetched))
        _step("cut into columns", partial(_cut, fetched))
        plan = testing.plan(rounds=10, slices=5, warmup_slices=0, calls=int(options.million * 2500), rate_per_s=420)
        slices = testing.slices(plan, {"lua": 1.2, "python3": 1.3})
        made = machine.describe(testing.run(folder / "results", plan, slices))
        store.Run(made).seal("complete")
        print(f"a run of {options.million:g} million latency lines")
        _step("frames, figures, description", partial(dataset.derive, made))
        _step("report: page, Markdown, figures", partial(_report, made))
        _step("all messages into pandas", partial(pd.read_parquet, made / "frames" / "messages.parquet"))
    return Exit.OK


def _write(log: Path, size: float) -> int:
    """As a slice of so many calls has it; returns the lines."""
    written = calls = 0
    legs = testing.SCENARIO.legs
    with log.open("wb") as file:
        while written < size and calls < PIECE.calls:
            names = (f"{PIECE.call_id_prefix}{calls + number}" for number in range(1, CALLS_AT_ONCE + 1))
            written += file.write(
                b"".join(
                    testing.latency_line(name, 50 * leg.cseq + len(name), cseq=leg.cseq, method=leg.method)
                    for name in names
                    for leg in legs
                )
            )
            calls += CALLS_AT_ONCE
    return calls * len(legs)


def _step(name: str, work: Callable[[], object]) -> None:
    """Do it in a process of its own, and print what it took."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(work, theirs))
    process.start()
    theirs.close()
    seconds, peak = ours.recv()
    process.join()
    print(f"{name:34}{seconds:8.1f} s {peak:8.0f} MiB", flush=True)


def _measured(work: Callable[[], object], pipe: "Connection[tuple[float, float], None]") -> None:
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    pipe.send((seconds, int(found[1]) / 1024 if found else 0.0))


def _fetch(volume: Path, into: Path) -> None:
    """By the way that a run takes."""
    client = docker.from_env(timeout=120)
    (version,) = versions.load().sipp
    container = client.containers.run(
        f"kemi-lab/sipp:{version}",
        ["infinity"],
        entrypoint="sleep",
        volumes=[f"{volume}:/var/log/large:ro"],
        network_mode="none",
        detach=True,
    )
    try:
        Holder(container).fetch("/var/log/large/lua.log", 0, [], into)
    finally:
        container.remove(force=True)


def _count(folder: Path) -> None:
    with (folder / logs.NAME).open("rb") as lines:
        latency.tally(lines, PIECE.call_id_prefix, testing.SCENARIO.legs, {})


def _cut(folder: Path) -> None:
    for _ in columns.read(folder / logs.KEPT, PIECE, "lua", testing.SCENARIO.legs):
        pass


def _report(folder: Path) -> None:
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    page.write(run.build(folder, plan, dataset.derive(folder)), folder / page.FOLDER)


if __name__ == "__main__":
    sys.exit(main())
