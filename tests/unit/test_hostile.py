"""Whatever lies in a file: a right answer, or a clear error of ours; never a traceback, never a wrong number.

Some examples of each; LAB_FUZZ=20000 pytest tests/unit/test_hostile.py tries so many.
"""

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import archive, dataset, experiment, frames, image_files, latency, load, sampling, scenario, store, versions
from lab.errors import LabError
from lab.frames import log as frames_log
from lab.model import Plan, SliceRecord, StartRecord
from lab.testing import SCENARIO, plan, run, slice_log
from lab.versions import ROOT

tried = settings(max_examples=int(os.environ.get("LAB_FUZZ", "60")), deadline=None, print_blob=True)

NUMBERS = (b"NaN", b"-1", b"1e999", b"9" * 40)
SIGNS = (b"\0", b"[" * 3000, b"{", b'"', b"\xff\xfe", b"\n", b";", b"|", b"../", b"\x1b[0m")
PLAN = plan(rounds=1, slices=1, warmup_slices=0, calls=40)
PIECE = next(piece for planned in PLAN.rounds for piece in planned.slices)
LOG = slice_log(PIECE)
ANSWER = b"""== statistics
core:rcv_requests = 80
== replies
401: 40
== transactions
total: 40
== processes
PID: 7
DSC: udp receiver child=0
== pkg
== clocks
7 1200 30
== status
/proc/7/status:VmRSS: 2000 kB
== snmp
Udp: InDatagrams RcvbufErrors
Udp: 80 0
== sockets
sl drops
0 0
== end
"""
STATISTICS = (ROOT / "tests" / "unit" / "data" / "sipp.csv").read_bytes()


