"""Rules of every tier: the docker tier is marked by its folder, and under CI=true nothing in it may be skipped."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

# testcontainers would pull a reaper image; there may be no registry, and we clean up by our own labels.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

pytest_plugins = ["pytester"]

DOCKER_TIER = Path(__file__).parent / "docker"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in tests/docker belongs to the docker tier."""
    for item in items:
        if item.path.is_relative_to(DOCKER_TIER):
            item.add_marker(pytest.mark.docker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a docker test into a failure."""
    report = yield
    forbid_skip(report, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module (importorskip and the like) into a failure, too."""
    report = yield
    forbid_skip(report, collector.path)
    return report


def forbid_skip(report: pytest.TestReport | pytest.CollectReport, path: Path) -> None:
    """CI has an engine: a docker test that does not run there hides a fault. An expected failure is no skip."""
    skipped = report.outcome == "skipped" and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("CI") == "true" and path.is_relative_to(DOCKER_TIER):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true, where the docker tier must run: {report.longrepr}"
