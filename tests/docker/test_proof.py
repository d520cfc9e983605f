"""Engine proof: whoever answers is who was asked for, and a script that does not run is caught, in every language.

Kamailio silently prefers a request_route to its KEMI engine; and an engine whose script throws answers nothing, which
looks fast. Releases before 5.6 do not print the configuration that they have loaded: there lab/preprocess.py says what
is left of it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from lab import store, versions
from lab.model import NATIVE, StartRecord
from lab.versions import ROOT
from tests.docker.conftest import Stock
from tests.docker.driver import Lab, Running, rewrite, scripts
from tests.printed import both

CONFIGURATION = ROOT / "images" / "kamailio" / "etc" / "kamailio.cfg"
KNOWN = versions.load().kamailio
DEFAULT = versions.load().default_kamailio
OLD = "5.4.4"  # the one that does not print its configuration

# In each script, the line that ksr_request_route begins with, and what throws there.
THROWS = {
    "lua.lua": ("function ksr_request_route()\n", 'error("planted")\n'),
    "python.py": ('"""Every request starts here."""\n', '        raise RuntimeError("planted")\n'),
    "python3.py": ('"""Every request starts here."""\n', '        raise RuntimeError("planted")\n'),
    "python3s.py": ('"""Every request starts here."""\n', '    raise RuntimeError("planted")\n'),
    "jsdt.js": ("function ksr_request_route() {\n", 'throw new Error("planted");\n'),
    "ruby.rb": ("def ksr_request_route\n", 'raise "planted"\n'),
    "sqlang.nut": ("function ksr_request_route() {\n", 'throw "planted";\n'),
}


def engines_of(release: str) -> list[str]:
    """Those that are not known to be broken."""
    return [name for name in KNOWN[release].engines if name not in KNOWN[release].broken]


def run_of(lab: Lab, release: str, code: int, **changes: object) -> tuple[Running, dict[str, Any]]:
    """A slice of each engine of a release, and the summary; nothing is left running."""
    experiment = lab.experiment(
        **{
            "kamailio": release,
            "engines": engines_of(release),
            "baseline": NATIVE,
            "rounds": 1,
            "warmup_slices": 0,
            "repeats": 0,
            "slice_seconds": 0.5,
            **changes,
        }
    )
    run = lab("run", experiment)
    assert run.process.returncode in {code, 4}, run.error
    assert lab.left() == []
    return run, json.loads((lab.results / "latest" / "summary.json").read_text())


def starts(lab: Lab) -> dict[str, StartRecord]:
    """The first start of each cell."""
    folder = lab.results / "latest" / "evidence" / "starts"
    return {path.name[4:]: store.load(StartRecord, path / "start.json") for path in sorted(folder.glob("r01-*"))}


@pytest.mark.parametrize("release", KNOWN)
def test_every_engine_proves_itself(lab: Lab, stock: Stock, release: str) -> None:
    """By its module's word, its script, no request_route but native's, its marker; and then it registers.

    Where Kamailio prints its configuration, it is what lab/preprocess.py works out from the files.
    """
    if not stock.kamailio(release):  # `lab engines` says so, and why
        return
    _, summary = run_of(lab, release, 0, name="proof")
    proven = starts(lab)
    assert list(proven) == sorted([*engines_of(release), f"{NATIVE}-aa"])
    for start in proven.values():
        assert start.reasons == (), start.cell
        assert start.marker == start.engine_word == start.engine
        assert start.request_route == (start.engine == NATIVE)
        assert bool(start.script) == (start.engine != NATIVE)
    printing = []
    for path in sorted((lab.results / "latest" / "evidence" / "starts").glob("*/proof.txt")):
        worked_out, printed = both(path.read_text())
        if printed:
            printing.append(path.parent.name)
            assert worked_out == printed, path
    assert len(printing) == (0 if release == OLD else len(proven))
    assert summary["broken"] == {}
    for name, cell in summary["cells"].items():
        assert cell["legs"]["authenticated"]["count"] == 75, name


@pytest.mark.parametrize("release", [DEFAULT, OLD])
def test_a_request_route_beside_the_script_is_caught(lab: Lab, stock: Stock, release: str) -> None:
    """Kamailio never asks the engine then: every reply is right, and every figure would be native's."""
    if not stock.kamailio(release):
        return
    mixed = lab.folder / "mixed.cfg"
    native = (CONFIGURATION.parent / "parity" / "native.cfg").read_text()
    mixed.write_text(f"{CONFIGURATION.read_text()}\n#!ifndef WITH_ENGINE_NATIVE\n{native}\n#!endif\n")
    run, summary = run_of(lab, release, 4, name="mixed", configuration="./mixed.cfg")
    assert {start.engine for start in starts(lab).values()} == set(engines_of(release))
    for start in starts(lab).values():
        legs = summary["cells"][start.cell]["legs"]
        assert start.request_route
        assert start.marker == NATIVE
        if start.engine == NATIVE:
            assert start.reasons == ()
            continue
        assert any("has a request_route" in reason for reason in start.reasons), start.reasons
        assert f"request_route, so {start.engine} is not asked" in run.error
        assert "request_route" in summary["broken"][start.cell]
        assert {leg["count"] for leg in legs.values()} == {0}


