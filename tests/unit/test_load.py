"""One slice of traffic: what SIPp is told, and what its statistics file says afterwards."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab import load, testing
from lab.errors import Exit, TestbedError
from lab.latency import tally
from lab.model import LegRule, Plan, Scenario, SippOutcome, SlicePlan, Specimen
from lab.override import VOLUME

RECORDED = Path(__file__).parent / "data" / "sipp.csv"  # SIPp 3.7.3: 600 calls at 400 a second
PLAN = testing.plan(calls=600, rate_per_s=400)
PIECE = PLAN.rounds[0].slices[4]
(PART,) = load.of_slice(PLAN, PIECE)  # all of it: there is one SIPp


def told(command: list[str]) -> dict[str, str]:
    """Options of a command line with what follows each; '' for a switch."""
    pairs = zip(command, [*command[1:], "-"], strict=True)
    return {option: "" if value.startswith("-") else value for option, value in pairs if option.startswith("-")}


def whole(plan: Plan, piece: SlicePlan) -> list[str]:
    """The command line of a slice's only SIPp."""
    (part,) = load.of_slice(plan, piece)
    return load.command(plan, piece, part)


def of_calls(calls: int, rate_per_s: int) -> SlicePlan:
    """A slice of another size."""
    return replace(PIECE, calls=calls, rate_per_s=rate_per_s)


def test_sipp_sends_what_the_slice_plans() -> None:
    """So many calls, at that rate, of the plan's scenario and the run's users."""
    command = whole(PLAN, PIECE)
    asked = told(command)
    assert command[:2] == ["sipp", "127.0.0.1:5060"]
    assert (asked["-r"], asked["-m"]) == ("400", "600")
    assert (asked["-sf"], asked["-inf"]) == ("/scenarios/register.xml", "/scenarios/users-10.csv")


def test_a_call_tells_its_slice_apart() -> None:
    """By the beginning of its Call-ID, which is how Kamailio's log is counted."""
    prefix, counter = told(whole(PLAN, PIECE))["-cid_str"].split("%")
    assert counter == "u"  # SIPp's number of the call
    log = [testing.latency_line(f"{prefix}1", 50), testing.latency_line(f"{prefix}2", 50)]
    assert tally(log, PIECE.call_id_prefix, testing.SCENARIO.legs).messages["challenge"] == 2
    prefixes = [piece.call_id_prefix for planned in PLAN.rounds for piece in planned.slices]
    assert not [(one, two) for one in prefixes for two in prefixes if one != two and one.startswith(two)]


def test_no_call_is_shed() -> None:
    """SIPp silently drops what goes beyond its limit of calls at once, which is 3 seconds' worth unless told."""
    assert int(told(whole(PLAN, PIECE))["-l"]) > PIECE.calls


@pytest.mark.parametrize(("calls", "rate_per_s", "planned"), [(600, 400, 1.5), (1, 1000, 0.001), (60000, 100, 600)])
def test_sipp_gives_up_only_after_the_planned_time(calls: int, rate_per_s: int, planned: float) -> None:
    """A while later, and then with an exit code that says so."""
    asked = told(whole(PLAN, of_calls(calls, rate_per_s)))
    assert planned + 5 < float(asked["-timeout"].removesuffix("s")) < planned + 30
    assert "-timeout_error" in asked


def test_sipp_writes_into_the_log_volume() -> None:
    """Every second, and under names that no other slice has; each file has its name in the slice's folder."""
    asked = told(whole(PLAN, PIECE))
    written = [asked["-stf"], asked["-error_file"]]
    assert written == [f"{VOLUME}/{name}" for name in load.files(PIECE, PART)]
    assert list(load.files(PIECE, PART).values()) == ["sipp.csv", "sipp-errors.log"]
    assert asked["-fd"] == "1"
    assert not set(load.files(PIECE, PART)) & set(load.files(PLAN.rounds[0].slices[5], PART))


def test_nothing_is_traced_in_a_timed_slice() -> None:
    """Traces of messages take the generator's time; nor does SIPp wait for a keyboard."""
    asked = told(whole(PLAN, PIECE))
    assert {option for option in asked if option.startswith("-trace")} == {"-trace_stat", "-trace_err"}
    assert "-nostdin" in asked


