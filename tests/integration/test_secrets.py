"""Logins for which the pooler holds no password, or asks for none."""

from __future__ import annotations

import socket
from contextlib import closing
from threading import Thread

import psycopg
import pytest

from pgswitch.admin.statements import SHOWS
from pgswitch.demo.postgres import PostgresServer
from tests.integration.running import PgSwitchFactory

ONE_INSTALLATION = True
OPEN_SHOWS = [word.upper() for word, show in SHOWS.items() if not show.needs_owner]
"""What an admin sees; the rest is for the user alone that runs the process."""


def stored_secret(postgres: PostgresServer, user: str) -> str:
    """Return what PostgreSQL keeps of a user's password."""
    with psycopg.connect(
        host=str(postgres.directory), port=postgres.port, user="postgres"
    ) as connection:
        row = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (user,)
        ).fetchone()
    assert row is not None
    return str(row[0])


def test_scram_pass_through(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """With the server's own secret on file, the client's proof opens both doors."""
    secret = stored_secret(postgres, "scram")
    assert secret.startswith("SCRAM-SHA-256$")
    pooler = pgswitch(users={"scram": secret}, pool_mode="transaction")
    assert pooler.execute("SELECT current_user") == [("scram",)]
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        pooler.connect(password="wrong")


def test_an_md5_secret(pgswitch: PgSwitchFactory, postgres: PostgresServer) -> None:
    """A hash on file serves for the client's login and for the server's."""
    secret = stored_secret(postgres, "md5")
    assert secret.startswith("md5")
    pooler = pgswitch(users={"md5": secret}, auth_type="md5")
    assert pooler.execute("SELECT current_user", user="md5") == [("md5",)]


def test_any_user(pgswitch: PgSwitchFactory) -> None:
    """Under auth_type any every client is the database's own user, or is refused."""
    entry = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{entry} user=scram password=scram-secret", "other": entry},
        auth_type="any",
    )
    rows = pooler.execute("SELECT current_user", user="md5")
    assert rows == [("scram",)]
    with pytest.raises(psycopg.OperationalError, match="bouncer config error"):
        pooler.connect(database="other")


def test_a_forced_user(pgswitch: PgSwitchFactory) -> None:
    """Each client proves itself; all share one pool of the forced user."""
    entry = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{entry} user=plain password=plain-secret"}, pool_mode="transaction"
    )
    for user in ("scram", "md5"):
        rows = pooler.execute("SELECT current_user", user=user)
        assert rows == [("plain",)]
    pools = [
        r["user"] for r in pooler.console("SHOW POOLS") if r["database"] == "bench"
    ]
    assert pools == ["plain"]


@pytest.mark.parametrize(
    ("auth_type", "log_format"),
    [("plain", "text"), ("md5", "json"), ("scram-sha-256", "text")],
)
def test_no_secret_is_shown(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, auth_type: str, log_format: str
) -> None:
    """Neither in the log at its most talkative nor anywhere on the console."""
    entry = pgswitch.usual_databases()["bench"]
    stored = {user: stored_secret(postgres, user) for user in ("md5", "scram")}
    pooler = pgswitch(
        {
            "bench": entry,
            "forced": f"{entry} dbname=bench user=plain password=plain-secret",
            "wrong": f"{entry} dbname=bench user=plain password=stale-secret",
        },
        users=stored,
        options=["-v", "-v", "-v"],
        auth_type=auth_type,
        log_format=log_format,
        client_login_timeout=2,
    )
    users = {"plain": ("plain", "scram"), "md5": ("md5", "scram")}
    for user in users.get(auth_type, ("scram", "plain")):
        assert pooler.execute("SELECT 1", user=user, database="forced") == [(1,)]
        with pytest.raises(psycopg.OperationalError):
            pooler.connect(user, password="mistyped-secret")
        with pytest.raises(psycopg.OperationalError) as refused:
            pooler.connect(user, database="wrong")
        assert "-secret" not in str(refused.value)
    pooler.execute("SELECT 1")
    shown = [str(pooler.console(f"SHOW {word}")) for word in OPEN_SHOWS]
    pooler.reload()
    log = pooler.log_text()
    assert "PasswordMessage" in log or "SASL" in log, "the trace is on"
    keys = [part for secret in stored.values() for part in secret.split(":")[-2:]]
    for text in (*shown, log):
        for secret in ("-secret", *keys, *stored.values()):
            assert secret not in text


def test_a_forced_user_and_clients_by_scram(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """The keys that clients prove are theirs; servers know the forced user's alone."""
    entry = pgswitch.usual_databases()["bench"]
    secret = stored_secret(postgres, "scram")
    pooler = pgswitch(
        {"bench": f"{entry} user=plain password=plain-secret"},
        users={"scram": secret},
        pool_mode="transaction",
    )
    for _ in range(2):
        assert pooler.execute("SELECT current_user") == [("plain",)]
        pooler.console("RECONNECT")


def test_clear_passwords_against_stored_secrets(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """auth_type plain with a SCRAM secret: what the client sent opens the server."""
    pooler = pgswitch(
        users={"scram": stored_secret(postgres, "scram")}, auth_type="plain"
    )
    assert pooler.execute("SELECT current_user") == [("scram",)]
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        pooler.connect(password="wrong")


def test_a_server_that_wants_something_else(pgswitch: PgSwitchFactory) -> None:
    """The client's error names the unsupported method."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]

        def serve() -> None:
            connection, _ = listening.accept()
            with closing(connection):
                connection.recv(1024)
                connection.sendall(b"R\0\0\0\x08\0\0\0\x07")
                connection.recv(1024)

        server = Thread(target=serve, daemon=True)
        server.start()
        entry = f"host=127.0.0.1 port={port}"
        pooler = pgswitch({"bench": entry}, server_tls_sslmode="disable")
        with pytest.raises(psycopg.OperationalError, match=r"7 \(GSSAPI\)"):
            pooler.connect()
        server.join(10)
