"""SIPp's scenarios, their users and their declaration agree; so do the images' versions wherever they stand."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from lab import load, scenario, testing, versions
from lab.database import BAKED_SUBSCRIBERS, DOMAIN

FOLDER = versions.ROOT / "images" / "sipp" / "scenarios"
COMPOSE = yaml.safe_load((versions.ROOT / "compose.yaml").read_text())
CONFIGURATION = versions.ROOT / "images" / "kamailio" / "etc"


class Request:
    """What a scenario sends: its first line and its headers, as they stand there."""

    def __init__(self, text: str) -> None:
        """`text` is that of a <send>."""
        self.line, *headers = [line.strip() for line in text.strip().splitlines()]
        self.headers = dict(header.split(": ", 1) for header in headers if ": " in header)
        self.bare = [header for header in headers if header and ": " not in header]


def steps(name: str) -> list[ET.Element]:
    """What a scenario does, in order."""
    return list(ET.parse(FOLDER / f"{name}.xml").getroot())  # noqa: S314  (a file of ours)


def requests(name: str) -> list[Request]:
    """What it sends."""
    return [Request(step.text or "") for step in steps(name) if step.tag == "send"]


def expected(name: str) -> list[tuple[str, bool]]:
    """What it waits for: the reply's code, and whether it may be absent."""
    received = [step for step in steps(name) if step.tag == "recv"]
    return [(step.attrib["response"], step.get("optional") == "true") for step in received]


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.xml")), ids=lambda path: path.stem)
def test_a_scenario_is_well_formed(path: Path) -> None:
    """And called as its file is."""
    root = ET.parse(path).getroot()  # noqa: S314  (a file of ours)
    assert (root.tag, root.get("name")) == ("scenario", path.stem)


def test_a_registration_is_challenged_then_authenticated() -> None:
    """Two requests; a 100 may come before either final reply."""
    assert [step.tag for step in steps("register")] == ["send", "recv", "recv", "send", "recv", "recv"]
    assert expected("register") == [("100", True), ("401", False), ("100", True), ("200", False)]
    assert [step.get("response") for step in steps("register") if step.get("auth") == "true"] == ["401"]


# --- what is declared -----------------------------------------------------------------------------------------------

DECLARED = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.toml"))
OURS = [name for name in DECLARED if "/" not in name]


@pytest.mark.parametrize("name", DECLARED)
def test_a_declaration_is_sound_and_has_its_traffic(name: str) -> None:
    """SIPp's file lies beside it, and so does what sets it up; whoever is set up is bound."""
    path = FOLDER / f"{name}.xml"
    declared = scenario.read(path)
    assert path.with_name(declared.file).is_file()
    if declared.setup:
        assert scenario.read(path.with_name(f"{declared.setup}.xml")).bindings
        assert declared.bindings


@pytest.mark.parametrize("name", OURS)
def test_the_declaration_names_the_requests_that_are_sent(name: str) -> None:
    """A leg each, in the order in which they are sent; but for an ACK, whose CSeq is that of a reply of no success."""
    declared = scenario.read(FOLDER / f"{name}.xml")
    sent = [request for request in requests(declared.file.removesuffix(".xml")) if " SIP/" in request.line]
    numbers = [request.headers["CSeq"] for request in sent if "CSeq" in request.headers]
    routed = [number for number in numbers if number != "1 ACK"]  # ends in the sl module, before the routing
    assert [f"{rule.cseq} {rule.method}" for rule in declared.legs] == routed
    assert len(declared.leg_names) == len(declared.legs)


@pytest.mark.parametrize("name", OURS)
def test_ours_declare_what_a_call_does(name: str) -> None:
    """Without a counter only Kamailio's requests would reconcile; one that must not move is declared, too."""
    counters = scenario.read(FOLDER / f"{name}.xml").counters
    assert {times > 0 for times in counters.values()} == {True, False}


def test_a_registration_has_the_legs_that_it_always_had() -> None:
    """Builders, frames and pages know them by name."""
    assert scenario.read(FOLDER / "register.xml") == testing.SCENARIO


def test_the_page_names_our_scenarios_with_their_legs() -> None:
    """docs/scenarios.md: a row each."""
    page = (versions.ROOT / "docs" / "scenarios.md").read_text()
    rows = {row[1]: row[2] for row in re.finditer(r"^\| `([\w/-]+)` \|[^|]*\|([^|]*)\|", page, re.MULTILINE)}
    assert sorted(rows) == OURS
    for name, legs in rows.items():
        shown = re.findall(r"`(\w+)`", legs)
        assert shown == ([] if "the same" in legs else list(scenario.read(FOLDER / f"{name}.xml").leg_names))
    assert [name for name in DECLARED if f"`{name}`" not in page] == []


# --- the registration -----------------------------------------------------------------------------------------------


def test_both_requests_are_of_one_call_and_one_user() -> None:
    """Only the number, and the credentials, differ. The Call-ID is plain: SIPp cuts what follows '///'."""
    first, second = requests("register")
    assert first.line == second.line
    assert {name for name in first.headers if first.headers[name] != second.headers.get(name)} == {"CSeq"}
    assert first.headers["Call-ID"] == "[call_id]"
    assert (first.bare, second.bare) == ([], ["[field2]"])


