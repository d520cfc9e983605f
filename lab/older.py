"""What earlier versions wrote, in the form of this one. Pure; docs/dataset.md says which versions there were.

Forms are told by what is in them: evidence of the first two versions does not say which it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lab.model import Plan

Content = dict[str, Any]


def plan(content: Content) -> Content:
    """A plan as JSON; one of this version stays as it is."""
    if "scenario" in content:
        content = _each_its_scenario(content)
    if "children" in content:
        content = _each_its_load(content)
    return content


# What stands here was written in other forms once.
FORMS: Mapping[type, Callable[[Content], Content]] = {Plan: plan}


def _each_its_scenario(first: Content) -> Content:
    """Version 1 had one scenario and one baseline for all cells, and its twin was known by being the same."""
    content = dict(first)
    scenario, baseline = content.pop("scenario"), content.pop("baseline")
    cells = [{**cell, "scenario": scenario["name"], "baseline": baseline} for cell in content["cells"]]
    same = next(cell for cell in cells if cell["name"] == baseline)["engine"]
    twin = next(cell["name"] for cell in cells if cell["engine"] == same and cell["name"] != baseline)
    return {**content, "scenarios": [scenario], "cells": cells, "aa_cell": twin}


def _each_its_load(second: Content) -> Content:
    """Versions 1 and 2, until cells might differ in workers, subscribers and rate."""
    content = dict(second)
    same = {name: content.pop(name) for name in ("children", "subscribers")}
    broken, ends = content.pop("known_broken", {}), content.pop("known_ends", {})
    timed = [piece for each in content["rounds"] for piece in each["slices"] if not piece["warmup"]]
    cells = []
    for cell in content["cells"]:
        own = {**cell, **same, "known_broken": broken.get(cell["name"], ""), "known_end": ends.get(cell["name"], 0)}
        if piece := next((piece for piece in timed if piece["cell"] == cell["name"]), None):
            own |= {"rate_per_s": piece["rate_per_s"], "slice_seconds": piece["calls"] / piece["rate_per_s"]}
        if content.get("specimen"):
            own["observe"] = "page" if content["specimen"].get("log") == "tee" else "log"
        cells.append(own)
    return {**content, "cells": cells}
