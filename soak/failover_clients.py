"""The clients of failover.py, and a journal of the outcome of each row."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from random import Random

import psycopg

USER = "app"
DATABASE = "app"
SPLIT = "split"
WAIT_S = 15
"""query_wait_timeout."""
STUCK_S = WAIT_S + 10.0
PAUSE_S = 0.02
TRIES = 5
KEYS_EACH = 10_000_000
NOT_DONE = frozenset(("40001", "25P02"))
"""SQLSTATEs after which nothing is in the table."""
UNSURE = frozenset(("08007", "57P01", "57P02", "57P03", "08006", "40003", "58000"))
HELD_UP = frozenset(("08P01", "53300", "57P05", "57014", "08001"))


class Journal:
    """The outcome of each row as its client saw it."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.undone: set[int] = set()
        """Not in the table: the client was told so, and did not retry."""
        self.unsure: set[int] = set()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def record(self, outcome: str, keys: Iterable[int]) -> None:
        """Record the outcome of rows: acknowledged, undone or unsure."""
        with self._lock:
            getattr(self, outcome).update(keys)

    def count_answer(self, what: str) -> None:
        """Count an answer to a client."""
        with self._lock:
            self.answers[what] += 1

    def fail(self, what: str) -> None:
        """Record what must not happen."""
        with self._lock:
            self.wrong.append(what)

    def compare(self, rows: Counter[int]) -> None:
        """Compare the table with the outcomes."""
        lost = [key for key in self.acknowledged if not rows[key]]
        doubled = [key for key, count in rows.items() if count > 1]
        there = [key for key in self.undone if rows[key]]
        print(
            f"rows {sum(rows.values())}, acknowledged {len(self.acknowledged)},"
            f" undone {len(self.undone)}, unsure {len(self.unsure)}"
        )
        for what, keys in (
            ("acknowledged but lost", lost),
            ("doubled", doubled),
            ("undone but present", there),
        ):
            if keys:
                kinds = Counter(KINDS[key // KEYS_EACH % len(KINDS)] for key in keys)
                self.wrong.append(f"{len(keys)} rows {what}: {kinds} {keys[:5]}")


class Client(threading.Thread):
    """One client, of one kind."""

    def __init__(
        self,
        number: int,
        kind: str,
        port: int,
        journal: Journal,
        stopping: threading.Event,
    ) -> None:
        super().__init__(name=f"{number} ({kind})", daemon=True)
        self.doing = ""
        self._since = 0.0
        self._kind = kind
        self._port = port
        self._journal = journal
        self._stopping = stopping
        self._next = number * KEYS_EACH
        self._random = Random(number)  # noqa: S311 - repeatable
        self._connection: psycopg.Connection | None = None

    def waited(self) -> float:
        """Return how long it has waited for an answer."""
        since = self._since
        return time.monotonic() - since if since else 0.0

    def run(self) -> None:
        """Work until stopped."""
        work = getattr(self, f"_{self._kind}")
        while not self._stopping.is_set():
            self._stopping.wait(PAUSE_S * self._random.random())
            self._since = time.monotonic()
            connection = self._connected()
            if connection is None:
                continue
            keys = [self._next + i for i in range(3)]
            self._next += 3
            self.doing = f"{self._kind} {keys[0]}"
            try:
                work(connection, *keys)
            except psycopg.Error as error:
                self._failed(error, keys, connection)
            else:
                self._journal.count_answer(f"{self._kind} done")
            if time.monotonic() - self._since > STUCK_S:
                self._journal.fail(f"{self.name} waited for {self.waited():.1f} s")
            self._since = 0.0
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> psycopg.Connection | None:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        database = {
            "session": "session",
            "statement": "statement",
            "reader": SPLIT,
            "reader_inside": SPLIT,
            "ruled": SPLIT,
        }.get(self._kind, DATABASE)
        tls = "require" if self._kind == "tls" else "disable"
        try:
            self._connection = psycopg.connect(
                f"host=127.0.0.1 port={self._port} user={USER} dbname={database}"
                f" sslmode={tls}",
                autocommit=True,
            )
        except psycopg.Error as error:
            self._connection = None
            self._journal.count_answer(f"connect: {_first_line(error)}")
            self._stopping.wait(0.2)
            self._since = 0.0
        return self._connection

    def _failed(
        self, error: psycopg.Error, keys: list[int], connection: psycopg.Connection
    ) -> None:
        code = error.sqlstate or "gone"
        self._journal.count_answer(f"{self._kind} {code}: {_first_line(error)[:70]}")
        if code in NOT_DONE:
            self._journal.record("undone", keys)
        elif code in UNSURE or code in HELD_UP or code == "gone":
            self._journal.record("unsure", keys)
            if error.diag.severity in ("FATAL", "PANIC") and not connection.closed:
                with suppress(psycopg.Error):
                    connection.execute(b"SELECT 1")
                    self._journal.fail(
                        f"{self.name} got FATAL {code} but is still connected"
                    )
        else:
            self._journal.fail(f"{self.name}: {code} {error}")
        if error.sqlstate is None or "pipeline" in self._kind:
            # psycopg loses track of the protocol after an error at a Sync.
            connection.close()
        with suppress(psycopg.Error):
            if not connection.closed:
                connection.execute(b"ROLLBACK")

    # The kinds.

    def _done(self, *keys: int) -> None:
        self._journal.record("acknowledged", keys)

    def _simple(self, client: psycopg.Connection, a: int, *_: int) -> None:
        client.execute(f"INSERT INTO written VALUES ({a})".encode())
        self._done(a)

    _tls = _session = _statement = _ruled = _simple

    def _extended(self, client: psycopg.Connection, a: int, *_: int) -> None:
        client.execute(b"INSERT INTO written VALUES (%s)", [a], prepare=False)
        self._done(a)

    def _prepared(self, client: psycopg.Connection, a: int, *_: int) -> None:
        client.execute(b"INSERT INTO written VALUES (%s)", [a], prepare=True)
        self._done(a)

    def _pipeline(self, client: psycopg.Connection, *keys: int) -> None:
        with client.pipeline():
            for key in keys:
                client.execute(b"INSERT INTO written VALUES (%s)", [key])
        self._done(*keys)

    def _transaction(self, client: psycopg.Connection, *keys: int) -> None:
        """Retry what is lost: each row must be there once."""
        for tries_left in reversed(range(TRIES)):
            client.execute(b"BEGIN")
            try:
                for key in keys:
                    client.execute(f"INSERT INTO written VALUES ({key})".encode())
                    self._stopping.wait(0.003)
                client.execute(b"COMMIT")
            except psycopg.Error as error:
                if error.sqlstate != "40001" or client.closed or not tries_left:
                    raise
                self._journal.count_answer("transaction again")
                with suppress(psycopg.errors.NoActiveSqlTransaction):
                    client.execute(b"ROLLBACK")
                continue
            self._done(*keys)
            return

    def _savepoint(self, client: psycopg.Connection, a: int, b: int, c: int) -> None:
        client.execute(f"BEGIN; INSERT INTO written VALUES ({a})".encode())
        client.execute(b"SAVEPOINT s")
        client.execute(f"INSERT INTO written VALUES ({b})".encode())
        client.execute(b"ROLLBACK TO s")
        client.execute(f"INSERT INTO written VALUES ({c}); COMMIT".encode())
        self._done(a, c)
        self._journal.record("undone", [b])

    def _rolled_back(self, client: psycopg.Connection, a: int, b: int, c: int) -> None:
        """Write after a ROLLBACK in the same query: an implicit transaction."""
        insert = "INSERT INTO written VALUES"
        client.execute(
            f"BEGIN; {insert} ({a}); ROLLBACK; {insert} ({b}); {insert} ({c})".encode()
        )
        self._done(b, c)
        self._journal.record("undone", [a])

    def _several(self, client: psycopg.Connection, *keys: int) -> None:
        client.execute(
            "; ".join(f"INSERT INTO written VALUES ({key})" for key in keys).encode()
        )
        self._done(*keys)

    def _rolled_pipeline(
        self, client: psycopg.Connection, a: int, b: int, c: int
    ) -> None:
        with client.pipeline():
            client.execute(b"BEGIN")
            client.execute(b"INSERT INTO written VALUES (%s)", [a])
            client.execute(b"ROLLBACK")
            client.execute(b"INSERT INTO written VALUES (%s)", [b])
            client.execute(b"INSERT INTO written VALUES (%s)", [c])
        self._done(b, c)
        self._journal.record("undone", [a])

    def _copy(self, client: psycopg.Connection, *keys: int) -> None:
        with client.cursor().copy(b"COPY written FROM STDIN") as copy:
            for key in keys:
                copy.write_row([key])
        self._done(*keys)

    def _cancelled(self, client: psycopg.Connection, a: int, *_: int) -> None:
        timer = threading.Timer(0.01, client.cancel)
        timer.start()
        try:
            client.execute(
                f"INSERT INTO written SELECT {a} FROM pg_sleep(0.02)".encode()
            )
        finally:
            timer.join()
        self._done(a)

    def _reader(self, client: psycopg.Connection, a: int, *_: int) -> None:
        (row,) = client.execute(f"SELECT pg_sleep(0.01), {a} -- reader".encode())
        if row[1] != a:
            self._journal.fail(f"{self.name} got the answer of another client")

    def _reader_inside(self, client: psycopg.Connection, a: int, *_: int) -> None:
        client.execute(b"BEGIN READ ONLY -- reader")
        (row,) = client.execute(f"SELECT {a} -- reader".encode())
        client.execute(b"COMMIT -- reader")
        if row[0] != a:
            self._journal.fail(f"{self.name} got the answer of another client")


KINDS = (
    "simple",
    "extended",
    "prepared",
    "pipeline",
    "transaction",
    "savepoint",
    "rolled_back",
    "several",
    "rolled_pipeline",
    "copy",
    "session",
    "statement",
    "tls",
    "ruled",
    "reader",
    "reader_inside",
    "cancelled",
)


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]
