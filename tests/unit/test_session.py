"""What a round is: fresh databases and cells, engine proof, slices in their order, bindings; and what it leaves."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lab import logs, rest, sampling, store, testing, validity
from lab.errors import TestbedError
from lab.model import Limits, Plan, Scenario, SliceRecord, Specimen, StartRecord
from lab.running import Running
from lab.session import Judges, Session
from tests.bed import LAYOUT, Bed, World, use

PLAN = testing.plan(engines=("native", "lua"), rounds=2, slices=1, warmup_slices=1, calls=12)
CELLS = [cell.name for cell in PLAN.cells]
FIRST = PLAN.rounds[0]
TIMED = "r01-s005-lua"
SOUND = Judges(validity.judge, validity.judge_start)


@dataclass
class Listener:
    """A reporter that remembers."""

    stages: list[str] = field(default_factory=list)
    records: list[SliceRecord] = field(default_factory=list)
    rounds: list[tuple[int, int]] = field(default_factory=list)  # number, and rounds that its ratios are of
    notes: list[str] = field(default_factory=list)

    def stage(self, text: str) -> None:
        """Heard."""
        self.stages.append(text)

    def detail(self, text: str) -> None:
        """Of no interest here."""

    def slice_done(self, record: SliceRecord) -> None:
        """Heard."""
        self.records.append(record)

    def round_done(self, number: int, so_far: Running) -> None:
        """Heard."""
        self.rounds.append((number, max((found.n_rounds for found in so_far.comparisons(PLAN).values()), default=0)))

    def note(self, text: str) -> None:
        """Heard."""
        self.notes.append(text)

    @property
    def order(self) -> list[str]:
        """Slices in the order in which they ended."""
        return [record.plan.id for record in self.records]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A testbed in which all goes well, until a test says otherwise."""
    return use(tmp_path / "volume", monkeypatch)


@pytest.fixture
def run(tmp_path: Path) -> store.Run:
    """The folder of the run."""
    return store.Run.create(tmp_path / "results", "builder")


@pytest.fixture
def heard() -> Listener:
    """What a user would hear."""
    return Listener()


Measure = Callable[..., None]


@pytest.fixture
def measure(world: World, run: store.Run, heard: Listener) -> Measure:
    """Run the first round of a plan, or another."""

    def measure(plan: Plan = PLAN, judges: Judges = SOUND, number: int = 1) -> None:
        bed = Bed(world, plan)
        with bed.up() as (databases, holder):
            session = Session(plan, LAYOUT, run, bed, databases, holder, judges, heard)
            planned = plan.rounds[number - 1]
            session.round(planned, rest.whole(plan, planned))

    return measure


def condemn(*slices: str) -> Judges:
    """Judges to whom these slices are invalid, and nothing else is."""
    return Judges(lambda record, *_: ("bad",) if record.plan.id in slices else (), lambda _: ())


def start(run: store.Run, name: str) -> StartRecord:
    """The record of a start."""
    return store.load(StartRecord, run.evidence / "starts" / name / "start.json")


def names(folder: Path) -> set[str]:
    """Of all that lies in it, hidden or not."""
    return {path.name for path in folder.iterdir()}


def content(log: Path) -> bytes:
    """A log as it was written, however it is kept."""
    with logs.opened(log) as lines:
        return lines.read()


def test_slices_run_in_the_planned_order(measure: Measure, world: World, heard: Listener) -> None:
    """Interleaved as the plan has them; all is well, so none twice."""
    measure()
    planned = [piece.id for piece in FIRST.slices]
    assert world.loads() == heard.order == planned
    assert [record.reasons for record in heard.records] == [()] * len(planned)
    assert heard.notes == []


