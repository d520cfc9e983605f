"""The command line: commands, options, help texts. It only parses; lab/cli.py acts."""

import argparse
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lab.cores import PROFILES

RESULTS = Path(__file__).resolve().parent.parent / "results"
OBSERVER = RESULTS.with_name("experiments") / "observer.toml"
GATE = RESULTS.with_name("experiments") / "gate.toml"

EXIT_CODES = """exit codes:
  0    ok; of a gate: pass, or improvement
  1    of a gate: regression, confirmed by a second run
  2    usage, or bad input (the message names file and key)
  3    of a gate: inconclusive, which is no pass
  4    the run ended, but not every planned slice is valid
  5    set-up problem (engine, image, MySQL, Kamailio, disk, CPUs taken)
  6    of a gate with --tell-improvement: improvement
  70   a defect of the lab
  130  interrupted"""


def _share(text: str) -> float:
    percent = text.endswith("%")
    try:
        share = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"a share such as 0.03 or 3% expected, not {text!r}")
    return share


def _mhz(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number of MHz expected, not {text!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class _Commands:
    """The commands, as they are added."""

    whole: "argparse._SubParsersAction[argparse.ArgumentParser]"

    def add(self, name: str, text: str, example: str) -> argparse.ArgumentParser:
        """One more, with a line for the overview and examples for its own help."""
        return self.whole.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"examples:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )


def parser() -> argparse.ArgumentParser:
    """The command line; what is parsed has the command's name as `command`."""
    whole = argparse.ArgumentParser(
        prog="lab",
        description="How long Kamailio's request routing takes in each of its languages, measured.",
        epilog=f"{EXIT_CODES}\n\nA RUN is a path, an id, or 'latest'.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"lab {version('kemi-lab')}")
    commands = _Commands(whole.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True))
    _machine(commands)
    _testbed(commands)
    _runs(commands)
    _judges(commands)
    _archives(commands)
    return whole


def _results(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="where runs lie")


def _source(sub: argparse.ArgumentParser) -> None:
    text = "a Kamailio source tree or tarball to build and use instead of the release"
    sub.add_argument("--kamailio-source", type=Path, metavar="PATH", help=text)
    text = "the Debian suite to build that source on: bullseye for a Kamailio that still has Python 2"
    sub.add_argument("--kamailio-suite", default="", metavar="SUITE", help=text)


def _as_json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="for programs: JSON on standard output")


def _machine(commands: _Commands) -> None:
    doctor = commands.add("doctor", "look at this machine; change nothing", "  lab doctor\n  lab doctor --json")
    _results(doctor)
    _as_json(doctor)

    tune = commands.add(
        "tune",
        "make this machine quieter for measuring, and undo that",
        "  lab tune                   shows what would change, and asks\n"
        "  lab tune --max-mhz 1900    the NUC's clock, too\n"
        "  lab tune --undo            restores every value as it was",
    )
    tune.add_argument("--undo", action="store_true", help="restore what was changed, also after a crash or reboot")
    tune.add_argument("--yes", action="store_true", help="do not ask")
    tune.add_argument(
        "--aslr", action="store_true", help="switch address space randomisation off, which weakens security"
    )
    tune.add_argument("--max-mhz", type=_mhz, metavar="MHZ", help="cap the clock of all CPUs; the NUC's base is 1900")

    cpus = commands.add(
        "cpus",
        "draw which CPUs each role gets, by a profile or by an experiment; change nothing",
        "  lab cpus\n  lab cpus --profile nuc\n  lab cpus experiments/default.toml\n"
        "  lab cpus --json | jq .layout.notes",
    )
    one = cpus.add_mutually_exclusive_group()
    one.add_argument("file", nargs="?", type=Path, metavar="FILE", help="an experiment: its own profile or lists")
    one.add_argument("--profile", choices=PROFILES, default="auto", help="docs/cpus.md says what each is (auto)")
    _as_json(cpus)


def _testbed(commands: _Commands) -> None:
    images = commands.add(
        "images", "build the images that are missing, and list them", "  lab images\n  lab images --list"
    )
    images.add_argument("--list", action="store_true", help="only list, build nothing")
    images.add_argument("--all", action="store_true", help="every release and every database")
    _source(images)
    _as_json(images)

    carried = commands.add(
        "export-images",
        "write built images into one file, for a machine that reaches no mirror",
        "  lab export-images images.tar\n  lab export-images everything.tar --all",
    )
    carried.add_argument(
        "file", type=Path, metavar="FILE", help="what docker save writes; one that is there is replaced"
    )
    carried.add_argument("--all", action="store_true", help="every release and every database")

    brought = commands.add(
        "import-images",
        "load the images of such a file, which are then current here: nothing is built",
        "  lab import-images images.tar && lab images --list",
    )
    brought.add_argument("file", type=Path, metavar="FILE", help="of lab export-images; gzipped or not")

    engines = commands.add(
        "engines",
        "list every engine on every Kamailio release: what is built, what can be, what cannot and why",
        "  lab engines\n  lab engines --json | jq '.[] | select(.state == \"broken\")'\n"
        "  lab images --all     builds all of them",
    )
    _as_json(engines)

    commands.add(
        "up",
        "raise the testbed by hand (compose.yaml)",
        "  lab up\n  LAB_ENGINE=lua lab up\n  docker compose run --rm sipp",
    )
    down = commands.add(
        "down",
        "take down the testbed that was raised by hand, or what is left of a run",
        "  lab down\n  lab down 20260314T150926Z-default-9e13",
    )
    text = "the id of a run that was killed: its containers, networks and volumes go, its results stay"
    down.add_argument("run", nargs="?", metavar="RUN", help=text)


def _runs(commands: _Commands) -> None:
    run = commands.add(
        "run",
        "run an experiment",
        "  lab run experiments/quick.toml\n  lab run mine.toml --results /data/kemi\n"
        "  lab run mine.toml --kamailio-source ~/kamailio-5.2.0.tar.gz --kamailio-suite bullseye",
    )
    run.add_argument("file", type=Path, metavar="FILE", help="an experiment (TOML): see docs/experiments.md")
    text = 'search the rate of `rate_per_s = "auto"` again, though it is known for this machine and these images'
    run.add_argument("--new-rate", action="store_true", help=text)
    _results(run)
    _source(run)
    _as_json(run)

    capacity = commands.add(
        "capacity",
        "search the highest registration rate without failure or retransmission, for every cell of an experiment",
        "  lab capacity experiments/capacity.toml\n  lab capacity experiments/generator.toml    SIPp's own ceiling\n"
        "  lab capacity mine.toml --json | jq '.cells | map_values(.rates)'",
    )
    capacity.add_argument("file", type=Path, metavar="FILE", help="an experiment (TOML): see docs/capacity.md")
    text = "search as RFC 7502 has it: from 100/s, by tenths, in batches of 50000, ten of them to confirm (hours)"
    capacity.add_argument("--rfc7502", action="store_true", help=text)
    _results(capacity)
    _source(capacity)
    _as_json(capacity)

    frames = commands.add(
        "frames",
        "make a run's frames and summary again, from its evidence",
        "  lab frames latest\n  lab frames latest --csv",
    )
    frames.add_argument("run", metavar="RUN")
    frames.add_argument("--csv", action="store_true", help="frames as CSV, too, beside the Parquet files")
    _results(frames)
    _as_json(frames)

    report = commands.add(
        "report",
        "print a run's table again, and write the same with figures: a page, Markdown, SVG and PNG",
        "  lab report latest                   RUN/report/index.html opens in any browser, without a network\n"
        "  lab report latest --output ~/public\n  lab report latest --json | jq .cells",
    )
    report.add_argument("run", metavar="RUN")
    text = "folder of the page and its figures (RUN/report)"
    report.add_argument("--output", type=Path, metavar="DIR", help=text)
    _results(report)
    _as_json(report)

    inside = commands.add(
        "open", "list what is inside a run's folder, and how to read it", "  lab open latest\n  lab open latest --json"
    )
    inside.add_argument("run", metavar="RUN")
    _results(inside)
    _as_json(inside)

    published = commands.add(
        "published",
        "set a run of the 2018 experiment beside the page itself, as Markdown",
        "  just published                     runs it and prints this\n  lab published latest > published.md",
    )
    published.add_argument("run", metavar="RUN")
    _results(published)
    _as_json(published)

    resolution = commands.add(
        "resolution",
        "print what a run can tell apart: A/A, a planted slowdown, noise, detectable effects",
        "  just resolution                    measures, and prints this\n  lab resolution latest --json | jq .rows",
    )
    resolution.add_argument("run", nargs="?", default="latest", metavar="RUN", help="default: latest")
    _results(resolution)
    _as_json(resolution)

    observer = commands.add(
        "observer",
        "what measuring costs: the log, where it goes, its colour, SIPp's trace; run it, or report a run of it",
        "  lab observer\n  lab observer experiments/observer.toml\n  lab observer latest > observer.md",
    )
    text = "an experiment (TOML) to run, or an earlier run (experiments/observer.toml)"
    observer.add_argument("what", nargs="?", default=str(OBSERVER), metavar="FILE|RUN", help=text)
    _results(observer)
    _source(observer)
    _as_json(observer)


def _judges(commands: _Commands) -> None:
    gate = commands.add(
        "gate",
        "measure a candidate against its base, and judge: pass, improvement, regression or inconclusive",
        "  lab gate old.lua new.lua --engine lua\n  lab gate ~/kamailio@master ~/kamailio --delta 5%\n"
        "  lab gate 6.0.1 6.1 --engine python3 --junit gate.xml --json > gate.json\n"
        "  lab gate parity parity-plus-9us     a planted slowdown: this one must not pass\n\n"
        f"{EXIT_CODES}",
    )
    kinds = "a release, a source tree or tarball, PATH@COMMIT, a folder of routing scripts, a script, or a .cfg"
    gate.add_argument("base", metavar="BASE", help=f"{kinds}: docs/gate.md")
    gate.add_argument("candidate", metavar="CANDIDATE", help="another one of that kind")
    text = "the slowdown that may pass, in any leg: 0.03 or 3%% (the default)"
    gate.add_argument("--delta", type=_share, default=0.03, metavar="SHARE", help=text)
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
    _results(compare)
    _as_json(compare)

    history = commands.add(
        "history",
        "show ratios over all valid runs of a folder, and where they changed",
        "  lab history\n  lab history default --results /data/kemi\n"
        "  lab history --json | jq '.series[] | select(.changes != [])'",
    )
    history.add_argument("name", nargs="?", default="", metavar="EXPERIMENT", help="runs of this experiment alone")
    _results(history)
    _as_json(history)

    aa = commands.add(
        "aa",
        "measure a cell against itself: this machine's noise, its history, and the smallest delta for a gate",
        "  lab aa\n  lab aa --engine lua --json | jq .delta",
    )
    aa.add_argument("--routing", default="parity", metavar="ROUTING", help="what is measured twice (parity)")
    _gated(aa)


def _archives(commands: _Commands) -> None:
    archive = commands.add(
        "archive",
        "write a sealed run into one file, the same bytes each time",
        "  lab archive latest\n  lab archive latest --with-logs --output /data/latest.zip",
    )
    archive.add_argument("run", metavar="RUN")
    text = "where to (RUN.kemi-lab.zip in this folder); one that is there is replaced"
    archive.add_argument("--output", type=Path, metavar="FILE", help=text)
    archive.add_argument("--with-logs", action="store_true", help="what Kamailio wrote, message by message, as well")
    _results(archive)
    _as_json(archive)

    verify = commands.add(
        "verify",
        "check every byte of an archive, or of a run's folder, and name what differs from what was sealed",
        "  lab verify 20260314T150926Z-default-9e13.kemi-lab.zip\n  lab verify latest",
    )
    verify.add_argument("file", type=Path, metavar="FILE|RUN")
    _results(verify)
    _as_json(verify)

    restore = commands.add(
        "restore",
        "unpack an archive into the folder of results, once it has been checked",
        "  lab restore 20260314T150926Z-default-9e13.kemi-lab.zip\n  lab restore sent.zip --results /data/kemi",
    )

    reproduce = commands.add(
        "reproduce",
        "run an archive's experiment again here, name what differs in machine and images, and compare",
        "  lab reproduce 20260314T150926Z-default-9e13.kemi-lab.zip\n  lab reproduce sent.zip > reproduced.md",
    )
    for one in (restore, reproduce):
        one.add_argument("file", type=Path, metavar="FILE")
        _results(one)
        _as_json(one)


def _gated(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--engine", default="native", help="the engine that is measured (native)")
    text = "rounds, slices, rate, limits (experiments/gate.toml)"
    sub.add_argument("--experiment", type=Path, default=GATE, metavar="FILE", help=text)
    _results(sub)
    _as_json(sub)