@pytest.mark.parametrize(("observe", "traced"), [("log", False), ("colour", False), ("trace", True), ("page", True)])
def test_messages_are_traced_where_that_is_asked_for(observe: str, *, traced: bool) -> None:
    """Into the log volume, from which they go with the slice."""
    plan = replace(PLAN, cells=tuple(replace(cell, observe=observe) for cell in PLAN.cells))
    asked = told(whole(plan, PIECE))
    assert ("-trace_msg" in asked) is traced
    assert asked.get("-message_file") == (load.MESSAGES if traced else None)


def test_where_cells_take_turns_sipp_is_told_which_is_its_own() -> None:
    """By the scenario with a wait, and when the turn begins: in ms, from the begin of one cycle to the next."""
    plan = replace(PLAN, cells=PLAN.cells[:2], turn_msec=50)
    turns = [told(load.command(plan, PIECE, PART, turn)) for turn in (0, 1)]
    assert [asked["-key"] for asked in turns] == ["turn", "turn"]
    assert {asked["-sf"] for asked in turns} == {"/scenarios/turns/register.xml"}
    begins = [load.command(plan, PIECE, PART, turn) for turn in (0, 1)]
    assert [command[command.index("turn") + 1] for command in begins] == ["100", "150"]
    assert "-key" not in told(whole(PLAN, PIECE))


# --- before the slices, and otherwise than they ---------------------------------------------------------------------


def test_a_cell_plays_its_own_scenario() -> None:
    """By the file that its declaration names; the name of the file is no matter."""
    refresh = Scenario("refresh", (LegRule("a", "REGISTER", 1),), traffic="published/register.xml")
    cells = tuple(replace(cell, scenario="refresh") if cell.name == "lua" else cell for cell in PLAN.cells)
    plan = replace(PLAN, cells=cells, scenarios=(testing.SCENARIO, refresh))
    files = {piece.cell: told(whole(plan, piece))["-sf"] for piece in PLAN.rounds[0].slices}
    assert files.pop("lua") == "/scenarios/published/register.xml"
    assert set(files.values()) == {"/scenarios/register.xml"}


@pytest.mark.parametrize("calls", [1, 1000])
def test_what_precedes_the_slices_is_of_no_slice(calls: int) -> None:
    """So many calls at the planned rate, none of them shed, and no file of a slice is written."""
    asked = told(load.once(testing.SCENARIO, 12, load.parts(calls, 400, 12)[0]))
    assert (asked["-sf"], asked["-m"], asked["-r"]) == ("/scenarios/register.xml", str(calls), "400")
    assert asked["-inf"] == "/scenarios/users-12.csv"
    assert int(asked["-l"]) > calls
    assert calls / 400 + 5 < float(asked["-timeout"].removesuffix("s")) < calls / 400 + 30
    assert "-timeout_error" in asked
    assert [option for option in asked if option.startswith("-trace")] == []
    assert not [piece for piece in PLAN.rounds[0].slices if asked["-cid_str"].startswith(piece.call_id_prefix)]


def test_no_call_id_comes_twice_before_the_slices() -> None:
    """A registrar would take its CSeq for an old one."""
    prefixes = [told(load.once(testing.SCENARIO, 10, PART, time))["-cid_str"] for time in (1, 2, 3)]
    assert prefixes == ["setup-%u", "setup.2-%u", "setup.3-%u"]


def test_what_is_counted_comes_one_by_one() -> None:
    """The next call waits for the end of the one before, and nothing is sent twice: a request is one request."""
    asked = told(load.once(testing.SCENARIO, 12, load.parts(130, 1000, 12)[0], 2, one_by_one=True, slow=True))
    assert (asked["-l"], asked["-m"]) == ("1", "130")
    assert "-nr" in asked
    assert float(asked["-timeout"].removesuffix("s")) == load.COUNTED_PROBE_SECONDS + 130 * load.COUNTED_CALL_SECONDS
    quick = told(load.once(testing.SCENARIO, 12, load.parts(130, 1000, 12)[0], 2, one_by_one=True))
    assert "-nr" in quick
    assert float(quick["-timeout"].removesuffix("s")) < 20  # without valgrind: who is dead is told at once
    assert "-nr" in told(load.probe("lua", one_by_one=True))
    assert "-nr" not in told(load.probe("lua"))