def test_every_user_has_a_contact_of_his_own() -> None:
    """The same with each registration, so that the next one refreshes his only binding, which lasts."""
    for request in requests("register"):
        assert request.headers["Contact"] == "<sip:[field0]@[local_ip]:[local_port]>"
        assert request.headers["To"] == "<sip:[field0]@[field1]>"
        assert request.headers["From"].startswith("<sip:[field0]@[field1]>;tag=")
        assert int(request.headers["Expires"]) >= 3600


def test_the_users_are_those_of_the_database() -> None:
    """By hand as in a run: test0 to test9, with the password that is their name, in the domain that MySQL has."""
    text = (FOLDER / "users.csv").read_text()
    assert text == load.users(BAKED_SUBSCRIBERS, DOMAIN)
    used = {field for request in requests("register") for field in re.findall(r"\[field(\d)\]", str(vars(request)))}
    assert used == {str(number) for number in range(len(text.splitlines()[1].split(";")))}


def test_the_probe_asks_kamailio_itself() -> None:
    """An OPTIONS without a user, whose reply must have the marker; its log is what the driver reads."""
    (request,) = requests("probe")
    assert request.line == "OPTIONS sip:[remote_ip]:[remote_port] SIP/2.0"
    assert expected("probe") == [("200", False)]
    (search,) = steps("probe")[1].iter("ereg")
    (log,) = steps("probe")[1].iter("log")
    assert (search.get("header"), search.get("check_it")) == ("X-Lab-Engine:", "true")
    assert load.marker(log.attrib["message"].replace(f"[${search.get('assign_to')}]", "lua") + "\n") == "lua"


SCRIPTS = [
    (routing, path.name)
    for routing in ("parity", "published")
    for path in sorted((CONFIGURATION / routing).iterdir())
    if path.is_file()
]


@pytest.mark.parametrize(("routing", "file"), SCRIPTS)
def test_each_script_sets_the_marker_of_its_engine(routing: str, file: str) -> None:
    """And no other's: what the probe looks for. One for two engines asks its interpreter which it is."""
    script = (CONFIGURATION / routing / file).read_text()
    found = re.findall(r'X-Lab-Engine: (\w+|" \.\. \w+|%s\\r\\n" % \w+)', script)
    if file == "lua.lua":
        assert set(found) == {'" .. ENGINE'}
        assert re.search(r"ENGINE = (.*)", script)[1] == 'jit and "luajit" or "lua"'  # type: ignore[index]
    elif (routing, file) == ("published", "python.py"):
        assert set(found) == {'%s\\r\\n" % ENGINE'}
        assert 'ENGINE = "python3" if sys.version_info >= (3,) else "python"' in script
    else:
        assert set(found) == {Path(file).stem}


def test_every_engine_has_its_script() -> None:
    """Of every release that the lab knows. LuaJIT runs Lua's."""
    scripts = {path.stem for path in (CONFIGURATION / "parity").iterdir() if path.is_file()}
    for facts in versions.load().kamailio.values():
        assert {name.removesuffix("jit") for name in facts.engines} <= scripts


@pytest.mark.parametrize("service", ["mysql", "mariadb", "kamailio", "sipp", "log-holder"])
def test_compose_takes_the_images_that_the_lab_builds(service: str) -> None:
    """The default of each is the first release in versions.toml; a server's is its line."""
    facts = versions.load()
    known = {"kamailio": next(iter(facts.kamailio)), "sipp": next(iter(facts.sipp))}
    known |= {server: database.line for server, database in facts.database.items()}
    (variable, default) = re.fullmatch(r"\$\{(\w+):-(.+)\}", COMPOSE["services"][service]["image"]).groups()  # type: ignore[union-attr]
    software = variable.removeprefix("LAB_").removesuffix("_IMAGE").lower()
    assert default == f"kemi-lab/{software}:{known[software]}"
    assert COMPOSE["services"][service]["pull_policy"] == "never"


def test_whatever_compose_makes_carries_the_runs_label() -> None:
    """It is how the lab takes down its own, and nothing else."""
    things = [*COMPOSE["services"].values(), *COMPOSE["volumes"].values(), *COMPOSE["networks"].values()]
    assert [thing for thing in things if "lab.run" not in thing["labels"]] == []


def test_the_load_path_has_no_network() -> None:
    """Kamailio has loopback alone, SIPp shares it; MySQL is reached over a socket."""
    services = COMPOSE["services"]
    assert services["kamailio"]["network_mode"] == "none"
    assert services["sipp"]["network_mode"] == "container:${COMPOSE_PROJECT_NAME}-kamailio-1"
    assert "depends_on" not in services["sipp"]
    assert [name for name, service in services.items() if "ports" in service] == []
    assert [name for name in services if "mysql-socket:/run/mysqld" in services[name].get("volumes", [])] == [
        "mysql",
        "kamailio",
    ]
