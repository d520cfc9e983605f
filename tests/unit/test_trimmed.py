"""The mean without the slowest two requests of a hundred."""

from collections import Counter

import numpy as np
import pytest

from lab import trimmed


def test_two_in_a_hundred_are_left_out() -> None:
    """The slowest, however slow they are."""
    usec = [10] * 97 + [20, 5000, 900000]
    assert trimmed.mean(Counter(usec)) == pytest.approx((970 + 20) / 98)


def test_of_fewer_than_fifty_all_count() -> None:
    """Two in a hundred of them are none."""
    assert trimmed.mean(Counter([10] * 48 + [1000])) == pytest.approx((480 + 1000) / 49)


def test_it_is_that_of_the_sorted_requests() -> None:
    """Also where the last one that counts shares its usec with some that do not."""
    usec = np.random.default_rng(5).lognormal(4, 0.8, 4321).astype(int)
    assert trimmed.mean(Counter(usec.tolist())) == pytest.approx(np.sort(usec)[: 4321 - 4321 * 2 // 100].mean())


def test_of_no_request_there_is_none() -> None:
    """Not zero."""
    with pytest.raises(ValueError, match="no request"):
        trimmed.mean({})
