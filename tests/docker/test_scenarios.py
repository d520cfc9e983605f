"""Every factor of an experiment in a run of its own: scenarios, releases, databases, routings. All slices are valid."""

import json
import tomllib
from pathlib import Path
from typing import Any

from lab import store, versions
from lab.model import StartRecord
from tests.docker.conftest import Stock
from tests.docker.driver import Lab

RELEASES = tuple(versions.load().kamailio)
SLICE = {"rounds": 1, "warmup_slices": 0, "slice_seconds": 0.5, "repeats": 8, "baseline": "native"}
CALLS = 75
PUBLISHED = {"as-printed": (10, 0), "as-run": (3, 0), "corrected": (2, 1)}  # requests a call, and registrations

# Legs of each scenario beside `register`, which test_run.py has.
SCENARIOS = {
    "challenge": {"challenge"},
    "options": {"options"},
    "reregister": {"challenge", "authenticated"},
    "invite": {"challenge", "invite", "ack", "bye"},
}

# What is declared broken in images/versions.toml, and how it shows: (release, entry) -> what the evidence says.
NO_METHOD = "undefined method `to_i' for an instance of Integer"
NOT_LOADED = "undefined method `ksr_request_route' for Kernel:Module"
BROKEN = {
    ("6.0.1", "upstream/ruby"): NO_METHOD,
    ("6.1", "upstream/ruby"): NO_METHOD,
    ("5.6.3", "upstream/ruby"): NOT_LOADED,
    ("5.4.4", "upstream/ruby"): NOT_LOADED,
}


def run_of(lab: Lab, **changes: object) -> dict[str, Any]:
    """A run that ends valid, and leaves nothing: its summary."""
    run = lab("run", lab.experiment(**{**SLICE, **changes}))
    assert run.process.returncode == 0, run.error
    assert lab.left() == []
    summary: dict[str, Any] = json.loads((lab.results / "latest" / "summary.json").read_text())
    assert summary["valid"]
    return summary


def starts(lab: Lab) -> dict[str, StartRecord]:
    """The start of each cell."""
    folder = lab.results / "latest" / "evidence" / "starts"
    return {path.name[4:]: store.load(StartRecord, path / "start.json") for path in folder.glob("r01-*")}


def counts(summary: dict[str, Any], cell: str) -> dict[str, int]:
    """How many requests of each leg a cell has answered in valid slices."""
    return {leg: figures["count"] for leg, figures in summary["cells"][cell]["legs"].items()}


def test_every_scenario_runs(lab: Lab) -> None:
    """Native and Lua side by side in each; every slice reconciles, and each leg has every call."""
    summary = run_of(lab, name="scenarios", engines=["native", "lua"], scenario=list(SCENARIOS))
    for scenario, legs in SCENARIOS.items():
        for engine in ("native", "lua"):
            assert counts(summary, f"{engine}-{scenario}") == dict.fromkeys(legs, CALLS)
    assert summary["broken"] == {}
    # What is refreshed has to be there: all thousand of them, of which the slice refreshes the first few.
    assert starts(lab)["lua-reregister"].bindings == 1000


def test_mysql_and_mariadb_side_by_side(lab: Lab) -> None:
    """The database as a factor: each cell has its own on its own server, and leaves its bindings there."""
    summary = run_of(lab, name="databases", engines=["native", "lua"], database=["mysql", "mariadb"])
    assert {cell["database"] for cell in summary["cells"].values()} == {"mysql", "mariadb"}
    for name in summary["cells"]:
        assert counts(summary, name) == {"challenge": CALLS, "authenticated": CALLS}
    for start in starts(lab).values():
        assert (start.reasons, start.bindings) == ((), 10), start.cell
    images = json.loads((lab.results / "latest" / "evidence" / "images.json").read_text())["database"]
    assert "MariaDB" in images["mariadb"]["version"]
    assert "MariaDB" not in images["mysql"]["version"]