def test_a_round_goes_from_fresh_databases_to_counted_bindings(measure: Measure, world: World) -> None:
    """Every cell is proven before the first load, and ends in order before anyone counts."""
    measure()
    kinds = [event.split()[0] for event in world.history if event != "clocks" and not event.startswith("held ")]
    phases = ["up", "renew", "fresh", "probe", "once", "load", "stop", "bindings", "removed", "down"]
    assert set(kinds) == set(phases)
    # All cells at once are probed, and rehearse.
    proven = [kind.replace("once", "probe") for kind in kinds]
    assert proven == sorted(proven, key=phases.index)
    for kind, things in {
        "renew": {f"kamailio_{cell} kamailio_of_6_0_1" for cell in ("native", "lua", "native_aa")},
        "probe": set(CELLS),
        "once": {f"{cell} register.xml 1" for cell in CELLS},
        "stop": set(CELLS),
        "bindings": {"kamailio_native", "kamailio_lua", "kamailio_native_aa"},
    }.items():
        assert {event.removeprefix(f"{kind} ") for event in world.history if event.startswith(kind)} == things


def test_an_invalid_slice_is_run_again_at_the_end_of_its_round(measure: Measure, heard: Listener) -> None:
    """Once, if it is then valid; the invalid one is kept."""
    measure(judges=condemn("r01-s004-native"))
    assert heard.order == [*(piece.id for piece in FIRST.slices), "r01-s007-native-again1"]


@pytest.mark.parametrize("cap", [0, 1, 3])
def test_an_invalid_slice_is_run_again_up_to_the_cap(
    measure: Measure, run: store.Run, heard: Listener, cap: int
) -> None:
    """Not for ever: a cell that cannot be measured must not keep the others waiting."""
    again = [f"r01-s{6 + number:03d}-lua-again{number}" for number in range(1, cap + 1)]
    measure(replace(PLAN, repeats=cap), condemn(TIMED, *again))
    assert heard.order == [*(piece.id for piece in FIRST.slices), *again]
    assert names(run.evidence / "slices") == set(heard.order)
    attempts = [record.plan.attempt for record in heard.records if record.reasons]
    assert attempts == list(range(1, cap + 2))


IN_TURNS = replace(PLAN, turn_msec=50)
WARMUPS, BLOCK = (
    [piece.id for piece in FIRST.slices[first : first + len(CELLS)]]
    for first in range(0, len(FIRST.slices), len(CELLS))
)


def test_cells_of_a_block_may_take_turns(measure: Measure, world: World, heard: Listener) -> None:
    """Their edges lie around all of it; each has its own record, which knows what the others took."""
    measure(IN_TURNS)
    assert heard.order == [*WARMUPS, *BLOCK]
    records = heard.records[-len(CELLS) :]
    assert max(one.before.monotonic_nsec for one in records) < min(one.after.monotonic_nsec for one in records)
    used = [(one.after.cpu_usec or 0) - (one.before.cpu_usec or 0) for one in records]
    assert [one.neighbours_cpu_usec for one in records] == [sum(used) - own for own in used]
    assert {one.longest_wait_msec for one in records} == {300}
    assert all(record.valid for record in records)
    assert sorted(world.loads()) == sorted([*WARMUPS, *BLOCK])
    assert [world.turns[piece] for piece in BLOCK] == ["150", "200", "250"]


