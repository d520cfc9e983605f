"""What makes a slice or a start invalid: a sound one, spoilt in one place at a time."""

from dataclasses import replace

import pytest

from lab import testing
from lab.model import Cell, LegRule, Limits, Role, Sample, Scenario, SlicePlan, SliceRecord, StartRecord, Worker
from lab.sampling import RECEIVED
from lab.testing import SCENARIO
from lab.validity import judge, judge_start

CALLS = 1000
PIECE = SlicePlan(round=1, position=3, cell="lua", warmup=False, calls=CALLS, rate_per_s=200)
SECOND = 1_000_000_000  # nanoseconds; the slice takes five of them
LIMITS = Limits()

SOUND = testing.record(PIECE, testing.slice_log(PIECE), engine="lua")
BEFORE, AFTER, SIPP, TALLY = SOUND.before, SOUND.after, SOUND.sipp, SOUND.tally
PROCESSES = AFTER.processes
WORKER = testing.WORKERS[0]

START = testing.start(1, Cell("lua", "lua", "6.0.1"))
NATIVE = testing.start(1, Cell("native", "native", "6.0.1"))


def statistics(**changed: int) -> dict[str, int]:
    """The counters after a sound slice, some of them changed: core__rcv_requests=5."""
    return {**AFTER.statistics, **{name.replace("__", "."): value for name, value in changed.items()}}


def without(pid: int) -> dict[int, str]:
    """The process list after one has died."""
    return {known: name for known, name in PROCESSES.items() if known != pid}


def test_a_slice_that_reconciles_is_valid() -> None:
    """No reason, and that is the whole verdict."""
    assert judge(SOUND, LIMITS, SCENARIO) == ()


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ({"exit_code": 1}, "SIPp: exit code 1"),
        ({"created": 998}, "SIPp: 998 calls created, 1000 planned"),
        ({"successful": 997}, "SIPp: 997 of 1000 calls succeeded"),
        ({"failed": 3}, "SIPp: 3 of 1000 calls failed"),
        ({"unexpected": 1}, "SIPp: unexpected messages: 1"),
        ({"dead_calls": 2}, "SIPp: messages for calls that had ended: 2"),
        ({"out_of_call": 1}, "SIPp: messages of no call: 1"),
        ({"retransmissions": 4}, "SIPp: 4 retransmissions, 0 allowed"),
        ({"rate_per_s": 196.0}, "SIPp: 196.0 calls/s achieved, 200 offered (-2.0%, 1.0% allowed)"),
        ({"rate_per_s": 203.0}, "SIPp: 203.0 calls/s achieved, 200 offered (+1.5%, 1.0% allowed)"),
        ({"peak_calls": 10_000}, "SIPp: 10000 calls at once reached the limit of 10000: arrivals were shed"),
    ],
)
def test_the_load_must_have_been_as_planned(spoilt: dict[str, int], reason: str) -> None:
    """SIPp's exit code alone proves nothing; each of its counters is looked at."""
    assert judge(replace(SOUND, sipp=replace(SIPP, **spoilt)), LIMITS, SCENARIO) == (reason,)


def test_every_leg_must_have_one_latency_line_a_call() -> None:
    """A lost line makes the leg and the received requests disagree: both are said."""
    tally = replace(TALLY, messages={"challenge": CALLS, "authenticated": 990})
    assert judge(replace(SOUND, tally=tally), LIMITS, SCENARIO) == (
        "Kamailio: 990 latency lines of the authenticated leg, 1000 planned",
        "Kamailio: 2000 requests received (core.rcv_requests), 1990 latency lines",
    )


def test_a_leg_without_any_line_is_noticed() -> None:
    """An engine whose script throws answers nothing and looks fast."""
    reasons = judge(replace(SOUND, tally=replace(TALLY, messages={"challenge": CALLS})), LIMITS, SCENARIO)
    assert "Kamailio: 0 latency lines of the authenticated leg, 1000 planned" in reasons


