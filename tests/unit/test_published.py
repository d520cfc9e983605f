"""The 2018 page's table beside a run: counted as the page counts, and each of its claims judged by what was seen."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lab import frames, latency, published, stats, summary, testing
from lab.errors import BadInputError
from lab.model import Cell, LegRule, Plan, RoundPlan, Scenario, SlicePlan, SliceRecord, Specimen
from lab.published import Run
from lab.report import published as page
from tests.pages import report
from tests.unit import machine

CALLS = 20
AS_RUN = Scenario(
    "as-run",
    (
        LegRule("challenge", "REGISTER", 1, 1),
        LegRule("second_challenge", "REGISTER", 1, 2),
        LegRule("refused_bye", "BYE", 2),
    ),
    whole="call",
    bindings=False,
)
CORRECTED = replace(testing.SCENARIO, name="corrected", counters={})
CELLS = tuple(
    Cell(f"{engine}-{form}", engine, "5.4.4", "published", scenario=form, baseline=f"native-{form}")
    for form in ("corrected", "as-run")
    for engine in ("native", "lua")
)
AA = replace(CELLS[0], name="native-corrected-aa")
PLAN = Plan(
    experiment="published-2018",
    hash="0" * 64,
    cells=(*CELLS, AA),
    aa_cell=AA.name,
    rounds=tuple(
        RoundPlan(
            number,
            tuple(
                SlicePlan(number, position, cell.name, warmup=False, calls=CALLS, rate_per_s=4000)
                for position, cell in enumerate((*CELLS, AA), start=1)
            ),
        )
        for number in (1, 2, 3)
    ),
    repeats=0,
    scenarios=(CORRECTED, AS_RUN),
    limits=testing.plan().limits,
    specimen=Specimen(order="in turn", call_limit=10_000),
)
# usec of each leg; lua takes twice as long, and rounds differ a little.
COST = {"challenge": 20, "second_challenge": 30, "refused_bye": 10, "authenticated": 400}


def logged(plan: Plan, piece: SlicePlan, repeats: int = 0) -> bytes:
    """All requests of a slice, and some of the first call's once more."""
    scenario = plan.scenario_of(piece.cell)
    factor = 2 if plan.cell(piece.cell).engine == "lua" else 1
    lines = [
        testing.latency_line(
            f"{piece.call_id_prefix}{call}",
            COST[rule.leg] * factor + piece.round,
            cseq=rule.cseq,
            method=rule.method,
        )
        for call in range(1, CALLS + 1)
        for rule in scenario.legs
    ]
    return b"".join(lines + lines[:1] * repeats)


