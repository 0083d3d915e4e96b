"""Serializes statistics for the process that takes over.

Counters are packed by pool; our errors and the recent times for percentiles are packed
by database, as the console shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.stats.counters import NAMES, ErrorCount
from pgswitch.stats.percentiles import TimesOf
from pgswitch.stats.times import BUCKETS, Times
from pgswitch.takeover.serialize import Packed, raw, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgswitch.admin.statistics import Statistics
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.stats.counters import Counters


def pack_counts(
    context: ServiceContext, pools: Pools, statistics: Statistics
) -> Packed:
    """Pack the statistics of SHOW STATS, ERRORS and STATS_PERCENTILES."""
    return {
        "counters": [[*pool.key, pool.idle_pool.counters.values()] for pool in pools],
        "console": context.console_counters.values(),
        "errors": [
            [*pool.key, {text(code): n for code, n in found.items()}]
            for pool in pools
            if (found := pool.idle_pool.counters.errors)
        ],
        "failures": list(context.failures),
        "times": {
            name: [_pack_times(one) for one in times]
            for name, times in statistics.recent().items()
        },
    }


def unpack_counts(
    packed: Packed, context: ServiceContext, pools: Pools, statistics: Statistics
) -> None:
    """Restore what was packed, except for databases that no longer exist."""
    for database, user, counts in packed.get("counters", []):
        spec = pools.spec(database)
        if spec is not None:
            _restore(pools.pool_of(spec, user).idle_pool.counters, counts)
    if "console" in packed:  # Missing from an older process.
        _restore(context.console_counters, packed["console"])
    for database, user, errors in packed.get("errors", []):
        spec = pools.spec(database)
        if spec is not None:
            found = pools.pool_of(spec, user).idle_pool.counters.errors
            found.update({raw(code): number for code, number in errors.items()})
    for failure in packed.get("failures", []):
        context.failures.restore(ErrorCount(*failure))
    statistics.go_on_with(
        {
            name: TimesOf(*map(_unpack_times, times))
            for name, times in packed.get("times", {}).items()
        }
    )


def _restore(counters: Counters, counts: Iterable[int]) -> None:
    """Set counters to counts, which are in the order of NAMES."""
    for name, number in zip(NAMES, counts, strict=True):
        setattr(counters, name, number)


def _pack_times(times: Times) -> list[object]:
    """Pack a histogram: the longest time and the nonempty buckets."""
    filled = {str(bucket): n for bucket, n in enumerate(times.buckets) if n}
    return [times.longest, filled]


def _unpack_times(packed: list[object]) -> Times:
    """Restore a histogram; buckets that we do not have go into the last one."""
    times = Times()
    longest, filled = packed
    assert isinstance(longest, int)  # noqa: S101 - as it was packed
    assert isinstance(filled, dict)  # noqa: S101 - as it was packed
    times.longest = longest
    for bucket, number in filled.items():
        times.buckets[min(int(bucket), BUCKETS - 1)] += number
        times.count += number
    return times
