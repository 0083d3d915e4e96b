"""Averages over the last one to two periods."""

from __future__ import annotations

from pgswitch.stats.counters import NAMES, NOTHING, Periods, average, plus, stats_line


def counts(**given: int) -> tuple[int, ...]:
    """Return a set of counts, zero where not given."""
    return tuple(given.get(name, 0) for name in NAMES)


def test_average() -> None:
    """Counts per second; times per query, transaction and assignment."""
    before = counts(query_count=10, query_time=1000)
    now = counts(
        query_count=30,
        query_time=9000,
        xact_count=5,
        xact_time=501,
        server_assignment_count=2,
        wait_time=5,
        client_bytes=99,
    )
    assert average(before, now, 10.0) == counts(
        query_count=2, query_time=400, xact_time=100, wait_time=2, client_bytes=9
    )


def test_nothing_happened() -> None:
    """No division by zero, neither of time nor of counts."""
    assert average(NOTHING, NOTHING, 0.0) == NOTHING


def test_a_freed_pool_gives_no_negative_average() -> None:
    """Counts that went down are taken for none."""
    assert average(counts(query_count=10), counts(query_count=5), 1.0) == NOTHING


def test_the_window() -> None:
    """The present is compared with the end of the period before last."""
    periods = Periods(0.0)
    one = {"a": counts(query_count=100)}
    assert periods.averages(10.0, one) == {"a": counts(query_count=10)}
    periods.end_of_period(60.0, {"a": counts(query_count=600)})
    periods.end_of_period(120.0, {"a": counts(query_count=1200)})
    now = {"a": counts(query_count=1500), "b": counts(query_count=90)}
    assert periods.averages(150.0, now) == {
        "a": counts(query_count=10),
        "b": counts(query_count=1),
    }
    assert periods.of_all(150.0, now) == counts(query_count=11)
    assert periods.last(150.0, now) == counts(query_count=13)


def test_plus() -> None:
    """Count by count."""
    one = counts(query_count=1, xact_count=2)
    assert plus(one, one) == counts(query_count=2, xact_count=4)


def test_stats_line() -> None:
    """The reference's words."""
    line = stats_line(counts(xact_count=1, query_count=2, client_bytes=3, wait_time=4))
    assert line == (
        "stats: 1 xacts/s, 2 queries/s, 0 client parses/s, 0 server parses/s,"
        " 0 binds/s, 0 client logins/s, in 3 B/s, out 0 B/s, xact 0 us,"
        " query 0 us, wait 4 us"
    )
