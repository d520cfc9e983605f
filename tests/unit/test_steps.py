"""A search on a cell that is up: which calls are of whom, what is kept, and what a failure of the testbed does."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from lab import capacity, search, steps, store, testing, validity
from lab.errors import RateError, TestbedError
from lab.model import Plan, Scenario, SliceRecord
from lab.rates import Ceilings, Conditions, settle
from lab.search import Parameters, Search
from lab.session import Judges, Session
from tests.bed import LAYOUT, Bed, World, use
from tests.unit.test_session import Listener

SUBSCRIBERS = 600
QUICK = Parameters(start_per_s=150, growth=1, resolution=0.2, tries=1, confirmations=1, step_seconds=0.5)
CONDITIONS = Conditions("sha256:0", "sha256:1", "sha256:2", {"kernel": "6.1"}, {"kamailio": (1,)})


def plan(*engines: str, **changed: object) -> Plan:
    """With more subscribers than a step takes."""
    made = testing.plan(engines=engines or ("native",), rounds=1, slices=1, calls=12)
    cells = tuple(replace(cell, subscribers=SUBSCRIBERS) for cell in made.cells)
    return replace(made, cells=cells, **changed)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A testbed that serves some hundred registrations a second."""
    return busy(tmp_path / "volume", monkeypatch)


