"""Places of the gallery in results/: a run's archive without logs, and the report that is made of it, figures as SVG.

python -m tests.golden.gallery engines RUN     a new one, or another run in its place
python -m tests.golden.gallery                 the reports of all, made anew by this version

An archive with which a place is too large for git is left out, and the report stays as it was made.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import archive, store, summary
from lab.arguments import RESULTS
from lab.counts import figures as counts
from lab.report import kinds, page
from lab.versions import ROOT

GALLERY = ROOT / "results"
ARCHIVE = "run.kemi-lab.zip"
MOST_BYTES = 3_000_000  # of a place: it is in git for good


def places() -> list[Path]:
    """Folders that hold a run."""
    return sorted(path.parent for path in GALLERY.glob(f"*/{ARCHIVE}"))


def report(place: Path, folder: Path) -> None:
    """Write the report of a place's run into a folder."""
    with TemporaryDirectory() as results:
        restored = archive.restore(place / ARCHIVE, Path(results))
        if not counts.is_one(restored):
            summary.write(restored)  # by this version
        page.write(kinds.build(restored), folder)
    for picture in (folder / page.FIGURES).glob("*.png"):  # twice the size of the rest, and nothing shows them
        picture.unlink()


def main(name: str = "", run_id: str = "") -> None:
    """As the module says."""
    if name:
        (GALLERY / name).mkdir(exist_ok=True)
        archive.pack(store.find(RESULTS, run_id), GALLERY / name / ARCHIVE, logs=False)
    for place in [GALLERY / name] if name else places():
        shutil.rmtree(place / page.FIGURES, ignore_errors=True)
        report(place, place)
        if name and sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) >= MOST_BYTES:
            (place / ARCHIVE).unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