@pytest.mark.parametrize("release", [DEFAULT, OLD])
def test_a_script_that_throws_is_caught(lab: Lab, stock: Stock, release: str) -> None:
    """It answers nothing, and would look fast. Native's figures stand; the log has what was thrown.

    Of the old release those engines that the default one has not.
    """
    if not stock.kamailio(release):
        return
    thrown = scripts(lab.folder / "throws")
    for name, (line, throw) in THROWS.items():
        rewrite(thrown / name, line, line + throw)
    others = [] if release == DEFAULT else engines_of(DEFAULT)[1:]
    engines = [engine for engine in engines_of(release) if engine not in others]
    run, summary = run_of(lab, release, 4, name="throws", routing="./throws", engines=engines)
    assert {start.engine for start in starts(lab).values()} == set(engines)
    for start in starts(lab).values():
        legs = summary["cells"][start.cell]["legs"]
        if start.engine == NATIVE:
            assert start.reasons == ()
            continue
        assert "engine proof: the probe's reply came without a marker" in start.reasons[0]
        assert f"round 1, {start.cell}: engine proof" in run.error
        assert "without a marker" in summary["broken"][start.cell]
        assert {leg["count"] for leg in legs.values()} == {0}
        assert "planted" in _log(lab, start.cell)
    assert summary["cells"][NATIVE]["legs"]["challenge"]["count"] == 75


def _log(lab: Lab, cell: str) -> str:
    path = lab.results / "latest" / "evidence" / "starts" / f"r01-{cell}" / "kamailio.log"
    return path.read_text(errors="replace")


def test_a_script_that_throws_in_one_leg_is_caught(lab: Lab) -> None:
    """The engine proves itself and challenges; then the registrar's part throws, which the rehearsal finds.

    No figure of either leg is shown.
    """
    thrown = scripts(lab.folder / "throws")
    function = "function ksr_route_registrar()\n"
    rewrite(thrown / "lua.lua", function, f'{function}    error("planted")\n')
    run, summary = run_of(lab, DEFAULT, 4, name="throws", engines=["native", "lua"], routing="./throws")
    start = starts(lab)["lua"]
    assert start.marker == start.engine_word == "lua"
    assert start.reasons[0].startswith("rehearsal of register: ")
    assert "planted" in _log(lab, "lua")
    assert "rehearsal of register" in summary["broken"]["lua"]
    assert "round 1, lua: rehearsal of register" in run.error
    assert {leg["count"] for leg in summary["cells"]["lua"]["legs"].values()} == {0}
    assert {leg["count"] for leg in summary["cells"]["native"]["legs"].values()} == {75}


def test_a_script_that_throws_for_one_subscriber_is_caught(lab: Lab) -> None:
    """Probe and rehearsal go well, and nine of ten registrations, too: neither calls nor bindings reconcile."""
    thrown = scripts(lab.folder / "throws")
    function = "function ksr_route_registrar()\n"
    throw = '    if KSR.pv.get("$fU") == "test5" then error("planted") end\n'
    rewrite(thrown / "lua.lua", function, function + throw)
    _, summary = run_of(lab, DEFAULT, 4, name="throws", engines=["native", "lua"], routing="./throws")
    start = starts(lab)["lua"]
    assert start.marker == start.engine_word == "lua"
    assert start.reasons == ("database: 9 bindings in location, 10 expected",)
    reasons = summary["cells"]["lua"]["reasons"]
    assert any("SIPp: " in reason for reason in reasons), reasons
    assert any("planted" in reason for reason in reasons), reasons
    assert "none of its 1 timed slices is valid" in summary["broken"]["lua"]
    assert {leg["count"] for leg in summary["cells"]["lua"]["legs"].values()} == {0}
    assert {leg["count"] for leg in summary["cells"]["native"]["legs"].values()} == {75}


def test_every_script_has_its_throw() -> None:
    """None is left out: a script for each engine but LuaJIT's, which is Lua's."""
    there = {path.name for path in Path(CONFIGURATION.parent / "parity").iterdir()}
    assert there == {*THROWS, "native.cfg"}
