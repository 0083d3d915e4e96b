"""Users that only the server knows: auth_query on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from tests.integration.running import PASSWORDS, PgSwitch, PgSwitchFactory

OWN_QUERY = "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1"


@pytest.fixture
def asker(postgres: PostgresServer) -> Iterator[str]:
    """Create a user that may read secrets; yield its password."""
    postgres.execute("CREATE ROLE asker SUPERUSER LOGIN PASSWORD 'asks'")
    yield "asks"
    postgres.execute("DROP ROLE asker")


def asking(
    pgswitch: PgSwitchFactory,
    asker: str,
    **settings: Any,  # noqa: ANN401 - as the factory takes them
) -> PgSwitch:
    """Start pgswitch with no user in its file but the one that asks."""
    pooler = pgswitch(start=False, auth_user="asker", **settings)
    pooler.write_users({"asker": asker, "admin": "admin-secret"})
    pooler.start()
    return pooler


def test_scram_from_end_to_end(pgswitch: PgSwitchFactory, asker: str) -> None:
    """The server's own verifier checks the client, whose proof opens the server."""
    pooler = asking(pgswitch, asker, pool_mode="transaction")
    assert pooler.execute("SELECT current_user") == [("scram",)]
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        pooler.connect(password="wrong")
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        psycopg.connect(pooler.url("stranger", "x", "bench"))
    pooler.wait_for_log("no such user: stranger")
    assert {r["user"] for r in pooler.console("SHOW POOLS")} >= {"asker", "scram"}


def test_md5_and_scram_secrets(pgswitch: PgSwitchFactory, asker: str) -> None:
    """auth_type md5 asks each as its secret allows."""
    pooler = asking(pgswitch, asker, auth_type="md5")
    for user in ("md5", "scram"):
        rows = pooler.execute("SELECT current_user", user=user)
        assert rows == [(user,)]


def test_a_changed_password(
    pgswitch: PgSwitchFactory, asker: str, postgres: PostgresServer
) -> None:
    """Counts at the next login, with or without a cache."""
    postgres.execute("CREATE ROLE changing LOGIN PASSWORD 'one'")
    try:
        pooler = asking(pgswitch, asker, auth_query_cache_ttl=3600)
        pooler.connect("changing", password="one").close()
        postgres.execute("ALTER ROLE changing PASSWORD 'two'")
        with pytest.raises(psycopg.OperationalError):  # what was believed is forgotten
            pooler.connect("changing", password="two")
        pooler.console("RECONNECT")
        with pooler.connect("changing", password="two") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        postgres.execute("DROP ROLE changing")


def test_a_hostile_search_path(
    pgswitch: PgSwitchFactory, asker: str, postgres: PostgresServer
) -> None:
    """A client's start-up parameters do not reach the connection that asks."""
    postgres.execute(
        "CREATE SCHEMA evil; CREATE TABLE evil.pg_authid AS SELECT 'scram'::name"
        " AS rolname, 'sesame'::text AS rolpassword, true AS rolcanlogin,"
        " NULL::timestamptz AS rolvaliduntil; GRANT USAGE ON SCHEMA evil TO PUBLIC;"
        " GRANT SELECT ON evil.pg_authid TO PUBLIC",
        database="bench",
    )
    try:
        pooler = asking(
            pgswitch,
            asker,
            track_extra_parameters="search_path",
            ignore_startup_parameters="options",
        )
        for options in ("-csearch_path=evil,pg_catalog", "--search_path=evil"):
            with pytest.raises(psycopg.OperationalError, match="SASL"):
                pooler.connect(password="sesame", options=options)
    finally:
        postgres.execute("DROP SCHEMA evil CASCADE", database="bench")


@pytest.mark.parametrize(
    ("query", "text", "line"),
    [
        ("SELECT nonsense", "bouncer config error", "error in auth_query: ERROR: "),
        (
            "SELECT rolname FROM pg_authid WHERE rolname = $1",
            "bouncer config error",
            "expected 2 columns from auth_query, not 1",
        ),
        ("SELECT NULL, rolname FROM pg_authid WHERE rolname = $1", "bouncer", "null"),
        ("SELECT rolname, NULL FROM pg_authid WHERE rolname = $1", "SASL", "failed"),
        ("SELECT pg_terminate_backend(pg_backend_pid()), $1::text", "bouncer", "error"),
    ],
)
def test_queries_that_do_not_work(
    pgswitch: PgSwitchFactory, asker: str, query: str, text: str, line: str
) -> None:
    """The client learns little, the log says why; the next client is not disturbed."""
    pooler = asking(pgswitch, asker, auth_query=query)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match=text):
            pooler.connect()
    pooler.wait_for_log(line)
    assert pooler.console("SHOW VERSION")


def test_many_at_once(pgswitch: PgSwitchFactory, asker: str) -> None:
    """All logins share the few servers of auth_user, and one auth_dbname."""
    pooler = asking(pgswitch, asker, auth_dbname="other", default_pool_size=2)

    def log_in(_: int) -> object:
        with pooler.connect() as connection:
            return connection.execute("SELECT 1").fetchone()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(log_in, range(24))) == [(1,)] * 24
    shown = [r for r in pooler.console("SHOW SERVERS") if r["user"] == "asker"]
    assert 1 <= len(shown) <= 2
    assert {row["database"] for row in shown} == {"other"}


def test_secrets_stay_secret(pgswitch: PgSwitchFactory, asker: str) -> None:
    """Neither the log at its most talkative nor the console shows what was asked."""
    pooler = asking(pgswitch, asker, auth_query=OWN_QUERY, verbose=3)
    pooler.execute("SELECT 1")
    shown = str([pooler.console(f"SHOW {word}") for word in ("POOLS", "USERS")])
    for text in (shown, pooler.log_text()):
        assert "SCRAM-SHA-256$" not in text
        assert PASSWORDS["scram"] not in text
        assert "'asks'" not in text
