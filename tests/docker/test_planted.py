"""Planted truth: what is put into a routing script must be seen, as large as it is, or be caught.

These are tests of the lab itself: a measurement that misses a planted 50 usec, or shows them in one leg alone, or takes
a script that never ran for a fast one, is worth nothing.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lab.model import MEASURED_LEGS
from lab.versions import ROOT
from tests.docker.driver import Lab, Running

PARITY = ROOT / "images" / "kamailio" / "etc" / "parity"
CONFIGURATION = PARITY.parent / "kamailio.cfg"
PLANTED_USEC = 50

# The first line of each request function, and a busy wait of PLANTED_USEC that goes before or after it. The clocks are
# those that an embedded script has: os.clock() is the CPU time of the process, perf_counter() the wall clock.
LUA_FUNCTION = "function ksr_request_route()\n"
LUA_WAIT = f"    local planted = os.clock() + {PLANTED_USEC}e-6\n    while os.clock() < planted do end\n"
PYTHON_FUNCTION = '        """Every request starts here."""\n'
PYTHON_WAIT = f"""
        planted = time.perf_counter() + {PLANTED_USEC}e-6
        while time.perf_counter() < planted:
            pass
"""


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace what must be there exactly once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path}: {old!r} is not there once"
    path.write_text(text.replace(old, new))


def scripts(folder: Path) -> Path:
    """A copy of our routing, to be spoiled."""
    return Path(shutil.copytree(PARITY, folder, copy_function=shutil.copyfile))


def plant(folder: Path) -> None:
    """Put the busy wait into the Lua and the Python script."""
    rewrite(folder / "lua.lua", LUA_FUNCTION, LUA_FUNCTION + LUA_WAIT)
    rewrite(folder / "python3.py", PYTHON_FUNCTION, PYTHON_FUNCTION + PYTHON_WAIT)
    rewrite(folder / "python3.py", "import KSR\n", "import time\n\nimport KSR\n")


# --- a busy wait ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def differences(module_lab: Lab) -> pd.DataFrame:
    """Median of each cell less that of the engine's own script, by cell and leg, in usec.

    A slice is compared with its neighbours: the difference is taken in each block of the interleaved order, and the
    middle one of the blocks counts. `control` is the same script under another name.
    """
    folder = scripts(module_lab.folder / "planted")
    plant(folder)
    scripts(module_lab.folder / "control")
    experiment = module_lab.experiment(
        name="planted",
        engines=["lua", "python3"],
        routing=["parity", "./planted", "./control"],
        baseline="lua-parity",
        rounds=1,
        slices=6,
    )
    run = module_lab("run", experiment)
    assert run.process.returncode in {0, 4}, run.error
    (found,) = module_lab.runs()
    messages = pd.read_parquet(found / "frames" / "messages.parquet")
    slices = pd.read_parquet(found / "frames" / "slices.parquet").set_index("slice")
    medians = messages.groupby(["slice", "leg"], observed=True)["usec"].median().unstack()
    medians["block"] = (slices["position"] - 1) // 7
    medians["cell"] = slices["cell"].astype(str)
    print(medians)
    table = medians[slices["valid"] & ~slices["warmup"] & (slices["attempt"] == 1)].set_index(["block", "cell"])[[leg.value for leg in MEASURED_LEGS]]
    print(table.unstack())
    rows = {}
    for engine in ("lua", "python3"):
        own = table.xs(f"{engine}-parity", level="cell")
        for name in ("planted", "control"):
            rows[engine, name] = (table.xs(f"{engine}-{name}", level="cell") - own).median()
    return pd.DataFrame(rows).T


def test_show(differences):
    print(differences)
    assert 0
