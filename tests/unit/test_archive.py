"""A run as one file: the same bytes each time, every one of them checked, and nothing written by a hostile one."""

import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import archive, store
from lab.errors import BadInputError, SetupError

LOG = "evidence/slices/r01-s001-native/kamailio.log.gz"
PLAN = "evidence/plan.json"

Members = list[tuple[zipfile.ZipInfo, bytes]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A sealed run with a slice, a log, and what was derived from them."""
    made = store.Run.create(tmp_path / "results", "small")
    with made.part("slices", "r01-s001-native") as folder:
        (folder / "slice.json").write_text('{"of": "a slice"}\n')
        (folder / "kamailio.log.gz").write_text("a latency line\n" * 5000)
    (made.folder / PLAN).write_text('{"a": "plan"}\n')
    made.seal("complete")
    (made.folder / "frames").mkdir()
    (made.folder / "frames" / "messages.parquet").write_bytes(os.urandom(3000))
    (made.folder / "summary.json").write_text("{}\n")
    return made.folder


@pytest.fixture
def packed(run: Path, tmp_path: Path) -> Path:
    """Its archive, logs included."""
    file = tmp_path / "run.zip"
    archive.pack(run, file, logs=True)
    return file


def files(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_and_back(run: Path, packed: Path, tmp_path: Path) -> None:
    """What comes back is what went in; the list of checksums is the archive's alone."""
    restored = archive.restore(packed, tmp_path / "elsewhere")
    assert restored == tmp_path / "elsewhere" / run.name
    assert files(restored) == files(run)
    (sums,) = (content for member, content in members(packed) if member.filename == f"{run.name}/{archive.CHECKSUMS}")
    assert {line.split("  ")[1] for line in sums.decode().splitlines()} == files(run).keys()
    assert archive.verify(restored) == archive.verify(run)


def test_the_same_run_makes_the_same_bytes(run: Path, packed: Path, tmp_path: Path) -> None:
    """Whoever packs it, when, and from where: also what was restored."""
    restored = archive.restore(packed, tmp_path / "elsewhere")
    for path in restored.rglob("*"):
        os.utime(path, (1e9, 1e9))
    (run / "summary.json").chmod(0o600)
    for folder in (run, restored):
        again = tmp_path / "again.zip"
        archive.pack(folder, again, logs=True)
        assert again.read_bytes() == packed.read_bytes()


def test_logs_may_be_left_out(run: Path, packed: Path, tmp_path: Path) -> None:
    """That is told, and is no damage; all else is still checked against the seal."""
    file = tmp_path / "small.zip"
    found = archive.pack(run, file, logs=False)
    assert found.left_out == 1
    assert found.files == archive.verify(packed).files - 1
    assert file.stat().st_size < packed.stat().st_size
    restored = archive.restore(file, tmp_path / "elsewhere")
    assert not (restored / LOG).exists()
    assert archive.verify(restored).left_out == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / PLAN).write_text("{ }\n"), f"changed: {PLAN}"),
        (lambda run: (run / PLAN).unlink(), f"missing: {PLAN}"),
        (lambda run: (run / LOG).write_text("another\n"), f"changed: {LOG}"),
        (lambda run: (run / "evidence" / "new").write_text(""), "not listed: evidence/new"),
    ],
)
def test_what_is_not_as_it_was_sealed_is_named(
    run: Path, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    """By a check of the folder, and before anything is packed."""
    change(run)
    with pytest.raises(BadInputError) as error:
        archive.verify(run)
    assert error.value.detail == said
    with pytest.raises(BadInputError):
        archive.pack(run, tmp_path / "never.zip", logs=True)
    assert not (tmp_path / "never.zip").exists()


def test_a_run_that_goes_on_is_no_archive(tmp_path: Path) -> None:
    """It has no seal."""
    going = store.Run.create(tmp_path / "results", "small")
    with pytest.raises(BadInputError, match="not sealed"):
        archive.pack(going.folder, tmp_path / "never.zip", logs=True)


def test_nothing_is_overwritten(run: Path, packed: Path) -> None:
    """A run that is there stays as it is."""
    with pytest.raises(BadInputError, match="is there already"):
        archive.restore(packed, run.parent)
    assert archive.verify(run).run == run.name


def test_a_full_disk_leaves_no_half_archive(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an older one stays."""
    file = tmp_path / "run.zip"
    file.write_bytes(b"older")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(SetupError, match="No space left"):
        archive.pack(run, file, logs=True)
    assert file.read_bytes() == b"older"
    assert {path.name for path in tmp_path.iterdir()} == {"run.zip", "results"}


def test_every_byte_counts(packed: Path, tmp_path: Path) -> None:
    """Whichever byte is changed, it is seen, or it means nothing: then what comes back is the same."""
    good = packed.read_bytes()
    right = files(archive.restore(packed, tmp_path / "right"))
    damaged = tmp_path / "damaged.zip"
    seen = 0
    for number, place in enumerate(range(0, len(good), 41)):
        damaged.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        target = tmp_path / f"target-{number}"
        try:
            restored = archive.restore(damaged, target)
        except BadInputError:
            seen += 1
            assert not target.exists() or not list(target.iterdir())
        else:
            assert files(restored) == right
    assert seen > 0.9 * len(good) / 41


# --- made by somebody else --------------------------------------------------------------------------------------------


def members(file: Path) -> Members:
    """What an archive holds, to be changed."""
    with zipfile.ZipFile(file) as source:
        return [(member, source.read(member)) for member in source.infolist()]


def named(name: str, template: zipfile.ZipInfo | None = None, *, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    """A member of that name."""
    member = zipfile.ZipInfo(name, archive.EPOCH)
    member.external_attr = template.external_attr if template else mode << 16
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


ADDED = {  # to an archive of `RUN`
    "an absolute path": ("/tmp/kemi-lab-outside", stat.S_IFREG, "leaves its folder"),  # noqa: S108
    "a way up": ("RUN/../../outside", stat.S_IFREG, "leaves its folder"),
    "a path of Windows": ("RUN\\..\\outside", stat.S_IFREG, "odd characters"),
    "an odd name": ("RUN/\x1b[31m", stat.S_IFREG, "odd characters"),
    "a name without an end": (f"RUN/{'x' * 300}", stat.S_IFREG, "too long"),
    "a link": ("RUN/evidence/link", stat.S_IFLNK, "only files"),
    "a device": ("RUN/evidence/device", stat.S_IFCHR, "only files"),
    "a name twice": ("RUN/status.json", stat.S_IFREG, "twice"),
    "a name twice but for its case": ("RUN/Status.JSON", stat.S_IFREG, "twice"),
    "a file in a file": ("RUN/status.json/more", stat.S_IFREG, "lies in what is a file"),
    "another run": ("another/status.json", stat.S_IFREG, "no archive of a run"),
    "a file that nobody lists": ("RUN/extra", stat.S_IFREG, "not listed: extra"),
}


def without(name: str) -> Callable[[Members], Members]:
    """The same, but for one file."""
    return lambda found: [one for one in found if not one[0].filename.endswith(name)]


def another_plan(found: Members) -> Members:
    """What is listed is not what is there."""
    return [(member, content + b" " * member.filename.endswith(PLAN)) for member, content in found]


def another_plan_and_list(found: Members) -> Members:
    """Somebody has changed the plan, and the archive's own list with it; the seal tells."""
    plan = next(content for member, content in found if member.filename.endswith(PLAN))
    old, new = (hashlib.sha256(plan + more).hexdigest().encode() for more in (b"", b" "))
    return [
        (member, content.replace(old, new) if member.filename.endswith(archive.CHECKSUMS) else content)
        for member, content in another_plan(found)
    ]


CHANGED = {
    "a file is missing": (without(PLAN), f"missing: {PLAN}"),
    "no list": (without(archive.CHECKSUMS), "no archive of a run"),
    "no seal": (without("manifest.sha256"), "missing: manifest.sha256"),
    "another content": (another_plan, f"changed: {PLAN}"),
    "another content, and listed": (another_plan_and_list, f"changed: {PLAN}"),
}


def add(name: str, kind: int) -> Callable[[Members], Members]:
    """The same, and one more member."""
    return lambda found: [*found, (named(name.replace("RUN", run_of(found)), mode=kind | 0o644), b"/etc/passwd")]


def run_of(found: Members) -> str:
    """The folder that all lies in."""
    return found[0][0].filename.partition("/")[0]


HOSTILE = CHANGED | {what: (add(name, kind), said) for what, (name, kind, said) in ADDED.items()}


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize(("change", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_refused_and_nothing_is_written(
    packed: Path, tmp_path: Path, change: Callable[[Members], Members], said: str
) -> None:
    """Neither beside the target nor in it."""
    hostile = tmp_path / "hostile.zip"
    with zipfile.ZipFile(hostile, "w") as made:
        for member, content in change(members(packed)):
            made.writestr(member, content)
    target = tmp_path / "a" / "b" / "results"
    for open_it in (archive.verify, lambda file: archive.restore(file, target)):
        with pytest.raises(BadInputError) as error:
            open_it(hostile)
        assert said in str(error.value) + error.value.detail
        assert error.value.remedy
    assert not files(tmp_path / "a")
    assert not Path("/tmp/kemi-lab-outside").exists()  # noqa: S108


def test_a_bomb_of_shared_data_is_refused(packed: Path, tmp_path: Path) -> None:
    """Many names, whose data is the same bytes."""
    bomb = tmp_path / "bomb.zip"
    shutil.copyfile(packed, bomb)
    with zipfile.ZipFile(bomb, "a") as made:
        first = made.infolist()[1]
        for number in range(3):
            copy = named(f"{first.filename}-{number}", first)
            copy.header_offset, copy.CRC = first.header_offset, first.CRC
            copy.compress_size, copy.file_size = first.compress_size, first.file_size
            made.filelist.append(copy)
            made.NameToInfo[copy.filename] = copy
        made._didModify = True  # type: ignore[attr-defined]  # noqa: SLF001  (so that the directory is written anew)
    with pytest.raises(BadInputError, match="shares its data"):
        archive.verify(bomb)


def test_a_bomb_of_much_from_little_is_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its directory declares; no more than that is ever read."""
    monkeypatch.setattr("lab.untrusted.MOST_BYTES", 1000)
    with pytest.raises(BadInputError, match="at most 1000 are taken"):
        archive.restore(packed, tmp_path / "results of others")
    monkeypatch.undo()
    monkeypatch.setattr("lab.untrusted.MOST_FILES", 3)
    with pytest.raises(BadInputError, match="at most 3 are taken"):
        archive.verify(packed)


def test_a_disk_without_room_is_told_first(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the middle of it."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(SetupError, match="10 are free"):
        archive.restore(packed, tmp_path / "target")
    assert not files(tmp_path / "target")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    """Empty, something else, an archive of nothing."""
    file = tmp_path / "other.zip"
    file.write_bytes(content)
    with pytest.raises(BadInputError, match=r"other\.zip: "):
        archive.verify(file)
    with pytest.raises(BadInputError, match="no such file"):
        archive.verify(tmp_path / "nowhere.zip")
