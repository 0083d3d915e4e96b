"""``-R`` for connections of other kinds: handed over too, or closed with an error."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import UNPRIVILEGED_NAME, Account, ChildFailed
from tests.fakes.messages import query
from tests.integration.running import ADMIN, PgSwitchFactory
from tests.integration.test_replication import (
    begin_stream,
    end_stream,
    replication_client,
)
from tests.integration.test_takeover import backends, pidfile, restart
from tests.integration.test_tls_clients import connect
from tests.integration.tls import Certificates
from tests.strangers import by_a_stranger
from tests.waiting import wait_until

ONE_INSTALLATION = True
SQUATTER = 4711
"""An unused user id."""
TOLD = pytest.raises(psycopg.errors.AdminShutdown, match="administrator command")


def test_encrypted_clients(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates, directory: Path
) -> None:
    """They get an error, the log has their count; unencrypted clients go on."""
    pooler = tls_pgswitch(
        pool_mode="transaction",
        pidfile=pidfile(directory),
        **certificates.for_clients("allow"),
    )
    with ExitStack() as stack:

        def client(mode: str) -> psycopg.Connection:
            return stack.enter_context(connect(pooler, certificates, mode))

        idle, inside, clear = client("require"), client("require"), client("disable")
        clear.execute("SELECT 1")
        inside.execute("BEGIN")
        inside.execute("CREATE TABLE cut_off (a int)")
        restart(pooler)
        for one in (idle, inside):
            with TOLD:
                one.execute("SELECT 1")
        line = "2 clients and 1 servers cannot be handed over and end with this process"
        pooler.wait_for_log(line)
        assert clear.execute("SELECT to_regclass('cut_off')").fetchone() == (None,)
        assert client("require").execute("SELECT 2").fetchone() == (2,)


def test_encrypted_servers(
    tls_pgswitch: PgSwitchFactory, tls_postgres: PostgresServer, directory: Path
) -> None:
    """Idle ones are closed in order and reopened; an active client gets an error."""
    pooler = tls_pgswitch(
        pool_mode="transaction",
        pidfile=pidfile(directory),
        server_tls_sslmode="require",
    )
    with pooler.connect() as idle, pooler.connect() as inside:
        idle.execute("SELECT 1")
        before = backends(pooler)
        lines = tls_postgres.log_text().count("unexpected EOF on client connection")
        restart(pooler)
        assert idle.execute("SELECT 2").fetchone() == (2,)
        assert not before & backends(pooler)
        inside.execute("BEGIN")
        restart(pooler)
        with pytest.raises(psycopg.OperationalError):
            inside.execute("SELECT 1")
        assert idle.execute("SELECT 3").fetchone() == (3,)
        now = tls_postgres.log_text().count("unexpected EOF on client connection")
        assert now == lines


def test_consoles(pgswitch: PgSwitchFactory, directory: Path) -> None:
    """They get an error, so that tools log in again."""
    pooler = pgswitch(pidfile=pidfile(directory))
    with pooler.connect(ADMIN, "pgbouncer") as console:
        restart(pooler)
        with TOLD:
            console.execute("SHOW VERSION")
    assert pooler.console("SHOW VERSION")


def test_what_was_counted(pgswitch: PgSwitchFactory, directory: Path) -> None:
    """Errors and percentiles go on, as the totals do."""
    pooler = pgswitch(pidfile=pidfile(directory), stats_period=600)
    with pooler.connect() as client:
        client.execute("SELECT pg_sleep(0.2)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("SELECT 1 / 0")
    with pytest.raises(psycopg.OperationalError, match="no such database"):
        pooler.connect(database="nowhere")

    def shown() -> tuple[list[object], list[object]]:
        errors: list[object] = [
            (row["database"], row["sqlstate"], row["count"])
            for row in pooler.console("SHOW ERRORS")
        ]
        times: list[object] = [
            dict(row) for row in pooler.console("SHOW STATS_PERCENTILES")
        ]
        return errors, times

    before = shown()
    restart(pooler)
    assert shown() == before
    assert ("bench", "22012", 1) in before[0]


def test_replication(
    source: PostgresServer, pgswitch: PgSwitchFactory, directory: Path
) -> None:
    """A stream keeps its walsender; a replication client without one gets one."""
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={source.port}"},
        auth_type="trust",
        pool_mode="transaction",
        pidfile=pidfile(directory),
    )
    source.execute("CREATE TABLE t (i int)", database="bench")
    pooler.execute("SELECT 1", user="trusted")
    with ExitStack() as stack:

        def walsenders() -> list[tuple[object, ...]]:
            return [
                (row["replication"], row["remote_pid"], row["state"])
                for row in pooler.console("SHOW SERVERS")
                if row["replication"] != "none"
            ]

        stream, idle = (
            stack.enter_context(replication_client(pooler, word))
            for word in ("database", "true")
        )
        begin_stream(stream)
        before = walsenders()
        restart(pooler)
        assert walsenders() == before
        end_stream(stream, source)
        idle.send(query("IDENTIFY_SYSTEM"))
        assert idle.read_until(b"Z")[0][0] == b"T"
        assert [row[0] for row in walsenders()] == ["logical", "physical"]
    wait_until(lambda: walsenders() == [], "the walsenders to go")


def test_another_user_at_the_socket(pgswitch: PgSwitchFactory) -> None:
    """In /tmp any user may listen by the name of a pooler that is not running."""
    pooler = pgswitch(start=False)
    shared = Path(tempfile.mkdtemp(prefix="pgswitch-", dir="/tmp"))
    shared.chmod(0o1777)
    pooler.configure(pgswitch.usual_databases(), {"unix_socket_dir": str(shared)})
    path = shared / f".s.PGSQL.{pooler.port}"
    squatter = Account("squatter", SQUATTER, SQUATTER)
    listener = socket.socket(socket.AF_UNIX)

    def squat() -> None:
        listener.bind(str(path))
        listener.listen()

    try:
        with by_a_stranger(squat, squatter):
            with pytest.raises(ChildFailed, match="is not a socket of our own user"):
                pooler.start(["-R"])
            owner = pwd.getpwnam(UNPRIVILEGED_NAME)
            os.chown(path, owner.pw_uid, owner.pw_gid)
            with pytest.raises(ChildFailed, match=rf"another user \(id {SQUATTER}\)"):
                pooler.start(["-R"])
            with pytest.raises(ChildFailed, match="unix socket is in use"):
                pooler.start()
    finally:
        listener.close()
        shutil.rmtree(shared)
