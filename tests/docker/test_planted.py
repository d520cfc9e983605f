"""Planted truth: what is put into a routing script must be seen, as large as it is, or be caught.

These are tests of the lab itself: a measurement that misses a planted 50 usec, or shows them in one leg alone, or takes
a script that never ran for a fast one, is worth nothing.
"""

import json
import subprocess
import sys
from contextlib import ExitStack
from itertools import zip_longest

import numpy as np
import pandas as pd
import pytest

from lab import cores, store, topology
from lab.model import Limits, Role, StartRecord
from tests.docker.driver import SMALL, Lab, rewrite, scripts

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


# On one CPU: 5 ms of CPU time in each 100 ms for some seconds, then as long nothing; it writes down when.
THIEF = """
import os, sys, time
os.sched_setaffinity(0, [int(sys.argv[1])])
while True:
    begun = time.monotonic()
    print(begun, flush=True)
    while time.monotonic() < begun + 8:
        taken = time.process_time()
        while time.process_time() < taken + 0.005:
            pass
        time.sleep(0.095)
    print(time.monotonic(), flush=True)
    time.sleep(8)
"""


@pytest.mark.parametrize("turn_msec", [0, 40])
def test_a_cpu_thief_is_flagged(lab: Lab, turn_msec: int) -> None:
    """One that takes 5 % of Kamailio's CPUs: in every slice that it hit, and elsewhere only where another one did.

    Every count is right, and workers hardly wait; yet the figures are not Kamailio's own. (A machine that is not ours
    has other thieves now and then, for some seconds on end: so a slice apart is held to what was seen in it.)
    """
    own = cores.lay_out(topology.this(), "auto").cpus[Role.KAMAILIO]
    quick = {"engines": ["native"], "rounds": 1, "slices": 12, "warmup_slices": 0, "repeats": 0, "rate_per_s": 200}
    quick["turn_msec"] = turn_msec
    limits = {**SMALL["limits"], "foreign_cpu_share": Limits().foreign_cpu_share}
    with ExitStack() as stack:
        thieves: list[subprocess.Popen[str]] = []
        for cpu in own:
            command = [sys.executable, "-c", THIEF, str(cpu)]
            thieves.append(stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
            stack.callback(thieves[-1].kill)
        run = lab("run", lab.experiment(name="thief", slice_seconds=2.0, baseline="native", limits=limits, **quick))
        for thief in thieves:
            thief.kill()
        told = [float(line) for line in thieves[0].stdout or ()]
    times = list(zip_longest(told[::2], told[1::2], fillvalue=float("inf")))
    assert run.process.returncode == 4, run.error
    assert lab.left() == []
    slices = pd.read_parquet(lab.results / "latest" / "frames" / "slices.parquet")
    begun, ended = slices["begun_usec"] / 1e6, (slices["begun_usec"] + slices["duration_usec"]) / 1e6
    within = [any(on <= b and e <= off for on, off in times) for b, e in zip(begun, ended, strict=True)]
    apart = [all(e < on or b > off for on, off in times) for b, e in zip(begun, ended, strict=True)]
    flagged = slices["reasons"].str.contains("taken by strangers")
    share = slices["foreign_cpu_share"]
    assert sum(within) >= 3
    assert flagged[within].all(), share[within].tolist()
    assert sum(apart) >= 3
    assert (flagged == (share > limits["foreign_cpu_share"])).all(), share.tolist()
    assert 0.03 < share[within].median() - share[apart].median() < 0.08, share.tolist()
