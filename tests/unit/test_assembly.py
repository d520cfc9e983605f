"""From an experiment file to a specification: what each name in it stands for, and what is told if it is not there."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from lab import assembly, experiment, images, process, store, topology, versions
from lab.errors import BadInputError, UnavailableError
from lab.images import Built, Recipe, Workshop
from lab.planted import Routing
from lab.runner import Specification

if TYPE_CHECKING:
    import docker

SOUND = """\
name = "mine"
engines = ["native", "lua"]
baseline = "native"
rounds = 1
slices = 1
slice_seconds = 1.0
rate_per_s = 10
"""
SCENARIOS = images.FOLDER / "sipp" / "scenarios"
ETC = images.FOLDER / "kamailio" / "etc"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two CPUs."""
    monkeypatch.setattr(topology, "this", lambda: topology.read(Path("/nowhere"), (0, 1), 0))


def specify(folder: Path, more: str = "", *, source: Path | None = None, suite: str = "") -> Specification:
    """What a file in this folder means."""
    (folder / "mine.toml").write_text(SOUND + more)
    asked = experiment.read(folder / "mine.toml")
    given = assembly.given(source, suite)
    return assembly.specify(asked, cast("docker.DockerClient", None), given=given)


def refused(folder: Path, more: str) -> str:
    """How a file is refused."""
    with pytest.raises(BadInputError) as caught:
        specify(folder, more)
    return f"{caught.value}\n{caught.value.remedy}"


def scenario(folder: Path, name: str, declared: str = "", *, traffic: bool = True) -> Path:
    """A scenario of the user's."""
    folder.mkdir(exist_ok=True)
    if traffic:
        (folder / f"{name}.xml").write_text("<scenario/>")
    legs = '[legs]\na = { method = "REGISTER", cseq = 1 }\n'
    (folder / f"{name}.toml").write_text(f"{declared}\n{legs}")
    return folder / f"{name}.xml"


def test_what_a_file_leaves_out_is_ours(tmp_path: Path) -> None:
    """The default release, the parity routing, the common configuration, the registration, MySQL."""
    found = specify(tmp_path)
    assert found.plan.releases == (versions.load().default_kamailio,)
    assert found.plan.databases == ("mysql",)
    assert found.configurations == (ETC / "kamailio.cfg",)
    assert found.routings == {"parity": Routing(ETC / "parity")}
    assert found.traffic == (SCENARIOS / "register.xml",)
    assert {cell.children for cell in found.plan.cells} == {1}  # as many as Kamailio has CPUs
    assert set(found.plan.inputs) == {"scenario register", "configuration kamailio.cfg", "routing parity"}


def test_the_plan_changes_with_what_its_files_say(tmp_path: Path) -> None:
    """Two runs of one hash played the same traffic by the same scripts."""
    path = scenario(tmp_path / "traffic", "mine")
    before = specify(tmp_path, 'scenario = "traffic/mine.xml"\n').plan.hash
    assert specify(tmp_path, 'scenario = "traffic/mine.xml"\n').plan.hash == before
    path.write_text("<scenario>other</scenario>")
    assert specify(tmp_path, 'scenario = "traffic/mine.xml"\n').plan.hash != before


def test_a_configuration_of_ours_goes_by_its_name(tmp_path: Path) -> None:
    """And one of the user's by its path, seen from the file."""
    assert specify(tmp_path, 'configuration = "published"\n').configurations == (ETC / "published.cfg",)
    (tmp_path / "mine.cfg").write_text('include_file "kamailio.cfg"\n')
    assert specify(tmp_path, 'configuration = "mine.cfg"\n').configurations == (tmp_path / "mine.cfg",)
    assert "ours: kamailio, published; or the path of a file" in refused(tmp_path, 'configuration = "publisht"\n')


def test_configurations_are_a_factor(tmp_path: Path) -> None:
    """Each a cell, called after its file; each with its own part in what decides the plan."""
    (tmp_path / "mine.cfg").write_text("# nothing")
    found = specify(tmp_path, 'configuration = ["", "mine.cfg"]\n')
    assert {cell.name: cell.configuration for cell in found.plan.cells if cell.engine == "lua"} == {
        "lua-kamailio": "kamailio.cfg",
        "lua-mine": "mine.cfg",
    }
    assert found.configurations == (ETC / "kamailio.cfg", tmp_path / "mine.cfg")
    assert {"configuration kamailio.cfg", "configuration mine.cfg"} < set(found.plan.inputs)


def test_two_configurations_of_one_name_are_refused(tmp_path: Path) -> None:
    """A run has one folder for both."""
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.cfg").write_text("# nothing")
    assert "both called 'mine.cfg'" in refused(tmp_path, 'configuration = ["old/mine.cfg", "new/mine.cfg"]\n')


