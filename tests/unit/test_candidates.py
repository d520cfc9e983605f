"""What somebody names at a shell becomes an experiment that compares just that."""

import subprocess
import tarfile
from pathlib import Path

import pytest

from lab import candidates, experiment
from lab.candidates import Kind, Pair
from lab.errors import BadInputError
from lab.versions import ROOT

GATE = ROOT / "experiments" / "gate.toml"
COMMON = 'loadmodule "tm.so"\n'


def pair(base: object, candidate: object, folder: Path, engine: str = "lua") -> Pair:
    """As `lab gate` would measure it."""
    place = folder / "copies"
    place.mkdir()
    return candidates.pair(experiment.read(GATE), str(base), str(candidate), engine, place)


def refused(base: object, candidate: object, folder: Path, engine: str = "lua") -> str:
    """How it is not."""
    with pytest.raises(BadInputError) as caught:
        pair(base, candidate, folder, engine)
    return f"{caught.value}\n{caught.value.remedy}\n{caught.value.detail}"


def git(folder: Path, *arguments: str) -> None:
    """In a repository of somebody's."""
    own = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *own, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With a script, a configuration and a source tree, each changed since `old`."""
    place = tmp_path / "repository"
    for name in ("routing/lua.lua", "common.cfg", "src/Makefile.defs", "src/modules/app_lua/app_lua.c"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"{COMMON}-- old\n")
    git(tmp_path, "init", "--quiet", "repository")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "--message", "old")
    git(place, "tag", "old")
    for path in (
        place / "routing" / "lua.lua",
        place / "common.cfg",
        place / "src" / "modules" / "app_lua" / "app_lua.c",
    ):
        path.write_text(f"{COMMON}-- new\n")
    return place


def places(found: Pair) -> list[Path]:
    """Where the copies of both lie, by the names that the experiment has for them."""
    (factor,) = [name for name in ("routing", "configuration") if name == found.kind.value]
    return [found.experiment.resolve(name) for name in found.experiment.factor(factor)]


def scripts(found: Pair) -> list[str]:
    """The scripts of both, as they will be measured."""
    return [(folder / "lua.lua").read_text() for folder in places(found)]


def test_two_scripts(tmp_path: Path) -> None:
    """Of whatever name, each in a folder with nothing else, called as the entry point looks for it."""
    for name in ("mine", "yours"):
        (tmp_path / f"{name}.lua").write_text(f"-- {name}")
    found = pair(tmp_path / "mine.lua", tmp_path / "yours.lua", tmp_path)
    assert (found.kind, found.base, found.candidate) == (Kind.ROUTING, "lua-base", "lua-candidate")
    assert scripts(found) == ["-- mine", "-- yours"]
    assert (found.experiment.keys.engines, found.experiment.keys.baseline) == (["lua"], "lua-base")
    assert found.experiment.keys.rounds == experiment.read(GATE).keys.rounds


def test_native_routing_is_no_common_configuration(tmp_path: Path) -> None:
    """Both end in .cfg; a common one loads modules."""
    for name in ("one", "other"):
        (tmp_path / f"{name}.cfg").write_text("request_route {\n}\n")
        (tmp_path / f"{name}-common.cfg").write_text(COMMON)
    assert pair(tmp_path / "one.cfg", tmp_path / "other.cfg", tmp_path, "native").kind == Kind.ROUTING
    (tmp_path / "copies").rename(tmp_path / "done")
    found = pair(tmp_path / "one-common.cfg", tmp_path / "other-common.cfg", tmp_path, "native")
    assert found.kind == Kind.CONFIGURATION
    assert found.experiment.factor("configuration") == ("./base.cfg", "./candidate.cfg")


def test_a_routing_of_ours_with_a_planted_wait(tmp_path: Path) -> None:
    """How a gate is tried."""
    found = pair("parity", "parity-plus-9us", tmp_path)
    plain, planted = scripts(found)
    assert "planted" not in plain
    assert "os.clock() + 9e-6" in planted


def test_two_releases(tmp_path: Path) -> None:
    """Each under a name of its own, also where it is the same one twice."""
    found = pair("6.0.1", "6.1", tmp_path)
    assert found.kind == Kind.RELEASE
    assert {name: recipe.tag for name, recipe in found.given.items()} == {
        "base": "kemi-lab/kamailio:6.0.1",
        "candidate": "kemi-lab/kamailio:6.1",
    }


def test_a_release_as_its_own_make_compiles_it(tmp_path: Path) -> None:
    """Against itself as distributions do: what a build from source costs."""
    found = pair("6.0.1", "6.0.1-unoptimised", tmp_path)
    assert found.kind == Kind.RELEASE
    assert {name: recipe.arguments["OPTIMISATION"] for name, recipe in found.given.items()} == {
        "base": "-O2",
        "candidate": "",
    }


def test_a_path_as_it_was_at_a_commit(repository: Path, tmp_path: Path) -> None:
    """A script, its folder, a configuration, a whole source tree: against what lies there now."""
    folder, script = repository / "routing", repository / "routing" / "lua.lua"
    for number, (path, kind) in enumerate(
        [(script, Kind.ROUTING), (folder, Kind.ROUTING), (repository / "common.cfg", Kind.CONFIGURATION)]
    ):
        own = tmp_path / str(number)
        own.mkdir()
        found = pair(f"{path}@old", path, own)
        assert found.kind == kind
        copies = places(found)
        texts = [(copy / "lua.lua" if copy.is_dir() else copy).read_text() for copy in copies]
        assert texts == [f"{COMMON}-- old\n", f"{COMMON}-- new\n"]
    found = pair(f"{repository}@old", repository, tmp_path)
    assert found.kind == Kind.SOURCE
    assert len({recipe.tag for recipe in found.given.values()}) == 2, "they differ, so their images do"


def test_a_tarball_is_a_source(repository: Path, tmp_path: Path) -> None:
    """As is a tree."""
    with tarfile.open(tmp_path / "mine.tar.gz", "w:gz") as archive:
        archive.add(repository, "kamailio")
    found = pair(tmp_path / "mine.tar.gz", repository, tmp_path)
    assert found.kind == Kind.SOURCE
    assert found.given.keys() == {"base", "candidate"}


def test_links_are_followed_within_the_repository(repository: Path, tmp_path: Path) -> None:
    """A folder may share a script with others."""
    (repository / "common.lua").write_text("-- common")
    (repository / "routing" / "common.lua").symlink_to("../common.lua")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "linked")
    found = pair(f"{repository / 'routing'}@HEAD", repository / "routing", tmp_path)
    assert [Path(copy, "common.lua").read_text() for copy in found.experiment.places.values()] == ["-- common"] * 2


def test_a_link_is_followed_as_it_was_then(repository: Path, tmp_path: Path) -> None:
    """Not as it is now: that would compare the new script with itself."""
    for name in ("v1", "v2"):
        (repository / f"{name}.lua").write_text(f"-- {name}")
    current = repository / "current.lua"
    current.symlink_to("v1.lua")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "linked")
    current.unlink()
    current.symlink_to("v2.lua")
    assert scripts(pair(f"{current}@HEAD", current, tmp_path)) == ["-- v1", "-- v2"]


def test_a_link_out_of_the_repository_is_refused(repository: Path, tmp_path: Path) -> None:
    """There is no telling what it was then."""
    (repository / "current.lua").symlink_to("/etc/hostname")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "astray")
    assert "no such file" in refused(f"{repository / 'current.lua'}@HEAD", repository / "current.lua", tmp_path)


@pytest.mark.parametrize("engine", ["perl", "../../x", "/x", "*"])
def test_an_engine_is_one_that_there_is(tmp_path: Path, engine: str) -> None:
    """Not a path, and not a pattern."""
    said = refused("parity", "parity", tmp_path, engine)
    assert f"--engine {engine}: no such engine" in said
    assert "there are: native, " in said


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A link to nothing, here."""
    for name in ("mine", "yours"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lua.lua").symlink_to("nowhere")
    assert "cannot be read" in refused(tmp_path / "mine", tmp_path / "yours", tmp_path)
    (other := tmp_path / "other").mkdir()
    assert "cannot be read" in refused("x" * 300, "parity", other)


def test_nothing_is_judged_by_a_specimen(tmp_path: Path) -> None:
    """Its slices count whatever the checks say."""
    (tmp_path / "mine.toml").write_text(f"{GATE.read_text()}\n[specimen]\n")
    with pytest.raises(BadInputError, match=r"mine\.toml:\d+: specimen: is shown as found"):
        candidates.pair(experiment.read(tmp_path / "mine.toml"), "parity", "parity", "lua", tmp_path)


def test_a_name_that_means_nothing(tmp_path: Path) -> None:
    """It is said what could be named."""
    said = refused(tmp_path / "nowhere.lua", tmp_path / "nowhere.lua", tmp_path)
    assert "nowhere.lua: nothing that can be compared" in said
    assert "PATH@COMMIT" in said


@pytest.mark.parametrize("commit", ["nowhere", "--output=elsewhere", "old:routing/nothing"])
def test_a_commit_that_is_not_there(repository: Path, tmp_path: Path, commit: str) -> None:
    """Nor is a commit an option of git's."""
    said = refused(f"{repository / 'routing'}@{commit}", repository / "routing", tmp_path)
    assert "name a commit" in said
    assert not (repository / "elsewhere").exists()


def test_a_script_of_another_language_is_refused(tmp_path: Path) -> None:
    """Before anything is built: whoever forgets --engine has native."""
    for name in ("old.lua", "new.lua"):
        (tmp_path / name).write_text("-- nothing\n")
    said = refused(tmp_path / "old.lua", tmp_path / "new.lua", tmp_path, "native")
    assert "old.lua: a script of engine native is a .cfg" in said
    assert "--engine" in said


def test_two_of_different_kinds(tmp_path: Path) -> None:
    """Nobody could say what made the difference."""
    assert "a release" in refused("6.0.1", "parity", tmp_path)


def test_a_folder_without_the_engines_script(tmp_path: Path) -> None:
    """It would be Kamailio that says so, later."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ruby.rb").touch()
    said = refused(tmp_path / "mine", tmp_path / "mine", tmp_path)
    assert "mine has no script for engine lua" in said
    assert "it has ruby.rb" in said


def test_a_wait_cannot_be_planted_everywhere(tmp_path: Path) -> None:
    """Ruby's has no clock."""
    assert "no clock" in refused("parity", "parity-plus-9us", tmp_path, "ruby")
