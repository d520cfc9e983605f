"""Images: when one is made again, what goes into it, and which sources are taken for Kamailio's."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from docker.errors import APIError, ImageNotFound

from lab import images, process, versions
from lab.errors import BadInputError, Exit, SetupError, UnavailableError
from lab.images import Recipe, Workshop

if TYPE_CHECKING:
    import docker

BASE = "kemi-lab/base:trixie"
OTHER = Recipe("kemi-lab/other:1", "sipp", "trixie")
RECIPE = Recipe(
    "kemi-lab/kamailio:6.0.1", "kamailio", "trixie", {"SOURCE": "suite", "MODULES": "tm sl"}, needs=(OTHER,)
)


class Engine:
    """An engine's images, without an engine."""

    def __init__(self, **ids: str) -> None:
        """Tag -> id."""
        self.images = self
        self.ids = dict(ids)
        self.labels: dict[str, dict[str, str]] = {}
        self.registry = False

    def get(self, tag: str) -> SimpleNamespace:
        """As docker's ImageCollection."""
        if tag not in self.ids:
            raise ImageNotFound(tag)
        return SimpleNamespace(id=self.ids[tag], labels=self.labels.get(tag, {}))

    def list(self, name: str) -> list[str]:
        """Likewise."""
        return [tag for tag in self.ids if tag == name]

    def pull(self, origin: str) -> None:
        """Likewise."""
        if not self.registry:
            raise APIError(f"no route to where {origin} lies")

    def build(self, *, fileobj: io.BytesIO, tag: str, rm: bool) -> None:
        """Likewise: only bases are built so, of an origin and a label."""
        assert rm
        lines = fileobj.read().decode().splitlines()
        self.ids[tag] = lines[0].removeprefix("FROM ")
        self.labels[tag] = dict([lines[1].removeprefix("LABEL ").split("=")])


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, in place of ours."""
    folder = tmp_path / "images"
    for path, text in {
        "kamailio/Dockerfile": "ARG BASE\n",
        "kamailio/entrypoint": "#!/bin/sh\n",
        "kamailio/etc/kamailio.cfg": "debug=2\n",
        "kamailio/given/.keep": "",
        "sipp/Dockerfile": "ARG BASE\n",
        "sipp/scenarios/register.xml": "<scenario/>\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    monkeypatch.setattr(images, "FOLDER", folder)
    return folder


@pytest.fixture
def engine() -> Engine:
    """An engine that has the base and the image that RECIPE needs."""
    return Engine(**{BASE: "sha256:1", OTHER.tag: "sha256:2"})


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be called, in order; nothing is."""
    called: list[list[str]] = []

    def run(command: list[str], **_: object) -> str:
        called.append(command)
        return ""

    monkeypatch.setattr(process, "run", run)
    return called


def workshop(engine: Engine) -> Workshop:
    """A workshop on it."""
    return Workshop(cast("docker.DockerClient", engine))


def digest(engine: Engine, recipe: Recipe = RECIPE) -> str:
    """The hash of a recipe."""
    return workshop(engine).recipe_hash(recipe)


@pytest.mark.usefixtures("tree")
def test_the_same_recipe_has_the_same_hash(engine: Engine) -> None:
    """Whatever the order in which its facts were given."""
    turned = Recipe(RECIPE.tag, "kamailio", "trixie", {"MODULES": "tm sl", "SOURCE": "suite"}, needs=(OTHER,))
    assert digest(engine) == digest(engine, turned) != ""


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "kamailio/Dockerfile").write_text("ARG BASE=x\n"),
        lambda tree: (tree / "kamailio/entrypoint").chmod(0o755),
        lambda tree: (tree / "kamailio/entrypoint").rename(tree / "kamailio/entry"),
        lambda tree: (tree / "kamailio/more").write_text(""),
    ],
    ids=["content", "mode", "name", "another file"],
)
def test_a_change_in_the_folder_makes_another_image(
    engine: Engine, tree: Path, change: Callable[[Path], object]
) -> None:
    """Of anything that the build sees."""
    before = digest(engine)
    change(tree)
    assert digest(engine) != before


