"""A Kamailio that the user brings: a changed source tree, a release that is in no suite; built, proven, measured."""

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from lab import images, process, store, versions
from lab.model import StartRecord
from tests.docker.conftest import Stock
from tests.docker.driver import Lab

MINE = "6.0.1-mine"
OLD = "5.4.4"  # as if it were in no suite, like 5.2.0
OLD_ENGINES = ["native", "lua", "luajit", "python", "jsdt", "sqlang"]

Remove = Callable[[images.Recipe], None]


@pytest.fixture(scope="module")
def forget(client: docker.DockerClient) -> Iterator[Remove]:
    """Whatever is made of a given source is removed again; nobody needs those images afterwards."""
    made: list[images.Recipe] = []
    yield made.append
    for recipe in made:
        if client.images.list(name=recipe.tag):
            client.images.remove(recipe.tag)


def fetched(release: str, folder: Path) -> Path:
    """A release's tarball, out of the stage of the build that gets it from the mirror."""
    recipe = images.kamailio(release)
    arguments = {"BASE": recipe.base, **recipe.arguments}
    process.run(
        [
            *("docker", "buildx", "build", "--builder", "default", "--target", "source"),
            *("--output", f"type=local,dest={folder / 'stage'}"),
            *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
            str(images.FOLDER / recipe.folder),
        ],
        what="getting Kamailio's source",
    )
    tarball = folder / f"kamailio-{release}.tar.gz"
    shutil.move(folder / "stage" / "fetched" / "source.tar", tarball)
    shutil.rmtree(folder / "stage")
    return tarball


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default release's own source under another version's name, without any language but Lua: that is quick."""
    folder = tmp_path_factory.mktemp("source")
    tarball = fetched(versions.load().default_kamailio, folder)
    tree = folder / "tree"
    tree.mkdir()
    process.run(["tar", "-xf", str(tarball), "--strip-components=1", "-C", str(tree)], what="unpacking")
    facts = tree / "src" / "Makefile.defs"
    text = facts.read_text()
    assert text.count("\nEXTRAVERSION =") == 1
    facts.write_text(text.replace("\nEXTRAVERSION =", "\nEXTRAVERSION = -mine\nIGNORED ="))
    for module in (tree / "src" / "modules").glob("app_*"):
        if module.name != "app_lua":
            shutil.rmtree(module)
    return tree


@pytest.fixture(scope="module")
def recipe(tree: Path, client: docker.DockerClient, forget: Remove) -> images.Recipe:
    """What is made of it."""
    made = images.kamailio_from(tree)
    forget(made)
    images.Workshop(client).ensure(made)  # here, where compiling may take its time, and not within a run
    return made


def test_a_run_measures_the_users_own_source(
    module_lab: Lab, tree: Path, recipe: images.Recipe, client: docker.DockerClient
) -> None:
    """Named by the hash of its content, in the plan, the cells and the starts; the image says the user's version."""
    file = module_lab.experiment(name="mine", engines=["native", "lua"], rounds=1)
    run = module_lab("run", file, "--kamailio-source", tree)
    assert run.process.returncode in {0, 4}, run.error
    (folder,) = module_lab.runs()
    name = recipe.tag.partition(":")[2]
    summary = json.loads((folder / "summary.json").read_text())
    assert {cell["kamailio"] for cell in summary["cells"].values()} == {name}
    assert summary["broken"] == {}
    assert summary["cells"]["lua"]["legs"]["authenticated"]["count"] > 0
    image = json.loads((folder / "evidence" / "images.json").read_text())["kamailio"][name]
    assert f"kamailio {MINE} " in image["version"]
    assert image["engines"] == ["native", "lua", "luajit"]
    assert image["source"].startswith("given sha256:")
    start = store.load(StartRecord, folder / "evidence" / "starts" / "r01-lua" / "start.json")
    assert start.image == image["id"] == client.images.get(recipe.tag).id
    assert start.reasons == ()
    assert module_lab.left() == []


def test_a_tarball_of_the_tree_will_do(tree: Path, tmp_path: Path, module_lab: Lab) -> None:
    """As a release comes; and what is neither is refused by its name, before anything is built."""
    tarball = tmp_path / "mine.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(tree, arcname=tree.name)
    assert images.kamailio_from(tarball).source == tarball
    neither = tmp_path / "notes.txt"
    neither.write_text("no source")
    refused = module_lab("run", module_lab.experiment(name="none"), "--kamailio-source", neither)
    assert refused.process.returncode == 2
    assert f"{neither}: not a Kamailio source tree or tarball" in refused.error


def test_a_release_that_is_in_no_suite_is_measured_from_its_tarball(
    lab: Lab, stock: Stock, client: docker.DockerClient, forget: Remove
) -> None:
    """The recipe for 5.2.0, shown on 5.4.4: its tarball, and the suite to build on, which has Python 2."""
    if not stock.kamailio(OLD):  # its suite is not served any more: `lab engines` says so, and why
        return
    suite = versions.load().kamailio[OLD].suite
    tarball = fetched(OLD, lab.folder)
    recipe = images.kamailio_from(tarball, suite)
    forget(recipe)
    built = images.Workshop(client).ensure(recipe)
    assert f"kamailio {OLD} " in built.version
    assert built.failed == {}
    experiment = lab.experiment(name="old", engines=OLD_ENGINES, rounds=1, warmup_slices=0, slice_seconds=0.5)
    run = lab("run", experiment, "--kamailio-source", tarball, "--kamailio-suite", suite)
    assert run.process.returncode in {0, 4}, run.error
    summary = json.loads((lab.results / "latest" / "summary.json").read_text())
    assert summary["broken"] == {}
    assert {cell["engine"] for cell in summary["cells"].values()} == set(OLD_ENGINES)
    for name, cell in summary["cells"].items():
        assert cell["kamailio"] == recipe.tag.partition(":")[2]
        assert cell["legs"]["authenticated"]["count"] == 75, name
        start = store.load(StartRecord, lab.results / "latest" / "evidence" / "starts" / f"r01-{name}" / "start.json")
        assert (start.marker, start.reasons) == (cell["engine"], ())
    assert lab.left() == []
