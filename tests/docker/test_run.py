"""One whole run through the console script, and what it leaves: the contract that other programs rely on."""

import json
import os
import secrets
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import docker
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lab import store, testbed
from lab.frames.columns import MESSAGES, SLICES, STARTS
from lab.frames.table import Table
from lab.model import Plan, SliceRecord, StartRecord
from lab.versions import ROOT
from tests.docker.driver import DATA, SCRIPT, Lab, Running

ENGINES = ("native", "lua", "python3")
CELLS = {"native": "native", "lua": "lua", "python3": "python3", "native-aa": "native"}
ROUNDS, WARMUP, TIMED, CALLS = 2, 1, 1, 150
LEG_FIELDS = {"count", "mean_usec", "median_usec", "p10_usec", "p95_usec", "p99_usec", "max_usec"}
POOLED_FIELDS = {"cnt", "sum", "min", "max", "avg"}
# What only says that this machine is busy with other things: the one excuse for a slice that is not valid.
BUSY = ("kernel:", "retransmission", "calls/s achieved", "torn latency line")


@pytest.fixture(scope="module")
def run(module_lab: Lab) -> Running:
    """The small experiment, run to its end."""
    return module_lab("run", DATA / "small.toml")


@pytest.fixture(scope="module")
def folder(run: Running) -> Path:
    """The run's folder."""
    assert run.process.returncode in {0, 4}, run.error
    (found,) = run.lab.runs()
    return found


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    """Its summary, as another program reads it."""
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    """What was to happen."""
    return store.load(Plan, folder / "evidence" / "plan.json")


@pytest.fixture(scope="module")
def messages(folder: Path) -> pd.DataFrame:
    """One row a latency line."""
    return pd.read_parquet(folder / "frames" / "messages.parquet")


@pytest.fixture(scope="module")
def slices(folder: Path) -> pd.DataFrame:
    """One row a slice."""
    return pd.read_parquet(folder / "frames" / "slices.parquet")


# --- how it ends ----------------------------------------------------------------------------------------------------


def test_it_ends_valid_or_says_why(run: Running, summary: dict[str, Any]) -> None:
    """Exit code 0, or 4 with every reason named; a busy machine is the one reason that may be."""
    assert run.process.returncode == (0 if summary["valid"] else 4)
    reasons = [reason for cell in summary["cells"].values() for reason in cell["reasons"]]
    assert summary["valid"] or reasons
    for reason in reasons:
        assert any(excuse in part for part in reason.split("; ") for excuse in BUSY), reason


def test_nothing_of_ours_is_left(run: Running) -> None:
    """No container, network or volume, and no secret."""
    assert run.lab.left() == []
    assert list((run.lab.folder / "tmp").glob("kemi-lab-secret-*")) == []


def test_it_says_what_it_does(run: Running) -> None:
    """Stages and rounds while it works, and how long it will still take."""
    assert "starting the database" in run.error
    assert "round 1 of 2: fresh start of all cells" in run.error
    assert "round 2 of 2" in run.error
    assert " left" in run.error


def test_the_table_has_every_engine_and_both_legs(run: Running, folder: Path) -> None:
    """On standard output, with the place of the results."""
    for word in (*ENGINES, "challenge", "authenticated", "registration", "A/A", "cnt:", str(folder)):
        assert word in run.output


def test_latest_is_a_relative_link(folder: Path) -> None:
    """So that a results folder can be moved."""
    assert (folder.parent / "latest").readlink() == Path(folder.name)


# --- summary.json ---------------------------------------------------------------------------------------------------


def test_the_summary_has_the_fields_of_the_contract(summary: dict[str, Any]) -> None:
    """Names and types, at every level."""
    assert summary["schema_version"] == 3
    assert summary["experiment"] == "small"
    assert isinstance(summary["valid"], bool)
    assert summary["broken"] == {}
    assert {name: cell["engine"] for name, cell in summary["cells"].items()} == CELLS
    for cell in summary["cells"].values():
        assert cell["kamailio"] == "6.0.1"
        assert cell["legs"].keys() == {"challenge", "authenticated"}
        assert all(leg.keys() == LEG_FIELDS for leg in cell["legs"].values())
        assert cell["pooled"].keys() == POOLED_FIELDS
        assert isinstance(cell["retransmissions"], int)
        assert isinstance(cell["cpu_usec_per_call"], float)
        assert isinstance(cell["reasons"], list)
        assert cell["slices_valid"] + cell["slices_invalid"] == ROUNDS * (WARMUP + TIMED)


