"""What is counted and timed about one function of the user.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

_PER_DOUBLING: Final = 4
_BUCKETS: Final = 160
"""Up to 2 to the 40th microseconds, twelve days."""


def _bucket(microseconds: int) -> int:
    """Return the bucket of a duration."""
    if microseconds < _PER_DOUBLING:
        return microseconds
    doublings = microseconds.bit_length() - _PER_DOUBLING.bit_length()
    return min(doublings * _PER_DOUBLING + (microseconds >> doublings), _BUCKETS - 1)


_SHORT: Final = bytes([_bucket(microseconds) for microseconds in range(256)])
"""The buckets of durations that are usual."""


class Times:
    """Durations in buckets, four for each doubling: about 20 % fine, of fixed size."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self.longest = 0
        self._buckets = [0] * _BUCKETS

    def note(self, microseconds: int) -> None:
        """Add one duration."""
        self.count += 1
        if microseconds > self.longest:  # noqa: PLR1730 - max would be a call more
            self.longest = microseconds
        if microseconds < len(_SHORT):
            self._buckets[_SHORT[microseconds]] += 1
        else:
            self._buckets[_bucket(microseconds)] += 1

    def percentile(self, share: float) -> int:
        """Return what ``share`` of the durations do not exceed; 0 for none."""
        wanted = share * self.count
        seen = 0
        for bucket, count in enumerate(self._buckets):
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


class Measures:
    """The row of SHOW RULES."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.times = Times()
        self.kept = 0
        """Answers given from the store of a cacheable module, without a call."""
        self.moves = 0
        self.rewrites = 0
        self.errors = 0
        self.refused = 0
        """Moves asked for inside a transaction, or clients ended for a failure."""
        self.unknown = 0
        """Keys that are no ``[databases]`` entry."""
        self.last_error = ""
