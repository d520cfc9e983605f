"""What a reader sees: words and digits of the view, and how they stand on a terminal or in a pipe."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab import store
from lab.cores import Layout
from lab.figures import LegComparison, LegFigures, Steadiness
from lab.latency import Pooled, pooled
from lab.model import Cell, LegRule, Limits, Plan, Role, RoundPlan, Scenario, SlicePlan
from lab.report import terminal, view
from lab.summary import CellSummary, Summary

FOLDER = Path("results/20180101T000000Z-quick")
PUBLISHED = Path(__file__).parents[2] / "results" / "published-2018" / "published-5.2.0.csv"

SCENARIO = Scenario("register", (LegRule("challenge", "REGISTER", 1), LegRule("authenticated", "REGISTER", 2)))
PLAN = Plan(
    experiment="quick",
    hash="cafe",
    cells=tuple(
        Cell(name, name.removesuffix("-aa"), "6.0.1", baseline="native") for name in ("native", "lua", "native-aa")
    ),
    aa_cell="native-aa",
    rounds=tuple(
        RoundPlan(
            number,
            tuple(
                SlicePlan(number, 3 * block + place, cell, block == 0, calls=400, rate_per_s=200)
                for block in range(3)
                for place, cell in enumerate(("native", "lua", "native-aa"), start=1)
            ),
        )
        for number in (1, 2, 3, 4)
    ),
    repeats=2,
    scenarios=(SCENARIO,),
    limits=Limits(),
)
CHALLENGE = LegFigures(3200, 52.34, 50.0, 41.0, 71.5, 98.0, 1203)
AUTHENTICATED = LegFigures(3200, 310.06, 301.5, 250.0, 402.0, 633.0, 4021)
NO_FIGURES = LegFigures(0, None, None, None, None, None, None)
CELL = CellSummary(
    engine="native",
    kamailio="6.0.1",
    routing="parity",
    database="mysql",
    scenario="register",
    baseline="native",
    legs={"challenge": CHALLENGE, "authenticated": AUTHENTICATED},
    whole="registration",
    call_usec=362.4,
    retransmissions=0,
    failed_calls_in_all=0,
    retransmissions_in_all=0,
    cpu_usec_per_call=498.7,
    pooled=Pooled(6400, 1_159_680, 38, 4021, 181.2),
    slices_valid=8,
    slices_invalid=0,
    slices_missing=0,
    slices_repeated=0,
    reasons=(),
)
NOTHING = replace(
    CELL,
    legs={"challenge": NO_FIGURES, "authenticated": NO_FIGURES},
    call_usec=None,
    cpu_usec_per_call=None,
    pooled=pooled([]),
)


def compared(cell: str, leg: str, ratio: float, low: float, high: float) -> LegComparison:
    """One row of four rounds."""
    outside = not low <= 1 <= high
    holm = None if cell.endswith("-aa") else 0.0312
    return LegComparison(cell, "native", leg, ratio, low, high, 0.0223, 4, 0.0156, holm, excludes_one=outside)


SUMMARY = Summary(
    schema_version=2,
    run=FOLDER.name,
    experiment="quick",
    plan_hash="cafe",
    valid=True,
    specimen=False,
    aa_cell="native-aa",
    cells={"native": CELL, "lua": replace(CELL, engine="lua"), "native-aa": CELL},
    broken={},
    comparisons=(
        compared("lua", "challenge", 1.8642, 1.8201, 1.9093),
        compared("lua", "authenticated", 1.1209, 1.0908, 1.1518),
        compared("lua", "registration", 1.2282, 1.2001, 1.2569),
        compared("native-aa", "challenge", 1.0021, 0.9803, 1.0244),
        compared("native-aa", "authenticated", 0.9969, 0.9841, 1.0099),
        compared("native-aa", "registration", 0.9977, 0.9853, 1.0102),
    ),
    rounds=tuple(Steadiness(number, 1.004, 0.98, 1.03, steady=True) for number in (1, 2, 3, 4)),
    start_seconds=2.04,
    driver_share=0.1849,
    notes=(),
)


def show(summary: Summary, width: int | None = 80, plan: Plan = PLAN) -> str:
    """The report as plain text."""
    return terminal.render(view.build(summary, plan, FOLDER), width=width)


def with_cell(name: str, cell: CellSummary) -> Summary:
    """The summary with another cell in place of one."""
    return replace(SUMMARY, cells={**SUMMARY.cells, name: cell})


def invalid(cell: str, *reasons: str) -> Summary:
    """The summary with a cell that has a slice less, for these reasons."""
    spoilt = replace(SUMMARY.cells[cell], slices_valid=7, slices_invalid=1, reasons=reasons)
    return replace(with_cell(cell, spoilt), valid=False)


def test_the_report_of_a_sound_run() -> None:
    """The whole screen, at 80 columns."""
    assert show(SUMMARY) == (
        "quick: 20180101T000000Z-quick\n"
        "4 rounds, in each 2 timed slices a cell: 400 registrations at 200/s; 1 worker\n"
        "valid: every planned slice\n"
        "\n"
        "native (Kamailio 6.0.1, the baseline)\n"
        "  usec            count    mean  median     p10     p95     p99     max\n"
        "  challenge        3200    52.3      50      41      72      98    1203\n"
        "  authenticated    3200   310.1     302     250     402     633    4021\n"
        "  registration            362.4\n"
        "  failed calls: 0; retransmissions: 0 (of all 8 slices that ran)\n"
        "  CPU time per registration: 499 usec\n"
        "  slices, warm-up included: 8 valid\n"
        "  pooled as in 2018: cnt: 6400 sum: 1159680 min: 38 max: 4021 avg: 181.2\n"
        "\n"
        "lua (Kamailio 6.0.1)\n"
        "  usec            count    mean  median     p10     p95     p99     max\n"
        "  challenge        3200    52.3      50      41      72      98    1203\n"
        "  authenticated    3200   310.1     302     250     402     633    4021\n"
        "  registration            362.4\n"
        "  lua / native    ratio   95 % interval  detectable  rounds  p (Holm)\n"
        "  challenge       1.864  1.820 to 1.909       2.2 %       4     0.031\n"
        "  authenticated   1.121  1.091 to 1.152       2.2 %       4     0.031\n"
        "  registration    1.228  1.200 to 1.257       2.2 %       4     0.031\n"
        "  failed calls: 0; retransmissions: 0 (of all 8 slices that ran)\n"
        "  CPU time per registration: 499 usec\n"
        "  slices, warm-up included: 8 valid\n"
        "  pooled as in 2018: cnt: 6400 sum: 1159680 min: 38 max: 4021 avg: 181.2\n"
        "\n"
        "A/A: native-aa / native, the same engine twice\n"
        "                  ratio   95 % interval  detectable  rounds       p\n"
        "  challenge       1.002  0.980 to 1.024       2.2 %       4   0.016\n"
        "  authenticated   0.997  0.984 to 1.010       2.2 %       4   0.016\n"
        "  registration    0.998  0.985 to 1.010       2.2 %       4   0.016\n"
        "\n"
        "Remarks\n"
        "  a fresh start of all cells took 2.0 s at most; from the first slice of a round\n"
        "  to its last the driver added 18% to the load's own time\n"
        "  pooled figures mix all requests, though the legs differ several times over:\n"
        "  they are there to be set beside the 2018 page, not to compare engines\n"
        "\n"
        "Results\n"
        "  results/20180101T000000Z-quick/\n"
        "  summary.json: these figures, for programs\n"
        "  frames/: every message, slice and start, as Parquet\n"
        "  evidence/: what was seen, as it was seen\n"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Even with a million messages, times of seconds and long reasons."""
    big = LegFigures(10_000_000, 98765.4, 98765.0, 98765.0, 1234567.0, 2345678.0, 29_345_678)
    loud = replace(invalid("lua", "SIPp: 3 of 400 calls failed; " * 9).cells["lua"], legs={"challenge": big})
    shown = show(replace(with_cell("lua", loud), valid=False), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "29345678" in shown


def test_in_a_pipe_no_line_is_broken_and_nothing_is_coloured() -> None:
    """So that grep finds a reason whole."""
    reason = "r01-s005-lua: " + "Kamailio: 39 requests received (core.rcv_requests), 40 latency lines; " * 5 + "end"
    shown = show(invalid("lua", reason), width=None)
    assert f"  {reason}\n" in shown
    assert "\x1b" not in shown
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_who_ran_where_is_told(tmp_path: Path) -> None:
    """In one line below the design, what the machine could not give among the remarks; an old run does not tell."""
    everyone = dict.fromkeys((Role.MYSQL, Role.SIPP, Role.DRIVER), (0, 1))
    layout = Layout("auto", {Role.KAMAILIO: (2, 3), **everyone}, idle=(6, 7), notes=("CPU 6: not for us",))
    store.dump(layout, tmp_path / "evidence" / "layout.json")
    shown = terminal.render(view.build(SUMMARY, PLAN, tmp_path))
    assert "\nCPUs, auto: Kamailio on 2-3; database, SIPp, driver on 0-1; 6-7 left idle\n" in shown
    assert "  CPUs: CPU 6: not for us\n" in shown
    assert "CPUs, " not in show(SUMMARY)


def test_colour_is_there_only_when_asked_for() -> None:
    """The verdict is green or red; the words are the same."""
    page = view.build(SUMMARY, PLAN, FOLDER)
    assert "\x1b[32mvalid: every planned slice" in terminal.render(page, width=80, colour=True)
    assert "\x1b" not in terminal.render(page, width=80)


def test_an_invalid_run_says_so_first_and_gives_each_reason() -> None:
    """Verdict above the figures, reasons below them."""
    shown = show(invalid("lua", "r01-s005-lua: SIPp: 3 of 400 calls failed"))
    assert shown.splitlines()[2] == "INVALID: 1 planned slice invalid; figures are of valid slices"
    assert "  slices, warm-up included: 7 valid, 1 invalid\n" in shown
    assert "Failed checks\n  r01-s005-lua: SIPp: 3 of 400 calls failed\n" in shown


def test_a_repeat_is_told_though_the_run_is_valid() -> None:
    """Nothing is wrong, but the first attempt is no secret."""
    again = replace(SUMMARY.cells["lua"], slices_repeated=1, reasons=("r01-s005-lua: SIPp: exit code 1",))
    shown = show(with_cell("lua", again))
    assert "valid: every planned slice\n" in shown
    assert "  slices, warm-up included: 8 valid; 1 repeat\n" in shown
    assert "Failed checks\n  r01-s005-lua: SIPp: exit code 1\n" in shown


def test_an_interrupted_run_tells_what_was_not_run() -> None:
    """Neither valid nor full of invalid slices."""
    short = replace(SUMMARY.cells["lua"], slices_valid=5, slices_missing=3)
    shown = show(replace(with_cell("lua", short), valid=False, notes=("the run was interrupted",)))
    assert "INVALID: 3 not run; figures are of valid slices\n" in shown
    assert "  slices, warm-up included: 5 valid, 3 not run\n" in shown
    assert "Remarks\n  the run was interrupted\n" in shown


def test_what_befell_several_slices_of_a_round_is_said_once() -> None:
    """As of those that shared their seconds; another round is another matter."""
    shown = show(invalid("lua", *(f"r0{number}-s00{place}-lua: torn" for number in (2, 1) for place in (1, 2, 3))))
    lines = ["  r01-s001-lua and 2 more of its round: torn", "  r02-s001-lua and 2 more of its round: torn"]
    assert "\n".join(["Failed checks", *lines]) in shown


def test_a_thousand_reasons_do_not_fill_the_screen() -> None:
    """The file has them all."""
    shown = show(invalid("lua", *(f"slice {number}: SIPp: exit code 1" for number in range(1000))))
    assert shown.count("exit code 1") == view.MOST_REASONS
    assert f"  and {1000 - view.MOST_REASONS} more, in summary.json\n" in shown


def test_a_broken_cell_has_its_reason_in_place_of_figures() -> None:
    """No dashes that look like a result."""
    broken = replace(invalid("lua", "start of round 1: no marker"), broken={"lua": "start of round 1: no marker"})
    blocks = show(broken).split("\n\n")
    assert blocks[2] == "lua (Kamailio 6.0.1)\n  broken: start of round 1: no marker"


def test_a_run_with_a_cell_that_is_known_to_be_broken_is_valid() -> None:
    """The verdict says of what."""
    known = replace(with_cell("lua", NOTHING), broken={"lua": "none of its 12 timed slices is valid; known: it leaks"})
    shown = show(known)
    assert shown.splitlines()[2] == "valid: every planned slice of the cells that are not broken"
    assert "  broken: none of its 12 timed slices is valid; known: it leaks\n" in shown


@pytest.mark.parametrize(
    ("valid", "verdict"),
    [
        (True, "a specimen: shown as found, with the checks that failed"),
        (False, "INVALID: it broke off, or a start is not proven"),
    ],
)
def test_a_specimen_is_never_called_valid(valid: bool, verdict: str) -> None:  # noqa: FBT001
    """It is no result; whether it came to its end is all that can be said."""
    found = replace(invalid("lua", "r01-s005-lua: SIPp: 3 of 400 calls failed"), specimen=True, valid=valid)
    shown = show(found)
    assert shown.splitlines()[2] == verdict
    assert "r01-s005-lua: SIPp: 3 of 400 calls failed" in shown


# --- other experiments ----------------------------------------------------------------------------------------------

KEEPALIVE = Scenario("options", (LegRule("options", "OPTIONS", 1),), whole="keepalive")


def kept_alive(*names: str) -> tuple[Summary, Plan]:
    """The run with another scenario in some cells: one leg, which is all of a call."""
    cell = replace(CELL, scenario="options", legs={"options": CHALLENGE}, whole="keepalive", call_usec=52.34)
    cells = {name: replace(cell, engine=own.engine) if name in names else own for name, own in SUMMARY.cells.items()}
    planned = tuple(replace(own, scenario="options") if own.name in names else own for own in PLAN.cells)
    return replace(SUMMARY, cells=cells), replace(PLAN, cells=planned, scenarios=(SCENARIO, KEEPALIVE))


def test_calls_are_called_as_their_scenario_says() -> None:
    """And a call of one leg needs no sum of its legs."""
    summary, plan = kept_alive("native", "lua", "native-aa")
    shown = show(summary, plan=plan)
    assert "2 timed slices a cell: 400 keepalives at 200/s; 1 worker\n" in shown
    assert "  options          3200    52.3      50      41      72      98    1203\n" in shown
    assert "  CPU time per keepalive: 499 usec\n" in shown
    assert "registration" not in shown.partition("lua / native")[0]
    assert "\n  keepalive " not in shown


def test_where_scenarios_differ_they_are_calls() -> None:
    """Each cell has its own word, all of them together a common one."""
    summary, plan = kept_alive("lua")
    shown = show(summary, plan=plan)
    assert "2 timed slices a cell: 400 calls at 200/s; 1 worker\n" in shown
    assert "CPU time per registration: 499 usec" in shown
    assert "CPU time per keepalive: 499 usec" in shown


def test_each_cell_is_shown_beside_its_own_baseline() -> None:
    """A cell of another name says which engine it is; a baseline that is compared itself says so, too."""
    cells = {
        "native-6.0.1": replace(CELL, baseline="native-6.0.1"),
        "native-5.6.3": replace(CELL, kamailio="5.6.3", baseline="native-6.0.1"),
        "lua-5.6.3": replace(CELL, engine="lua", kamailio="5.6.3", baseline="native-5.6.3"),
        "native-6.0.1-aa": replace(CELL, baseline="native-6.0.1"),
    }
    rows = tuple(
        replace(compared(cell, "challenge", 1.5, 1.4, 1.6), baseline=cells[cell].baseline)
        for cell in ("native-5.6.3", "lua-5.6.3", "native-6.0.1-aa")
    )
    shown = show(replace(SUMMARY, cells=cells, comparisons=rows, aa_cell="native-6.0.1-aa"))
    assert "native-6.0.1 (native, Kamailio 6.0.1, the baseline)\n" in shown
    assert "native-5.6.3 (native, Kamailio 5.6.3)\n" in shown
    for title in ("native-5.6.3 / native-6.0.1", "lua-5.6.3 / native-5.6.3"):
        assert re.search(rf"^  {title} +ratio ", shown, re.MULTILINE)
    assert "A/A: native-6.0.1-aa / native-6.0.1, the same engine twice\n" in shown


def test_without_an_aa_cell_there_is_no_such_block() -> None:
    """Whatever became of it: the report must not fail over it."""
    cells = {name: cell for name, cell in SUMMARY.cells.items() if name != "native-aa"}
    rows = tuple(row for row in SUMMARY.comparisons if row.cell != "native-aa")
    assert "A/A" not in show(replace(SUMMARY, cells=cells, comparisons=rows))


# --- what is not known ----------------------------------------------------------------------------------------------


def test_what_is_not_known_is_a_dash() -> None:
    """Never a zero."""
    shown = show(with_cell("native", NOTHING))
    assert "  challenge           0       -       -       -       -       -       -\n" in shown
    assert "  registration                -\n" in shown
    assert "CPU time per registration: - usec\n" in shown


def test_a_cell_without_latency_lines_has_neither_legs_nor_a_pool() -> None:
    """What it has is shown: CPU time, calls and slices."""
    text = show(with_cell("lua", replace(CELL, engine="lua", legs={}, call_usec=None, pooled=None)))
    block = text.partition("lua (Kamailio")[2].partition("\n\n")[0]
    assert "CPU time per registration: 499 usec" in block
    assert "challenge   " not in block.partition("lua / native")[0]
    assert "pooled" not in block


def test_without_a_second_round_the_missing_interval_is_explained() -> None:
    """A ratio alone must not pass for a result."""
    alone = tuple(
        replace(row, ci_low=None, ci_high=None, mde=None, p=None, p_holm=None, n_rounds=1)
        for row in SUMMARY.comparisons
    )
    shown = show(replace(SUMMARY, comparisons=alone))
    assert "  challenge       1.864              -           -       1         -\n" in shown
    assert "no interval: that takes two rounds or more\n" in shown


def test_an_aa_cell_that_excludes_1_is_remarked_but_fails_nothing() -> None:
    """It happens by chance, too."""
    odd = compared("native-aa", "challenge", 1.05, 1.01, 1.09)
    rows = tuple(odd if (row.cell, row.leg) == (odd.cell, odd.leg) else row for row in SUMMARY.comparisons)
    page = view.build(replace(SUMMARY, comparisons=rows), PLAN, FOLDER)
    assert page.valid
    assert [remark for remark in page.remarks if "challenge leg excludes 1" in remark]
    assert not [remark for remark in view.build(SUMMARY, PLAN, FOLDER).remarks if "A/A" in remark]


def test_an_unsteady_round_is_remarked() -> None:
    """With the size of it."""
    rounds = (Steadiness(1, 1.084, 1.05, 1.12, steady=False), Steadiness(2, None, None, None, steady=None))
    page = view.build(replace(SUMMARY, rounds=rounds), PLAN, FOLDER)
    assert "round 1 was not steady: its second half took +8.4% against its first" in page.remarks
    assert not [remark for remark in page.remarks if "round 2" in remark]


@pytest.mark.parametrize(("p", "shown"), [(0.0004, "<0.001"), (0.001, "0.001"), (1.0, "1.000"), (None, "-")])
def test_a_tiny_probability_is_not_shown_as_zero(p: float | None, shown: str) -> None:
    """Three digits are all that a few rounds support."""
    rows = tuple(replace(row, p=p, p_holm=p) for row in SUMMARY.comparisons)
    assert view.build(replace(SUMMARY, comparisons=rows), PLAN, FOLDER).cells[1].ratios[0].p == shown


def published() -> list[dict[str, str]]:
    """The 2018 page's table."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row['engine']}-{row['run']}")
def test_pooled_figures_come_out_as_the_2018_page_printed_them(row: dict[str, str]) -> None:
    """Times with the published count, sum, minimum and maximum give the published average, digit by digit."""
    cnt, total, low, high = (int(row[name]) for name in ("cnt", "sum_usec", "min_usec", "max_usec"))
    share, more = divmod(total - low - high, cnt - 2)
    times = [low, high] + [share + 1] * more + [share] * (cnt - 2 - more)
    shown = show(with_cell("native", replace(CELL, pooled=pooled(times))))
    printed = f"cnt: {cnt} sum: {total} min: {low} max: {high} avg: {row['avg_usec']}"
    assert f"  pooled as in 2018: {printed}\n" in shown
