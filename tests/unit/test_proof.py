"""The engine proof, on what Kamailio 6.0.1 really said of itself, and on what it would say when something is wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from lab import proof, testing, validity
from lab.errors import TestbedError
from lab.model import NATIVE, Cell

RECORDED = {
    engine: (Path(__file__).parent / "data" / f"proof-{engine}.txt").read_text()
    for engine in ("native", "lua", "python3")
}


def changed(engine: str, old: str, new: str) -> proof.Word:
    """Kamailio's word after a change to what it said."""
    assert old in RECORDED[engine]
    return proof.parse(RECORDED[engine].replace(old, new))


@pytest.mark.parametrize(
    ("engine", "script", "request_route"),
    [
        ("native", "", True),
        ("lua", "/etc/kamailio/parity/lua.lua", False),
        ("python3", "/etc/kamailio/parity/python3.py", False),
    ],
)
def test_kamailio_says_which_engine_it_runs(engine: str, script: str, request_route: bool) -> None:  # noqa: FBT001
    """And which script, found by the definition on its own command line."""
    word = proof.parse(RECORDED[engine])
    assert (word.engine, word.script, word.request_route) == (engine, script, request_route)


def test_the_processes_and_their_cpus() -> None:
    """Those of Kamailio alone: whoever asks has processes in the container, too."""
    word = proof.parse(RECORDED["lua"])
    assert word.processes[1] == "main process - attendant"
    assert word.processes[7] == "udp receiver child=0 sock=127.0.0.1:5060"
    assert word.allowed == dict.fromkeys(word.processes, "1")
    assert "/proc/21/status" in RECORDED["lua"]
    assert 21 not in word.processes


@pytest.mark.parametrize("route", ["request_route {\n exit;\n}\n", "request_route{ exit; }\n", "\troute {\nexit;\n}\n"])
def test_a_request_route_beside_an_engine_is_seen(route: str) -> None:
    """Kamailio would then ignore the engine without a word, and the native route would be measured in its name."""
    word = changed("lua", 'cfgengine "lua"\n', f'cfgengine "lua"\n{route}')
    start = replace(testing.start(1, Cell("lua", "lua", "6.0.1")), request_route=word.request_route)
    assert any("has a request_route" in reason for reason in validity.judge_start(start))


@pytest.mark.parametrize(
    "line", ["# request_route {\n", "route[AUTH] {\n}\n", "reply_route {\n}\n", "failure_route[X] {\n}\n"]
)
def test_what_is_no_request_route(line: str) -> None:
    """A comment, a route that nobody enters by itself, a route for something else."""
    assert not changed("lua", 'cfgengine "lua"\n', f'cfgengine "lua"\n{line}').request_route


def test_an_engine_that_is_only_a_comment() -> None:
    """What is switched off is not there."""
    word = changed("lua", 'cfgengine "lua"\n', '# cfgengine "lua"\n')
    assert (word.engine, word.script) == (NATIVE, "")


def test_an_engine_whose_module_is_not_loaded() -> None:
    """Kamailio's own word is then not the engine's name as we know it."""
    assert changed("python3", "app_python3\n", "").engine == "python"


def test_a_script_that_the_configuration_names_itself() -> None:
    """In a configuration of the user's: a string instead of a definition."""
    named = 'modparam( "app_lua", "load" , "/etc/kamailio/mine/route.lua" )'
    assert changed("lua", 'modparam("app_lua", "load", LAB_SCRIPT)', named).script == "/etc/kamailio/mine/route.lua"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('modparam("app_lua", "load", LAB_SCRIPT)\n', ""),
        ('modparam("app_lua", "load", LAB_SCRIPT)\n', 'modparam("app_lua", "load", OTHER)\n'),
        ('modparam("app_lua", "load", LAB_SCRIPT)\n', '# modparam("app_lua", "load", LAB_SCRIPT)\n'),
        ("--substdefs=|LAB_SCRIPT|/etc/kamailio/parity/lua.lua|\n", ""),
    ],
)
def test_a_script_that_cannot_be_found_is_not_guessed(old: str, new: str) -> None:
    """Then the engine is not proven."""
    word = changed("lua", old, new)
    assert (word.engine, word.script) == ("lua", "")


@pytest.mark.parametrize("name", ["modules", "processes", "arguments", "configuration", "allowed"])
def test_a_missing_section_is_an_error(name: str) -> None:
    """Half an answer proves nothing."""
    with pytest.raises(TestbedError, match=f"incomplete: no {name}"):
        changed("lua", f"== {name}\n", "")


def test_a_configuration_that_was_not_printed() -> None:
    """Kamailio could not run a second time, say."""
    text = RECORDED["lua"]
    before, rest = text.split("== configuration\n")
    with pytest.raises(TestbedError, match="does not print its configuration"):
        proof.parse(f"{before}== configuration\n\n== allowed{rest.split('== allowed')[1]}")
