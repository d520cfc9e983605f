"""The commands that judge, from their command line to their exit code: all but the testbed, whose times are made up."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab import host, noise, runner, store, testing, topology
from lab.cores import Layout
from lab.errors import Exit, TestbedError
from lab.host import Facts
from lab.model import Plan, Role
from lab.runner import Specification
from lab.running import Enough, Running
from tests.unit import machine, profiles
from tests.unit.test_cli import Lab, lab_command

__all__ = ["lab_command"]  # a fixture

EXPERIMENT = """
name = "gate"
engines = ["native"]
baseline = "native"
rounds = 8
slices = 2
slice_seconds = 0.5
rate_per_s = 100
repeats = 0

[stop]
looks = [4, 8]
"""


@dataclasses.dataclass
class World:
    """How the testbed of these tests behaves."""

    results: Path
    file: Path
    factors: list[float] = dataclasses.field(default_factory=lambda: [1.0])  # of the candidate, run by run
    broken: bool = False  # the candidate's start is not proven
    dies: str = ""  # the cell whose Kamailio does, at the start of the first round
    disturbed: bool = False  # two slices of the first round are run again, of which one stays invalid
    tails: set[str] = dataclasses.field(default_factory=set)  # cells of which few requests are slow
    instructions: int = 100_000  # of a candidate's request, where they are counted; a base's has as many
    runs: list[str] = dataclasses.field(default_factory=list)
    carried_out: list[Specification] = dataclasses.field(default_factory=list)

    def options(self) -> tuple[object, ...]:
        """Where things are."""
        return ("--experiment", self.file, "--results", self.results)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A machine on which a leg takes what a test says."""
    place = World(tmp_path / "results", tmp_path / "gate.toml")
    place.file.write_text(EXPERIMENT)

    def run(
        specification: Specification, _client: object, results: Path, *, enough: Enough, **_judges_and_reporter: object
    ) -> Path:
        place.carried_out.append(specification)
        if place.dies:
            broken_off = store.Run.create(results, "gate")
            broken_off.seal("failed")
            error = TestbedError("Kamailio died at start", detail="a line of its log", cell=place.dies)
            error.kept = broken_off.folder  # type: ignore[attr-defined]
            raise error
        plan, running = specification.plan, Running()
        factor = place.factors[min(len(place.runs), len(place.factors) - 1)]
        made = []
        for planned in plan.rounds:
            for piece in planned.slices:
                # The seed of a slice is its name: another one in each run.
                log = testing.slice_log(
                    replace(piece, round=piece.round + 100 * len(place.runs)),
                    factor=factor if piece.cell.endswith("-candidate") else 1.0,
                )
                log = log.replace(f"|{piece.round + 100 * len(place.runs)}.".encode(), f"|{piece.round}.".encode())
                log = slow_tail(log) if piece.cell in place.tails else log
                made.append((testing.record(piece, log, engine=plan.cell(piece.cell).engine), log))
                if place.disturbed and (piece.round, piece.position) in {(1, 2), (1, 3)}:
                    done = made.pop()[0]
                    made.append((replace(done, reasons=("once only",)), log))
                    still = ("it was there again",) if piece.position == 3 else ()
                    made.append((replace(done, plan=replace(piece, attempt=2), reasons=still), log))
                running.add(made[-1][0], testing.times(piece, log))
            if planned.number < len(plan.rounds) and enough(plan, running, planned.number):
                plan = replace(plan, rounds=plan.rounds[: planned.number], stopped_after=planned.number)
                break
        unproven = "engine proof: no marker"
        folder = testing.run(
            results,
            plan,
            made,
            spoil=lambda start: (
                replace(start, reasons=(unproven,)) if place.broken and "candidate" in start.cell else start
            ),
        )
        place.runs.append(folder.name)
        return machine.describe(folder)

    def count(specification: Specification, _client: object, results: Path, **_judge_and_reporter: object) -> Path:
        place.carried_out.append(specification)
        plan = specification.plan
        assert plan.counting
        requests = 1 + 2 * (1 + plan.counting.warmup_calls + plan.counting.calls)
        starts = [
            (cell.name, [place.instructions if cell.name.endswith("-candidate") else 100_000] * requests)
            for _ in plan.rounds
            for cell in plan.cells
            if place.dies != cell.name
        ]
        folder = profiles.run(results, plan, *starts)
        place.runs.append(folder.name)
        return folder

    known = {field.name: machine.FACTS[field.name] for field in dataclasses.fields(Facts)}
    monkeypatch.setattr(host, "engine", lambda: None)
    monkeypatch.setattr(host, "facts", lambda _client: Facts(**known))  # type: ignore[arg-type]
    monkeypatch.setattr(topology, "this", lambda: topology.read(Path("/nowhere"), (0, 1), 0))
    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(runner, "count", count)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return place  # type: ignore[return-value]