def test_kamailios_may_be_given_by_names_of_their_own(tmp_path: Path) -> None:
    """Whatever the file says: cells are called after them, and what they are made of decides the plan."""
    (tmp_path / "mine.toml").write_text(SOUND)
    given = {name: images.kamailio("6.0.1") for name in ("base", "candidate")}
    found = assembly.specify(experiment.read(tmp_path / "mine.toml"), cast("docker.DockerClient", None), given=given)
    assert {cell.kamailio for cell in found.plan.cells} == {"base", "candidate"}
    assert found.plan.inputs["kamailio candidate"] == "kemi-lab/kamailio:6.0.1"


def test_the_routing_of_the_source_tree_has_no_folder_here(tmp_path: Path) -> None:
    """It lies in Kamailio's image; every other one is copied."""
    found = specify(tmp_path, 'routing = ["upstream", "parity"]\n')
    assert list(found.routings) == ["parity"]
    assert {cell.routing for cell in found.plan.cells} == {"upstream", "parity"}
    assert "ours: parity, published, trivial, upstream" in refused(tmp_path, 'routing = "partiy"\n')


def test_a_wait_is_planted_by_the_routings_name(tmp_path: Path) -> None:
    """It is part of what is hashed, as the script that has it is; the routing itself stays as it was."""
    found = specify(tmp_path, 'routing = ["parity", "parity-plus-5us", "parity-plus-6us"]\n')
    assert found.routings["parity-plus-5us"] == Routing(ETC / "parity", 5)
    digests = {found.plan.inputs[f"routing {name}"] for name in ("parity", "parity-plus-5us", "parity-plus-6us")}
    assert len(digests) == 3
    assert found.plan.inputs["routing parity"] == store.digest(ETC / "parity")


@pytest.mark.parametrize(
    ("routing", "engines", "said"),
    [
        ("upstream-plus-5us", ["native"], "no wait can be planted into upstream, which is in the image"),
        ("parity-plus-5us", ["native", "jsdt"], "parity-plus-5us: engine jsdt has no clock"),
        ("partiy-plus-5us", ["native"], "no folder"),
        ("parity-plus-5ms", ["native"], "no folder"),
    ],
)
def test_a_wait_that_cannot_be_planted_is_refused(tmp_path: Path, routing: str, engines: list[str], said: str) -> None:
    """At the key, before anything starts."""
    text = SOUND.replace('["native", "lua"]', str(engines).replace("'", '"'))
    (tmp_path / "mine.toml").write_text(f'{text}routing = "{routing}"\n')
    with pytest.raises(BadInputError) as caught:
        assembly.specify(experiment.read(tmp_path / "mine.toml"), cast("docker.DockerClient", None))
    assert said in str(caught.value)
    assert "mine.toml:8: routing: " in str(caught.value)
    assert caught.value.remedy


def test_a_scenario_brings_those_that_set_it_up(tmp_path: Path) -> None:
    """Its traffic and theirs, each file once."""
    found = specify(tmp_path, 'scenario = ["reregister", "invite", "published/as-run"]\n')
    assert found.traffic == tuple(SCENARIOS / f"{name}.xml" for name in ("register", "invite", "published/as-run"))
    assert [one.name for one in found.plan.scenarios] == ["reregister", "register", "invite", "as-run"]
    assert [cell.scenario for cell in found.plan.cells[::2]] == ["reregister", "invite", "as-run", "reregister"]


def test_a_scenario_may_play_another_ones_traffic(tmp_path: Path) -> None:
    """The file beside it that it names; the user's as ours."""
    scenario(tmp_path / "traffic", "calls")
    scenario(tmp_path / "traffic", "again", 'traffic = "calls.xml"\nsetup = "calls"', traffic=False)
    found = specify(tmp_path, 'scenario = "traffic/again.xml"\n')
    assert found.traffic == (tmp_path / "traffic" / "calls.xml",)
    assert [one.name for one in found.plan.scenarios] == ["again", "calls"]


@pytest.mark.parametrize(
    ("declared", "problem"),
    [('traffic = "absent.xml"', "no scenario file"), ('setup = "absent"', "no scenario file")],
)
def test_what_a_scenario_names_must_be_there(tmp_path: Path, declared: str, problem: str) -> None:
    """Told at the experiment's key, before anything is built."""
    scenario(tmp_path / "traffic", "mine", declared)
    assert f"mine.toml:8: scenario: {problem} {tmp_path}/traffic/absent.xml" in refused(
        tmp_path, 'scenario = "traffic/mine.xml"\n'
    )


@pytest.mark.parametrize(
    ("name", "declared", "called"),
    [("register", "", "register"), ("mine", 'setup = "register"', "register"), ("invite", "", "invite")],
)
def test_no_two_scenarios_have_one_name(tmp_path: Path, name: str, declared: str, called: str) -> None:
    """A cell would play the other one's traffic; also where one is only there to set another up."""
    scenario(tmp_path / "traffic", name, declared)
    scenario(tmp_path / "traffic", "register")
    said = refused(tmp_path, f'scenario = ["register", "invite", "traffic/{name}.xml"]\n')
    assert "mine.toml:8: scenario: " in said
    assert f"are both called {called!r}" in said


