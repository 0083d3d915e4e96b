"""A histogram of durations, of fixed size, for percentiles.

It has eight buckets for each doubling, so a percentile is at most an eighth too high.
Histograms of several pools, or of two points in time, are added and subtracted bucket
by bucket.  This file is in the typed subset that mypyc compiles, and also runs
interpreted.
"""

from __future__ import annotations

from typing import Final

_PER_DOUBLING: Final = 8
BUCKETS: Final = 312
"""Up to 2 to the 41st microseconds, three weeks."""


def _bucket(microseconds: int) -> int:
    """Return the bucket of a duration."""
    if microseconds < _PER_DOUBLING:
        return max(microseconds, 0)
    doublings = microseconds.bit_length() - _PER_DOUBLING.bit_length()
    return min(doublings * _PER_DOUBLING + (microseconds >> doublings), BUCKETS - 1)


_SHORT: Final = 1024
_BUCKETS: Final = bytes(_bucket(microseconds) for microseconds in range(_SHORT))
"""Buckets of common durations, looked up by microseconds."""


class Times:
    """The number of durations in each bucket; durations are in microseconds."""

    def __init__(self) -> None:
        """Start empty."""
        self.count = 0
        self.longest = 0
        self.buckets = [0] * BUCKETS

    def note(self, microseconds: int) -> None:
        """Add one duration."""
        self.count += 1
        if microseconds > self.longest:  # noqa: PLR1730 - max() would be another call
            self.longest = microseconds
        if 0 <= microseconds < _SHORT:
            bucket = _BUCKETS[microseconds]
        else:
            bucket = _bucket(microseconds)
        buckets = self.buckets
        buckets[bucket] = buckets[bucket] + 1  # += is slower when compiled

    def add(self, other: Times) -> None:
        """Add the durations of another histogram."""
        if other.count == 0:  # true for most of thousands of pools
            return
        self.count += other.count
        self.longest = max(self.longest, other.longest)
        for bucket, count in enumerate(other.buckets):
            if count:
                self.buckets[bucket] += count

    def since(self, before: Times) -> Times:
        """Return the durations noted since ``before``, an earlier copy."""
        recent = Times()
        recent.longest = self.longest
        if self.buckets == before.buckets:
            return recent
        for bucket, count in enumerate(self.buckets):
            # A count is lower than before when one of the database's pools is gone.
            more = max(count - before.buckets[bucket], 0)
            recent.buckets[bucket] = more
            recent.count += more
        return recent

    def percentile(self, share: float) -> int:
        """Return the duration that ``share`` (0 to 1) of them do not exceed, or 0."""
        if self.count == 0:
            return 0
        wanted = share * self.count
        seen = 0
        for bucket, count in enumerate(self.buckets):
            seen += count
            if count and seen >= wanted:
                return min(_end(bucket), self.longest)
        return 0


def _end(bucket: int) -> int:
    """Return the longest duration that belongs to a bucket."""
    if bucket < _PER_DOUBLING:
        return bucket
    doublings, part = divmod(bucket - _PER_DOUBLING, _PER_DOUBLING)
    return (part + _PER_DOUBLING + 1 << doublings) - 1