def test_figures_are_in_order(summary: dict[str, Any]) -> None:
    """A registration costs CPU time, and the authenticated leg asks MySQL, so it costs more."""
    for cell in summary["cells"].values():
        for leg in cell["legs"].values():
            assert 0 < leg["p10_usec"] <= leg["median_usec"] <= leg["p95_usec"] <= leg["p99_usec"] <= leg["max_usec"]
        legs = cell["legs"]
        assert legs["challenge"]["median_usec"] < legs["authenticated"]["median_usec"]
        assert cell["cpu_usec_per_call"] > legs["challenge"]["p10_usec"]


def test_counts_reconcile(summary: dict[str, Any], slices: pd.DataFrame) -> None:
    """A leg has as many messages as calls were planned in valid slices; the pool has both, and what was sent again."""
    counted = slices[slices["valid"] & ~slices["warmup"]]["cell"].value_counts()
    for name, cell in summary["cells"].items():
        assert {leg["count"] for leg in cell["legs"].values()} == {counted[name] * CALLS}
        assert cell["pooled"]["cnt"] == 2 * counted[name] * CALLS + cell["retransmissions"]
        assert cell["pooled"]["sum"] >= cell["pooled"]["cnt"] * cell["pooled"]["min"]


def test_every_cell_is_compared_with_the_baseline(summary: dict[str, Any]) -> None:
    """Leg by leg, with interval, detectable effect and the number of rounds."""
    rows = {(row["cell"], row["leg"]): row for row in summary["comparisons"]}
    legs = ("challenge", "authenticated", "registration")
    assert rows.keys() == {(cell, leg) for cell in ("lua", "python3", "native-aa") for leg in legs}
    for row in rows.values():
        assert row["baseline"] == "native"
        assert 0 <= row["n_rounds"] <= ROUNDS
        if row["n_rounds"] == ROUNDS:
            assert row["ci_low"] <= row["ratio"] <= row["ci_high"]
            assert row["mde"] > 0


# --- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [MESSAGES, SLICES, STARTS], ids=lambda table: table.name)
def test_a_frame_has_the_declared_columns(folder: Path, table: Table) -> None:
    """Names, types and order, and the unit and meaning of each."""
    found = pq.read_schema(folder / "frames" / f"{table.name}.parquet")
    assert found.names == [column.name for column in table.columns]
    for column in table.columns:
        field = found.field(column.name)
        assert field.type == column.type
        assert field.metadata == {b"unit": column.unit.encode(), b"meaning": column.meaning.encode()}


def test_messages_are_those_of_the_issue(messages: pd.DataFrame, plan: Plan) -> None:
    """Cells, engines, methods, CSeq numbers and legs belong together; a Call-ID is one registration of one slice."""
    assert dict(messages[["cell", "engine"]].drop_duplicates().itertuples(index=False)) == CELLS
    assert set(messages["method"]) == {"REGISTER"}
    assert set(messages[["cseq", "leg"]].itertuples(index=False, name=None)) == {(1, "challenge"), (2, "authenticated")}
    assert (messages["usec"] > 0).all()
    first = messages[~messages["retransmission"]]
    assert not first.duplicated(["call_id", "leg"]).any()
    assert len(first) == 2 * len(first[["slice", "call_id"]].drop_duplicates())
    assert (
        messages[["round", "cell", "worker_pid"]].drop_duplicates().value_counts(["round", "cell"]).max()
        <= plan.cells[0].children
    )


def test_each_slice_has_all_messages_of_both_legs(messages: pd.DataFrame, slices: pd.DataFrame) -> None:
    """Planned calls, SIPp's successes, latency lines, Kamailio's replies and its registrar agree."""
    first = messages[~messages["retransmission"]]
    counts = Counter(zip(first["slice"], first["leg"], strict=True))
    for row in slices[slices["valid"]].to_dict("records"):
        assert row["calls"] == row["sipp_successful"] == CALLS
        assert counts[row["slice"], "challenge"] == counts[row["slice"], "authenticated"] == CALLS
        assert row["received_requests"] == 2 * CALLS + row["retransmissions"]


def test_every_planned_slice_has_run(slices: pd.DataFrame, plan: Plan) -> None:
    """Once at least, warm-up included, in the planned order."""
    first = slices[slices["attempt"] == 1]
    assert first["slice"].tolist() == [piece.id for number in plan.rounds for piece in number.slices]
    assert first["warmup"].tolist() == [piece.warmup for number in plan.rounds for piece in number.slices]


