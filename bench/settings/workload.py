"""The kinds of work, each with a check of its results.

Answers must be those of PostgreSQL itself to the same requests.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import NamedTuple

import psycopg

from bench.settings.client import (
    PLAIN,
    Client,
    ClientBehaviour,
    IncorrectAnswer,
    Target,
    bind_and_run,
)
from testkit.pgwire import SYNC, message, parse, query
from testkit.procfs import cpu_ns

CLIENTS = 4
QUERIES, CONNECTIONS, TRANSFERS = 40, 8, 5
"""Of each client, at scale 1."""
ROWS = 2500
"""Of each bulk transfer, some 1,000 bytes each."""
BYTEWISE = 0.02
"""The share of COPY in that is sent byte by byte: each byte is a system call."""
ACCOUNTS, TELLERS, BRANCHES = 1000, 40, 4

TABLES = f"""
CREATE UNLOGGED TABLE lines (line text);
CREATE UNLOGGED TABLE accounts AS
    SELECT i AS id, 0 AS balance FROM generate_series(0, {ACCOUNTS - 1}) AS i;
CREATE UNIQUE INDEX ON accounts (id);
CREATE UNLOGGED TABLE tellers AS
    SELECT i AS id, 0 AS balance FROM generate_series(0, {TELLERS - 1}) AS i;
CREATE UNLOGGED TABLE branches AS
    SELECT i AS id, 0 AS balance FROM generate_series(0, {BRANCHES - 1}) AS i;
CREATE UNLOGGED TABLE history (account int, delta int);
"""  # noqa: S608 - constants
TOTALS = """
SELECT (SELECT sum(balance) FROM accounts) = (SELECT sum(delta) FROM history)
   AND (SELECT sum(balance) FROM tellers) = (SELECT sum(delta) FROM history)
   AND (SELECT sum(balance) FROM branches) = (SELECT sum(delta) FROM history),
       (SELECT count(*) FROM history)
"""
CLOSE_TOTALS = """
TRUNCATE history; UPDATE accounts SET balance = 0 WHERE balance <> 0;
UPDATE tellers SET balance = 0; UPDATE branches SET balance = 0
"""
COUNT = "SELECT count(*), coalesce(sum(hashtext(line)::bigint), 0) FROM lines"
BACKUP = "BASE_BACKUP (LABEL 'settings', CHECKPOINT 'fast', MANIFEST 'no'{more})"
SLOW_BACKUP = ", MAX_RATE 131072"
"""In kB per second (manual, chapter 55.4)."""


class Cost(NamedTuple):
    """What a piece of work took: elapsed time and the pooler's CPU time, in seconds."""

    seconds: float
    cpu: float


