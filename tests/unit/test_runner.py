"""A whole run without an engine: what is prepared, how it is sealed, and that its evidence is enough for figures."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from lab import awake, capacity, claims, frames, host, override, runner, store, summary, testing, trimmed, validity
from lab import plan as planning
from lab.cores import Layout
from lab.errors import Exit, SetupError, TestbedError, UnavailableError
from lab.host import Facts
from lab.model import Plan, Role, SlicePlan
from lab.planted import Routing
from lab.runner import Asked
from lab.running import Running, whole_mean
from lab.search import Parameters, Search
from tests.bed import LAYOUT, World
from tests.unit import made
from tests.unit.made import FACTS, IMAGES, PLAN, SPECIFICATION, Quiet, built

if TYPE_CHECKING:
    import docker


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Whose testbed is made up."""
    return made.world(tmp_path, monkeypatch)


Run = Callable[..., Path]


@pytest.fixture
def run(world: World, tmp_path: Path) -> Run:  # noqa: ARG001  (there must be one)
    """Run a specification in that world."""
    return partial(made.run, tmp_path / "results")


def latest(tmp_path: Path) -> Path:
    """The folder of the run that was sealed last."""
    return store.find(tmp_path / "results", store.LATEST)


def ended(folder: Path) -> str:
    """How it says that it has ended."""
    status = json.loads((folder / "status.json").read_text())
    assert status["status"] == "sealed"
    return str(status["ended"])