Gate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gate(lab_command: Lab, world: World) -> Gate:
    """A gate of our routing against itself, whose candidate takes what the world says."""

    def run(*options: object) -> tuple[int, str, str]:
        return lab_command("gate", "parity", "parity", "--delta", "20%", *world.options(), *options)

    return run


@pytest.mark.parametrize(
    ("factors", "options", "code", "word", "runs"),
    [
        ([1.0], (), Exit.OK, "PASS", 1),
        ([0.5], (), Exit.OK, "IMPROVEMENT", 1),
        ([0.5], ("--tell-improvement",), Exit.IMPROVEMENT, "IMPROVEMENT", 1),
        ([1.6], (), Exit.REGRESSION, "REGRESSION", 2),
        ([1.6, 1.0], (), Exit.INCONCLUSIVE, "INCONCLUSIVE", 2),
        ([1.2], (), Exit.INCONCLUSIVE, "INCONCLUSIVE", 1),
    ],
    ids=["pass", "improvement", "told improvement", "regression", "not confirmed", "near delta"],
)
def test_each_verdict_has_its_code(  # noqa: PLR0917
    gate: Gate,
    world: World,
    factors: list[float],
    options: tuple[str, ...],
    code: Exit,
    word: str,
    runs: int,
) -> None:
    """The word comes first; a regression takes two runs."""
    world.factors = factors
    ended = gate(*options)
    assert (ended[0], len(world.runs)) == (code, runs), ended[1]
    assert ended[1].startswith(f"{word}: ")


def test_a_candidate_that_cannot_be_proven_is_invalid(gate: Gate, world: World) -> None:
    """Never a pass, however quick it looks; what failed is said."""
    world.broken, world.factors = True, [0.1]
    code, out, _ = gate()
    assert code == Exit.INVALID
    assert out.startswith("INVALID: start r01-native-candidate: engine proof: no marker")


def test_a_candidate_that_dies_is_invalid(gate: Gate, world: World, tmp_path: Path) -> None:
    """That is a verdict, with all that belongs to one; its last words are told."""
    world.dies = "native-candidate"
    code, out, err = gate("--junit", tmp_path / "gate.xml", "--summary", tmp_path / "summary.md")
    assert code == Exit.INVALID
    assert out.startswith("INVALID: ")
    assert "Kamailio died at start" in out
    assert "a line of its log" in err
    (run,) = (path for path in world.results.iterdir() if path.name.endswith("Z-gate") or "-gate-" in path.name)
    assert json.loads((run / "gate.json").read_text())["verdict"] == "invalid"
    assert ET.parse(tmp_path / "gate.xml").getroot().get("errors") == "1"  # noqa: S314  (our own)
    assert "invalid" in (tmp_path / "summary.md").read_text()


def test_a_base_that_dies_is_a_problem_of_the_setup(gate: Gate, world: World) -> None:
    """Nothing is known of the candidate then."""
    world.dies = "native-base-aa"
    assert gate()[0] == Exit.SETUP


def test_a_confirmation_has_another_order(gate: Gate, world: World) -> None:
    """What an effect of the order had condemned is not confirmed by the same order."""
    world.factors = [1.6]
    assert gate()[0] == Exit.REGRESSION
    first, second = (one.plan for one in world.carried_out)
    assert {cell.name for cell in first.cells} == {cell.name for cell in second.cells}
    assert [piece.cell for piece in first.rounds[0].slices] != [piece.cell for piece in second.rounds[0].slices]


def test_what_a_repeat_has_made_good_is_no_reason(gate: Gate, world: World) -> None:
    """The headline names what is wrong in the end."""
    world.disturbed = True
    world.file.write_text(EXPERIMENT.replace("repeats = 0", "repeats = 1"))
    code, out, _ = gate()
    assert code == Exit.INVALID
    assert out.startswith("INVALID: r01-s003-native-candidate-again1: it was there again")
    assert "once only" not in out