def test_lines_of_another_slices_calls_are_noticed() -> None:
    """Two slices in one log would mix their numbers."""
    tally = replace(TALLY, foreign=1)
    after = replace(AFTER, statistics=statistics(core__rcv_requests=2001))
    assert judge(replace(SOUND, tally=tally, after=after), LIMITS, SCENARIO) == (
        "Kamailio: 1 latency line of another slice's calls",
    )


def test_errors_in_the_log_are_counted_and_the_first_is_shown() -> None:
    """The first is where the trouble began; the log has the rest."""
    tally = replace(TALLY, errors=("ERROR: db_mysql: lost", "CRITICAL: <core>: out of memory"))
    assert judge(replace(SOUND, tally=tally), LIMITS, SCENARIO) == (
        "Kamailio: 2 error lines in the log, first: ERROR: db_mysql: lost",
    )


def test_torn_latency_lines_are_counted_and_the_first_is_shown() -> None:
    """Two workers that wrote into each other leave lines that count nowhere."""
    tally = replace(TALLY, malformed=("7(31) INFO: |1|2 REG 7(30) INFO:",))
    assert judge(replace(SOUND, tally=tally), LIMITS, SCENARIO) == (
        "Kamailio: 1 torn latency line in the log, first: 7(31) INFO: |1|2 REG 7(30) INFO:",
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"core__rcv_requests": 1999}, "Kamailio: 1999 requests received (core.rcv_requests), 2000 latency lines"),
        ({"sl__401_replies": 999}, "Kamailio: sl.401_replies grew by 999, 1000 planned"),
        ({"sl__200_replies": 1001}, "Kamailio: sl.200_replies grew by 1001, 1000 planned"),
        ({"registrar__accepted_regs": 990}, "Kamailio: registrar.accepted_regs grew by 990, 1000 planned"),
        ({"registrar__rejected_regs": 1}, "Kamailio: registrar.rejected_regs grew by 1, 0 planned"),
    ],
)
def test_kamailios_counters_must_agree_with_the_calls(changed: dict[str, int], reason: str) -> None:
    """The counters are a witness apart from the log and from SIPp."""
    after = replace(AFTER, statistics=statistics(**changed))
    assert judge(replace(SOUND, after=after), LIMITS, SCENARIO) == (reason,)


SILENT = testing.unlogged(SOUND)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ({}, ""),
        ({"core__rcv_requests": 1999}, "Kamailio: 1999 requests received (core.rcv_requests), 2000 planned"),
        ({"core__rcv_requests": 2001}, "Kamailio: 2001 requests received (core.rcv_requests), 2000 planned"),
        ({"sl__401_replies": 999}, "Kamailio: sl.401_replies grew by 999, 1000 planned"),
    ],
)
def test_without_latency_lines_counters_speak_for_the_slice(spoilt: dict[str, int], reason: str) -> None:
    """As many requests as the calls have legs, and the effects of each call."""
    after = replace(AFTER, statistics=statistics(**spoilt))
    assert judge(replace(SILENT, after=after), LIMITS, SCENARIO) == ((reason,) if reason else ())


def test_without_latency_lines_what_sipp_sent_again_may_have_come() -> None:
    """Where that is tolerated, up to as many as it has sent."""
    again = replace(SILENT, sipp=replace(SIPP, retransmissions=2))
    for received, valid in ((2000, True), (2002, True), (2003, False)):
        after = replace(AFTER, statistics=statistics(core__rcv_requests=received))
        assert (judge(replace(again, after=after), Limits(retransmissions=2), SCENARIO) == ()) is valid


