"""What counts in a configuration, for releases that do not say it: held against the word of those that do."""

import re
from pathlib import Path

import pytest

from lab.errors import TestbedError
from lab.preprocess import evaluate
from lab.sampling import sections

DATA = Path(__file__).parent / "data"
MAIN = "/etc/kamailio/kamailio.cfg"
# The files that Kamailio 6.0.1 had when it printed the configurations of proof-*.txt, without their comments.
PRINTED = {
    f"/etc/kamailio/{name}": (DATA / "printed" / name).read_text() for name in ("kamailio.cfg", "parity/native.cfg")
}


def lines(text: str) -> list[str]:
    """Those that say something: neither comments nor definitions, which Kamailio prints along."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith(("#", "//"))]


def evaluated(text: str, *arguments: str, **files: str) -> list[str]:
    """What counts in a configuration; further files lie beside it."""
    others = {f"/etc/kamailio/{name}.cfg": content for name, content in files.items()}
    return evaluate({MAIN: text, **others}, MAIN, list(arguments)).split()


@pytest.mark.parametrize("engine", ["native", "lua", "python3"])
def test_it_says_what_kamailio_prints(engine: str) -> None:
    """Line by line, from the same files and the same command line: includes in place, what is off left out."""
    printed = sections((DATA / f"proof-{engine}.txt").read_text(), {"arguments", "configuration"})
    ours = evaluate(PRINTED, MAIN, printed["arguments"].splitlines())
    assert lines(ours) == lines(printed["configuration"])


@pytest.mark.parametrize(
    ("text", "defined", "left"),
    [
        ("#!ifdef A\nyes\n#!endif\nend\n", ("A",), "yes end"),
        ("#!ifdef A\nyes\n#!endif\nend\n", (), "end"),
        ("#!ifndef A\nno\n#!endif\nend\n", ("A",), "end"),
        ("#!ifndef A\nno\n#!endif\nend\n", (), "no end"),
        ("#!ifdef A\nyes\n#!else\nno\n#!endif\nend\n", ("A",), "yes end"),
        ("#!ifdef A\nyes\n#!else\nno\n#!endif\nend\n", ("B",), "no end"),
        ("#!ifdef A\n#!ifdef B\nboth\n#!else\none\n#!endif\n#!else\nnone\n#!endif\n", ("A", "B"), "both"),
        ("#!ifdef A\n#!ifdef B\nboth\n#!else\none\n#!endif\n#!else\nnone\n#!endif\n", ("A",), "one"),
        ("#!ifdef A\n#!ifdef B\nboth\n#!else\none\n#!endif\n#!else\nnone\n#!endif\n", ("B",), "none"),
        ("!!ifdef A\nyes\n!!endif\n", ("A",), "yes"),
        ("  #!ifdef A\nyes\n\t#!endif\n", ("A",), "yes"),
        ("# #!ifdef A\n#!ifdefine A\nyes\n", (), "# #!ifdef A #!ifdefine A yes"),
    ],
)
def test_what_is_switched_off_is_left_out(text: str, defined: tuple[str, ...], left: str) -> None:
    """Nested as one likes; definitions of the command line, in one word or two."""
    apart = [part for name in defined for part in ("-A", name)]
    assert evaluated(text, *apart) == evaluated(text, *(f"-A{name}" for name in defined)) == left.split()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("#!define A\n#!ifdef A\nyes\n#!endif\n", "yes"),
        ("#!define A 5\n#!ifdef A\nyes\n#!endif\n", "yes"),
        ("#!trydef A\n#!ifdef A\nyes\n#!endif\n", "yes"),
        ("#!ifdef A\nyes\n#!endif\n#!define A\n", ""),
        ("#!ifdef B\n#!define A\n#!endif\n#!ifdef A\nyes\n#!endif\nend\n", "end"),
        ("#!define AB\n#!ifdef A\nyes\n#!endif\nend\n", "end"),
    ],
)
def test_a_definition_counts_from_its_line_on(text: str, left: str) -> None:
    """And only where it is itself not switched off."""
    assert evaluated(text) == left.split()


def test_a_definition_may_have_a_value() -> None:
    """It is defined all the same."""
    assert evaluated("#!ifdef DBURL\nyes\n#!endif\n", "-A", 'DBURL="mysql://kamailio@localhost/x"') == ["yes"]


@pytest.mark.parametrize("word", ["include_file", "import_file", "#!include_file"])
def test_what_is_included_stands_in_its_place(word: str) -> None:
    """With what is defined in it."""
    text = f'#!define A\n{word} "more.cfg"\n#!ifdef B\nlast\n#!endif\n'
    assert evaluated(text, more="#!ifdef A\nfirst\n#!endif\n#!define B\n") == ["first", "last"]


def test_what_is_imported_need_not_be_there() -> None:
    """Unlike what is included: that may have anything in it, a request_route, too, so nothing is proven without it."""
    assert evaluated('first\nimport_file "absent.cfg"\nlast\n') == ["first", "last"]
    with pytest.raises(TestbedError, match=r"includes /etc/kamailio/absent\.cfg, which the engine proof has not got"):
        evaluated('include_file "absent.cfg"\n')


def test_a_file_that_includes_itself_has_an_end() -> None:
    """It says no more the second time."""
    assert evaluated('first\ninclude_file "more.cfg"\n', more='second\ninclude_file "more.cfg"\n') == [
        "first",
        "second",
    ]


def test_what_is_included_is_found_beside_who_includes_it() -> None:
    """Or by its whole path, wherever that is; the name itself may be a definition of the command line."""
    files = {
        MAIN: 'include_file "parity/native.cfg"\ninclude_file "LAB_SCRIPT"\n',
        "/etc/kamailio/parity/native.cfg": 'include_file "more.cfg"\n',
        "/etc/kamailio/parity/more.cfg": "beside\n",
        "/usr/share/script.cfg": "by path\n",
    }
    said = evaluate(files, MAIN, ["--substdefs=|LAB_SCRIPT|/usr/share/script.cfg|"])
    assert said.split("\n") == ["beside", "by path"]


def test_what_is_switched_off_includes_nothing() -> None:
    """A configuration has an include for each engine."""
    assert evaluated('#!ifdef A\ninclude_file "more.cfg"\n#!endif\n', more="more") == []


@pytest.mark.parametrize("name", ["kamailio", "published"])
def test_our_configurations_use_nothing_else(name: str) -> None:
    """A directive that this does not know would be read as text."""
    folder = Path(__file__).parents[2] / "images" / "kamailio" / "etc"
    used = set(re.findall(r"^\s*(?:#!|!!)([a-z_]+)", (folder / f"{name}.cfg").read_text(), re.MULTILINE))
    assert used <= {"define", "trydef", "ifdef", "ifndef", "else", "endif", "include_file"}
