"""From an experiment to its plan: which cells, in which order, and what is refused before anything starts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from lab import experiment, plan, testing, versions
from lab.errors import BadInputError
from lab.model import Plan, RoundPlan, Scenario, Specimen
from lab.plan import Release

RELEASE = Release(("native", "lua", "python3"))
SCENARIOS = {"register": testing.SCENARIO}
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
    releases: Mapping[str, Release] | None = None,
    scenarios: Mapping[str, Scenario] = SCENARIOS,
    children: int = 2,
    inputs: str = "cafe",
) -> Plan:
    """The plan of a sound experiment, with changes to its text."""
    text = SOUND + more
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text)
    return plan.make(
        experiment.read(path),
        releases=releases or {"6.0.1": RELEASE},
        scenarios=scenarios,
        children=children,
        inputs={"scenario register": inputs},
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
    """Workers by CPUs, and the release; what a scenario declares; what lies in the files that it names."""
    declared = {"register": replace(testing.SCENARIO, counters={})}
    changed = make(tmp_path, children=3), make(tmp_path, releases={"6.1.0": RELEASE}), make(tmp_path, inputs="d00d")
    hashes = {plan.hash for plan in (make(tmp_path), *changed, make(tmp_path, scenarios=declared))}
    assert len(hashes) == 5


@pytest.mark.parametrize(("needed", "had"), [(0, 20), (20, 20), (1000, 1000)])
def test_a_scenario_has_the_subscribers_that_it_needs(tmp_path: Path, needed: int, had: int) -> None:
    """The file's, or more."""
    declared = {"register": replace(testing.SCENARIO, subscribers=needed)}
    assert {cell.subscribers for cell in make(tmp_path, scenarios=declared).cells} == {had}


@pytest.mark.parametrize(
    ("old", "new", "field", "cells"),
    [
        ("rounds = 3", 'rounds = 3\nmemory = ["qm", "fm"]', "memory", {"lua-qm": "qm", "lua-fm": "fm"}),
        ("rounds = 3", "rounds = 3\nchildren = [1, 4]", "children", {"lua-1workers": 1, "lua-4workers": 4}),
        ("= 20", "= [1, 20]", "subscribers", {"lua-1subscribers": 1, "lua-20subscribers": 20}),
        ("= 401", "= [100, 401]", "rate_per_s", {"lua-100ps": 100, "lua-401ps": 401}),
        ("= 1.5", "= [0.5, 2.0]", "slice_seconds", {"lua-0.5s": 0.5, "lua-2s": 2.0}),
    ],
)
def test_a_list_makes_cells(tmp_path: Path, old: str, new: str, field: str, cells: Mapping[str, object]) -> None:
    """One for each value, called after it, and compared with the baseline that has the same."""
    planned = make(tmp_path, (old, new))
    found = {cell.name: cell for cell in planned.cells if cell.engine == "lua"}
    assert {name: getattr(cell, field) for name, cell in found.items()} == cells
    assert {name.replace("lua", cell.baseline.partition("-")[0]) for name, cell in found.items()} == {
        cell.baseline for cell in found.values()
    }


def test_a_slice_has_its_own_cells_rate_and_length(tmp_path: Path) -> None:
    """So many calls as come in its time."""
    planned = make(tmp_path, ("= 401", "= [100, 401]"), ("= 1.5", "= [0.5, 2.0]"))
    calls = {piece.cell: (piece.rate_per_s, piece.calls) for piece in planned.rounds[0].slices}
    assert calls["lua-100ps-0.5s"] == (100, 50)
    assert calls["lua-401ps-2s"] == (401, 802)


def test_fewer_subscribers_than_a_scenario_needs_make_no_cell(tmp_path: Path) -> None:
    """Two of a list would be the same."""
    declared = {"register": replace(testing.SCENARIO, subscribers=50)}
    with pytest.raises(BadInputError, match="cells are not distinct"):
        make(tmp_path, ("= 20", "= [10, 20]"), scenarios=declared)


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
    assert made.aa_cell == "lua-aa"
    assert {cell.baseline for cell in made.cells} == {"lua"}
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


