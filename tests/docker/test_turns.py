"""Cells that take turns: SIPp sends each one's calls in its own part of the time, and a run of them is valid."""

import json
from pathlib import Path

import pytest

from lab import turns
from tests.docker.conftest import Bench, ask
from tests.docker.driver import Lab

TURN_MSEC, CELLS, CALLS = 40, 3, 200
# Sends, and waits for no answer: when is all that counts.
SCENARIO = b"""<?xml version="1.0" encoding="UTF-8"?>
<scenario name="one message">
  <send>
    <![CDATA[
      OPTIONS sip:nobody@[remote_ip] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:nobody@[local_ip]>;tag=[call_number]
      To: <sip:nobody@[remote_ip]>
      Call-ID: [call_id]
      CSeq: 1 OPTIONS
      Content-Length: 0

    ]]>
  </send>
</scenario>
"""
# To its own port, where nobody else listens: what comes back to it is of no call.
SEND = """
cd /tmp
sipp 127.0.0.1:5070 -i 127.0.0.1 -p 5070 -nostdin -sf /scenarios/one.xml -r 100 -m "$2" -key turn "$1" \
  -trace_shortmsg -shortmessage_file sent.csv -timeout 20s >/dev/null 2>&1
cat sent.csv
"""


@pytest.mark.parametrize("turn", range(CELLS))
def test_calls_are_sent_in_their_cells_turn(bench: Bench, tmp_path: Path, turn: int) -> None:
    """By the clock of SIPp's own trace; a busy machine may make some late."""
    (tmp_path / "one.xml").write_bytes(turns.with_wait(SCENARIO, TURN_MSEC, CELLS))
    tmp_path.chmod(0o755)
    sipp = bench.start("sipp", "sleep", "infinity", volumes=[(str(tmp_path), "/scenarios", "ro")], network="none")
    begin = turns.begin(TURN_MSEC, CELLS, turn)
    lines = ask(sipp, "sh", "-c", SEND, "send", str(begin), str(CALLS)).splitlines()
    sent = [float(fields[2]) for line in lines if (fields := line.split("\t"))[3] == "S"]
    assert len(sent) == CALLS
    # ms since the turn began; SIPp waits for whole ones.
    cycle = TURN_MSEC * CELLS
    after = sorted((1000 * at - begin + cycle / 2) % cycle - cycle / 2 for at in sent)
    most = after[CALLS // 20 : -CALLS // 20]
    assert most[0] > -2
    assert most[-1] < turns.FILLED * TURN_MSEC + 11  # a tick late, at 100 Hz
    assert most[-1] - most[0] > TURN_MSEC / 2  # not one burst


def test_cells_that_take_turns_make_a_valid_run(lab: Lab) -> None:
    """Their slices share the same seconds; each has all its calls, and what strangers took is known."""
    run = lab("run", lab.experiment(name="turns", engines=["native", "lua"], baseline="native", turn_msec=TURN_MSEC))
    assert run.process.returncode == 0, run.error
    assert lab.left() == []
    summary = json.loads((lab.results / "latest" / "summary.json").read_text())
    assert summary["valid"]
    slices = sorted((lab.results / "latest" / "evidence" / "slices").glob("*/slice.json"))
    records = [json.loads(path.read_text()) for path in slices]
    assert records
    for first in range(0, len(records), CELLS):
        block = records[first : first + CELLS]
        assert len({record["plan"]["cell"] for record in block}) == CELLS
        begun = max(record["before"]["monotonic_nsec"] for record in block)
        assert begun < min(record["after"]["monotonic_nsec"] for record in block)
        assert all(record["neighbours_cpu_usec"] for record in block)