def busy(volume: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same."""
    found = use(volume, monkeypatch)
    found.serves = {"native": 500, "lua": 300}
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, store.Run]:
    """Two engines, searched once."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = busy(folder / "volume", monkeypatch)
        run = store.Run.create(folder / "results", "builder")
        measure(world, run, Listener(), plan("native", "lua"))
    return world, run


@pytest.fixture
def run(tmp_path: Path) -> store.Run:
    """The folder of the run."""
    return store.Run.create(tmp_path / "results", "builder")


@pytest.fixture
def heard() -> Listener:
    """What a user would hear."""
    return Listener()


def measure(world: World, run: store.Run, heard: Listener, of: Plan, parameters: Parameters = QUICK) -> None:
    """Search every cell of a plan, and seal what there is, as the runner does."""
    store.dump(of, run.evidence / "plan.json")
    bed = Bed(world, of)
    ended = "interrupted"
    try:
        with bed.up() as (databases, holder):
            judges = Judges(search.failures, validity.judge_start)
            session = Session(of, LAYOUT, run, bed, databases, holder, judges, heard)
            steps.capacity(session, parameters, Ceilings(run.folder.parent, CONDITIONS))
        ended = "complete"
    finally:
        run.seal(ended)


def searches(run: store.Run) -> dict[tuple[str, str, int], Search]:
    """What was kept, by cell, kind and round."""
    found = [store.load(Search, path) for path in (run.evidence / "searches").iterdir()]
    return {(one.cell, one.kind, one.round): one for one in found}


def test_every_cell_is_searched_once_a_round_for_both_rates(measured: tuple[World, store.Run]) -> None:
    """Each within the resolution of what it serves; the cell that only compares times is left out."""
    world, run = measured
    found = searches(run)
    assert set(found) == set(itertools.product(("native", "lua"), ("registration", "re-registration"), (1,)))
    for (cell, _, _), one in found.items():
        assert one.ended
        assert one.confirmed
        assert one.rate_per_s is not None
        assert one.rate_per_s <= world.serves[cell] < one.rate_per_s * 1.2 + 1


def test_a_registration_is_of_a_subscriber_without_a_binding(measured: tuple[World, store.Run]) -> None:
    """Every call of every step, over fresh starts where subscribers run out; afterwards the same are refreshed."""
    world, run = measured
    assert world.history.count("fresh start") > 2  # two cells, and more because of that
    for (_, kind, _), one in searches(run).items():
        assert one.bindings is not None
        assert (one.bindings == 1) == (kind == "registration")  # the rehearsal's one
        for step in one.steps:
            assert step.new_bindings == (step.calls if kind == "registration" else 0)


def test_several_sipps_share_a_step(world: World, run: store.Run, heard: Listener) -> None:
    """Each with its own part of the rate, of the subscribers and of the Call-IDs: nothing is counted twice."""
    processes = 3
    world.serves = {"native": 500 / processes, "lua": 300 / processes}  # of each
    measure(world, run, heard, plan(sipp_processes=processes))
    for (cell, _, _), one in searches(run).items():
        assert one.rate_per_s is not None
        assert one.rate_per_s <= world.serves[cell] * processes + 1
        for step in one.steps:
            record = store.load(SliceRecord, run.evidence / "slices" / step.slice / "slice.json")
            assert record.sipp.successful == step.calls == record.tally.messages["authenticated"]
            assert record.tally.retransmissions == 0
            assert (run.evidence / "slices" / step.slice / f"sipp-{processes}.csv").is_file()


def test_refreshes_take_turns(measured: tuple[World, store.Run]) -> None:
    """Each step goes on with the subscriber after the last one's, or from the first where too few are left."""
    _, run = measured
    one = searches(run)["native", "re-registration", 1]
    steps_ = one.steps
    pieces = [store.load(SliceRecord, run.evidence / "slices" / step.slice / "slice.json").plan for step in steps_]
    for before, after in itertools.pairwise(pieces):
        end = before.first + before.calls
        assert after.first == (end if end + after.calls <= (one.bindings or 0) else 0)
        assert after.first + after.calls <= (one.bindings or 0)


def test_few_subscribers_are_refreshed_only(world: World, run: store.Run, heard: Listener) -> None:
    """One subscriber cannot register twice for the first time."""
    measure(world, run, heard, replace(plan(), cells=tuple(replace(c, subscribers=1) for c in plan().cells)))
    assert {kind for _, kind, _ in searches(run)} == {"re-registration"}
    assert any("too few" in note for note in capacity.compute(run.folder).notes)


def test_a_step_keeps_its_counts_and_no_log(measured: tuple[World, store.Run]) -> None:
    """A search has many, and a million lines; that they were counted is enough."""
    _, run = measured
    first = searches(run)["native", "registration", 1].steps[0]
    assert {path.name for path in (run.evidence / "slices" / first.slice).iterdir()} == {"slice.json", "sipp.csv"}


@pytest.mark.parametrize(("observe", "kept"), [("log", False), ("pipe", True)])
def test_a_log_is_cut_after_each_step(
    world: World, run: store.Run, heard: Listener, observe: str, *, kept: bool
) -> None:
    """Its volume is in memory, and a search has no bound; tee would go on where it was, so that one stays."""
    cells = tuple(replace(cell, observe=observe) for cell in plan().cells)
    measure(world, run, heard, replace(plan(), cells=cells), replace(QUICK, steps=3))
    assert bool((world.volume / "native.log").stat().st_size) == kept
    assert {len(one.steps) for one in searches(run).values()} == {3}
    for path in run.evidence.glob("slices/*/slice.json"):
        record = store.load(SliceRecord, path)
        assert record.tally.messages["authenticated"] == record.plan.calls


def test_a_refresh_makes_no_binding(world: World, run: store.Run) -> None:
    """Where it does, the one before was lost."""

    class Forgetful(Listener):
        def stage(self, text: str) -> None:
            if "re-registration at" in text:
                world.databases["kamailio_native"] -= 5

    measure(world, run, Forgetful(), plan(), replace(QUICK, steps=2))
    first, second = searches(run)["native", "re-registration", 1].steps
    assert first.failures == ()
    assert second.failures == (f"{second.calls} refreshes made 5 new bindings",)


def test_one_cell_that_dies_does_not_stop_the_others(world: World, run: store.Run) -> None:
    """It has no rate and says why; the run is not valid. It is removed at once, and what it had is kept."""
    up: list[int] = []

    class Witness(Listener):
        def note(self, text: str) -> None:
            super().note(text)
            up.append(world.history.count("fresh start") - world.history.count("removed"))

    world.says["lua"] = "native"
    measure(world, run, Witness(), plan("native", "lua"))
    assert (set(up[:-1]), up[-1]) == ({1}, 0)  # what its start has shown; what follows from that
    assert [path.name[4:] for path in (run.evidence / "remains").iterdir()] == ["lua"]
    found = capacity.write(run.folder)
    assert not found.valid
    (rate,) = found.cells["lua"].rates
    assert rate.rate_per_s is None
    assert "engine proof" in rate.points[0].problem
    assert {rate.kind: rate.rate_per_s is not None for rate in found.cells["native"].rates} == {
        "registration": True,
        "re-registration": True,
    }


def test_what_has_no_result_is_what_was_due(world: World, run: store.Run, heard: Listener) -> None:
    """Of a cell with one subscriber there is no other rate than that of refreshes."""
    world.says["native"] = "lua"
    measure(world, run, heard, replace(plan(), cells=tuple(replace(c, subscribers=1) for c in plan().cells)))
    (only,) = searches(run).values()
    assert (only.kind, only.rate_per_s, only.ended) == ("re-registration", None, True)
    assert "engine proof" in only.problem


def test_a_search_that_has_ended_keeps_its_result(
    world: World, run: store.Run, heard: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens afterwards."""

    def fail(*_: object) -> None:
        raise TestbedError("it cannot be removed")

    monkeypatch.setattr(Ceilings, "keep", fail)
    measure(world, run, heard, plan())
    assert heard.notes == ["round 1, native: it cannot be removed"]
    assert [(one.confirmed, one.problem) for one in searches(run).values()] == [(True, "")] * 2


def test_what_was_measured_before_an_interrupt_is_kept(world: World, run: store.Run, heard: Listener) -> None:
    """A search as far as it was, with its steps; figures can be had, and are not valid."""
    world.interrupted.add("r01-s003-native")
    with pytest.raises(KeyboardInterrupt):
        measure(world, run, heard, plan())
    (only,) = searches(run).values()
    assert len(only.steps) == 2
    assert not only.ended
    found = capacity.write(run.folder)
    assert not found.valid
    assert found.cells["native"].rates[0].points[0].problem == "the search was broken off"


def test_a_rate_that_nothing_serves_is_told(world: World, run: store.Run, heard: Listener) -> None:
    """By what went wrong at one call a second."""
    world.serves = {"native": 0, "lua": 300}
    measure(world, run, heard, plan())
    found = capacity.write(run.folder)
    assert found.cells["native"].rates[0].rate_per_s is None
    assert "not even 1/s went: retransmissions: 1" in found.cells["native"].rates[0].points[0].problem


def test_rates_that_went_once_and_never_again_are_told(world: World, run: store.Run) -> None:
    """It is not as if nothing had gone: nothing was confirmed."""

    class Tiring(Listener):
        def stage(self, text: str) -> None:
            if text.endswith(": ok"):
                world.serves["native"] = 0

    measure(world, run, Tiring(), plan(), replace(QUICK, steps=8))
    (only,) = searches(run).values()
    assert only.rate_per_s is None
    assert only.problem.startswith("1 of 8 steps went, but no rate was confirmed; the last, ")


@pytest.mark.parametrize(("rate", "confirmed", "kept"), [(800, True, 900), (1000, False, 900), (1000, True, 1000)])
def test_a_ceiling_is_the_highest_that_was_confirmed(tmp_path: Path, rate: int, kept: int, *, confirmed: bool) -> None:
    """Chance lowers what a search finds, and does not raise what it confirms."""
    served = plan()
    (cell, _) = served.cells
    served = replace(served, cells=(cell,))
    trivial = replace(served, cells=(replace(cell, routing="trivial"),))
    found = Search("native", "trivial", 1, QUICK, 0, rate_per_s=900, confirmed=True, ended=True)
    ceilings = Ceilings(tmp_path, CONDITIONS)
    ceilings.keep(trivial, [found])
    ceilings.keep(trivial, [replace(found, rate_per_s=rate, confirmed=confirmed)])
    assert ceilings.of(served) == kept
    assert ceilings.of(replace(served, keep_awake=True)) is None


def test_a_trivial_responders_rate_is_the_ceiling_of_later_runs(world: World, tmp_path: Path, heard: Listener) -> None:
    """With the same traffic, SIPp, machine and CPUs."""
    trivial = Scenario("trivial", testing.SCENARIO.legs, traffic="register.xml", bindings=False, whole="trivial")
    one = plan(scenarios=(trivial,))
    cells = tuple(replace(cell, routing="trivial", scenario="trivial") for cell in one.cells)
    world.serves = {"native": 900, "lua": 900}
    measure(world, store.Run.create(tmp_path / "results", "generator"), heard, replace(one, cells=cells))
    world.serves = {"native": 500, "lua": 300}
    later = store.Run.create(tmp_path / "results", "capacity")
    measure(world, later, heard, plan())
    ceilings = {search.ceiling_per_s for search in searches(later).values()}
    (ceiling,) = ceilings
    assert ceiling is not None
    assert 700 < ceiling <= 900


# --- rate_per_s = "auto" --------------------------------------------------------------------------------------------


def found_rate(
    world: World, run: store.Run, heard: Listener, of: Plan, parameters: Parameters = QUICK, *, again: bool = False
) -> Plan:
    """The plan at the rate that is found for it."""
    bed = Bed(world, of)
    with bed.up() as (databases, holder):
        judges = Judges(validity.judge, validity.judge_start)
        session = Session(of, LAYOUT, run, bed, databases, holder, judges, heard)
        return settle(session, parameters, CONDITIONS, again=again)


def test_a_share_of_the_baselines_rate_is_offered(world: World, run: store.Run, heard: Listener) -> None:
    """To all cells, in slices of the planned length; the plan's hash is of that."""
    open_ = plan(rate_share=0.35)
    settled = found_rate(world, run, heard, open_)
    found = store.load(Search, run.evidence / "rate" / "search.json")
    assert found.cell == "native"
    assert found.rate_per_s is not None
    assert {cell.rate_per_s for cell in settled.cells} == {int(found.rate_per_s * 0.35)}
    for piece in (piece for planned in settled.rounds for piece in planned.slices):
        assert piece.calls == round(piece.rate_per_s * settled.cell(piece.cell).slice_seconds)
    assert settled.hash != open_.hash
    assert [note for note in heard.notes if "35% of the" in note]


def test_cells_that_take_turns_are_offered_that_share_together(world: World, run: store.Run, heard: Listener) -> None:
    """It was found with one cell alone. Of each turn a quarter stays without calls."""
    settled = found_rate(world, run, heard, replace(plan(rate_share=0.35), turn_msec=40))
    found = store.load(Search, run.evidence / "rate" / "search.json")
    assert found.rate_per_s is not None
    assert {cell.rate_per_s for cell in settled.cells} == {int(found.rate_per_s * 0.35 * 0.75 / len(settled.cells))}
    assert [note for note in heard.notes if f"of each of {len(settled.cells)} cells" in note]


def test_the_search_is_evidence_of_its_own(world: World, run: store.Run, heard: Listener) -> None:
    """Its slices and its start are not among those that are compared."""
    found_rate(world, run, heard, plan(rate_share=0.35))
    assert {path.name for path in run.evidence.iterdir()} == {"rate"}
    assert {path.name for path in (run.evidence / "rate").iterdir()} == {"search.json", "searches", "slices", "starts"}


def test_a_rate_is_searched_once_for_the_same_conditions(world: World, tmp_path: Path, heard: Listener) -> None:
    """And again when somebody asks for it, or when a condition has changed."""

    def events(of: Plan, *, again: bool = False) -> int:
        before = len(world.loads())
        run = store.Run.create(tmp_path / "results", "builder")
        found_rate(world, run, heard, of, again=again)
        assert (run.evidence / "rate" / "search.json").is_file()
        return len(world.loads()) - before

    open_ = plan(rate_share=0.35)
    assert events(open_) > 0
    assert events(open_) == 0
    assert events(replace(open_, rate_share=0.5, experiment="another")) == 0
    assert events(open_, again=True) > 0
    assert events(replace(open_, inputs={"routing parity": "changed"})) > 0
    assert events(replace(open_, keep_awake=True)) > 0
    assert events(replace(open_, cells=tuple(replace(cell, children=5) for cell in open_.cells))) > 0


def test_a_baseline_that_serves_nothing_ends_the_run(world: World, run: store.Run, heard: Listener) -> None:
    """With what went wrong, and what helps; the search is kept, and not for the next run."""
    world.serves = {"native": 0}
    with pytest.raises(RateError, match="no rate that native serves without a failure: not even 1/s went") as caught:
        found_rate(world, run, heard, plan(rate_share=0.35))
    assert "rate_per_s" in caught.value.remedy
    assert (run.evidence / "rate" / "search.json").is_file()
    assert not (run.folder.parent / ".rates").exists()


def test_a_rate_that_was_not_confirmed_is_not_kept(world: World, run: store.Run, heard: Listener) -> None:
    """It is good enough for this run, which says so."""
    found_rate(world, run, heard, plan(rate_share=0.35), replace(QUICK, steps=2))
    assert heard.notes[-1].endswith("(not confirmed)")
    assert (run.evidence / "rate" / "search.json").is_file()
    assert not (run.folder.parent / ".rates").exists()
