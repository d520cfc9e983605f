"""The gate on the real thing: right about identical builds, it sees what was planted, and passes nothing broken.

    just prove-gate                    all of it, an hour and more on two CPUs
    just prove-gate identical --times 2

Every gate is a process as a user would start it, with containers of its own, one after the other. At the end: a table,
and what each claim came to. The exit code is 1 if a claim does not hold.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from lab.errors import Exit
from lab.testbed import LABEL_RUN
from tests.docker.driver import SCRIPT, rewrite, scripts

ENGINE = "native"
WORDS = {"pass", "improvement", "regression", "inconclusive", "invalid"}
STARVED_NSEC = 50_000_000  # of a CPU's time a second: a twentieth


# A folder to put something into, and what the base's challenges take -> the name of a candidate.
Candidate = Callable[[Path, float], str]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is done, how often, and what must come of it."""

    name: str
    times: int
    candidate: Candidate
    may: frozenset[str]
    starve: str = ""  # part of the name of the containers that get next to no CPU time


def _parity(_: Path, _challenge_usec: float) -> str:
    return "parity"


def _slower(share: float) -> Candidate:
    """A wait of that share of a challenge, rounded up to whole microseconds."""

    def candidate(_: Path, challenge_usec: float) -> str:
        return f"parity-plus-{math.ceil(share * challenge_usec)}us"

    return candidate


def _broken(folder: Path, _: float) -> str:
    """A routing that answers every request at once, and does nothing: it looks quick."""
    broken = scripts(folder / "broken")
    rewrite(broken / "native.cfg", "request_route {\n", 'request_route {\n    sl_send_reply("200", "OK");\n    exit;\n')
    return str(broken)


CLAIMS = (
    Claim("identical", 6, _parity, frozenset({"pass", "inconclusive"})),
    Claim("planted 10 %", 5, _slower(0.10), frozenset({"regression"})),
    Claim("planted 5 %", 3, _slower(0.05), frozenset({"regression", "inconclusive"})),
    Claim("broken engine", 1, _broken, frozenset({"invalid", "inconclusive"})),
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


def gate(claim: Claim, results: Path, folder: Path, challenge_usec: float) -> dict[str, Any]:
    """One gate; what it found."""
    folder.mkdir()
    candidate = claim.candidate(folder, challenge_usec)
    command = [str(SCRIPT), "gate", "parity", candidate, "--engine", ENGINE, "--results", str(results), "--json"]
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


def challenge_of(results: Path, found: dict[str, Any]) -> float:
    """What the base's challenges took in a gate, in usec."""
    summary = json.loads((results / found["attempts"][-1]["run"] / "summary.json").read_text())
    return float(summary["cells"][f"{ENGINE}-base"]["legs"]["challenge"]["mean_usec"])


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
    holds = "" if found["verdict"] in claim.may else "  <- must not be"
    return (
        f"{claim.name:15} {found['verdict']:13} {rounds:8} rounds {found['seconds']:5.0f} s  {'; '.join(ratios)}{holds}"
    )


def main(arguments: list[str]) -> int:
    """Run the claims that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("claims", nargs="*", choices=[*(claim.name for claim in CLAIMS), []], help="default: all")
    parser.add_argument("--times", type=int, help="so often each, in place of its own number")
    options = parser.parse_args(arguments)
    wanted = [claim for claim in CLAIMS if not options.claims or claim.name in options.claims or claim is CLAIMS[0]]
    lines: list[str] = []
    failed, challenge_usec = 0, math.nan
    with tempfile.TemporaryDirectory(prefix="kemi-lab-prove-") as place:
        results = Path(place) / "results"
        for claim in wanted:
            asked = claim is not CLAIMS[0] or not options.claims or claim.name in options.claims
            gates: list[dict[str, Any]] = []
            for number in range((options.times or claim.times) if asked else 1):
                gates.append(gate(claim, results, Path(place) / f"{claim.name}-{number}", challenge_usec))
                lines.append(row(claim, gates[-1]))
                print(lines[-1], file=sys.stderr, flush=True)
            verdicts = [str(found["verdict"]) for found in gates]
            held = all(verdict in claim.may for verdict in verdicts)
            failed += not held
            said = f"{claim.name}, {len(verdicts)} times: {', '.join(verdicts)}"
            lines.append(f"{'holds' if held else 'FAILS'}: {said}\n")
            if claim is CLAIMS[0]:  # what is planted is a share of what it has found
                if not gates[-1]["attempts"]:
                    break
                challenge_usec = challenge_of(results, gates[-1])
                lines.append(f"a challenge takes {challenge_usec:.1f} usec here\n")
    print("\n".join(lines))
    return Exit.REGRESSION if failed else Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