def test_sipps_are_up_before_the_clocks_and_send_after_them(measure: Measure, world: World) -> None:
    """All of a block: what it takes the engine to start them is in no slice."""
    measure(replace(PLAN, turn_msec=40))
    events = [event for event in world.history if event == "clocks" or event.startswith(("held ", "load "))]
    block = [*(["held"] * len(CELLS)), *(["clocks"] * len(CELLS)), *(["load"] * len(CELLS)), *(["clocks"] * len(CELLS))]
    kinds = [event.partition(" ")[0] for event in events]
    assert kinds == block * (len(kinds) // len(block))
    assert len(kinds) > len(block)


def test_cells_with_slices_of_their_own_have_no_turns(measure: Measure, world: World) -> None:
    """SIPp is told of none."""
    measure()
    assert set(world.turns.values()) == {""}


def test_a_cell_that_always_fails_does_not_keep_the_others_from_a_result(measure: Measure, heard: Listener) -> None:
    """In the last attempt each slice of the block stands for itself."""
    again = [f"r01-s{number:03d}-{name[9:]}-again1" for number, name in enumerate(BLOCK, start=7)]
    (bad,) = (name for name in again if "-lua-" in name)
    measure(replace(IN_TURNS, repeats=1), condemn(TIMED, bad))
    assert [record.plan.id for record in heard.records if record.valid and record.plan.attempt > 1] == [
        name for name in again if name != bad
    ]


def test_a_cell_that_is_known_to_be_broken_condemns_nobody(measure: Measure, heard: Listener) -> None:
    """Its slices fail as they must."""
    cells = tuple(replace(cell, known_broken="yes" if cell.name == "lua" else "") for cell in PLAN.cells)
    measure(replace(IN_TURNS, cells=cells, repeats=1), condemn(TIMED))
    assert [record.plan.cell for record in heard.records if record.reasons] == ["lua"]
    assert [record.plan.cell for record in heard.records if record.plan.attempt > 1] == ["lua"]


def test_slices_that_share_their_seconds_are_run_again_together(measure: Measure, heard: Listener) -> None:
    """What disturbed one was there for all."""
    measure(IN_TURNS, condemn(TIMED))
    again = [f"r01-s{number:03d}-{name[9:]}-again1" for number, name in enumerate(BLOCK, start=7)]
    assert heard.order == [*WARMUPS, *BLOCK, *again]
    (reason,) = next(one.reasons for one in heard.records if one.plan.id == BLOCK[0])
    assert reason == "lua, which had its turns in the same seconds, was invalid"


def test_a_rate_that_is_too_much_is_told(measure: Measure, world: World, heard: Listener) -> None:
    """Once a round and cell, with what helps: reasons of single slices do not say it."""
    world.serves["lua"] = 50
    measure()
    (note,) = heard.notes
    assert note.startswith("round 1, lua: 100 calls/s is more than it serves")
    assert 'rate_per_s = "auto"' in note


def test_a_specimen_gets_no_advice_about_its_rate(measure: Measure, world: World, heard: Listener) -> None:
    """It has the rate of what it repeats."""
    world.serves["lua"] = 50
    measure(replace(PLAN, specimen=Specimen(), repeats=0))
    (note,) = heard.notes
    assert note == "round 1, lua: 100 calls/s is more than it serves: every slice had failures"


def test_several_invalid_slices_take_turns(measure: Measure, heard: Listener) -> None:
    """In the order in which they were found."""
    measure(judges=condemn("r01-s004-native", "r01-s006-native-aa"))
    assert heard.order[6:] == ["r01-s007-native-again1", "r01-s008-native-aa-again1"]


def test_an_invalid_warm_up_is_repeated_at_once(measure: Measure, heard: Listener) -> None:
    """At the end of the round there would be nothing left to warm."""
    measure(judges=condemn("r01-s002-lua"))
    assert heard.order[:4] == ["r01-s001-native", "r01-s002-lua", "r01-s007-lua-again1", "r01-s003-native-aa"]


def test_a_lost_call_is_seen_and_the_slice_repeated(
    measure: Measure, world: World, run: store.Run, heard: Listener
) -> None:
    """With the checks of the lab itself, and the evidence of both beside each other."""
    world.lost[TIMED] = 1
    measure()
    again = "r01-s007-lua-again1"
    records = {record.plan.id: record for record in heard.records}
    assert "SIPp: 11 of 12 calls succeeded" in records[TIMED].reasons
    assert records[again].reasons == ()
    for name in (TIMED, again):
        assert store.load(SliceRecord, run.evidence / "slices" / name / "slice.json") == records[name]
    assert (run.evidence / "slices" / TIMED / "sipp-errors.log").read_text() == "1 aborted\n"


def test_limits_and_scenario_are_the_plans(measure: Measure) -> None:
    """Whoever judges a slice gets them."""
    given: list[tuple[Limits, Scenario]] = []

    def judge(_: SliceRecord, limits: Limits, scenario: Scenario) -> tuple[str, ...]:
        given.append((limits, scenario))
        return ()

    limits = Limits(retransmissions=7)
    measure(replace(PLAN, limits=limits), Judges(judge, lambda _: ()))
    assert given == [(limits, testing.SCENARIO)] * len(FIRST.slices)


def test_a_slice_leaves_its_record_its_log_and_sipps_files(measure: Measure, run: store.Run) -> None:
    """No error file where there was no error, and nothing unfinished."""
    measure()
    assert names(run.evidence / "slices") == {piece.id for piece in FIRST.slices}
    for piece in FIRST.slices:
        assert names(run.evidence / "slices" / piece.id) == {"slice.json", "kamailio.log.gz", "sipp.csv"}


def test_a_record_has_what_was_seen_on_both_edges(measure: Measure, heard: Listener) -> None:
    """Counters as differences: the second slice of a cell begins where its first has ended, after one call before."""
    measure()
    first, second = (record for record in heard.records if record.plan.cell == "lua")
    received = [
        edge.statistics[sampling.RECEIVED] for record in (first, second) for edge in (record.before, record.after)
    ]
    assert received == [2, 26, 26, 50]
    assert second.tally.lines == 24
    assert (second.sipp.successful, second.engine, second.kamailio_cpus) == (12, "lua", 1)
    assert second.beside_kamailio == ()  # all others are on another CPU


def test_a_start_leaves_its_proof(measure: Measure, run: store.Run) -> None:
    """One folder for each cell and round, with Kamailio's own words."""
    measure()
    assert names(run.evidence / "starts") == {f"r01-{cell}" for cell in CELLS}
    folder = run.evidence / "starts" / "r01-lua"
    assert names(folder) >= {"start.json", "proof.txt", "probe.log", "inspect.json", "kamailio.log"}
    assert (folder / "probe.log").read_text() == "engine lua\n"
    found = start(run, "r01-lua")
    assert (found.engine, found.engine_word, found.marker) == ("lua", "lua", "lua")
    assert found.script == "/etc/kamailio/parity/lua.lua"
    assert found.cpus_allowed == found.cpus_asked == {"kamailio": "1", "mysql": "0", "sipp": "0", "driver": "0"}
    assert found.reasons == ()


def test_all_that_runs_beside_kamailio_is_read_back(measure: Measure, world: World, run: store.Run) -> None:
    """One process of SIPp's container elsewhere, whichever it is, makes the start invalid."""
    world.sipp_on = [((1, "0"), (9, "0-1"))]
    measure()
    found = start(run, "r01-native")
    assert found.cpus_allowed["sipp"] == "0 0-1"
    assert found.reasons == ("kernel: sipp may run on CPUs 0-1, 0 asked",)


@pytest.mark.parametrize("later", [((1, "0"),), ((1, "0"), (9, "0")), ((1, "0"), (12, "0-1"))])
def test_a_process_that_is_just_being_started_is_asked_again(
    measure: Measure, world: World, run: store.Run, later: tuple[tuple[int, str], ...]
) -> None:
    """It has ended, or has its CPUs by then; and another one that is just being started does not count either."""
    world.sipp_on = [((1, "0"), (9, "0-1")), later, ((1, "0"),)]
    measure()
    found = start(run, "r01-native")
    assert (found.cpus_allowed["sipp"], found.reasons) == ("0", ())


def test_a_list_that_was_not_read_proves_nothing(measure: Measure, world: World, run: store.Run) -> None:
    """That of the container's first process, here: the reading command has one in any case."""
    world.sipp_on = [((9, "0"),)]
    measure()
    assert start(run, "r01-native").reasons == ("kernel: the CPUs that sipp got were not read",)


def test_every_line_of_a_log_is_kept_once(measure: Measure, world: World, run: store.Run) -> None:
    """The start's part, each slice's, and the end's: together they are the whole log."""
    measure()
    for cell in CELLS:
        parts = [run.evidence / "starts" / f"r01-{cell}" / "kamailio.log"]
        parts += [run.evidence / "slices" / piece.id / logs.KEPT for piece in FIRST.slices if piece.cell == cell]
        parts += [run.evidence / "starts" / f"r01-{cell}" / "kamailio-end.log"]
        assert b"".join(map(content, parts)) == (world.volume / f"{cell}.log").read_bytes()
        assert b"probe-1" in parts[0].read_bytes()
        assert parts[0].read_bytes().count(b"|setup-1|") == 2  # the rehearsal is no slice's


def test_a_cell_that_runs_another_engine_gets_no_load(
    measure: Measure, world: World, run: store.Run, heard: Listener
) -> None:
    """It would be measured in the wrong name. The others are measured all the same."""
    world.says["lua"] = "native"
    measure()
    assert [name for name in world.loads() if "lua" in name] == []
    assert len(world.loads()) == 4
    reasons = start(run, "r01-lua").reasons
    assert "engine proof: Kamailio says that its engine is 'native', 'lua' expected" in reasons
    assert [f"round 1, lua: {reason}" for reason in reasons] == heard.notes
    assert start(run, "r01-lua").bindings is None
    assert start(run, "r01-native").bindings == 10


def test_a_cell_whose_reply_has_no_marker_gets_no_load(measure: Measure, world: World, run: store.Run) -> None:
    """A script that throws answers nothing, and looks fast. What SIPp said of it is kept."""
    world.unmarked.add("lua")
    measure()
    assert [name for name in world.loads() if "lua" in name] == []
    assert start(run, "r01-lua").marker == ""
    assert "X-Lab-Engine" in (run.evidence / "starts" / "r01-lua" / "probe.log").read_text()


def test_a_marker_of_an_earlier_round_proves_nothing(measure: Measure, world: World, run: store.Run) -> None:
    """The volume outlives a round; the log in it is only as good as the probe that wrote it."""
    measure()
    world.unmarked.add("lua")
    measure(number=2)
    assert start(run, "r02-lua").marker == ""
    assert "engine lua" not in (run.evidence / "starts" / "r02-lua" / "probe.log").read_text()
    assert [name for name in world.loads() if name.startswith("r02") and "lua" in name] == []


def test_where_nothing_is_proven_nothing_is_measured(measure: Measure, world: World, run: store.Run) -> None:
    """The round ends in order, and its proofs say why."""
    world.unmarked.update(CELLS)
    measure()
    assert world.loads() == []
    assert names(run.evidence / "starts") == {f"r01-{cell}" for cell in CELLS}
    assert world.history[-2:] == ["removed", "down"]


# --- how a cell is observed -------------------------------------------------------------------------------------------


def observed(observe: str, *, shares: bool = False) -> Plan:
    """The plan with Lua's cell as native's, observed otherwise."""
    native = PLAN.cells[0]
    cell = replace(native, name="lua", observe=observe, shares="native" if shares else "")
    return replace(PLAN, cells=(native, cell, PLAN.cells[2]))


def test_a_log_is_switched_off_and_on_in_the_kamailio_that_runs(
    measure: Measure, world: World, heard: Listener, run: store.Run
) -> None:
    """For the slices of that cell, and no others: one start, one database, one log; every slice is valid."""
    measure(observed("no-log", shares=True))
    assert [event for event in world.history if event.startswith(("load", "level"))] == [
        "load r01-s001-native",
        "level native 9",
        "load r01-s002-lua",
        "load r01-s003-native-aa",
        "level native 2",
        "load r01-s004-native",
        "level native 9",
        "load r01-s005-lua",
        "load r01-s006-native-aa",
    ]
    assert heard.notes == []
    assert {record.plan.cell: (record.logged, record.tally.lines, record.reasons) for record in heard.records} == {
        "native": (True, 24, ()),
        "lua": (False, 0, ()),
        "native-aa": (True, 24, ()),
    }
    assert names(run.evidence / "starts") == {"r01-native", "r01-native-aa"}
    assert (start(run, "r01-native").bindings, start(run, "r01-native").bindings_expected) == (10, 10)


def test_a_log_that_stays_on_ends_the_run(measure: Measure, world: World) -> None:
    """The exit code of kamcmd is 0 whatever Kamailio says, so the value is read back."""
    world.stubborn.add("native")
    with pytest.raises(TestbedError, match="native does not take latency_cfg_log=9"):
        measure(observed("no-log", shares=True))


def test_a_log_that_docker_has_is_read_there(measure: Measure, world: World, run: store.Run, heard: Listener) -> None:
    """Each line once, as from a file."""
    measure(observed("docker"))
    assert [record.reasons for record in heard.records] == [()] * len(FIRST.slices)
    parts = [run.evidence / "starts" / "r01-lua" / "kamailio.log"]
    parts += [run.evidence / "slices" / piece.id / logs.KEPT for piece in FIRST.slices if piece.cell == "lua"]
    parts += [run.evidence / "starts" / "r01-lua" / "kamailio-end.log"]
    assert b"".join(map(content, parts)) == (world.volume / "lua.log.docker").read_bytes()


def test_a_coloured_log_is_kept_as_it_was_and_read_without(measure: Measure, run: store.Run, heard: Listener) -> None:
    """Escapes stand in front of its lines; every other cell's log has none."""
    measure(observed("colour"))
    assert [record.reasons for record in heard.records] == [()] * len(FIRST.slices)
    for piece in FIRST.slices:
        folder = run.evidence / "slices" / piece.id
        raw = folder / "kamailio-raw.log.gz"
        assert b"\x1b" not in content(logs.place(folder))
        assert raw.exists() is (piece.cell == "lua")
        assert not raw.exists() or gzip.decompress(raw.read_bytes()).count(b"\x1b") == 24


# --- before the slices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crashing", "ended"), [(set(), ""), ({"lua"}, "; Kamailio ended with exit code 139")], ids=["stays", "crashes"]
)
def test_an_engine_that_cannot_do_one_call_gets_no_load(
    measure: Measure, world: World, run: store.Run, heard: Listener, *, crashing: set[str], ended: str
) -> None:
    """It is told by what went wrong, SIPp's and Kamailio's word, before anything is timed; the others are measured."""
    world.unable["lua"] = "register.xml"
    world.crashing = crashing
    measure()
    reason = (
        f"rehearsal of register: SIPp ended with exit code 1; Kamailio: 1(7) ERROR: <script>: it cannot be done{ended}"
    )
    assert start(run, "r01-lua").reasons == (reason,)
    assert heard.notes == [f"round 1, lua: {reason}"]
    assert [name for name in world.loads() if "lua" in name] == []
    assert len(world.loads()) == 4
    assert b"it cannot be done" in (run.evidence / "starts" / "r01-lua" / "kamailio.log").read_bytes()