def test_a_run_gives_evidence_that_gives_figures(run: Run, tmp_path: Path) -> None:
    """From the plan to a valid summary: every leg of every cell has its calls, warm-up left out."""
    folder = run()
    assert folder == latest(tmp_path)
    assert ended(folder) == "complete"
    check = ["sha256sum", "--check", "--strict", "--quiet", "manifest.sha256"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    frames.write(folder)
    found = summary.write(folder)
    assert found.valid
    assert {name: cell.legs["authenticated"].count for name, cell in found.cells.items()} == dict.fromkeys(
        ("native", "lua", "native-aa"), 24
    )


def test_a_run_stops_at_the_look_at_which_its_rule_is_met(run: Run, world: World) -> None:
    """The rest is not in the plan any more, so that the run is whole; that it was declared is said."""
    declared = replace(
        PLAN, rounds=tuple(replace(PLAN.rounds[0], number=number, slices=again(number)) for number in range(1, 6))
    )
    declared = replace(declared, looks=(2, 3, 5), alpha=0.02)
    asked: list[int] = []

    def enough(plan: Plan, running: Running, number: int) -> str:
        assert plan.looks == (2, 3, 5)
        found = running.comparisons(plan)["lua", "challenge"]
        assert found.n_rounds == number
        asked.append(number)
        return "it knows" if found.n_rounds == 3 else ""

    folder = run(replace(SPECIFICATION, plan=declared), enough)
    assert asked == [1, 2, 3]
    carried_out = store.load(Plan, folder / "evidence" / "plan.json")
    assert (len(carried_out.rounds), carried_out.stopped_after, carried_out.hash) == (3, 3, declared.hash)
    assert world.history.count("fresh start") == 3
    frames.write(folder)
    found = summary.write(folder)
    assert found.valid
    assert any("stopped after 3 rounds: it may stop after 2, 3, 5 rounds" in note for note in found.notes)


def test_a_run_without_what_it_is_for_does_not_begin(run: Run, world: World, tmp_path: Path) -> None:
    """A gate whose candidate has no image, or whose Kamailio has not its engine, is not measured for half an hour."""
    with pytest.raises(UnavailableError, match="what this experiment compares with cannot be had"):
        run(replace(SPECIFICATION, required=frozenset({"native", "ruby"})))
    assert world.history == []
    assert not list((tmp_path / "results").glob("*"))


def test_what_is_said_on_the_way_is_what_is_said_in_the_end(run: Run) -> None:
    """A rule that stops a run sees the same ratios as its report has, by both means; they are not the same ones."""
    seen = []

    def enough(plan: Plan, running: Running, number: int) -> str:
        if number < 2:
            return ""
        seen.append([running.comparisons(plan, plan.alpha, mean) for mean in (whole_mean, trimmed.mean)])
        return "that will do"

    rounds = tuple(
        replace(PLAN.rounds[0], number=number, slices=tuple(replace(piece, calls=120) for piece in again(number)))
        for number in (1, 2, 3)
    )
    folder = run(replace(SPECIFICATION, plan=replace(PLAN, rounds=rounds, looks=(2, 3), alpha=0.03)), enough)
    frames.write(folder)
    said = summary.write(folder)
    for rows, before in zip((said.comparisons, said.trimmed), seen[0], strict=True):
        found = {(row.cell, row.leg): row.comparison for row in rows}
        assert found.keys() == before.keys()
        for key, one in found.items():
            assert one.n_rounds == 2
            assert one.ci_low
            assert one.ratio == pytest.approx(before[key].ratio)
            assert (one.ci_low, one.ci_high) == pytest.approx((before[key].ci_low, before[key].ci_high))
    for mean, quick in zip(said.comparisons, said.trimmed, strict=True):
        assert mean.ratio != pytest.approx(quick.ratio, rel=1e-3)


def test_nobody_is_asked_after_the_last_round(run: Run) -> None:
    """It is over then anyhow."""
    asked: list[int] = []

    def never(_plan: Plan, _running: Running, number: int) -> str:
        asked.append(number)
        return ""

    folder = run(SPECIFICATION, never)
    assert asked == list(range(1, len(PLAN.rounds)))
    assert store.load(Plan, folder / "evidence" / "plan.json").stopped_after == 0


def test_a_start_that_is_not_proven_spoils_the_run(run: Run, world: World) -> None:
    """Whoever cannot do with a run that is not valid need not wait for its end."""
    seen: list[str] = []
    rounds = tuple(replace(PLAN.rounds[0], number=number, slices=again(number)) for number in (1, 2))

    def enough(_plan: Plan, running: Running, _number: int) -> str:
        seen.append(running.spoilt)
        return running.spoilt

    twice = replace(SPECIFICATION, plan=replace(PLAN, rounds=rounds))
    world.exit_codes["lua"] = 139
    run(twice, enough)
    world.exit_codes.clear()
    world.unmarked.add("lua")
    run(twice, enough)
    assert seen[0] == "lua: Kamailio: ended with exit code 139"
    assert seen[1].startswith("lua: engine proof")


def again(number: int) -> tuple[SlicePlan, ...]:
    """The slices of a first round in a later one."""
    return tuple(replace(piece, round=number) for piece in PLAN.rounds[0].slices)


def test_what_is_known_is_written_before_anything_starts(run: Run, world: World, tmp_path: Path) -> None:
    """A run that fails at its first step still says what it was, and on which machine."""
    world.mute.add("r01-s001-native")
    with pytest.raises(TestbedError):
        run()
    evidence = latest(tmp_path) / "evidence"
    assert (evidence / "experiment.toml").read_text() == "# as the user wrote it\n"
    assert store.load(Plan, evidence / "plan.json") == PLAN
    assert store.load(Facts, evidence / "host.json") == FACTS
    assert store.load(Layout, evidence / "layout.json") == LAYOUT
    assert json.loads((evidence / "images.json").read_text())["database"]["mysql"]["id"] == "sha256:1"
    assert (evidence / "testbed" / "override.yaml").is_file()


def test_what_is_mounted_is_a_copy_in_the_run(run: Run) -> None:
    """Configuration and scripts as Kamailio sees them, traffic and users as SIPp does."""
    cells = (PLAN.cells[0], *(replace(cell, subscribers=12) for cell in PLAN.cells[1:]))
    bed = run(replace(SPECIFICATION, plan=replace(PLAN, cells=cells))) / "evidence" / "testbed"
    mounted = bed / "etc"
    assert (mounted / "kamailio.cfg").read_bytes() == SPECIFICATION.configurations[0].read_bytes()
    assert {path.name for path in (mounted / "parity").iterdir()} >= {"native.cfg", "lua.lua", "python3.py"}
    scenarios = {path.name for path in (bed / "scenarios").iterdir()}
    assert scenarios == {"register.xml", "probe.xml", "users-10.csv", "users-12.csv"}
    assert len((bed / "scenarios" / "users-12.csv").read_text().splitlines()) == 13


def test_each_routing_has_a_folder_of_its_own(run: Run, tmp_path: Path) -> None:
    """Beside the one configuration, which is Kamailio's folder in every cell."""
    lean = tmp_path / "lean"
    lean.mkdir()
    (lean / "native.cfg").write_text("request_route { exit; }\n")
    cells = (*PLAN.cells[:1], replace(PLAN.cells[1], routing="./lean"), *PLAN.cells[2:])
    routings = {**SPECIFICATION.routings, "./lean": Routing(lean)}
    folder = run(replace(SPECIFICATION, plan=replace(PLAN, cells=cells), routings=routings))
    mounted = folder / "evidence" / "testbed" / "etc"
    assert (mounted / "lean" / "native.cfg").read_text() == "request_route { exit; }\n"
    assert (mounted / "parity" / "lua.lua").is_file()
    assert (mounted / "kamailio.cfg").is_file()


def test_a_planted_wait_is_in_the_runs_copy(run: Run) -> None:
    """Beside the routing without it; so the evidence shows what ran."""
    name = "parity-plus-5us"
    cells = (*PLAN.cells[:1], replace(PLAN.cells[1], routing=name), *PLAN.cells[2:])
    routings = {**SPECIFICATION.routings, name: Routing(SPECIFICATION.routings["parity"].folder, 5)}
    folder = run(replace(SPECIFICATION, plan=replace(PLAN, cells=cells), routings=routings))
    mounted = folder / "evidence" / "testbed" / "etc"
    assert "os.clock() + 5e-6" in (mounted / name / "lua.lua").read_text()
    assert "os.clock()" not in (mounted / "parity" / "lua.lua").read_text()
    assert f"LAB_ROUTING: {name}" in (mounted.parent / "override.yaml").read_text()


def test_cpus_are_kept_awake_where_the_plan_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the layout's, for as long as something is up; a machine on which that disturbs is refused at once."""
    kept: list[set[int]] = []

    def keep(cpus: Iterable[int]) -> AbstractContextManager[None]:
        kept.append(set(cpus))
        return nullcontext()

    monkeypatch.setattr(awake, "require", lambda: None)
    monkeypatch.setattr(awake, "kept", keep)
    run(SPECIFICATION)
    awake_plan = replace(SPECIFICATION, plan=replace(PLAN, keep_awake=True))
    run(awake_plan)
    assert kept == [set(), set(LAYOUT.all)]

    def refuse() -> None:
        raise SetupError("keep_awake: not here")

    monkeypatch.setattr(awake, "require", refuse)
    with pytest.raises(SetupError, match="not here"):
        run(awake_plan)
    assert len(kept) == 2


def test_a_configuration_of_another_name_has_ours_beside_it(run: Run, tmp_path: Path) -> None:
    """It may include ours; every cell is told which one to load."""
    mine = tmp_path / "mine.cfg"
    mine.write_text('include_file "kamailio.cfg"\n')
    plan = replace(PLAN, cells=tuple(replace(cell, configuration="mine.cfg") for cell in PLAN.cells))
    bed = run(replace(SPECIFICATION, plan=plan, configurations=(mine,))) / "evidence" / "testbed"
    assert (bed / "etc" / "mine.cfg").read_bytes() == mine.read_bytes()
    assert (bed / "etc" / "kamailio.cfg").read_bytes() == SPECIFICATION.configurations[0].read_bytes()
    assert (bed / "override.yaml").read_text().count("LAB_CONFIGURATION: mine.cfg") == len(PLAN.cells)


def test_the_driver_stays_on_its_own_cpus_while_it_measures(run: Run, world: World) -> None:
    """And has all of them again afterwards."""
    layout = Layout("lists", {Role.KAMAILIO: (1,), Role.MYSQL: (0,), Role.SIPP: (0,), Role.DRIVER: (7,)})
    run(replace(SPECIFICATION, layout=layout))
    events = [event for event, _ in groupby(world.history)]  # one a thread
    assert [event for event in events if event.startswith("pinned")] == ["pinned [7]", "pinned [0]"]
    assert events[0] == "pinned [7]"


def test_schema_and_subscribers_are_there_before_the_first_round(run: Run, world: World) -> None:
    """On each server those of the releases that use it, from their own SQL files; as many as the largest cell takes."""
    other = replace(PLAN.cells[1], kamailio="5.6.3", database="mariadb", subscribers=12)
    cells = (PLAN.cells[0], other, PLAN.cells[2])
    images = replace(
        IMAGES,
        kamailio={**IMAGES.kamailio, "5.6.3": built("kamailio:5.6.3", 3, "lua")},
        database={**IMAGES.database, "mariadb": built("mariadb:11.8", 4)},
        schemas={"6.0.1": b"new", "5.6.3": b"old"},
    )
    plan = replace(PLAN, cells=cells)
    folder = run(replace(SPECIFICATION, plan=plan, make_images=lambda _: images))
    made = [event for event in world.history if event.partition(" ")[0] in {"schema", "subscribers"}]
    assert made == [
        "schema mysql 6.0.1 new",
        "subscribers 12 kamailio_of_6_0_1",
        "schema mariadb 5.6.3 old",
        "subscribers 12 kamailio_of_5_6_3",
    ]
    assert world.history.index(made[-1]) < world.history.index("renew kamailio_native kamailio_of_6_0_1")
    kept = json.loads((folder / "evidence" / "images.json").read_text())
    assert set(kept["kamailio"]) == {"6.0.1", "5.6.3"}
    assert set(kept["database"]) == {"mysql", "mariadb"}


# --- what cannot be had ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (
            replace(IMAGES, kamailio={"6.0.1": built("kamailio:6.0.1", 0, "native", lua="no liblua5.1")}),
            "lua: kemi-lab/kamailio:6.0.1 has no engine lua: no liblua5.1",
        ),
        (
            replace(IMAGES, kamailio={"6.0.1": built("kamailio:6.0.1", 0, "native")}),
            "lua: kemi-lab/kamailio:6.0.1 has no engine lua: its source has none",
        ),
    ],
)
def test_an_engine_that_the_image_lacks_is_left_out_and_told(
    run: Run, tmp_path: Path, images: runner.Images, reason: str
) -> None:
    """The others are measured; plan, summary and reader know what is missing and why."""
    folder = run(replace(SPECIFICATION, make_images=lambda _: images))
    assert store.load(Plan, folder / "evidence" / "plan.json").left_out == (reason,)
    frames.write(folder)
    found = summary.write(folder)
    assert list(found.cells) == ["native", "native-aa"]
    assert found.valid
    assert f"left out: {reason}" in found.notes
    assert folder == latest(tmp_path)


