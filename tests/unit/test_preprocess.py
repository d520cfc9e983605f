"""What counts in a configuration, for releases that do not say it: held against the word of those that do."""

from pathlib import Path

import pytest

from lab.errors import TestbedError
from lab.preprocess import evaluate, substitutions
from tests.printed import both

DATA = Path(__file__).parent / "data"
MAIN = "/etc/kamailio/kamailio.cfg"


def evaluated(text: str, *arguments: str, **files: str) -> list[str]:
    """What counts in a configuration; further files lie beside it."""
    others = {f"/etc/kamailio/{name}.cfg": content for name, content in files.items()}
    return evaluate({MAIN: text, **others}, MAIN, list(arguments)).split()


@pytest.mark.parametrize("engine", ["native", "lua", "python3"])
def test_it_says_what_kamailio_prints(engine: str) -> None:
    """Line by line, from the same files and the same command line: includes in place, what is off left out.

    What 6.0.1 printed; tests/docker/test_proof.py asks all releases that print.
    """
    worked_out, printed = both((DATA / f"proof-{engine}.txt").read_text())
    assert worked_out == printed
    assert len(printed) > 50


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
        ("# #!ifdef A\nyes\n", (), "# #!ifdef A yes"),
        ("/* #!ifdef A\n*/ yes\n", (), "yes"),
        ('"/*"\n#!ifdef A\nyes\n#!endif\n"*/"\n', (), '"/*" "*/"'),
        ("# it's /* no comment\n#!ifdef A\nyes\n#!endif\n# */\n", (), "# it's /* no comment # */"),
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


@pytest.mark.parametrize("word", ["include_file", "import_file", "#!include_file", "!!import_file"])
@pytest.mark.parametrize("end", ["", " # a comment", " // another"])
def test_what_is_included_stands_in_its_place(word: str, end: str) -> None:
    """With what is defined in it."""
    text = f'#!define A\n{word} "more.cfg"{end}\n#!ifdef B\nlast\n#!endif\n'
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
    """Or by its whole path, wherever that is; the name itself may be substituted."""
    files = {
        MAIN: '#!subst "|LAB_SCRIPT|/usr/share/script.cfg|"\ninclude_file "parity/native.cfg"\n'
        'include_file "LAB_SCRIPT"\n',
        "/etc/kamailio/parity/native.cfg": 'include_file "more.cfg"\n',
        "/etc/kamailio/parity/more.cfg": "beside\n",
        "/usr/share/script.cfg": "by path\n",
    }
    assert evaluate(files, MAIN, []).split("\n")[1:] == ["beside", "by path"]


def test_what_is_switched_off_includes_nothing() -> None:
    """A configuration has an include for each engine."""
    assert evaluated('#!ifdef A\ninclude_file "more.cfg"\n#!endif\n', more="more") == []


@pytest.mark.parametrize("word", ["ifexp", "defexp", "defenv"])
def test_a_directive_that_decides_otherwise_is_refused(word: str) -> None:
    """What it would leave is not known, so nothing is proven; where it is switched off itself, too."""
    with pytest.raises(TestbedError, match=f"uses #!{word}, which the engine proof does not understand"):
        evaluated(f"first\n#!{word} A == 1\nlast\n")


def test_what_is_substituted_counts_from_its_line_on() -> None:
    """In every form of the directive, and with any sign between its parts."""
    text = '#!subst "/A/first.cfg/"\n#!substdef "!B!second!g"\n!!substdefs "|C|third|"\n'
    assert substitutions(text) == {"A": "first.cfg", "B": "second", "C": "third"}
    assert evaluated(f'{text}include_file "A"\n', first="beside")[-1] == "beside"


def test_what_is_substituted_may_be_defined() -> None:
    """By its last letters: subst only replaces, substdef and substdefs define, too."""
    conditions = "".join(f"#!ifdef {name}\n{name}\n#!endif\n" for name in "ABC")
    text = f'#!subst "/A/1/"\n#!substdef "/B/2/"\n#!substdefs "/C/3/"\n{conditions}'
    assert evaluated(text)[-2:] == ["B", "C"]
