"""One slice of traffic: SIPp's command line (pure), and what its statistics file says afterwards."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import turns
from lab.errors import TestbedError
from lab.model import Plan, Scenario, SippOutcome, SlicePlan
from lab.observation import WAYS
from lab.override import VOLUME

TARGET = "127.0.0.1:5060"
LOCAL_PORT = 5070  # of the first SIPp process; others have the next ones
# Nobody looks at SIPp's screen, and each one goes through the engine to us, beside Kamailio. But an exec that says
# nothing for two minutes is taken for dead (lab.host).
SCREEN_SECONDS = 60
GRACE_SECONDS = 10  # for the last calls, beyond the planned time
SPECIMEN_SECONDS = 300
CALL_SECONDS = 0.05  # where one waits for the other, at most
COUNTED_CALL_SECONDS = 0.5  # under valgrind, at most: some 50 to 150 ms were seen, on busy CPUs
ONE_BY_ONE_PER_S = 1000  # offered where each call waits for the one before: more than comes
PROBE_SECONDS = 5
COUNTED_PROBE_SECONDS = 60
MESSAGES = f"{VOLUME}/messages.log"  # SIPp's message trace: for the sake of its cost alone

STATISTICS_NAME = "sipp.csv"
ERRORS_NAME = "sipp-errors.log"
# $1: users, $2: first line to take, $3: how many, $4: where to; then SIPp. The first line says how users are taken.
_SOME_USERS = '{ head -n 1 "$1"; tail -n +"$2" "$1" | head -n "$3"; } >"$4"; shift 4; exec "$@"'


@dataclass(frozen=True, slots=True)
class Part:
    """What one SIPp process does of a slice: its calls, its subscribers, its port.

    A subscriber belongs to one process, whichever slice it is: a refresh must come with the same contact.
    """

    number: int
    calls: int
    rate_per_s: float
    first: int  # of the subscribers
    subscribers: int
    digit: str  # before its numbers of calls: no two processes have the same

    @property
    def port(self) -> int:
        """Where it listens."""
        return LOCAL_PORT + self.number


def parts(calls: int, rate_per_s: float, subscribers: int, processes: int = 1, first: int = 0) -> list[Part]:
    """Share calls out to SIPp processes; one that would have none is left out."""

    def share(whole: int, number: int) -> int:
        return whole * (number + 1) // processes - whole * number // processes

    def begin(number: int) -> int:
        return subscribers * number // processes

    return [
        Part(
            number=number,
            calls=share(calls, number),
            rate_per_s=rate_per_s * share(calls, number) / calls,
            first=begin(number) + first // processes,
            subscribers=begin(number + 1) - begin(number) - first // processes,
            digit=str(number + 1) if processes > 1 else "",
        )
        for number in range(processes)
        if share(calls, number)
    ]


def of_slice(plan: Plan, piece: SlicePlan) -> list[Part]:
    """What each SIPp process does of a slice."""
    cell = plan.cell(piece.cell)
    return parts(piece.calls, piece.rate_per_s, cell.subscribers, plan.sipp_processes, piece.first)


def command(plan: Plan, piece: SlicePlan, part: Part, turn: int = 0) -> list[str]:
    """One SIPp process of a slice, writing its statistics and errors into the log volume.

    `turn` is that of its cell in each cycle, where cells take turns.
    """
    statistics, errors = files(piece, part)
    waited = turns.longest_wait(plan.turn_msec, len(plan.cells)) / 1000
    seconds = piece.calls / piece.rate_per_s + waited + GRACE_SECONDS
    if plan.specimen:  # it goes on until it is over, in minutes rather than hours
        seconds = SPECIMEN_SECONDS
    buffer = plan.specimen and plan.specimen.sipp_buffer_bytes
    cell, scenario = plan.cell(piece.cell), plan.scenario_of(piece.cell)
    begin = turns.begin(plan.turn_msec, len(plan.cells), turn)
    folder = f"{turns.FOLDER}/" if plan.turn_msec else ""
    return [
        *_sipp(scenario, f"{piece.call_id_prefix}{part.digit}", part, cell.subscribers, folder),
        *(("-key", turns.KEY, str(begin)) if plan.turn_msec else ()),
        *("-m", str(part.calls), "-l", str(call_limit(plan, part))),
        *("-trace_stat", "-fd", "1", "-stf", f"{VOLUME}/{statistics}"),
        *("-trace_err", "-error_file", f"{VOLUME}/{errors}"),
        *(("-buff_size", str(buffer)) if buffer else ()),
        *(("-trace_msg", "-message_file", MESSAGES) if WAYS[cell.observe].traced else ()),
        *("-timeout", f"{seconds:.0f}s", "-timeout_error"),
    ]


def once(  # noqa: PLR0913
    scenario: Scenario, subscribers: int, part: Part, time: int = 1, *, one_by_one: bool = False, slow: bool = False
) -> list[str]:
    """One SIPp process of what precedes the slices: so many calls, no statistics.

    With `one_by_one` a call waits for the end of the one before, and nothing is sent twice. `slow`: under valgrind.

    `time` counts how often that is done, and gives each its own Call-IDs: a registrar takes no CSeq twice of one (but
    within 20 s, when it may be a retransmission: usrloc's cseq_delay).
    """
    seconds = part.calls / part.rate_per_s + GRACE_SECONDS
    if one_by_one:
        seconds = GRACE_SECONDS + part.calls * CALL_SECONDS
    if slow:
        seconds = COUNTED_PROBE_SECONDS + part.calls * COUNTED_CALL_SECONDS
    return [
        *_sipp(scenario, f"setup{f'.{time}' if time > 1 else ''}-{part.digit}", part, subscribers),
        *("-m", str(part.calls), *(("-l", "1", "-nr") if one_by_one else ("-l", str(part.calls + 1)))),
        *("-timeout", f"{seconds:.0f}s", "-timeout_error"),
    ]


def probe(cell: str, *, one_by_one: bool = False) -> list[str]:
    """SIPp for the engine proof: one OPTIONS, whose reply must carry the script's marker."""
    seconds = COUNTED_PROBE_SECONDS if one_by_one else PROBE_SECONDS
    return [
        *_bare("probe.xml", "probe-", LOCAL_PORT),
        *("-m", "1", "-trace_logs", "-log_file", probe_log(cell), "-timeout", f"{seconds}s", "-timeout_error"),
        *(("-nr",) if one_by_one else ()),
    ]


def probe_log(cell: str) -> str:
    """Where the probe leaves the marker."""
    return f"{VOLUME}/{cell}.probe.log"


def marker(log: str) -> str:
    """The marker in a probe's log; '' when there was none."""
    found = re.search(r"^engine (\w+)$", log, re.MULTILINE)
    return found[1] if found else ""


def call_limit(plan: Plan, part: Part) -> int:
    """More than there are calls: SIPp silently sheds what would go beyond its limit. A specimen may have its own."""
    return (plan.specimen and plan.specimen.call_limit) or part.calls + 1


def name_of(file: str, part: Part) -> str:
    """What a process's file is called in a slice's folder: sipp.csv, sipp-2.csv, ..."""
    return file.replace("sipp", f"sipp-{part.number + 1}", 1) if part.number else file


def files(piece: SlicePlan, part: Part) -> dict[str, str]:
    """Files of a process in the log volume, and what they are called in its folder. No errors, no error file."""
    names = [name_of(STATISTICS_NAME, part), name_of(ERRORS_NAME, part)]
    return {f"{piece.id}.{name}": name for name in names}


def together(outcomes: Sequence[SippOutcome]) -> SippOutcome:
    """Processes that shared a slice, as one: counts and rates are summed, the longest lasted as long as the slice."""
    if len(outcomes) == 1:
        return outcomes[0]
    summed = {
        name: sum(getattr(one, name) for one in outcomes)
        for name in SippOutcome.__slots__
        if name not in {"exit_code", "elapsed_msec"}
    }
    return SippOutcome(
        exit_code=next((one.exit_code for one in outcomes if one.exit_code), 0),
        elapsed_msec=max(one.elapsed_msec for one in outcomes),
        **summed,
    )


def outcome(statistics: Path, limit: int, exit_code: int, said: str = "") -> SippOutcome:
    """The last row of a process's statistics (`;` between fields), in which (C) columns are cumulative.

    Its elapsed times are cut to seconds; its points in time have a third part, in seconds and their fraction.
    """
    remedy = "SIPp's own words are above: look at the scenario"
    try:
        with statistics.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file, delimiter=";") if None not in row.values()]  # whole ones
        return _last(rows, limit, exit_code)
    except (FileNotFoundError, IndexError) as error:  # there is none, or no row in it
        message = f"{statistics.name}: SIPp wrote no statistics (exit code {exit_code})"
        raise TestbedError(message, detail=said, remedy=remedy) from error
    except (ValueError, KeyError, OverflowError, csv.Error) as error:
        message = f"{statistics.name}: these are no statistics of SIPp's: {error!r} (exit code {exit_code})"
        raise TestbedError(message, detail=said, remedy=remedy) from error


