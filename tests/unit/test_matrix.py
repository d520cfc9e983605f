"""What `lab engines` says: of every engine on every release what is built, what could be, what cannot and why."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from lab import matrix, process, versions
from lab.errors import SetupError
from lab.images import FOLDER, Built, Recipe, Workshop
from lab.matrix import Place, State

FACTS = versions.load()


def asked(*built: Built) -> dict[tuple[str, str], Place]:
    """The places with these images on the engine, by release and engine."""
    there = {one.tag: one for one in built}
    workshop = SimpleNamespace(
        current=lambda recipe: recipe.tag in there,
        built=lambda recipe: there[recipe.tag],
    )
    return {(place.kamailio, place.engine): place for place in matrix.places(cast("Workshop", workshop))}


def image(release: str, *engines: str, **failed: str) -> Built:
    """A release's image with these engines."""
    return Built(f"kemi-lab/kamailio:{release}", "sha256:1", 1, release, {}, engines=engines, failed=failed)


@pytest.fixture(autouse=True)
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Suites that the mirror was asked for. It has all of them."""
    suites: list[str] = []

    def run(command: list[str], **_: object) -> str:
        assert command[:2] == [str(FOLDER / "base" / "bootstrap"), "--check"]
        suites.append(command[2])
        return ""

    monkeypatch.setattr(process, "run", run)
    return suites


@pytest.fixture
def know(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change what versions.toml says of a release."""

    def know(release: str, **changed: object) -> None:
        other = replace(FACTS.kamailio[release], **changed)  # type: ignore[arg-type]
        facts = replace(FACTS, kamailio={**FACTS.kamailio, release: other})
        monkeypatch.setattr(versions, "load", lambda: facts)

    return know


def test_every_engine_has_its_place_on_every_release() -> None:
    """Also where there is none of it: a table without holes, release by release."""
    found = asked()
    assert list(found) == [(release, engine) for release in FACTS.kamailio for engine in FACTS.engine]
    for (release, engine), place in found.items():
        assert place.suite == FACTS.kamailio[release].suite
        assert (place.state == State.NONE) is (engine not in FACTS.kamailio[release].engines)


def test_what_is_not_built_yet_can_be_where_the_mirror_has_the_suite(questions: list[str]) -> None:
    """It is asked once a release."""
    places = asked().values()
    assert {place.state for place in places} == {State.AVAILABLE, State.NONE}
    assert {place.why for place in places} == {""}
    assert questions == [known.suite for known in FACTS.kamailio.values()]


def test_what_is_built_is_not_asked_for(questions: list[str]) -> None:
    """An engine that the image lacks says why: by the build's own word, or because the source has no such module."""
    found = asked(image("6.0.1", "native", "lua", ruby="package ruby-dev: E: no such"))
    states = {engine: found["6.0.1", engine] for engine in FACTS.engine}
    assert states["native"].state == states["lua"].state == State.BUILT
    assert (states["ruby"].state, states["ruby"].why) == (State.FAILED, "package ruby-dev: E: no such")
    assert (states["jsdt"].state, states["jsdt"].why) == (State.FAILED, "its source has none")
    assert states["python"].state == State.NONE
    assert "trixie" not in questions


def test_an_image_of_another_tree_is_none(questions: list[str]) -> None:
    """What is out of date would be built again, for which the mirror must have it."""
    asked(image("6.0.1-other", "native"))
    assert "trixie" in questions


def test_an_engine_that_is_known_not_to_work_says_what_is_known(know: Callable[..., None]) -> None:
    """Built or not; on that release alone."""
    know("6.0.1", broken={"ruby": "it cuts pointers"})
    for images in ((), (image("6.0.1", "native", "ruby"),)):
        found = asked(*images)
        assert (found["6.0.1", "ruby"].state, found["6.0.1", "ruby"].why) == (State.BROKEN, "it cuts pointers")
        assert found["6.1", "ruby"].state == State.AVAILABLE


@pytest.mark.parametrize(
    ("detail", "why"),
    [
        (
            "I: Retrieving\nE: Failed getting release file http://m/Release\nE: more",
            "Failed getting release file http://m/Release",
        ),
        ("unshare failed", "asking for suite bullseye failed"),
    ],
)
def test_a_suite_that_the_mirror_does_not_have(monkeypatch: pytest.MonkeyPatch, detail: str, why: str) -> None:
    """Is not available, by the mirror's word; an image that was built before is as good as it was."""

    def run(command: list[str], *, what: str) -> str:
        if command[2] == "bullseye":
            raise SetupError(f"{what} failed", detail=detail)
        return ""

    monkeypatch.setattr(process, "run", run)
    found = asked()
    assert (found["5.4.4", "lua"].state, found["5.4.4", "lua"].why) == (State.UNAVAILABLE, why)
    assert found["5.4.4", "python3s"].state == State.NONE
    assert found["5.6.3", "lua"].state == State.AVAILABLE
    assert asked(image("5.4.4", "lua"))["5.4.4", "lua"].state == State.BUILT


def test_a_build_with_patches_is_told_to_be_a_variant() -> None:
    """Of every engine of it: which patches, and why."""
    found = asked()
    variants = {
        release: {place.variant for (of, _), place in found.items() if of == release} for release in FACTS.kamailio
    }
    for release, known in FACTS.kamailio.items():
        (variant,) = variants[release]
        assert bool(variant) is (known.patches is not None)
        assert not known.patches or (known.patches.tarball in variant and known.patches.why in variant)


def test_the_recipe_that_is_asked_about_is_the_releases() -> None:
    """With everything that the build is told."""
    seen: list[Recipe] = []
    workshop = SimpleNamespace(current=seen.append)
    list(matrix.places(cast("Workshop", workshop)))
    assert [recipe.tag for recipe in seen] == [f"kemi-lab/kamailio:{release}" for release in FACTS.kamailio]
