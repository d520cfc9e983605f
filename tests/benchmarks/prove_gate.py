"""The gate on the real thing: right about identical builds, it sees what was planted, and passes nothing broken.

    just prove-gate                    all of it, two to three hours on two CPUs
    just prove-gate identical --times 2

    just prove-gate --keep FOLDER      and the runs stay there

Every gate is a process as a user would start it, with containers of its own, one after the other. Each has a results
folder of its own, as on a fresh runner: so none is refused by what earlier ones said of the machine's noise, and only
its own base against itself keeps it from a wrong verdict. At the end: a table, and what each claim came to. The exit
code is 1 if a claim does not hold.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from lab.errors import Exit
from lab.testbed import LABEL_RUN
from lab.verdict import Verdict
from tests.docker.driver import SCRIPT, rewrite, scripts

ENGINE = "native"
WORDS = {"pass", "improvement", "regression", "inconclusive", "invalid"}
STARVED_NSEC = 50_000_000  # of a CPU's time a second: a twentieth


PLANTED = '    if ($ua =~ "friendly-scanner|sipcli") exit;\n'  # as the routing has it a little later
CALIBRATED = 4  # of them: some tenth of a challenge; of many each costs less, as the first finds the coldest caches
TAIL_TURNS = 1500  # of a loop: half a usec each, where it was tried
AGAIN = 3  # times at most that something is tried again, where it was invalid


@dataclass(slots=True)
class Known:
    """What earlier gates have shown."""

    challenge_usec: float = math.nan  # of the base
    statement_usec: float = math.nan  # of a planted one


# A folder to put something into, and what is known so far -> the name of a candidate.
Candidate = Callable[[Path, Known], str]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is done, how often, and what must come of it."""

    name: str
    times: int
    candidate: Candidate
    may: frozenset[str]
    starve: str = ""  # part of the name of the containers that get next to no CPU time
    delta: str = "3%"
    planted: bool = False  # its candidate is a share of what others have found


def _parity(_: Path, _known: Known) -> str:
    return "parity"


def _with(folder: Path, what: str) -> str:
    """Our routing with something at the head of every request."""
    slower = scripts(folder / "slower")
    rewrite(slower / "native.cfg", "request_route {\n", f"request_route {{\n{what}")
    return str(slower)


def _with_statements(folder: Path, count: int) -> str:
    """Of a kind that the routing has anyhow, and all alike.

    A planted wait (parity-plus-1us) is too coarse a share of a challenge. So is whatever runs code that a challenge
    does not run otherwise: in caches that another cell has left the first `$var(x) = 1;` costs a twentieth, each
    further one a thousandth.
    """
    return _with(folder, PLANTED * count)


def _calibration(folder: Path, _: Known) -> str:
    return _with_statements(folder, CALIBRATED)


def _slower(share: float) -> Candidate:
    """As many statements as take that share of a challenge."""

    def candidate(folder: Path, known: Known) -> str:
        return _with_statements(folder, max(1, round(share * known.challenge_usec / known.statement_usec)))

    return candidate


def _tail(folder: Path, _: Known) -> str:
    """A long loop in one call of a hundred, as SIPp numbers them; the others have no more than a question."""
    loop = "while ($var(turn) > 0) { $var(turn) = $var(turn) - 1; }"
    slower = _with(folder, f'    if ($ci =~ "00$") {{\n        $var(turn) = {TAIL_TURNS};\n        {loop}\n    }}\n')
    with (Path(slower) / "native.cfg").open("a") as script:
        script.write("\nmax_while_loops=1000000\n")
    return slower


def _broken(first: str) -> Candidate:
    """A routing with something in it that a request meets first."""

    def candidate(folder: Path, _: Known) -> str:
        broken = scripts(folder / "broken")
        rewrite(broken / "native.cfg", "request_route {\n", f"request_route {{\n{first}")
        return str(broken)

    return candidate


CLAIMS = (
    # Invalid is what a gate has to say where the host takes too much of the CPUs away: it condemns nobody.
    Claim("identical", 6, _parity, frozenset({"pass", "inconclusive", "invalid"})),
    Claim("calibration", 1, _calibration, frozenset({"pass", "invalid"}), delta="90%"),
    Claim("planted 10 %", 5, _slower(0.10), frozenset({"regression"}), planted=True),
    Claim("planted 5 %", 3, _slower(0.05), frozenset({"regression", "inconclusive"}), planted=True),
    Claim("a tail", 1, _tail, frozenset({"regression"})),
    Claim("answers 200", 1, _broken('    sl_send_reply("200", "OK");\n    exit;\n'), frozenset({"invalid"})),
    Claim("does not load", 1, _broken("    no_such_function();\n"), frozenset({"invalid"})),
    Claim("slow MySQL", 1, _parity, frozenset({"invalid", "inconclusive"}), starve="mysql"),
    Claim("starved SIPp", 1, _parity, frozenset({"invalid", "inconclusive"}), starve="sipp-native-candidate"),
)


