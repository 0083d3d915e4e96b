"""Percentiles of bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.stats.times import BUCKETS, Times

DURATIONS = st.lists(st.integers(0, 10**9))
SHARES = st.sampled_from([0.5, 0.9, 0.99])


def times_of(durations: list[int]) -> Times:
    """Return what noted these."""
    times = Times()
    for duration in durations:
        times.note(duration)
    return times


@given(st.lists(st.integers(0, 10**9), min_size=1), SHARES)
def test_percentiles(durations: list[int], share: float) -> None:
    """At most an eighth above the true one, and never below it."""
    times = times_of(durations)
    ordered = sorted(durations)
    rank = max(-(-int(share * 100) * len(ordered) // 100), 1)
    true = ordered[rank - 1]
    assert true <= times.percentile(share) <= max(true * 1.125, true)


@given(DURATIONS, DURATIONS, SHARES)
def test_sums_and_differences(one: list[int], other: list[int], share: float) -> None:
    """Histograms add up as if all had been noted in one; what was before goes off."""
    both = times_of(one)
    both.add(times_of(other))
    assert both.buckets == times_of(one + other).buckets
    assert both.percentile(share) == times_of(one + other).percentile(share)
    recent = both.since(times_of(one))
    assert recent.buckets == times_of(other).buckets
    assert recent.count == len(other)


def test_less_than_before() -> None:
    """A pool that is gone took its counts along; nothing becomes negative."""
    recent = Times().since(times_of([5, 6]))
    assert (recent.count, recent.percentile(0.5)) == (0, 0)


def test_none() -> None:
    """Without durations all is zero."""
    assert Times().percentile(0.5) == 0


@pytest.mark.parametrize("long", [2**39, 2**60])
def test_very_long(long: int) -> None:
    """What exceeds all buckets is in the last; a clock that went back is 0."""
    times = times_of([long, -5])
    assert times.longest == long
    assert 0 < times.percentile(1) <= long
    assert times.buckets[0] == 1
    assert len(times.buckets) == BUCKETS


def test_nothing_costs_nothing() -> None:
    """Of thousands of pools most are idle: their buckets are not looked at."""
    times, idle = Times(), Times()
    times.note(5)
    idle.buckets = []
    times.add(idle)
    assert times.count == 1
    assert idle.percentile(0.5) == 0
    assert idle.since(idle).count == 0
    assert times.since(times).count == 0