def test_a_line_of_a_log_that_is_switched_off_is_noticed() -> None:
    """It was on, then, or another slice's came late; torn lines and errors are looked for all the same."""
    tally = replace(SILENT.tally, foreign=3, malformed=("7(31) INFO: |1|",), errors=("ERROR: lost",))
    assert judge(replace(SILENT, tally=tally), LIMITS, SCENARIO) == (
        "Kamailio: 3 latency lines, though they are switched off",
        "Kamailio: 1 torn latency line in the log, first: 7(31) INFO: |1|",
        "Kamailio: 1 error line in the log, first: ERROR: lost",
    )


def test_only_the_difference_over_the_slice_counts() -> None:
    """Counters began long before: at Kamailio's start, or at the machine's."""

    def later(edge: Sample) -> Sample:
        return replace(
            edge,
            statistics={name: value + 2001 for name, value in edge.statistics.items()},
            udp_rcvbuf_errors=edge.udp_rcvbuf_errors + 7,
            socket_drops=edge.socket_drops + 7,
            mysql_aborted=edge.mysql_aborted + 7,
            throttled=(edge.throttled or 0) + 7,
            steal_ticks=(edge.steal_ticks or 0) + 700,
            ran_usec=(edge.ran_usec or 0) + 700,
            cpu_usec=(edge.cpu_usec or 0) + 700,
        )

    assert judge(replace(SOUND, before=later(BEFORE), after=later(AFTER)), LIMITS, SCENARIO) == ()


@pytest.mark.parametrize("name", sorted({RECEIVED, *SCENARIO.counters}))
def test_a_counter_that_was_not_read_is_a_reason(name: str) -> None:
    """Without it nothing reconciles: not measured must not pass for zero."""
    kept = {key: value for key, value in AFTER.statistics.items() if key != name}
    assert judge(replace(SOUND, after=replace(AFTER, statistics=kept)), LIMITS, SCENARIO) == (
        f"Kamailio: counter {name} not read",
    )


def test_tolerated_retransmissions_may_be_answered_twice() -> None:
    """With two allowed, two more requests, lines and replies still reconcile; a third is too much."""
    after = replace(AFTER, statistics=statistics(core__rcv_requests=2002, sl__401_replies=1001, sl__200_replies=1002))
    twice = replace(SOUND, tally=replace(TALLY, retransmissions=2), sipp=replace(SIPP, retransmissions=2), after=after)
    assert judge(twice, Limits(retransmissions=2), SCENARIO) == ()
    assert judge(twice, Limits(retransmissions=1), SCENARIO) == (
        "SIPp: 2 retransmissions, 1 allowed",
        "Kamailio: 2 retransmissions received, 1 allowed",
    )


def test_what_no_call_may_do_a_retransmission_may_not_either() -> None:
    """A counter that calls leave alone stays as it is, however many requests came twice."""
    after = replace(AFTER, statistics=statistics(core__rcv_requests=2001, registrar__rejected_regs=1))
    twice = replace(SOUND, tally=replace(TALLY, retransmissions=1), after=after)
    assert judge(twice, Limits(retransmissions=1), SCENARIO) == (
        "Kamailio: registrar.rejected_regs grew by 1, 0 planned",
    )


def test_a_request_that_the_scenario_does_not_declare_is_noticed() -> None:
    """Whatever sent it: it took Kamailio's time, and belongs to no figure."""
    tally = replace(TALLY, messages=TALLY.messages | {"other": 2})
    after = replace(AFTER, statistics=statistics(core__rcv_requests=2002))
    assert judge(replace(SOUND, tally=tally, after=after), LIMITS, SCENARIO) == (
        "Kamailio: 2 latency lines of no leg that the scenario declares",
    )


# --- another scenario -----------------------------------------------------------------------------------------------

# A call as in invite.xml: four legs, and counters that grow by more than one with each call, or not at all.
INVITE = Scenario(
    "invite",
    (
        LegRule("challenge", "INVITE", 1),
        LegRule("invite", "INVITE", 2),
        LegRule("ack", "ACK", 2),
        LegRule("bye", "BYE", 3),
    ),
    whole="call",
    counters={"sl.407_replies": 1, "tmx.UAS_transactions": 2, "tmx.rpl_relayed": 3, "registrar.accepted_regs": 0},
)