def test_a_specimen_is_sent_as_it_was() -> None:
    """With a limit that sheds load, and for as long as it takes."""
    piece = of_calls(20_000, 4000)
    found = Specimen(call_limit=10_000, sipp_buffer_bytes=4194304)
    asked = told(whole(replace(PLAN, specimen=found), piece))
    assert asked["-l"] == "10000"
    assert asked["-buff_size"] == "4194304"
    assert float(asked["-timeout"].removesuffix("s")) == load.SPECIMEN_SECONDS
    assert load.call_limit(replace(PLAN, specimen=found), *load.of_slice(PLAN, piece)) == 10_000


@pytest.mark.parametrize(("ignores", "asked"), [(False, None), (True, "all,-abortunexp")])
def test_a_scenario_may_pass_over_what_it_does_not_expect(ignores: bool, asked: str | None) -> None:  # noqa: FBT001
    """SIPp's own way is to end the call, with a BYE."""
    scenario = replace(PLAN.scenario_of(PIECE.cell), ignores_unexpected=ignores)
    for command in (whole(replace(PLAN, scenarios=(scenario,)), PIECE), load.once(scenario, 10, PART)):
        assert told(command).get("-default_behaviors") == asked


def test_a_specimen_that_asks_for_nothing_is_sent_as_ours() -> None:
    """But for the time that it may take."""
    ours, theirs = (told(whole(plan, PIECE)) for plan in (PLAN, replace(PLAN, specimen=Specimen())))
    assert ours | {"-timeout": ""} == theirs | {"-timeout": ""}
    assert load.call_limit(PLAN, PART) == 601


def test_the_probe_is_one_request_of_no_slice() -> None:
    """Its log is the cell's own, so that no cell is proven by another's answer."""
    asked = told(load.probe("lua"))
    assert (asked["-sf"], asked["-m"]) == ("/scenarios/probe.xml", "1")
    assert asked["-log_file"] == load.probe_log("lua") != load.probe_log("native")
    assert not [piece for piece in PLAN.rounds[0].slices if asked["-cid_str"].startswith(piece.call_id_prefix)]


@pytest.mark.parametrize(
    ("log", "engine"),
    [
        ("engine python3\n", "python3"),
        ("2026-11-23 08:59:23\nengine lua\n", "lua"),
        ("", ""),
        ("engine \n", ""),
        ("my engine lua says hello\n", ""),
    ],
)
def test_the_marker_is_what_the_scenario_logged(log: str, engine: str) -> None:
    """On a line of its own; without one there is none."""
    assert load.marker(log) == engine


def test_the_outcome_of_a_real_slice() -> None:
    """Recorded: no call failed, and the achieved rate is a little below the offered one."""
    assert load.outcome(RECORDED, 601, 0) == SippOutcome(
        exit_code=0,
        created=600,
        successful=600,
        failed=0,
        unexpected=0,
        dead_calls=0,
        out_of_call=0,
        retransmissions=0,
        peak_calls=0,
        call_limit=601,
        elapsed_msec=1505,
        rate_per_s=398.671,
    )


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("TotalCallCreated", "created"),
        ("SuccessfulCall(C)", "successful"),
        ("FailedCall(C)", "failed"),
        ("FailedUnexpectedMessage(C)", "unexpected"),
        ("DeadCallMsgs(C)", "dead_calls"),
        ("OutOfCallMsgs(C)", "out_of_call"),
        ("Retransmissions(C)", "retransmissions"),
    ],
)
def test_each_count_is_its_cumulative_column(tmp_path: Path, column: str, field: str) -> None:
    """Of the last row; the columns of periods are not looked at."""
    head, *rows = [line.split(";") for line in RECORDED.read_text().splitlines()]
    rows[-1][head.index(column)] = "77"
    path = tmp_path / "sipp.csv"
    path.write_text("\n".join(";".join(row) for row in [head, *rows]))
    assert getattr(load.outcome(path, 601, 0), field) == 77


def test_the_peak_is_the_most_of_all_rows(tmp_path: Path) -> None:
    """In the last row there are no calls left."""
    head, *rows = [line.split(";") for line in RECORDED.read_text().splitlines()]
    for row, calls in zip(rows, ("0", "31", "12", "0"), strict=True):
        row[head.index("CurrentCall")] = calls
    path = tmp_path / "sipp.csv"
    path.write_text("\n".join(";".join(row) for row in [head, *rows]))
    assert load.outcome(path, 601, 0).peak_calls == 31


