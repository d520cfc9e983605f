"""A release that prints its configuration, held against what lab/preprocess.py works out from its files."""

import re

from lab.preprocess import evaluate
from lab.sampling import sections


def both(proof: str) -> tuple[list[str], list[str]]:
    """What is worked out from the files of an engine proof, and what Kamailio printed: the lines that say something.

    Neither comments nor definitions, which it prints along. The second is empty where it cannot print.
    """
    parts = sections(proof, {"arguments", "configuration", "files"})
    pieces = re.split(r"^=== (\S+)\n", parts["files"], flags=re.MULTILINE)[1:]
    arguments = parts["arguments"].splitlines()
    main = arguments[arguments.index("-f") + 1]
    worked_out = evaluate(dict(zip(pieces[::2], pieces[1::2], strict=True)), main, arguments)
    return _lines(worked_out), _lines(parts["configuration"])


def _lines(text: str) -> list[str]:
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith(("#", "//"))]
