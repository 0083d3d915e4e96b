"""Percentiles over the last one to two periods (``periods`` explains why)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pgswitch.stats.times import Times

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
