"""Who gets which CPUs, and the kernel's list form of them."""

import random

import pytest

from lab.cores import auto, format_list, parse_list, shared
from lab.model import Role

OTHERS = (Role.MYSQL, Role.SIPP, Role.DRIVER)


@pytest.mark.parametrize(
    ("allowed", "kamailio", "others"),
    [
        ((0, 1), (1,), (0,)),
        ((0, 1, 2), (2,), (0, 1)),
        ((0, 1, 2, 3), (2, 3), (0, 1)),
        (tuple(range(8)), (4, 5, 6, 7), (0, 1, 2, 3)),
        (tuple(range(64)), (60, 61, 62, 63), tuple(range(60))),
        ((3, 7, 11, 40), (11, 40), (3, 7)),
    ],
)
def test_kamailio_has_cpus_of_its_own(
    allowed: tuple[int, ...], kamailio: tuple[int, ...], others: tuple[int, ...]
) -> None:
    """Half of them, at most four as in 2018; whatever loads or watches it runs on the rest."""
    layout = auto(allowed)
    assert layout.cpus == {Role.KAMAILIO: kamailio, **dict.fromkeys(OTHERS, others)}
    assert layout.all == set(allowed)


def test_one_cpu_is_shared() -> None:
    """There is nothing to divide; the layout says so."""
    assert auto((5,)) == shared((5,))
    assert auto((5,)).profile == "shared"


def test_shared_gives_everything_to_all() -> None:
    """As the 2018 machine did."""
    assert shared((0, 1, 2)).cpus == dict.fromkeys(Role, (0, 1, 2))


def test_a_layout_speaks_the_kernels_language() -> None:
    """A cpuset in Docker's terms."""
    layout = auto((0, 1, 2, 3, 4, 5))
    assert [layout.text(role) for role in (Role.KAMAILIO, Role.SIPP)] == ["3-5", "0-2"]


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", (0,)), ("0-2,5", (0, 1, 2, 5)), ("0,2,4-5", (0, 2, 4, 5)), ("7-8,10-12", (7, 8, 10, 11, 12))],
)
def test_the_list_form(text: str, cpus: tuple[int, ...]) -> None:
    """Both ways."""
    assert parse_list(text) == cpus
    assert format_list(cpus) == text


@pytest.mark.parametrize(("text", "cpus"), [("5,0-2", (0, 1, 2, 5)), ("1,1,0-1", (0, 1)), ("2-2\n", (2,))])
def test_reading_is_more_liberal_than_writing(text: str, cpus: tuple[int, ...]) -> None:
    """Any order, overlaps, the kernel's newline."""
    assert parse_list(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "3-1", "1:2", "0-1000000"])
def test_what_is_no_list(text: str) -> None:
    """An empty cpuset would mean every CPU, so nothing is ever read as nothing."""
    with pytest.raises(ValueError, match="a list of CPUs"):
        parse_list(text)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_written_is_read_again(seed: int) -> None:
    """Any set of CPUs, in any order."""
    chance = random.Random(seed)  # noqa: S311  (reproducible, no secret)
    cpus = chance.sample(range(70), chance.randint(1, 60))
    assert parse_list(format_list(tuple(cpus))) == tuple(sorted(cpus))