def with_setup(**changed: object) -> Plan:
    """A plan whose calls are refreshes: every subscriber registers before."""
    refresh = replace(testing.SCENARIO, name="refresh", traffic="register.xml", setup="register", whole="refresh")
    cells = tuple(replace(cell, scenario="refresh") for cell in PLAN.cells)
    return replace(PLAN, cells=cells, scenarios=(refresh, testing.SCENARIO), **changed)  # type: ignore[arg-type]


def test_subscribers_are_set_up_before_the_slices(measure: Measure, world: World, run: store.Run) -> None:
    """Each of them once, then one call of the slices' own; all of that is in the start's log, and in no slice's."""
    measure(with_setup())
    for cell in CELLS:
        calls = [event for event in world.history if event.startswith(f"once {cell} ")]
        assert calls == [f"once {cell} {what}" for what in ("register.xml 10", "register.xml 1")]
        log = (run.evidence / "starts" / f"r01-{cell}" / "kamailio.log").read_bytes()
        assert log.count(b"request-route executed in") == 1 + 2 * 10 + 2
    assert len(world.loads()) == len(FIRST.slices)
    assert start(run, "r01-lua").reasons == ()


def test_a_set_up_that_fails_is_told(measure: Measure, world: World, run: store.Run) -> None:
    """By its scenario's name; there is no rehearsal then, and no load."""
    world.unable["lua"] = "register.xml"
    plan = with_setup()
    plan = replace(plan, scenarios=(replace(plan.scenarios[0], traffic="refresh.xml"), plan.scenarios[1]))
    measure(plan)
    (reason,) = start(run, "r01-lua").reasons
    assert reason.startswith("set-up by register: SIPp ended with exit code 1; ")
    assert [event for event in world.history if event.startswith("once lua ")] == ["once lua register.xml 10"]
    assert [name for name in world.loads() if "lua" in name] == []


