"""Plans of earlier versions, form by form; whole runs of them are in tests/golden/schemas."""

import copy
from typing import Any

import pytest

from lab import older

SLICES = [
    {"round": 1, "position": place, "cell": cell, "warmup": place < 4, "calls": 300, "rate_per_s": 200}
    for place, cell in enumerate(("native-a", "native-b", "native-a-aa") * 2, 1)
]
FIRST: dict[str, Any] = {
    "cells": [
        {"name": name, "engine": "native", "kamailio": "6.0.1", "routing": name[-1]}
        for name in ("native-a", "native-b", "native-a-aa")
    ],
    "baseline": "native-a",
    "scenario": {"name": "register", "legs": []},
    "children": 2,
    "subscribers": 7,
    "rounds": [{"number": 1, "slices": SLICES}],
}
SECOND: dict[str, Any] = {
    **{name: value for name, value in FIRST.items() if name not in {"scenario", "baseline"}},
    "cells": [{**one, "scenario": "register", "baseline": "native-a"} for one in FIRST["cells"]],
    "aa_cell": "native-a-aa",
    "scenarios": [FIRST["scenario"]],
}


def upgraded(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  (whatever JSON has)
    """A plan of version 2 with something else in it, in this form."""
    return older.plan(copy.deepcopy(SECOND) | changes)


def cell(plan: dict[str, Any], name: str) -> dict[str, Any]:
    """One of its cells."""
    (found,) = [one for one in plan["cells"] if one["name"] == name]
    return dict(found)


def test_the_twin_of_version_1_is_known_by_its_name() -> None:
    """Another routing of the same engine is none."""
    assert older.plan(copy.deepcopy(FIRST))["aa_cell"] == "native-a-aa"


def test_workers_subscribers_and_rate_become_each_cells() -> None:
    """As they were in its timed slices."""
    found = cell(upgraded(), "native-b")
    assert (found["children"], found["subscribers"], found["rate_per_s"], found["slice_seconds"]) == (2, 7, 200, 1.5)


def test_what_is_known_of_cells_stays_known() -> None:
    """Whether the plan said it, as at first, or each cell, as later."""
    by_plan = upgraded(known_broken={"native-b": "it crashes"}, known_ends={"native-b": 139})
    assert cell(by_plan, "native-b") | {"known_broken": "it crashes", "known_end": 139} == cell(by_plan, "native-b")
    cells = [one | {"known_broken": "it crashes", "known_end": 139} for one in SECOND["cells"]]
    by_cell = upgraded(cells=cells)
    assert cell(by_cell, "native-a")["known_broken"] == "it crashes"
    assert cell(by_cell, "native-a")["known_end"] == 139


@pytest.mark.parametrize(
    ("log", "traced", "way"), [("file", False, "log"), ("file", True, "trace"), ("tee", True, "page")]
)
def test_how_a_specimen_was_observed_becomes_each_cells(log: str, *, traced: bool, way: str) -> None:
    """While workers and subscribers were the plan's, and after that."""
    specimen = {"order": "in turn", "log": log, "trace_messages": traced}
    found = upgraded(specimen=specimen)
    assert {one["observe"] for one in found["cells"]} == {way}
    assert found["specimen"] == {"order": "in turn"}
    cells = [{name: value for name, value in one.items() if name != "observe"} for one in found["cells"]]
    again = older.plan(found | {"specimen": specimen, "cells": cells})
    assert {one["observe"] for one in again["cells"]} == {way}
    assert again["specimen"] == {"order": "in turn"}


@pytest.mark.parametrize("change", [{"together": True}, {"cycle_msec": 100}, {"specimen": {"log": "tee"}}])
def test_what_has_no_form_any_more_is_refused(change: dict[str, Any]) -> None:
    """It would be read as something that it was not."""
    with pytest.raises(ValueError, match=next(iter(change))):
        upgraded(**change)


def test_a_plan_of_this_version_stays_as_it_is() -> None:
    """The very same."""
    plan = upgraded()
    assert older.plan(plan) is plan
