"""Faults of the suite (tests/faults), once each, in mid run: nothing wrong looks right, nothing stays."""

import random
import re

import docker
import pytest

from lab.errors import Exit
from lab.images import Built
from tests.faults.faults import FAULTS
from tests.faults.scene import Scene
from tests.faults.strike import strike

BY_NAME = {fault.name: fault for fault in FAULTS}


def during_slices(scene: Scene) -> None:
    """When one is sealed, and the next one's SIPp sends."""
    scene.running.wait_for(r"^1/\d+ r01-s001")
    scene.lab.under_load(scene.running)


@pytest.mark.parametrize(
    ("name", "codes", "word"),
    [
        ("Kamailio's first process is killed", {Exit.SETUP}, "Kamailio"),
        ("MySQL is killed", {Exit.SETUP, Exit.INVALID}, "mysql|database"),
        ("docker kill: SIPp", {Exit.SETUP, Exit.INVALID}, "SIPp"),
        ("disk full", {Exit.SETUP}, "No space left on device.*--results"),
        ("log: half a line", {Exit.OK, Exit.INVALID}, ""),
    ],
)
def test_what_goes_wrong_in_mid_run_is_seen_and_explained(
    client: docker.DockerClient, built: dict[str, Built], name: str, codes: set[Exit], word: str
) -> None:
    """And of what was sealed before nothing is lost."""
    assert built
    chance = random.Random(1)  # noqa: S311  (no secret)
    outcome = strike(BY_NAME[name], during_slices, chance, client, resume=False)
    assert outcome.broken == []
    assert outcome.sealed
    assert outcome.code in codes
    assert re.search(word, outcome.told, re.DOTALL), outcome.told
