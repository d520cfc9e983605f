"""The command line: what goes to which stream, and which exit code each way to end has."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, TextIO

import docker.errors
import pytest
import requests
import urllib3

import lab.errors
from lab import (
    assembly,
    cli,
    disturbances,
    host,
    images,
    leftovers,
    matrix,
    process,
    runner,
    store,
    testbed,
    testing,
    topology,
    tuning,
)
from lab.disturbances import Disturbance
from lab.errors import BadInputError, Exit, LabError, SetupError, TestbedError, UnavailableError
from lab.host import Check
from lab.images import Recipe
from lab.leftovers import Leftover
from lab.model import SliceRecord
from lab.search import RFC7502, Parameters, Search, Step
from lab.session import Judges, Reporter
from lab.versions import ROOT
from tests.unit import laptop
from tests.unit.signals import own_signals

COMMANDS = (
    "doctor",
    "tune",
    "cpus",
    "images",
    "engines",
    "up",
    "down",
    "clean",
    "run",
    "resume",
    "count",
    "frames",
    "report",
    "published",
    "resolution",
    "observer",
    "capacity",
    "gate",
    "aa",
    "compare",
    "history",
    "archive",
    "verify",
    "restore",
    "reproduce",
    "open",
    "export-images",
    "import-images",
)
PLAN = testing.plan(rounds=2, slices=1, calls=4)
EXPERIMENT = ROOT / "experiments" / "quick.toml"
SCRIPT = Path(sys.executable).with_name("lab")


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Lab = Callable[..., Ended]


@pytest.fixture
def lab_command(capfd: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    """The command line, in this process."""

    def lab_command(*arguments: object) -> Ended:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse, on its own
            code = int(ended.code or 0)
        return Ended(code, *capfd.readouterr())

    with own_signals():
        yield lab_command


def make(results: Path, *, spoilt: bool = False) -> Path:
    """A run with its figures; a spoilt one has an invalid slice."""
    made = testing.slices(PLAN)
    if spoilt:
        record, log = made[-1]
        made[-1] = (replace(record, reasons=("SIPp: 3 of 4 calls succeeded",)), log)
    folder = testing.run(results, PLAN, made)
    cli.main(["frames", folder.name, "--results", str(results)])
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with one valid run."""
    results = tmp_path_factory.mktemp("recorded")
    with own_signals():
        make(results)
    return results


