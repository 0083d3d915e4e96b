"""Percentiles of bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.rules.measures import Measures, Times


@given(st.lists(st.integers(0, 10**9), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_percentiles(durations: list[int], share: float) -> None:
    """At most a quarter above the true one, and never below it."""
    times = Times()
    for duration in durations:
        times.note(duration)
    ordered = sorted(durations)
    rank = max(-(-int(share * 100) * len(ordered) // 100), 1)
    true = ordered[rank - 1]
    assert true <= times.percentile(share) <= max(true * 1.25, true + 1)


def test_none() -> None:
    """Without durations all is zero."""
    assert Times().percentile(0.5) == 0
    assert Measures().times.count == 0


@pytest.mark.parametrize("long", [2**39, 2**60])
def test_very_long(long: int) -> None:
    """What exceeds all buckets is in the last."""
    times = Times()
    times.note(long)
    assert times.longest == long
    assert 0 < times.percentile(1) <= long
