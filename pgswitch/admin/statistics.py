"""The counters and times of all pools, by database and together.

SHOW STATS and its relatives read them, the log line of each stats_period, and a
takeover (takeover/serialize.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgswitch.admin.incremental import POOLS_PER_STEP, run_all
from pgswitch.admin.result_set import END_OF_SLICE
from pgswitch.stats.counters import CounterValues, Periods, plus, sum_of
from pgswitch.stats.times import RecentTimes, TimesOf, fresh, percentiles
from pgswitch.types import CONSOLE_DATABASES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools


class DatabaseStats(NamedTuple):
    """The counters of one database, and their averages, in the order of NAMES."""

    name: str
    totals: CounterValues
    averages: CounterValues


class StatsReport(NamedTuple):
    """The counters of every database with a pool, and of all of them together.

    ``averages`` is not a sum: average times are taken over the queries of all pools.
    """

    databases: Sequence[DatabaseStats]
    totals: CounterValues
    averages: CounterValues


class Statistics:
    """Gathers counters and times, and remembers them at the ends of periods."""

    def __init__(self, context: ServiceContext, pools: Pools) -> None:
        """Take the pools that count."""
        self._context = context
        self._pools = pools
        self.periods = Periods(context.clock())
        self._recent = RecentTimes()

    # With thousands of pools, each takes a step or shares one with a few others:
    # counters of different pools may be some milliseconds apart.

    def _gather_totals(self) -> Generator[None, None, dict[str, CounterValues]]:
        """Return the counters of each database that has a pool, and the console's."""
        totals: dict[str, CounterValues] = {}
        for number, pool in enumerate(self._pools, 1):
            name = pool.key.database
            counts = pool.idle_pool.counters.values()
            before = totals.get(name)
            totals[name] = counts if before is None else plus(before, counts)
            if number % POOLS_PER_STEP == 0:
                yield
        totals[CONSOLE_DATABASES[0]] = self._context.console_counters.values()
        return totals

    def _gather_times(self) -> Generator[None, None, dict[str, TimesOf]]:
        """Return copies of the times of each database that has a pool."""
        found: dict[str, TimesOf] = {}
        for pool in self._pools:
            _add(found.setdefault(pool.key.database, fresh()), pool)
            yield
        return found

    def gather(self) -> Generator[None, None, StatsReport]:
        """Return the counters now and their averages, in steps."""
        now = self._context.clock()
        totals = yield from self._gather_totals()
        databases = []
        for name, averages in self.periods.each_average(now, totals):
            databases.append(DatabaseStats(name, totals[name], averages))
            yield
        return StatsReport(
            sorted(databases),
            sum_of(totals.values()),
            self.periods.of_all(now, totals),
        )

    def each_percentiles(self) -> Iterator[tuple[str, Sequence[int]] | None]:
        """Yield each database with p50, p95, p99 of queries, transactions, waits."""
        before = self._recent.before()
        pools: dict[str, list[ServerPool]] = {}
        for pool in self._pools:
            pools.setdefault(pool.key.database, []).append(pool)
        names = sorted({*pools, *before.inherited})
        yield from END_OF_SLICE
        for name in names:
            times = fresh()
            for pool in pools.get(name, ()):
                _add(times, pool)
                yield None
            recent = before.recent(name, times)
            yield None
            yield name, percentiles(recent)

    def recent(self) -> Mapping[str, TimesOf]:
        """Return the times of the last one to two periods, by database."""
        return self._recent.recent(run_all(self._gather_times()))

    def gather_period(self, now: float) -> Generator[None, None, CounterValues]:
        """Return the averages of a period that ends now, in steps.

        The last step remembers the counters for later averages.
        """
        totals = yield from self._gather_totals()
        times = yield from self._gather_times()
        averages = self.periods.last(now, totals)
        self.periods.end_of_period(now, totals)
        self._recent.end_of_period(times)
        return averages

    def go_on_with(self, recent: Mapping[str, TimesOf]) -> None:
        """Begin with the present counters, which come from another process.

        ``recent`` is what that process has timed in its last periods.
        """
        now, totals = self._context.clock(), run_all(self._gather_totals())
        for _ in range(2):
            self.periods.end_of_period(now, totals)
        self._recent.inherit(recent)


def _add(times: TimesOf, pool: ServerPool) -> None:
    """Add the times of a pool."""
    counters = pool.idle_pool.counters
    times.query.add(counters.query_times)
    times.query.add(counters.single_times)
    times.transaction.add(counters.xact_times)
    times.transaction.add(counters.single_times)
    times.wait.add(counters.wait_times)
