"""One slice of traffic: SIPp's command line (pure), and what its statistics file says afterwards."""

import csv
import re
from pathlib import Path

from lab.errors import TestbedError
from lab.model import Plan, Scenario, SippOutcome, SlicePlan
from lab.observation import WAYS
from lab.override import VOLUME

TARGET = "127.0.0.1:5060"
LOCAL_PORT = 5070
GRACE_SECONDS = 10  # for the last calls, beyond the planned time
SPECIMEN_SECONDS = 300
MESSAGES = f"{VOLUME}/messages.log"  # SIPp's message trace: for the sake of its cost alone

LOG_NAME = "kamailio.log"
RAW_LOG_NAME = "kamailio-raw.log.gz"  # where LOG_NAME is not what Kamailio wrote
STATISTICS_NAME = "sipp.csv"
ERRORS_NAME = "sipp-errors.log"


def command(plan: Plan, piece: SlicePlan) -> list[str]:
    """SIPp for one slice, writing its statistics and errors into the log volume."""
    statistics, errors = files(piece)
    seconds = piece.calls / piece.rate_per_s + GRACE_SECONDS
    if plan.specimen:  # it goes on until it is over, in minutes rather than hours
        seconds = SPECIMEN_SECONDS
    buffer = plan.specimen and plan.specimen.sipp_buffer_bytes
    cell, scenario = plan.cell(piece.cell), plan.scenario_of(piece.cell)
    return [
        *_sipp(scenario.file, piece.call_id_prefix, ignores_unexpected=scenario.ignores_unexpected),
        *("-inf", f"/scenarios/{users_file(cell.subscribers)}", "-r", str(piece.rate_per_s)),
        *("-m", str(piece.calls), "-l", str(call_limit(plan, piece))),
        *("-trace_stat", "-fd", "1", "-stf", f"{VOLUME}/{statistics}"),
        *("-trace_err", "-error_file", f"{VOLUME}/{errors}"),
        *(("-buff_size", str(buffer)) if buffer else ()),
        *(("-trace_msg", "-message_file", MESSAGES) if WAYS[cell.observe].traced else ()),
        *("-timeout", f"{seconds:.0f}s", "-timeout_error"),
    ]


def once(scenario: Scenario, subscribers: int, calls: int, rate_per_s: int) -> list[str]:
    """SIPp for what precedes the slices: so many calls, no statistics."""
    seconds = calls / rate_per_s + GRACE_SECONDS
    return [
        *_sipp(scenario.file, "setup-", ignores_unexpected=scenario.ignores_unexpected),
        *(
            "-inf",
            f"/scenarios/{users_file(subscribers)}",
            "-r",
            str(rate_per_s),
            "-m",
            str(calls),
            "-l",
            str(calls + 1),
        ),
        *("-timeout", f"{seconds:.0f}s", "-timeout_error"),
    ]


def probe(cell: str) -> list[str]:
    """SIPp for the engine proof: one OPTIONS, whose reply must carry the script's marker."""
    return [
        *_sipp("probe.xml", "probe-"),
        *("-m", "1", "-trace_logs", "-log_file", probe_log(cell), "-timeout", "5s", "-timeout_error"),
    ]


def probe_log(cell: str) -> str:
    """Where the probe leaves the marker."""
    return f"{VOLUME}/{cell}.probe.log"


def marker(log: str) -> str:
    """The marker in a probe's log; '' when there was none."""
    found = re.search(r"^engine (\w+)$", log, re.MULTILINE)
    return found[1] if found else ""


def call_limit(plan: Plan, piece: SlicePlan) -> int:
    """More than there are calls: SIPp silently sheds what would go beyond its limit. A specimen may have its own."""
    return (plan.specimen and plan.specimen.call_limit) or piece.calls + 1


def files(piece: SlicePlan) -> dict[str, str]:
    """Files of a slice in the log volume, and what they are called in its folder. No errors, no error file."""
    return {f"{piece.id}.{STATISTICS_NAME}": STATISTICS_NAME, f"{piece.id}.{ERRORS_NAME}": ERRORS_NAME}


def outcome(statistics: Path, limit: int, exit_code: int, said: str = "") -> SippOutcome:
    """The last row of SIPp's statistics (`;` between fields), in which (C) columns are cumulative.

    Its elapsed times are cut to seconds; its points in time have a third part, in seconds and their fraction.
    """
    try:
        with statistics.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file, delimiter=";") if None not in row.values()]  # whole ones
    except FileNotFoundError:
        rows = []
    if not rows:
        remedy = "SIPp's own words are above: look at the scenario"
        raise TestbedError(f"SIPp wrote no statistics (exit code {exit_code})", detail=said, remedy=remedy)
    last = rows[-1]
    return SippOutcome(
        exit_code=exit_code,
        created=int(last["TotalCallCreated"]),
        successful=int(last["SuccessfulCall(C)"]),
        failed=int(last["FailedCall(C)"]),
        unexpected=int(last["FailedUnexpectedMessage(C)"]),
        dead_calls=int(last["DeadCallMsgs(C)"]),
        out_of_call=int(last["OutOfCallMsgs(C)"]),
        retransmissions=int(last["Retransmissions(C)"]),
        peak_calls=max(int(row["CurrentCall"]) for row in rows),
        call_limit=limit,
        elapsed_msec=round((_seconds(last["CurrentTime"]) - _seconds(last["StartTime"])) * 1000),
        rate_per_s=float(last["CallRate(C)"]),
    )


def users_file(count: int) -> str:
    """What SIPp's input file of so many users is called."""
    return f"users-{count}.csv"


def users(count: int, domain: str) -> str:
    """SIPp's input file for test0 to test<count - 1>, taken in turn."""
    lines = (f"test{n};{domain};[authentication username=test{n} password=test{n}]\n" for n in range(count))
    return "SEQUENTIAL\n" + "".join(lines)


def _sipp(file: str, call_id: str, *, ignores_unexpected: bool = False) -> list[str]:
    return [
        *("sipp", TARGET, "-i", "127.0.0.1", "-p", str(LOCAL_PORT), "-nostdin"),
        *("-sf", f"/scenarios/{file}", "-cid_str", f"{call_id}%u"),
        *(("-default_behaviors", "all,-abortunexp") if ignores_unexpected else ()),
    ]


def _seconds(moment: str) -> float:
    """A date, a time of day, and the same as seconds, with tabs between."""
    return float(moment.rpartition("\t")[2])
