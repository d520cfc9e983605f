"""images/versions.toml -> images on the engine: bases present, pulled or bootstrapped; the rest built from them.

An image is *current* when its label `lab.recipe` is the hash of all that goes into it (its folder, its facts, the
images below it); otherwise it is built again. Configuration and scenarios are mounted, so they are no part of it.
"""

import hashlib
import io
import re
import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, ImageNotFound
from docker.models.containers import Container

from lab import process, store, versions
from lab.errors import BadInputError, SetupError, UnavailableError

PROJECT = "kemi-lab"
LABEL_PROJECT = "lab.project"
LABEL_RECIPE = "lab.recipe"
FOLDER = versions.ROOT / "images"
MOUNTED = frozenset({"etc", "scenarios", "given"})  # parts of an image's folder that are not in the image
GIVEN_PREFIX = "source-"
FACTS = "/usr/share/kemi-lab"  # in every image: what it says of itself

Listen = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image is made: its folder, its base, what it is told, and what it takes from other images."""

    tag: str
    folder: str
    suite: str
    arguments: dict[str, str] = field(default_factory=dict)
    needs: tuple["Recipe", ...] = ()
    source: Path | None = None  # a Kamailio source tree or tarball that the user named
    engines: tuple[str, ...] = ()  # of Kamailio: those that are to be built

    @property
    def base(self) -> str:
        """The image that everything is installed on."""
        return base_tag(self.suite)


@dataclass(frozen=True, slots=True)
class Built:
    """An image as it is on the engine: what a dataset records about it."""

    tag: str
    id: str
    size_bytes: int
    version: str
    packages: dict[str, str]
    source: str = ""  # of Kamailio: tarball, checksum, patches, and how it was compiled
    engines: tuple[str, ...] = ()  # that Kamailio has
    failed: dict[str, str] = field(default_factory=dict)  # engines that could not be built -> why

    def lacks(self, engine: str) -> str:
        """Why it has not this engine; nothing when it has."""
        return "" if engine in self.engines else self.failed.get(engine, "its source has none")


def base_tag(suite: str) -> str:
    """Tag of a suite's base image."""
    return f"{PROJECT}/base:{suite}"


def kamailio(release: str) -> Recipe:
    """A release of versions.toml, from its suite's source package, with all of its engines. KeyError: there is none."""
    build = versions.load().release(release)
    if build is None:
        raise KeyError(release)
    facts = build.facts
    line, patches = facts.line, facts.patches
    return Recipe(
        tag=f"{PROJECT}/kamailio:{release}",
        folder="kamailio",
        suite=facts.suite,
        arguments={
            "SOURCE": "suite",
            "SOURCE_PACKAGE": facts.source_package,
            "TARBALL": facts.tarball,
            "TARBALL_SHA256": facts.tarball_sha256,
            **({"LINE_FROM": line.at_least, "LINE_BELOW": line.below} if line else {}),
            "OPTIMISATION": versions.load().optimisation if build.optimised else "",
            **({"PATCHES": f"{patches.tarball} {patches.tarball_sha256} {patches.names}"} if patches else {}),
            **_modules(facts.engines),
        },
        engines=tuple(facts.engines),
    )


def kamailio_from(source: Path, suite: str = "") -> Recipe:
    """Any source tree or tarball, built on a suite (that of the default release), with the engines that it has."""
    if not (source.is_file() and tarfile.is_tarfile(source)) and not (source / "src" / "Makefile.defs").is_file():
        remedy = "name an unpacked tree (with src/Makefile.defs) or a tarball of one"
        raise BadInputError(f"{source}: not a Kamailio source tree or tarball", remedy=remedy)
    facts = versions.load()
    known = list(dict.fromkeys(release.suite for release in facts.kamailio.values()))
    suite = suite or known[0]
    if suite not in known:
        raise BadInputError(f"--kamailio-suite {suite}: no such suite here", remedy=f"there are: {', '.join(known)}")
    own = "" if suite == known[0] else f"-{suite}"
    engines = engines_of(source, suite)
    return Recipe(
        tag=f"{PROJECT}/kamailio:{GIVEN_PREFIX}{_content_hash(source)[:12]}{own}",
        folder="kamailio",
        suite=suite,
        arguments={"SOURCE": "given", "OPTIMISATION": facts.optimisation, **_modules(engines)},
        source=source,
        engines=tuple(engines),
    )


