"""What each command does. The one place that knows both sides of the wall; everything is loaded when it is needed."""

import argparse
from collections.abc import Callable

from lab.commands import archives, capacity, comparisons, counts, gate, machine, runs, testbed

COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "doctor": machine.doctor,
    "tune": machine.tune,
    "cpus": machine.cpus,
    "images": testbed.images,
    "export-images": testbed.export_images,
    "import-images": testbed.import_images,
    "engines": testbed.engines,
    "up": testbed.up,
    "down": testbed.down,
    "clean": testbed.clean,
    "run": runs.run,
    "resume": runs.resume,
    "capacity": capacity.capacity,
    "count": counts.count,
    "frames": runs.frames,
    "report": runs.report,
    "open": runs.open_,
    "published": runs.published,
    "resolution": runs.resolution,
    "observer": runs.observer,
    "gate": gate.gate,
    "aa": gate.aa,
    "compare": comparisons.compare,
    "history": comparisons.history,
    "archive": archives.archive,
    "verify": archives.verify,
    "restore": archives.restore,
    "reproduce": archives.reproduce,
}
