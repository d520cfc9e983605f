"""One million latency lines into all columns, against one awk field of them.

The yardstick is what anybody would use otherwise: mawk, the quickest awk, adding up the last field but one, as the 2018
page did. Runs are interleaved, so that a busy machine hurts both. Seeded: the same log every time.

    python -m tests.benchmarks.frames

At the end: the memory that frames of this log take, and of one four times as long, each in a process of its own.
"""

import multiprocessing
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa

from lab.errors import Exit
from lab.frames import log
from lab.frames.dataset import write_messages
from lab.model import LegRule, SlicePlan

LINES = 1_000_000
RUNS = 9
GOAL = 1.5
LONGER = 4
PLAN = SlicePlan(round=1, position=3, cell="lua", warmup=False, calls=LINES // 2, rate_per_s=1000)
LEGS = (LegRule("challenge", "REGISTER", 1), LegRule("authenticated", "REGISTER", 2))
CALLS_UNDER_WAY = 5

ONE_FIELD = """
/request-route executed/ {
    usec = $(NF-1); sum += usec
    if (!cnt++ || usec < min) min = usec
    if (usec > max) max = usec
}
END { print cnt, sum, min, max }
"""
START_UP = b" 0(1) INFO: <core> [main.c:3321]: main(): current open file limits [soft/hard]: [20000/20000]\n"


def write_log(path: Path, lines: int = LINES) -> None:
    """What two workers write: both legs of each call, those of a few calls mixed; one retransmission in a thousand."""
    chance = random.Random(2018)
    with path.open("wb") as file:
        file.write(START_UP * 20)
        waiting: list[tuple[int, int]] = []
        call = written = 0
        while written < lines:
            while len(waiting) < CALLS_UNDER_WAY:
                call += 1
                waiting.append((call, 1))
            number, cseq = waiting.pop(chance.randrange(len(waiting)))
            if cseq == 1:
                waiting.append((number, 2))
            for _ in range(1 + (chance.random() < 0.001)):
                file.write(_line(number, cseq, chance))
                written += 1


def _line(call: int, cseq: int, chance: random.Random) -> bytes:
    worker = chance.randrange(2)
    usec = int(chance.lognormvariate(*((4.2, 0.4) if cseq == 1 else (5.7, 0.3))))
    return (
        f" {worker + 1}({worker + 7}) INFO: |1|{cseq} REGISTER|{PLAN.call_id_prefix}{call}|"
        f"<core> [core/receive.c:533]: receive_msg(): request-route executed in: {usec} usec\n"
    ).encode()


def main() -> int:
    """Measure and print; the exit code says only whether it could be measured."""
    mawk = shutil.which("mawk")
    if not mawk:
        print("mawk, the yardstick, is not installed: apt-get install mawk")
        return Exit.SETUP
    with tempfile.TemporaryDirectory(prefix="frames-") as folder:
        path, parquet = Path(folder, "kamailio.log"), Path(folder, "messages.parquet")
        write_log(path)
        print(f"{LINES} latency lines, {path.stat().st_size / 1e6:.0f} MB; median of {RUNS} interleaved runs")

        def parts() -> Iterator[pa.Table]:
            return (part.messages for part in log.read(path, PLAN, "lua", LEGS))

        ways: dict[str, Callable[[], object]] = {
            "mawk, one field": lambda: subprocess.run([mawk, ONE_FIELD, path], check=True, capture_output=True),
            "all columns, Arrow": lambda: pa.concat_tables(parts()),
            "all columns, pandas": lambda: pa.concat_tables(parts()).unify_dictionaries().to_pandas(),
            "all columns, Parquet": lambda: write_messages(parts(), parquet),
        }
        _compare(ways)
        print("peak resident memory of writing Parquet, in a process of its own:")
        print(f"    {LINES} lines: {_alone(_peak_mb, path, parquet):.0f} MB")
        write_log(path, LONGER * LINES)
        print(f"    {LONGER * LINES} lines: {_alone(_peak_mb, path, parquet):.0f} MB")
    return Exit.OK


def _alone(work: Callable[[Path, Path], float], path: Path, parquet: Path) -> float:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, path, parquet).result()


def _peak_mb(path: Path, parquet: Path) -> float:
    write_messages((part.messages for part in log.read(path, PLAN, "lua", LEGS)), parquet)
    # Not getrusage: its peak has been handed down by the parent process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _compare(ways: dict[str, Callable[[], object]]) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    yardstick, *_ = (statistics.median(runs) for runs in seconds.values())
    for name, runs in seconds.items():
        median = statistics.median(runs)
        print(f"{name:22}{median:7.3f} s   best{min(runs):7.3f} s   ratio{median / yardstick:6.2f}")
    print(f"goal: all columns in at most {GOAL} times mawk")


if __name__ == "__main__":
    sys.exit(main())