def engines_of(source: Path, suite: str) -> list[str]:
    """Engines whose modules a source tree or tarball has, of those that the suite can compile."""
    if source.is_file():
        with tarfile.open(source) as archive:
            names = archive.getnames()
        there = set(re.findall(r"^(?:\./)?(?:[^/]+/)?src/modules/(\w+)", "\n".join(names), re.MULTILINE))
    else:
        there = {path.name for path in (source / "src" / "modules").iterdir()}
    facts = versions.load()
    return [
        name
        for name in facts.engines_on(suite)
        if all(module in there for module in facts.engine[name].modules if not module.endswith("?"))
    ]


def _modules(engines: list[str]) -> dict[str, str]:
    """What Kamailio's Dockerfile is told of modules: the common ones, and a row for each engine."""
    facts = versions.load()
    rows = [
        f"{name}={','.join(facts.engine[name].modules)}={','.join(facts.engine[name].packages)}" for name in engines
    ]
    return {"MODULES": " ".join(facts.modules), "ENGINES": " ".join(rows)}


def counter(below: Recipe) -> Recipe:
    """A Kamailio image with valgrind above it."""
    return Recipe(
        tag=below.tag.replace(f"{PROJECT}/kamailio:", f"{PROJECT}/counter:"),
        folder="counter",
        suite=below.suite,
        arguments={"KAMAILIO_IMAGE": below.tag},
        needs=(below,),
        engines=below.engines,
    )


def database(server: str) -> Recipe:
    """A database server; by hand it has the schema of the default release."""
    facts = versions.load().database[server]
    schema = kamailio(versions.load().default_kamailio)
    return Recipe(
        tag=f"{PROJECT}/{server}:{facts.line}",
        folder="database",
        suite=facts.suite,
        arguments={
            "KAMAILIO_IMAGE": schema.tag,
            "FLAVOUR": server,
            "PACKAGE": facts.package,
            "LINE": facts.line,
        },
        needs=(schema,),
    )


def sipp() -> Recipe:
    """The load generator."""
    version, facts = next(iter(versions.load().sipp.items()))
    return Recipe(
        tag=f"{PROJECT}/sipp:{version}",
        folder="sipp",
        suite=facts.suite,
        arguments={
            "SOURCE_PACKAGE": facts.source_package,
            "TARBALL": facts.tarball,
            "TARBALL_SHA256": facts.tarball_sha256,
        },
    )


def probes() -> Recipe:
    """What looks at Kamailio through the kernel."""
    suite = versions.load().probes.suite
    return Recipe(tag=f"{PROJECT}/probes:{suite}", folder="probes", suite=suite)


def by_hand() -> tuple[Recipe, ...]:
    """The three images of the testbed as compose.yaml has it, in the order of building."""
    facts = versions.load()
    return (kamailio(facts.default_kamailio), database(next(iter(facts.database))), sipp())


def everything() -> tuple[Recipe, ...]:
    """All images of versions.toml, and those that the lab's own experiments name besides; in the order of building."""
    facts = versions.load()
    return (
        *(kamailio(name) for name in dict.fromkeys((*facts.kamailio, *_named_by_experiments()))),
        counter(kamailio(facts.default_kamailio)),
        probes(),
        *(database(name) for name in facts.database),
        sipp(),
    )


def _named_by_experiments() -> list[str]:
    """Releases that are in none of versions.toml's rows: as their own make compiles them."""
    files = sorted((versions.ROOT / "experiments").glob("*.toml"))
    named = [tomllib.loads(path.read_text(encoding="utf-8")).get("kamailio", []) for path in files]
    return sorted({name for one in named for name in ([one] if isinstance(one, str) else one)})


