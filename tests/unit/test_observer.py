"""What measuring costs: a run whose ways of being observed have known costs, and the page about it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab import frames, observer, summary, testing
from lab.errors import BadInputError
from lab.model import Plan, SliceRecord, Worker
from lab.observer import Observer
from lab.report import observer as page

BARE = testing.plan(engines=("native-log", "native-no-log", "native-pipe"), rounds=3, slices=1, calls=20)
WAYS = {"native-log": "log", "native-no-log": "no-log", "native-pipe": "pipe", "native-log-aa": "log"}
PLAN = replace(
    BARE,
    cells=tuple(
        replace(
            cell,
            engine="native",
            observe=WAYS[cell.name],
            shares="native-log" if cell.name == "native-no-log" else "",
        )
        for cell in BARE.cells
    ),
)
# usec a call, of the container and of its workers
CPU = {"native-log": (200, 100), "native-no-log": (180, 80), "native-pipe": (300, 110), "native-log-aa": (200, 100)}


def spent(record: SliceRecord) -> SliceRecord:
    """With CPU times as above, a little more in each round; a warm-up takes longer."""
    container, workers = (
        (usec + record.plan.round) * (3 if record.plan.warmup else 1)
        for usec in CPU[record.plan.cell.replace("lua", "native")]
    )
    clocks = {testing.WORKERS[0]: Worker(workers * 1000 * record.plan.calls, 0), testing.WORKERS[1]: Worker(0, 0)}
    sipp = (50 + record.plan.round) * record.plan.calls
    after = replace(record.after, cpu_usec=container * record.plan.calls, workers=clocks, sipp_cpu_usec=sipp)
    return replace(record, after=after)


def measured(folder: Path, plan: Plan = PLAN) -> Path:
    """The run's folder, with frames and summary."""
    run = testing.run(folder, plan, [(spent(record), log) for record, log in testing.slices(plan)])
    frames.write(run)
    summary.write(run)
    return run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Observer:
    """What is found in it."""
    return observer.read(measured(tmp_path_factory.mktemp("results")))


def test_each_way_is_set_beside_the_log(found: Observer) -> None:
    """By CPU time always, by legs where both have them; the A/A cell with its own twin."""
    legs = ("challenge", "authenticated", "registration")
    everywhere = {(cell, measure) for cell in WAYS if cell != "native-log" for measure in observer.CPU}
    logged = {(cell, leg) for cell in ("native-pipe", "native-log-aa") for leg in legs}
    assert {(cost.cell, cost.measure) for cost in found.costs} == everywhere | logged
    assert {cost.against for cost in found.costs} == {"native-log"}
    assert found.valid


@pytest.mark.parametrize(
    ("cell", "measure", "ratio"),
    [
        ("native-no-log", "container", 182 / 202),
        ("native-no-log", "workers", 82 / 102),
        ("native-pipe", "container", 302 / 202),
        ("native-pipe", "workers", 112 / 102),
    ],
)
def test_a_ratio_is_of_cpu_time_a_call(found: Observer, cell: str, measure: str, ratio: float) -> None:
    """Of timed slices, over rounds."""
    (cost,) = [cost for cost in found.costs if (cost.cell, cost.measure) == (cell, measure)]
    assert cost.found.ratio == pytest.approx(ratio, rel=1e-3)
    assert cost.found.n_rounds == 3
    assert (cost.found.ci_low or 0) < ratio < (cost.found.ci_high or 0)


def test_times_are_those_of_a_call(found: Observer) -> None:
    """In usec; a cell without lines has no legs."""
    assert found.usec["native-log"]["container"] == pytest.approx(202)
    assert found.usec["native-no-log"] == pytest.approx({"container": 182, "workers": 82, "sipp": 52})
    legs = {"challenge", "authenticated", "registration"}
    assert found.usec["native-pipe"].keys() == {"container", "workers", "sipp", *legs}


def test_an_engine_is_set_beside_its_own_log(tmp_path: Path) -> None:
    """Whatever the run's baseline is."""
    lua = [replace(cell, name=cell.name.replace("native", "lua"), engine="lua") for cell in PLAN.cells[:3]]
    lua[1] = replace(lua[1], shares="lua-log")
    names = {cell.name: cell.name.replace("native", "lua") for cell in PLAN.cells[:3]}
    rounds = tuple(
        replace(
            planned,
            slices=(
                *planned.slices,
                *(replace(p, cell=names[p.cell], position=p.position + 50) for p in planned.slices if p.cell in names),
            ),
        )
        for planned in PLAN.rounds
    )
    plan = replace(PLAN, cells=(*PLAN.cells[:3], *lua, PLAN.cells[3]), rounds=rounds)
    pairs = {(cost.cell, cost.against) for cost in observer.read(measured(tmp_path, plan)).costs}
    assert {pair for pair in pairs if pair[0].startswith("lua")} == {("lua-no-log", "lua-log"), ("lua-pipe", "lua-log")}


def test_a_run_of_something_else_is_refused(tmp_path: Path) -> None:
    """With what helps."""
    plan = testing.plan(engines=("native", "lua"), rounds=1, slices=1)
    run = testing.run(tmp_path, plan)
    with pytest.raises(BadInputError, match="no two of its cells differ in how they are observed") as caught:
        observer.read(run)
    assert "experiments/observer.toml" in caught.value.remedy


def test_the_page_has_ratios_and_times(found: Observer) -> None:
    """What there is not is a dash, and never a zero."""
    text = re.sub(" +", " ", page.markdown(found))  # whatever its columns are wide
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| native")}
    assert lines["native-no-log / native-log"].startswith(
        "| native-no-log / native-log | 0.901, 0.900 to 0.902 (0.2 %) |"
    )
    assert lines["native-no-log / native-log"].endswith(" | - | - | - |")
    assert lines["native-no-log"] == "| native-no-log | 182.0 | 82.0 | 52.0 | - | - | - |"
    assert "native-log-aa / native-log (A/A)" in lines
    assert "INVALID" not in text
    assert "INVALID" in page.markdown(replace(found, valid=False))