def test_slices_of_all_cells_are_interleaved(plan: Plan) -> None:
    """In each block of a round every cell has one slice; the rounds have their own orders."""
    for number in plan.rounds:
        cells = [piece.cell for piece in number.slices]
        blocks = [cells[start : start + len(CELLS)] for start in range(0, len(cells), len(CELLS))]
        assert all(sorted(block) == sorted(CELLS) for block in blocks)


def test_every_start_is_proven(folder: Path) -> None:
    """Engine, marker, pinning and bindings of each fresh start."""
    starts = pd.read_parquet(folder / "frames" / "starts.parquet")
    assert len(starts) == ROUNDS * len(CELLS)
    assert set(starts["reasons"]) == {""}
    assert (starts["marker"] == starts["engine"]).all()
    assert (starts["bindings"] == 10).all()


# --- evidence -------------------------------------------------------------------------------------------------------


def test_the_evidence_is_complete(folder: Path, plan: Plan) -> None:
    """What was asked for, the machine, the images, the testbed, each start and each slice."""
    evidence = folder / "evidence"
    assert (evidence / "experiment.toml").read_bytes() == (DATA / "small.toml").read_bytes()
    for name in (
        "host.json",
        "layout.json",
        "images.json",
        "testbed/override.yaml",
        "testbed/etc/kamailio.cfg",
        "testbed/etc/parity/native.cfg",
    ):
        assert (evidence / name).stat().st_size
    for number in plan.rounds:
        for cell in plan.cells:
            start = evidence / "starts" / f"r{number.number:02d}-{cell.name}"
            assert store.load(StartRecord, start / "start.json").marker == cell.engine
            for name in ("kamailio.log", "probe.log", "inspect.json"):
                assert (start / name).stat().st_size
        for piece in number.slices:
            record = store.load(SliceRecord, evidence / "slices" / piece.id / "slice.json")
            assert record.plan == piece
            assert record.tally.messages["challenge"] > 0
            for name in ("kamailio.log.gz", "sipp.csv"):
                assert (evidence / "slices" / piece.id / name).stat().st_size


def test_images_are_recorded_with_their_packages(folder: Path) -> None:
    """Id, version and package list of each role."""
    images = json.loads((folder / "evidence" / "images.json").read_text())
    assert images["unavailable"] == {}
    made = {"sipp": images["sipp"], **images["kamailio"], **images["database"]}
    assert made.keys() == {"6.0.1", "mysql", "sipp"}
    for image in made.values():
        assert image["id"].startswith("sha256:")
        assert image["version"]
        assert "libc6" in image["packages"]
    assert images["kamailio"]["6.0.1"]["source"].startswith("kamailio_6.0.1.orig.tar.gz sha256:")


def test_the_run_is_sealed(folder: Path) -> None:
    """As complete, with a manifest that sha256sum verifies and that covers all evidence."""
    status = json.loads((folder / "status.json").read_text())
    assert (status["status"], status["ended"]) == ("sealed", "complete")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "manifest.sha256"], cwd=folder, check=True)
    listed = {line.split("  ", 1)[1] for line in (folder / "manifest.sha256").read_text().splitlines()}
    assert listed == {str(path.relative_to(folder)) for path in (folder / "evidence").rglob("*") if path.is_file()}


def test_no_secret_is_in_the_dataset(folder: Path) -> None:
    """The driver's password is nowhere: a run can be given away."""
    override = (folder / "evidence" / "testbed" / "override.yaml").read_text()
    assert "password" not in override
    for inspect in folder.glob("evidence/starts/*/inspect.json"):
        assert "driver-password" not in inspect.read_text()


# --- again, from the folder -----------------------------------------------------------------------------------------


def test_frames_can_be_made_again(run: Running, folder: Path) -> None:
    """From the evidence alone: the same summary, byte by byte, and the same exit code."""
    before = (folder / "summary.json").read_bytes()
    for path in (folder / "summary.json", *(folder / "frames").iterdir()):
        path.unlink()
    again = run.lab("frames", "latest")
    assert again.process.returncode == run.process.returncode, again.error
    assert (folder / "summary.json").read_bytes() == before
    assert again.output == run.output


@pytest.mark.parametrize("name", ["latest", "id", "path"])
def test_a_report_is_found_by_each_name_of_a_run(run: Running, folder: Path, name: str) -> None:
    """A RUN is a path, an id, or latest."""
    report = run.lab("report", {"latest": "latest", "id": folder.name, "path": str(folder)}[name])
    assert report.process.returncode == run.process.returncode
    assert report.output == run.output