# --- factors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("", ["native", "lua"]),
        ('database = "mariadb"\n', ["native", "lua"]),
        ('database = ["mysql", "mariadb"]\n', ["native-mysql", "lua-mysql", "native-mariadb", "lua-mariadb"]),
        ('scenario = ["register", "a/b"]\n', ["native-register", "lua-register", "native-b", "lua-b"]),
        (
            'scenario = ["register", "a/b"]\ndatabase = ["mysql", "mariadb"]\n',
            [
                *("native-mysql-register", "lua-mysql-register", "native-mysql-b", "lua-mysql-b"),
                *("native-mariadb-register", "lua-mariadb-register", "native-mariadb-b", "lua-mariadb-b"),
            ],
        ),
    ],
)
def test_a_cell_is_called_after_its_engine_and_what_varies(tmp_path: Path, more: str, names: list[str]) -> None:
    """A factor of one value is the same for all, and in no name."""
    scenarios = {**SCENARIOS, "a/b": replace(testing.SCENARIO, name="b")}
    made = make(tmp_path, more=more, scenarios=scenarios)
    assert [cell.name for cell in made.cells] == [*names, f"{names[0]}-aa"]


def test_a_cell_has_its_value_of_every_factor(tmp_path: Path) -> None:
    """Release, database and scenario; the scenario by its own name, wherever its file lies."""
    more = 'database = ["mysql", "mariadb"]\nscenario = "../traffic/mine.xml"\n'
    scenarios = {"../traffic/mine.xml": replace(testing.SCENARIO, name="mine")}
    made = make(tmp_path, more=more, releases={"5.6.3": RELEASE}, scenarios=scenarios)
    assert [(cell.kamailio, cell.database, cell.scenario) for cell in made.cells[1:3]] == [
        ("5.6.3", "mysql", "mine"),
        ("5.6.3", "mariadb", "mine"),
    ]
    assert made.databases == ("mysql", "mariadb")
    assert made.scenario_of("lua-mariadb").name == "mine"


def test_a_log_that_is_switched_off_is_that_of_the_same_process(tmp_path: Path) -> None:
    """So that nothing but the log differs: each engine's own, and the A/A cell has its own Kamailio."""
    baseline = ('baseline = "native"', 'baseline = "native-log"')
    made = make(tmp_path, baseline, more='observe = ["no-log", "log"]\n')
    assert {cell.name: cell.shares for cell in made.cells} == {
        "native-no-log": "native-log",
        "lua-no-log": "lua-log",
        "native-log": "",
        "lua-log": "",
        "native-log-aa": "",
    }
    assert [cell.name for cell in made.hosts] == ["native-log", "lua-log", "native-log-aa"]
    assert (made.host("lua-no-log"), made.host("lua-log")) == ("lua-log", "lua-log")


def test_a_log_that_nobody_writes_cannot_be_switched_off(tmp_path: Path) -> None:
    """The file is told what is missing."""
    with pytest.raises(BadInputError, match=r"observe: 'no-log' is the Kamailio of 'log'") as caught:
        make(tmp_path, more='observe = "no-log"\n')
    assert caught.value.remedy == 'list both: observe = ["log", "no-log"]'


TWO = {"6.0.1": RELEASE, "5.6.3": RELEASE}
RELEASES = 'kamailio = ["6.0.1", "5.6.3"]\n'


def baselines(made: Plan) -> dict[str, str]:
    """What each cell is compared with."""
    return {cell.name: cell.baseline for cell in made.cells}


def test_an_engine_is_the_baseline_of_its_own_group(tmp_path: Path) -> None:
    """Lua with native on the same release; native itself from release to release, with the first."""
    made = make(tmp_path, more=RELEASES, releases=TWO)
    assert baselines(made) == {
        "native-6.0.1": "native-6.0.1",
        "lua-6.0.1": "native-6.0.1",
        "native-5.6.3": "native-6.0.1",
        "lua-5.6.3": "native-5.6.3",
        "native-6.0.1-aa": "native-6.0.1",
    }
    assert made.aa_cell == "native-6.0.1-aa"
    assert made.releases == ("6.0.1", "5.6.3")


def test_a_cell_is_the_baseline_of_all(tmp_path: Path) -> None:
    """Also of those of other releases."""
    made = make(tmp_path, ('baseline = "native"', 'baseline = "lua-5.6.3"'), more=RELEASES, releases=TWO)
    assert set(baselines(made).values()) == {"lua-5.6.3"}
    assert made.aa_cell == "lua-5.6.3-aa"


