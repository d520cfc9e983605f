"""How a cell's Kamailio and SIPp are observed: what each value of the key `observe` means. Plain values.

Each way but the last differs from `log` in one thing, so that a ratio against it is the cost of that thing.
"""

from dataclasses import dataclass
from typing import Literal

LOG, NO_LOG = "log", "no-log"


@dataclass(frozen=True, slots=True)
class Observation:
    """What is written while a slice runs, and where to."""

    # Kamailio's log: into a file in memory; through a pipe to tee, into that file; or to Docker's json-file driver
    sink: Literal["file", "pipe", "docker"] = "file"
    logged: bool = True  # a latency line a request; otherwise it is switched off while Kamailio runs
    colour: bool = False  # Kamailio's -e
    traced: bool = False  # SIPp's -trace_msg


WAYS = {
    LOG: Observation(),
    NO_LOG: Observation(logged=False),
    "pipe": Observation(sink="pipe"),
    "docker": Observation(sink="docker"),
    "colour": Observation(colour=True),
    "trace": Observation(traced=True),
    "page": Observation(sink="pipe", colour=True, traced=True),  # of 2018
}