@pytest.mark.parametrize("path", ["kamailio/etc/kamailio.cfg", "kamailio/given/source.tar", "sipp/Dockerfile"])
def test_what_is_not_in_an_image_does_not_make_it_anew(engine: Engine, tree: Path, path: str) -> None:
    """Configuration is mounted, a given source is in the tag, another image has a folder of its own."""
    before = digest(engine)
    (tree / path).write_text("changed")
    assert digest(engine) == before


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    "other",
    [
        Recipe(RECIPE.tag, "kamailio", "trixie", RECIPE.arguments | {"MODULES": "tm"}, RECIPE.needs),
        Recipe(RECIPE.tag, "kamailio", "trixie", RECIPE.arguments | {"MORE": "1"}, RECIPE.needs),
        Recipe("kemi-lab/kamailio:source-1", "kamailio", "trixie", RECIPE.arguments, RECIPE.needs),
        Recipe(RECIPE.tag, "kamailio", "trixie", RECIPE.arguments),
    ],
    ids=["argument", "another argument", "tag", "needs"],
)
def test_other_facts_make_another_image(engine: Engine, other: Recipe) -> None:
    """Each of them."""
    assert digest(engine, other) != digest(engine)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("below", [BASE, OTHER.tag])
def test_an_image_is_only_as_new_as_what_lies_below_it(engine: Engine, below: str) -> None:
    """Another base or another image that it takes from makes it anew; without one it is never current."""
    before = digest(engine)
    engine.ids[below] = "sha256:3"
    assert digest(engine) not in {before, ""}
    del engine.ids[below]
    assert digest(engine) == ""


@pytest.mark.usefixtures("tree")
def test_an_image_is_current_when_its_label_is_the_hash(engine: Engine) -> None:
    """Absent, somebody else's, ours, ours of yesterday."""
    shop = workshop(engine)
    assert not shop.current(RECIPE)
    engine.ids[RECIPE.tag] = "sha256:9"
    assert not shop.current(RECIPE)
    engine.labels[RECIPE.tag] = {images.LABEL_RECIPE: shop.recipe_hash(RECIPE)}
    assert shop.current(RECIPE)
    engine.ids[BASE] = "sha256:newer"
    assert not shop.current(RECIPE)


