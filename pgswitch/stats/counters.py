"""The integers that the hot path counts, one set for each pool.

Definitions are those of PgBouncer's SHOW STATS.  Times are microseconds.  This file
is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.stats.times import Times

MAX_CODES: Final = 500
"""Different SQLSTATEs that are counted; PostgreSQL has some 250."""
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
"""The counters in the order in which SHOW STATS lists them."""


class Counters:
    """Counts since the pool was made; only ever raised."""

    def __init__(self) -> None:
        """Begin at zero."""
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
        """Of queries that were a transaction of their own: noted once for both."""
        self.query_times = Times()
        self.xact_times = Times()
        self.wait_times = Times()
        self.errors: dict[bytes, int] = {}
        """Of servers, passed on to clients, by SQLSTATE."""

    def waited(self, microseconds: int) -> None:
        """Count a wait that has ended."""
        self.wait_time += microseconds
        self.wait_times.note(microseconds)

    def failed(self, sqlstate: bytes) -> None:
        """Count an error of a server."""
        count = self.errors.get(sqlstate, 0)
        if count or len(self.errors) < MAX_CODES:
            self.errors[sqlstate] = count + 1

    def values(self) -> tuple[int, ...]:
        """Return the present counts in the order of NAMES."""
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
