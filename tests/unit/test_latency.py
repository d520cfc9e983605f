"""What a slice's log says: which lines are latency lines, which are of a leg, which are errors, and which are torn."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import latency, testing
from lab.latency import Pooled, pooled, tally
from lab.model import LegRule, Tally
from lab.testing import latency_line

PREFIX = "1.3-"  # of the Call-IDs of the first round's third slice
LEGS = (LegRule("challenge", "REGISTER", 1), LegRule("authenticated", "REGISTER", 2))
CALL = f"{PREFIX}17"
CHALLENGE = latency_line(CALL, 118, cseq=1)
AUTHENTICATED = latency_line(CALL, 380, cseq=2)
# Printed by Kamailio 6.0.1 as it came up.
START_UP = b"""\
 0(1) INFO: <core> [core/sctp_core.c:74]: sctp_core_check_support(): SCTP API not enabled
Listening on 
             udp: 127.0.0.1:5060
Aliases: 

 0(1) INFO: <core> [main.c:3321]: main(): current open file limits [soft/hard]: [20000/20000]
"""  # noqa: W291


def count(*lines: bytes) -> Tally:
    """The tally of these lines."""
    return tally(b"".join(lines), PREFIX, LEGS)


def test_a_line_of_kamailio_6_0_1() -> None:
    """The line as that release prints it, field by field."""
    line = (
        " 2(8) INFO: |1|1 REGISTER|1.3-17|"
        "<core> [core/receive.c:533]: receive_msg(): request-route executed in: 118 usec"
    )
    found = latency.LINE.fullmatch(line)
    assert found
    assert found.groupdict() == {
        "worker_pid": "8",
        "cseq": "1",
        "method": "REGISTER",
        "call_id": "1.3-17",
        "usec": "118",
    }


def test_legs_by_method_and_cseq() -> None:
    """Each leg has its messages and their time; a request of no declared leg is another one's."""
    bye = latency_line(CALL, 9, cseq=3, method="BYE")
    found = count(START_UP, CHALLENGE, AUTHENTICATED, latency_line(f"{PREFIX}18", 82), bye)
    assert found.messages == {"challenge": 2, "authenticated": 1, "other": 1}
    assert found.usec_sum == {"challenge": 200, "authenticated": 380, "other": 9}
    assert (found.retransmissions, found.foreign, found.errors, found.malformed) == (0, 0, (), ())
    assert found.lines == 4


def test_an_empty_log_has_nothing() -> None:
    """Zero of everything, for every leg."""
    found = count()
    assert found.messages == {"challenge": 0, "authenticated": 0, "other": 0}
    assert found.lines == 0
    assert not found.malformed


def test_a_log_may_come_as_a_file() -> None:
    """A log on disk is read line by line and gives the same."""
    assert tally(io.BytesIO(CHALLENGE + AUTHENTICATED), PREFIX, LEGS) == count(CHALLENGE, AUTHENTICATED)


def test_a_retransmission_is_a_repeat_of_call_id_cseq_and_method() -> None:
    """Only the first counts for its leg, whatever worker got the second and however long it took."""
    again = latency_line(CALL, 40, cseq=1, worker=8)
    options = latency_line(CALL, 5, cseq=1, method="OPTIONS")
    found = count(CHALLENGE, AUTHENTICATED, again, options, options)
    assert found.retransmissions == 2
    assert found.messages == {"challenge": 1, "authenticated": 1, "other": 1}
    assert found.usec_sum["challenge"] == 118
    assert found.lines == 5


# A scenario that sends the same request several times itself: the 2018 page's, in which each comes thrice.
ON_PURPOSE = (
    LegRule("first", "REGISTER", 1),
    LegRule("second", "REGISTER", 1, order=2),
    LegRule("third", "REGISTER", 1, order=3),
    LegRule("bye", "BYE", 1),
)