def test_a_row_that_broke_off_does_not_count(tmp_path: Path) -> None:
    """SIPp was killed while it wrote: the whole row before it is the last."""
    text = RECORDED.read_text().rstrip()
    path = tmp_path / "sipp.csv"
    path.write_text(text[: text.rindex(";600;0;0;600;") + len(";600;0;0;")])
    assert load.outcome(path, 601, -9).rate_per_s == 398.936


@pytest.mark.parametrize("content", [None, "", RECORDED.read_text().splitlines()[0]])
def test_sipp_that_never_began(tmp_path: Path, content: str | None) -> None:
    """No file or no row: an error with SIPp's own words, never a slice of zeros."""
    path = tmp_path / "sipp.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TestbedError, match=r"no statistics \(exit code 255\)") as caught:
        load.outcome(path, 601, 255, "Unable to load scenario")
    assert caught.value.exit_code == Exit.SETUP
    assert caught.value.detail == "Unable to load scenario"


def test_users_register_in_turn_with_their_own_credentials() -> None:
    """Ten by default; the password is the name."""
    first, *lines = load.users(12, "lab.invalid").splitlines()
    assert first == "SEQUENTIAL"
    assert len(lines) == 12
    assert lines[11] == "test11;lab.invalid;[authentication username=test11 password=test11]"


# --- several processes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("calls", "processes"), [(600, 1), (600, 2), (601, 3), (2, 3), (1, 9)])
def test_processes_share_calls_and_rate(calls: int, processes: int) -> None:
    """All of both, and nobody is started for nothing."""
    shared = load.parts(calls, 400, 50, processes)
    assert sum(part.calls for part in shared) == calls
    assert sum(part.rate_per_s for part in shared) == pytest.approx(400)
    assert min(part.calls for part in shared) > 0
    assert len({part.port for part in shared}) == len(shared) == min(calls, processes)


def test_a_process_has_subscribers_of_its_own() -> None:
    """The same ones in every slice, or a refresh would come from another contact; from the first that is asked for."""
    for first in (0, 6, 12):
        ranges = [range(part.first, part.first + part.subscribers) for part in load.parts(9, 9, 31, 3, first)]
        assert [users.stop for users in ranges] == [10, 20, 31]
        assert [users.start for users in ranges] == [first // 3, 10 + first // 3, 20 + first // 3]


def test_no_two_processes_have_a_call_id_in_common() -> None:
    """Numbers of calls begin with the process's digit, whatever their length."""
    ids = [f"{part.digit}{number}" for part in load.parts(4000, 400, 50, 4) for number in range(1, part.calls + 1)]
    assert len(set(ids)) == len(ids) == 4000
    assert [part.digit for part in load.parts(600, 400, 10)] == [""]


def test_a_process_with_some_users_writes_a_file_of_them(tmp_path: Path) -> None:
    """With the line that says how they are taken; the shell that does it becomes SIPp."""
    users = tmp_path / "users.csv"
    users.write_text(load.users(31, "lab.invalid"))
    (_, second, _) = load.parts(9, 9, 31, 3, 6)
    shell, sipp = (
        (command := load.once(testing.SCENARIO, 31, second))[: command.index("sipp")],
        command[command.index("sipp") :],
    )
    own = tmp_path / "own.csv"
    there = {f"/scenarios/{load.users_file(31)}": str(users), told(sipp)["-inf"]: str(own)}
    subprocess.run([*(there.get(part, part) for part in shell), "true"], check=True)
    first, *lines = own.read_text().splitlines()
    assert first == "SEQUENTIAL"
    assert [line.partition(";")[0] for line in lines] == [f"test{number}" for number in range(12, 20)]


def test_what_processes_did_is_one_outcome() -> None:
    """Counts and rates are summed; it lasted as long as the longest, and any exit code counts."""
    one = load.outcome(RECORDED, 601, 0)
    whole = load.together([one, replace(one, exit_code=1, failed=3, elapsed_msec=one.elapsed_msec + 20)])
    assert (whole.created, whole.failed, whole.exit_code) == (1200, 3, 1)
    assert whole.rate_per_s == pytest.approx(2 * one.rate_per_s)
    assert whole.elapsed_msec == one.elapsed_msec + 20
    assert load.together([one]) == one
