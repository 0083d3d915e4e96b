"""Counts and averages, by database and in all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pgswitch.admin.rows import PAUSE
from pgswitch.admin.snapshots import FailureSnapshot, StatsReport, StatsSnapshot
from pgswitch.stats.error_counts import ErrorCount
from pgswitch.stats.percentiles import RecentTimes, TimesOf, fresh, percentiles
from pgswitch.stats.periods import Periods, Totals, plus, sum_of
from pgswitch.types import CONSOLE_DATABASES
from pgswitch.views.steps import POOLS_A_STEP, finished, shown

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools

CONSOLE = CONSOLE_DATABASES[0]
SERVER = "server"
"""The cause of an error that a server has told its client of."""


class StatisticsView:
    """The SHOW STATS family, and the line of each stats_period."""

    def __init__(self, context: ServiceContext, pools: Pools) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._pools = pools
        self.periods = Periods(context.clock())
        self._recent = RecentTimes()

    # Of thousands of pools, each in a step of its own or a few in one: counts of
    # different pools may be some milliseconds apart.

    def _gather_totals(self) -> Generator[None, None, dict[str, Totals]]:
        """Return the counts of each database that has a pool, and the console's."""
        totals: dict[str, Totals] = {}
        for number, pool in enumerate(self._pools, 1):
            name = pool.key.database
            counts = pool.idle_pool.counters.values()
            before = totals.get(name)
            totals[name] = counts if before is None else plus(before, counts)
            if number % POOLS_A_STEP == 0:
                yield
        totals[CONSOLE] = self._context.console_counters.values()
        return totals

    def _gather_times(self) -> Generator[None, None, dict[str, TimesOf]]:
        """Return copies of the times of each database that has a pool."""
        found: dict[str, TimesOf] = {}
        for pool in self._pools:
            _add(found.setdefault(pool.key.database, fresh()), pool)
            yield
        return found

    def percentiles(self) -> Mapping[str, Sequence[int]]:
        """Return p50, p95 and p99 of queries, transactions and waits."""
        return dict(shown(self.each_percentiles()))

    def each_percentiles(self) -> Iterator[tuple[str, Sequence[int]] | None]:
        """Yield them by database, in order."""
        before = self._recent.before()
        pools: dict[str, list[ServerPool]] = {}
        for pool in self._pools:
            pools.setdefault(pool.key.database, []).append(pool)
        names = sorted({*pools, *before.inherited})
        yield from PAUSE
        for name in names:
            times = fresh()
            for pool in pools.get(name, ()):
                _add(times, pool)
                yield None
            recent = before.recent(name, times)
            yield None
            yield name, percentiles(recent)

    def recent(self) -> Mapping[str, TimesOf]:
        """Return what was timed of late, by database."""
        return self._recent.recent(finished(self._gather_times()))

    def errors(self) -> Sequence[FailureSnapshot]:
        """Return what clients were told of, by us and by servers."""
        return shown(self.each_error())

    def each_error(self) -> Iterator[FailureSnapshot | None]:
        """Yield the same one by one."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for number, pool in enumerate(self._pools, 1):
            for sqlstate, count in pool.idle_pool.counters.errors.items():
                key = (pool.key.database, sqlstate.decode("latin-1"), SERVER)
                counts[key] += count
            if number % POOLS_A_STEP == 0:
                yield None
        servers = [ErrorCount(*key, count, 0.0) for key, count in counts.items()]
        found = sorted([*self._context.failures, *servers])
        yield from PAUSE
        for one in found:
            yield FailureSnapshot(*one)

    def end_period(self, now: float) -> Totals:
        """Note the counts at the end of a period; return its averages."""
        return finished(self.gather_period(now))

    def gather_period(self, now: float) -> Generator[None, None, Totals]:
        """Return the same in steps; all is noted with the last of them."""
        totals = yield from self._gather_totals()
        times = yield from self._gather_times()
        averages = self.periods.last(now, totals)
        self.periods.end_of_period(now, totals)
        self._recent.end_of_period(times)
        return averages

    def stats(self) -> StatsReport:
        """Return the counters now and their averages."""
        return finished(self.gather_stats())

    def gather_stats(self) -> Generator[None, None, StatsReport]:
        """Return the same in steps."""
        now = self._context.clock()
        totals = yield from self._gather_totals()
        report = StatsReport(
            total=StatsSnapshot(*sum_of(totals.values())),
            total_averages=StatsSnapshot(*self.periods.of_all(now, totals)),
        )
        for name, averages in self.periods.each_average(now, totals):
            report.totals[name] = StatsSnapshot(*totals[name])
            report.averages[name] = StatsSnapshot(*averages)
            yield
        return report

    def go_on_with(self, recent: Mapping[str, TimesOf]) -> None:
        """Take the present counts, another process's, as those of the beginning.

        ``recent`` is what that process has timed of late.
        """
        now, totals = self._context.clock(), finished(self._gather_totals())
        for _ in range(2):
            self.periods.end_of_period(now, totals)
        self._recent.inherit(recent)


def _add(times: TimesOf, pool: ServerPool) -> None:
    """Add what a pool has timed."""
    counters = pool.idle_pool.counters
    times.query.add(counters.query_times)
    times.query.add(counters.single_times)
    times.transaction.add(counters.xact_times)
    times.transaction.add(counters.single_times)
    times.wait.add(counters.wait_times)
