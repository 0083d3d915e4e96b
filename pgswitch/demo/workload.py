"""Clients that read accounts and move money between them, and their figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import psycopg

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
