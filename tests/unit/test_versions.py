"""images/versions.toml: the facts are sound, and agree with what is built and loaded from them."""

import re
import tomllib

import pytest
from pydantic import TypeAdapter, ValidationError

from lab import proof, versions
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
    """The version that results carry is the one that was built."""
    assert FACTS.kamailio[release].tarball.split("_")[1].startswith(f"{release}.orig")


@pytest.mark.parametrize("release", FACTS.kamailio)
def test_the_modules_that_are_built_are_those_that_are_loaded(release: str) -> None:
    """One too few fails at start, one too many is built for nothing."""
    assert sorted(FACTS.kamailio[release].modules) == sorted(
        re.findall(r'^loadmodule "(\w+)\.so"', CONFIGURATION, re.MULTILINE)
    )


@pytest.mark.parametrize("engine", sorted({engine for facts in FACTS.kamailio.values() for engine in facts.engines}))
def test_an_engine_can_be_chosen_and_proven(engine: str) -> None:
    """The entry point knows it, the configuration has its part, and the proof knows Kamailio's word for it."""
    define = f"WITH_ENGINE_{engine.upper()}"
    assert f"{engine}) script=" in (IMAGES / "kamailio" / "entrypoint").read_text()
    assert define in (IMAGES / "kamailio" / "entrypoint").read_text()
    part = re.search(rf"^#!ifdef {define}\n(.*?)^#!endif", CONFIGURATION, re.DOTALL | re.MULTILINE)
    assert part
    if engine != NATIVE:
        said = f"{part[1]}loadmodule"
        modules = "\n".join(FACTS.kamailio[FACTS.default_kamailio].modules)
        text = f"== modules\n{modules}\n== processes\n== arguments\n== configuration\n{said}\n== allowed\n== end\n"
        assert proof.parse(text).engine == engine


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("suite =", "sweet =", "sweet"),
        ("tarball_sha256 =", "sha256 =", "tarball_sha256"),
        ('engines = ["native", "lua", "python3"]', 'engines = "native"', "engines"),
        ("[sipp.", "[sip.", "sipp"),
    ],
)
def test_a_fault_in_the_file_is_not_overlooked(old: str, new: str, fault: str) -> None:
    """An unknown fact is as much a fault as a missing one."""
    text = versions.FILE.read_text()
    assert old in text
    with pytest.raises(ValidationError, match=fault):
        TypeAdapter(versions.Versions).validate_python(tomllib.loads(text.replace(old, new, 1)))