@pytest.mark.usefixtures("tree")
def test_only_what_is_missing_is_built_and_what_it_needs_first(
    engine: Engine, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its facts as arguments, and the hash and the project as labels."""
    shop = workshop(engine)
    monkeypatch.setattr(shop, "built", lambda recipe: recipe.tag)
    shop.ensure(RECIPE)
    assert [command[command.index("--tag") + 1] for command in commands] == [OTHER.tag, RECIPE.tag]
    build = commands[1]
    given = {build[n + 1] for n, word in enumerate(build) if word in {"--build-arg", "--label"}}
    assert given == {
        f"BASE={BASE}",
        "SOURCE=suite",
        "MODULES=tm sl",
        "lab.project=kemi-lab",
        f"lab.recipe={digest(engine)}",
    }
    for recipe in (OTHER, RECIPE):
        engine.ids.setdefault(recipe.tag, "sha256:9")
        engine.labels[recipe.tag] = {images.LABEL_RECIPE: shop.recipe_hash(recipe)}
    commands.clear()
    shop.ensure(RECIPE)
    assert commands == []


@pytest.mark.usefixtures("tree")
def test_a_base_is_pulled_where_a_registry_answers(engine: Engine, commands: list[list[str]]) -> None:
    """And then has our tag and our label; one that is present is left alone."""
    engine.registry = True
    shop = workshop(engine)
    shop.ensure_base("trixie")
    assert engine.ids[BASE] == "sha256:1"
    shop.ensure_base("sid")
    assert engine.ids["kemi-lab/base:sid"] == "debian:sid-slim"
    assert engine.labels["kemi-lab/base:sid"] == {"lab.project": "kemi-lab"}
    assert commands == []


@pytest.mark.usefixtures("engine")
def test_a_base_is_bootstrapped_where_none_answers(tree: Path, commands: list[list[str]]) -> None:
    """From the machine's own mirror, and imported with our label."""
    workshop(Engine()).ensure_base("sid")
    (bootstrap, load) = commands
    assert bootstrap[:2] == [str(tree / "base" / "bootstrap"), "sid"]
    assert load[:2] == ["docker", "import"]
    assert load[-2:] == [bootstrap[2], "kemi-lab/base:sid"]
    assert "LABEL lab.project=kemi-lab" in load


class Source:
    """A Kamailio source tree with what a working copy has beside its source."""

    def __init__(self, folder: Path) -> None:
        """Made in `folder`."""
        self.folder = folder
        for path, text in {
            "src/Makefile.defs": "VERSION = 6\n",
            "src/main.c": "int main;\n",
            "src/main.o": "object",
            "src/main.d": "depends",
            "src/modules/tm/tm.so": "object",
            "src/modules/tm/tm.c": "tm\n",
            ".git/config": "mine",
            "src/.gitignore": "*.o\n",
        }.items():
            self.write(path, text)
        (folder / "src/link.c").symlink_to("main.c")

    def write(self, path: str, text: str) -> None:
        """A file of it."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    @property
    def tag(self) -> str:
        """Tag of the image that is made of it."""
        return images.kamailio_from(self.folder).tag


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A source tree."""
    return Source(tmp_path / "kamailio")


SOURCE_FILES = ["src/.gitignore", "src/Makefile.defs", "src/link.c", "src/main.c", "src/modules/tm/tm.c"]


def given(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, recipe: Recipe, engine: Engine) -> list[str]:
    """Names in the source that a build gets to see."""
    names: list[str] = []

    def run(command: list[str], **_: object) -> str:
        commands.append(command)
        with tarfile.open(Path(command[-1]) / "given" / "source.tar") as archive:
            names.extend(archive.getnames())
        return ""

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(Workshop, "built", lambda _shop, made: made.tag)
    workshop(engine).ensure(recipe)
    return names


def test_a_tree_is_packed_without_version_control_and_objects(
    source: Source, tree: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects of another build would be linked in; the build sees nothing of etc/ either."""
    commands: list[list[str]] = []
    assert given(commands, monkeypatch, images.kamailio_from(source.folder), engine) == SOURCE_FILES
    assert "SOURCE=given" in commands[0]
    assert sorted(path.name for path in (tree / "kamailio" / "given").iterdir()) == [".keep"]


@pytest.mark.usefixtures("tree")
def test_a_tarball_stays_as_it_is(
    source: Source, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed by whomever, compressed or not."""
    tarball = tmp_path / "kamailio.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(source.folder / "src", arcname="kamailio-6/src")
    names = given([], monkeypatch, images.kamailio_from(tarball), engine)
    assert "kamailio-6/src/Makefile.defs" in names


def test_a_sources_tag_is_its_content(source: Source) -> None:
    """So that results tell two sources apart; what is not packed does not count."""
    before = source.tag
    assert before.startswith("kemi-lab/kamailio:source-")
    source.write("src/main.o", "another object")
    source.write(".git/config", "yours")
    assert source.tag == before
    source.write("src/main.c", "int main = 1;\n")
    changed = source.tag
    assert changed != before
    (source.folder / "src/main.c").rename(source.folder / "src/core.c")
    assert source.tag not in {before, changed}


@pytest.mark.parametrize("what", ["nothing", "a folder of something else", "a file that is no tarball"])
def test_what_is_no_source_is_refused(tmp_path: Path, what: str) -> None:
    """At once, by its path, with what is wanted."""
    path = tmp_path / "source"
    if what.startswith("a folder"):
        path.mkdir()
    elif what.startswith("a file"):
        path.write_text("#!/bin/sh\n")
    with pytest.raises(BadInputError, match=f"^{path}: not a Kamailio source") as caught:
        images.kamailio_from(path)
    assert caught.value.exit_code == Exit.USAGE
    assert "src/Makefile.defs" in caught.value.remedy


# --- what a source or a release has ---------------------------------------------------------------------------------


def modules(source: Source, *names: str) -> None:
    """Add modules to a source tree."""
    for name in names:
        source.write(f"src/modules/{name}/Makefile", "include ../../Makefile.defs\n")


def packed(source: Source, tarball: Path, folder: str) -> Path:
    """It as a tarball, with a leading directory or none."""
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(source.folder / "src", arcname=f"{folder}src")
    return tarball


@pytest.mark.parametrize("form", ["tree", "kamailio-6.0.1/", ""])
@pytest.mark.parametrize(
    ("names", "suite", "engines"),
    [
        ((), "trixie", ["native"]),
        (("app_lua",), "trixie", ["native", "lua", "luajit"]),
        (("app_python",), "trixie", ["native"]),
        (("app_python",), "bullseye", ["native", "python"]),
        # app_ruby_proc? may be absent; app_python3s is another module than app_python3.
        (("app_ruby", "app_python3s", "app_sqlang_notes"), "sid", ["native", "python3s", "ruby"]),
        (("app_python3", "app_jsdt", "app_sqlang"), "bookworm", ["native", "python3", "jsdt", "sqlang"]),
    ],
)
def test_the_engines_of_a_source_are_those_whose_modules_it_has(
    source: Source, tmp_path: Path, *, form: str, names: tuple[str, ...], suite: str, engines: list[str]
) -> None:
    """Of those that the suite can compile; in a tree as in a tarball of it, however that was packed."""
    modules(source, *names)
    path = source.folder if form == "tree" else packed(source, tmp_path / "kamailio.tar.gz", form)
    assert images.engines_of(path, suite) == engines
    rows = images.kamailio_from(path, suite).arguments["ENGINES"].split()
    assert [row.partition("=")[0] for row in rows] == engines


def test_a_source_may_be_built_on_another_suite(source: Source) -> None:
    """An older one, say, for Python 2. Its image is another one."""
    default, other = images.kamailio_from(source.folder), images.kamailio_from(source.folder, "bullseye")
    assert (default.suite, other.suite) == ("trixie", "bullseye")
    assert other.tag == f"{default.tag}-bullseye"
    assert images.kamailio_from(source.folder, "trixie") == default


def test_a_suite_that_is_none_of_ours_is_refused(source: Source) -> None:
    """With those that there are."""
    with pytest.raises(BadInputError, match="--kamailio-suite jessie: no such suite here") as caught:
        images.kamailio_from(source.folder, "jessie")
    assert caught.value.remedy == "there are: trixie, sid, bookworm, bullseye"


@pytest.mark.parametrize("release", versions.load().kamailio)
def test_a_release_is_built_with_all_of_its_engines(release: str) -> None:
    """Each a row of its modules and of what compiles them; and with the facts of its source."""
    facts = versions.load()
    known, recipe = facts.kamailio[release], images.kamailio(release)
    rows = [row.split("=") for row in recipe.arguments["ENGINES"].split()]
    assert [name for name, _, _ in rows] == known.engines
    for name, own, packages in rows:
        assert own.split(",") == (facts.engine[name].modules or [""])
        assert packages.split(",") == (facts.engine[name].packages or [""])
    assert recipe.tag == f"kemi-lab/kamailio:{release}"
    assert recipe.suite == known.suite
    assert recipe.arguments["TARBALL_SHA256"] == known.tarball_sha256
    assert recipe.arguments["MODULES"].split() == facts.modules
    assert ("LINE_FROM" in recipe.arguments) is (known.line is not None)
    patches = recipe.arguments.get("PATCHES", "")
    assert patches.split()[:2] == ([known.patches.tarball, known.patches.tarball_sha256] if known.patches else [])


def test_all_images_are_made_in_an_order_in_which_each_finds_what_it_needs() -> None:
    """By hand the three of compose.yaml; everything has every release and server, and what experiments of ours name."""
    assert [recipe.tag for recipe in images.by_hand()] == [
        "kemi-lab/kamailio:6.0.1",
        "kemi-lab/mysql:9.7",
        "kemi-lab/sipp:3.7.3",
    ]
    facts, all_ = versions.load(), images.everything()
    assert {recipe.tag for recipe in all_} == {
        *(f"kemi-lab/kamailio:{release}" for release in facts.kamailio),
        "kemi-lab/kamailio:5.4.4-unoptimised",  # of the experiment of 2018
        "kemi-lab/kamailio:6.0.1-unoptimised",
        f"kemi-lab/counter:{facts.default_kamailio}",
        f"kemi-lab/probes:{facts.probes.suite}",
        *(f"kemi-lab/{server}:{known.line}" for server, known in facts.database.items()),
        *(f"kemi-lab/sipp:{version}" for version in facts.sipp),
    }
    assert all(recipe in all_ for recipe in images.by_hand())
    for place, recipe in enumerate(all_):
        assert all(need in all_[:place] for need in recipe.needs)


def test_a_counter_is_a_layer_above_a_kamailio() -> None:
    """Whichever: a release, or a source that was given. It is out of date when that one is."""
    below = images.kamailio("6.0.1")
    above = images.counter(below)
    assert above.tag == "kemi-lab/counter:6.0.1"
    assert above.needs == (below,)
    assert above.arguments == {"KAMAILIO_IMAGE": below.tag}
    assert above.engines == below.engines


def test_a_database_has_the_default_releases_schema() -> None:
    """By hand; in a run each release brings its own."""
    for server in versions.load().database:
        recipe = images.database(server)
        assert recipe.arguments["KAMAILIO_IMAGE"] == "kemi-lab/kamailio:6.0.1"
        assert [need.tag for need in recipe.needs] == ["kemi-lab/kamailio:6.0.1"]
        assert recipe.arguments["FLAVOUR"] == server


# --- what fails -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tree")
def test_a_build_that_fails_names_its_image(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And passes on what the build said."""

    def fail(_command: list[str], *, what: str, **_: object) -> str:
        raise SetupError(f"{what} failed", detail="E: no mirror")

    monkeypatch.setattr(process, "run", fail)
    with pytest.raises(SetupError, match=r"building image kemi-lab/other:1 failed") as caught:
        workshop(engine).ensure(OTHER)
    assert caught.value.detail == "E: no mirror"


@pytest.mark.usefixtures("tree")
def test_a_source_that_is_not_served_any_more_is_no_failed_build(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build says so itself, by a word of ours; its last words are kept."""
    said = "#12 0.9 kemi-lab: not available: kamailio 6.1 is neither in sid nor is kamailio_6.1.4.orig.tar.gz\nE: exit"

    def fail(_command: list[str], *, what: str, **_: object) -> str:
        raise SetupError(f"{what} failed", detail=said)

    monkeypatch.setattr(process, "run", fail)
    with pytest.raises(UnavailableError) as caught:
        workshop(engine).ensure(OTHER)
    assert str(caught.value) == (
        "kemi-lab/other:1: not available: kamailio 6.1 is neither in sid nor is kamailio_6.1.4.orig.tar.gz"
    )
    assert (caught.value.detail, caught.value.exit_code) == (said, Exit.SETUP)


@pytest.mark.parametrize(
    ("mirror", "why"),
    [
        ("I: Retrieving\nE: Failed to fetch http://mirror/InRelease  404\nE: Download Failed", "Failed to fetch"),
        ("", ""),
    ],
    ids=["suite-gone", "mirror-answers"],
)
@pytest.mark.usefixtures("tree")
def test_a_suite_that_is_not_served_is_told_from_a_fault_here(
    monkeypatch: pytest.MonkeyPatch, mirror: str, why: str
) -> None:
    """The one leaves a release out, the other is to be mended. It is the mirror that is asked which it is."""

    def fail(command: list[str], *, what: str, **_: object) -> str:
        if "--check" not in command:
            raise SetupError(f"{what} failed", detail="E: No space left on device", remedy="LAB_DEBIAN_MIRROR")
        if mirror:
            raise SetupError(f"{what} failed", detail=mirror)
        return ""

    monkeypatch.setattr(process, "run", fail)
    with pytest.raises(SetupError) as caught:
        workshop(Engine()).ensure_base("lenny")
    assert isinstance(caught.value, UnavailableError) is bool(mirror)
    assert (caught.value.detail, caught.value.remedy) == ("E: No space left on device", "LAB_DEBIAN_MIRROR")
    assert why in str(caught.value)


# --- what an image says of itself -----------------------------------------------------------------------------------


class Container:
    """A container that only lends its files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        """Path -> content."""
        self.files = files
        self.removed = False

    def get_archive(self, path: str) -> tuple[list[bytes], None]:
        """As docker's Container: a tar stream of a folder, in pieces."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            folder = tarfile.TarInfo(Path(path).name)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for name, content in self.files.items():
                if name.startswith(f"{path}/"):
                    member = tarfile.TarInfo(str(Path(name).relative_to(Path(path).parent)))
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        whole = stream.getvalue()
        return [whole[:700], whole[700:]], None

    def remove(self, *, v: bool) -> None:
        """Likewise."""
        self.removed = v


def lender(container: Container) -> SimpleNamespace:
    """An engine that has one image, and makes this container of it."""
    image = SimpleNamespace(id="sha256:9", attrs={"Size": 2_000_000})
    return SimpleNamespace(
        images=SimpleNamespace(get=lambda _tag: image),
        containers=SimpleNamespace(create=lambda _image, labels: container if labels["lab.project"] else None),
    )


@pytest.mark.parametrize("complete", [True, False])
def test_an_image_says_what_it_is_made_of(*, complete: bool) -> None:
    """Read from its files without starting it; nothing of the look stays behind, whatever happens."""
    facts = {
        "version": b"version: kamailio 6.0.1 (x86_64/linux)\n",
        "source": b"suite kamailio_6.0.1.orig.tar.gz sha256:8c1d\n",
        "engines": b"native\nlua\n",
        "failed": b"ruby\tno ruby-dev\n",
        "upstream/lua.lua": b"",
    }
    container = Container({f"/usr/share/kemi-lab/{name}": content for name, content in facts.items()})
    if complete:
        container.files["/usr/share/kemi-lab/packages.tsv"] = b"libc6\t2.41-12\nlibssl3t64\t3.5.1-1\n"
    shop = Workshop(cast("docker.DockerClient", lender(container)))
    if complete:
        built = shop.built(RECIPE)
        assert (built.id, built.size_bytes) == ("sha256:9", 2_000_000)
        assert built.version == "version: kamailio 6.0.1 (x86_64/linux)"
        assert built.packages == {"libc6": "2.41-12", "libssl3t64": "3.5.1-1"}
        assert built.source == "suite kamailio_6.0.1.orig.tar.gz sha256:8c1d"
        assert (built.engines, built.failed) == (("native", "lua"), {"ruby": "no ruby-dev"})
    else:
        with pytest.raises(KeyError):
            shop.built(RECIPE)
    assert container.removed


def test_an_image_of_another_role_has_no_engines() -> None:
    """Nor a source of Kamailio."""
    files = {"version": b"3.7.3\n", "packages.tsv": b""}
    container = Container({f"/usr/share/kemi-lab/{name}": content for name, content in files.items()})
    built = Workshop(cast("docker.DockerClient", lender(container))).built(OTHER)
    assert (built.version, built.source, built.engines, built.failed) == ("3.7.3", "", (), {})


def test_a_releases_schema_comes_out_of_its_image() -> None:
    """Its SQL files as one archive; nothing of the look stays behind."""
    container = Container({"/usr/share/kamailio/mysql/standard-create.sql": b"CREATE TABLE version"})
    made = images.Built("kemi-lab/kamailio:6.0.1", "sha256:9", 1, "", {})
    with tarfile.open(fileobj=io.BytesIO(Workshop(cast("docker.DockerClient", lender(container))).schema(made))) as tar:
        assert "mysql/standard-create.sql" in tar.getnames()
    assert container.removed
