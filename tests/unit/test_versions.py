"""images/versions.toml: the facts are sound, and agree with what is built and loaded from them."""

import re
import tomllib

import pytest
from pydantic import TypeAdapter, ValidationError

from lab import images, versions
from lab.model import NATIVE

IMAGES = versions.ROOT / "images"
FACTS = versions.load()
CONFIGURATION = (IMAGES / "kamailio" / "etc" / "kamailio.cfg").read_text()


def test_the_first_release_is_the_default() -> None:
    """The order in the file is a decision."""
    assert FACTS.default_kamailio == re.search(r'\[kamailio\."(.+)"\]', versions.FILE.read_text())[1]  # type: ignore[index]


@pytest.mark.parametrize("facts", [*FACTS.kamailio.values(), *FACTS.sipp.values()], ids=lambda facts: facts.tarball)
def test_a_tarball_is_known_by_its_hash(facts: versions.Kamailio | versions.Sipp) -> None:
    """The upstream one of the source package; without the hash anything could be measured."""
    assert re.fullmatch(r"[0-9a-f]{64}", facts.tarball_sha256)
    assert re.fullmatch(rf"{facts.source_package}_[\d.]+\.orig\.tar\.\w+", facts.tarball)


@pytest.mark.parametrize("release", FACTS.kamailio)
def test_a_release_is_called_as_its_tarball(release: str) -> None:
    """The version that results carry is the one that was built; of a suite that moves its line, which the name says."""
    facts = FACTS.kamailio[release]
    version = facts.tarball.split("_")[1].removesuffix(".orig.tar.gz")
    if facts.line:
        assert (facts.line.at_least, version.startswith(f"{release}.")) == (release, True)
        major, minor = map(int, release.split("."))
        assert facts.line.below == f"{major}.{minor + 1}"
    else:
        assert version == release


@pytest.mark.parametrize("name", FACTS.kamailio)
def test_each_release_is_there_as_its_own_make_compiles_it(name: str) -> None:
    """The same otherwise. Else it is compiled as distributions do; that it is not is told with each result."""
    usual, own = images.kamailio(name), images.kamailio(f"{name}-unoptimised")
    assert (usual.arguments["OPTIMISATION"], own.arguments["OPTIMISATION"]) == ("-O2", "")
    assert {**own.arguments, "OPTIMISATION": "-O2"} == usual.arguments
    assert own.tag == f"kemi-lab/kamailio:{name}-unoptimised"
    build = FACTS.release(f"{name}-unoptimised")
    assert build is not None
    assert build.variant.endswith("compiled without optimisation, as its own make does")
    assert build.facts == FACTS.kamailio[name]


def test_nothing_else_is_a_release() -> None:
    """Neither by another name nor with another ending."""
    usual = FACTS.release("6.0.1")
    assert usual is not None
    assert (usual.facts, usual.variant) == (FACTS.kamailio["6.0.1"], "")
    assert {FACTS.release(name) for name in ("", "5.2.0", "5.2.0-unoptimised", "6.0.1-O9", "-unoptimised")} == {None}


@pytest.mark.parametrize("release", FACTS.kamailio)
def test_what_is_known_of_an_engine_is_of_one_that_the_release_has(release: str) -> None:
    """Its engines are declared, native among them, and can be compiled on its suite; what is said of one is said."""
    facts = FACTS.kamailio[release]
    assert facts.engines[0] == NATIVE
    assert len(set(facts.engines)) == len(facts.engines)
    assert set(facts.engines) <= set(FACTS.engines_on(facts.suite))
    broken = {known.rpartition("/")[2] for known in facts.broken}  # with any routing, or with the one before the "/"
    assert broken | set(facts.ends) <= set(facts.engines)
    assert all(facts.broken.values())
    assert 0 not in facts.ends.values()


