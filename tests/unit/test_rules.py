"""The rules of tests/conftest.py, tried on small suites of their own."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPS = {
    "test_call": "import pytest\ndef test(): pytest.skip('why')\n",
    "test_mark": "import pytest\n@pytest.mark.skip(reason='why')\ndef test(): pass\n",
    "test_module": "import pytest\npytest.skip('why', allow_module_level=True)\n",
    "test_import": "import pytest\npytest.importorskip('no_such_module')\n",
}


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with our conftest."""
    pytester.makeini("[pytest]\nmarkers = docker: needs an engine\n")
    for tier in ("docker", "unit"):
        pytester.mkdir(tier)
    (pytester.path / "conftest.py").write_text(CONFTEST.read_text())
    return pytester


@pytest.mark.parametrize("kind", SKIPS)
@pytest.mark.parametrize(
    ("ci", "tier", "fails"), [("true", "docker", True), ("true", "unit", False), ("", "docker", False)]
)
def test_a_skipped_docker_test_fails_under_ci(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, kind: str, ci: str, tier: str, *, fails: bool
) -> None:
    """Whichever way it was skipped; elsewhere a skip is a skip."""
    monkeypatch.setenv("CI", ci)
    (suite.path / tier / f"{kind}.py").write_text(SKIPS[kind])
    outcome = suite.runpytest_inprocess().parseoutcomes()
    assert bool(outcome.get("failed") or outcome.get("error") or outcome.get("errors")) is fails
    assert bool(outcome.get("skipped")) is not fails


def test_an_expected_failure_is_no_skip(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest reports both the same way inside."""
    monkeypatch.setenv("CI", "true")
    (suite.path / "docker/test_x.py").write_text("import pytest\n@pytest.mark.xfail\ndef test(): assert False\n")
    suite.runpytest_inprocess().assert_outcomes(xfailed=1)


def test_the_docker_tier_is_marked_by_its_folder(suite: pytest.Pytester) -> None:
    """So that `-m "not docker"` leaves it out without anybody having to remember."""
    for tier in ("docker", "unit"):
        (suite.path / f"{tier}/test_{tier}.py").write_text("def test(): pass\n")
    suite.runpytest_inprocess("-m", "not docker").assert_outcomes(passed=1, deselected=1)
