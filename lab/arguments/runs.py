"""Commands about runs: what measures, and what shows it."""

from pathlib import Path

from lab.arguments.common import EXPERIMENTS, Commands, as_json, positive, results, share_cpus, source


def add(commands: Commands) -> None:
    """All of them: first those that measure."""
    run = commands.add(
        "run",
        "run an experiment",
        "  lab run experiments/quick.toml\n  lab run mine.toml --results /data/kemi\n"
        "  lab run mine.toml --kamailio-source ~/kamailio-5.2.0.tar.gz --kamailio-suite bullseye",
    )
    run.add_argument("file", type=Path, metavar="FILE", help="an experiment (TOML): see docs/experiments.md")
    text = 'search the rate of `rate_per_s = "auto"` again, though it is known for this machine and these images'
    run.add_argument("--new-rate", action="store_true", help=text)
    results(run)
    share_cpus(run)
    source(run)
    as_json(run)

    resume = commands.add(
        "resume",
        "go on with a run that was interrupted, has failed, or whose driver was killed",
        "  lab resume latest\n  lab resume 20260314T150926Z-default-9e13 --results /data/kemi",
    )
    resume.add_argument("run", metavar="RUN")
    results(resume)
    share_cpus(resume)
    as_json(resume)

    capacity = commands.add(
        "capacity",
        "search the highest registration rate without failure or retransmission, for every cell of an experiment",
        "  lab capacity experiments/capacity.toml\n  lab capacity experiments/generator.toml    SIPp's own ceiling\n"
        "  lab capacity mine.toml --json | jq '.cells | map_values(.rates)'",
    )
    capacity.add_argument("file", type=Path, metavar="FILE", help="an experiment (TOML): see docs/capacity.md")
    text = "search as RFC 7502 has it: from 100/s, by tenths, in batches of 50000, ten of them to confirm (hours)"
    capacity.add_argument("--rfc7502", action="store_true", help=text)
    results(capacity)
    share_cpus(capacity)
    source(capacity)
    as_json(capacity)

    count = commands.add(
        "count",
        "count the instructions of a request, by callgrind: the same however busy the machine is",
        "  lab count                                    native, Lua and Python 3\n"
        "  lab count experiments/engines.toml           every engine of the release\n"
        "  lab count mine.toml --repeats 10 --json | jq '.cells | map_values(.legs | map_values(.instructions))'\n"
        "  lab count --probes                           and the time on the CPU that those requests take",
    )
    text = "an experiment (TOML) whose cells are counted: its slices and rate do not matter (experiments/default.toml)"
    count.add_argument("file", type=Path, nargs="?", default=EXPERIMENTS / "default.toml", metavar="FILE", help=text)
    text = "calls that are counted, of each cell and fresh start (100)"
    count.add_argument("--calls", type=positive, default=100, metavar="N", help=text)
    text = "calls before them that are not (30)"
    count.add_argument("--warmup-calls", type=positive, default=30, metavar="N", help=text)
    text = "fresh starts of each cell (2)"
    count.add_argument("--repeats", type=positive, default=2, metavar="N", help=text)
    text = (
        "look at each cell without valgrind, too, through the kernel: time on the CPU, hardware counters where there "
        "are some; by a container with capabilities (docs/counting.md)"
    )
    count.add_argument("--probes", action="store_true", help=text)
    results(count)
    share_cpus(count)
    source(count)
    as_json(count)

    _show(commands)


def _show(commands: Commands) -> None:
    """What is made of runs."""
    frames = commands.add(
        "frames",
        "make a run's frames and summary again, from its evidence",
        "  lab frames latest\n  lab frames latest --csv",
    )
    frames.add_argument("run", metavar="RUN")
    frames.add_argument("--csv", action="store_true", help="frames as CSV, too, beside the Parquet files")
    results(frames)
    as_json(frames)

    report = commands.add(
        "report",
        "print a run's table again, and write the same with figures: a page, Markdown, SVG and PNG",
        "  lab report latest                   RUN/report/index.html opens in any browser, without a network\n"
        "  lab report latest --output ~/public\n  lab report latest --json | jq .cells",
    )
    report.add_argument("run", metavar="RUN")
    text = "folder of the page and its figures (RUN/report)"
    report.add_argument("--output", type=Path, metavar="DIR", help=text)
    results(report)
    as_json(report)

    inside = commands.add(
        "open", "list what is inside a run's folder, and how to read it", "  lab open latest\n  lab open latest --json"
    )
    inside.add_argument("run", metavar="RUN")
    results(inside)
    as_json(inside)

    published = commands.add(
        "published",
        "set a run of the 2018 experiment beside the page itself, as Markdown",
        "  just published                     runs it and prints this\n  lab published latest > published.md",
    )
    published.add_argument("run", metavar="RUN")
    results(published)
    as_json(published)

    resolution = commands.add(
        "resolution",
        "print what a run can tell apart: A/A, a planted slowdown, noise, detectable effects",
        "  just resolution                    measures, and prints this\n  lab resolution latest --json | jq .rows",
    )
    resolution.add_argument("run", nargs="?", default="latest", metavar="RUN", help="default: latest")
    results(resolution)
    as_json(resolution)

    observer = commands.add(
        "observer",
        "what measuring costs: the log, where it goes, its colour, SIPp's trace; run it, or report a run of it",
        "  lab observer\n  lab observer experiments/observer.toml\n  lab observer latest > observer.md",
    )
    text = "an experiment (TOML) to run, or an earlier run (experiments/observer.toml)"
    observer.add_argument("what", nargs="?", default=str(EXPERIMENTS / "observer.toml"), metavar="FILE|RUN", help=text)
    results(observer)
    share_cpus(observer)
    source(observer)
    as_json(observer)