def test_a_baseline_that_a_group_lacks_is_refused(tmp_path: Path) -> None:
    """Python 3 as the baseline, and a release that has none; what there is is named."""
    releases = {"6.0.1": RELEASE, "5.6.3": Release(("native", "lua"))}
    engines = ('engines = ["native", "lua"]', 'engines = ["native", "python3"]')
    with pytest.raises(BadInputError, match=r"mine\.toml:3: baseline: 'python3' is no cell") as caught:
        make(tmp_path, engines, ('baseline = "native"', 'baseline = "python3"'), more=RELEASES, releases=releases)
    assert caught.value.remedy == (
        "cells: native-6.0.1, python3-6.0.1, native-5.6.3; or an engine that every group of cells has: native, python3"
    )


# --- what a release lacks -------------------------------------------------------------------------------------------


def test_an_engine_that_a_release_lacks_is_left_out_there(tmp_path: Path) -> None:
    """And said; elsewhere it is measured."""
    made = make(tmp_path, more=RELEASES, releases={"6.0.1": RELEASE, "5.6.3": Release(("native",))})
    assert [cell.name for cell in made.cells] == ["native-6.0.1", "lua-6.0.1", "native-5.6.3", "native-6.0.1-aa"]
    assert made.left_out == ("lua-5.6.3: Kamailio 5.6.3 has no engine lua",)
    assert {piece.cell for planned in made.rounds for piece in planned.slices} == {cell.name for cell in made.cells}


def test_an_engine_that_no_release_has_is_refused(tmp_path: Path) -> None:
    """With all that there are on any of them."""
    releases = {"6.0.1": Release(("native", "ruby")), "5.6.3": Release(("native", "sqlang"))}
    with pytest.raises(
        BadInputError, match=r"mine\.toml:2: engines: no engine 'lua' on Kamailio 6\.0\.1, 5\.6\.3"
    ) as no:
        make(tmp_path, more=RELEASES, releases=releases)
    assert no.value.remedy == "there are: native, ruby, sqlang"


def known(made: Plan) -> dict[str, tuple[str, int]]:
    """Cells of which something is known: what, and the exit code."""
    return {
        cell.name: (cell.known_broken, cell.known_end) for cell in made.cells if cell.known_broken or cell.known_end
    }


def test_what_is_known_of_an_engine_goes_by_cell(tmp_path: Path) -> None:
    """Broken on one release; its end fails there, too. The A/A cell of such an engine is as it is."""
    releases = {"6.0.1": RELEASE, "5.6.3": Release(RELEASE.engines, {"lua": "it leaks"}, {"lua": 139, "ruby": 1})}
    made = make(tmp_path, more=RELEASES, releases=releases)
    assert known(made) == {"lua-5.6.3": ("it leaks", 139)}
    alone = make(tmp_path, ('baseline = "native"', 'baseline = "lua"'), releases={"5.6.3": releases["5.6.3"]})
    assert list(known(alone)) == ["lua", "lua-aa"]


def test_what_is_known_of_an_engine_may_be_of_one_routing(tmp_path: Path) -> None:
    """Such as an example of the source tree, which has a fault that ours has not."""
    more = 'routing = ["parity", "upstream"]\n'
    made = make(tmp_path, more=more, releases={"6.0.1": Release(RELEASE.engines, {"upstream/lua": "a syntax error"})})
    assert known(made) == {"lua-upstream": ("a syntax error", 0)}


def test_a_plan_without_some_of_its_cells(tmp_path: Path) -> None:
    """As if they had never been: the order of the others stays; the reason is kept beside what was left out before."""
    made = make(tmp_path, more=RELEASES, releases={"6.0.1": RELEASE, "5.6.3": Release(("native",))})
    rest = plan.without(made, {"lua-6.0.1": "no image"})
    assert [cell.name for cell in rest.cells] == ["native-6.0.1", "native-5.6.3", "native-6.0.1-aa"]
    for before, after in zip(made.rounds, rest.rounds, strict=True):
        assert [piece for piece in before.slices if piece.cell != "lua-6.0.1"] == list(after.slices)
    assert rest.left_out == (*made.left_out, "lua-6.0.1: no image")
    assert plan.without(made, {}) == made
    assert rest.hash != made.hash


