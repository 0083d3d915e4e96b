"""A histogram of durations, of fixed size, for percentiles.

It has eight buckets for each doubling, so a percentile is at most an eighth too high.
Histograms of several pools, or of two points in time, are added and subtracted bucket
by bucket.  This file is in the typed subset that mypyc compiles, and also runs
interpreted.

Percentiles are taken over the last one to two periods (counters.py explains why).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

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


SHARES: Final = (0.5, 0.95, 0.99)


class TimesOf(NamedTuple):
    """The histograms of one database."""

    query: Times
    transaction: Times
    wait: Times


def fresh() -> TimesOf:
    """Return empty histograms."""
    return TimesOf(Times(), Times(), Times())


def percentiles(times: TimesOf) -> tuple[int, ...]:
    """Return the percentiles of queries, then of transactions, then of waits."""
    return tuple(one.percentile(share) for one in times for share in SHARES)


class Before(NamedTuple):
    """The times to subtract from the present ones to get recent times."""

    older: Mapping[str, TimesOf]
    """At the end of the period before last, by database."""
    inherited: Mapping[str, TimesOf]
    """Times of the process we took over from, which count as well."""

    def recent(self, name: str, present: TimesOf) -> TimesOf:
        """Return the times that a database has added since then."""
        older = self.older.get(name)
        found = TimesOf(
            *(
                now.since(before)
                for now, before in zip(present, older or fresh(), strict=True)
            )
        )
        for now, also in zip(found, self.inherited.get(name, ()), strict=False):
            now.add(also)
        return found


class RecentTimes:
    """The times at the ends of the last two periods."""

    def __init__(self) -> None:
        """Start with no times."""
        self._older: Mapping[str, TimesOf] = {}
        self._newer: Mapping[str, TimesOf] = {}
        self._inherited: Mapping[str, TimesOf] = {}
        self._periods_left = 0
        """How many more periods the inherited times count."""

    def inherit(self, times: Mapping[str, TimesOf]) -> None:
        """Include another process's recent times for two periods."""
        self._inherited, self._periods_left = times, 2

    def end_of_period(self, present: Mapping[str, TimesOf]) -> None:
        """Store the times of each database, which must be copies."""
        self._older, self._newer = self._newer, present
        self._periods_left -= 1
        if self._periods_left <= 0:
            self._inherited = {}

    def recent(self, present: Mapping[str, TimesOf]) -> dict[str, TimesOf]:
        """Return the times since the end of the period before last, by database."""
        before = self.before()
        return {
            name: before.recent(name, present.get(name) or fresh())
            for name in {**present, **before.inherited}
        }

    def before(self) -> Before:
        """Return the times to subtract from the present ones."""
        return Before(self._older, self._inherited)