def test_one_scenario_may_be_asked_for_twice(tmp_path: Path) -> None:
    """By itself, and to set another one up."""
    found = specify(tmp_path, 'scenario = ["register", "reregister"]\n')
    assert [one.name for one in found.plan.scenarios] == ["register", "reregister"]


def test_an_unknown_scenario_gets_the_known_ones(tmp_path: Path) -> None:
    """Ours by name, folders included."""
    said = refused(tmp_path, 'scenario = "registre"\n')
    for name in ("register", "invite", "published/corrected"):
        assert name in said


def test_a_release_has_its_engines(tmp_path: Path) -> None:
    """Those of versions.toml, with what is known of them; a list of releases is a factor."""
    found = specify(tmp_path, 'kamailio = ["6.0.1", "5.6.3"]\n').plan
    assert found.releases == ("6.0.1", "5.6.3")
    (tmp_path / "mine.toml").write_text(SOUND.replace('"lua"', '"sqlang"') + 'kamailio = ["6.0.1", "5.6.3"]\n')
    asked = experiment.read(tmp_path / "mine.toml")
    plan = assembly.specify(asked, cast("docker.DockerClient", None)).plan
    assert plan.left_out == ("sqlang-6.0.1: Kamailio 6.0.1 has no engine sqlang",)


def test_a_source_takes_the_place_of_the_releases(tmp_path: Path) -> None:
    """With the engines that it has; `kamailio` is not looked at."""
    tree = tmp_path / "kamailio"
    (tree / "src" / "modules" / "app_lua").mkdir(parents=True)
    (tree / "src" / "Makefile.defs").touch()
    found = specify(tmp_path, 'kamailio = "3.3"\n', source=tree, suite="bullseye").plan
    (release,) = found.releases
    assert release.startswith("source-")
    assert release.endswith("-bullseye")
    assert [cell.name for cell in found.cells] == ["native", "lua", "native-aa"]


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """A workshop that makes all that is asked for, but what stands here."""
    unmade: dict[str, Exception] = {}

    def ensure(_: Workshop, recipe: Recipe) -> Built:
        if recipe.tag in unmade:
            raise unmade[recipe.tag]
        return Built(recipe.tag, f"sha256:{recipe.tag}", 1, "1", {}, engines=("native", "lua"))

    monkeypatch.setattr(Workshop, "ensure", ensure)
    monkeypatch.setattr(Workshop, "schema", lambda _, built: f"tables of {built.tag}".encode())
    return unmade


@pytest.mark.usefixtures("shop")
def test_a_run_has_the_images_of_its_factors(tmp_path: Path) -> None:
    """Each release with its schema, each server; no other."""
    made = specify(tmp_path, 'kamailio = ["6.0.1", "5.6.3"]\ndatabase = "mariadb"\n').make_images(process.ignore)
    assert {release: built.tag for release, built in made.kamailio.items()} == {
        "6.0.1": "kemi-lab/kamailio:6.0.1",
        "5.6.3": "kemi-lab/kamailio:5.6.3",
    }
    assert list(made.database) == ["mariadb"]
    assert made.schemas["5.6.3"] == b"tables of kemi-lab/kamailio:5.6.3"
    assert made.unavailable == {}


def test_a_release_that_cannot_be_had_is_left_out_if_there_is_another(
    tmp_path: Path, shop: dict[str, Exception]
) -> None:
    """Alone it is an error, and so is any other fault of a build."""
    shop["kemi-lab/kamailio:5.4.4"] = UnavailableError("bullseye is not served")
    two = specify(tmp_path, 'kamailio = ["6.0.1", "5.4.4"]\n')
    made = two.make_images(process.ignore)
    assert made.unavailable == {"5.4.4": "bullseye is not served"}
    assert list(made.kamailio) == list(made.schemas) == ["6.0.1"]
    assert made.missing(two.plan) == dict.fromkeys(("native-5.4.4", "lua-5.4.4"), "bullseye is not served")
    with pytest.raises(UnavailableError):
        specify(tmp_path, 'kamailio = "5.4.4"\n').make_images(process.ignore)
    shop["kemi-lab/kamailio:5.4.4"] = OSError("no room")
    with pytest.raises(OSError, match="no room"):
        two.make_images(process.ignore)


def test_of_a_release_that_is_given_all_is_known_that_is_known(tmp_path: Path) -> None:
    """Whatever it is called: an engine whose Kamailio is known to end badly ends as it is known to."""
    (tmp_path / "mine.toml").write_text(SOUND)
    facts = versions.load().kamailio
    name = next(name for name, release in facts.items() if release.ends)
    found = assembly._given_release(images.kamailio(name))  # noqa: SLF001
    assert (found.ends, found.broken, found.variant) == (facts[name].ends, facts[name].broken, facts[name].variant)
    assert assembly._given_release(Recipe("kemi-lab/kamailio:source-1", "kamailio", "trixie")).ends == {}  # noqa: SLF001
