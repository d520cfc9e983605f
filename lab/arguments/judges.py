"""Commands that judge: gate, aa, compare, history."""

import argparse
from pathlib import Path

from lab.arguments.common import EXIT_CODES, EXPERIMENTS, Commands, as_json, results


def _share(text: str) -> float:
    percent = text.endswith("%")
    try:
        share = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"a share such as 0.03 or 3% expected, not {text!r}")
    return share


def add(commands: Commands) -> None:
    """All of them."""
    gate = commands.add(
        "gate",
        "measure a candidate against its base, and judge: pass, improvement, regression or inconclusive",
        "  lab gate old.lua new.lua --engine lua\n  lab gate ~/kamailio@master ~/kamailio --delta 5%\n"
        "  lab gate 6.0.1 6.1 --engine python3 --junit gate.xml --json > gate.json\n"
        "  lab gate old.lua new.lua --engine lua --by instructions     on a machine that is not quiet\n"
        "  lab gate parity parity-plus-9us     a planted slowdown: this one must not pass\n\n"
        f"{EXIT_CODES}",
    )
    kinds = "a release, a source tree or tarball, PATH@COMMIT, a folder of routing scripts, a script, or a .cfg"
    gate.add_argument("base", metavar="BASE", help=f"{kinds}: docs/gate.md")
    gate.add_argument("candidate", metavar="CANDIDATE", help="another one of that kind")
    text = "the slowdown that may pass, in any leg: 0.03 or 3%% (the default)"
    gate.add_argument("--delta", type=_share, metavar="SHARE", help=text)
    text = "judge by times, by instructions (in a minute or two, on any machine), or by both"
    gate.add_argument("--by", choices=("time", "instructions", "both"), default="time", help=text)
    text = "how many more instructions may pass (0.5%%; with --by instructions, --delta means this as well)"
    gate.add_argument("--delta-instructions", type=_share, metavar="SHARE", help=text)
    _gated(gate)
    gate.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    text = "add a Markdown summary to this file (default: $GITHUB_STEP_SUMMARY, where it is set)"
    gate.add_argument("--summary", type=Path, metavar="FILE", help=text)
    text = "print GitHub's workflow annotation, too (where GITHUB_ACTIONS is true it is printed anyhow)"
    gate.add_argument("--annotate", action="store_true", help=text)
    text = "end with 6, not 0, if the candidate is faster beyond delta"
    gate.add_argument("--tell-improvement", action="store_true", help=text)

    compare = commands.add(
        "compare",
        "set two runs, or two cells, beside each other: what differs in how they were measured, and ratios",
        "  lab compare 20260314T150926Z-default-9e13 latest\n  lab compare latest:lua latest:python3\n"
        "  lab compare old latest --json | jq .mismatches",
    )
    compare.add_argument("first", metavar="RUN[:CELL]")
    compare.add_argument("second", metavar="RUN[:CELL]", help="ratios are of this one over the first")
    results(compare)
    as_json(compare)

    history = commands.add(
        "history",
        "show ratios over all valid runs of a folder, and where they changed",
        "  lab history\n  lab history default --results /data/kemi\n"
        "  lab history --json | jq '.series[] | select(.changes != [])'",
    )
    history.add_argument("name", nargs="?", default="", metavar="EXPERIMENT", help="runs of this experiment alone")
    results(history)
    as_json(history)

    aa = commands.add(
        "aa",
        "measure a cell against itself: this machine's noise, its history, and the smallest delta for a gate",
        "  lab aa\n  lab aa --engine lua --json | jq .delta",
    )
    aa.add_argument("--routing", default="parity", metavar="ROUTING", help="what is measured twice (parity)")
    _gated(aa)


def _gated(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--engine", default="native", help="the engine that is measured (native)")
    text = "rounds, slices, rate, limits (experiments/gate.toml)"
    sub.add_argument("--experiment", type=Path, default=EXPERIMENTS / "gate.toml", metavar="FILE", help=text)
    results(sub)
    as_json(sub)