def recorded(plan: Plan, piece: SlicePlan, log: bytes, repeats: int) -> SliceRecord:
    """What the driver wrote down: nobody is accepted unless the traffic is correct."""
    base = testing.record(piece, b"")
    scenario = plan.scenario_of(piece.cell)
    tally = latency.tally(log.splitlines(keepends=True), piece.call_id_prefix, scenario.legs)
    accepted = CALLS if scenario is CORRECTED else 0
    counters = {**base.before.statistics, "registrar.accepted_regs": accepted, "sl.401_replies": tally.lines}
    return replace(
        base,
        engine=plan.cell(piece.cell).engine,
        tally=tally,
        after=replace(base.after, statistics=counters),
        sipp=replace(base.sipp, retransmissions=repeats),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three rounds; in the second one of each as-run cell's requests came twice."""
    pieces = [piece for planned in PLAN.rounds for piece in planned.slices]
    made = []
    for piece in pieces:
        repeats = int(piece.round == 2 and "as-run" in piece.cell)
        log = logged(PLAN, piece, repeats)
        made.append((recorded(PLAN, piece, log, repeats), log))
    folder = testing.run(tmp_path, PLAN, made)
    frames.write(folder)
    return folder


def of(runs: Iterable[Run], form: str, engine: str) -> list[Run]:
    """Runs of one form and engine."""
    return [each for each in runs if (each.form, each.engine) == (form, engine)]


def test_the_pages_nineteen_rows_stand_beside_ours(run: Path) -> None:
    """Untouched, and the A/A cell is not among ours."""
    found = published.read(run)
    assert len(found.of("published")) == 19
    assert of(found.runs, "published", "native")[0].figures == latency.Pooled(63157, 4748289, 21, 2028, 75.1823)
    assert len(found.of("corrected")) == len(found.of("as-run")) == 2 * 3


def test_a_run_is_counted_as_the_page_counts(run: Path) -> None:
    """Every line in one heap, retransmissions included; beside it what the page does not have."""
    first, second, _ = of(published.read(run).runs, "as-run", "native")
    assert (first.figures.cnt, first.figures.min, first.figures.max) == (3 * CALLS, 11, 31)
    assert first.figures.sum == CALLS * (21 + 31 + 11)
    assert (second.figures.cnt, second.retransmissions) == (3 * CALLS + 1, 1)
    assert first.methods == {"REGISTER": 2.0, "BYE": 1.0}
    assert first.replies == {"401": 3.0}
    assert first.authenticated == 0
    assert first.shortest == ("refused_bye",)
    assert first.longest == ("second_challenge",)
    assert (first.lost, first.torn, first.failed_checks, first.saturated) == (0, 0, 0, False)


def test_ratios_are_of_the_same_form(run: Path) -> None:
    """Ours in pairs over rounds; the page's, whose runs have no partners, by Fieller."""
    found = {(ratio.engine, ratio.form): ratio.found for ratio in published.read(run).ratios}
    assert found["lua", "as-run"].ratio == pytest.approx(2, abs=0.1)
    assert found["lua", "as-run"].n_rounds == 3
    assert found["lua", "published"].ratio == pytest.approx(0.998, abs=0.0005)


def test_the_legs_are_those_of_the_correct_registration(run: Path) -> None:
    """In usec, an engine a row."""
    legs = published.read(run).legs
    assert legs == {
        "native": {"challenge": 22.0, "authenticated": 402.0},
        "lua": {"challenge": 42, "authenticated": 802},
    }


def test_each_claim_of_the_page_has_its_verdict(run: Path) -> None:
    """With the figure that it stands on."""
    found = {claim.says: claim for claim in published.read(run).claims}
    verdicts = {says: claim.verdict for says, claim in found.items()}
    registration = "each registration is challenged, and resent with the authorization header"
    assert verdicts[f"{registration} (as-run)"] == "does not hold"
    assert found[f"{registration} (as-run)"].figure == ("0 registrations accepted in 120 calls, of which 120 succeeded")
    assert verdicts[f"{registration} (corrected)"] == "holds"
    assert verdicts["the minimum is the first REGISTER, challenged (as-run)"] == "does not hold"
    assert verdicts["the minimum is the first REGISTER, challenged (corrected)"] == "holds"
    assert verdicts["the maximum is the authenticated REGISTER (corrected)"] == "holds"
    absent = "there is no authenticated request"
    assert absent in found["the maximum is the authenticated REGISTER (as-run)"].figure
    assert not any(absent in claim.figure for says, claim in found.items() if "minimum" in says or "corrected" in says)
    assert verdicts["native and Lua take more or less the same time (as-run)"] == "does not hold"
    # 0.907 to 1.100, to three digits: just beyond the margin that its own runs can resolve.
    assert verdicts["native and Lua take more or less the same time (published)"] == "can't be told"


def test_times_in_queues_tell_no_engines_apart(run: Path) -> None:
    """Where datagrams were lost, or workers waited for a CPU most of the time, the machine was measured."""
    found = published.read(run)
    runs = [replace(each, lost=5) if each.form == "as-run" else each for each in found.runs]
    claim = next(each for each in published.claims(runs, found.ratios) if "same time (as-run)" in each.says)
    assert claim.verdict == "can't be told"
    assert "queues" in claim.figure


def test_what_was_not_read_is_no_zero(run: Path) -> None:
    """Neither in a verdict nor in a table."""
    found = published.read(run)
    runs = tuple(replace(each, authenticated=None) if each.form == "as-run" else each for each in found.runs)
    claims = {claim.says: claim.verdict for claim in published.claims(runs, found.ratios)}
    assert (
        claims["each registration is challenged, and resent with the authorization header (as-run)"] == "can't be told"
    )
    assert "| not read " in page.markdown(replace(found, runs=runs))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"authenticated": CALLS + 3}, "holds"),  # some were sent, and accepted, twice
        ({"authenticated": 0}, "does not hold"),
        ({"authenticated": CALLS - 1, "successful": CALLS - 1}, "does not hold"),
        ({"authenticated": CALLS - 1, "successful": CALLS - 1, "lost": 5}, "can't be told"),
        ({"authenticated": CALLS + 3, "successful": CALLS - 1, "lost": 5}, "can't be told"),
    ],
)
def test_registrations_are_counted_with_what_a_full_machine_does_to_them(
    run: Path, changes: dict[str, int], verdict: str
) -> None:
    """It loses some and has others sent twice, which refutes nothing; none accepted at all does."""
    found = published.read(run)
    runs = [replace(each, **changes) if each.form == "corrected" else each for each in found.runs]  # type: ignore[arg-type]
    claim = next(
        one for one in published.claims(runs, found.ratios) if "resent with" in one.says and "corr" in one.says
    )
    assert claim.verdict == verdict


def test_the_longest_time_of_a_full_machine_tells_nothing(run: Path) -> None:
    """It is the scheduler's choice; where nothing was ever authenticated the claim is wrong all the same."""
    found = published.read(run)
    claims = published.claims([replace(each, run_delay=0.9) for each in found.runs], found.ratios)
    verdicts = {claim.says: claim.verdict for claim in claims}
    assert verdicts["the maximum is the authenticated REGISTER (corrected)"] == "can't be told"
    assert verdicts["the maximum is the authenticated REGISTER (as-run)"] == "does not hold"


