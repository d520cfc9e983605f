"""Faults of the suite (tests/faults), once each, in mid run: nothing wrong looks right, nothing stays."""

import random
import re

import docker
import pytest

from lab.errors import Exit
from lab.images import Built
from tests.docker.driver import FIRST_SLICE
from tests.faults.faults import FAULTS
from tests.faults.scene import Scene
from tests.faults.strike import Outcome, strike

BY_NAME = {fault.name: fault for fault in FAULTS}


def during_slices(scene: Scene) -> None:
    """When one is sealed, and the next one's SIPp sends."""
    scene.running.wait_for(FIRST_SLICE)
    scene.lab.under_load(scene.running)


def struck(client: docker.DockerClient, name: str) -> Outcome:
    """What came of a fault: whatever it is, no aim is broken."""
    outcome = strike(BY_NAME[name], during_slices, random.Random(1), client, resume=False)  # noqa: S311  (no secret)
    assert outcome.broken == []
    assert outcome.sealed
    return outcome


@pytest.mark.parametrize(
    ("name", "codes", "word"),
    [
        ("Kamailio's first process is killed", {Exit.SETUP}, "Kamailio"),
        ("MySQL is killed", {Exit.SETUP, Exit.INVALID}, "mysql|database"),
        ("docker kill: SIPp", {Exit.SETUP, Exit.INVALID}, "SIPp"),
        ("disk full", {Exit.SETUP}, "No space left on device.*--results"),
    ],
)
def test_what_goes_wrong_in_mid_run_is_seen_and_explained(
    client: docker.DockerClient, built: dict[str, Built], name: str, codes: set[Exit], word: str
) -> None:
    """And of what was sealed before nothing is lost."""
    assert built
    outcome = struck(client, name)
    assert outcome.code in codes
    assert re.search(word, outcome.told, re.DOTALL), outcome.told


def test_a_torn_line_costs_its_slice(client: docker.DockerClient, built: dict[str, Built]) -> None:
    """It was hit while it was measured, and does not count; it is run again."""
    assert built
    outcome = struck(client, "log: half a line")
    assert outcome.hit == 1
    assert "torn latency line" in outcome.told
    assert outcome.code in {Exit.OK, Exit.INVALID}  # a busy machine may spoil the repeat