@pytest.fixture
def results(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it, to do with as a test likes."""
    return shutil.copytree(recorded, tmp_path / "results", symlinks=True)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no engine answers."""

    def engine() -> None:
        raise SetupError("no Docker Engine answers: refused", remedy="./justw --engine")

    monkeypatch.setattr(host, "engine", engine)


def closed_terminal() -> int:
    """A terminal's file after its window was closed."""
    window, terminal = os.openpty()
    os.close(window)
    return terminal


def closed_pipe() -> int:
    """A pipe to a program that has ended."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.fixture(params=[closed_terminal, closed_pipe])
def unread(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    """A stream that nobody reads any more."""
    with os.fdopen(request.param(), "w") as stream:
        yield stream


def raising(error: BaseException) -> Callable[..., None]:
    """A function that only raises."""

    def function(*_: object, **__: object) -> None:
        raise error

    return function


# --- help and usage -------------------------------------------------------------------------------------------------


def test_help_shows_the_commands_and_the_exit_codes(lab_command: Lab) -> None:
    """And what a RUN is; on standard output, as it was asked for."""
    ended = lab_command("--help")
    assert (ended.code, ended.err) == (0, "")
    assert all(re.search(rf"^    {command}\b", ended.out, re.MULTILINE) for command in COMMANDS)
    codes = re.search(r"exit codes:\n((?:  \d+ .*\n)+)", ended.out)
    assert codes
    assert [int(line.split()[0]) for line in codes[1].splitlines()] == sorted(Exit)
    assert "'latest'" in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_examples(lab_command: Lab, command: str) -> None:
    """That begin as a user would type them."""
    ended = lab_command(command, "--help")
    assert ended.code == 0
    assert re.search(rf"examples:\n(?:  .*\n)*  lab {command}\b", ended.out)


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
@pytest.mark.parametrize("option", ["--calls", "--warmup-calls", "--repeats"])
def test_counts_are_of_something(lab_command: Lab, option: str, number: str) -> None:
    """Told before anything starts."""
    ended = lab_command("count", option, number)
    assert ended.code == Exit.USAGE
    assert f"a whole number above 0 expected, not '{number}'" in ended.err


@pytest.mark.parametrize(
    "arguments", [(), ("measure",), ("run",), ("report",), ("report", "latest", "--jsn"), ("run", "x", "y")]
)
def test_wrong_usage(lab_command: Lab, arguments: tuple[str, ...]) -> None:
    """Says how it is used; nothing goes to standard output."""
    ended = lab_command(*arguments)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert ended.err.startswith("usage: lab")


def test_the_version(lab_command: Lab) -> None:
    """As it is installed."""
    assert lab_command("--version") == (0, f"lab {version('kemi-lab')}\n", "")


# --- exit codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [(BadInputError, 2), (SetupError, 5), (TestbedError, 5), (UnavailableError, 5), (LabError, 70)],
)
def test_an_error_ends_with_its_code_and_what_helps(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, error: type[LabError], code: int
) -> None:
    """First the evidence, then what happened, then what helps; all on standard error."""
    raised = error("[cause] of it", detail="the last\nlog lines", remedy="try again")
    monkeypatch.setattr(host, "checks", raising(raised))
    ended = lab_command("doctor")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err == "the last\nlog lines\nlab: [cause] of it\nlab: what helps: try again\n"


def test_every_error_of_the_lab_has_a_documented_code() -> None:
    """Page, help and tree of errors agree."""
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = {int(row[1]): row for row in re.finditer(r"^\| (\d+) \| `(\w+)` \|.*\|(.*)\|$", page, re.MULTILINE)}
    assert {number: row[2] for number, row in rows.items()} == {code.value: code.name for code in Exit}
    errors = [one for one in vars(lab.errors).values() if isinstance(one, type) and issubclass(one, LabError)]
    for one in errors:
        assert f"`{one.__name__}`" in rows[one.exit_code][3]


def test_ctrl_c(lab_command: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own code, and a word instead of a traceback."""
    monkeypatch.setattr(host, "checks", raising(KeyboardInterrupt()))
    ended = lab_command("doctor")
    assert (ended.code, ended.out) == (Exit.INTERRUPTED, "")
    assert ended.err.startswith("lab: interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_in_order_and_a_second_one_does_not_disturb(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """What is taken down is taken down to the end."""
    down: list[str] = []

    def checks(_: Path) -> None:
        try:
            signal.raise_signal(number)
        finally:
            for another in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.raise_signal(another)
            down.append("to the end")

    monkeypatch.setattr(host, "checks", checks)
    assert lab_command("doctor").code == Exit.INTERRUPTED
    assert down == ["to the end"]


def test_nohup_is_respected(lab_command: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever started us so wants us to go on when the session is closed."""

    def checks(_: Path) -> tuple[Check, ...]:
        signal.raise_signal(signal.SIGHUP)
        return ()

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(host, "checks", checks)
    assert lab_command("doctor").code == Exit.OK


# A run on a terminal of its own that, once it is under way, says so and measures for ever.
ON_A_TERMINAL = f"""
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
terminal = os.open(sys.argv[1], os.O_RDWR)
for stream in range(3):
    os.dup2(terminal, stream)
from lab import assembly, by_hand, cli, host, runner, testing
def run(*_, reporter, **__):
    try:
        reporter.stage("under way")
        while True:
            time.sleep(0.1)
    finally:
        Path(sys.argv[2]).write_text("to the end")
host.engine = lambda: None
assembly.specify = lambda *_, **__: SimpleNamespace(plan=testing.plan(rounds=2, slices=1, calls=4))
runner.run = run
sys.exit(cli.main(["run", {str(EXPERIMENT)!r}]))
"""


def test_a_closed_session_ends_a_run_in_order(tmp_path: Path) -> None:
    """As when ssh breaks off: all is taken down, though nobody sees the bar or the last word any more."""
    window, terminal = os.openpty()
    down = tmp_path / "down"
    command = [sys.executable, "-c", ON_A_TERMINAL, os.ttyname(terminal), str(down)]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as run:
        said = b""
        while b"under way" not in said:
            said += os.read(window, 1000)
        os.close(terminal)
        os.close(window)
    assert run.returncode == Exit.INTERRUPTED
    assert down.read_text() == "to the end"


def test_a_disk_that_is_full_is_the_machines_fault(lab_command: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it shows."""
    full = OSError(errno.ENOSPC, "No space left on device", "/results/x")
    monkeypatch.setattr(host, "checks", raising(full))
    ended = lab_command("doctor")
    assert ended.code == Exit.SETUP
    assert "No space left on device: '/results/x'" in ended.err
    assert "what helps: make room" in ended.err


@pytest.mark.parametrize("error", [ValueError("unforeseen"), OSError(errno.EBADF, "unforeseen")])
def test_whatever_is_not_foreseen_is_a_defect(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """With all that is needed to report it."""
    monkeypatch.setattr(host, "checks", raising(error))
    ended = lab_command("doctor")
    assert (ended.code, ended.out) == (Exit.DEFECT, "")
    assert "Traceback (most recent call last)" in ended.err
    assert "unforeseen" in ended.err
    assert ended.err.endswith("lab: this is a defect of the lab: please report it with the lines above\n")


@pytest.mark.parametrize(
    "error",
    [
        docker.errors.APIError("cannot connect"),
        requests.exceptions.ConnectionError("cannot connect"),
        urllib3.exceptions.ProtocolError("cannot connect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_engine_that_fails_on_the_way_is_no_defect(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It was restarted, say: a set-up problem, by whichever library we hear of it."""
    monkeypatch.setattr(host, "checks", raising(error))
    ended = lab_command("doctor")
    assert (ended.code, ended.out) == (Exit.SETUP, "")
    assert ended.err.startswith(
        "lab: the Docker Engine failed: cannot connect\nlab: what helps: look at the engine's own"
    )


# --- what was measured is kept --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), TestbedError("MySQL died"), docker.errors.APIError("gone"), ValueError("unforeseen")],
    ids=lambda error: type(error).__name__,
)
def test_a_run_that_ended_early_says_what_is_kept(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    """However it ended: where, and by which command its figures can be seen."""
    folder = make(tmp_path / "results: ours")
    vars(error)["kept"] = folder
    monkeypatch.setattr(host, "checks", raising(error))
    kept, _, command = lab_command("doctor").err.splitlines()[-1].partition("; its figures: ")
    assert kept == f"lab: what was measured is kept: {folder}"
    assert command.startswith(f"lab frames {folder.name}")
    assert lab_command(*shlex.split(command)[1:]).code == Exit.OK


def test_the_usual_place_need_not_be_named(lab_command: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lab frames` looks there by itself."""
    error = KeyboardInterrupt()
    vars(error)["kept"] = ROOT / "results" / "20261123T080000Z-quick"
    monkeypatch.setattr(host, "checks", raising(error))
    assert lab_command("doctor").err.endswith("; its figures: lab frames 20261123T080000Z-quick\n")


# --- nobody reads it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100_000], ids=["kept in the buffer", "written at once"])
def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, unread: TextIO, size: int) -> None:
    """As in `lab doctor | head -0`, be there much to say or little."""
    monkeypatch.setattr(host, "checks", lambda _: (Check("x" * size, "", ok=True),))
    monkeypatch.setattr(sys, "stdout", unread)
    with own_signals():
        assert cli.main(["doctor"]) == Exit.OK


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_has_gone_changes_no_verdict(
    monkeypatch: pytest.MonkeyPatch, unread: TextIO, tmp_path: Path, form: tuple[str, ...]
) -> None:
    """`lab report latest | head -1` of a run that is not valid."""
    with own_signals():
        make(tmp_path, spoilt=True)
        monkeypatch.setattr(sys, "stdout", unread)
        assert cli.main(["report", "latest", "--results", str(tmp_path), *form]) == Exit.INVALID


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), Exit.INTERRUPTED), (SetupError("x"), 5), (ValueError(), Exit.DEFECT)]
)
def test_a_last_word_that_nobody_hears(
    monkeypatch: pytest.MonkeyPatch, unread: TextIO, error: BaseException, code: int
) -> None:
    """The exit code says it all the same."""
    monkeypatch.setattr(host, "checks", raising(error))
    monkeypatch.setattr(sys, "stdout", unread)
    monkeypatch.setattr(sys, "stderr", unread)
    with own_signals():
        assert cli.main(["doctor"]) == code


@pytest.mark.usefixtures("measured")
def test_a_run_whose_progress_nobody_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch, unread: TextIO) -> None:
    """`lab run x 2>&1 | head`: never 1, which is kept for a regression."""
    monkeypatch.setattr(sys, "stdout", unread)
    monkeypatch.setattr(sys, "stderr", unread)
    with own_signals():
        assert cli.main(["run", str(EXPERIMENT)]) == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("arguments", "code"), [(("--version",), Exit.OK), (("report", "nowhere"), Exit.USAGE)], ids=["output", "error"]
)
def test_the_process_ends_with_that_code(unread: TextIO, arguments: tuple[str, ...], code: Exit) -> None:
    """Python would end with 120 when it cannot write, at its end, what is left in a buffer."""
    assert subprocess.run([SCRIPT, *arguments], stdout=unread, stderr=unread, check=False).returncode == code


# --- what the user names is looked at first -------------------------------------------------------------------------


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("text", ["name = \n", "name = 'x'\n", f"{EXPERIMENT.read_text()}\nrate = 3\n"])
def test_a_bad_file_is_told_before_an_engine_is_asked_for(lab_command: Lab, tmp_path: Path, text: str) -> None:
    """Whoever writes an experiment need not have one."""
    (tmp_path / "mine.toml").write_text(text)
    ended = lab_command("run", tmp_path / "mine.toml", "--results", tmp_path / "results")
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert str(tmp_path / "mine.toml") in ended.err
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("no_engine")
def test_a_machine_without_an_engine(lab_command: Lab) -> None:
    """A set-up problem, with what helps."""
    ended = lab_command("run", EXPERIMENT)
    assert (ended.code, ended.out) == (Exit.SETUP, "")
    assert "what helps: ./justw --engine" in ended.err


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('scenario = "registre"', "no scenario file"),
        ('scenario = "../traffic/mine.xml"', "no scenario file"),
        ('routing = "party"', "no folder"),
        ('routing = "../routing/mine"', "no folder"),
        ('configuration = "../kamailio.cfg"', "no file"),
        ('kamailio = "3.3"', "no release '3.3'"),
        ('cpus = { kamailio = "4999", mysql = "0", sipp = "0", driver = "0" }', "CPU 4999 does not exist"),
        ('engines = ["native", "perl"]', "no engine 'perl'"),
        ('kamailio = ["6.0.1", "3.3"]', "no release '3.3'"),
        ('scenario = ["register", "registre"]', "no scenario file"),
        ('scenario = "probe"', "the name 'probe' is the engine proof's"),
        ('configuration = "publisht"', "no file"),
    ],
)
def test_what_a_file_names_must_be_there(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, problem: str
) -> None:
    """Before an image is built: by file, line and key."""
    monkeypatch.setattr(host, "engine", lambda: None)
    monkeypatch.setattr(topology, "this", lambda: topology.read(Path("/nowhere"), (0, 1), 0))
    monkeypatch.setattr(images.Workshop, "ensure", raising(AssertionError("too late")))
    key = line.partition(" ")[0]
    lines = [old for old in EXPERIMENT.read_text().splitlines() if not old.startswith(f"{key} ")]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join([*lines, line]))
    ended = lab_command("run", path, "--results", tmp_path / "results")
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert f"{path}:{len(lines) + 1}: {key}: {problem}" in ended.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["report", "frames"])
def test_a_run_that_is_not_there(lab_command: Lab, results: Path, command: str) -> None:
    """Names those that are."""
    ended = lab_command(command, "yesterday", "--results", results)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "no run 'yesterday'" in ended.err
    assert store.find(results, "latest").name in ended.err


# --- a run and its report -------------------------------------------------------------------------------------------


def test_the_report_of_a_recorded_run(lab_command: Lab, results: Path) -> None:
    """The table goes to standard output, and to standard error where the same is with figures."""
    ended = lab_command("report", "latest", "--results", results)
    page = results.resolve() / (results / "latest").resolve().name / "report" / "index.html"
    assert (ended.code, ended.err) == (Exit.OK, f"the same with figures: {page}\n")
    assert page.is_file()
    assert all(cell.name in ended.out for cell in PLAN.cells)


def test_a_report_for_programs_is_the_summary(lab_command: Lab, results: Path) -> None:
    """Byte for byte, and nothing else."""
    ended = lab_command("report", "latest", "--results", results, "--json")
    assert (ended.code, ended.err) == (Exit.OK, "")
    assert ended.out == (results / "latest" / "summary.json").read_text()
    assert json.loads(ended.out)["valid"] is True


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_run_that_is_not_valid_says_so_by_its_code(lab_command: Lab, tmp_path: Path, form: tuple[str, ...]) -> None:
    """Its table is shown all the same."""
    make(tmp_path, spoilt=True)
    ended = lab_command("report", "latest", "--results", tmp_path, *form)
    assert ended.code == Exit.INVALID
    assert "SIPp: 3 of 4 calls succeeded" in ended.out


@pytest.fixture
def searched(results: Path) -> Path:
    """A run of `lab capacity` with one search, which ended well."""
    run = store.Run.create(results, "capacity")
    store.dump(testing.plan(engines=("native",), rounds=1), run.evidence / "plan.json")
    (run.evidence / "searches").mkdir()
    step = Step("r01-s001-native", 800, 1200, 800.0, 1.5, 1200, 600_000, 300_000, 900_000)
    steps = (step, replace(step, rate_per_s=900, failures=("retransmissions: 3",)))
    found = Search("native", "registration", 1, Parameters(), 0, 1, steps, rate_per_s=800, confirmed=True, ended=True)
    store.dump(found, run.evidence / "searches" / "r01-native-registration.json")
    run.seal("complete")
    return run.folder


@pytest.mark.parametrize("command", ["report", "frames"])
def test_a_run_of_capacity_is_shown_as_what_it_is(lab_command: Lab, searched: Path, command: str) -> None:
    """By the commands that show any run; and for programs."""
    where = (searched.name, "--results", searched.parent)
    ended = lab_command(command, *where)
    assert ended.code == Exit.OK
    assert "Registration Rate = 800 per s (rounds: 800)" in ended.out
    assert lab_command(command, *where, "--json").out == (searched / "capacity.json").read_text()


@pytest.mark.parametrize(("option", "asked"), [((), Parameters()), (("--rfc7502",), RFC7502)])
def test_capacity_searches_and_shows(
    lab_command: Lab, searched: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...], asked: Parameters
) -> None:
    """As the experiment says, or as the RFC does; with its table at the end."""

    def search(specification: runner.Specification, *_: object, reporter: Reporter, **__: object) -> Path:
        assert specification.asked.search == asked
        reporter.stage("round 1, native: registration at 800/s: ok")
        return searched

    monkeypatch.setattr(host, "engine", lambda: None)
    monkeypatch.setattr(runner, "capacity", search)
    file = ROOT / "experiments" / "quick.toml"
    ended = lab_command("capacity", file, *option)
    assert ended.code == Exit.OK
    assert ended.out.startswith(searched.name)
    assert "registration at 800/s: ok" in ended.err


def test_a_new_rate_is_for_a_rate_that_is_searched(lab_command: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for it with a fixed rate has the wrong file."""
    monkeypatch.setattr(host, "engine", lambda: None)
    ended = lab_command("run", ROOT / "experiments" / "quick.toml", "--new-rate")
    assert ended.code == Exit.USAGE
    assert "rate_per_s: is no rate to be searched" in ended.err


def test_frames_are_made_again_from_evidence_alone(lab_command: Lab, results: Path) -> None:
    """With the same figures."""
    run = store.find(results, "latest")
    before = json.loads((run / "summary.json").read_text())
    shutil.rmtree(run / "frames")
    (run / "summary.json").unlink()
    assert lab_command("frames", "latest", "--results", results).code == Exit.OK
    assert json.loads((run / "summary.json").read_text()) == before
    assert (run / "frames" / "messages.parquet").is_file()


def test_frames_for_programs_print_the_summary(lab_command: Lab, results: Path) -> None:
    """As `lab report --json` does."""
    ended = lab_command("frames", "latest", "--results", results, "--json")
    assert ended == (Exit.OK, (results / "latest" / "summary.json").read_text(), "")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, results: Path) -> Path:
    """The run that `lab run` would make: all of it happens, but for the testbed. Its progress is heard."""
    run = store.find(results, "latest")

    def run_it(specification: SimpleNamespace, *_: object, judges: Judges, reporter: Reporter) -> Path:
        reporter.detail("building kemi-lab/sipp:3.7.3")
        reporter.stage("starting MySQL")
        for path in sorted(run.glob("evidence/slices/*/slice.json")):
            record = store.load(SliceRecord, path)
            plan = specification.plan
            assert judges.slice(record, plan.limits, plan.scenario_of(record.plan.cell)) == ()
            reporter.slice_done(record)
        reporter.note("somebody should know this")
        return run

    def specify(*_: object, given: dict[str, Recipe]) -> SimpleNamespace:
        assert given == {}
        return SimpleNamespace(plan=PLAN)

    monkeypatch.setattr(host, "engine", lambda: None)
    monkeypatch.setattr(assembly, "specify", specify)
    monkeypatch.setattr(runner, "run", run_it)
    return run


def test_a_run_ends_with_its_table(lab_command: Lab, measured: Path) -> None:
    """Figures are made of its evidence at once. Builds and progress go to standard error."""
    (measured / "summary.json").unlink()
    ended = lab_command("run", EXPERIMENT)
    assert ended.code == Exit.OK
    assert (measured / "summary.json").is_file()
    assert str(measured) in ended.out
    for said in ("building kemi-lab/sipp:3.7.3", "starting MySQL", "r01-s001-native", "! somebody should know this"):
        assert said in ended.err
        assert said not in ended.out


def test_a_run_of_a_source_hands_source_and_suite_on(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, measured: Path, tmp_path: Path
) -> None:
    """As they were given."""
    built: list[Recipe] = []

    def specify(*_: object, given: dict[str, Recipe]) -> SimpleNamespace:
        built.extend(given.values())
        return SimpleNamespace(plan=PLAN)

    monkeypatch.setattr(assembly, "specify", specify)
    (tmp_path / "src" / "modules").mkdir(parents=True)
    (tmp_path / "src" / "Makefile.defs").touch()
    options = ("--kamailio-source", tmp_path, "--kamailio-suite", "bullseye")
    assert str(measured) in lab_command("run", EXPERIMENT, *options).out
    assert [(recipe.source, recipe.suite) for recipe in built] == [(tmp_path, "bullseye")]


def test_a_run_for_programs_prints_json_alone(lab_command: Lab, measured: Path) -> None:
    """It can go straight into jq."""
    ended = lab_command("run", EXPERIMENT, "--json")
    assert ended.out == (measured / "summary.json").read_text()


# --- the other commands ---------------------------------------------------------------------------------------------


DISTURBANCES = (
    Disturbance("turbo", "on", disturbs=True, effect="figures drift", helps="lab tune"),
    Disturbance("swap", "none", disturbs=False, effect="slow"),
    Disturbance("governor", "not shown", disturbs=None, effect="slow"),
)
CHECKS = (Check("Docker Engine", "20.10.24", ok=True), Check("CPUs", "0", ok=False, advice="expect noise"))


@pytest.mark.parametrize(("checks", "code"), [(CHECKS[:1], Exit.OK), (CHECKS, Exit.SETUP)])
def test_the_doctor_ends_well_if_all_is_well(
    lab_command: Lab, monkeypatch: pytest.MonkeyPatch, checks: tuple[Check, ...], code: Exit
) -> None:
    """A line for each thing that was looked at, with advice where it helps; the same for programs.

    What only disturbs does not change how it ends.
    """
    monkeypatch.setattr(host, "checks", lambda _: checks)
    monkeypatch.setattr(disturbances, "look", lambda: DISTURBANCES)
    ended = lab_command("doctor")
    lines = ["ok   Docker Engine: 20.10.24", "BAD  CPUs: 0  -> expect noise"]
    assert (ended.code, ended.out.splitlines()[: len(checks)]) == (code, lines[: len(checks)])
    assert ended.out.splitlines()[-5:] == [
        "noise  turbo: on",
        "       figures drift",
        "       -> lab tune",
        "quiet  swap: none",
        "?      governor: not shown",
    ]
    for_programs = lab_command("doctor", "--json")
    assert for_programs.code == code
    shown = json.loads(for_programs.out)
    assert [check["ok"] for check in shown["checks"]] == [check.ok for check in checks]
    assert [one["disturbs"] for one in shown["disturbances"]] == [True, False, None]


def test_the_layout_is_drawn(lab_command: Lab) -> None:
    """Of this machine by default; for programs with its topology."""
    drawn = lab_command("cpus")
    assert drawn.code == Exit.OK
    assert drawn.out.startswith("profile auto on ")
    shown = json.loads(lab_command("cpus", "--profile", "shared", "--json").out)
    assert shown["layout"]["cpus"]["kamailio"] == shown["topology"]["allowed"]


def test_the_layout_of_an_experiment_is_drawn(lab_command: Lab, tmp_path: Path) -> None:
    """As its own keys have it."""
    file = tmp_path / "mine.toml"
    cpu = min(os.sched_getaffinity(0))
    lists = ", ".join(f'{role} = "{cpu}"' for role in ("kamailio", "mysql", "sipp", "driver"))
    file.write_text(f"{EXPERIMENT.read_text()}\ncpus = {{ {lists} }}\n")
    assert lab_command("cpus", file).out.startswith("profile lists on ")


def test_a_profile_that_cannot_be_had_is_refused(lab_command: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would do instead."""
    monkeypatch.setattr(topology, "this", lambda: topology.read(Path("/nowhere"), (0, 1), 0))
    ended = lab_command("cpus", "--profile", "isolated")
    assert ended.code == Exit.USAGE
    assert "profile isolated: it takes 4 cores" in ended.err
    assert "lab cpus --profile auto" in ended.err


@pytest.fixture
def quiet_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laptop made of files, for `lab tune` to change."""
    root = laptop.write(tmp_path / "laptop")
    monkeypatch.setattr(tuning, "ROOT", root)
    monkeypatch.setattr(tuning, "JOURNAL", tmp_path / "tuned.json")
    return root


def _end_of_file(_question: str) -> str:
    raise EOFError


def test_tuning_is_asked_for(lab_command: Lab, quiet_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would change is shown first. Nobody there to answer: nothing changes."""
    ended = lab_command("tune")
    assert ended.code == Exit.USAGE
    assert "no_turbo: 0 -> 1" in ended.out
    assert "lab tune --yes" in ended.err
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _question: "n")
    assert lab_command("tune").out.endswith("nothing was changed\n")
    monkeypatch.setattr("builtins.input", _end_of_file)
    assert lab_command("tune").code == Exit.OK
    assert laptop.read(quiet_machine) == laptop.FILES


def test_tuning_is_undone(lab_command: Lab, quiet_machine: Path) -> None:
    """Whatever was changed."""
    ended = lab_command("tune", "--yes", "--max-mhz", "1900")
    assert laptop.read(quiet_machine)["sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"] == "1900000"
    assert "as it was: lab tune --undo" in ended.out
    undone = lab_command("tune", "--undo")
    assert undone.code == Exit.OK
    assert "scaling_max_freq: 4200000 again" in undone.out
    assert "nothing is restored" in lab_command("tune", "--undo").out
    assert lab_command("tune", "--undo", "--aslr").code == Exit.USAGE


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A workshop that has the first image and is asked for the others; what it builds."""
    made: list[str] = []
    monkeypatch.setattr(host, "engine", lambda: None)
    monkeypatch.setattr(images.Workshop, "ensure", lambda _, recipe: made.append(recipe.tag))
    monkeypatch.setattr(images.Workshop, "current", lambda _, recipe: "kamailio" in recipe.tag or recipe.tag in made)
    monkeypatch.setattr(
        images.Workshop, "built", lambda _, recipe: images.Built(recipe.tag, "sha256:1", 210_000_000, "6.0.1", {})
    )
    return made


def test_images_can_be_listed_without_building(lab_command: Lab, shop: list[str]) -> None:
    """What is missing is named, and how to get it."""
    ended = lab_command("images", "--list")
    assert (ended.code, shop) == (Exit.OK, [])
    first, *others = ended.out.splitlines()
    assert re.fullmatch(r"kemi-lab/kamailio:6\.0\.1 +210 MB  6\.0\.1", first)
    assert all(line.endswith("missing, or out of date: lab images") for line in others)


def test_images_are_built_in_order_and_listed(lab_command: Lab, shop: list[str]) -> None:
    """A given source is used in place of the release; for programs there is all that is known."""
    ended = lab_command("images", "--json")
    assert shop == [recipe.tag for recipe in images.by_hand()]
    assert [row["image"]["id"] for row in json.loads(ended.out)] == ["sha256:1"] * 3


def test_all_images_are_those_of_every_release_and_server(lab_command: Lab, shop: list[str]) -> None:
    """Built or listed."""
    tags = [recipe.tag for recipe in images.everything()]
    ended = lab_command("images", "--all", "--list")
    assert [line.split()[0] for line in ended.out.splitlines()] == tags
    assert shop == []
    assert lab_command("images", "--all").code == Exit.OK
    assert shop == tags


def test_a_given_source_takes_the_place_of_the_release(lab_command: Lab, shop: list[str], tmp_path: Path) -> None:
    """On the suite that is asked for; the other images are the testbed's."""
    (tmp_path / "src" / "modules").mkdir(parents=True)
    (tmp_path / "src" / "Makefile.defs").touch()
    asked = ("images", "--kamailio-source", tmp_path, "--kamailio-suite")
    assert lab_command(*asked, "bullseye").code == Exit.OK
    assert re.fullmatch(r"kemi-lab/kamailio:source-[0-9a-f]{12}-bullseye", shop[0])
    assert shop[1:] == [recipe.tag for recipe in images.by_hand()[1:]]
    ended = lab_command(*asked, "jessie")
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "--kamailio-suite jessie: no such suite here" in ended.err


# --- engines --------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[matrix.Place]:
    """What has become of engines here: something of everything."""
    found = [
        matrix.Place("6.0.1", "trixie", "native", matrix.State.BUILT),
        matrix.Place("6.0.1", "trixie", "ruby", matrix.State.BROKEN, "it cuts pointers"),
        matrix.Place("6.0.1", "trixie", "python", matrix.State.NONE),
        matrix.Place("5.6.3", "bookworm", "native", matrix.State.AVAILABLE, variant="with app_python3*: it compiles"),
        matrix.Place("5.6.3", "bookworm", "ruby", matrix.State.FAILED, "no ruby-dev", "with app_python3*: it compiles"),
        matrix.Place("5.6.3", "bookworm", "python", matrix.State.NONE, variant="with app_python3*: it compiles"),
        matrix.Place("5.4.4", "bullseye", "native", matrix.State.UNAVAILABLE, "404"),
        matrix.Place("5.4.4", "bullseye", "ruby", matrix.State.UNAVAILABLE, "404"),
        matrix.Place("5.4.4", "bullseye", "python", matrix.State.UNAVAILABLE, "404"),
    ]
    monkeypatch.setattr(host, "engine", lambda: None)
    monkeypatch.setattr(matrix, "places", lambda _: iter(found))
    return found


@pytest.mark.usefixtures("places")
def test_engines_are_a_table_with_reasons_below_it(lab_command: Lab) -> None:
    """A row a release, a column an engine; then what is not there, or not as it was released, and why."""
    ended = lab_command("engines")
    assert (ended.code, ended.err) == (Exit.OK, "")
    head, *rows = [line.split("  ") for line in ended.out.splitlines()[:4]]
    assert [cell.strip() for cell in head if cell] == ["Kamailio", "suite", "native", "ruby", "python"]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["6.0.1", "trixie", "built", "broken"],
        ["5.6.3", "bookworm", "available", "not built"],
        ["5.4.4", "bullseye", "not available", "not available", "not available"],
    ]
    assert ended.out.splitlines()[4:] == [
        "Kamailio 6.0.1, ruby: broken: it cuts pointers",
        "Kamailio 5.6.3, ruby: not built: no ruby-dev",
        *(f"Kamailio 5.4.4, {engine}: not available: 404" for engine in ("native", "ruby", "python")),
        "Kamailio 5.6.3 with app_python3*: it compiles",
    ]


def test_engines_for_programs(lab_command: Lab, places: list[matrix.Place]) -> None:
    """Every place with all that is known of it, by the same words."""
    rows = json.loads(lab_command("engines", "--json").out)
    assert [(row["kamailio"], row["engine"], row["state"]) for row in rows] == [
        (place.kamailio, place.engine, place.state.value) for place in places
    ]
    assert rows[1]["why"] == "it cuts pointers"


@pytest.mark.usefixtures("no_engine")
def test_engines_need_an_engine_that_answers(lab_command: Lab) -> None:
    """What is built is known to Docker alone."""
    assert lab_command("engines").code == Exit.SETUP


@pytest.mark.usefixtures("shop")
def test_a_source_that_is_none_is_refused(lab_command: Lab, tmp_path: Path) -> None:
    """By its path."""
    ended = lab_command("images", "--kamailio-source", tmp_path)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert f"{tmp_path}: not a Kamailio source tree" in ended.err


class Container:
    """A container of the testbed, as the Docker SDK has it."""

    def __init__(self, name: str, status: str, health: str = "", said: bytes | Exception = b"") -> None:
        """`said` is its log, or why there is none."""
        self.name = name
        self.status = status
        self.attrs = {"State": {"Health": {"Status": health}} if health else {}}
        self.said = said

    def logs(self, *, tail: int) -> bytes:
        """Its last lines."""
        if isinstance(self.said, Exception):
            raise self.said
        return b"".join(self.said.splitlines(keepends=True)[-tail:])


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch, shop: list[str]) -> list[str]:
    """What is asked of an engine whose Compose cannot raise the testbed: its containers are there until it is down."""
    happened = shop
    containers = [
        Container("mysql-1", "running", "unhealthy", b"".join(b"line %d\n" % number for number in range(40))),
        Container("kamailio-1", "exited", "unhealthy", b"loading module ndb failed\n"),
        Container("log-holder-1", "running", said=b"all is well\n"),
        Container("sipp-1", "dead", said=docker.errors.APIError("can not get logs from container which is dead")),
    ]

    def listed(*, all: bool, filters: dict[str, str], ignore_removed: bool) -> list[Container]:  # noqa: A002
        assert all
        assert ignore_removed
        assert filters == {"label": "lab.run=by-hand"}
        return containers

    def compose(command: list[str], *, what: str, **_: object) -> None:
        happened.append(what)
        if "up" in command:
            raise SetupError(f"{what} failed (exit code 1)", detail="dependency mysql failed to start")
        containers.clear()

    monkeypatch.delenv("LAB_RUN", raising=False)
    monkeypatch.setattr(host, "engine", lambda: SimpleNamespace(containers=SimpleNamespace(list=listed)))
    monkeypatch.setattr(process, "run", compose)
    monkeypatch.setattr(testbed, "remove_all", lambda _, run: happened.append(f"removing {run}"))
    return happened


def test_a_testbed_that_does_not_come_up_says_why(lab_command: Lab, happened: list[str]) -> None:
    """The last lines of whoever is not well, read before all is taken down."""
    ended = lab_command("up")
    assert (ended.code, ended.out) == (Exit.SETUP, "")
    assert happened[-3:] == ["raising the testbed", "taking the testbed down", "removing by-hand"]
    assert ended.err.splitlines() == [
        "dependency mysql failed to start",
        "mysql-1 (unhealthy) said last:",
        *(f"line {number}" for number in range(10, 40)),
        "kamailio-1 (exited) said last:",
        "loading module ndb failed",
        "lab: raising the testbed failed (exit code 1)",
    ]


KILLED, GOING = "20260314T150926Z-default-9e13", "20260314T160926Z-default-77aa"


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[Leftover]:
    """Of one run that was killed, and of one that goes on, something is there; what is removed of it."""
    found = [Leftover(KILLED, "volume", "a", living=False), Leftover(GOING, "volume", "b", living=True)]
    gone: list[Leftover] = []
    monkeypatch.setattr(host, "engine", lambda: "engine")
    monkeypatch.setattr(leftovers, "find", lambda _, run: [one for one in found if run in {"", one.run}])
    monkeypatch.setattr(leftovers, "remove", lambda _, these: gone.extend(these))
    return gone


def test_cleaning_shows_before_it_removes(lab_command: Lab, removed: list[Leftover]) -> None:
    """And says what stays because its run goes on."""
    shown = lab_command("clean").out
    assert re.search(f"{KILLED} +volume +a: to be removed", shown)
    assert re.search(f"{GOING} +volume +b: its run goes on: left alone", shown)
    assert "lab clean --yes removes this" in shown
    assert removed == []
    assert f"{KILLED}" in lab_command("clean", "--yes").out
    assert [one.run for one in removed] == [KILLED, GOING]  # lab.leftovers leaves the living alone


def test_cleaning_after_one_run(lab_command: Lab, removed: list[Leftover]) -> None:
    """By its id; of one that has left nothing, or never was, that is all there is to say."""
    assert GOING not in lab_command("clean", KILLED).out
    for asked in (("nowhere",), ("nowhere", "--yes")):
        assert lab_command("clean", *asked).out == "nothing is left of nowhere\n"
    assert [one["living"] for one in json.loads(lab_command("clean", "--json").out)] == [False, True]
    assert removed == []
