"""The wall: left of it nothing loads pandas, right of it nothing loads Docker or MySQL's connector.

So whoever has a results folder can judge it without an engine, and the driver stays small beside what it measures.
"""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from lab.versions import ROOT

PANDAS = {"pandas", "pyarrow"}
DOCKER = {"docker", "mysql"}

LEFT = {
    "affinity",
    "assembly",
    "by_hand",
    "candidates",
    "counter",
    "database",
    "edges",
    "execution",
    "host",
    "image_files",
    "images",
    "leftovers",
    "load",
    "matrix",
    "override",
    "probes",
    "rates",
    "resume",
    "runner",
    "session",
    "starts",
    "station",
    "steps",
    "testbed",
}
RIGHT = {
    *(
        "capacity",
        "compare",
        "dataset",
        "estimators",
        "figures",
        "frames",
        "history",
        "noise",
        "observer",
        "published",
        "report",
    ),
    *("resolution", "summary"),
}
# Used on both sides, so they load neither. Of these `commands` load more only when one is called.
BOTH = {
    *("archive", "awake", "cgroups", "claims", "cores", "deltas", "disturbances", "ending", "errors", "experiment"),
    *("counts", "gate", "kernelfiles"),
    *(
        "latency",
        "layouts",
        "logs",
        "model",
        "observation",
        "older",
        "plan",
        "planted",
        "preprocess",
        "process",
        "proof",
        "sampling",
    ),
    *(
        "rest",
        "robust",
        "running",
        "scenario",
        "search",
        "sequential",
        "stats",
        "store",
        "testing",
        "topology",
        "tuning",
    ),
    *("trimmed", "turns", "untrusted", "validity", "verdict", "versions"),
    *("__init__", "arguments", "cli", "commands", "output", "progress"),
}

# Imports each module anew, as the first of the lab's, and says what it loaded that it must not.
LOADER = """
import importlib, json, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in forbidden:
            raise ImportError(f"{name} is on the other side of the wall")
sys.meta_path.insert(0, Wall())
faults = {}
for module, forbidden in json.load(sys.stdin):
    aside = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in {"lab", *forbidden}}
    try:
        importlib.import_module(module)
    except ImportError as error:
        faults[module] = str(error)
    sys.modules.update(aside)
print(json.dumps(faults))
"""


def name_of(path: Path) -> str:
    """The dotted name of a module's file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def house(path: Path) -> str:
    """What the sets above call a module: its file, or the package that it is in."""
    return path.relative_to(ROOT / "lab").parts[0].removesuffix(".py")


MODULES = {name_of(path): path for path in sorted((ROOT / "lab").rglob("*.py"))}


def forbidden(module: str) -> set[str]:
    """What a module must not load."""
    known = {**dict.fromkeys(LEFT, PANDAS), **dict.fromkeys(RIGHT, DOCKER), **dict.fromkeys(BOTH, PANDAS | DOCKER)}
    return known[house(MODULES[module])]


@cache
def faults() -> dict[str, str]:
    """Each module's fault, found in one fresh interpreter."""
    asked = json.dumps([(module, sorted(forbidden(module))) for module in MODULES])
    done = subprocess.run(
        [sys.executable, "-c", LOADER], input=asked, cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports anywhere, in functions and for types as well."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update({node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def test_every_module_has_its_side() -> None:
    """A new one is put into one of the sets above, on purpose."""
    assert {house(path) for path in MODULES.values()} == LEFT | RIGHT | BOTH
    assert not (LEFT & RIGHT) | (LEFT & BOTH) | (RIGHT & BOTH)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_loads_nothing_of_the_other_side(module: str) -> None:
    """By itself or by what it imports; and every module can be the first that is imported."""
    assert module not in faults()


@pytest.mark.parametrize("module", [name for name in MODULES if house(MODULES[name]) not in {"cli", "commands"}])
def test_a_module_names_nothing_of_the_other_side(module: str) -> None:
    """Not in a function either, where it would load it later. `commands` know both sides, `cli` the errors of both."""
    ours = imported(MODULES[module])
    beyond = {f"lab.{name}" for name in (LEFT | RIGHT if house(MODULES[module]) in BOTH else set())}
    beyond |= {f"lab.{name}" for name in RIGHT if house(MODULES[module]) in LEFT}
    beyond |= {f"lab.{name}" for name in LEFT if house(MODULES[module]) in RIGHT}
    assert sorted(ours & beyond) == []
    assert sorted({name.partition(".")[0] for name in ours} & forbidden(module)) == []


def test_the_domain_knows_nobody() -> None:
    """`model` and `errors` import nothing of the lab."""
    for name in ("model", "errors"):
        assert [module for module in imported(MODULES[f"lab.{name}"]) if module.startswith("lab")] == []


def test_one_module_prints_and_one_exits() -> None:
    """Everything else returns, raises, or tells a reporter."""
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert name == "lab.output" or "print" not in called
        # (lab.ending lets one pass by that is not its own.)
        exits = "exit" in called or "SystemExit" in path.read_text(encoding="utf-8")
        assert name in {"lab.cli", "lab.ending"} or not exits
