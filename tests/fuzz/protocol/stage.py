"""PostgreSQL with two databases, and a pooler before one of them."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgswitch.demo.pooler import Pooler
from pgswitch.demo.postgres import PostgresServer, best_for
from pgswitch.demo.processes import (
    Account,
    PrivateDirectory,
    account_for_children,
    hand_over,
)
from tests.fuzz.protocol.login import Entered, log_in
from tests.fuzz.protocol.variants import NOTHING, Variant
from tests.tls_files import Authority

USER, ADMIN = "fuzz", "admin"
DIRECT, POOLED, TWO = "direct", "pooled", "two"
"""The oracle's database, the pooler's, and the pooler's second name for the same."""
HOST = "127.0.0.1"
HBA = ("local all all trust", "host all all 127.0.0.1/32 trust")
LOGIN_S = 5.0
SETTLE_S = 5.0
CLIENTS = 4
SCHEMA = """
    CREATE TABLE f{0} (id int PRIMARY KEY, v text);
    CREATE VIEW v{0} AS SELECT * FROM f{0};
    CREATE TABLE g{0} (id int, v text);
    CREATE TRIGGER refuses BEFORE INSERT ON g{0}
        FOR EACH STATEMENT EXECUTE FUNCTION refuse();
    GRANT ALL ON f{0}, v{0}, g{0} TO PUBLIC;
"""
FUNCTIONS = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'refused by %', TG_TABLE_NAME; END $$;
    CREATE FUNCTION shout(word text) RETURNS text LANGUAGE plpgsql VOLATILE AS
        $$ BEGIN RAISE EXCEPTION 'shouted %', word; END $$;
    CREATE FUNCTION murmur(word text) RETURNS text LANGUAGE plpgsql VOLATILE AS
        $$ BEGIN RAISE NOTICE 'murmured %', word; RETURN word; END $$;
"""
RULES = """
    def routing_rules(username, query, in_transaction):
        if in_transaction:
            return None
        if "/*two*/" in query:
            return "two"
        if "/*one*/" in query:
            return "pooled"
        return None


    def rewrite_query(username, query, in_transaction):
        if "/*rewritten*/" in query:
            return query.replace("/*rewritten*/ select ", "/* by the rules */ select ")
        return None
