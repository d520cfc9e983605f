"""In a process that has this folder in PYTHONPATH: its wall clock, shifted by the seconds that the file LAB_CLOCK has.

faketime cannot do it: with it preloaded Python's time.sleep fails (EINVAL, seen with 0.9.10 and Python 3.11).
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

_SECONDS = Path(os.environ["LAB_CLOCK"])
_NSEC = 1_000_000_000


def _shifted(real_nsec: Callable[[], int] = time.time_ns) -> int:
    return real_nsec() + int(_SECONDS.read_text()) * _NSEC


time.time_ns = _shifted
time.time = lambda: _shifted() / _NSEC