@pytest.mark.parametrize(
    ("times", "legs", "retransmissions"),
    [
        (1, {"first": 1}, 0),
        (3, {"first": 1, "second": 1, "third": 1}, 0),
        (4, {"first": 1, "second": 1, "third": 1}, 1),
        (300, {"first": 1, "second": 1, "third": 1}, 297),
    ],
)
@pytest.mark.parametrize("call", [CALL, f"{PREFIX}x"], ids=["numbered", "otherwise"])
def test_what_a_scenario_repeats_itself_is_no_retransmission(
    call: str, times: int, legs: dict[str, int], retransmissions: int
) -> None:
    """The first, the second and the third of a call are a leg each; one more is sent again by the transport."""
    log = [latency_line(call, 10 * number) for number in range(1, times + 1)]
    found = tally(log, PREFIX, ON_PURPOSE)
    assert found.messages == {"first": 0, "second": 0, "third": 0, "bye": 0, "other": 0} | legs
    assert found.usec_sum["third"] == (30 if times > 2 else 0)
    assert (found.retransmissions, found.lines) == (retransmissions, times)


def test_the_order_of_a_request_is_that_within_its_call() -> None:
    """Calls run beside each other; what one has sent is not counted for another, nor one method for another."""
    bye = latency_line(CALL, 5, method="BYE")
    other = latency_line(f"{PREFIX}18", 7)
    found = tally([CHALLENGE, other, bye, CHALLENGE, bye, other], PREFIX, ON_PURPOSE)
    assert found.messages == {"first": 2, "second": 2, "third": 0, "bye": 1, "other": 0}
    assert found.retransmissions == 1


def test_a_gap_in_the_declared_order_is_of_no_leg() -> None:
    """Only the third is a leg: the two before it are sent on purpose all the same."""
    rules = (LegRule("third", "REGISTER", 1, order=3),)
    found = tally([CHALLENGE] * 4, PREFIX, rules)
    assert (found.messages, found.retransmissions) == ({"third": 1, "other": 2}, 1)


def test_several_requests_may_be_one_leg() -> None:
    """Its name stands once, and its messages are those of all of them."""
    rules = (LegRule("register", "REGISTER", 1), LegRule("register", "REGISTER", 2))
    assert latency.leg_names(rules) == ("register", "other")
    assert tally(CHALLENGE + AUTHENTICATED, PREFIX, rules).messages == {"register": 2, "other": 0}


def test_calls_of_another_slice_are_foreign() -> None:
    """A late request of an earlier slice is counted, and no more; a name that only begins alike is another name."""
    found = count(CHALLENGE, latency_line("1.2-9", 70), latency_line("1.30-1", 70))
    assert found.foreign == 2
    assert sum(found.messages.values()) == 1
    assert found.lines == 3


@pytest.mark.parametrize("level", ["ALERT", "BUG", "CRITICAL", "ERROR", ""])
def test_errors_are_kept_with_their_text(level: str) -> None:
    """Everything that Kamailio calls an error or worse (one level of its has an empty name)."""
    line = f" 2(8) {level}: |1|1 REGISTER|{CALL}|<script>: it failed"
    assert count(line.encode() + b"\n", CHALLENGE).errors == (line,)


@pytest.mark.parametrize("level", ["WARNING", "NOTICE", "INFO", "DEBUG"])
def test_other_levels_are_no_errors(level: str) -> None:
    """Nor does the word in a text make one."""
    assert not count(f" 2(8) {level}: <script>: ERROR: is only a word here\n".encode()).errors


def test_an_error_is_seen_behind_a_text_without_a_newline() -> None:
    """A script that logs without a newline glues the next line to its own."""
    line = b" 2(8) NOTICE: <script>: no newline 2(8) ERROR: <core> [core/receive.c:391]: receive_msg(): failed"
    assert count(line + b"\n").errors == (line.decode(),)


def test_errors_of_a_start() -> None:
    """A start has no slice: only its error lines matter."""
    error = b" 0(1) ERROR: db_mysql [km_my_con.c:200]: db_mysql_new_connection(): driver error: no server"
    assert latency.tally(START_UP + error + b"\n", "1.1-", ()).errors == (error.decode(),)


