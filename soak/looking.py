"""Reads what there is: from the console, from pg_stat_activity, from /proc."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgswitch.demo.postgres import SUPERUSER, PostgresServer
from soak.audit import SERVER_STATES, Counts, total
from soak.wire import DATABASE, HOST, USERS

CONSOLE = "pgbouncer"
_NOT_FOUND = "client not found"


def memory_kb(pid: int) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    if found is None:
        raise ProcessLookupError(pid)
    return int(found[1])


def sockets(pid: int) -> int:
    """Return how many sockets a process has open."""
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += descriptor.readlink().name.startswith("socket:")
        except FileNotFoundError:
            continue
    return count


class Observer:
    """A console client and a superuser of the server, usable from any thread."""

    def __init__(self, port: int, admin: str, server: PostgresServer, pid: int) -> None:
        """``port`` and ``pid`` are those of the pooler."""
        self._pid = pid
        self._lock = threading.Lock()
        self._console = psycopg.connect(
            host=HOST,
            port=port,
            user=admin,
            dbname=CONSOLE,
            autocommit=True,
            prepare_threshold=None,
            row_factory=dict_row,
        )
        self._server = psycopg.connect(
            host=str(server.directory),
            port=server.port,
            user=SUPERUSER,
            autocommit=True,
        )
        self._others = sockets(pid)
        """Sockets of the pooler without clients and servers, ours included."""

    def close(self) -> None:
        """Leave both."""
        self._console.close()
        self._server.close()

    def console(self, command: str) -> list[dict[str, Any]]:
        """Run a command on the pooler's console; LookupError if a client is not there.

        Raises psycopg.Error with any other answer of that kind.
        """
        with self._lock:
            try:
                cursor = self._console.execute(command.encode())
            except psycopg.Error as error:
                if _NOT_FOUND in str(error):
                    raise LookupError(_NOT_FOUND) from None
                raise
            return [] if cursor.description is None else cursor.fetchall()

    def server_pids(self) -> list[int]:
        """Return the processes of PostgreSQL that serve the pooler."""
        with self._lock:
            rows = self._server.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = ANY(%s) ORDER BY pid",
                (list(USERS),),
            ).fetchall()
        return [pid for (pid,) in rows]

    def end_server(self, pid: int) -> None:
        """End one of them."""
        with self._lock:
            self._server.execute("SELECT pg_terminate_backend(%s)", (pid,))

    def shown(self) -> dict[str, Counts]:
        """Return the counts by the command of the console that shows them."""
        pools = [
            row for row in self.console("SHOW POOLS") if row["database"] != CONSOLE
        ]
        lists = {row["list"]: row["items"] for row in self.console("SHOW LISTS")}
        databases = {row["name"]: row for row in self.console("SHOW DATABASES")}
        users = [row for row in self.console("SHOW USERS") if row["name"] in USERS]
        clients = [
            row for row in self.console("SHOW CLIENTS") if row["database"] != CONSOLE
        ]
        return {
            "SHOW POOLS": Counts(
                total(pools, "cl_active", "cl_waiting"), total(pools, *SERVER_STATES)
            ),
            "SHOW LISTS": Counts(
                lists["used_clients"] + lists["login_clients"] - 1,
                lists["used_servers"],
            ),
            "SHOW DATABASES": _used([databases[DATABASE]]),
            "SHOW USERS": _used(users),
            "SHOW CLIENTS, SERVERS": Counts(
                len(clients), len(self.console("SHOW SERVERS"))
            ),
        }

    def open_sockets(self) -> int:
        """Return how many sockets of clients and servers the pooler has open."""
        return sockets(self._pid) - self._others

    def memory_kb(self) -> int:
        """Return the memory of the pooler."""
        return memory_kb(self._pid)


def _used(rows: list[dict[str, Any]]) -> Counts:
    return Counts(
        total(rows, "current_client_connections"), total(rows, "current_connections")
    )
