"""Makes golden runs and their expected frames anew: look at the difference before you keep it.

    python -m tests.golden.record          the built run, and the expected frames of both
    python -m tests.golden.record RUN      and takes the real run from RUN, a run of recorded.toml

*real* is what the testbed gave. *built* is a small run with all that can go wrong in a log or a record: an invalid
slice that was run again, a retransmission, a request of no leg, a foreign call, an error, torn lines, bytes that are no
UTF-8, counters that could not be read.

The real run is older than the form of its plan: what plan.json calls aa_cell, scenarios and a cell's baseline was once
called otherwise, and was renamed by hand. Logs and records are as they were recorded.
"""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lab import frames, plan, testing, validity
from lab.model import SlicePlan, SliceRecord

FOLDER = Path(__file__).parent / "frames"
RUNS = ("built", "real")
TABLES = ("messages", "slices", "starts")
# What frames are made of; other evidence (inspect output, the override) is large, and names the machine's folders.
EVIDENCE = ("plan.json", "slices/*/slice.json", "slices/*/kamailio.log*", "starts/*/start.json")

PLAN = testing.plan(engines=("native", "lua"), rounds=1, slices=1, warmup_slices=1, calls=3)


def main(real: str | None = None) -> None:
    """Evidence, then what the frames are now."""
    with tempfile.TemporaryDirectory() as results:
        _keep(testing.run(Path(results), PLAN, _pieces()), FOLDER / "built")
    if real:
        _keep(Path(real), FOLDER / "real")
    for run in RUNS:
        for table, text in frames_as_csv(FOLDER / run).items():
            (FOLDER / run / f"{table}.csv").write_text(text, encoding="utf-8")


def frames_as_csv(run: Path) -> dict[str, str]:
    """The frames of a run, made in a copy of it, as text that can be read in a difference."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(run, Path(folder, "run")))
        frames.write(copy)
        found = frames.load(copy)
    return {table: getattr(found, table).to_csv(index=False, na_rep="null") for table in TABLES}


def _keep(run: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for pattern in EVIDENCE:
        for source in (run / "evidence").glob(pattern):
            copy = target / source.relative_to(run)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def _pieces() -> list[tuple[SliceRecord, bytes]]:
    pieces = testing.slices(PLAN, {"lua": 1.2})
    number = next(n for n, (record, _) in enumerate(pieces) if record.plan.cell == "lua" and not record.plan.warmup)
    bad = pieces[number][0].plan
    again = plan.again(bad, position=len(pieces) + 1)
    pieces[number] = _judged(bad, _spoil(bad, pieces[number][1]), "lua")
    pieces.append(_judged(again, testing.slice_log(again, factor=1.2), "lua"))
    blind, log = pieces[0]
    pieces[0] = (replace(blind, after=replace(blind.after, cpu_usec=None, throttled=None, steal_ticks=None)), log)
    return pieces


def _spoil(piece: SlicePlan, log: bytes) -> bytes:
    first, second, *rest = log.splitlines(keepends=True)
    call = f"{piece.call_id_prefix}1"
    half = len(rest[0]) // 2
    return b"".join(
        [
            first,
            testing.latency_line(call, 21, worker=8),  # a retransmission
            second,
            f" 2(8) ERROR: |1|2 REGISTER|{call}|<core> [core/receive.c:391]: receive_msg(): failed\n".encode(),
            testing.latency_line(call, 12, cseq=3, method="BYE"),
            testing.latency_line("1.1-3", 40),  # of an earlier slice
            testing.latency_line(call, 33).replace(call.encode(), call.encode() + b"\xff"),
            rest[0][:half] + rest[1] + rest[0][half:],  # two workers at once
            *rest[2:-1],
            rest[-1][:50],
        ]
    )


def _judged(piece: SlicePlan, log: bytes, engine: str) -> tuple[SliceRecord, bytes]:
    record = testing.record(piece, log, engine=engine)
    return replace(record, reasons=validity.judge(record, PLAN.limits, PLAN.scenario_of(piece.cell))), log


if __name__ == "__main__":
    main(*sys.argv[1:2])