def test_of_a_flood_of_errors_the_first_are_kept_and_all_are_counted() -> None:
    """Nobody reads more, and memory is not for a log of gigabytes."""
    flood = (b" 1(7) ERROR: <script>: number %d\n" % number for number in range(latency.LINES_KEPT + 7))
    found = latency.tally(flood, "1.1-", ())
    assert found.error_count == latency.LINES_KEPT + 7
    assert len(found.errors) == latency.LINES_KEPT
    assert found.errors[0].endswith("number 0")


def test_a_line_without_an_end_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log may be one line of gigabytes."""
    monkeypatch.setattr(latency, "LONGEST_BYTES", 1000)
    place = tmp_path / "log"
    place.write_bytes(CHALLENGE + b"x" * 10_500 + b"\n" + AUTHENTICATED)
    with place.open("rb") as log:
        found = latency.tally(log, PREFIX, LEGS)
    assert found.lines == 2
    assert found.malformed_count == 10  # the last piece has an end
    assert all(len(line) <= 1000 for line in found.malformed)


def test_two_workers_in_one_line_are_torn_and_told() -> None:
    """What one wrote into the other's line makes two lines that fit nothing: both are kept, neither is counted."""
    half = len(CHALLENGE) // 2
    found = count(CHALLENGE[:half] + AUTHENTICATED + CHALLENGE[half:])
    assert len(found.malformed) == 2
    assert found.lines == 0


@pytest.mark.parametrize(
    "line",
    [
        b" 1(7) INFO: <core> [core/receive.c:533]: receive_msg(): request-route executed in: 37 usec\n",
        CHALLENGE.replace(b"|1|", b"|2|"),
        CHALLENGE.replace(b"1 REGISTER", b"<null>"),
        CHALLENGE.replace(CALL.encode(), b""),
        CHALLENGE.replace(CALL.encode(), b"with|delimiter"),
        CHALLENGE.replace(b"118 usec", b"118"),
        CHALLENGE.replace(b"118", b""),
        b" 2(8) NOTICE: <script>: no newline" + CHALLENGE,
        CHALLENGE.rstrip() + CHALLENGE,
    ],
)
def test_a_latency_line_that_does_not_fit_is_never_passed_over(line: bytes) -> None:
    """Without a prefix (Kamailio leaves it out where it exceeds 1 kB), with another one, torn or glued."""
    found = count(line)
    assert found.malformed == (line.decode().rstrip(),)
    assert found.lines == 0


def test_a_last_line_that_broke_off_is_told() -> None:
    """A full disk leaves half a line; without the marker in it nothing else would show."""
    found = count(CHALLENGE, AUTHENTICATED[:40])
    assert found.malformed == (AUTHENTICATED[:40].decode(),)
    assert found.messages["challenge"] == 1


def test_a_last_line_that_only_lacks_its_newline_counts() -> None:
    """The figure is all there."""
    found = count(CHALLENGE, AUTHENTICATED.rstrip())
    assert found.messages == {"challenge": 1, "authenticated": 1, "other": 0}
    assert not found.malformed


def test_bytes_that_are_no_utf8_stay_apart() -> None:
    """A Call-ID may hold any byte: it is shown escaped, and two that differ in such a byte are two."""
    lines = [CHALLENGE.replace(CALL.encode(), CALL.encode() + odd) for odd in (b"\xff", b"\xfe", b"\xff")]
    found = count(*lines, b" 2(8) ERROR: <script>: \xfc\n")
    assert found.messages["challenge"] == 2
    assert found.retransmissions == 1
    assert found.errors == (r" 2(8) ERROR: <script>: \xfc",)


def test_a_clock_set_back_gives_a_negative_time() -> None:
    """Kamailio prints the difference of two readings of the wall clock, and so do we."""
    assert count(CHALLENGE.replace(b"118", b"-2000000")).usec_sum["challenge"] == -2_000_000