def called(**changed: int) -> SliceRecord:
    """A slice of so many calls, all of which went well but for some counts."""
    grown = {name: times * CALLS for name, times in INVITE.counters.items()}
    received = {"core.rcv_requests": 4 * CALLS}
    messages = dict.fromkeys(INVITE.leg_names, CALLS) | {"other": 0}
    counts = grown | received | {name.replace("__", "."): value for name, value in changed.items() if "__" in name}
    messages |= {name: value for name, value in changed.items() if "__" not in name}
    return replace(
        SOUND,
        before=replace(BEFORE, statistics=dict.fromkeys(counts, 0)),
        after=replace(AFTER, statistics=counts),
        tally=replace(TALLY, messages=messages, usec_sum=dict.fromkeys(messages, CALLS)),
    )


def test_a_call_has_the_legs_and_the_counters_of_its_scenario() -> None:
    """And none of a registration's: no reply 401 is asked for."""
    assert judge(called(), LIMITS, INVITE) == ()
    assert judge(called(), LIMITS, SCENARIO) != ()


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        (
            {"bye": 999},
            (
                "Kamailio: 999 latency lines of the bye leg, 1000 planned",
                "Kamailio: 4000 requests received (core.rcv_requests), 3999 latency lines",
            ),
        ),
        ({"tmx__UAS_transactions": 1999}, ("Kamailio: tmx.UAS_transactions grew by 1999, 2000 planned",)),
        ({"tmx__rpl_relayed": 3001}, ("Kamailio: tmx.rpl_relayed grew by 3001, 3000 planned",)),
        ({"registrar__accepted_regs": 1}, ("Kamailio: registrar.accepted_regs grew by 1, 0 planned",)),
    ],
)
def test_each_of_its_legs_and_counters_must_agree(changed: dict[str, int], reasons: tuple[str, ...]) -> None:
    """By the numbers that the scenario declares."""
    assert judge(called(**changed), LIMITS, INVITE) == reasons


def test_a_counter_that_a_scenario_declares_and_nobody_knows() -> None:
    """A misspelt name must not pass for one that reconciles."""
    misspelt = replace(INVITE, counters={"tmx.UAS_transaction": 2})
    assert judge(called(), LIMITS, misspelt) == ("Kamailio: counter tmx.UAS_transaction not read",)


def test_a_leg_of_several_requests_has_as_many_lines() -> None:
    """Two rules of one name: two lines a call."""
    both = replace(SCENARIO, legs=tuple(replace(rule, leg="register") for rule in SCENARIO.legs))
    once = replace(SOUND, tally=replace(TALLY, messages={"register": 2 * CALLS}))
    assert judge(once, LIMITS, both) == ()
    lost = replace(SOUND, tally=replace(TALLY, messages={"register": 2 * CALLS - 1}))
    assert "Kamailio: 1999 latency lines of the register leg, 2000 planned" in judge(lost, LIMITS, both)