class Workshop:
    """Makes images on one engine."""

    def __init__(self, client: docker.DockerClient, listen: Listen = process.ignore) -> None:
        """`listen` hears every line of a build."""
        self.client = client
        self.listen = listen

    def schema(self, built: Built) -> bytes:
        """Kamailio's SQL files, as a tar archive with one folder, `mysql`."""
        with self._opened(built.id) as container:
            stream, _ = container.get_archive("/usr/share/kamailio/mysql")
            return b"".join(stream)

    def current(self, recipe: Recipe) -> bool:
        """The image is there and made from what lies in the tree now."""
        try:
            labels = self.client.images.get(recipe.tag).labels
        except ImageNotFound:
            return False
        return bool(labels.get(LABEL_RECIPE) == self.recipe_hash(recipe))

    def ensure(self, recipe: Recipe) -> Built:
        """Build what is missing or out of date, bases and needs first."""
        self.ensure_base(recipe.suite)
        for need in recipe.needs:
            self.ensure(need)
        if not self.current(recipe):
            self._build(recipe)
        return self.built(recipe)

    def ensure_base(self, suite: str) -> None:
        """Present, else pulled, else bootstrapped from the machine's own package mirror."""
        tag = base_tag(suite)
        if self.client.images.list(name=tag):
            return
        if not self._pull_base(suite):
            self._bootstrap_base(suite)

    def built(self, recipe: Recipe) -> Built:
        """What the image says of itself: read from its files, without starting it."""
        image = self.client.images.get(recipe.tag)
        with self._opened(str(image.id)) as container:
            facts = _archive(container, FACTS)
        return Built(
            tag=recipe.tag,
            id=str(image.id),
            size_bytes=int(image.attrs["Size"]),
            version=facts["version"].strip(),
            packages=_pairs(facts["packages.tsv"]),
            source=facts.get("source", "").strip(),
            engines=tuple(facts.get("engines", "").split()),
            failed=_pairs(facts.get("failed", "")),
        )

    @contextmanager
    def _opened(self, image: str) -> Iterator[Container]:
        """A container of an image, never started, to read its files."""
        with process.undisturbed():
            container = self.client.containers.create(image, labels={LABEL_PROJECT: PROJECT, "lab.run": "images"})
            try:
                yield container
            finally:
                container.remove(v=True)

    def recipe_hash(self, recipe: Recipe) -> str:
        """Hash of all that goes into an image; '' when its base is not there, so that it is never current."""
        digest = hashlib.sha256()
        for path in sorted((FOLDER / recipe.folder).rglob("*")):
            relative = path.relative_to(FOLDER / recipe.folder)
            if path.is_file() and relative.parts[0] not in MOUNTED:
                digest.update(f"{relative} {path.stat().st_mode & 0o111:o} ".encode() + path.read_bytes())
        digest.update(repr(sorted(recipe.arguments.items())).encode())
        digest.update(recipe.tag.encode())
        for tag in (recipe.base, *(need.tag for need in recipe.needs)):
            try:
                digest.update(str(self.client.images.get(tag).id).encode())
            except ImageNotFound:
                return ""
        return digest.hexdigest()[:16]

    def _build(self, recipe: Recipe) -> None:
        self.listen(f"building {recipe.tag}")
        with tempfile.TemporaryDirectory(prefix="kemi-lab-build-") as context:
            folder = Path(context) / recipe.folder
            store.copy_readable(FOLDER / recipe.folder, folder)
            if recipe.source is not None:
                _pack(recipe.source, folder / "given" / "source.tar")
            arguments = {"BASE": recipe.base, **recipe.arguments}
            labels = {LABEL_PROJECT: PROJECT, LABEL_RECIPE: self.recipe_hash(recipe)}
            self._run_build(
                recipe,
                [
                    # The engine's own builder: another one would look for our base images in a registry.
                    *(
                        "docker",
                        "buildx",
                        "build",
                        "--builder",
                        "default",
                        "--load",
                        "--progress=plain",
                        "--tag",
                        recipe.tag,
                    ),
                    *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
                    *(part for name, value in labels.items() for part in ("--label", f"{name}={value}")),
                    str(folder),
                ],
            )

    def _run_build(self, recipe: Recipe, command: list[str]) -> None:
        try:
            process.run(
                command,
                what=f"building image {recipe.tag}",
                listen=self.listen,
                remedy="the lines above name the failing step; is the package mirror reachable from containers?",
            )
        except SetupError as error:
            gone = re.search(r"kemi-lab: (not available: .*)", error.detail)
            if gone:
                raise UnavailableError(f"{recipe.tag}: {gone[1]}", detail=error.detail) from error
            raise

    def _pull_base(self, suite: str) -> bool:
        """Debian's own image under our tag and label, if a registry answers."""
        origin = f"debian:{suite}-slim"
        self.listen(f"pulling {origin}")
        try:
            self.client.images.pull(origin)
            recipe = (
                f"FROM {origin}\nLABEL {LABEL_PROJECT}={PROJECT}\n"
                """RUN echo 'Acquire::Retries "5";' >/etc/apt/apt.conf.d/90kemi-lab\n"""  # as bootstrap has it
            )
            self.client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=base_tag(suite), rm=True)
        except (APIError, BuildError) as error:
            self.listen(f"no registry gives {origin}: {error}")
            return False
        return True

    def _bootstrap_base(self, suite: str) -> None:
        self.listen(f"bootstrapping {base_tag(suite)} from the machine's package mirror")
        with tempfile.TemporaryDirectory(prefix="kemi-lab-base-") as folder:
            archive = Path(folder) / f"{suite}.tar"
            try:
                process.run(
                    [str(FOLDER / "base" / "bootstrap"), suite, str(archive)],
                    what=f"bootstrapping base image {suite}",
                    listen=self.listen,
                    remedy="on a machine that is not Debian's, LAB_DEBIAN_MIRROR names the mirror: see docs/setup.md",
                )
            except SetupError as error:
                if gone := unavailable(suite):
                    message = f"{base_tag(suite)}: not available: the mirror does not serve it: {gone}"
                    raise UnavailableError(message, detail=error.detail, remedy=error.remedy) from error
                raise
            process.run(
                [
                    *("docker", "import", "--change", f"LABEL {LABEL_PROJECT}={PROJECT}"),
                    *(str(archive), base_tag(suite)),
                ],
                what=f"importing base image {suite}",
            )


