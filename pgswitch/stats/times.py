"""Durations in a histogram of fixed size, of which percentiles can be told.

Eight buckets for each doubling, so a percentile is at most an eighth too high.
Histograms of several pools, or of several moments, add up and subtract bucket by
bucket.  This file is written in the typed subset that mypyc compiles and also runs as
it is.
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
"""The buckets of durations that are usual."""


class Times:
    """How many durations fell into each bucket."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self.longest = 0
        self.buckets = [0] * BUCKETS

    def note(self, microseconds: int) -> None:
        """Add one duration."""
        self.count += 1
        if microseconds > self.longest:  # noqa: PLR1730 - max would be a call more
            self.longest = microseconds
        if 0 <= microseconds < _SHORT:
            bucket = _BUCKETS[microseconds]
        else:
            bucket = _bucket(microseconds)
        buckets = self.buckets
        buckets[bucket] = buckets[bucket] + 1  # compiled, += is slower

    def add(self, other: Times) -> None:
        """Add all that another has noted."""
        if other.count == 0:  # as in most of thousands of pools
            return
        self.count += other.count
        self.longest = max(self.longest, other.longest)
        for bucket, count in enumerate(other.buckets):
            if count:
                self.buckets[bucket] += count

    def since(self, before: Times) -> Times:
        """Return what was noted since ``before``, a copy of an earlier moment."""
        recent = Times()
        recent.longest = self.longest
        if self.buckets == before.buckets:
            return recent
        for bucket, count in enumerate(self.buckets):
            # Less than before there are when a pool of a database is gone.
            more = max(count - before.buckets[bucket], 0)
            recent.buckets[bucket] = more
            recent.count += more
        return recent

    def percentile(self, share: float) -> int:
        """Return what ``share`` of the durations do not exceed; 0 for none."""
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
    """Return the longest duration that falls into a bucket."""
    if bucket < _PER_DOUBLING:
        return bucket
    doublings, part = divmod(bucket - _PER_DOUBLING, _PER_DOUBLING)
    return (part + _PER_DOUBLING + 1 << doublings) - 1
