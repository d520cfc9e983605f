"""The engine proof, on what Kamailio 6.0.1 really said of itself, and on what it would say when something is wrong."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from lab import proof, testing, validity, versions
from lab.errors import TestbedError
from lab.model import NATIVE, Cell

RECORDED = {
    engine: (Path(__file__).parent / "data" / f"proof-{engine}.txt").read_text()
    for engine in ("native", "lua", "python3")
}
FACTS = versions.load()
ETC = versions.ROOT / "images" / "kamailio" / "etc"
SUFFIX = {"native": "cfg", "lua": "lua", "luajit": "lua", "jsdt": "js", "ruby": "rb", "sqlang": "nut"}


def script(engine: str, routing: str = "parity") -> str:
    """The one that the entry point finds for an engine."""
    return f"/etc/kamailio/{routing}/{engine.removesuffix('jit')}.{SUFFIX.get(engine, 'py')}"


def arguments(engine: str) -> list[str]:
    """Kamailio's command line, as the entry point gives it."""
    return [
        *("kamailio", "-DD", "-E", "-f", "/run/kamailio/main.cfg", "-n", "1"),
        *("-A", f"WITH_ENGINE_{engine.upper()}", "-A", 'DBURL="mysql://kamailio@localhost/kamailio_x"'),
    ]


def main_file(engine: str, configuration: str) -> str:
    """What the entry point writes."""
    native = f'include_file "{script(engine)}"\n' if engine == NATIVE else ""
    return (
        f'#!KAMAILIO\n#!subst "|LAB_SCRIPT|{script(engine)}|"\ninclude_file "/etc/kamailio/{configuration}.cfg"\n'
        f"{native}"
    )


def answer(
    engine: str,
    given: Iterable[str] | None = None,
    modules: Iterable[str] | None = None,
    configuration: str = "kamailio",
    **files: str,
) -> str:
    """What a release answers that cannot print its configuration: it gives its files instead; some of them changed."""
    given = arguments(engine) if given is None else given
    own = [name.rstrip("?") for name in FACTS.engine[engine].modules]
    paths = [*ETC.glob("*.cfg"), *ETC.glob("*/*.cfg")]
    texts = {path.relative_to(ETC).with_suffix("").as_posix(): path.read_text() for path in paths} | files
    listed = f"=== /run/kamailio/main.cfg\n{main_file(engine, configuration)}\n"
    listed += "".join(f"=== /etc/kamailio/{name}.cfg\n{text}\n" for name, text in texts.items())
    said = {
        "modules": "\n".join([*FACTS.modules, *own] if modules is None else modules),
        "processes": "{\n\tIDX: 0\n\tPID: 1\n\tDSC: main process - attendant\n}",
        "arguments": "\n".join(given),
        "configuration": "",
        "files": listed,
    }
    return "".join(f"== {name}\n{text}\n" for name, text in said.items()) + "== end\n"


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
    """And which script, found by what its main configuration substitutes."""
    word = proof.parse(RECORDED[engine])
    assert (word.engine, word.script, word.request_route) == (engine, script, request_route)


def test_the_processes_and_their_cpus() -> None:
    """Those of Kamailio alone: whoever asks has processes in the container, too."""
    word = proof.parse(RECORDED["lua"])
    assert word.processes[1] == "main process - attendant"
    assert word.processes[18] == "udp receiver child=0 sock=127.0.0.1:5060"
    assert "/proc/27/status" in RECORDED["lua"]
    assert 27 not in word.processes


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
    assert changed("lua", 'modparam("app_lua", "load", "LAB_SCRIPT")', named).script == "/etc/kamailio/mine/route.lua"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('modparam("app_lua", "load", "LAB_SCRIPT")\n', ""),
        ('modparam("app_lua", "load", "LAB_SCRIPT")\n', 'modparam("app_lua", "load", OTHER)\n'),
        ('modparam("app_lua", "load", "LAB_SCRIPT")\n', '# modparam("app_lua", "load", "LAB_SCRIPT")\n'),
        ('#!subst "|LAB_SCRIPT|/etc/kamailio/parity/lua.lua|"\n', ""),
    ],
)
def test_a_script_that_cannot_be_found_is_not_guessed(old: str, new: str) -> None:
    """Then the engine is not proven."""
    word = changed("lua", old, new)
    assert (word.engine, word.script) == ("lua", "")


@pytest.mark.parametrize("name", ["modules", "processes", "arguments", "configuration", "files"])
def test_a_missing_section_is_an_error(name: str) -> None:
    """Half an answer proves nothing."""
    with pytest.raises(TestbedError, match=f"incomplete: no {name}"):
        changed("lua", f"== {name}\n", "")