def test_a_release_that_cannot_be_had_is_left_out_with_all_its_cells(run: Run, world: World) -> None:
    """Nothing of it is started, or asked for."""
    gone = replace(PLAN.cells[1], name="lua-5.4.4", kamailio="5.4.4")
    plan = replace(PLAN, cells=(*PLAN.cells, gone))
    images = replace(IMAGES, unavailable={"5.4.4": "the mirror does not serve bullseye"})
    folder = run(replace(SPECIFICATION, plan=plan, make_images=lambda _: images))
    kept = store.load(Plan, folder / "evidence" / "plan.json")
    assert kept.left_out == ("lua-5.4.4: the mirror does not serve bullseye",)
    assert kept.releases == ("6.0.1",)
    assert [event for event in world.history if "5.4.4" in event] == []
    assert json.loads((folder / "evidence" / "images.json").read_text())["unavailable"] == images.unavailable


def test_without_what_all_is_compared_with_there_is_no_run(run: Run, tmp_path: Path) -> None:
    """A set-up problem, with everything that is missing; there is no folder of it."""
    images = replace(IMAGES, kamailio={"6.0.1": built("kamailio:6.0.1", 0, "lua", native="no compiler")})
    with pytest.raises(UnavailableError, match="compares with cannot be had") as caught:
        run(replace(SPECIFICATION, make_images=lambda _: images))
    assert caught.value.exit_code == Exit.SETUP
    assert "native: kemi-lab/kamailio:6.0.1 has no engine native: no compiler" in caught.value.detail
    assert not (tmp_path / "results").exists()