def test_what_is_compared_with_a_missing_cell_goes_with_it(tmp_path: Path) -> None:
    """However far: without the first native there is nothing to compare the others with."""
    made = make(tmp_path, more=RELEASES, releases=TWO)
    half = plan.without(made, {"native-5.6.3": "no source"})
    assert [cell.name for cell in half.cells] == ["native-6.0.1", "lua-6.0.1", "native-6.0.1-aa"]
    assert half.left_out[1:] == ("lua-5.6.3: native-5.6.3, which it is compared with, is left out",)
    none = plan.without(made, {"native-6.0.1": "no source"})
    assert none.cells == ()
    assert {line.partition(":")[0] for line in none.left_out} == {cell.name for cell in made.cells}


# --- a specimen -----------------------------------------------------------------------------------------------------


def test_a_specimen_may_have_its_cells_in_turn(tmp_path: Path) -> None:
    """All slices of one cell, then all of the next, as whoever it repeats has done; warm-up first of each."""
    made = make(tmp_path, more='[specimen]\norder = "in turn"\n')
    assert made.specimen == Specimen(order="in turn")
    assert made.repeats == 0  # shown as found: nothing is tried again until it looks better
    for planned in made.rounds:
        assert order(planned) == ["native"] * 6 + ["lua"] * 6 + ["native-aa"] * 6
        assert [piece.warmup for piece in planned.slices] == ([True] * 2 + [False] * 4) * 3
        assert [piece.position for piece in planned.slices] == list(range(1, 19))


def test_a_specimen_may_be_interleaved_all_the_same(tmp_path: Path) -> None:
    """As our own experiments are."""
    made = make(tmp_path, more="[specimen]\ncall_limit = 9\n")
    assert [order(planned) for planned in made.rounds] == [order(planned) for planned in make(tmp_path).rounds]


# --- the log --------------------------------------------------------------------------------------------------------