# --- processes, machine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processes", "reasons"),
    [
        (without(WORKER), (f"Kamailio: process {WORKER} ({PROCESSES[WORKER]}) is gone",)),
        ({**PROCESSES, 9: "timer"}, ("Kamailio: process 9 (timer) is new",)),
        ({**PROCESSES, 1: "other"}, ("Kamailio: process 1 was 'main process - attendant' and is 'other'",)),
        ({}, ("Kamailio: process list not read",)),
    ],
)
def test_no_process_may_die_or_appear(processes: dict[int, str], reasons: tuple[str, ...]) -> None:
    """A dead worker leaves its calls to the others, which then look slow."""
    assert judge(replace(SOUND, after=replace(AFTER, processes=processes)), LIMITS, SCENARIO) == reasons


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mysql_aborted": 1}, "database: 1 aborted connection"),
        ({"udp_rcvbuf_errors": 2}, "kernel: 2 UDP messages lost to full receive buffers (RcvbufErrors)"),
        ({"socket_drops": 1}, "kernel: 1 message dropped at Kamailio's sockets"),
        ({"throttled": 4}, "kernel: Kamailio's CPU quota ran out in 4 periods"),
        ({"steal_ticks": 30}, "kernel: 6.0% of Kamailio's CPU time stolen by the host, 5.0% allowed"),
        (
            {"workers": {WORKER: Worker(SECOND, 600_000_000)}},
            "kernel: of the time in which they could run, workers waited for a CPU 37.5%, 30.0% allowed",
        ),
        (
            {"wall_nsec": BEFORE.wall_nsec + 5 * SECOND - 2_500_000},
            "kernel: the clock moved by 2500 usec against time, 1000 allowed",
        ),
        ({"workers": {}}, "kernel: run delay of Kamailio's workers not read"),
        ({"monotonic_nsec": BEFORE.monotonic_nsec}, "kernel: the slice's edges are 0 nsec apart"),
    ],
)
def test_the_machine_must_not_have_disturbed_the_slice(changed: dict[str, object], reason: str) -> None:
    """Each disturbance alone is enough."""
    after = replace(AFTER, **changed)  # type: ignore[arg-type]  # one field each, of the field's type
    assert judge(replace(SOUND, after=after), LIMITS, SCENARIO) == (reason,)


def taken(seconds: float, **changed: object) -> SliceRecord:
    """A slice in which something else ran on Kamailio's CPU for so many seconds."""
    after = replace(AFTER, ran_usec=(AFTER.ran_usec or 0) + round(1e6 * seconds), **changed)  # type: ignore[arg-type]
    return replace(SOUND, after=after)


def test_strangers_on_kamailios_cpus_are_noticed() -> None:
    """By what ran on its CPUs and was not Kamailio: here for 0.3 s of 5 s, and nobody says who it was."""
    assert judge(taken(0.1), LIMITS, SCENARIO) == ()
    assert judge(taken(0.3), LIMITS, SCENARIO) == (
        "kernel: 6.0% of Kamailio's CPU time taken by strangers, 5.0% allowed",
    )
    assert judge(taken(0.3), Limits(foreign_cpu_share=0.07), SCENARIO) == ()


def test_roles_on_the_same_cpus_are_no_strangers() -> None:
    """In a layout that has them share, their time is taken off; in any other they were elsewhere."""
    sipp = taken(0.3, sipp_cpu_usec=(AFTER.sipp_cpu_usec or 0) + 250_000)
    assert judge(sipp, LIMITS, SCENARIO) != ()
    assert judge(replace(sipp, beside_kamailio=(Role.SIPP,)), LIMITS, SCENARIO) == ()


def test_roles_on_some_of_the_same_cpus_are_not_told_apart() -> None:
    """Nobody knows which of their time was there: not measured, and no reason."""
    assert judge(replace(taken(0.3), beside_kamailio=None), LIMITS, SCENARIO) == ()


def test_cells_that_take_turns_are_no_strangers_to_each_other() -> None:
    """Their Kamailios have the same CPUs. Where one's time is not known, nor is what strangers took."""
    assert judge(replace(taken(0.3), neighbours_cpu_usec=250_000), LIMITS, SCENARIO) == ()
    assert judge(replace(taken(0.3), neighbours_cpu_usec=None), LIMITS, SCENARIO) == ()


def test_a_call_may_have_waited_for_its_turn() -> None:
    """So the last one ended later, and SIPp's rate over all of its time is lower; but no more than that explains."""
    waited = replace(SOUND, longest_wait_msec=100)  # 5 s of calls in up to 5.1 s
    for rate, valid in [(200.0, True), (196.0, True), (193.0, False), (203.0, False)]:
        sipp = replace(waited.sipp, rate_per_s=rate)
        assert (judge(replace(waited, sipp=sipp), LIMITS, SCENARIO) == ()) is valid


