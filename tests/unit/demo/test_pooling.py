"""Tests of the table that the demo prints."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgswitch.demo.pooling import SERVER_STATES, ConsolePoller

POOL = {"database": "bench", "cl_active": "5", "cl_waiting": "2", "sv_active": "3"}
IDLE = {**dict.fromkeys(SERVER_STATES, "0"), "cl_active": "1", "cl_waiting": "0"}


class FakeConsole:
    """Answers SHOW POOLS with fixed rows, SHOW STATS with growing ones."""

    def __init__(self) -> None:
        self.closed = False
        self._counts = iter((100, 350, 350))
        self._rows: list[dict[str, Any]] = []

    def execute(self, statement: bytes) -> FakeConsole:
        """Take the statement; ``fetchall`` then gives its rows."""
        if statement == b"SHOW POOLS":
            self._rows = [
                {**IDLE, **POOL},
                {**IDLE, "database": "bench", "sv_idle": "1"},
                {**IDLE, "database": "pgbouncer"},
            ]
        else:
            assert statement == b"SHOW STATS"
            count = next(self._counts)
            self._rows = [
                {"database": "bench", "total_xact_count": str(count)},
                {"database": "pgbouncer", "total_xact_count": "9999"},
            ]
        return self

    def fetchall(self) -> list[dict[str, Any]]:
        """Return the rows of the last statement."""
        return self._rows

    def close(self) -> None:
        """Note the end."""
        self.closed = True


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> FakeConsole:
    """Return the console that every connection reaches."""
    fake = FakeConsole()
    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: fake)
    return fake


def test_a_line_sums_the_pools_of_the_database(console: FakeConsole) -> None:
    """Each line counts our database alone, and transactions since the line before."""
    times = iter((10.0, 10.4, 10.9))
    poller = ConsolePoller("ignored", "bench", lambda: next(times))
    headings = poller.heading().split()
    first, second = (
        dict(zip(headings, map(int, poller.line().split()), strict=True))
        for _ in range(2)
    )
    assert first == {
        "second": 0,
        "clients": 8,
        "waiting": 2,
        "servers": 4,
        "busy": 3,
        "transactions/s": 625,
    }
    assert (second["second"], second["transactions/s"]) == (1, 0)


def test_lines_are_as_wide_as_the_headings(console: FakeConsole) -> None:
    """Heading and line have the same width."""
    poller = ConsolePoller("ignored", "bench")
    assert len(poller.line()) == len(poller.heading())


def test_close_leaves_the_console(console: FakeConsole) -> None:
    """Closing closes the connection."""
    ConsolePoller("ignored", "bench").close()
    assert console.closed