@pytest.mark.parametrize("release", [name for name, facts in FACTS.kamailio.items() if facts.patches])
def test_patches_are_known_by_hash_and_reason(release: str) -> None:
    """Of the release's own source package: the build is a variant, and says why."""
    facts = FACTS.kamailio[release]
    assert facts.patches
    assert re.fullmatch(r"[0-9a-f]{64}", facts.patches.tarball_sha256)
    assert facts.patches.tarball.startswith(f"{facts.source_package}_{release}-")
    assert facts.patches.why


def test_every_engine_is_of_some_release() -> None:
    """None is declared for nothing; each has its page."""
    assert {name for facts in FACTS.kamailio.values() for name in facts.engines} == set(FACTS.engine)
    pages = {page.stem for page in (versions.ROOT / "docs" / "engines").glob("*.md")}
    assert pages == set(FACTS.engine)


def test_python_2_is_compiled_where_it_is_left() -> None:
    """A row that names suites is of those alone."""
    assert "python" in FACTS.engines_on("bullseye")
    assert "python" not in FACTS.engines_on("trixie")
    assert NATIVE in FACTS.engines_on("whatever")


def test_the_modules_that_are_built_are_those_that_are_loaded() -> None:
    """One too few fails at start, one too many is built for nothing. Engines have their own."""
    loaded = re.findall(r'^loadmodule "(?:/\S+/)?(\w+)\.so"', CONFIGURATION, re.MULTILINE)
    own = {module.rstrip("?") for engine in FACTS.engine.values() for module in engine.modules}
    common = {module.rstrip("?") for module in FACTS.modules}
    assert common == set(loaded) - own


def test_the_entry_point_asks_for_nothing_that_5_2_has_not() -> None:
    """Kamailio has long options since 5.3, and the module kemix, too."""
    start = (IMAGES / "kamailio" / "entrypoint").read_text().partition("exec kamailio")[2]
    assert re.findall(r"(?<= )-[^ ]+", start) == ["-DD", "-E", "-f", "-n", "-A", "-A"]
    assert re.search(r"#!ifdef WITH_KEMIX\nloadmodule \"kemix\.so\"\n#!endif", CONFIGURATION)


@pytest.mark.parametrize("engine", sorted(FACTS.engine))
def test_an_engine_can_be_chosen(engine: str) -> None:
    """The configuration has its part, which the entry point defines by the engine's name."""
    define = "WITH_ENGINE_$(echo \"$engine\" | tr '[:lower:]' '[:upper:]')"
    assert define in (IMAGES / "kamailio" / "entrypoint").read_text()
    part = re.search(rf"^#!ifdef WITH_ENGINE_{engine.upper()}\n(.*?)^#!endif", CONFIGURATION, re.DOTALL | re.MULTILINE)
    assert part
    for module in FACTS.engine[engine].modules:
        assert module.endswith("?") or f"{module}.so" in part[1]
    assert ("LAB_SCRIPT" in part[1]) is (engine != NATIVE)  # whose script is included
    scripts = [path.stem for path in (IMAGES / "kamailio" / "etc" / "parity").iterdir()]
    assert scripts.count(engine.removesuffix("jit")) == 1  # LuaJIT runs Lua's


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("suite =", "sweet =", "sweet"),
        ("tarball_sha256 =", "sha256 =", "tarball_sha256"),
        ('engines = ["native", "lua", "luajit"', 'engines = "native" #', "engines"),
        ("[sipp.", "[sip.", "sipp"),
        ("[database.mysql]", "[databases.mysql]", "database"),
        ("ends = { ruby = 139 }", 'ends = { ruby = "SIGSEGV" }', "ends"),
        ('at_least = "6.1"', 'atleast = "6.1"', "at_least"),
    ],
)
def test_a_fault_in_the_file_is_not_overlooked(old: str, new: str, fault: str) -> None:
    """An unknown fact is as much a fault as a missing one."""
    text = versions.FILE.read_text()
    assert old in text
    with pytest.raises(ValidationError, match=fault):
        TypeAdapter(versions.Versions).validate_python(tomllib.loads(text.replace(old, new, 1)))