# --- the 2018 page's figures --------------------------------------------------------------------------------------

# Our own form of the page's program; the start values are the page's, and they show in the results.
AWK = r"""
BEGIN { min = 1000000; max = 0; cnt = 0; sum = 0; avg = 0 }
/request-route executed/ {
    cnt += 1; sum += $(NF-1)
    if (min > $(NF-1)) min = $(NF-1)
    if (max < $(NF-1)) max = $(NF-1)
}
END { if (cnt) avg = sum / cnt; print cnt, sum, min, max, avg }
"""
# Printed by that program under gawk 5.2.1.
RECORDED = [
    ([], "0 0 1000000 0 0"),
    ([85], "1 85 85 85 85"),
    ([50, 300], "2 350 50 300 175"),
    ([1, 2, 2], "3 5 1 2 1.66667"),
    ([17, 18, 18, 18, 18, 18, 18], "7 125 17 18 17.8571"),
    ([99999, 100000, 100000], "3 299999 99999 100000 99999.7"),
    ([123456, 123457], "2 246913 123456 123457 123456"),
    ([1234567, 1234567], "2 2469134 1000000 1234567 1234567"),
    ([1234567, 1234568], "2 2469135 1000000 1234568 1.23457e+06"),
    ([4294967295, 1], "2 4294967296 1 4294967295 2147483648"),
    ([2147483647, 2147483647, 2147483646], "3 6442450940 1000000 2147483647 2.14748e+09"),
    ([-5, 3], "2 -2 -5 3 -1"),
]
ALSO_MAWK = 8  # further on the sums exceed 2**31, which mawk prints otherwise


def figures(printed: str) -> Pooled:
    """What awk printed, as numbers."""
    cnt, total, least, most, avg = printed.split()
    return Pooled(int(cnt), int(total), int(least), int(most), float(avg))


@pytest.mark.parametrize(("values", "printed"), RECORDED)
def test_pooled_is_what_gawk_prints(values: list[int], printed: str) -> None:
    """To the digit: integers in full, a mean in six digits, and the start values where nothing replaced them."""
    assert pooled(values) == figures(printed)


@pytest.mark.parametrize(
    ("cnt", "total", "least", "most", "avg"),
    [(63157, 4748289, 21, 2028, 75.1823), (62420, 3697635, 17, 2144, 59.238), (61850, 4466376, 23, 2110, 72.213)],
)
def test_pooled_of_runs_as_on_the_page(cnt: int, total: int, least: int, most: int, avg: float) -> None:
    """Runs with the count, sum and extremes of three of the page's have the page's averages."""
    rest, extra = divmod(total - least - most, cnt - 2)
    values = [least, most] + [rest] * (cnt - 2 - extra) + [rest + 1] * extra
    assert pooled(values) == Pooled(cnt, total, least, most, avg)


@pytest.mark.skipif(not shutil.which("mawk"), reason="mawk is not installed")
@pytest.mark.parametrize(("values", "printed"), RECORDED[:ALSO_MAWK])
def test_pooled_against_a_real_awk(values: list[int], printed: str, tmp_path: Path) -> None:
    """The recorded figures come from this very program, over latency lines."""
    log = tmp_path / "kamailio.log"
    log.write_bytes(START_UP + b"".join(latency_line(CALL, usec) for usec in values))
    done = subprocess.run(["mawk", AWK, log], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == printed


def test_the_order_of_a_calls_requests_is_that_of_its_lines() -> None:
    """Of the last call; errors between them are none, and what is no leg is told as such."""
    log = b"".join(
        (
            testing.latency_line("probe-1", 10, method="OPTIONS"),
            testing.latency_line("setup-1", 10),
            b" 7(31) ERROR: something\n",
            testing.latency_line("setup-1", 20, cseq=2),
        )
    )
    assert latency.order(log, testing.SCENARIO.legs) == ("challenge", "authenticated")
    assert latency.order(testing.latency_line("setup-1", 20, cseq=7), testing.SCENARIO.legs) == ("other",)
