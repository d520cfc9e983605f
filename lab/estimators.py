"""What stands for many times of one leg: mean, trimmed mean, quantiles. Right of the wall; pure."""

from collections.abc import Callable

import numpy as np

TRIM = 0.1  # of the messages at either end

Usec = np.ndarray[tuple[int], np.dtype[np.int64]]


def quantile(share: float) -> Callable[[Usec], float]:
    """Of whole usec in order, each standing for the usec around it: in steps of one, what is smaller would not show.

    Interpolated within the usec that it falls into, as the median of grouped data is (statistics.median_grouped).
    """

    def value(usec: Usec) -> float:
        at = share * usec.size
        whole = usec[min(int(at), usec.size - 1)]
        below, upto = (int(np.searchsorted(usec, whole, side)) for side in ("left", "right"))
        return float(whole) - 0.5 + (at - below) / (upto - below)

    return value


def _trimmed(usec: Usec) -> float:
    cut = int(usec.size * TRIM)
    return float(usec[cut : usec.size - cut].mean())


# Of one leg of one slice, from its times in order.
ESTIMATORS: dict[str, Callable[[Usec], float]] = {
    "mean": lambda usec: float(usec.mean()),
    "trimmed mean": _trimmed,
    "median": quantile(0.5),
    "p25": quantile(0.25),
    "p10": quantile(0.1),
    "quicker half": lambda usec: float(usec[: (usec.size + 1) // 2].mean()),
}
