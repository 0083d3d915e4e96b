"""Counts and averages, by database and in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import StatsReport, StatsSnapshot
from pgswitch.stats.periods import NOTHING, Periods, Totals, plus
from pgswitch.types import CONSOLE_DATABASES

if TYPE_CHECKING:
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.registry import Pools

CONSOLE = CONSOLE_DATABASES[0]


class StatisticsView:
    """The SHOW STATS family, and the line of each stats_period."""

    def __init__(self, context: PoolContext, pools: Pools) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._pools = pools
        self.periods = Periods(context.clock())

    def totals(self) -> dict[str, Totals]:
        """Return the counts of each database that has a pool."""
        totals: dict[str, Totals] = {}
        for pool in self._pools:
            name = pool.key.database
            counts = pool.rack.counters.values()
            totals[name] = plus(totals.get(name, NOTHING), counts)
        return totals

    def stats(self) -> StatsReport:
        """Return the counters now and their averages."""
        now = self._context.clock()
        totals = {**self.totals(), CONSOLE: NOTHING}
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

    def begin_anew(self) -> None:
        """Take the present counts, another process's, as those of the beginning."""
        now, totals = self._context.clock(), self.totals()
        self.periods.end_of_period(now, totals)
        self.periods.end_of_period(now, totals)