def test_each_subscriber_that_was_set_up_has_a_binding(measure: Measure, run: store.Run) -> None:
    """However few calls a slice has."""
    few = testing.plan(engines=("native", "lua"), rounds=1, slices=1, warmup_slices=1, calls=3)
    measure(with_setup(rounds=few.rounds))
    assert (start(run, "r01-lua").bindings, start(run, "r01-lua").bindings_expected) == (10, 10)


def test_a_scenario_that_binds_nobody_has_no_bindings(measure: Measure, run: store.Run) -> None:
    """None are expected, and one would be one too many."""
    refused = replace(testing.SCENARIO, bindings=False)
    measure(replace(PLAN, scenarios=(refused,)))
    assert (start(run, "r01-lua").bindings, start(run, "r01-lua").bindings_expected) == (0, 0)
    assert start(run, "r01-lua").reasons == ()


def test_each_cell_plays_its_own_scenario(measure: Measure, run: store.Run, heard: Listener) -> None:
    """And its slices are counted and judged by that one's legs."""
    options = Scenario("options", (replace(testing.SCENARIO.legs[0], leg="options", method="OPTIONS"),), bindings=False)
    cells = (PLAN.cells[0], replace(PLAN.cells[1], scenario="options"), PLAN.cells[2])
    measure(replace(PLAN, cells=cells, scenarios=(testing.SCENARIO, options)))
    tallies = {record.plan.cell: record.tally.messages for record in heard.records}
    assert tallies["lua"] == {"options": 12, "other": 0}
    assert tallies["native"] == {"challenge": 12, "authenticated": 12, "other": 0}
    assert {record.reasons for record in heard.records} == {()}
    assert start(run, "r01-lua").bindings_expected == 0


