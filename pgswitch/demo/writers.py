"""Clients that insert one row after the other, and remember what became of each.

Every row has a key of its own, so that it can be told afterwards which of them were
lost, and which were written without being acknowledged.
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
"""Without a primary key: a row that is written twice is to be seen twice."""
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
    """Empty if it was acknowledged."""


class Outage(NamedTuple):
    """A time without an acknowledgement."""

    lasted: float
    """In seconds."""
    ended: float
    """When, by time.monotonic."""


class Writer(threading.Thread):
    """One client in autocommit, with a thread and a connection of its own."""

    def __init__(self, number: int, connect: Connect, *, pause_s: float = 0.0) -> None:
        """Write keys that begin with ``number``; wait so long between two writes."""
        super().__init__(name=f"writer {number}", daemon=True)
        self.writes: list[Write] = []
        self.reconnects = 0
        self._connect = connect
        self._pause_s = pause_s
        self._next = number * KEYS_EACH
        self._stopping = threading.Event()

    def run(self) -> None:
        """Write until told to stop, whatever happens."""
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
        """End it; tell whether it ended, and does not wait for an answer still."""
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

    # What it saw.

    def acknowledged(self) -> int:
        """Return how many rows were acknowledged so far."""
        return sum(not write.sqlstate for write in list(self.writes))

    def outage(self, since: float, until: float) -> Outage:
        """Return the longest time between two acknowledgements.

        Only gaps count that have begun before ``until`` and not ended before
        ``since``.
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


class Oracle(Writer):
    """A client that knows the next writer, has connected to it, and keeps trying.

    Nothing can be faster: what it waits is the database's own time.
    """

    def __init__(self, number: int, first: Connect) -> None:
        """Begin at the writer that ``first`` connects to."""
        super().__init__(number, first)
        self._warm: psycopg.Connection | None = None

    def expect(self, next_: Connect) -> None:
        """Connect to the node that will be the writer."""
        self._warm = next_()

    def _reconnect(self, last: psycopg.Connection | None) -> psycopg.Connection | None:
        warm, self._warm = self._warm, None
        return warm or super()._reconnect(last)

    def _write(self, connection: psycopg.Connection) -> None:
        super()._write(connection)
        if self._warm is not None and self.writes[-1].sqlstate:
            connection.close()


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the rows of some writers."""

    acknowledged: int
    missing: int
    """Acknowledged, but not there."""
    doubled: int
    errors: Counter[str]
    """By SQLSTATE."""
    reconnects: int


def account(writers: Iterable[Writer], there: Counter[int]) -> Account:
    """Compare what writers were told with the keys that are in the table."""
    mine = list(writers)
    writes = [write for writer in mine for write in writer.writes]
    acknowledged = {write.key for write in writes if not write.sqlstate}
    return Account(
        acknowledged=len(acknowledged),
        missing=sum(not there[key] for key in acknowledged),
        doubled=sum(there[write.key] > 1 for write in writes),
        errors=Counter(write.sqlstate for write in writes if write.sqlstate),
        reconnects=sum(writer.reconnects for writer in mine),
    )
