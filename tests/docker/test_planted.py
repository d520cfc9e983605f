"""Planted truth: what is put into a routing script must be seen, as large as it is, or be caught.

These are tests of the lab itself: a measurement that misses a planted 50 usec, or shows them in one leg alone, or takes
a script that never ran for a fast one, is worth nothing.
"""

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab import cores, store, topology
from lab.model import Role, StartRecord
from tests.docker.driver import Lab, Running, rewrite, scripts

ENGINES = ("lua", "python3")
LEGS = ("challenge", "authenticated")


# --- a busy wait ----------------------------------------------------------------------------------------------------

PLANTED_USEC = 50
# Seconds apart, a shared machine changes by more than what is planted. So six calls of thirteen have the wait, and a
# slice is compared with itself. (Every other call would not do: SIPp sends in pairs, of which the second costs less.)
CYCLE = 13

LUA_FUNCTION = "function ksr_request_route()\n"
LUA_WAIT = f"""
    if tonumber(string.match(KSR.pv.gete("$ci"), "%d+$")) % {CYCLE} % 2 == 1 then
        local planted = os.clock() + {PLANTED_USEC}e-6
        while os.clock() < planted do end
    end
"""
PYTHON_FUNCTION = '        """Every request starts here."""\n'
PYTHON_WAIT = f"""
        if int(KSR.pv.gete("$ci").rpartition("-")[2]) % {CYCLE} % 2 == 1:
            planted = time.perf_counter() + {PLANTED_USEC}e-6
            while time.perf_counter() < planted:
                pass
"""


@pytest.fixture(scope="module")
def differences(module_lab: Lab) -> dict[tuple[str, str], float]:
    """By cell and leg: what those calls cost more, in usec, that have the wait where it is planted."""
    planted = scripts(module_lab.folder / "planted")
    rewrite(planted / "lua.lua", LUA_FUNCTION, LUA_FUNCTION + LUA_WAIT)
    rewrite(planted / "python3.py", PYTHON_FUNCTION, PYTHON_FUNCTION + PYTHON_WAIT)
    rewrite(planted / "python3.py", "import KSR\n", "import time\n\nimport KSR\n")
    run = module_lab(
        "run",
        module_lab.experiment(
            name="planted",
            engines=list(ENGINES),
            routing=["parity", "./planted"],
            baseline="lua-parity",
            rounds=1,
            warmup_slices=0,
            slice_seconds=6.0,
            rate_per_s=300,
        ),
    )
    assert run.process.returncode in {0, 4}, run.error
    (folder,) = module_lab.runs()
    messages = pd.read_parquet(folder / "frames" / "messages.parquet")
    call = messages["call_id"].str.extract(r"(\d+)$")[0].astype(int)
    waits = call % CYCLE % 2 == 1
    return {
        (str(cell), str(leg)): quick(rows.loc[waits, "usec"]) - quick(rows.loc[~waits, "usec"])
        for (cell, leg), rows in messages[~messages["retransmission"]].groupby(["cell", "leg"], observed=True)
    }


def quick(usec: "pd.Series[int]") -> float:
    """Mean of the quicker third: a constant moves it as it moves every quantile, and nothing has interrupted it."""
    ordered = np.sort(usec.to_numpy())
    return float(ordered[: len(ordered) // 3].mean())


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_planted_wait_is_seen_in_its_size(differences: dict[tuple[str, str], float], engine: str, leg: str) -> None:
    """50 usec in each leg of each engine, and what the script needs to look at the clock; neither more nor less."""
    assert 0.8 * PLANTED_USEC < differences[f"{engine}-planted", leg] < 1.6 * PLANTED_USEC


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_plant_nothing_is_seen(differences: dict[tuple[str, str], float], engine: str, leg: str) -> None:
    """The control: the same calls of the same engine, of which none waits; so the test above can fail."""
    assert differences[f"{engine}-parity", leg] == pytest.approx(0, abs=0.3 * PLANTED_USEC)


LATE_USEC = 3000
LUA_REGISTRAR = "function ksr_route_registrar()\n"
LUA_LATE = f"""
    local planted = os.clock() + {LATE_USEC}e-6
    while os.clock() < planted do end
"""


def test_a_wait_in_one_leg_shows_in_that_legs_ratio(lab: Lab) -> None:
    """All the way to summary.json: the right cell, the right leg, the right way round; the A/A cell has none."""
    planted = scripts(lab.folder / "planted")
    rewrite(planted / "lua.lua", LUA_REGISTRAR, LUA_REGISTRAR + LUA_LATE)
    experiment = lab.experiment(
        name="late",
        engines=["lua"],
        routing=["parity", "./planted"],
        baseline="lua-parity",
        rate_per_s=50,
        subscribers=12,  # more than the image has
    )
    run = lab("run", experiment)
    assert run.process.returncode in {0, 4}, run.error
    summary = json.loads((lab.results / "latest" / "summary.json").read_text())
    ratios = {(row["cell"], row["leg"]): row["ratio"] for row in summary["comparisons"]}
    cost = {name: cell["legs"]["authenticated"]["mean_usec"] for name, cell in summary["cells"].items()}
    assert 0.9 * LATE_USEC < cost["lua-planted"] - cost["lua-parity"] < 2 * LATE_USEC
    assert ratios["lua-planted", "authenticated"] > 2
    assert ratios["lua-planted", "registration"] > 2
    assert 0.5 < ratios["lua-planted", "challenge"] < 2
    assert 0.5 < ratios["lua-parity-aa", "authenticated"] < 2
    start = store.load(StartRecord, lab.results / "latest" / "evidence/starts/r01-lua-planted/start.json")
    assert start.bindings == 12


# --- a thief --------------------------------------------------------------------------------------------------------


def broken(lab: Lab, **changes: object) -> tuple[Running, dict[str, Any]]:
    """A short run that must end as invalid, with its summary."""
    run = lab("run", lab.experiment(rounds=1, warmup_slices=0, repeats=0, baseline="native", **changes))
    assert run.process.returncode == 4, run.error
    assert lab.left() == []
    return run, json.loads((lab.results / "latest" / "summary.json").read_text())


def test_a_cpu_thief_is_flagged(lab: Lab) -> None:
    """Somebody works on Kamailio's CPUs: every count is right, and yet the figures are not Kamailio's own."""
    own = cores.lay_out(topology.this(), "auto").cpus[Role.KAMAILIO]
    limits = {"retransmissions": 50, "rate_tolerance": 0.5, "clock_drift_usec": 100000, "steal_share": 1.0}
    with ExitStack() as stack:
        for cpu in own:
            steal = f"import os; os.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
            thief = stack.enter_context(subprocess.Popen([sys.executable, "-c", steal]))
            stack.callback(thief.kill)
        _, summary = broken(lab, name="thief", engines=["native"], rate_per_s=500, limits=limits)
    reasons = [reason for cell in summary["cells"].values() for reason in cell["reasons"]]
    assert any("waited for a CPU" in reason for reason in reasons), reasons
