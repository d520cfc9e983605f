"""A run's folder as a dataset: described so that other tools can read it, as CSV on request, and listed."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from frictionless import Package, Resource

from lab import dataset, frames, testing
from lab.frames.columns import MESSAGES, TABLES
from lab.frames.table import Table
from lab.versions import ROOT
from tests.unit import machine

PLAN = testing.plan(rounds=2, slices=2, calls=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that is derived from it, CSV included."""
    run = machine.describe(testing.run(tmp_path_factory.mktemp("results"), PLAN, testing.slices(PLAN)))
    dataset.derive(run)
    dataset.write_csv(run)
    return run


@pytest.fixture(scope="module")
def described(folder: Path) -> dict[str, Any]:
    """Its description."""
    content: dict[str, Any] = json.loads((folder / dataset.FILE).read_text())
    return content


def resource(described: dict[str, Any], name: str) -> dict[str, Any]:
    """One of its files."""
    (found,) = [one for one in described["resources"] if one["name"] == name]
    return dict(found)


def test_the_description_is_valid_by_its_own_projects_validator(folder: Path) -> None:
    """And every CSV has the columns and types that are declared."""
    package = Package.from_descriptor(str(folder / dataset.FILE))
    assert list(package.metadata_validate(package.to_descriptor())) == []
    for table in TABLES:
        report = Resource.from_descriptor(
            resource(json.loads((folder / dataset.FILE).read_text()), f"{table.name}-csv"), basepath=str(folder)
        ).validate()
        assert report.valid, str(report)


def test_every_file_has_its_size_and_checksum(folder: Path, described: dict[str, Any]) -> None:
    """Frames, and what lies beside them."""
    for one in described["resources"]:
        content = (folder / one["path"]).read_bytes()
        assert one["bytes"] == len(content)
        assert one["hash"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    names = {one["name"] for one in described["resources"]}
    assert names >= {"messages", "slices", "starts", "summary", "plan", "host", "images", "layout"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_has_type_unit_and_meaning(described: dict[str, Any], table: Table) -> None:
    """From the declaration."""
    fields = resource(described, table.name)["schema"]["fields"]
    assert [one["name"] for one in fields] == [column.name for column in table.columns]
    for field, column in zip(fields, table.columns, strict=True):
        assert field["description"] == column.meaning
        assert field.get("unit", "") == column.unit
        assert not (column.null and "constraints" in field)
    assert {field["name"]: field["type"] for field in fields if field["name"] in {"usec", "leg", "retransmission"}} in (
        {"usec": "integer", "leg": "string", "retransmission": "boolean"},
        {"usec": "integer"},
        {},
    )


def test_csv_has_the_same_rows(folder: Path) -> None:
    """What is not known is empty."""
    loaded = frames.load(folder)
    messages = pd.read_csv(folder / "frames" / "messages.csv")
    assert messages["usec"].sum() == loaded.messages["usec"].sum()
    assert list(messages.columns) == [column.name for column in MESSAGES.columns]
    assert len(pd.read_csv(folder / "frames" / "slices.csv")) == len(loaded.slices)


def snippet(language: str) -> str:
    """What the page shows in a language."""
    text = (ROOT / "docs" / "dataset.md").read_text()
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


def test_what_the_page_shows_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With pandas and with DuckDB, and both give the summary's figures."""
    place = folder.parents[1]  # of results/, by whatever name
    (place / "results").symlink_to(folder.parent)
    monkeypatch.chdir(place)
    shown: dict[str, Any] = {}
    exec(snippet("python"), shown)  # noqa: S102  (our own page)
    assert "authenticated" in capsys.readouterr().out
    by_pandas = shown["counts"].groupby(["cell", "leg"], observed=True).usec.mean()
    result = duckdb.sql(snippet("sql"))
    assert result
    by_sql = result.fetchall()
    legs = {name: cell["legs"] for name, cell in json.loads((folder / "summary.json").read_text())["cells"].items()}
    assert len(by_sql) == sum(map(len, legs.values()))
    for cell, leg, requests, mean, _ in by_sql:
        assert requests == legs[cell][leg]["count"]
        assert mean == pytest.approx(legs[cell][leg]["mean_usec"])
        assert by_pandas[cell, leg] == pytest.approx(mean)


def test_what_is_inside_is_listed(folder: Path) -> None:
    """Frames with their rows first."""
    parts = list(dataset.parts(folder))
    assert [part.path for part in parts[:3]] == [f"frames/{table.name}.parquet" for table in TABLES]
    assert parts[0].rows == len(frames.load(folder).messages)
    assert parts[0].columns == len(MESSAGES.columns)
    listed = {part.path for part in parts[3:]}
    assert listed >= {"evidence/", "summary.json", "status.json", "datapackage.json"}
    assert all(part.size > 0 for part in parts)


def test_without_csv_none_is_described(tmp_path: Path) -> None:
    """Only what is there."""
    run = machine.describe(testing.run(tmp_path, PLAN, testing.slices(PLAN)))
    dataset.derive(run)
    described = json.loads((run / dataset.FILE).read_text())
    assert not [one for one in described["resources"] if one.get("format") == "csv"]
    assert described["version"] == str(json.loads((run / "summary.json").read_text())["schema_version"])
