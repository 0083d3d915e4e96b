"""Counts and averages, by database and in all."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple
from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import FailureSnapshot, StatsReport, StatsSnapshot
from pgswitch.stats.percentiles import RecentTimes, TimesOf, fresh, percentiles
from pgswitch.stats.periods import NOTHING, Periods, Totals, plus
from pgswitch.types import CONSOLE_DATABASES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.registry import Pools

CONSOLE = CONSOLE_DATABASES[0]
SERVER = "server"
"""The cause of an error that a server has told its client of."""


class StatisticsView:
    """The SHOW STATS family, and the line of each stats_period."""

    def __init__(self, context: PoolContext, pools: Pools) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._pools = pools
        self.periods = Periods(context.clock())
        self._recent = RecentTimes()

    def totals(self) -> dict[str, Totals]:
        """Return the counts of each database that has a pool, and the console's."""
        totals: dict[str, Totals] = {}
        for pool in self._pools:
            name = pool.key.database
            counts = pool.rack.counters.values()
            totals[name] = plus(totals.get(name, NOTHING), counts)
        totals[CONSOLE] = self._context.console_counters.values()
        return totals

    def _times(self) -> dict[str, TimesOf]:
        """Return copies of the times of each database that has a pool."""
        found: dict[str, TimesOf] = {}
        for pool in self._pools:
            times = found.setdefault(pool.key.database, fresh())
            counters = pool.rack.counters
            times.query.add(counters.query_times)
            times.query.add(counters.single_times)
            times.transaction.add(counters.xact_times)
            times.transaction.add(counters.single_times)
            times.wait.add(counters.wait_times)
        return found

    def percentiles(self) -> Mapping[str, Sequence[int]]:
        """Return p50, p95 and p99 of queries, transactions and waits."""
        return {name: percentiles(times) for name, times in self.recent().items()}

    def recent(self) -> Mapping[str, TimesOf]:
        """Return what was timed of late, by database."""
        return self._recent.recent(self._times())

    def errors(self) -> Sequence[FailureSnapshot]:
        """Return what clients were told of, by us and by servers."""
        ours = [FailureSnapshot(*one) for one in self._context.failures]
        counts: Counter[tuple[str, str]] = Counter()
        for pool in self._pools:
            for sqlstate, count in pool.rack.counters.errors.items():
                counts[pool.key.database, sqlstate.decode("latin-1")] += count
        servers = [
            FailureSnapshot(*key, SERVER, count) for key, count in counts.items()
        ]
        return sorted([*ours, *servers], key=astuple)

    def end_period(self, now: float) -> Totals:
        """Note the counts at the end of a period; return its averages."""
        totals = self.totals()
        averages = self.periods.last(now, totals)
        self.periods.end_of_period(now, totals)
        self._recent.end_of_period(self._times())
        return averages

    def stats(self) -> StatsReport:
        """Return the counters now and their averages."""
        now = self._context.clock()
        totals = self.totals()
        averages = self.periods.averages(now, totals)
        total = NOTHING
        for counts in totals.values():
            total = plus(total, counts)
        return StatsReport(
            totals={name: StatsSnapshot(*one) for name, one in totals.items()},
            averages={name: StatsSnapshot(*one) for name, one in averages.items()},
            total=StatsSnapshot(*total),
            total_averages=StatsSnapshot(*self.periods.of_all(now, totals)),
        )

    def go_on_with(self, recent: Mapping[str, TimesOf]) -> None:
        """Take the present counts, another process's, as those of the beginning.

        ``recent`` is what that process has timed of late.
        """
        now, totals = self._context.clock(), self.totals()
        for _ in range(2):
            self.periods.end_of_period(now, totals)
        self._recent.inherit(recent)
