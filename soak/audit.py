"""Whether counts, waits and memory are right: what must hold, and how it is read.

The figures come from the console, pg_stat_activity and /proc.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgswitch.demo.postgres import SUPERUSER, PostgresServer
from soak.script import DATABASE, USERS
from testkit.pgwire import HOST
from testkit.procfs import open_sockets, resident_kb

GROWTH, SLACK_KB = 1.10, 8192
"""Memory may grow by this factor or, in a small run, by this much."""
MAX_WAIT_S = 60
SERVER_STATES = (
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_idle",
    "sv_used",
    "sv_tested",
    "sv_login",
)
_COMING = ("sv_tested", "sv_used", "sv_being_canceled", "sv_login")


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of clients and servers, without the console's own client."""

    clients: int
    servers: int


Row = Mapping[str, Any]


def total(rows: Iterable[Row], *columns: str) -> int:
    """Return the sum of some columns over all rows."""
    return sum(int(row[column]) for row in rows for column in columns)


def differences(shown: Mapping[str, Counts], real: Counts) -> list[str]:
    """Return the commands of the console whose counts are wrong, as lines."""
    return [
        f"{command} shows {count} {what}, {truth} are open"
        for command, counts in shown.items()
        for what, count, truth in (
            ("clients", counts.clients, real.clients),
            ("servers", counts.servers, real.servers),
        )
        if count != truth
    ]


class Waits:
    """Finds clients that wait without cause in successive answers to SHOW POOLS."""

    def __init__(self, servers: int) -> None:
        """``servers`` is the limit of all pools together, and of each."""
        self._servers = servers
        self._is_suspected = False

    def look(self, pools: Sequence[Row], *, paused: bool) -> list[str]:
        """Return what is wrong with the rows of a SHOW POOLS, as lines.

        That a server could be opened and is not counts only twice in a row.
        """
        waiting = total(pools, "cl_waiting")
        was_suspected, self._is_suspected = self._is_suspected, False
        if paused or not waiting:
            return []
        servers = total(pools, *SERVER_STATES)
        is_full = servers >= self._servers
        idle = total(pools, "sv_idle")
        found = [
            f"{waiting} wait while a server is idle{_states(pools)}"
            for row in pools
            if int(row["cl_waiting"])
            and (int(row["sv_idle"]) or (is_full and idle and _is_short(row)))
        ]
        longest = max(int(row["maxwait"]) for row in pools)
        if longest > MAX_WAIT_S:
            found.append(f"a client waits for {longest} s")
        self._is_suspected = not is_full and not total(pools, *_COMING)
        if self._is_suspected and was_suspected:
            found.append(f"{waiting} wait, and no server is opened")
        return found


def _is_short(row: Row) -> bool:
    """Tell whether more clients of a pool wait than servers are becoming free."""
    return int(row["cl_waiting"]) > total([row], *_COMING)


def _states(pools: Iterable[Row]) -> str:
    """Return the columns that are not 0."""
    return "".join(
        f"; {row['database']}/{row['user']}: "
        + ", ".join(
            f"{row[name]} {name}"
            for name in ("cl_waiting", *SERVER_STATES)
            if int(row[name])
        )
        for row in pools
    )


def growth(before_kb: int, after_kb: int) -> list[str]:
    """Return a line if memory has grown too much."""
    if after_kb <= max(before_kb * GROWTH, before_kb + SLACK_KB):
        return []
    return [f"memory grew from {before_kb} to {after_kb} kB"]


CONSOLE = "pgbouncer"
_NOT_FOUND = "client not found"


class Observer:
    """Connections to the console and, as superuser, to the server; thread-safe."""

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
        self._others = open_sockets(pid)
        """Sockets of the pooler other than those of clients and servers, with ours."""

    def close(self) -> None:
        """Close both."""
        self._console.close()
        self._server.close()

    def console(self, command: str) -> list[dict[str, Any]]:
        """Run a command on the pooler's console; return its rows.

        Raises LookupError when it names an unknown client, psycopg.Error for any other
        error.
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
        """Return the pids of the backends that serve the pooler."""
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
        """Return the counts that the console shows, by its commands."""
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
        """Return the number of open sockets of clients and servers in the pooler."""
        return open_sockets(self._pid) - self._others

    def memory_kb(self) -> int:
        """Return the resident memory of the pooler."""
        return resident_kb(self._pid)


def _used(rows: list[dict[str, Any]]) -> Counts:
    return Counts(
        total(rows, "current_client_connections"), total(rows, "current_connections")
    )
