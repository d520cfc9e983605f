"""Commands about archives."""

from pathlib import Path

from lab.arguments.common import Commands, as_json, results


def add(commands: Commands) -> None:
    """All of them."""
    archive = commands.add(
        "archive",
        "write a sealed run into one file, the same bytes each time",
        "  lab archive latest\n  lab archive latest --with-logs --output /data/latest.zip",
    )
    archive.add_argument("run", metavar="RUN")
    text = "where to (RUN.kemi-lab.zip in this folder); one that is there is replaced"
    archive.add_argument("--output", type=Path, metavar="FILE", help=text)
    archive.add_argument("--with-logs", action="store_true", help="what Kamailio wrote, message by message, as well")
    results(archive)
    as_json(archive)

    verify = commands.add(
        "verify",
        "check every byte of an archive, or of a run's folder, and name what differs from what was sealed",
        "  lab verify 20260314T150926Z-default-9e13.kemi-lab.zip\n  lab verify latest",
    )
    verify.add_argument("file", type=Path, metavar="FILE|RUN")
    results(verify)
    as_json(verify)

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
        results(one)
        as_json(one)