def test_what_a_run_logs_is_by_its_scenarios(tmp_path: Path) -> None:
    """A latency line a leg, or what the scenario says; each slice as often as it may be run; a specimen's once."""
    scenarios = {**SCENARIOS, "call": replace(testing.SCENARIO, name="call", log_bytes=1500)}
    more = 'scenario = ["register", "call"]\n'
    made = make(tmp_path, more=more, scenarios=scenarios)
    calls = Counter(made.scenario_of(p.cell).name for planned in made.rounds for p in planned.slices)
    assert plan.log_bytes(made) == 2 * 602 * (calls["register"] * 2 * 128 + calls["call"] * 1500)
    specimen = make(tmp_path, more=f"{more}[specimen]\n", scenarios=scenarios)
    assert plan.log_bytes(specimen) * 2 == plan.log_bytes(made)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "more", "problem"),
    [
        (('"lua"]', '"luna"]'), "", "mine.toml:2: engines: no engine 'luna' on Kamailio 6.0.1"),
        (('baseline = "native"', 'baseline = "naive"'), "", "mine.toml:3: baseline: 'naive' is no cell"),
        (('"lua"]', '"native"]'), "", "mine.toml:2: engines: cells are not distinct"),
        (('baseline = "native"', 'baseline = "native-a"'), 'routing = ["a", "x/a"]', "cells are not distinct"),
        # The A/A cell of the first would be called as the second.
        (('baseline = "native"', 'baseline = "native-a"'), 'routing = ["a", "a-aa"]', "cells are not distinct"),
        (('baseline = "native"', 'baseline = "native-a"'), 'routing = ["a", "B"]', "mine.toml:11: routing: no cell"),
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


# --- a rate that is found later -------------------------------------------------------------------------------------

AUTO = ("rate_per_s = 401", 'rate_per_s = "auto"')


def test_an_open_rate_is_settled_later(tmp_path: Path) -> None:
    """The same cells and order, in slices of the same length; the hash is of the rate that was found."""
    drawn = make(tmp_path, AUTO, more="rate_share = 0.4\n")
    settled = plan.at_rate(drawn, 612)
    assert drawn.rate_share == 0.4
    assert {cell.rate_per_s for cell in settled.cells} == {612}
    assert {(piece.rate_per_s, piece.calls) for one in settled.rounds for piece in one.slices} == {(612, 918)}
    assert [order(one) for one in settled.rounds] == [order(one) for one in drawn.rounds]
    assert len({drawn.hash, settled.hash, plan.at_rate(drawn, 613).hash}) == 3
    assert plan.at_rate(drawn, 612) == settled


def test_a_rate_that_is_given_has_no_share(tmp_path: Path) -> None:
    """There is nothing to search then."""
    assert make(tmp_path).rate_share is None


def test_a_rate_that_logs_too_much_is_refused_when_it_is_known(tmp_path: Path) -> None:
    """A round's log must fit into its volume, whoever chose the rate."""
    drawn = make(tmp_path, AUTO, ("slice_seconds = 1.5", "slice_seconds = 100.0"))
    with pytest.raises(BadInputError, match=r"at the 9000 calls/s that were found, a round may log some") as caught:
        plan.at_rate(drawn, 9000)
    assert "shorter slices" in caught.value.remedy


def test_a_specimen_has_the_rate_of_what_it_repeats(tmp_path: Path) -> None:
    """Or it would not repeat it."""
    with pytest.raises(BadInputError, match="rate_per_s: a specimen has the rate"):
        make(tmp_path, AUTO, more="[specimen]\n")


def test_each_sipp_has_subscribers_of_its_own(tmp_path: Path) -> None:
    """A contact has its port."""
    assert make(tmp_path, more="sipp_processes = 9\n").sipp_processes == 9
    with pytest.raises(BadInputError, match="sipp_processes: 4 processes cannot share 3 subscribers"):
        make(tmp_path, ("subscribers = 20", "subscribers = 3"), more="sipp_processes = 4\n")


def test_a_cell_by_itself_has_what_it_needs(tmp_path: Path) -> None:
    """Its scenario, and the one that sets it up; no slices, and a hash of its own."""
    refresh = Scenario("refresh", testing.SCENARIO.legs, setup="register")
    both = {"refresh": refresh, **SCENARIOS}
    drawn = make(tmp_path, more='scenario = ["register", "refresh"]\n', scenarios=both)
    alone = plan.only(drawn, drawn.cell("lua-refresh"))
    assert [cell.name for cell in alone.cells] == ["lua-refresh"]
    assert {one.name for one in alone.scenarios} == {"refresh", "register"}
    assert [one.name for one in plan.only(drawn, drawn.cell("lua-register")).scenarios] == ["register"]
    assert alone.rounds == ()
    assert alone.hash != drawn.hash


def test_a_cell_by_itself_takes_no_turns(tmp_path: Path) -> None:
    """There is nobody to take them with."""
    drawn = make(tmp_path, more="turn_msec = 100\n")
    assert plan.only(drawn, drawn.cell("lua")).turn_msec == 0


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("[specimen]\n", "a specimen's slices are one cell's each"),
        ("slice_seconds = [1.0, 2.0]\n", "their slices have the same length"),
        ('observe = ["log", "no-log"]\n', "one of them a slice"),
    ],
)
def test_what_cannot_take_turns_is_refused(tmp_path: Path, more: str, problem: str) -> None:
    """A specimen has its own order, and a Kamailio that serves two cells has one log."""
    assert make(tmp_path, more="turn_msec = 100\n").turn_msec == 100
    with pytest.raises(BadInputError, match="a turn has at least 20 ms"):
        make(tmp_path, more="turn_msec = 19\n")
    removed = ("slice_seconds = 1.5\n", "") if "slice_seconds" in more else ("", "")
    with pytest.raises(BadInputError, match=problem):
        make(tmp_path, removed, ("baseline = ", "turn_msec = 100\nbaseline = "), more=more)


# --- looks ------------------------------------------------------------------------------------------------------------


def test_looks_are_declared_with_the_alpha_that_they_take(tmp_path: Path) -> None:
    """Both are in the plan, and so in its hash; without them nothing changes."""
    drawn = make(tmp_path, more="[stop]\nlooks = [2, 3]\nhalf_width = 0.02\n")
    assert (drawn.looks, drawn.half_width) == ((2, 3), 0.02)
    assert 0.025 < drawn.alpha < 0.05
    plain = make(tmp_path)
    assert (plain.looks, plain.alpha, plain.half_width, plain.stopped_after) == ((), 0.05, None, 0)
    assert drawn.hash != plain.hash


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ("[2]", "the last look is after the last round, which is number 3"),
        ("[3, 2]", "numbers of rounds that rise"),
        ("[1, 3]", "no interval"),
        ("[]", "numbers of rounds that rise"),
        ('"often"', "list"),
        ("[0, 3]", "greater than 0"),
    ],
)
def test_looks_that_will_not_do_are_told_with_their_line(tmp_path: Path, looks: str, said: str) -> None:
    """Before anything starts."""
    with pytest.raises(BadInputError, match=rf"mine\.toml:12: .*looks.*{said}"):
        make(tmp_path, more=f"[stop]\nlooks = {looks}\n")
