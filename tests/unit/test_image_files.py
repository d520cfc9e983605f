"""A file of images that somebody has sent: only the lab's own get onto the engine."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from lab import image_files, process
from lab.errors import BadInputError


def packed(path: Path, tags: list[list[str] | None], **more: object) -> Path:
    """As docker save writes it, as far as it is looked at; and further files."""
    manifest = [{"Config": "blob", "RepoTags": names, "Layers": []} for names in tags]
    with tarfile.open(path, "w") as archive:
        for name, content in {"manifest.json": manifest, **more}.items():
            text = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been given to the engine."""
    commands: list[list[str]] = []
    monkeypatch.setattr(process, "run", lambda command, **_: commands.append(command))
    return commands


def test_the_labs_own_are_loaded(tmp_path: Path, loaded: list[list[str]]) -> None:
    """By the engine's own client."""
    file = packed(tmp_path / "images.tar", [["kemi-lab/sipp:3.7.3"], ["kemi-lab/base:trixie"]])
    assert image_files.load(file) == ["kemi-lab/base:trixie", "kemi-lab/sipp:3.7.3"]
    assert loaded == [["docker", "load", "--input", str(file)]]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([["kemi-lab/sipp:3.7.3"], ["debian:trixie"]], "holds debian:trixie"),
        ([["kemi-lab/sipp:3.7.3", "mysql:9"]], "holds mysql:9"),
        ([None], "holds blob"),
        ([], "no image"),
    ],
)
def test_others_are_refused(tmp_path: Path, loaded: list[list[str]], tags: list[list[str] | None], said: str) -> None:
    """Whatever name they would replace; and those without one."""
    with pytest.raises(BadInputError, match=said):
        image_files.load(packed(tmp_path / "images.tar", tags))
    assert loaded == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"./manifest.json": [{"RepoTags": ["mysql:9"]}]}, "there twice"),
        ({"index.json": {"manifests": [{"digest": "sha256:1"}]}}, "holds sha256:1"),
        (
            {"index.json": {"manifests": [{"digest": "", "annotations": {image_files.NAME: "docker.io/library/x:9"}}]}},
            "holds library/x:9",
        ),
        ({"index.json": 7}, "no file of images"),
    ],
)
def test_no_second_list_gets_past(tmp_path: Path, loaded: list[list[str]], more: dict[str, object], said: str) -> None:
    """Engines read the one list or the other."""
    with pytest.raises(BadInputError, match=said):
        image_files.load(packed(tmp_path / "images.tar", [["kemi-lab/sipp:3.7.3"]], **more))
    assert loaded == []


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_file_of_images_is_told(tmp_path: Path, loaded: list[list[str]], content: bytes | None) -> None:
    """Empty, something else, not there."""
    file = tmp_path / "images.tar"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInputError, match=r"images\.tar: no file of images") as error:
        image_files.load(file)
    assert "export-images" in error.value.remedy
    assert loaded == []
