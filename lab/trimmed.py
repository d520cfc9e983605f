"""The mean of a leg's requests without the slowest: what a gate goes by. Pure; docs/statistics.md says why.

Source: one-sided trimming as in Staudte, Sheather, "Robust estimation and testing" (1990), section 3.2. The slowest
requests are those in which something else had the CPU, and two in a hundred carry half of the noise of all.
"""

from collections.abc import Mapping

FIGURE = "trimmed"
LEFT_OUT_PERCENT = 2  # of the requests: the slowest


def mean(times: Mapping[int, int]) -> float:
    """Of usec -> how many requests took that; of none there is none (ValueError)."""
    total = sum(times.values())
    if not total:
        raise ValueError("no request")
    kept = total - total * LEFT_OUT_PERCENT // 100
    left, found = kept, 0
    for usec in sorted(times):
        some = min(times[usec], left)
        found += usec * some
        left -= some
    return found / kept
