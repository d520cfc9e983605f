"""A run's folder as a dataset: all that is derived from its evidence, described so that other tools can read it.

The description is a Data Package (datapackage.org, version 2): every file with its size and sha256, every column with
type, unit and meaning, from the declaration in lab.frames.columns. docs/dataset.md says how to read it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lab import frames, store, summary
from lab.frames.columns import TABLES
from lab.frames.dataset import FOLDER as FRAMES
from lab.frames.table import WORD, Column, Table
from lab.model import Plan
from lab.summary import Summary

FILE = "datapackage.json"
PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
_TYPES = {pa.int64(): "integer", pa.float64(): "number", pa.bool_(): "boolean", pa.string(): "string", WORD: "string"}
_BESIDE = {
    "summary": ("summary.json", "the figures: docs/summary.md has every field"),
    "plan": ("evidence/plan.json", "cells, rounds and slices as they were planned, with the seed's order"),
    "host": ("evidence/host.json", "the machine"),
    "images": ("evidence/images.json", "every image, with the version of each of its packages"),
    "layout": ("evidence/layout.json", "CPUs of each role"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Something that lies in a run's folder."""

    path: str
    what: str
    size: int  # bytes
    rows: int | None = None
    columns: int | None = None


def derive(run: Path) -> Summary:
    """Frames, figures and description of a run, from its evidence."""
    store.status(run)  # before anything gives way: a version that is yet to come is left as it is
    for stale in (run / FRAMES).glob("*.csv"):
        stale.unlink()
    frames.write(run)
    found = summary.write(run)
    describe(run)
    return found


def describe(run: Path) -> None:
    """Write the description of what is there now."""
    plan = store.load(Plan, run / "evidence" / "plan.json")
    content = {
        "$schema": PROFILE,
        "name": run.name.lower(),
        "title": f"kemi-lab: {plan.experiment}",
        "description": "How long Kamailio's request_route took, message by message, and what else was seen.",
        "version": str(store.SCHEMA_VERSION),
        "resources": [*_tables(run), *_files(run)],
    }
    store.write_atomically(run / FILE, (json.dumps(content, indent=1) + "\n").encode())


def write_csv(run: Path) -> None:
    """Each frame as CSV beside its Parquet file; what is not known is an empty field."""
    for table in TABLES:
        place = run / FRAMES / f"{table.name}.parquet"
        with (
            store.atomically(place.with_suffix(".csv")) as draft,
            pq.ParquetFile(place) as file,
            pyarrow.csv.CSVWriter(draft, table.schema) as writer,
        ):
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group))
    describe(run)


def parts(run: Path) -> Iterator[Part]:
    """What is inside, for who opens it: frames with their rows, then everything else, folder by folder."""
    for table in TABLES:
        place = run / FRAMES / f"{table.name}.parquet"
        if place.is_file():
            facts = pq.read_metadata(place)
            yield Part(
                str(place.relative_to(run)), f"a row: {table.row}", _size(place), facts.num_rows, facts.num_columns
            )
    known = dict(_BESIDE.values())
    for path in sorted(run.iterdir(), key=lambda one: (one.is_dir(), one.name)):
        if path.name != FRAMES and not path.name.startswith("."):
            inside = len([one for one in path.rglob("*") if one.is_file()]) if path.is_dir() else 0
            what = f"{inside} files" if path.is_dir() else known.get(path.name, "")
            yield Part(f"{path.name}{'/' * path.is_dir()}", what, _size(path))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files if one.is_file())


def _tables(run: Path) -> Iterator[dict[str, Any]]:
    for table in TABLES:
        for suffix, media in (("parquet", "application/vnd.apache.parquet"), ("csv", "text/csv")):
            place = run / FRAMES / f"{table.name}.{suffix}"
            if place.is_file():
                yield {
                    "name": table.name if suffix == "parquet" else f"{table.name}-{suffix}",
                    "type": "table",
                    **_of_file(run, place),
                    "description": f"One row: {table.row}.",
                    "format": suffix,
                    "mediatype": media,
                    "schema": _schema(table),
                }


def _files(run: Path) -> Iterator[dict[str, Any]]:
    for name, (path, what) in _BESIDE.items():
        if (run / path).is_file():
            about = {"description": what, "format": "json", "mediatype": "application/json"}
            yield {"name": name, **_of_file(run, run / path), **about}


def _of_file(run: Path, place: Path) -> dict[str, Any]:
    return {
        "path": str(place.relative_to(run)),
        "bytes": place.stat().st_size,
        "hash": f"sha256:{store.digest(place)}",
    }


def _schema(table: Table) -> dict[str, Any]:
    return {"fields": [_field(column) for column in table.columns], "missingValues": [""]}


def _field(column: Column) -> dict[str, Any]:
    unit = {"unit": column.unit} if column.unit else {}
    # To a reader of CSV an empty text is a missing one.
    required = {} if column.null or column.type == pa.string() else {"constraints": {"required": True}}
    return {"name": column.name, "type": _TYPES[column.type], "description": column.meaning, **unit, **required}