def test_every_release_side_by_side(lab: Lab, stock: Stock) -> None:
    """Each with its own schema and its own native as baseline; one that is not available is left out, and said."""
    there = [release for release in RELEASES if stock.kamailio(release)]
    summary = run_of(lab, name="releases", engines=["native", "lua"], kamailio=list(RELEASES))
    assert {cell["kamailio"] for cell in summary["cells"].values()} == set(there)
    for start in starts(lab).values():
        assert start.reasons == (), start.cell
        assert (start.marker, start.bindings) == (start.engine, 10)
    for name, cell in summary["cells"].items():
        assert counts(summary, name) == {"challenge": CALLS, "authenticated": CALLS}
        if cell["engine"] == "lua":
            assert cell["baseline"] == name.replace("lua", "native")
    for release in set(RELEASES) - set(there):
        assert any(release in note for note in summary["notes"])


def test_the_examples_of_the_source_tree_are_measured(lab: Lab) -> None:
    """Upstream's own scripts beside ours: each is proven by its marker and its script's place, and registers."""
    engines = [name for name in versions.load().kamailio["6.0.1"].engines if name != "ruby"]  # which is broken: below
    summary = run_of(lab, name="upstream", engines=engines, routing=["parity", "upstream"])
    for engine in engines:
        for routing in ("parity", "upstream"):
            assert counts(summary, f"{engine}-{routing}") == {"challenge": CALLS, "authenticated": CALLS}
    for cell, start in starts(lab).items():
        assert (start.marker, start.reasons) == (start.engine, ())
        if start.engine != "native":
            folder = "/usr/share/kemi-lab/upstream" if "upstream" in cell else "/etc/kamailio/parity"
            assert Path(start.script).parent == Path(folder)


def test_the_published_experiment_in_short(lab: Lab, stock: Stock) -> None:
    """Its conditions at a low rate: ten requests a call as printed, three as run, two corrected; 100 Trying by two."""
    if not stock.kamailio("5.4.4-unoptimised"):
        return
    published = tomllib.loads((versions.ROOT / "experiments" / "published-2018.toml").read_text())
    short = {"name": "published-2018", "rounds": 1, "slice_seconds": 0.2, "rate_per_s": 50}
    # Each as-printed slice takes the half minute in which SIPp gives a call up.
    experiment = lab.experiment(**{**published, **short, "limits": None, "repeats": 0})
    run = lab("run", experiment, patience_seconds=400)
    assert run.process.returncode == 0, run.error
    assert lab.left() == []
    page = lab("published", "latest", "--json")
    assert page.process.returncode == 0, page.error
    runs = [run for run in json.loads(page.output)["runs"] if run["form"] != "published"]
    assert {(run["form"], run["engine"]) for run in runs} == {
        (form, engine) for form in ("as-printed", "as-run", "corrected") for engine in ("native", "lua", "python")
    }
    for run in runs:
        requests, authenticated = PUBLISHED[run["form"]]
        assert run["figures"]["cnt"] - run["retransmissions"] * (run["form"] != "as-printed") == requests * 10, run
        assert run["authenticated"] == authenticated * 10, run
        assert run["torn"] == 0, run
        assert ("1xx" in run["replies"]) is (run["engine"] != "python"), run
    assert {start.exit_code for start in starts(lab).values()} == {0}


def test_what_is_declared_broken_is_broken_in_just_that_way(lab: Lab, stock: Stock) -> None:
    """It is listed with what was seen and what is known of it, it has no figures, and it does not spoil the run."""
    facts = versions.load().kamailio
    assert {(release, entry) for release in RELEASES for entry in facts[release].broken} == BROKEN.keys()
    there = [release for release in RELEASES if stock.kamailio(release)]
    summary = run_of(lab, name="broken", engines=["native", "ruby"], kamailio=there, routing="upstream")
    assert summary["broken"].keys() == {f"ruby-{release}" for release in there}
    for release in there:
        reason = summary["broken"][f"ruby-{release}"]
        assert BROKEN[release, "upstream/ruby"] in reason
        assert f"known: {facts[release].broken['upstream/ruby']}" in reason
        assert set(counts(summary, f"ruby-{release}").values()) == {0}
        assert counts(summary, f"native-{release}") == {"challenge": CALLS, "authenticated": CALLS}
