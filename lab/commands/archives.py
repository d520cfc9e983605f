"""Commands about archives: archive, verify, restore."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import Exit
from lab.output import say

if TYPE_CHECKING:
    from lab.archive import Contents


def archive(options: argparse.Namespace) -> int:
    """A run -> a file; its path is on standard output."""
    from lab import archive, store

    run = store.find(options.results, options.run)
    file = options.output or Path(f"{run.name}{archive.SUFFIX}")
    contents = archive.pack(run, file, logs=options.with_logs)
    return _say(contents, file, as_json=options.json, text=str(file))


def verify(options: argparse.Namespace) -> int:
    """Every byte of an archive, or of a run's folder."""
    from lab import archive, store

    path = options.file if options.file.exists() else store.find(options.results, str(options.file))
    contents = archive.verify(path)
    logs = f"; {contents.left_out} logs were left out of it" if contents.left_out else ""
    text = f"{path}: {contents.files} files of run {contents.run}, {contents.size} bytes, all as they were sealed{logs}"
    return _say(contents, path, as_json=options.json, text=text)


def restore(options: argparse.Namespace) -> int:
    """A file -> a run's folder; its path is on standard output."""
    from lab import archive

    folder = archive.restore(options.file, options.results)
    return _say(archive.verify(folder), folder, as_json=options.json, text=str(folder))


def _say(contents: "Contents", path: Path, *, as_json: bool, text: str) -> int:
    say(json.dumps({"path": str(path), **asdict(contents)}, indent=1) if as_json else text)
    return Exit.OK
