"""One million latency lines into all columns, against one awk field of them.

The yardstick is what anybody would use otherwise: mawk, the quickest awk, adding up the last field but one, as the 2018
page did. Runs are interleaved, so that a busy machine hurts both. Seeded: the same log every time.

    python -m tests.benchmarks.frames
"""

import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from lab.errors import Exit
from lab.frames import log
from lab.frames.dataset import write_messages
from lab.model import Leg, LegRule, SlicePlan

LINES = 1_000_000
RUNS = 9
GOAL = 1.5
PLAN = SlicePlan(round=1, position=3, cell="lua", warmup=False, calls=LINES // 2, rate_per_s=1000)
LEGS = (LegRule(Leg.CHALLENGE, "REGISTER", 1), LegRule(Leg.AUTHENTICATED, "REGISTER", 2))
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


def write_log(path: Path) -> None:
    """What two workers write: both legs of each call, those of a few calls mixed; one retransmission in a thousand."""
    chance = random.Random(2018)  # noqa: S311  (no secret)
    with path.open("wb") as file:
        file.write(START_UP * 20)
        waiting: list[tuple[int, int]] = []
        call = written = 0
        while written < LINES:
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

        def arrow() -> pa.Table:
            return log.read(path, PLAN, "lua", LEGS).messages

        ways: dict[str, Callable[[], object]] = {
            "mawk, one field": lambda: subprocess.run([mawk, ONE_FIELD, path], check=True, capture_output=True),
            "all columns, Arrow": arrow,
            "all columns, pandas": lambda: arrow().to_pandas(),
            "all columns, Parquet": lambda: write_messages([arrow()], parquet),
        }
        _compare(ways)
        print(f"peak resident memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
    return Exit.OK


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