@contextmanager
def starved(part: str, results: Path) -> Iterator[set[str]]:
    """While this lasts, containers of runs in this folder of that name get hardly any CPU time: their ids."""
    client, over, done = docker.from_env(), threading.Event(), set[str]()

    def starve(container: Container) -> None:
        if part in str(container.name) and container.id not in done:
            with suppress(NotFound, APIError):  # it is gone already
                container.update(cpu_period=1_000_000, cpu_quota=STARVED_NSEC // 1000)
                done.add(str(container.id))

    def watch() -> None:
        while not over.wait(0.5):
            for run in (path.name for path in results.glob("*-gate-*")):
                for container in client.containers.list(filters={"label": f"{LABEL_RUN}={run}"}, ignore_removed=True):
                    starve(container)

    thread = threading.Thread(target=watch)
    if part:
        thread.start()
    try:
        yield done
    finally:
        over.set()
        if part:
            thread.join()
        client.close()


def gate(claim: Claim, folder: Path, known: Known) -> dict[str, Any]:
    """One gate in a folder of its own, which gets `results`; what it found."""
    folder.mkdir(parents=True)
    results = folder / "results"
    candidate = claim.candidate(folder, known)
    options = ["--engine", ENGINE, "--delta", claim.delta, "--results", str(results), "--json"]
    command = [str(SCRIPT), "gate", "parity", candidate, *options]
    begun = time.monotonic()
    with starved(claim.starve, results) as hit:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - begun
    if not done.stdout:  # nothing was judged, and it has said why
        return {"verdict": f"exit code {done.returncode}", "seconds": seconds, "attempts": [], "candidate": candidate}
    found = {**json.loads(done.stdout), "seconds": seconds}
    if claim.starve and not hit:
        found["verdict"] = "nothing was starved"
    return found


def learn(known: Known, claim: Claim, results: Path, found: dict[str, Any]) -> str:
    """What a gate that passed has shown that later ones need; said in a sentence."""
    if found["verdict"] != Verdict.PASS or claim.starve:
        return ""
    if claim.candidate is _parity and math.isnan(known.challenge_usec):
        summary = json.loads((results / found["attempts"][-1]["run"] / "summary.json").read_text())
        known.challenge_usec = float(summary["cells"][f"{ENGINE}-base"]["legs"]["challenge"]["mean_usec"])
        return f"a challenge takes {known.challenge_usec:.1f} usec here"
    ratio = found["attempts"][-1]["legs"]["challenge"]["ratio"]
    if claim.candidate is _calibration and ratio > 1:
        known.statement_usec = (ratio - 1) * known.challenge_usec / CALIBRATED
        return f"a planted statement takes {known.statement_usec:.3f} usec here"
    return ""


def row(claim: Claim, found: dict[str, Any]) -> str:
    """One line of the table."""
    attempts = found["attempts"]
    last: dict[str, Any] = attempts[-1] if attempts else {"legs": {}}
    ratios = [
        f"{leg} {one['ratio']:.3f} ({one['ci_low']:.3f} to {one['ci_high']:.3f})"
        for leg, one in last["legs"].items()
        if one["ci_low"] is not None
    ]
    rounds = " + ".join(str(one["rounds"]) for one in attempts)
    why = f"  ({found['reason']})" if found["verdict"] in {"inconclusive", "invalid"} else ""
    holds = "" if found["verdict"] in claim.may else "  <- must not be"
    took = f"{rounds:8} rounds {found['seconds']:5.0f} s"
    return f"{claim.name:15} {found['verdict']:13} {took}  {'; '.join(ratios)}{why}{holds}"


def main(arguments: list[str]) -> int:
    """Run the claims that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("claims", nargs="*", choices=[*(claim.name for claim in CLAIMS), []], help="default: all")
    parser.add_argument("--times", type=int, help="so often each, in place of its own number")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all runs in this new folder")
    text = "what an earlier proof has found on this very machine, in place of finding it again"
    parser.add_argument("--challenge-usec", type=float, default=math.nan, metavar="USEC", help=text)
    parser.add_argument("--statement-usec", type=float, default=math.nan, metavar="USEC", help="likewise")
    options = parser.parse_args(arguments)
    asked_for = [claim for claim in CLAIMS if not options.claims or claim.name in options.claims]
    known = Known(options.challenge_usec, options.statement_usec)
    needed = set[str]()
    if any(claim.planted for claim in asked_for):
        needed |= {"identical"} if math.isnan(known.challenge_usec) else set()
        needed |= {"calibration"} if math.isnan(known.statement_usec) else set()
    wanted = [claim for claim in CLAIMS if claim in asked_for or claim.name in needed]
    lines: list[str] = []
    failed = 0
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(prefix="kemi-lab-prove-") as place:
        for claim in wanted:
            asked = not options.claims or claim.name in options.claims
            verdicts: list[str] = []
            times = (options.times or claim.times) if asked else 1
            again = AGAIN if claim.planted or claim.name in needed else 0  # for what the host has spoilt
            while len(verdicts) < times + min(again, verdicts.count(Verdict.INVALID)):
                folder = Path(place) / f"{claim.name}-{len(verdicts)}".replace(" ", "-").replace("-%", "")
                found = gate(claim, folder, known)
                verdicts.append(str(found["verdict"]))
                learned = learn(known, claim, folder / "results", found) if found["attempts"] else ""
                said = [row(claim, found), learned]
                lines += filter(None, said)
                print(*filter(None, said), sep="\n", file=sys.stderr, flush=True)
            told = [verdict for verdict in verdicts if not again or verdict != Verdict.INVALID]
            held = len(told) >= times and all(verdict in claim.may for verdict in told)
            failed += not held
            lines.append(
                f"{'holds' if held else 'FAILS'}: {claim.name}, {len(verdicts)} times: {', '.join(verdicts)}\n"
            )
            unknown = known.challenge_usec if claim.candidate is _parity else known.statement_usec
            if claim.name in needed and (math.isnan(unknown) or not held):
                rest = ", ".join(one.name for one in wanted[wanted.index(claim) + 1 :])
                lines.append(f"FAILS: not run, for want of what {claim.name} would have shown: {rest}")
                failed += 1
                break
    print("\n".join(lines))
    return Exit.REGRESSION if failed else Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