@st.composite
def spoiled(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some places of it replaced, cut out, or written into."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(content)))
        end = draw(st.integers(begin, min(len(content), begin + 60)))
        content[begin:end] = draw(st.binary(max_size=30) | st.sampled_from(NUMBERS + SIGNS))
    return bytes(content)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a file is written to, time and again."""
    return tmp_path_factory.mktemp("hostile")


def answered(read: Callable[[Path], object], path: Path, content: bytes) -> object | None:
    """What is read of it; None where that is refused by an error of ours, which names the file."""
    path.write_bytes(content)
    try:
        return read(path)
    except LabError as error:
        refused = str(error)
    assert path.name in refused
    return None


EXPERIMENTS = sorted((ROOT / "experiments").glob("*.toml"))


@tried
@given(data=st.data())
def test_an_experiment(place: Path, data: st.DataObject) -> None:
    """Any of ours, spoiled; or anything at all."""
    ours = data.draw(st.sampled_from(EXPERIMENTS)).read_bytes()
    answered(experiment.read, place / "experiment.toml", data.draw(spoiled(ours) | st.binary()))


@tried
@given(data=st.data())
def test_the_declaration_of_a_scenario(place: Path, data: st.DataObject) -> None:
    """A user's."""
    ours = (ROOT / "images" / "sipp" / "scenarios" / "invite.toml").read_bytes()
    content = data.draw(spoiled(ours) | st.binary())
    answered(lambda path: scenario.read(path.with_suffix(".xml")), place / "scenario.toml", content)


@tried
@given(data=st.data())
def test_versions(place: Path, data: st.DataObject) -> None:
    """Of all that is built."""
    answered(versions.read, place / "versions.toml", data.draw(spoiled(versions.FILE.read_bytes()) | st.binary()))


@tried
@given(data=st.data())
def test_statistics_of_sipp(place: Path, data: st.DataObject) -> None:
    """Whichever columns they have."""
    content = data.draw(spoiled(STATISTICS) | st.binary())
    answered(lambda path: load.outcome(path, 100, 0), place / "sipp.csv", content)


@tried
@given(content=spoiled(LOG))
def test_a_log_is_counted_the_same_by_both_who_count_it(place: Path, content: bytes) -> None:
    """Line by line while it is measured, and column by column for the frames: two ways, one result."""
    path = place / "kamailio.log"
    counted = latency.tally(content, PIECE.call_id_prefix, SCENARIO.legs)
    path.write_bytes(content)
    parts = list(frames_log.read(path, PIECE, "native", SCENARIO.legs))
    again = frames_log.total([part.tally for part in parts])
    assert (again.messages, again.usec_sum, again.retransmissions, again.foreign) == (
        counted.messages,
        counted.usec_sum,
        counted.retransmissions,
        counted.foreign,
    )
    assert len(again.malformed) == len(counted.malformed)


@tried
@given(cut=st.integers(0, len(LOG)), garbage=st.binary(max_size=200))
def test_what_is_torn_is_never_counted_and_never_passed_over(cut: int, garbage: bytes) -> None:
    """A log that was cut off anywhere, with anything written there: whole lines before it count, as they are."""
    before = LOG[:cut]
    whole = before[: before.rfind(b"\n") + 1]
    expected = latency.tally(whole, PIECE.call_id_prefix, SCENARIO.legs)
    torn = latency.tally(before, PIECE.call_id_prefix, SCENARIO.legs)
    if before != whole and not LOG.startswith(before + b"\n"):  # but its end
        assert torn.messages == expected.messages
        assert torn.malformed
    spoiled_log = latency.tally(whole + garbage + b"\n", PIECE.call_id_prefix, SCENARIO.legs)
    assert spoiled_log.messages == expected.messages
    assert spoiled_log.usec_sum == expected.usec_sum


@tried
@given(content=spoiled(ANSWER) | st.binary())
def test_what_a_container_tells_of_itself(content: bytes) -> None:
    """Incomplete or odd: counters, or an error of ours."""
    with suppress(LabError):
        sampling.parse(content.decode(errors="replace"))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its frames."""
    folder = run(tmp_path_factory.mktemp("runs"), PLAN)
    dataset.derive(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [(Plan, "plan.json"), (SliceRecord, "slices/*/slice.json"), (StartRecord, "starts/*/start.json")],
)
@tried
@given(data=st.data())
def test_evidence(whole_run: Path, place: Path, kind: type[Any], pattern: str, data: st.DataObject) -> None:
    """Each record, spoiled."""
    ours = next((whole_run / "evidence").glob(pattern)).read_bytes()
    answered(lambda path: store.load(kind, path), place / "record.json", data.draw(spoiled(ours)))


@pytest.mark.parametrize("table", ["messages", "slices", "starts"])
@tried
@given(data=st.data())
def test_frames(whole_run: Path, table: str, data: st.DataObject) -> None:
    """A Parquet file, spoiled."""
    path = whole_run / "frames" / f"{table}.parquet"
    ours = path.read_bytes()
    try:
        answered(lambda _: frames.load(whole_run), path, data.draw(spoiled(ours)))
    finally:
        path.write_bytes(ours)


@tried
@given(data=st.data())
def test_an_archive(whole_run: Path, place: Path, data: st.DataObject) -> None:
    """What was changed is seen, and nothing is written but into its own folder."""
    file, target = place / "archive.zip", place / "restored"
    if not file.exists():
        archive.pack(whole_run, place / "whole.zip", logs=True)
    ours = (place / "whole.zip").read_bytes()
    content = data.draw(spoiled(ours))
    before = {*place.iterdir(), file, target}
    restored = answered(lambda path: archive.restore(path, target), file, content)
    assert {*place.iterdir()} <= before
    if restored is None:
        assert not target.exists() or not list(target.iterdir())
    if isinstance(restored, Path):
        assert store.digest(restored) == store.digest(whole_run)
    shutil.rmtree(target, ignore_errors=True)


def _images() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        content = b'[{"Config": "x.json", "RepoTags": ["kemi-lab/sipp:3.7.3"], "Layers": []}]'
        member = tarfile.TarInfo("manifest.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@tried
@given(content=spoiled(_images()) | st.binary())
def test_a_file_of_images(place: Path, content: bytes) -> None:
    """Whose they are is known before the engine sees them."""
    answered(image_files._tags, place / "images.tar", content)  # noqa: SLF001  (load itself takes an engine)
