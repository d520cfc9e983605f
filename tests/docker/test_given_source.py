"""A Kamailio that the user brings: a source tree with a change of their own, built, proven, measured like a release."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from lab import images, process, store, versions
from lab.model import StartRecord
from tests.docker.driver import Lab

MINE = "6.0.1-mine"


@pytest.fixture(scope="module")
def tree(built: dict[str, images.Built], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release's own source, out of the stage of the build that has it, under another version's name."""
    assert built
    folder = tmp_path_factory.mktemp("source")
    recipe = images.kamailio(versions.load().default_kamailio)
    arguments = {"BASE": recipe.base, **recipe.arguments}
    process.run(
        [
            *("docker", "buildx", "build", "--target", "source", "--output", f"type=local,dest={folder / 'stage'}"),
            *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
            str(images.FOLDER / recipe.folder),
        ],
        what="getting Kamailio's source",
    )
    tree = folder / "tree"
    tree.mkdir()
    process.run(
        ["tar", "-xf", str(folder / "stage" / "source.tar"), "--strip-components=1", "-C", str(tree)], what="unpacking"
    )
    shutil.rmtree(folder / "stage")
    facts = tree / "src" / "Makefile.defs"
    text = facts.read_text()
    assert text.count("\nEXTRAVERSION =") == 1
    facts.write_text(text.replace("\nEXTRAVERSION =", "\nEXTRAVERSION = -mine\nIGNORED ="))
    return tree


@pytest.fixture(scope="module")
def recipes(tree: Path, client: docker.DockerClient) -> Iterator[tuple[images.Recipe, ...]]:
    """What is made of it; nobody needs those images afterwards."""
    kamailio = images.kamailio_from(tree)
    made = (kamailio, images.mysql(kamailio))
    for recipe in made:  # here, where compiling may take its time, and not within a run that is waited for
        images.Workshop(client).ensure(recipe)
    yield made
    for recipe in reversed(made):
        if client.images.list(name=recipe.tag):
            client.images.remove(recipe.tag)


def test_a_run_measures_the_users_own_source(
    module_lab: Lab, tree: Path, recipes: tuple[images.Recipe, ...], client: docker.DockerClient
) -> None:
    """Named by the hash of its content, in the plan, the cells and the starts; the image says the user's version."""
    file = module_lab.experiment(name="mine", engines=["native", "lua"], rounds=1)
    run = module_lab("run", file, "--kamailio-source", tree)
    assert run.process.returncode in {0, 4}, run.error
    (folder,) = module_lab.runs()
    name = recipes[0].tag.partition(":")[2]
    summary = json.loads((folder / "summary.json").read_text())
    assert {cell["kamailio"] for cell in summary["cells"].values()} == {name}
    assert summary["broken"] == {}
    assert summary["cells"]["lua"]["legs"]["authenticated"]["count"] > 0
    image = json.loads((folder / "evidence" / "images.json").read_text())["kamailio"]
    assert f"kamailio {MINE} " in image["version"]
    start = store.load(StartRecord, folder / "evidence" / "starts" / "r01-lua" / "start.json")
    assert start.image == image["id"] == client.images.get(recipes[0].tag).id
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
