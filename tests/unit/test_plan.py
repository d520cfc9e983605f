"""From an experiment to its plan: which cells, in which order, and what is refused before anything starts."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from lab import experiment, plan, testing, versions
from lab.errors import BadInputError
from lab.model import Leg, LegRule, Plan, RoundPlan

ENGINES = ("native", "lua", "python3")
SOUND = """\
name = "mine"
engines = ["native", "lua"]
baseline = "native"
rounds = 3
slices = 4
warmup_slices = 2
slice_seconds = 1.5
rate_per_s = 401
repeats = 1
subscribers = 20
"""


def make(
    folder: Path,
    *changes: tuple[str, str],
    more: str = "",
    kamailio: str = "6.0.1",
    children: int = 2,
    inputs: str | None = None,
) -> Plan:
    """The plan of a sound experiment, with changes to its text."""
    text = SOUND + more
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text)
    asked = experiment.read(path)
    return plan.make(
        asked,
        engines=ENGINES,
        kamailio=kamailio,
        scenario=testing.SCENARIO,
        children=children,
        inputs={"scenario": "cafe" if inputs is None else inputs},
    )


def order(planned: RoundPlan) -> list[str]:
    """Cells in the order of their slices."""
    return [piece.cell for piece in planned.slices]


def test_the_same_file_gives_the_same_plan(tmp_path: Path) -> None:
    """Whenever and wherever it is made; the hash says so."""
    (tmp_path / "elsewhere").mkdir()
    assert make(tmp_path) == make(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rounds = 3", "rounds = 4"),
        ("rate_per_s = 401", "rate_per_s = 402"),
        ("repeats = 1", "repeats = 2"),
        ("subscribers = 20", "subscribers = 21"),
        ('baseline = "native"', 'baseline = "lua"'),
        ("seed = 1", "seed = 2"),
        ("steal_share = 0.05", "steal_share = 0.06"),
    ],
)
def test_the_hash_covers_all_that_will_happen(tmp_path: Path, old: str, new: str) -> None:
    """Two runs with one hash did the same."""
    more = "seed = 1\n[limits]\nsteal_share = 0.05\n"
    assert make(tmp_path, more=more).hash != make(tmp_path, (old, new), more=more).hash


def test_the_hash_covers_what_the_file_leaves_to_the_machine(tmp_path: Path) -> None:
    """Workers by CPUs, and the release; and what lies in the files that it names."""
    changed = make(tmp_path, children=3), make(tmp_path, kamailio="6.1.0"), make(tmp_path, inputs="d00d")
    assert len({plan.hash for plan in (make(tmp_path), *changed)}) == 4


def test_a_round_whose_log_would_not_fit_is_refused(tmp_path: Path) -> None:
    """By the line to change: half-way through, lines would be lost."""
    with pytest.raises(BadInputError, match=r"mine\.toml:5: slices: a round may log some 1\.\d GB") as refused:
        make(tmp_path, ("slices = 4", "slices = 1500"))
    assert "more rounds" in refused.value.remedy


def test_the_room_for_a_log_is_that_of_the_testbed() -> None:
    """compose.yaml says how large the volume is."""
    volume = yaml.safe_load((versions.ROOT / "compose.yaml").read_text())["volumes"]["log"]
    assert volume["driver_opts"]["o"].startswith(f"size={plan.LOG_VOLUME_BYTES // 2**30}g,")


def test_another_seed_gives_another_order(tmp_path: Path) -> None:
    """Of the same slices."""
    one, two = (make(tmp_path, more=f"seed = {seed}\n") for seed in (1, 2))
    assert [order(r) for r in one.rounds] != [order(r) for r in two.rounds]
    assert [Counter(order(r)) for r in one.rounds] == [Counter(order(r)) for r in two.rounds]


def test_no_two_rounds_have_the_same_order(tmp_path: Path) -> None:
    """A fixed order would give some cell the same place after a fresh start every time."""
    assert all(order(one) != order(two) for one, two in pairwise(make(tmp_path).rounds))


def test_each_block_has_every_cell_once(tmp_path: Path) -> None:
    """Neighbours in time are compared, so no cell may run away from the others."""
    made = make(tmp_path)
    names = sorted(cell.name for cell in made.cells)
    for planned in made.rounds:
        cells = order(planned)
        blocks = [cells[start : start + len(names)] for start in range(0, len(cells), len(names))]
        assert len(blocks) == 6  # 2 to warm up and 4
        assert all(sorted(block) == names for block in blocks)


def test_warm_up_comes_first(tmp_path: Path) -> None:
    """As many slices of each cell as the file says, and no later one."""
    for planned in make(tmp_path).rounds:
        assert [piece.warmup for piece in planned.slices] == [True] * 6 + [False] * 12


def test_a_slice_knows_its_place_and_its_load(tmp_path: Path) -> None:
    """Positions count from 1 in every round; the calls are those of the planned time, to a whole one."""
    for number, planned in enumerate(make(tmp_path).rounds, start=1):
        assert [piece.position for piece in planned.slices] == list(range(1, 19))
        assert {(piece.round, piece.calls, piece.rate_per_s) for piece in planned.slices} == {(number, 602, 401)}


def test_a_slice_has_at_least_one_call(tmp_path: Path) -> None:
    """However short it is."""
    made = make(tmp_path, ("slice_seconds = 1.5", "slice_seconds = 0.001"))
    assert made.rounds[0].slices[0].calls == 1


def test_slices_have_ids_of_their_own_which_sort_by_time(tmp_path: Path) -> None:
    """They name folders and Call-IDs."""
    ids = [piece.id for planned in make(tmp_path).rounds for piece in planned.slices]
    assert ids == sorted(set(ids))


def test_the_baseline_runs_twice(tmp_path: Path) -> None:
    """The A/A cell is the baseline under another name, and the last cell."""
    made = make(tmp_path, ('baseline = "native"', 'baseline = "lua"'))
    assert [cell.name for cell in made.cells] == ["native", "lua", "lua-aa"]
    assert made.baseline == "lua"
    assert replace(made.cells[2], name="lua") == made.cells[1]


def test_a_list_of_routings_gives_the_product(tmp_path: Path) -> None:
    """Every engine with every routing; the last part of a path is the routing's name."""
    more = 'routing = ["parity", "../mine/lean"]\n'
    made = make(tmp_path, ('baseline = "native"', 'baseline = "lua-lean"'), more=more)
    assert [(cell.name, cell.engine, cell.routing) for cell in made.cells] == [
        ("native-parity", "native", "parity"),
        ("lua-parity", "lua", "parity"),
        ("native-lean", "native", "../mine/lean"),
        ("lua-lean", "lua", "../mine/lean"),
        ("lua-lean-aa", "lua", "../mine/lean"),
    ]