def test_shares_are_of_all_the_cpus_that_kamailio_has() -> None:
    """What is 6 % of one CPU is 3 % of two."""
    stolen = replace(SOUND, after=replace(AFTER, steal_ticks=30), kamailio_cpus=2)
    assert judge(stolen, LIMITS, SCENARIO) == ()


def test_what_the_machine_cannot_tell_is_no_failure() -> None:
    """Some kernels show no throttling or no steal; latency and counts stand without, and the summary says it."""
    blind = replace(SOUND, after=replace(AFTER, cpu_usec=None, throttled=None, steal_ticks=None, ran_usec=None))
    assert judge(blind, LIMITS, SCENARIO) == ()


@pytest.mark.parametrize("start", [START, NATIVE])
def test_a_start_whose_engine_is_proven_is_valid(start: StartRecord) -> None:
    """Lua with its script, native with its request_route."""
    assert judge_start(start) == ()


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (replace(START, marker="native"), "engine proof: the probe's reply came marked 'native', 'lua' expected"),
        (replace(START, marker=""), "engine proof: the probe's reply came without a marker, 'lua' expected"),
        (
            replace(START, engine_word="native"),
            "engine proof: Kamailio says that its engine is 'native', 'lua' expected",
        ),
        (
            replace(START, request_route=True),
            "engine proof: the loaded configuration has a request_route, so lua is not asked",
        ),
        (replace(START, script=""), "engine proof: Kamailio names no script of lua"),
        (
            replace(NATIVE, request_route=False),
            "engine proof: the loaded configuration has no request_route, native needs one",
        ),
        (replace(START, processes={}), "Kamailio: process list not read"),
        (
            replace(START, cpus_allowed={**testing.CPUS, "sipp": ""}),
            "kernel: the CPUs that sipp got were not read",
        ),
        (
            replace(START, cpus_allowed={**testing.CPUS, "kamailio": "0 0-3"}),
            "kernel: kamailio may run on CPUs 0-3, 0 asked",
        ),
    ],
)
def test_an_unproven_start_says_what_is_missing(start: StartRecord, reason: str) -> None:
    """Marker, Kamailio's own word, configuration, processes and CPUs each have a say."""
    assert judge_start(start) == (reason,)


def test_a_list_of_cpus_may_be_written_in_two_ways() -> None:
    """The kernel writes ranges, people write lists."""
    assert judge_start(replace(START, cpus_asked={"kamailio": "0,1,2"}, cpus_allowed={"kamailio": "0-2"})) == ()


def test_bindings_are_judged_once_the_round_has_ended() -> None:
    """Not yet counted at the start is fine; once expected, they must be there."""
    assert judge_start(replace(START, bindings=10, bindings_expected=10)) == ()
    assert judge_start(replace(START, bindings=9, bindings_expected=10)) == (
        "database: 9 bindings in location, 10 expected",
    )
    assert judge_start(replace(START, bindings=None, bindings_expected=10)) == (
        "database: bindings in location not counted, 10 expected",
    )


@pytest.mark.parametrize(
    ("code", "known", "reasons"),
    [
        (None, 0, ()),
        (0, 0, ()),
        (139, 0, ("Kamailio: ended with exit code 139",)),
        (139, 139, ()),
        (0, 139, ()),
        (134, 139, ("Kamailio: ended with exit code 134",)),
    ],
)
def test_kamailio_ends_well_or_as_it_is_known_to(code: int | None, known: int, reasons: tuple[str, ...]) -> None:
    """An engine whose own end fails on a release, after all is done, is known by that very exit code."""
    assert judge_start(replace(START, exit_code=code, exit_code_known=known)) == reasons
