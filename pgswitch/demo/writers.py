"""Clients that insert rows one by one and record the outcome of each.

Each row has its own key, so that lost and duplicate rows are found afterwards.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg import sql

SCHEMA = (
    "CREATE TABLE written (id bigint NOT NULL)",
    "GRANT ALL ON written TO PUBLIC",
)
"""Without a primary key, so that a row that is written twice shows up twice."""
INSERT = sql.SQL("INSERT INTO written VALUES ({})")
KEYS_EACH = 10_000_000
RETRY_S = 0.002
LEAVING_S = 10.0

Connect = Callable[[], psycopg.Connection]


@dataclass(frozen=True, slots=True)
class Write:
    """One attempt to write a row; times in seconds of time.monotonic."""

    key: int
    began: float
    ended: float
    sqlstate: str = ""
    """Empty if the row was acknowledged."""


class Outage(NamedTuple):
    """A period without an acknowledged write."""

    lasted: float
    """In seconds."""
    ended: float
    """The end of it, by time.monotonic."""


class Writer(threading.Thread):
    """One client in autocommit, with its own thread and connection."""

    def __init__(self, number: int, connect: Connect, *, pause_s: float = 0.0) -> None:
        """Write keys that begin with ``number``, ``pause_s`` seconds apart."""
        super().__init__(name=f"writer {number}", daemon=True)
        self.writes: list[Write] = []
        self.reconnects = 0
        self._connect = connect
        self._pause_s = pause_s
        self._next = number * KEYS_EACH
        self._stopping = threading.Event()

    def run(self) -> None:
        """Write until stopped, whatever happens."""
        connection: psycopg.Connection | None = None
        while not self._stopping.is_set():
            if connection is None or connection.closed:
                connection = self._reconnect(connection)
                continue
            self._write(connection)
            if self._pause_s:
                self._stopping.wait(self._pause_s)
        if connection is not None:
            connection.close()

    def stop(self) -> bool:
        """Stop it; tell whether it has ended rather than still waits for an answer."""
        self._stopping.set()
        self.join(LEAVING_S)
        return not self.is_alive()

    def _reconnect(self, last: psycopg.Connection | None) -> psycopg.Connection | None:
        if last is not None:
            self.reconnects += 1
        try:
            return self._connect()
        except psycopg.OperationalError:
            time.sleep(RETRY_S)  # noqa: TID251 - a thread of its own
            return None

    def _write(self, connection: psycopg.Connection) -> None:
        key = self._next
        self._next += 1
        began = time.monotonic()
        state = ""
        try:
            connection.execute(INSERT.format(sql.Literal(key)))
        except psycopg.Error as error:
            state = error.sqlstate or "lost"
        self.writes.append(Write(key, began, time.monotonic(), state))
        if state and not connection.closed:
            time.sleep(RETRY_S)  # noqa: TID251 - as above

    # Results.

    def acknowledged(self) -> int:
        """Return the number of acknowledged rows so far."""
        return sum(not write.sqlstate for write in list(self.writes))

    def outage(self, since: float, until: float) -> Outage:
        """Return the longest time between two acknowledged writes.

        Only gaps that overlap the time from ``since`` to ``until`` count.
        """
        longest = Outage(0.0, since)
        last = 0.0
        for write in list(self.writes):
            if write.sqlstate:
                continue
            if last and write.ended >= since and last <= until:
                longest = max(longest, Outage(write.ended - last, write.ended))
            last = write.ended
        return longest


class IdealClient(Writer):
    """A client that knows the next writer and is already connected to it.

    No other client can be faster: its outage is that of the database itself.
    """

    def __init__(self, number: int, first: Connect) -> None:
        """Start at the writer that ``first`` connects to."""
        super().__init__(number, first)
        self._warm: psycopg.Connection | None = None

    def expect(self, next_: Connect) -> None:
        """Connect to the node that will be the next writer."""
        self._warm = next_()

    def _reconnect(self, last: psycopg.Connection | None) -> psycopg.Connection | None:
        warm, self._warm = self._warm, None
        return warm or super()._reconnect(last)

    def _write(self, connection: psycopg.Connection) -> None:
        super()._write(connection)
        if self._warm is not None and self.writes[-1].sqlstate:
            connection.close()


@dataclass(frozen=True, slots=True)
class WriteTally:
    """The rows of some writers: acknowledged, missing, doubled, failed."""

    acknowledged: int
    missing: int
    """Acknowledged, but not in the table."""
    doubled: int
    errors: Counter[str]
    """By SQLSTATE."""
    reconnects: int


def tally_writes(writers: Iterable[Writer], there: Counter[int]) -> WriteTally:
    """Compare the answers that writers received with the keys in the table."""
    mine = list(writers)
    writes = [write for writer in mine for write in writer.writes]
    acknowledged = {write.key for write in writes if not write.sqlstate}
    return WriteTally(
        acknowledged=len(acknowledged),
        missing=sum(not there[key] for key in acknowledged),
        doubled=sum(there[write.key] > 1 for write in writes),
        errors=Counter(write.sqlstate for write in writes if write.sqlstate),
        reconnects=sum(writer.reconnects for writer in mine),
    )
