"""PostgreSQL, pgswitch in front of it and clients, with a line of figures a second.

It leaves neither process nor file behind, whether it ends by itself (``--once``), by
Ctrl-C or by SIGTERM.

The clients read accounts and move money between them.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgswitch.demo.pooler import Pooler
from pgswitch.demo.postgres import PostgresServer, best_for
from pgswitch.demo.processes import (
    Account,
    PrivateDirectory,
    account_for_children,
    free_port,
    is_free,
    run,
    subdirectory,
)

ACCOUNTS = 1000
OPENING_BALANCE = 100

FILL = (
    f"INSERT INTO account SELECT n, {OPENING_BALANCE} "  # noqa: S608 - two constants
    f"FROM generate_series(1, {ACCOUNTS}) n"
)
SCHEMA = ("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)", FILL)

READS_PER_TRANSFER = 3
MAX_PAUSE_S = 0.02
"""Clients pause between transactions; that is what lets them share servers."""

LEAVING_S = 2.0
"""How long the end of a workload waits for a client."""


@dataclass(frozen=True, slots=True)
class WorkloadTally:
    """The sum over all clients; ``busy_s`` is their time spent in transactions."""

    transactions: int
    busy_s: float
    failures: tuple[str, ...]


class Workload:
    """A number of clients, each with a thread and a connection."""

    def __init__(self, url: str, clients: int) -> None:
        """Prepare ``clients`` clients that connect to ``url`` once started."""
        self._stopping = threading.Event()
        self._clients = [_Client(url, self._stopping, seed) for seed in range(clients)]

    def start(self) -> None:
        """Start all clients."""
        for client in self._clients:
            client.start()

    def stop(self) -> WorkloadTally:
        """Have all clients finish their transactions and leave; return the final tally.

        A client that gets no answer is abandoned after LEAVING_S.
        """
        self._stopping.set()
        for client in self._clients:
            if client.ident is not None:
                client.join(LEAVING_S)
        return self.tally()

    def tally(self) -> WorkloadTally:
        """Return the sum so far."""
        return WorkloadTally(
            sum(client.transactions for client in self._clients),
            sum(client.busy_s for client in self._clients),
            tuple(client.failure for client in self._clients if client.failure),
        )


class _Client(threading.Thread):
    """One client; it stops at its first error, whose text is in ``failure``."""

    def __init__(self, url: str, stopping: threading.Event, seed: int) -> None:
        # A daemon, so that a client without an answer does not keep us from exiting.
        super().__init__(name=f"client {seed}", daemon=True)
        self.transactions = 0
        self.busy_s = 0.0
        self.failure = ""
        self._url = url
        self._stopping = stopping
        self._random = Random(seed)  # noqa: S311 - picks accounts, guards no secret

    def run(self) -> None:
        """Connect and run transactions until stopped."""
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not self._stopping.is_set():
                    started = time.perf_counter()
                    self._transact(connection)
                    self.busy_s += time.perf_counter() - started
                    self.transactions += 1
                    self._stopping.wait(self._random.uniform(0, MAX_PAUSE_S))
        except psycopg.Error as error:
            self.failure = str(error).strip() or type(error).__name__

    def _transact(self, connection: psycopg.Connection) -> None:
        """Read one balance, or move a little money between two accounts."""
        if self._random.randrange(READS_PER_TRANSFER + 1):
            account = self._random.randint(1, ACCOUNTS)
            connection.execute("SELECT balance FROM account WHERE id = %s", [account])
            return
        # In ascending order, so that two transfers never deadlock.
        pair = sorted(self._random.sample(range(1, ACCOUNTS + 1), 2))
        with connection.transaction():
            self._add(connection, pair, (-1, 1))

    def _add(
        self,
        connection: psycopg.Connection,
        accounts: Sequence[int],
        amounts: Sequence[int],
    ) -> None:
        for account, amount in zip(accounts, amounts, strict=True):
            connection.execute(
                "UPDATE account SET balance = balance + %s WHERE id = %s",
                [amount, account],
            )


DATABASE = "bench"
USER, PASSWORD = "demo", "demo"
ADMIN, ADMIN_PASSWORD = "admin", "admin"

USUAL_PORT = 6432
CLIENTS = 24
SERVERS = 6
SECONDS = 8


def main(arguments: Sequence[str], program: str) -> int:
    """Run the demo; return 0, or 1 after a failure, which is printed.

    ``program`` is the name that ``--help`` shows.
    """
    options = _parse(arguments, program)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return run("demo", lambda cleanup: _demo(options, cleanup), interrupted=0)


def _demo(options: argparse.Namespace, cleanup: ExitStack) -> int:
    account = account_for_children()
    if account is not None:
        print(f"started by root: the servers run as {account.name}")
    folder = PrivateDirectory(account)
    cleanup.callback(folder.remove)
    server = _start_postgres(folder.path, account)
    cleanup.callback(server.stop)
    pooler = _start_pooler(folder.path, account, server, options.port)
    cleanup.callback(pooler.stop, signal.SIGINT, signal.SIGQUIT, patience_s=3.0)
    return _show(server, pooler, options)


def _parse(arguments: Sequence[str], program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program,
        description="A PostgreSQL server, pgswitch in front of it and a workload."
        f" `{program} switchover` shows a switchover instead.",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end after the workload instead of at Ctrl-C",
    )
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, help="length of the workload"
    )
    parser.add_argument(
        "--clients", type=int, default=CLIENTS, help="number of clients"
    )
    parser.add_argument(
        "--port",
        type=int,
        help=f"port of pgswitch (default {USUAL_PORT} or a free one)",
    )
    return parser.parse_args(arguments)


def _start_postgres(directory: Path, account: Account | None) -> PostgresServer:
    installation = best_for(account, directory)
    home = subdirectory(directory, "postgres", account)
    server = PostgresServer(installation, home, account)
    server.create()
    server.start()
    server.create_user(USER, PASSWORD)
    server.create_database(DATABASE, owner=USER)
    for statement in SCHEMA:
        server.execute(f"SET ROLE {USER}; {statement}", database=DATABASE)
    print(f"PostgreSQL {installation.version} listens on 127.0.0.1:{server.port}")
    return server


def _start_pooler(
    directory: Path, account: Account | None, server: PostgresServer, port: int | None
) -> Pooler:
    if port is None:
        port = USUAL_PORT if is_free(USUAL_PORT) else free_port()
    pooler = Pooler(subdirectory(directory, "pgswitch", account), account, port=port)
    pooler.write_users({USER: PASSWORD, ADMIN: ADMIN_PASSWORD})
    pooler.write_ini(
        {
            "databases": {
                DATABASE: f"host=127.0.0.1 port={server.port} dbname={DATABASE}"
            },
            "pgbouncer": {
                "auth_type": "scram-sha-256",
                "admin_users": ADMIN,
                "pool_mode": "transaction",
                "default_pool_size": SERVERS,
                # Two lines for each of the many short-lived clients would be too many.
                "log_connections": 0,
                "log_disconnections": 0,
            },
        }
    )
    pooler.start()
    print(f"pgswitch listens on 127.0.0.1:{pooler.port}, {SERVERS} servers at most")
    return pooler


def _show(server: PostgresServer, pooler: Pooler, options: argparse.Namespace) -> int:
    """Run the workload, print figures, then wait for Ctrl-C; return the exit code."""
    psql = "psql"
    if shutil.which(psql) is None:
        psql = server.installation.program(psql)
    print("\ntry it:")
    print(f"  {psql} {pooler.url(USER, PASSWORD, DATABASE)}")
    print("and the console (SHOW POOLS; SHOW CLIENTS; SHOW HELP):")
    print(f"  {psql} {pooler.url(ADMIN, ADMIN_PASSWORD, 'pgswitch')}\n")

    poller = ConsolePoller(pooler.url(ADMIN, ADMIN_PASSWORD, "pgswitch"), DATABASE)
    workload = Workload(pooler.url(USER, PASSWORD, DATABASE), options.clients)
    workload.start()
    try:
        print(poller.heading())
        for _ in range(options.seconds):
            time.sleep(1)  # noqa: TID251 - no reactor runs in this process
            print(poller.line())
    except BaseException:
        workload.stop()  # otherwise pgswitch would wait for these clients
        raise
    finally:
        poller.close()
    ok = _sum_up(server, workload, options.clients)
    if options.once or not ok:
        return 0 if ok else 1

    print("\nstill serving; Ctrl-C ends it")
    while pooler.is_running and server.is_running:
        time.sleep(0.5)  # noqa: TID251 - as above
    print("a server ended by itself; the end of pgswitch's log:", file=sys.stderr)
    print("\n".join(pooler.log_text().splitlines()[-20:]), file=sys.stderr)
    return 1


def _sum_up(server: PostgresServer, workload: Workload, clients: int) -> bool:
    """Stop the clients and print the result; return whether all went well."""
    backends = server.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [USER]
    )[0][0]
    tally = workload.stop()
    total = server.execute("SELECT sum(balance) FROM account", database=DATABASE)[0][0]
    each_ms = 1000 * tally.busy_s / max(tally.transactions, 1)
    print(
        f"\n{tally.transactions} transactions of {clients} clients over {backends} "
        f"connections to PostgreSQL, {each_ms:.1f} ms each"
    )
    expected = ACCOUNTS * OPENING_BALANCE
    if total != expected:
        print(f"the balances sum up to {total}, not {expected}", file=sys.stderr)
    for failure in dict.fromkeys(tally.failures):
        print(f"a client failed: {failure}", file=sys.stderr)
    return total == expected and tally.transactions > 0 and not tally.failures


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


class ConsolePoller:
    """A connection to the console that turns its figures into lines of a table."""

    def __init__(
        self,
        console_url: str,
        database: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to the console; raises psycopg.Error when that fails.

        ``clock`` gives seconds and never goes back.
        """
        # The console only answers simple queries. psycopg sends one for a statement
        # without parameters, unless it prepares what it has sent five times.
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
        """Close the connection."""
        self._connection.close()

    def heading(self) -> str:
        """Return the line of column headings."""
        return "".join(name.rjust(width) for name, width in COLUMNS)

    def line(self) -> str:
        """Query the console; return the line for the time since the previous one."""
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
        """Return those rows of the answer that belong to our database."""
        rows = self._connection.execute(statement.encode()).fetchall()
        return [row for row in rows if row["database"] == self._database]


def _total(rows: list[dict[str, Any]], *columns: str) -> int:
    return sum(_number(row, column) for row in rows for column in columns)


def _number(row: Mapping[str, Any], column: str) -> int:
    return int(row[column])