def unavailable(suite: str) -> str:
    """What the mirror says where it does not have a suite; nothing where it has."""
    try:
        process.run([str(FOLDER / "base" / "bootstrap"), "--check", suite], what=f"asking for suite {suite}")
    except SetupError as error:
        said = [line.removeprefix("E: ") for line in error.detail.splitlines() if line.startswith("E: ")]
        return said[0] if said else str(error)
    return ""


def _archive(container: Container, path: str) -> dict[str, str]:
    """Files of a folder in a container, by name."""
    stream, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        files = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file}


def _pairs(table: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in table.splitlines())


def _pack(source: Path, target: Path) -> None:
    """A tree becomes a tarball; a tarball stays one. Version control and objects of other builds stay out."""
    target.parent.mkdir(exist_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)
        return
    with tarfile.open(target, "w") as archive:
        for path in _tree(source):
            archive.add(path, arcname=str(path.relative_to(source)), recursive=False)


def _content_hash(source: Path) -> str:
    digest = hashlib.sha256()
    if source.is_file():
        digest.update(source.read_bytes())
    else:
        for path in _tree(source):
            digest.update(f"{path.relative_to(source)} ".encode())
            if path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _tree(source: Path) -> list[Path]:
    """Files of a source tree that are source: sorted, without .git and compiled objects."""
    return [
        path
        for path in sorted(source.rglob("*"))
        if ".git" not in path.relative_to(source).parts
        and path.suffix not in {".o", ".d", ".so"}
        and (path.is_file() or path.is_symlink())
    ]
