"""Makes the golden run and its expected frames anew: look at the difference before you keep it.

    python -m tests.golden.record

A small run with all that a log and a record may hold: a warm-up, an invalid slice that was run again, a retransmission,
a request of no leg, a foreign call, an error, torn lines, bytes that are no UTF-8, counters that could not be read.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from lab import frames, plan, testing, validity
from lab.model import SlicePlan, SliceRecord

FOLDER = Path(__file__).parent / "frames"
RUN = FOLDER / "run"
TABLES = ("messages", "slices", "starts")


def main() -> None:
    """Evidence, then what the frames are now."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as results:
        built = testing.run(Path(results), PLAN, _pieces())
        shutil.copytree(built / "evidence", RUN / "evidence")
    for name, text in frames_as_csv(RUN).items():
        (FOLDER / f"{name}.csv").write_text(text, encoding="utf-8")


def frames_as_csv(run: Path) -> dict[str, str]:
    """The frames of a run, made in a copy of it, as text that can be read in a difference."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(run, Path(folder, "run")))
        frames.write(copy)
        found = frames.load(copy)
    return {name: getattr(found, name).to_csv(index=False, na_rep="null") for name in TABLES}


PLAN = testing.plan(engines=("native", "lua"), rounds=1, slices=1, warmup_slices=1, calls=3)


def _pieces() -> list[tuple[SliceRecord, bytes]]:
    pieces = testing.slices(PLAN, {"lua": 1.2})
    number = next(n for n, (record, _) in enumerate(pieces) if record.plan.cell == "lua" and not record.plan.warmup)
    bad = pieces[number][0].plan
    spoilt = _judged(bad, _spoil(bad, pieces[number][1]), "lua")
    again = plan.again(bad, position=len(pieces) + 1)
    pieces[number] = spoilt
    pieces.append(_judged(again, testing.slice_log(again, factor=1.2), "lua"))
    blind, log = pieces[0]
    pieces[0] = (replace(blind, after=replace(blind.after, cpu_usec=None, throttled=None, steal_ticks=None)), log)
    return pieces


def _spoil(piece: SlicePlan, log: bytes) -> bytes:
    first, second, *rest = log.splitlines(keepends=True)
    call = f"{piece.id}-1-12@lab"
    half = len(rest[0]) // 2
    return b"".join(
        [
            first,
            testing.latency_line(call, 21, worker=8),  # a retransmission
            second,
            f" 2(8) ERROR: |1|2 REGISTER|{call}|<core> [core/receive.c:391]: receive_msg(): failed\n".encode(),
            testing.latency_line(call, 12, cseq=3, method="BYE"),
            testing.latency_line("r01-s001-native-3-12@lab", 40),  # of an earlier slice
            testing.latency_line(call, 33).replace(b"@lab", b"@\xff"),
            rest[0][:half] + rest[1] + rest[0][half:],  # two workers at once
            *rest[2:-1],
            rest[-1][:50],
        ]
    )


def _judged(piece: SlicePlan, log: bytes, engine: str) -> tuple[SliceRecord, bytes]:
    record = testing.record(piece, log, engine=engine)
    return replace(record, reasons=validity.judge(record, PLAN.limits)), log


if __name__ == "__main__":
    main()