def _last(rows: Sequence[Mapping[str, str]], limit: int, exit_code: int) -> SippOutcome:
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


def _sipp(scenario: Scenario, call_id: str, part: Part, subscribers: int, folder: str = "") -> list[str]:
    """SIPp over its part of the users, of which it gets a file of its own where that is not all of them."""
    users, prepared = f"/scenarios/{users_file(subscribers)}", list[str]()
    if part.subscribers != subscribers:
        own = f"/run/sipp/users-{part.port}.csv"
        prepared = ["sh", "-c", _SOME_USERS, "users", users, str(part.first + 2), str(part.subscribers), own]
        users = own
    return [
        *prepared,
        *_bare(f"{folder}{scenario.file}", call_id, part.port),
        *(("-default_behaviors", "all,-abortunexp") if scenario.ignores_unexpected else ()),
        *("-inf", users, "-r", f"{part.rate_per_s:.10g}"),
    ]


def _bare(file: str, call_id: str, port: int) -> list[str]:
    return [
        *("sipp", TARGET, "-i", "127.0.0.1", "-p", str(port), "-nostdin", "-f", str(SCREEN_SECONDS)),
        *("-sf", f"/scenarios/{file}", "-cid_str", f"{call_id}%u"),
    ]


def _seconds(moment: str) -> float:
    """A date, a time of day, and the same as seconds, with tabs between."""
    return float(moment.rpartition("\t")[2])