def test_a_gate_ends_at_the_look_that_settles_it(gate: Gate, world: World) -> None:
    """After four of eight rounds; near delta it runs to its end."""
    gate()
    world.factors = [1.2]
    gate()
    plans = [store.load(Plan, world.results / run / "evidence" / "plan.json") for run in world.runs]
    assert [len(plan.rounds) for plan in plans] == [4, 8]


def slow_tail(log: bytes) -> bytes:
    """A log in which the seventh call's requests take a hundred times as long."""
    return re.sub(rb"(-7\|.* in: \d+)( usec)", rb"\g<1>00\g<2>", log)


def test_few_slow_requests_of_a_candidate_are_condemned_by_the_mean_of_all(gate: Gate, world: World) -> None:
    """Which the trimmed mean does not see; the verdict is of the summary as well as of the looks on the way."""
    world.tails = {"native-candidate"}
    code, out, _ = gate()
    assert code == Exit.REGRESSION
    assert out.startswith("REGRESSION: challenge (all requests): it is slower by ")
    assert "| challenge                " in out
    assert re.search(r"\| challenge +\|.*\| pass: ", out)


def test_what_few_requests_of_the_base_take_is_noise_of_the_mean_of_all(gate: Gate, world: World) -> None:
    """The history has both, and entries of another design do not count."""
    world.tails = {"native-base-aa"}
    assert gate()[0] == Exit.INCONCLUSIVE
    (entry,) = noise.history(world.results)
    assert (entry.legs["challenge (all requests)"].ratio or 0) > 1.5
    assert entry.legs["challenge"].ratio == pytest.approx(1, abs=0.05)
    plan = store.load(Plan, world.results / world.runs[0] / "evidence" / "plan.json")
    assert noise.smallest_delta([entry], entry.machine, plan)
    assert noise.smallest_delta([replace(entry, design="of before")], entry.machine, plan) is None


def test_it_is_told_to_programs(gate: Gate, world: World, tmp_path: Path) -> None:
    """JSON on standard output and in the run's folder, JUnit XML, a summary that is added to, an annotation."""
    (tmp_path / "summary.md").write_text("before\n")
    files = ("--junit", tmp_path / "deep" / "gate.xml", "--summary", tmp_path / "summary.md")
    code, out, _ = gate("--json", *files)
    assert code == Exit.OK
    found = json.loads(out)
    assert (found["verdict"], found["base"], found["engine"], found["delta"]) == ("pass", "parity", "native", 0.2)
    assert found == json.loads((world.results / world.runs[0] / "gate.json").read_text())
    assert ET.parse(tmp_path / "deep" / "gate.xml").getroot().get("failures") == "0"  # noqa: S314  (our own)
    assert (tmp_path / "summary.md").read_text().startswith("before\n## kemi-lab gate: pass\n")
    assert gate("--annotate")[1].splitlines()[-1].startswith("::notice title=kemi-lab gate%3A pass::")


@pytest.mark.parametrize("option", ["--junit", "--summary"])
@pytest.mark.parametrize("place", [".", "file/below"])
def test_where_nothing_can_be_written_is_told_before_anything_is_measured(
    gate: Gate, world: World, tmp_path: Path, option: str, place: str
) -> None:
    """Not after half an hour."""
    (tmp_path / "file").touch()
    code, _, err = gate(option, tmp_path / place)
    assert (code, world.runs) == (Exit.USAGE, [])
    assert f"{option} {tmp_path / place}: no file that can be written" in err


