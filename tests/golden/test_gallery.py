"""The gallery in results/: each run's archive is whole, its report says what its evidence says, and all is small."""

import re
from pathlib import Path

import pytest

from lab import archive, summary
from lab.report import page
from tests.golden import gallery

INDEX = (gallery.GALLERY / "README.md").read_text(encoding="utf-8")
PLACES = [path for path in gallery.GALLERY.iterdir() if path.is_dir() and re.fullmatch(r"[a-z][\w-]*", path.name)]


def test_the_experiments_that_it_is_for_are_there() -> None:
    """As measured."""
    assert {place.name for place in gallery.places()} >= {"engines", "versions"}


@pytest.mark.parametrize("place", sorted(PLACES), ids=lambda path: path.name)
def test_the_index_leads_to_every_place_and_each_is_small(place: Path) -> None:
    """Three megabytes at most."""
    if not place.is_symlink():  # latest
        assert re.search(rf"\]\({place.name}/[\w.]*\)", INDEX)
        assert sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) < gallery.MOST_BYTES


@pytest.mark.parametrize("place", gallery.places(), ids=lambda path: path.name)
def test_the_figures_are_what_the_evidence_gives(place: Path, tmp_path: Path) -> None:
    """Of a restored archive, made again by this version, to the last digit."""
    folder = archive.restore(place / gallery.ARCHIVE, tmp_path)
    told = b"".join(path.read_bytes() for path in folder.rglob("inspect.json"))
    assert not re.search(rb'"/[^"]*compose.yaml"', told)  # where somebody's lab lies is nobody's business
    assert archive.verify(folder).left_out > 0
    before = summary.read(folder)
    assert summary.write(folder) == before


@pytest.mark.parametrize("place", gallery.places(), ids=lambda path: path.name)
def test_the_report_is_the_one_of_that_run(place: Path, tmp_path: Path) -> None:
    """Word by word, with every figure; python -m tests.golden.gallery makes all of them anew."""
    gallery.report(place, tmp_path)
    text = (place / page.TEXT).read_text(encoding="utf-8")
    assert (tmp_path / page.TEXT).read_text(encoding="utf-8") == text
    names = re.findall(rf"\({page.FIGURES}/([\w-]+)\.svg\)", text)
    assert {path.stem for path in (place / page.FIGURES).glob("*.svg")} == set(names)
    assert (place / page.PAGE).read_text(encoding="utf-8").count("<svg") == len(names) > 0