def test_the_report_is_a_page_as_well(run: Running, folder: Path) -> None:
    """Of a real run: a figure for every section that has one, and nothing to fetch."""
    assert "report/index.html" in run.lab("report", "latest").error
    text = (folder / "report" / "index.html").read_text()
    figures = {path.stem for path in (folder / "report" / "figures").glob("*.svg")}
    assert figures == {"ratios", "distributions", "rounds", "cpu-time", "cpus"}
    assert text.count("<svg ") == len(figures)
    assert "src=" not in text


def test_a_run_goes_into_a_file_and_comes_back_and_is_run_again(run: Running, folder: Path, tmp_path: Path) -> None:
    """Checked on the way; what is restored reports the same, and its experiment runs here, by the same plan."""
    file, elsewhere = tmp_path / "run.zip", tmp_path / "elsewhere"
    for command in (("archive", "latest", "--output", file), ("verify", file)):
        done = run.lab(*command)
        assert done.process.returncode == 0, done.error
    restore = [str(SCRIPT), "restore", str(file), "--results", str(elsewhere)]
    assert subprocess.run(restore, capture_output=True, text=True, check=True).stdout == f"{elsewhere / folder.name}\n"
    report = [str(SCRIPT), "report", str(elsewhere / folder.name)]
    shown = subprocess.run(report, capture_output=True, text=True, check=False).stdout
    assert shown.replace(str(elsewhere), str(run.lab.results)) == run.output

    reproduce = [str(SCRIPT), "reproduce", str(file), "--results", str(elsewhere), "--json"]
    again = subprocess.run(reproduce, capture_output=True, text=True, env=run.lab.environment, check=False)
    assert again.returncode in {0, 4}, again.stderr
    assert f"{folder.name} again, by the same plan" in again.stderr
    found = json.loads(again.stdout)
    assert found["mismatches"] == []
    assert {row["how"] for row in found["rows"]} == {"by its baseline", "by its times"}
    assert {row["second"] for row in found["rows"] if row["how"] == "by its times"} == set(CELLS)
    assert len([path for path in elsewhere.iterdir() if not path.is_symlink()]) == 2


def test_the_report_is_json_for_programs(run: Running, folder: Path) -> None:
    """Nothing but the summary on standard output."""
    report = run.lab("report", "latest", "--json")
    assert report.output == (folder / "summary.json").read_text()
    assert report.error == ""


def test_a_report_whose_reader_has_gone_is_no_failure(run: Running) -> None:
    """`lab report latest --json | head -0`, which closes the pipe at once."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [str(SCRIPT), "report", "latest", "--json", "--results", str(run.lab.results)]
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, env=run.lab.environment, check=False)
    assert done.stderr == b""
    assert done.returncode in {0, run.process.returncode}


# --- its testbed, again -----------------------------------------------------------------------------------------------


def test_its_testbed_can_be_raised_again(folder: Path, client: docker.DockerClient) -> None:
    """From compose.yaml and the run's override, without the driver; its Kamailio has loopback and no other network."""
    own = f"test-{secrets.token_hex(4)}"
    files = [ROOT / "compose.yaml", folder / "evidence" / "testbed" / "override.yaml"]
    environment = {**os.environ, "COMPOSE_PROJECT_NAME": own, "LAB_RUN": own}

    def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "compose", *(part for file in files for part in ("--file", str(file))), *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def until(*command: str) -> None:
        deadline = time.monotonic() + 30
        while (answer := compose("exec", "-T", *command)).returncode:
            assert time.monotonic() < deadline, answer.stderr

    try:
        assert compose("up", "--detach", "mysql").returncode == 0
        until("mysql", "mysqladmin", "--silent", "ping")
        raised = compose("up", "--detach")
        assert raised.returncode == 0, raised.stderr
        until("kamailio-lua", "kamcmd", "core.uptime")
        assert compose("exec", "-T", "kamailio-lua", "ls", "/sys/class/net").stdout.split() == ["lo"]
        load = ["sipp", "127.0.0.1:5060", "-i", "127.0.0.1", "-p", "5070", "-nostdin", "-m", "20"]
        scenario = ["-sf", "/scenarios/register.xml", "-inf", "/scenarios/users-10.csv", "-timeout", "20s"]
        sent = compose("exec", "-T", "sipp-lua", *load, *scenario)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        log = compose("exec", "-T", "log-holder", "cat", "/var/log/kemi-lab/lua.log").stdout
        assert log.count("request-route executed in") == 40
    finally:
        testbed.remove_all(client, own)
