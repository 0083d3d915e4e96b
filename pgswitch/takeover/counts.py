"""What was counted and timed, for the process that goes on with it.

Counters go pool by pool; the errors that we told clients of and the times of late,
which percentiles are told of, as they are shown: by database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.stats.counters import NAMES
from pgswitch.stats.error_counts import ErrorCount
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
    """Pack all that SHOW STATS, ERRORS and STATS_PERCENTILES tell of."""
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
    """Go on with what was packed; what is of databases that are gone is dropped."""
    for database, user, counts in packed.get("counters", []):
        spec = pools.spec(database)
        if spec is not None:
            _go_on(pools.pool_of(spec, user).idle_pool.counters, counts)
    if "console" in packed:  # An older process has not counted it.
        _go_on(context.console_counters, packed["console"])
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


def _go_on(counters: Counters, counts: Iterable[int]) -> None:
    """Have counters go on from counts, in the order of NAMES."""
    for name, number in zip(NAMES, counts, strict=True):
        setattr(counters, name, number)


def _pack_times(times: Times) -> list[object]:
    """Pack a histogram: the longest, and the buckets that are not empty."""
    filled = {str(bucket): n for bucket, n in enumerate(times.buckets) if n}
    return [times.longest, filled]


def _unpack_times(packed: list[object]) -> Times:
    """Restore a histogram; buckets that we do not have count as the last one."""
    times = Times()
    longest, filled = packed
    assert isinstance(longest, int)  # noqa: S101 - as it was packed
    assert isinstance(filled, dict)  # noqa: S101 - as it was packed
    times.longest = longest
    for bucket, number in filled.items():
        times.buckets[min(int(bucket), BUCKETS - 1)] += number
        times.count += number
    return times