def test_an_engine_that_cannot_do_the_work_makes_no_valid_run(run: Run, world: World) -> None:
    """It comes to its planned end, and the cell is broken, without a figure."""
    world.unable["lua"] = "register.xml"
    found = figures(run())
    assert not found.valid
    assert list(found.broken) == ["lua"]
    assert "rehearsal of register: SIPp ended with exit code 1" in found.broken["lua"]


def test_what_is_known_not_to_work_is_no_fault_of_the_run(run: Run, world: World) -> None:
    """It is broken all the same, and says what is known of it."""
    world.unable["lua"] = "register.xml"
    found = figures(run(replace(SPECIFICATION, plan=testing.known(PLAN, "lua", known_broken="it leaks"))))
    assert found.valid
    assert found.broken["lua"].endswith("; known: it leaks")


def figures(folder: Path) -> summary.Summary:
    """The summary of a run."""
    frames.write(folder)
    return summary.write(folder)


def test_who_may_not_pin_is_told(run: Run, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cgroup, or who made the container that the lab is in, may forbid it: no testbed is raised then."""

    def forbid(_thread: int, _cpus: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbid)
    with pytest.raises(SetupError, match="may not pin itself to CPUs 0: Operation not permitted") as caught:
        run()
    assert "lab cpus" in caught.value.remedy
    assert ended(latest(tmp_path)) == "failed"
    assert world.history == []


# --- rates that are searched ----------------------------------------------------------------------------------------

QUICK = Parameters(start_per_s=50, growth=1, resolution=0.5, tries=1, confirmations=1, step_seconds=0.2)


def test_an_open_rate_is_found_before_the_first_round(run: Run, world: World) -> None:
    """The plan in the evidence is the one that was carried out; the search disturbs no figure."""
    world.serves = dict.fromkeys(("native", "lua", "native-aa"), 300)
    open_ = replace(SPECIFICATION, plan=replace(PLAN, rate_share=0.5), asked=Asked(QUICK))
    folder = run(open_)
    plan = store.load(Plan, folder / "evidence" / "plan.json")
    found = store.load(Search, folder / "evidence" / "rate" / "search.json")
    assert found.rate_per_s == 283
    assert {cell.rate_per_s for cell in plan.cells} == {141}
    assert figures(folder).valid
    searched = len(world.loads())
    run(open_)
    assert len(world.loads()) == searched + sum(len(planned.slices) for planned in plan.rounds)
    run(replace(open_, asked=Asked(QUICK, new_rate=True)))
    assert len(world.loads()) == searched * 2 + sum(len(planned.slices) for planned in plan.rounds)


def test_an_open_rate_needs_the_disk_of_what_was_found(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is known there is only the rate at which the search begins."""
    asked: list[int] = []
    monkeypatch.setattr(host, "require_disk", lambda _, size: asked.append(size))
    world.serves = dict.fromkeys(("native", "lua", "native-aa"), 300)
    open_ = replace(SPECIFICATION, plan=replace(PLAN, rate_share=0.5), asked=Asked(QUICK))
    settled = store.load(Plan, run(open_) / "evidence" / "plan.json")
    assert asked == [planning.log_bytes(open_.plan), planning.log_bytes(settled)]
    assert asked[0] != asked[1]


def test_capacity_is_a_run_like_any_other(world: World, tmp_path: Path) -> None:
    """CPUs are claimed and pinned, evidence is sealed, all is taken down; there are searches in place of rounds."""
    world.serves = {"native": 300, "lua": 150}
    folder = runner.capacity(
        replace(SPECIFICATION, asked=Asked(QUICK)),
        cast("docker.DockerClient", None),
        tmp_path / "results",
        judge_start=validity.judge_start,
        reporter=Quiet(),
    )
    assert folder == latest(tmp_path)
    assert ended(folder) == "complete"
    assert [event for event, _ in groupby(world.history)][-2:] == ["down", "pinned [0]"]
    found = capacity.write(folder)
    assert found.valid
    rates = {name: [rate.rate_per_s for rate in cell.rates] for name, cell in found.cells.items()}
    assert rates == {"native": [pytest.approx(283)], "lua": [pytest.approx(141)]}


# --- how it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "how"), [("silent", "failed"), ("interrupted", "interrupted")])
def test_however_it_ends_it_is_sealed_with_what_was_measured(
    run: Run, world: World, tmp_path: Path, fault: str, how: str
) -> None:
    """And taken down; figures can be made of it, which are never valid."""
    getattr(world, fault).add("r02-s001-native")
    with pytest.raises((TestbedError, KeyboardInterrupt)) as caught:
        run()
    folder = latest(tmp_path)
    assert ended(folder) == how
    assert getattr(caught.value, "kept", None) == folder  # for whoever tells the user
    assert json.loads((folder / "status.json").read_text())["error"] == str(caught.value)
    assert [event for event, _ in groupby(world.history)][-2:] == ["down", "pinned [0]"]
    assert len(list((folder / "evidence" / "slices").iterdir())) == 6
    frames.write(folder)
    assert not summary.write(folder).valid


def test_a_cell_that_cannot_be_proven_makes_no_valid_run(run: Run, world: World) -> None:
    """It comes to its planned end, and says which cell is broken."""
    world.says["lua"] = "native"
    folder = run()
    assert ended(folder) == "complete"
    frames.write(folder)
    found = summary.write(folder)
    assert not found.valid
    assert list(found.broken) == ["lua"]


def test_cpus_that_are_taken_refuse_the_run(run: Run, world: World, tmp_path: Path) -> None:
    """Before there is anything of it: not even an image is built, on CPUs that another run measures."""

    def build(_: object) -> runner.Images:
        world.history.append("built")
        return IMAGES

    with (
        claims.claim([1], "20261123T080000Z-other"),
        pytest.raises(SetupError, match="taken by 20261123T080000Z-other"),
    ):
        run(replace(SPECIFICATION, make_images=build))
    assert not (tmp_path / "results").exists()
    assert world.history == []
    assert run().is_dir()


def test_a_disk_without_room_refuses_the_run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What would die half-way is not begun."""
    monkeypatch.setattr(host, "DISK_MINIMUM_BYTES", 2**70)
    with pytest.raises(SetupError, match="left on the disk") as caught:
        run()
    assert "--results" in caught.value.remedy
    assert not (tmp_path / "results").exists()


def test_the_override_is_that_of_the_plan(run: Run) -> None:
    """Whoever reads the run can raise its testbed again."""
    folder = run() / "evidence" / "testbed"
    images = override.Images({"6.0.1": "sha256:0"}, {"mysql": "sha256:1"}, "sha256:2")
    expected = override.build(PLAN, LAYOUT, images, str(folder))
    assert (folder / "override.yaml").read_text() == override.text(expected)
