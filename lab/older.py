"""What earlier versions wrote, in the form of this one. Pure; docs/dataset.md says which versions there were.

Forms are told by what is in them: evidence of the first two versions does not say which it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lab.model import Plan

Content = dict[str, Any]


def plan(content: Content) -> Content:
    """A plan as JSON; one of this version stays as it is. What cannot be said in this form is a ValueError."""
    for gone, why in _GONE.items():
        if gone in content:
            raise ValueError(f"{gone}: {why}")
    for is_older, upgrade in _STEPS:
        if is_older(content):
            content = upgrade(content)
    return content


# What stands here was written in other forms once.
FORMS: Mapping[type, Callable[[Content], Content]] = {Plan: plan}

# Ways to run cells in the same seconds that were tried for some hours on 2026-11-26, and in which nothing landed.
_GONE = dict.fromkeys(("together", "cycle_msec"), "cells had no turns of their own then")


def _each_its_scenario(first: Content) -> Content:
    """Version 1 had one scenario and one baseline for all cells, and the baseline's twin was known by its name."""
    content = dict(first)
    scenario, baseline = content.pop("scenario"), content.pop("baseline")
    cells = [{**cell, "scenario": scenario["name"], "baseline": baseline} for cell in content["cells"]]
    (twin,) = [cell["name"] for cell in cells if cell["name"] == f"{baseline}-aa"]
    return {**content, "scenarios": [scenario], "cells": cells, "aa_cell": twin}


def _each_its_load(second: Content) -> Content:
    """Versions 1 and 2, until cells might differ in workers, subscribers and rate, and what is known was theirs."""
    content = dict(second)
    same = {name: content.pop(name) for name in ("children", "subscribers")}
    broken, ends = content.pop("known_broken", {}), content.pop("known_ends", {})
    timed = [piece for each in content["rounds"] for piece in each["slices"] if not piece["warmup"]]
    cells = []
    for cell in content["cells"]:
        known = {"known_broken": broken.get(cell["name"], ""), "known_end": ends.get(cell["name"], 0)}
        piece = next((piece for piece in timed if piece["cell"] == cell["name"]), None)
        load = (
            {"rate_per_s": piece["rate_per_s"], "slice_seconds": piece["calls"] / piece["rate_per_s"]} if piece else {}
        )
        cells.append({**known, **cell, **same, **load})
    return {**content, "cells": cells}


def _each_its_observation(second: Content) -> Content:
    """Version 2, until how a cell is observed was a factor: a specimen had it for all."""
    specimen = dict(second["specimen"])
    seen = specimen.pop("log", "file"), specimen.pop("trace_messages", False)
    way = {("file", False): "log", ("file", True): "trace", ("tee", True): "page"}.get(seen)
    if not way:
        raise ValueError(f"specimen: log and trace_messages: {seen}")
    cells = [{**cell, "observe": way} for cell in second["cells"]]
    return {**second, "specimen": specimen, "cells": cells}


_STEPS: tuple[tuple[Callable[[Content], bool], Callable[[Content], Content]], ...] = (
    (lambda content: "scenario" in content, _each_its_scenario),
    (lambda content: "children" in content, _each_its_load),
    (lambda content: "log" in (content.get("specimen") or {}), _each_its_observation),
)
