"""Reads pgswitch's console once a second and makes a line of a table of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

COLUMNS = (
    ("second", 6),
    ("clients", 8),
    ("waiting", 8),
    ("servers", 8),
    ("busy", 5),
    ("transactions/s", 15),
)
"""Heading and width of each column."""

SERVER_STATES = ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login")


class Gauge:
    """A connection to the console that watches one database."""

    def __init__(
        self,
        console_url: str,
        database: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to the console; raises psycopg.Error when that fails.

        ``clock`` gives seconds and never goes back.
        """
        # The console answers simple queries alone. Those are what psycopg sends for a
        # statement without parameters, unless it prepares what it has sent five times.
        self._connection = psycopg.connect(
            console_url,
            autocommit=True,
            prepare_threshold=None,
            row_factory=dict_row,
        )
        self._database = database
        self._clock = clock
        self._started = self._before = clock()
        self._transactions = self._count_transactions()

    def close(self) -> None:
        """Leave the console."""
        self._connection.close()

    def heading(self) -> str:
        """Return the headings, each over its column."""
        return "".join(name.rjust(width) for name, width in COLUMNS)

    def line(self) -> str:
        """Ask the console and return the line for the time since the last one."""
        pools = self._rows("SHOW POOLS")
        transactions = self._count_transactions()
        now = self._clock()
        rate = (transactions - self._transactions) / max(now - self._before, 1e-6)
        self._before, self._transactions = now, transactions
        values = (
            round(now - self._started),
            _total(pools, "cl_active", "cl_waiting"),
            _total(pools, "cl_waiting"),
            _total(pools, *SERVER_STATES),
            _total(pools, "sv_active"),
            round(rate),
        )
        return "".join(
            str(value).rjust(width)
            for value, (_, width) in zip(values, COLUMNS, strict=True)
        )

    def _count_transactions(self) -> int:
        return _total(self._rows("SHOW STATS"), "total_xact_count")

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of the answer that are about our database."""
        rows = self._connection.execute(statement.encode()).fetchall()
        return [row for row in rows if row["database"] == self._database]


def _total(rows: list[dict[str, Any]], *columns: str) -> int:
    return sum(_number(row, column) for row in rows for column in columns)


def _number(row: Mapping[str, Any], column: str) -> int:
    return int(row[column])