def test_each_cell_has_its_release_and_its_server(measure: Measure, world: World) -> None:
    """Its database is made from the template of its release."""
    cells = (PLAN.cells[0], replace(PLAN.cells[1], kamailio="5.6.3", database="mariadb"), PLAN.cells[2])
    measure(replace(PLAN, cells=cells))
    assert "renew kamailio_lua kamailio_of_5_6_3" in world.history
    assert "renew kamailio_native kamailio_of_6_0_1" in world.history


def test_a_specimen_is_taken_as_it_comes(measure: Measure, world: World, run: store.Run, heard: Listener) -> None:
    """No rehearsal, no slice again, no bindings that would have to be there; what is wrong is recorded all the same."""
    world.lost[TIMED] = 1
    measure(replace(PLAN, specimen=Specimen(), repeats=0))
    assert [event for event in world.history if event.startswith("once")] == []
    assert heard.order == [piece.id for piece in FIRST.slices]
    assert "SIPp: 11 of 12 calls succeeded" in next(r for r in heard.records if r.plan.id == TIMED).reasons
    assert start(run, "r01-lua").bindings_expected is None
    assert start(run, "r01-lua").reasons == ()


# --- the end of a round ---------------------------------------------------------------------------------------------


def test_bindings_that_are_not_there_mark_the_start(
    measure: Measure, world: World, run: store.Run, heard: Listener
) -> None:
    """An engine that answers 200 and saves nothing is found out at the end of the round."""
    world.unwritten["lua"] = 3
    measure()
    reason = "database: 7 bindings in location, 10 expected"
    assert start(run, "r01-lua").reasons == (reason,)
    assert start(run, "r01-native").reasons == ()
    assert heard.notes == [f"round 1, lua: {reason}"]


