"""Counters of the hot path, one set for each pool, and counts of errors sent.

Definitions are those of PgBouncer's SHOW STATS.  Times are in microseconds.  This file
is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

from collections.abc import Iterator
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
