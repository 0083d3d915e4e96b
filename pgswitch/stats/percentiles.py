"""Percentiles of the last one to two periods, for the same reason as averages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pgswitch.stats.times import Times

SHARES: Final = (0.5, 0.95, 0.99)


class TimesOf(NamedTuple):
    """What is timed in one database."""

    query: Times
    transaction: Times
    wait: Times


def fresh() -> TimesOf:
    """Return times of which there are none."""
    return TimesOf(Times(), Times(), Times())


def percentiles(times: TimesOf) -> tuple[int, ...]:
    """Return the percentiles of queries, then transactions, then waits."""
    return tuple(one.percentile(share) for one in times for share in SHARES)


class Before(NamedTuple):
    """What recent times are told from, as of one moment."""

    older: Mapping[str, TimesOf]
    """At the end of the period before last, by database."""
    inherited: Mapping[str, TimesOf]
    """What another process has timed, which counts too."""

    def recent(self, name: str, present: TimesOf) -> TimesOf:
        """Return what came to the present times of a database since then."""
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
    """Remembers the times at the ends of the last two periods."""

    def __init__(self) -> None:
        """Begin with none."""
        self._older: Mapping[str, TimesOf] = {}
        self._newer: Mapping[str, TimesOf] = {}
        self._inherited: Mapping[str, TimesOf] = {}
        self._periods_left = 0
        """For how long those count."""

    def inherit(self, times: Mapping[str, TimesOf]) -> None:
        """Count in what another process has timed of late, for two periods."""
        self._inherited, self._periods_left = times, 2

    def end_of_period(self, present: Mapping[str, TimesOf]) -> None:
        """Note the times of each database, which must be copies."""
        self._older, self._newer = self._newer, present
        self._periods_left -= 1
        if self._periods_left <= 0:
            self._inherited = {}

    def recent(self, present: Mapping[str, TimesOf]) -> dict[str, TimesOf]:
        """Return what came since the period before last, by database."""
        before = self.before()
        return {
            name: before.recent(name, present.get(name) or fresh())
            for name in {**present, **before.inherited}
        }

    def before(self) -> Before:
        """Return what recent times are told from at present."""
        return Before(self._older, self._inherited)
