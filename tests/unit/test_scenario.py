"""What a scenario declares of itself, and what is wrong with a declaration."""

from pathlib import Path

import pytest

from lab.errors import BadInputError
from lab.model import LegRule, Scenario
from lab.scenario import read


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A scenario with its declaration beside it."""
    (tmp_path / "mine.xml").write_text("<scenario/>")
    declare(
        tmp_path / "mine.xml",
        '[legs]\nchallenge = { method = "INVITE", cseq = 3 }\nauthenticated = { method = "INVITE", cseq = 4 }\n',
    )
    return tmp_path / "mine.xml"


def declare(scenario: Path, text: str) -> None:
    """Write its declaration anew."""
    scenario.with_suffix(".toml").write_text(text)


def test_a_scenario_declares_its_legs(scenario: Path) -> None:
    """By method and CSeq; the file's name is the scenario's."""
    declared = read(scenario)
    assert declared.name == "mine"
    assert declared.legs == (LegRule("challenge", "INVITE", 3), LegRule("authenticated", "INVITE", 4))


def test_a_scenario_without_its_declaration(scenario: Path) -> None:
    """It is named, with what should be in it."""
    scenario.with_suffix(".toml").unlink()
    with pytest.raises(BadInputError, match=r"mine\.toml: missing") as caught:
        read(scenario)
    assert "[legs]" in caught.value.remedy


def test_a_scenario_declares_what_a_call_is_and_does(scenario: Path) -> None:
    """Whatever it leaves out is as for a registration of ours."""
    declare(
        scenario,
        'whole = "call"\nsetup = "register"\nsubscribers = 50\ntraffic = "other.xml"\n'
        "bindings = false\nignores_unexpected = true\nlog_bytes = 1500\n"
        '[legs]\na = { method = "INVITE", cseq = 1 }\nb = { method = "INVITE", cseq = 1, order = 2 }\n'
        '[counters]\n"sl.407_replies" = 1\n"registrar.accepted_regs" = 0\n',
    )
    assert read(scenario) == Scenario(
        "mine",
        (LegRule("a", "INVITE", 1), LegRule("b", "INVITE", 1, order=2)),
        whole="call",
        counters={"sl.407_replies": 1, "registrar.accepted_regs": 0},
        traffic="other.xml",
        setup="register",
        subscribers=50,
        ignores_unexpected=True,
        bindings=False,
        log_bytes=1500,
    )
    assert read(scenario).file == "other.xml"
    declare(scenario, '[legs]\na = { method = "INVITE", cseq = 1 }\n')
    assert read(scenario) == Scenario("mine", (LegRule("a", "INVITE", 1),))
    assert read(scenario).file == "mine.xml"


@pytest.mark.parametrize(
    ("declaration", "problem"),
    [
        ("[legs", "not valid TOML: Expected"),
        ("", "legs: Field required"),
        ("legs = 3\n", "legs: .* dictionary"),
        ("[legs]\nchallenge = 1\n", r"legs\.challenge: .*"),
        ('[legs]\nchallenge = { method = "REGISTER" }\n', r"legs\.challenge\.cseq: "),
        ('[legs]\nchallenge = { method = "REGISTER", cseq = "one" }\n', r"legs\.challenge\.cseq: .* integer"),
        ('[legs]\nchallenge = { method = "REGISTER", cseq = -1 }\n', r"legs\.challenge\.cseq: .* equal to 0"),
        (
            '[legs]\nchallenge = { method = "REGISTER", cseq = 1, order = 0 }\n',
            r"legs\.challenge\.order: .* equal to 1",
        ),
        ('[legs]\nother = { method = "REGISTER", cseq = 1 }\n', "legs: 'other' is what belongs to no leg"),
        ("[legs]\n", "legs: .* at least 1"),
        ('hole = "call"\n[legs]\na = { method = "ACK", cseq = 1 }\n', "hole: unknown key"),
        ('[legs]\na = { method = "ACK", cseq = 1, ordr = 2 }\n', r"legs\.a\.ordr: unknown key"),
        ('log_bytes = "much"\n[legs]\na = { method = "ACK", cseq = 1 }\n', "log_bytes: .* integer"),
        ('bindings = "no"\n[legs]\na = { method = "ACK", cseq = 1 }\n', "bindings: .* boolean"),
        ('traffic = "../x.xml"\n[legs]\na = { method = "ACK", cseq = 1 }\n', "traffic: .* match pattern"),
        ('[legs]\na = { method = "ACK", cseq = 1 }\n[counters]\n"sl.x" = "one"\n', r"counters\.sl\.x: .* integer"),
        ('[legs]\na = { method = "ACK", cseq = 1 }\n[conters]\n', "conters: unknown key"),
        ('counters = 3\n[legs]\na = { method = "ACK", cseq = 1 }\n', "counters: .* dictionary"),
    ],
)
def test_a_declaration_that_declares_nothing_sound(scenario: Path, declaration: str, problem: str) -> None:
    """The message names the file and what is wrong in it, and where the keys are explained."""
    declare(scenario, declaration)
    with pytest.raises(BadInputError, match=rf"mine\.toml: {problem}") as caught:
        read(scenario)
    assert caught.value.remedy == "see docs/scenarios.md"


def test_no_request_is_two_legs(scenario: Path) -> None:
    """One of them would never come. The same request a second time in a call is another one."""
    twice = '[legs]\na = {{ method = "ACK", cseq = 1 }}\nb = {{ method = "ACK", cseq = 1, order = {} }}\n'
    declare(scenario, twice.format(1))
    with pytest.raises(BadInputError, match=r"mine\.toml: legs: one request twice"):
        read(scenario)
    declare(scenario, twice.format(2))
    assert read(scenario).leg_names == ("a", "b")
