"""Profiles as callgrind writes them, with numbers that can be added up by hand."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab import store, testing
from lab.counts import record
from lab.counts.record import CountRecord
from lab.model import Counting, Plan
from lab.plan import counted

HEAD = """# callgrind format
version: 1
creator: callgrind-3.24.0
pid: 38
cmd:  /usr/sbin/kamailio -DD -E
"""

# A request in a script: 1000 instructions of its own, 200 for each of three crossings, and what those call.
PART = """part: {number}


desc: I1 cache:
desc: Trigger: --dump-after=receive_msg

positions: line
events: Ir
summary: {total}


ob={core}
fl={receive_c}
fn={receive}
100 {own}
+3 5
cob={core}
cfi={engine_c}
cfn={route}
calls=1 70
* {in_route}

fl={engine_c}
fn={route}
70 15
cob={lua_so}
cfi={lua_c}
cfn={run}
calls=1 20
+1 {in_script}

ob={lua_so}
fl={lua_c}
fn={run}
20 30
fi={inline_h}
9 10
fe={lua_c}
cob={interpreter}
cfi={unknown}
cfn={execute}
calls=1 0
+1 {in_interpreter}

ob={interpreter}
fl={unknown}
fn={execute}
0 400
cob={lua_so}
cfi={lua_c}
cfn={exec}
calls=3 40
0 {in_calls}

ob={lua_so}
fl={lua_c}
fn={exec}
40 300
cfn={exec_ex}
calls=3 50
+2 {in_calls_ex}

fn={exec_ex}
50 240
cob={auth_so}
cfi={auth_c}
cfn={challenge}
calls=2 10
+8 {in_auth}
cob={core}
cfi={engine_c}
cfn={helper}
calls=1 90
+4 60

ob={auth_so}
fl={auth_c}
fn={challenge}
10 50
cob={core}
cfi={memory_c}
cfn={malloc}
calls=4 200
+1 44

ob={core}
fl={memory_c}
fn={malloc}
200 44

fl={engine_c}
fn={helper}
90 60

totals: {total}

"""

NAMES = {
    "core": "(1) /usr/sbin/kamailio",
    "lua_so": "(2) /usr/lib/kamailio/modules/app_lua.so",
    "interpreter": "(3) /usr/lib/x86_64-linux-gnu/liblua5.1.so.0.0.0",
    "auth_so": "(4) /usr/lib/kamailio/modules/auth.so",
    "receive_c": "(1) /source/src/core/receive.c",
    "engine_c": "(2) /source/src/core/kemi.c",
    "lua_c": "(3) /source/src/modules/app_lua/app_lua_api.c",
    "inline_h": "(4) /source/src/core/ut.h",
    "unknown": "(5) ???",
    "auth_c": "(6) /source/src/modules/auth/auth_mod.c",
    "memory_c": "(7) /source/src/core/mem/q_malloc.c",
    "receive": "(1) receive_msg",
    "route": "(2) sr_kemi_route",
    "run": "(3) app_lua_run_ex",
    "execute": "(4) 0x000000000001a5f0",
    "exec": "(5) sr_kemi_lua_exec_func",
    "exec_ex": "(6) sr_kemi_lua_exec_func_ex",
    "challenge": "(7) auth_challenge",
    "malloc": "(8) qm_malloc",
    "helper": "(9) sr_kemi_exec_func",
}
# All but receive_msg's own: 15 + 40 + 400 + 300 + 240 + 50 + 44 + 60.
SCRIPT = 1149
ASIDE = 5  # the second line of receive_msg


def lines(own: Sequence[int]) -> str:
    """A file with a part for each number, which is what receive_msg executes itself."""
    return HEAD + "".join(_part(number, instructions) for number, instructions in enumerate(own, start=1))


def _part(number: int, own: int) -> str:
    names = NAMES if number == 1 else {key: name.split(" ")[0] for key, name in NAMES.items()}
    called = 50 + 44 + 60  # what the script has called in Kamailio
    calls = 300 + 240 + called
    return PART.format(
        number=number,
        total=own + ASIDE + SCRIPT,
        own=own,
        in_route=SCRIPT,
        in_script=SCRIPT - 15,
        in_interpreter=400 + calls,
        in_calls=calls,
        in_calls_ex=calls - 300,
        in_auth=50 + 44,
        **names,
    )


def plan(counting: Counting, repeats: int) -> Plan:
    """Native and Lua, with one subscriber, who is warmed up by one call."""
    timed = testing.plan(engines=("native", "lua"))
    cells = tuple(replace(cell, subscribers=1) for cell in timed.cells)
    return counted(replace(timed, cells=cells), counting, repeats)


def run(
    results: Path,
    planned: Plan,
    *starts: tuple[str, Sequence[int]],
    ended: str = "complete",
    reasons: tuple[str, ...] = (),
) -> Path:
    """A sealed run with a profile of each of these cells, the second of a name being of the second fresh start."""
    made = store.Run.create(results, "counts")
    store.dump(planned, made.evidence / "plan.json")
    (made.evidence / record.FOLDER).mkdir()
    for number, (cell, own) in enumerate(starts):
        at = 1 + sum(name == cell for name, _ in starts[:number])
        legs = tuple(rule.leg for rule in planned.scenario_of(cell).legs)
        kept = CountRecord(at, cell, len(own), len(own), 9.5, legs, reasons)
        with made.part(record.FOLDER, kept.id) as place:
            record.keep(io.BytesIO(lines(own).encode()), place)
            store.dump(kept, place / record.RECORD)
    made.seal(ended)
    return made.folder