def test_a_configuration_that_is_neither_printed_nor_there() -> None:
    """Kamailio could not run a second time, say, and its files are elsewhere."""
    text = RECORDED["lua"]
    before, rest = text.split("== configuration\n")
    with pytest.raises(TestbedError, match="which the engine proof has not got"):
        proof.parse(f"{before}== configuration\n\n== files\n== allowed{rest.split('== allowed')[1]}")


# --- every engine, also where Kamailio cannot print its configuration -----------------------------------------------


@pytest.mark.parametrize("configuration", ["kamailio", "published"])
@pytest.mark.parametrize("engine", FACTS.engine)
def test_each_engine_is_proven_by_its_files(engine: str, configuration: str) -> None:
    """With the configuration as it lies in the tree, and the command line of the entry point."""
    word = proof.parse(answer(engine, configuration=configuration))
    native = engine == NATIVE
    assert (word.engine, word.script) == (engine, "" if native else script(engine))
    assert word.request_route is native
    start = testing.start(1, Cell(engine, engine, "5.4.4"))
    seen = replace(start, engine_word=word.engine, script=word.script, request_route=word.request_route)
    assert validity.judge_start(seen) == ()


@pytest.mark.parametrize("engine", RECORDED)
def test_files_prove_what_the_print_proves(engine: str) -> None:
    """The same engine, script and request_route, whichever of the two there is."""
    printed, worked_out = proof.parse(RECORDED[engine]), proof.parse(answer(engine))
    assert (printed.engine, printed.script, printed.request_route) == (
        *(worked_out.engine, worked_out.script),
        worked_out.request_route,
    )


@pytest.mark.parametrize("engine", [name for name in FACTS.engine if name != NATIVE])
def test_an_engine_without_its_module_is_not_proven(engine: str) -> None:
    """Though it is chosen, and its script given: what Kamailio has loaded decides."""
    word = proof.parse(answer(engine, modules=FACTS.modules))
    assert word.script == ""
    start = replace(testing.start(1, Cell(engine, engine, "5.4.4")), engine_word=word.engine, script=word.script)
    assert f"engine proof: Kamailio names no script of {engine}" in validity.judge_start(start)


def test_luajit_is_told_from_lua_by_the_folder_of_its_module() -> None:
    """It is the same module of the same name, built otherwise, and chosen by the same word."""
    both = {engine: proof.parse(answer(engine, modules=["app_lua"])) for engine in ("lua", "luajit")}
    assert {engine: word.engine for engine, word in both.items()} == {"lua": "lua", "luajit": "luajit"}
    assert {word.script for word in both.values()} == {"/etc/kamailio/parity/lua.lua"}
    moved = changed("lua", 'loadmodule "app_lua.so"', 'loadmodule "/usr/lib/kamailio/luajit/app_lua.so"')
    assert (moved.engine, moved.script) == ("luajit", "/etc/kamailio/parity/lua.lua")
    assert changed("lua", '"app_lua.so"', '"/usr/lib/kamailio/modules/app_lua.so"').engine == "lua"


@pytest.mark.parametrize("engine", ["python", "python3", "python3s"])
def test_pythons_are_told_apart_by_their_modules(engine: str) -> None:
    """Kamailio calls all of them python."""
    module = f"app_{engine}"
    loaded = changed("python3", '"app_python3.so"', f'"{module}.so"')
    assert loaded.engine == "python3"  # what runs is what is loaded, not what is written
    text = RECORDED["python3"].replace("app_python3", module)
    assert proof.parse(text).engine == engine


def test_a_script_may_have_another_parameters_name() -> None:
    """The modules do not agree on it."""
    named = 'modparam("app_python3", "script_name", "LAB_SCRIPT")'
    assert changed("python3", 'modparam("app_python3", "load", "LAB_SCRIPT")', named).script == (
        "/etc/kamailio/parity/python3.py"
    )


def test_a_request_route_among_the_files_is_seen() -> None:
    """Where it counts: in what the configuration includes, not in a file that only lies there."""
    included = f'{(ETC / "kamailio.cfg").read_text()}include_file "mine.cfg"\n'
    route = "request_route {\n exit;\n}\n"
    assert proof.parse(answer("lua", kamailio=included, mine=route)).request_route
    assert not proof.parse(answer("lua", mine=route)).request_route
    off = f"#!ifdef WITH_ENGINE_NATIVE\n{route}#!endif\n"
    assert not proof.parse(answer("lua", kamailio=included, mine=off)).request_route


def test_the_configuration_is_the_one_of_the_command_line() -> None:
    """Of several that lie there; without a word of it Kamailio's own default."""
    mine = (ETC / "kamailio.cfg").read_text().replace('cfgengine "lua"', 'cfgengine "native"')
    given = arguments("lua")
    assert proof.parse(answer("lua", configuration="mine", mine=mine)).engine == NATIVE
    assert proof.parse(answer("lua", [*given[:3], *given[5:]], configuration="mine", mine=mine)).engine == "lua"