"""


def nothing() -> None:
    """Do nothing."""


class BusyPooler(Pooler):
    """A pooler during whose start other things go on."""

    meanwhile: Callable[[], None] = staticmethod(nothing)

    def _log_after(self, offset_bytes: int) -> str:
        self.meanwhile()  # Asked for as often as it is looked whether it is up.
        return super()._log_after(offset_bytes)


class Stage:
    """One PostgreSQL server, and one pooler at a time."""

    def __init__(self, cleanup: ExitStack) -> None:
        """Start the server; ``cleanup`` gets what ends it."""
        self._account: Account | None = account_for_children()
        self._folder = PrivateDirectory(self._account)
        cleanup.callback(self._folder.remove)
        programs = self._folder.path / "programs"
        programs.mkdir()
        place = self._place("pg")
        self.server = PostgresServer(
            best_for(self._account, programs), place, self._account
        )
        self.server.create({"max_connections": "60", "autovacuum": "off"}, hba=HBA)
        self.server.start()
        cleanup.callback(self.server.stop, "immediate")
        self.server.create_user(USER)
        for database in (DIRECT, POOLED):
            self.server.create_database(database)
            self.server.execute(FUNCTIONS, database=database)
            for number in range(CLIENTS):
                self.server.execute(SCHEMA.format(number), database=database)
        self._cleaners = [
            psycopg.connect(
                host=str(self.server.directory),
                port=self.server.port,
                user="postgres",
                dbname=database,
                autocommit=True,
            )
            for database in (DIRECT, POOLED)
        ]
        for one in self._cleaners:
            cleanup.callback(one.close)
            one.execute("SET application_name = 'cleaner'")
        self._rules = self._place("rules") / "rules.py"
        self._rules.write_text(dedent(RULES))
        self._own(self._rules)
        self._certificates = self._certified()
        self.pooler: BusyPooler | None = None
        self.variant: Variant | None = None
        self._poolers = 0
        self.is_taken_over = False
        """A new process is about to take over; it heeds no signals yet."""
        cleanup.callback(self.stop_pooler)

    # -- the pooler ----------------------------------------------------------------

    def start_pooler(self, variant: Variant) -> None:
        """Start a pooler for a variant, after stopping the one before."""
        self.stop_pooler()
        self.variant = variant
        if variant is NOTHING:
            return
        self._poolers += 1
        place = self._place(f"sw{self._poolers}")
        self.pooler = pooler = BusyPooler(place, self._account)
        pooler.write_users(dict.fromkeys((USER, ADMIN), ""))
        entry = f"host={HOST} port={self.server.port} dbname={POOLED}"
        settings: dict[str, str | int | float] = {
            "auth_type": "trust",
            "admin_users": ADMIN,
            "pool_mode": variant.mode,
            "default_pool_size": variant.servers,
            "max_prepared_statements": variant.prepared,
            "log_connections": 0,
            "log_disconnections": 0,
            "log_pooler_errors": 0,
            "pidfile": str(place / "pid"),
        }
        if variant.rules:
            settings["routing_rules_py_module_file"] = str(self._rules)
            settings["rewrite_query_py_module_file"] = str(self._rules)
        if variant.tls:
            certificate, key = self._certificates
            settings["client_tls_sslmode"] = "allow"
            settings["client_tls_cert_file"] = str(certificate)
            settings["client_tls_key_file"] = str(key)
        databases = {POOLED: entry, TWO: entry}
        pooler.write_ini({"databases": databases, "pgbouncer": settings})
        pooler.start()

    def stop_pooler(self) -> None:
        """Stop the pooler, if there is one."""
        if self.pooler is not None:
            self.pooler.stop()
            self.pooler = None

    def take_over(self, meanwhile: Callable[[], None]) -> None:
        """Have a new process of the pooler take over from the present one.

        ``meanwhile`` is called again and again until it has: who is in the middle of a
        message holds it up.
        """
        pooler = self._running()
        old = pooler.child
        pooler.meanwhile = meanwhile
        self.is_taken_over = True
        pooler.start(["-R"])
        deadline = time.monotonic() + LOGIN_S
        while old.exit_code is None and time.monotonic() < deadline:
            meanwhile()
        pooler.meanwhile = nothing
        self.is_taken_over = False

    def is_alive(self) -> bool:
        """Tell whether the pooler runs."""
        if self.variant is NOTHING:
            return True
        return self.pooler is not None and self.pooler.is_running

    def console(self, command: str) -> list[dict[str, Any]]:
        """Run a command on the console; return its rows. Raises psycopg.Error."""
        url = self._running().url(ADMIN, "", "pgbouncer")
        with psycopg.connect(
            url, autocommit=True, row_factory=dict_row, connect_timeout=5
        ) as connection:
            cursor = connection.execute(command.encode())
            return [] if cursor.description is None else cursor.fetchall()

    def reload(self) -> None:
        """Have the pooler read its files again."""
        self._running().send(signal.SIGHUP)

    def refresh(self) -> None:
        """Have what is in force be as at the start, and new servers.

        The pooler itself goes on; what it keeps of clients that are gone is its own.
        """
        self.restore()
        if self.variant is not NOTHING:
            self.console("RECONNECT")

    def restore(self) -> None:
        """Set back what trouble may have set on the console."""
        assert self.variant is not None
        if self.variant is not NOTHING:
            self.console(f"SET pool_mode = '{self.variant.mode}'")
            self.console(f"SET max_prepared_statements = '{self.variant.prepared}'")

    def log_text(self) -> str:
        """Return what the pooler has logged."""
        return "" if self.pooler is None else self.pooler.log_text()

    # -- clients -------------------------------------------------------------------

    def connect_directly(self) -> Entered:
        """Log in to PostgreSQL, as :func:`log_in` does."""
        return log_in((HOST, self.server.port), USER, DIRECT, None, LOGIN_S)

    def connect_pooled(self) -> Entered:
        """Log in to the pooler, as :func:`log_in` does."""
        assert self.variant is not None
        if self.variant is NOTHING:
            return log_in((HOST, self.server.port), USER, POOLED, None, LOGIN_S)
        tls = None
        if self.variant.tls:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        port = self._running().port
        return log_in((HOST, port), USER, POOLED, tls, LOGIN_S)

    def send_alone(self, data: bytes) -> None:
        """Send bytes to the pooler on a connection of their own, until it is ended."""
        address = HOST, self._running().port
        with (
            suppress(OSError),
            socket.create_connection(address, LOGIN_S) as connection,
        ):
            connection.sendall(data)
            connection.recv(1)

    # -- servers -------------------------------------------------------------------

    def terminate_servers(self) -> None:
        """End all connections of the pooler to PostgreSQL."""
        self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{POOLED}' AND application_name <> 'cleaner'"
        )

    def clear_tables(self) -> None:
        """Empty all tables, as soon as nothing of clients that are gone runs."""
        self._quiet()
        for one in self._cleaners:
            for number in range(CLIENTS):
                one.execute(f"DELETE FROM f{number}".encode())

    def _quiet(self) -> None:
        """Wait until no server of the pooler is active or inside a transaction."""
        deadline = time.monotonic() + SETTLE_S
        while set(self.backends()) - {"idle"} and time.monotonic() < deadline:
            time.sleep(0.005)  # noqa: TID251 - no reactor runs in this process

    def backends(self) -> dict[str, int]:
        """Return how many connections the pooler has, by state at PostgreSQL."""
        rows = self._cleaners[0].execute(
            "SELECT coalesce(state, '-'), count(*)::int FROM pg_stat_activity"
            f" WHERE datname = '{POOLED}' AND backend_type = 'client backend'"
            " AND application_name <> 'cleaner' GROUP BY 1".encode()
        )
        return dict(rows.fetchall())

    def unsettled(self) -> str:
        """Return what is wrong with the pooler's pools when no client is there.

        Nothing if all is right within some seconds: no clients, no busy servers, as
        many servers as PostgreSQL has, all of them idle.
        """
        deadline = time.monotonic() + SETTLE_S
        while True:
            wrong = self._wrong()
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(0.02)  # noqa: TID251 - no reactor runs in this process

    def _wrong(self) -> str:
        if self.variant is NOTHING:
            return ""
        try:
            rows = [
                row
                for row in self.console("SHOW POOLS")
                if row["database"] in (POOLED, TWO)
            ]
        except psycopg.Error as error:
            return f"the console says {error}"
        busy = {
            f"{row['database']}.{name}": value
            for row in rows
            for name, value in row.items()
            if name.startswith(("cl_", "sv_"))
            and name not in ("sv_idle", "sv_used")
            and value not in (0, "0")
        }
        if busy:
            return f"no client is there, but SHOW POOLS has {busy}"
        counted = sum(int(row["sv_idle"]) + int(row["sv_used"]) for row in rows)
        backends = self.backends()
        if set(backends) - {"idle"} or sum(backends.values()) != counted:
            return f"SHOW POOLS has {counted} idle servers, PostgreSQL {backends}"
        return ""

    # -- files ---------------------------------------------------------------------

    def _running(self) -> BusyPooler:
        assert self.pooler is not None
        return self.pooler

    def _place(self, name: str) -> Path:
        path = self._folder.path / name
        path.mkdir(mode=0o700)
        hand_over(path, self._account)
        return path

    def _own(self, path: Path) -> None:
        hand_over(path, self._account)

    def _certified(self) -> tuple[Path, Path]:
        place = self._place("tls")
        certificate, key = Authority(place).issue("pooler", hosts=(HOST,))
        self._own(certificate)
        self._own(key)
        return certificate, key