@pytest.mark.parametrize(("calls", "expected"), [(12, 10), (4, 4)])
def test_each_subscriber_that_registered_has_one_binding(
    measure: Measure, run: store.Run, calls: int, expected: int
) -> None:
    """A refresh is no second one; users take turns from the first in every slice."""
    measure(testing.plan(engines=("native",), rounds=1, slices=2, warmup_slices=1, calls=calls))
    found = start(run, "r01-native")
    assert (found.bindings, found.bindings_expected) == (expected, expected)


def test_a_kamailio_that_does_not_end_well_marks_its_start(measure: Measure, world: World, run: store.Run) -> None:
    """A crash at the end is a crash."""
    world.exit_codes["native-aa"] = 139
    measure()
    assert start(run, "r01-native-aa").exit_code == 139
    assert start(run, "r01-native-aa").reasons == ("Kamailio: ended with exit code 139",)
    assert start(run, "r01-native").exit_code == 0


def test_an_end_that_is_known_marks_nothing(measure: Measure, world: World, run: store.Run) -> None:
    """An engine may fail in its own clean-up on a release, after all is done: the plan says by which code.

    Its bindings are then counted in memory, before the end, which does not write them; another's must be written.
    """
    cells = ("lua", "native")
    world.exit_codes = dict.fromkeys(cells, 139)
    world.unwritten = dict.fromkeys(cells, 10)
    measure(testing.known(PLAN, "lua", known_end=139))
    found = start(run, "r01-lua")
    assert (found.exit_code, found.bindings, found.reasons) == (139, 10, ())
    assert start(run, "r01-native").reasons == (
        "Kamailio: ended with exit code 139",
        "database: 0 bindings in location, 10 expected",
    )


