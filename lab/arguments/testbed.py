"""Commands about images and the testbed by hand."""

from pathlib import Path

from lab.arguments.common import Commands, as_json, source


def add(commands: Commands) -> None:
    """All of them."""
    images = commands.add(
        "images", "build the images that are missing, and list them", "  lab images\n  lab images --list"
    )
    images.add_argument("--list", action="store_true", help="only list, build nothing")
    images.add_argument("--all", action="store_true", help="every release and every database")
    source(images)
    as_json(images)

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
    as_json(engines)

    commands.add(
        "up",
        "raise the testbed by hand (compose.yaml)",
        "  lab up\n  LAB_ENGINE=lua lab up\n  docker compose run --rm sipp",
    )
    commands.add("down", "take down the testbed that was raised by hand", "  lab down")
    clean = commands.add(
        "clean",
        "show what runs whose driver was killed have left on the engine, and remove it",
        "  lab clean            only shows\n  lab clean --yes\n  lab clean 20260314T150926Z-default-9e13 --yes\n"
        "  lab clean --json | jq '.[].run'",
    )
    clean.add_argument("run", nargs="?", metavar="RUN", help="only of this run, by its id")
    clean.add_argument("--yes", action="store_true", help="remove what was shown; results stay in any case")
    as_json(clean)
