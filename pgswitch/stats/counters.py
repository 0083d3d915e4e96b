"""Counters of each pool, counts of the errors sent, and averages of them.

Definitions are those of PgBouncer's SHOW STATS.  Times are in microseconds.  This file
is in the typed subset that mypyc compiles, and also runs interpreted.

SHOW STATS and the log show averages over the last one to two periods.  An average over
a few seconds would be noise, one since the start would be history, so the present
counts are compared with those at the end of the period before last. Counts and bytes
become "per second"; times become "per query", "per transaction" and "per assignment".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from pgswitch.stats.times import Times

MAX_CODES: Final = 500
"""Maximum number of SQLSTATEs counted; PostgreSQL has some 250."""
NAMES: Final = (
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "client_parse_count",
    "server_parse_count",
    "bind_count",
    "client_login_count",
)
"""The counters in the order of SHOW STATS."""


class Counters:
    """Counts since the pool was created; they only increase."""

    def __init__(self) -> None:
        """Start at zero."""
        self.server_assignment_count = 0
        self.xact_count = 0
        self.query_count = 0
        self.client_bytes = 0
        self.server_bytes = 0
        self.xact_time = 0
        self.query_time = 0
        self.wait_time = 0
        self.client_parse_count = 0
        self.server_parse_count = 0
        self.bind_count = 0
        self.client_login_count = 0
        self.single_times = Times()
        """Times of queries that were a transaction by themselves, noted only once."""
        self.query_times = Times()
        self.xact_times = Times()
        self.wait_times = Times()
        self.errors: dict[bytes, int] = {}
        """Errors of servers, forwarded to clients, by SQLSTATE."""

    def waited(self, microseconds: int) -> None:
        """Count the end of a wait."""
        self.wait_time += microseconds
        self.wait_times.note(microseconds)

    def failed(self, sqlstate: bytes) -> None:
        """Count an error of a server."""
        count = self.errors.get(sqlstate, 0)
        if count or len(self.errors) < MAX_CODES:
            self.errors[sqlstate] = count + 1

    def values(self) -> tuple[int, ...]:
        """Return the counts in the order of NAMES."""
        return (
            self.server_assignment_count,
            self.xact_count,
            self.query_count,
            self.client_bytes,
            self.server_bytes,
            self.xact_time,
            self.query_time,
            self.wait_time,
            self.client_parse_count,
            self.server_parse_count,
            self.bind_count,
            self.client_login_count,
        )


MAX_ROWS: Final = 1000
"""Maximum number of rows: clients invent names, which must not fill the memory."""
OTHERS: Final = ("(others)", "", "(others)")


class ErrorCount(NamedTuple):
    """One row of SHOW ERRORS: how often an error was sent, and when last."""

    database: str
    sqlstate: str
    cause: str
    number: int
    last_at: float
    """Seconds since the epoch."""


class ErrorCounts:
    """The errors that the pooler itself sent to clients."""

    def __init__(self) -> None:
        """Start with no errors."""
        self._rows: dict[tuple[str, str, str], tuple[int, float]] = {}

    def note(self, database: str, sqlstate: str, cause: str, now: float) -> None:
        """Count an error; ``now`` in seconds since the epoch."""
        key = (database, sqlstate, cause)
        if key not in self._rows and len(self._rows) >= MAX_ROWS:
            key = OTHERS
        count, _last = self._rows.get(key, (0, 0.0))
        self._rows[key] = count + 1, now

    def restore(self, failure: ErrorCount) -> None:
        """Take over a row of another process; ours must not have one yet."""
        self._rows[failure[:3]] = failure.number, failure.last_at

    def __iter__(self) -> Iterator[ErrorCount]:
        """Return the rows in order."""
        return iter(
            [
                ErrorCount(*key, count, last_at)
                for key, (count, last_at) in sorted(self._rows.items())
            ]
        )


CounterValues = tuple[int, ...]
Noted = tuple[float, Mapping[str, CounterValues]]
"""A monotonic time in seconds, and the counts of each database at that time."""

NOTHING: CounterValues = (0,) * len(NAMES)
TIMES_PER = {
    "xact_time": "xact_count",
    "query_time": "query_count",
    "wait_time": "server_assignment_count",
}
"""The count by which each time is divided."""


def plus(one: CounterValues, other: CounterValues) -> CounterValues:
    """Return the sum of two sets of counts."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def sum_of(many: Iterable[CounterValues]) -> CounterValues:
    """Return the sum of any number of sets of counts."""
    return tuple(map(sum, zip(NOTHING, *many, strict=True)))


def average(before: CounterValues, now: CounterValues, seconds: float) -> CounterValues:
    """Return the averages between two points in time, rounded down."""
    passed = dict(
        zip(NAMES, (b - a for a, b in zip(before, now, strict=True)), strict=True)
    )
    length = max(seconds, 1.0)

    def one(name: str) -> int:
        if name in TIMES_PER:
            count = passed[TIMES_PER[name]]
            return passed[name] // count if count > 0 else 0
        return max(int(passed[name] / length), 0)

    return tuple(one(name) for name in NAMES)


class Periods:
    """The counts at the ends of the last two periods."""

    def __init__(self, now: float) -> None:
        """Start at a monotonic time in seconds, with all counts zero."""
        self._older: Noted = (now, {})
        self._newer: Noted = (now, {})

    def end_of_period(self, now: float, totals: Mapping[str, CounterValues]) -> None:
        """Store the counts of each database at the end of a period."""
        self._older = self._newer
        self._newer = (now, dict(totals))

    def averages(
        self, now: float, totals: Mapping[str, CounterValues]
    ) -> dict[str, CounterValues]:
        """Return the averages of each database until now."""
        return dict(self.each_average(now, totals))

    def each_average(
        self, now: float, totals: Mapping[str, CounterValues]
    ) -> Iterator[tuple[str, CounterValues]]:
        """Yield them one by one; the end of a period in between changes nothing."""
        then, before = self._older
        for name, present in totals.items():
            yield name, average(before.get(name, NOTHING), present, now - then)

    def last(self, now: float, totals: Mapping[str, CounterValues]) -> CounterValues:
        """Return the averages of all databases since the end of the last period."""
        return _of_all(self._newer, now, totals)

    def of_all(self, now: float, totals: Mapping[str, CounterValues]) -> CounterValues:
        """Return the averages of all databases together, until now."""
        return _of_all(self._older, now, totals)


def _of_all(
    noted: Noted, now: float, totals: Mapping[str, CounterValues]
) -> CounterValues:
    """Return the averages of all databases together, since ``noted``."""
    then, before = noted
    past = sum_of(before.get(name, NOTHING) for name in totals)
    return average(past, sum_of(totals.values()), now - then)


def stats_line(averages: CounterValues) -> str:
    """Return the log line for the averages of a period."""
    by_name = dict(zip(NAMES, averages, strict=True))
    return (
        "stats: {xact_count} xacts/s, {query_count} queries/s,"
        " {client_parse_count} client parses/s, {server_parse_count} server parses/s,"
        " {bind_count} binds/s, {client_login_count} client logins/s,"
        " in {client_bytes} B/s, out {server_bytes} B/s, xact {xact_time} us,"
        " query {query_time} us, wait {wait_time} us"
    ).format_map(by_name)
