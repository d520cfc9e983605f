"""Commands that set runs beside each other: compare, history."""

import argparse
import json
from dataclasses import asdict

from lab.errors import Exit
from lab.output import say


def compare(options: argparse.Namespace) -> int:
    """Two datasets, or two cells of one."""
    from lab import compare
    from lab.report import compare as page

    found = compare.read(options.results, options.first, options.second)
    whole = {**asdict(found), "comparable": found.comparable}
    say(json.dumps(whole, indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK if found.valid else Exit.INVALID


def history(options: argparse.Namespace) -> int:
    """Ratios of all runs in a folder, and where they changed."""
    from lab import history
    from lab.report import history as page

    found = history.read(options.results, options.name)
    say(json.dumps(asdict(found), indent=1) if options.json else page.markdown(found), end="\n" * options.json)
    return Exit.OK
