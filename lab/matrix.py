"""Every engine on every release: what is built, what could be, what cannot and why. What `lab engines` prints."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from lab import images, versions
from lab.images import Workshop


class State(StrEnum):
    """What one can do with an engine on a release."""

    BUILT = "built"
    AVAILABLE = "available"  # nothing is built yet, and the suite's mirror answers
    UNAVAILABLE = "not available"
    FAILED = "not built"  # the image is there, without this engine
    BROKEN = "broken"  # known not to do its work
    NONE = "none"  # the release has no such engine


@dataclass(frozen=True, slots=True)
class Place:
    """One engine on one release."""

    kamailio: str
    suite: str
    engine: str
    state: State
    why: str = ""
    variant: str = ""  # patches that the build has, and why
    limits: tuple[str, ...] = ()  # what it cannot do with some routing, or at its end


def places(workshop: Workshop) -> Iterator[Place]:
    """All of versions.toml, release by release. Asks the engine, and the mirror about what is not built."""
    facts = versions.load()
    for release, known in facts.kamailio.items():
        recipe = images.kamailio(release)
        built = workshop.built(recipe) if workshop.current(recipe) else None
        gone = "" if built else images.unavailable(known.suite)
        for engine in facts.engine:
            state, why = State.BUILT if built else State.AVAILABLE, ""
            if engine not in known.engines:
                state = State.NONE
            elif gone:
                state, why = State.UNAVAILABLE, gone
            elif built and (lacks := built.lacks(engine)):
                state, why = State.FAILED, lacks
            elif engine in known.broken:
                state, why = State.BROKEN, known.broken[engine]
            limits = (
                *(f"with {name}: {what}" for name, what in known.broken.items() if name.endswith(f"/{engine}")),
                *([f"Kamailio ends with exit code {known.ends[engine]}"] if engine in known.ends else ()),
            )
            yield Place(release, known.suite, engine, state, why, known.variant, limits)
