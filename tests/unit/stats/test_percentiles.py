"""Percentiles of the last one to two periods."""

from __future__ import annotations

from pgswitch.stats.times import RecentTimes, TimesOf, fresh, percentiles


def asked(*durations: int) -> dict[str, TimesOf]:
    """Return the times of a database with these queries."""
    times = fresh()
    for duration in durations:
        times.query.note(duration)
    return {"db": times}


def test_the_order() -> None:
    """Queries, transactions, waits; each p50, p95, p99."""
    times = fresh()
    for duration in range(1, 101):
        times.query.note(duration)
        times.wait.note(7)
    p50, p95, p99, *others = percentiles(times)
    assert 50 <= p50 <= 56
    assert 95 <= p95 <= 100
    assert p95 <= p99 <= 100
    assert others == [0, 0, 0, 7, 7, 7]


def test_what_is_recent() -> None:
    """Everything at first; after two periods what came before is history."""
    recent = RecentTimes()
    assert recent.recent(asked(1000))["db"].query.count == 1
    recent.end_of_period(asked(1000))
    assert recent.recent(asked(1000, 5))["db"].query.count == 2
    recent.end_of_period(asked(1000, 5))
    assert recent.recent(asked(1000, 5, 5))["db"].query.percentile(1) == 5
    assert recent.recent({}) == {}