@pytest.mark.parametrize(
    ("change", "more", "problem"),
    [
        (('"lua"]', '"luna"]'), "", "mine.toml:2: engines: no engine 'luna' on Kamailio 6.0.1"),
        (('baseline = "native"', 'baseline = "naive"'), "", "mine.toml:3: baseline: 'naive' is no cell"),
        (('"lua"]', '"native"]'), "", "mine.toml:2: engines: cells are not distinct"),
        (('baseline = "native"', 'baseline = "native-a"'), 'routing = ["a", "x/a"]', "cells are not distinct"),
        # The A/A cell of the first would be called as the second.
        (('baseline = "native"', 'baseline = "native-a"'), 'routing = ["a", "a-aa"]', "cells are not distinct"),
        (('baseline = "native"', 'baseline = "native-a"'), 'routing = ["a", "b.c"]', "mine.toml:11: routing: no cell"),
    ],
)
def test_what_cannot_be_planned_is_refused(tmp_path: Path, change: tuple[str, str], more: str, problem: str) -> None:
    """By file, line and key, with what there is instead."""
    with pytest.raises(BadInputError) as caught:
        make(tmp_path, change, more=more)
    assert problem in str(caught.value)


def test_an_unknown_engine_gets_the_known_ones(tmp_path: Path) -> None:
    """Those of the release that was asked for."""
    with pytest.raises(BadInputError) as caught:
        make(tmp_path, ('"lua"]', '"luna"]'))
    assert caught.value.remedy == "there are: native, lua, python3"


def test_once_more_is_the_same_slice_at_a_later_place(tmp_path: Path) -> None:
    """Another id, so that nothing is written over."""
    first = make(tmp_path).rounds[0].slices[0]
    second = plan.again(first, position=19)
    third = plan.again(second, position=20)
    assert replace(second, position=first.position, attempt=1) == first
    assert [piece.id.partition(piece.cell)[2] for piece in (first, second, third)] == ["", "-again1", "-again2"]
    assert first.id < second.id < third.id


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A scenario with its declaration beside it."""
    (tmp_path / "mine.xml").write_text("<scenario/>")
    declare(
        tmp_path / "mine.xml",
        '[legs]\nchallenge = { method = "INVITE", cseq = 3 }\nauthenticated = { method = "INVITE", cseq = 4 }\n',
    )
    return tmp_path / "mine.xml"


def declare(scenario: Path, text: str) -> None:
    """Write its declaration anew."""
    scenario.with_suffix(".toml").write_text(text)


def test_a_scenario_declares_its_legs(scenario: Path) -> None:
    """By method and CSeq; the file's name is the scenario's."""
    read = plan.read_scenario(scenario)
    assert read.name == "mine"
    assert read.legs == (LegRule(Leg.CHALLENGE, "INVITE", 3), LegRule(Leg.AUTHENTICATED, "INVITE", 4))


def test_a_scenario_without_its_declaration(scenario: Path) -> None:
    """It is named, with what should be in it."""
    scenario.with_suffix(".toml").unlink()
    with pytest.raises(BadInputError, match=r"mine\.toml: missing") as caught:
        plan.read_scenario(scenario)
    assert "[legs]" in caught.value.remedy


@pytest.mark.parametrize(
    ("declaration", "problem"),
    [
        ("[legs", "Expected"),
        ("", "legs"),
        ("legs = 3\n", "int"),
        ("[legs]\nchallenge = 1\n", "int"),
        ('[legs]\nchallenge = { method = "REGISTER" }\n', "cseq"),
        ('[legs]\nchallenge = { method = "REGISTER", cseq = "one" }\n', "one"),
        ('[legs]\nchalenge = { method = "REGISTER", cseq = 1 }\n', "chalenge"),
        ('[legs]\nchallenge = { method = "REGISTER", cseq = 1 }\n', "lacks authenticated"),
        ("[legs]\n", "lacks challenge, authenticated"),
    ],
)
def test_a_declaration_that_declares_nothing_sound(scenario: Path, declaration: str, problem: str) -> None:
    """The message names the file and what is wrong in it."""
    declare(scenario, declaration)
    with pytest.raises(BadInputError, match=rf"mine\.toml: .*{problem}"):
        plan.read_scenario(scenario)