def test_an_end_that_is_known_may_be_of_a_cell_that_proved_nothing(
    measure: Measure, world: World, run: store.Run
) -> None:
    """It is not asked for its bindings."""
    world.unmarked.add("lua")
    measure(testing.known(PLAN, "lua", known_end=139))
    assert start(run, "r01-lua").exit_code is None
    assert start(run, "r01-native").reasons == ()


def test_a_kamailio_that_is_not_running_ends_the_run(measure: Measure, world: World) -> None:
    """By the name of its cell, and before anything is sent."""
    world.dead.add("lua")
    with pytest.raises(TestbedError, match="Kamailio of cell lua is not running"):
        measure()
    assert world.loads() == []


def test_a_kamailio_that_falls_silent_ends_the_run(measure: Measure, world: World, run: store.Run) -> None:
    """With its last log lines as the cause; what was measured before stays, nothing of the slice does."""
    world.silent.add(TIMED)
    with pytest.raises(TestbedError, match="Kamailio of cell lua does not answer: kamcmd: cannot connect") as caught:
        measure()
    assert "request-route executed in" in caught.value.detail
    assert names(run.evidence / "slices") == {piece.id for piece in FIRST.slices[:4]}
    assert world.history[-2:] == ["removed", "down"]


def test_what_a_broken_round_has_left_is_kept(measure: Measure, world: World, run: store.Run) -> None:
    """Of every cell: the log since its last slice, the broken slice's lines included, and Docker's description."""
    world.silent.add(TIMED)
    with pytest.raises(TestbedError):
        measure()
    assert names(run.evidence / "remains") == {f"r01-{cell}" for cell in CELLS}
    for cell in CELLS:
        assert names(run.evidence / "remains" / f"r01-{cell}") == {"kamailio.log", "inspect.json", "output.log"}
    log = (run.evidence / "remains" / "r01-lua" / "kamailio.log").read_text()
    assert log.count("request-route executed in") == 24
    assert (run.evidence / "remains" / "r01-native" / "kamailio.log").read_text() == ""


def test_a_whole_round_leaves_no_remains(measure: Measure, run: store.Run) -> None:
    """Everything has its place then."""
    measure()
    assert not (run.evidence / "remains").exists()


def test_a_sipp_that_cannot_begin_ends_the_run(measure: Measure, world: World, run: store.Run) -> None:
    """A scenario with a fault in it, say: SIPp's words are the cause."""
    world.mute.add("r01-s001-native")
    with pytest.raises(TestbedError, match="no statistics") as caught:
        measure()
    assert caught.value.detail == "Unable to load scenario"
    assert names(run.evidence / "slices") == set()


def test_ctrl_c_during_a_slice_keeps_those_before(measure: Measure, world: World, run: store.Run) -> None:
    """And takes everything down."""
    world.interrupted.add(TIMED)
    with pytest.raises(KeyboardInterrupt):
        measure()
    assert names(run.evidence / "slices") == {piece.id for piece in FIRST.slices[:4]}
    assert names(run.evidence / "remains") == {f"r01-{cell}" for cell in CELLS}
    assert world.history[-2:] == ["removed", "down"]


def test_a_round_that_has_ended_is_told_with_its_ratios(measure: Measure, heard: Listener) -> None:
    """By then all of its slices are in them."""
    measure()
    assert heard.rounds == [(1, 1)]


def test_a_user_hears_which_round_it_is(measure: Measure, heard: Listener) -> None:
    """Of how many."""
    measure()
    measure(number=2)
    assert [stage.partition(":")[0] for stage in heard.stages] == ["round 1 of 2", "round 2 of 2"]