def test_json_stays_json_within_github(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotation goes beside it."""
    monkeypatch.setitem(os.environ, "GITHUB_ACTIONS", "true")
    _, out, err = gate("--json")
    assert json.loads(out)["verdict"] == "pass"
    assert "::notice title=kemi-lab gate%3A pass::" in err


def test_the_same_gate_twice_has_the_same_plan(gate: Gate, world: World) -> None:
    """Wherever its copies lay."""
    gate()
    gate()
    plans = [store.load(Plan, world.results / run / "evidence" / "plan.json") for run in world.runs]
    assert plans[0].hash == plans[1].hash
    assert {cell.routing for cell in plans[0].cells} == {"./base", "./candidate"}


def test_github_is_told_without_being_asked(gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By what it puts into the environment of a step."""
    monkeypatch.setitem(os.environ, "GITHUB_ACTIONS", "true")
    monkeypatch.setitem(os.environ, "GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert "::notice title=" in gate()[1]
    assert "## kemi-lab gate" in (tmp_path / "summary.md").read_text()


def test_a_delta_below_the_noise_is_refused(gate: Gate, lab_command: Lab, world: World) -> None:
    """Before anything is measured; what helps is said. Without a history it goes on, and says that there is none."""
    assert "lab aa does" in gate()[2]
    assert lab_command("aa", *world.options())[0] == Exit.OK
    done = len(world.runs)
    ended = lab_command("gate", "parity", "parity", "--delta", "0.1%", *world.options())
    assert ended.code == Exit.USAGE
    assert "--delta 0.1% is less than this machine can tell apart" in ended.err
    assert len(world.runs) == done


def test_noise_has_a_history(lab_command: Lab, world: World) -> None:
    """Of every run of a cell against itself, on a machine and by a design: a gate's own arm is one."""
    first = json.loads(lab_command("aa", *world.options(), "--json").out)
    assert first["latest"]["cell"] == "native-base"
    assert first["latest"]["rounds"] == 8, "it is not stopped early"
    assert first["delta"] > max(first["latest"]["deviations"].values()) / 8**0.5
    lab_command("gate", "parity", "parity", "--delta", "20%", *world.options())
    world.file.write_text(EXPERIMENT.replace("slices = 2", "slices = 3"))
    lab_command("aa", *world.options())
    assert len(noise.history(world.results)) == 3
    world.file.write_text(EXPERIMENT)
    said = lab_command("aa", *world.options()).out
    assert "native-base against itself" in said
    assert said.count("-gate-") == 4, "three runs of this design, and the latest above"
    assert "the smallest delta of a gate here: " in said


def test_the_smallest_delta_is_that_of_the_gate_which_asks(lab_command: Lab, world: World) -> None:
    """Noise is of a round; how many a gate has is its own."""
    lab_command("aa", *world.options())
    (entry,) = noise.history(world.results)
    plan = store.load(Plan, world.results / world.runs[0] / "evidence" / "plan.json")
    fewer = replace(plan, rounds=plan.rounds[:4], looks=(2, 4))
    found = [noise.smallest_delta([entry], entry.machine, asked) for asked in (plan, fewer)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[1] > 1.3 * found[0]
    assert noise.smallest_delta([entry], entry.machine, replace(plan, rounds=plan.rounds[:1], looks=())) is None
    assert noise.smallest_delta([entry], "another", plan) is None


def test_a_rate_that_is_searched_is_one_design(lab_command: Lab, world: World) -> None:
    """Whatever is found: it differs from run to run."""
    lab_command("aa", *world.options())
    plan = store.load(Plan, world.results / world.runs[0] / "evidence" / "plan.json")
    searched = [
        replace(plan, rate_share=0.35, cells=tuple(replace(cell, rate_per_s=rate) for cell in plan.cells))
        for rate in (400, 731)
    ]
    assert noise.design_of(searched[0]) == noise.design_of(searched[1]) != noise.design_of(plan)


@pytest.mark.parametrize("delta", ["0", "-3%", "100%", "much", "nan"])
def test_a_delta_is_a_share(lab_command: Lab, delta: str) -> None:
    """More than nothing, and less than all."""
    ended = lab_command("gate", "parity", "parity", f"--delta={delta}")
    assert ended.code == Exit.USAGE
    assert "a share such as 0.03 or 3% expected" in ended.err


def test_bad_names_are_told_before_an_engine_is_asked_for(
    lab_command: Lab, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing starts."""

    def engine() -> None:
        raise AssertionError

    monkeypatch.setattr(host, "engine", engine)
    ended = lab_command("gate", "nowhere.lua", "nowhere.lua", *world.options())
    assert ended.code == Exit.USAGE
    assert "nowhere.lua: nothing that can be compared" in ended.err


def test_a_defect_has_its_code_at_a_shell() -> None:
    """A process of its own, in which judging fails in a way that nobody has foreseen."""
    spoilt = "from lab import cli, experiment; experiment.read = lambda _file: 1 / 0; cli.entry()"
    command = [sys.executable, "-c", spoilt, "gate", "parity", "parity"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (Exit.DEFECT, "")
    assert "ZeroDivisionError" in done.stderr


def test_gates_help_shows_the_exit_codes(lab_command: Lab) -> None:
    """Where who writes a workflow looks for them."""
    said = lab_command("gate", "--help").out
    for words in ("1    of a gate: regression", "3    of a gate: inconclusive", "4 ", "6    of a gate"):
        assert words in said


def test_the_experiment_says_how_it_was_carried_out(gate: Gate, world: World) -> None:
    """Its base and candidate are not in the file."""
    gate()
    first, *rest = world.carried_out[0].experiment.splitlines()
    assert first == "# as carried out by: lab gate parity parity --engine native, with seed 1"
    assert "\n".join(rest) == EXPERIMENT.rstrip("\n")


def test_noise_is_of_all_rounds(lab_command: Lab, world: World) -> None:
    """Also where the experiment may stop when it is quiet: that run would say that it always is."""
    world.file.write_text(EXPERIMENT + "half_width = 0.9\n")
    assert json.loads(lab_command("aa", *world.options(), "--json").out)["latest"]["rounds"] == 8


def test_a_damaged_history_is_told_before_anything_is_measured(lab_command: Lab, world: World) -> None:
    """With the file's name."""
    (world.results / ".noise").mkdir(parents=True)
    (world.results / ".noise" / "bad.json").write_text("{")
    ended = lab_command("aa", *world.options())
    assert (ended.code, world.runs) == (Exit.USAGE, [])
    assert "bad.json" in ended.err


def test_layouts_and_machines_are_told_apart() -> None:
    """Noise of another layout is another noise."""
    here = noise.machine_of(machine.FACTS, machine.CPUS)
    assert here == noise.machine_of(machine.FACTS, {role: tuple(cpus) for role, cpus in machine.CPUS.items()})
    assert here != noise.machine_of(machine.FACTS, machine.CPUS | {"kamailio": [0]})
    assert here != noise.machine_of(machine.FACTS | {"kernel": "6.2"}, machine.CPUS)
    assert here == noise.machine_of(machine.FACTS | {"compose": "2.27"}, machine.CPUS)
    layout = Layout("auto", {role: tuple(machine.CPUS[role.value]) for role in Role})
    assert here == noise.machine_of(machine.FACTS, {role.value: cpus for role, cpus in layout.cpus.items()})


def test_base_and_candidate_are_required(gate: Gate, world: World) -> None:
    """Without one of them nothing is worth measuring."""
    gate()
    assert world.carried_out[0].required == {"native-base", "native-candidate"}


@pytest.mark.parametrize(
    ("instructions", "code", "word"),
    [
        (100_000, Exit.OK, "PASS"),
        (98_000, Exit.OK, "IMPROVEMENT"),
        (102_000, Exit.REGRESSION, "REGRESSION"),
        (100_500, Exit.INCONCLUSIVE, "INCONCLUSIVE"),
    ],
)
def test_a_gate_by_instructions_needs_no_time(
    gate: Gate, world: World, instructions: int, code: Exit, word: str
) -> None:
    """One run, and none that is timed; a regression is not asked for twice, as there is no noise to confirm it."""
    world.instructions = instructions
    ended = gate("--by", "instructions", "--delta-instructions", "0.5%")
    assert ended[0] == code, ended[2]
    assert ended[1].startswith(f"{word}: ")
    assert len(world.runs) == 1
    assert "nobody has measured" not in ended[2]
    assert (world.results / world.runs[0] / "gate.json").exists()


def test_both_gates_have_one_verdict(gate: Gate, world: World) -> None:
    """Instructions first, as that is quick; then time, as ever."""
    world.instructions, world.factors = 102_000, [1.0]
    code, out, _ = gate("--by", "both", "--json")
    found = json.loads(out)
    assert code == Exit.REGRESSION
    assert found["counted"]["verdict"] == "regression"
    assert [one["verdict"] for one in found["attempts"]] == ["pass"]
    assert (found["delta"], found["counted_delta"]) == (0.2, 0.005)
    assert "takes no time that would matter" in found["reason"]


def test_delta_is_of_instructions_where_nothing_else_is_asked_for(gate: Gate, world: World) -> None:
    """Two per cent more may pass then."""
    world.instructions = 102_000
    assert gate("--by", "instructions")[0] == Exit.OK  # 20 %


def test_a_delta_within_what_is_left_is_refused(lab_command: Lab, world: World) -> None:
    """Fresh starts may differ by a thousandth."""
    ended = lab_command("gate", "parity", "parity", "--by", "instructions", "--delta", "0.1%", *world.options())
    assert ended.code == Exit.USAGE
    assert "less than the 0.2% that can be asked for" in ended.err
    assert not world.runs


def test_a_base_that_cannot_be_counted_is_a_problem_of_the_setup(gate: Gate, world: World) -> None:
    """As one that dies in a timed run is."""
    world.dies = "native-base"
    code, _, err = gate("--by", "instructions")
    assert code == Exit.SETUP
    assert "the base cannot be counted" in err