class Workload:
    """All kinds of work, for any target."""

    def __init__(
        self, port: int, database: psycopg.Connection, size: float = 1.0
    ) -> None:
        """Compare with the server at ``port``; ``database`` is a connection to it.

        ``size`` is the amount of work, 1.0 the usual one.
        """
        self._origin = Target(port, PLAIN)
        self._database = database
        self._size = size
        self._known: dict[bytes, tuple[tuple[int, int], list[str]]] = {}
        self._lines_known: dict[int, tuple[bytes, list[tuple[object, ...]]]] = {}
        self._threads = ThreadPoolExecutor(CLIENTS)
        self._kinds: Mapping[str, Callable[[Target], Cost]] = {
            "simple": self._simple,
            "extended": self._extended,
            "prepared": self._prepared,
            "connect": self._connect,
            "tpcb": self._transfer,
            "copy-in": self._copy_in,
            "copy-out": self._copy_out,
            "result": self._result,
            "backup": self._backup,
        }

    def prepare(self) -> None:
        """Create the tables."""
        self._database.execute(TABLES.encode())

    def end(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def do(self, kind: str, target: Target) -> Cost:
        """Do one kind of work. Raises IncorrectAnswer or OSError if it fails."""
        return self._kinds[kind](target)

    # -- small messages --------------------------------------------------------------

    def _simple(self, target: Target) -> Cost:
        requests = [
            query(f"SELECT {n} AS n, 'word {n}' AS word, repeat('y', {n})")
            for n in range(1, 9)
        ]
        return self._queries(target, [], requests)

    def _extended(self, target: Target) -> Cost:
        text = "SELECT $1::int + 1, repeat('e', $1::int), 'word'"
        requests = [parse("", text) + bind_and_run("", str(n)) for n in range(1, 9)]
        return self._queries(target, [], requests)

    def _prepared(self, target: Target) -> Cost:
        names = ("one", "two", "three")
        first = [parse(name, f"SELECT '{name}', $1::int * 2") + SYNC for name in names]
        requests = [bind_and_run(name, str(n)) for n in range(3) for name in names]
        return self._queries(target, first, requests)

    def _queries(
        self, target: Target, first: Sequence[bytes], requests: Sequence[bytes]
    ) -> Cost:
        """Have each client send the requests in turn, repeatedly."""
        self._learn(first, requests)
        times = self._times(QUERIES, target.behaviour)

        def each(client: Client) -> None:
            for number in range(times):
                request = requests[number % len(requests)]
                self._check(request, client)

        return self._together(target, each, first)

    def _connect(self, target: Target) -> Cost:
        request = query("SELECT 'connected'")
        self._learn([], [request])
        times = self._times(CONNECTIONS, target.behaviour)

        def each(_number: int) -> None:
            for _ in range(times):
                with Client(target) as client:
                    self._check(request, client)

        return _measured(target, lambda: list(self._threads.map(each, range(CLIENTS))))

    def _transfer(self, target: Target) -> Cost:
        """Do the transactions of pgbench, and check the totals afterwards."""
        self._database.execute(CLOSE_TOTALS.encode())
        times = self._times(TRANSFERS, target.behaviour)

        def each(client: Client) -> None:
            for number in range(1, times + 1):
                for text, tag in _transaction(number):
                    tags = client.ask(query(text)).tags
                    if tags != [tag]:
                        raise IncorrectAnswer(f"{text} was answered by {tags}")

        cost = self._together(target, each, [])
        balanced, count = self._database.execute(TOTALS.encode()).fetchall()[0]
        if not balanced or count != times * CLIENTS:
            raise IncorrectAnswer(
                f"{count} of {times * CLIENTS} transfers are recorded, or totals differ"
            )
        return cost

    def _together(
        self,
        target: Target,
        each: Callable[[Client], None],
        first: Sequence[bytes],
    ) -> Cost:
        """Run ``each`` for all clients at the same time, once all are logged in."""
        clients: list[Client] = []
        try:
            for _ in range(CLIENTS):
                clients.append(Client(target))
                for request in first:
                    self._check(request, clients[-1])
            return _measured(target, lambda: list(self._threads.map(each, clients)))
        finally:
            for client in clients:
                client.close()

    def _check(self, request: bytes, client: Client) -> None:
        answer = client.ask(request)
        known, tags = self._known[request]
        if answer.sum != known or answer.tags != tags:
            raise IncorrectAnswer(
                f"an answer of {answer.size} bytes, {answer.tags},"
                f" instead of {known[0]}, {tags}, or with other bytes"
            )

    def _learn(self, first: Sequence[bytes], requests: Sequence[bytes]) -> None:
        """Ask PostgreSQL itself for the answers that are not known yet."""
        if all(request in self._known for request in requests):
            return
        with Client(self._origin) as client:
            for request in (*first, *requests):
                answer = client.ask(request)
                self._known[request] = answer.sum, answer.tags

    # -- bulk ------------------------------------------------------------------------

    def _result(self, target: Target) -> Cost:
        return self._bulk(target, query(self._rows(target.behaviour)))

    def _copy_out(self, target: Target) -> Cost:
        return self._bulk(
            target, query(f"COPY ({self._rows(target.behaviour)}) TO STDOUT")
        )

    def _rows(self, behaviour: ClientBehaviour) -> str:
        """Return a query for rows, some of them slow."""
        pause = (
            f" || CASE WHEN i % {behaviour.pause_rows} = 0 THEN"
            f" pg_sleep({behaviour.row_pause_s})::text ELSE '' END"
            if behaviour.pause_rows
            else ""
        )
        return (
            f"SELECT repeat(chr(65 + i % 26), 900 + i % 200){pause} AS line"  # noqa: S608 - numbers
            f" FROM generate_series(1, {self._times(ROWS, behaviour)}) AS i"
        )

    def _bulk(self, target: Target, request: bytes) -> Cost:
        self._learn([], [request])
        with Client(target) as client:
            return _measured(target, lambda: self._check(request, client))

    def _copy_in(self, target: Target) -> Cost:
        share = BYTEWISE if target.behaviour.send_size == 1 else 1.0
        count = self._times(ROWS * share, target.behaviour)
        data, must = self._lines(count)
        with Client(target) as client:
            cost = _measured(target, lambda: self._copy(client, data, count))
        came = self._database.execute(COUNT.encode()).fetchall()
        self._database.execute(b"TRUNCATE lines")
        if came != must:
            raise IncorrectAnswer(f"the table has {came}, not {must}")
        return cost

    def _lines(self, count: int) -> tuple[bytes, list[tuple[object, ...]]]:
        """Return ``count`` lines for COPY in as messages, and their checksum."""
        if count not in self._lines_known:
            rows = [
                chr(65 + i % 26) * (900 + i % 200) + "\n" for i in range(1, count + 1)
            ]
            data = b"".join(
                message(b"d", "".join(rows[at : at + 8]).encode())
                for at in range(0, count, 8)
            )
            text = (
                "SELECT repeat(chr(65 + i % 26), 900 + i % 200) AS line"  # noqa: S608 - a number
                f" FROM generate_series(1, {count}) AS i"
            )
            text = COUNT.replace("FROM lines", f"FROM ({text}) AS rows")
            summed = self._database.execute(text.encode()).fetchall()
            self._lines_known[count] = data, summed
        return self._lines_known[count]

    @staticmethod
    def _copy(client: Client, data: bytes, count: int) -> None:
        answer = client.ask(query("COPY lines FROM STDIN"), data + message(b"c"))
        if answer.tags != [f"COPY {count}"]:
            raise IncorrectAnswer(f"COPY of {count} rows was answered by {answer.tags}")

    def _backup(self, target: Target) -> Cost:
        """Take a base backup and check the archive."""
        slow = SLOW_BACKUP if target.behaviour.row_pause_s else ""
        request = query(BACKUP.format(more=slow))
        archives: list[bytes] = []
        with Client(target, replication=True) as client:
            cost = _measured(target, lambda: client.ask(request, archives=archives))
        try:
            with tarfile.open(fileobj=BytesIO(b"".join(archives))) as archive:
                names = archive.getnames()
        except tarfile.TarError as error:
            raise IncorrectAnswer(f"the backup is not an archive: {error}") from None
        missing = {"backup_label", "global/pg_control"} - set(names)
        if missing:
            raise IncorrectAnswer(
                f"the backup has {len(names)} files but not {missing}"
            )
        return cost

    def _times(self, usual: float, behaviour: ClientBehaviour) -> int:
        return max(int(usual * behaviour.scale * self._size), 1)


def _transaction(number: int) -> list[tuple[str, str]]:
    """Return the statements of pgbench's TPC-B, with the tags of their answers."""
    account, teller = number * 37 % ACCOUNTS, number * 7 % TELLERS
    branch, delta = number % BRANCHES, number * 31 % 1000 - 500
    return [
        ("BEGIN", "BEGIN"),
        (
            f"UPDATE accounts SET balance = balance + {delta} WHERE id = {account}",  # noqa: S608 - numbers
            "UPDATE 1",
        ),
        (f"SELECT balance FROM accounts WHERE id = {account}", "SELECT 1"),  # noqa: S608
        (
            f"UPDATE tellers SET balance = balance + {delta} WHERE id = {teller}",  # noqa: S608
            "UPDATE 1",
        ),
        (
            f"UPDATE branches SET balance = balance + {delta} WHERE id = {branch}",  # noqa: S608
            "UPDATE 1",
        ),
        (f"INSERT INTO history VALUES ({account}, {delta})", "INSERT 0 1"),  # noqa: S608
        ("END", "COMMIT"),
    ]


def _measured(target: Target, workload: Callable[[], object]) -> Cost:
    """Run ``work``; return its cost."""
    cpu = cpu_ns(target.pid) if target.pid else 0
    began = time.monotonic()
    workload()
    seconds = time.monotonic() - began
    return Cost(seconds, (cpu_ns(target.pid) - cpu) / 1e9 if target.pid else 0.0)
