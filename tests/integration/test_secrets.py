"""Logins for which the pooler holds no password, or asks for none."""

from __future__ import annotations

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from tests.integration.running import PgSwitchFactory

ONE_INSTALLATION = True


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
    """Under auth_type any everybody is the database's own user, or nobody gets in."""
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


def test_no_secret_is_shown(pgswitch: PgSwitchFactory) -> None:
    """Neither in the log nor on the console."""
    entry = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{entry} user=plain password=plain-secret"}, options=["-v", "-v"]
    )
    pooler.execute("SELECT 1")
    shown = str(
        [
            pooler.console(f"SHOW {word}")
            for word in ("CONFIG", "DATABASES", "USERS", "SERVERS", "CLIENTS")
        ]
    )
    for secret in ("plain-secret", "scram-secret"):
        assert secret not in shown
        assert secret not in pooler.log_text()