def test_an_excess_that_is_no_retransmission_is_told(run: Path) -> None:
    """By SIPp's own count: three requests a call are the base; the page's count needs 60000 of them."""
    found = published.read(run)
    strange = [replace(each, figures=replace(each.figures, cnt=3 * CALLS + 5)) for each in found.runs]
    claim = next(claim for claim in published.claims(strange, found.ratios) if "60000" in claim.says)
    assert claim.verdict == "does not hold"
    claim = next(claim for claim in found.claims if "60000" in claim.says)
    assert claim.verdict == "holds"
    assert f"{3 * CALLS} to {3 * CALLS + 1} requests for {CALLS} calls, in 2 of 6 runs above three" in claim.figure
    short = [replace(each, figures=replace(each.figures, cnt=3 * CALLS - 2)) for each in found.runs]
    assert (
        next(each for each in published.claims(short, found.ratios) if "60000" in each.says).verdict == "can't be told"
    )


def test_programs_get_it_as_json(run: Path) -> None:
    """All of it."""
    assert json.loads(json.dumps(asdict(published.read(run))))["runs"][-1]["shortest"] == ["refused_bye"]


def test_a_run_of_something_else_is_refused(tmp_path: Path) -> None:
    """With what would make one."""
    folder = testing.run(tmp_path, testing.plan())
    with pytest.raises(BadInputError, match="'builder', not of 'published-2018'") as refused:
        published.read(folder)
    assert "just published" in refused.value.remedy


def test_its_report_has_every_claim_and_every_form(run: Path) -> None:
    """Beside what any run's report has."""
    summary.write(run)
    shown = {one.name: one for one in report(machine.describe(run)).sections}
    found = published.read(run)
    assert shown["claims"].rows == tuple((claim.says, claim.verdict, claim.figure) for claim in found.claims)
    assert {row[0] for row in shown["published"].rows} == {page.FORMS[each.form] for each in found.ratios}
    assert shown["published"].draw


def test_the_page_has_a_table_for_everything(run: Path) -> None:
    """Claims, ratios, legs, requests a call, and each run to the digit of the page's script."""
    text = re.sub(" +", " ", page.markdown(published.read(run)))  # whatever its columns are wide
    assert "| native | 1 | 63157 | 4748289 | 21 | 2028 | 75.1823 |" in text
    assert "| native | 1 | 60 | 1260 | 11 | 31 | 21 |" in text
    assert re.search(r"\| as-run \| lua \| .* \| 3\.000 to 3\.050 \| REGISTER 2\.000, BYE 1\.000 \|", text)
    assert re.search(r"^\| lua \| 0\.998 \(0\.907 to 1\.100\) \| - \| .* \| .* \|$", text, re.MULTILINE)
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


@pytest.mark.parametrize(
    ("engine", "ratio", "low", "high"), [("lua", 0.998, 0.907, 1.100), ("python", 1.042, 0.961, 1.138)]
)
def test_fiellers_interval_of_the_pages_own_rows(engine: str, ratio: float, low: float, high: float, run: Path) -> None:
    """With Welch's degrees of freedom."""
    runs = published.read(run).runs
    own, native = ([each.figures.avg for each in of(runs, "published", name)] for name in (engine, "native"))
    found = stats.ratio_of_means(own, native)
    assert found.ratio == pytest.approx(ratio, abs=6e-4)
    assert found.ci_low == pytest.approx(low, abs=6e-4)
    assert found.ci_high == pytest.approx(high, abs=6e-4)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            (
                b"\x1b[0;39;49m\x1b[0;36;49m 2(22) INFO: {1 1 REGISTER 1.2-7} "
                b"<core> [core/receive.c:436]: receive_msg(): x\n"
            ),
            b" 2(22) INFO: |1|1 REGISTER|1.2-7|<core> [core/receive.c:436]: receive_msg(): x\n",
        ),
        (
            b"10(29) INFO: {1 1 REGISTER 1.2-9///REGISTER} <core> [core/receive.c:436]: receive_msg(): x\n",
            b"10(29) INFO: |1|1 REGISTER|1.2-9///REGISTER|<core> [core/receive.c:436]: receive_msg(): x\n",
        ),
        (b"\x1b[0;39;49m", b""),
        (b"\x1b[0;31;49m 0(1) ERROR: rtpproxy: none\n", b" 0(1) ERROR: rtpproxy: none\n"),
    ],
    ids=["in-colour", "bare", "the-end", "an-error"],
)
def test_the_pages_log_line_becomes_ours(line: bytes, expected: bytes) -> None:
    """Colour stands in front, as writes of its own; the prefix is the page's."""
    assert latency.plain(line) == expected


def test_a_line_that_an_escape_has_cut_stays_torn() -> None:
    """Taking the escape out would mend it without a word, and it may lack more than that."""
    line = b" 2(22) INFO: {1 1 REGISTER 1.2-7} <core> [core/receive.c:436]: receive_msg(): "
    torn = line + b"request-route executed in: 1\x1b[0;36;49m09 usec\n"
    found = latency.tally(latency.plain(torn), "1.2-", AS_RUN.legs)
    assert len(found.malformed) == 1
