"""Servers that die, hang, refuse or come back, seen by the clients."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from tests.fakes.messages import query
from tests.integration.running import PASSWORDS, PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

MakePostgres = Callable[..., PostgresServer]


def before(
    pgswitch: PgSwitchFactory, server: PostgresServer, *, retry_s: float = 15
) -> PgSwitch:
    """Start a pgswitch in transaction mode before one server."""
    return pgswitch(
        {"bench": f"host=127.0.0.1 port={server.port}"},
        pool_mode="transaction",
        server_login_retry=retry_s,
    )


def backend(connection: psycopg.Connection) -> int:
    """Return the process number of the server that serves this statement."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def test_a_server_terminated_while_idle(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """No client was using it, so no client notices."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect() as client:
        victim = backend(client)
        with psycopg.connect(_direct(postgres), autocommit=True) as direct:
            direct.execute("SELECT pg_terminate_backend(%s)", (victim,))
        wait_until(lambda: not pooler.console("SHOW SERVERS"), "the pooler to notice")
        assert client.execute("SELECT 1").fetchone() == (1,)


def _direct(server: PostgresServer) -> str:
    """Return a connection string past the pooler."""
    password = PASSWORDS["scram"]
    return (
        f"host=127.0.0.1 port={server.port} user=scram password={password} dbname=bench"
    )


def test_a_server_terminated_in_a_transaction(pgswitch: PgSwitchFactory) -> None:
    """Its client gets the server's own error; the pool goes on."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect(autocommit=False) as client, pooler.connect() as other:
        victim = backend(client)
        other.execute("SELECT pg_terminate_backend(%s)", (victim,))
        with pytest.raises(psycopg.errors.AdminShutdown):
            client.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_a_server_killed_in_a_query(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """The reference's FATAL for the client; after recovery the pool serves again."""
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={own_postgres.port}"},
        auth_type="trust",
        pool_mode="transaction",
        server_login_retry=1,
    )
    with RawClient(pooler.port) as client:
        client.log_in("scram")
        client.send(query("SELECT pg_sleep(30)"))
        running = "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'"
        wait_until(lambda: own_postgres.execute(running), "the query to run")
        os.kill(own_postgres.execute(running)[0][0], signal.SIGKILL)
        fields = client.read_error()
        assert (fields["S"], fields["M"]) == ("FATAL", "server conn crashed?")
        assert client.is_closed()
    _eventually(lambda: pooler.execute("SELECT 1") == [(1,)])


def _eventually(holds: Callable[[], bool], timeout_s: float = 25.0) -> None:
    """Wait until something holds that may fail with a database error before."""

    def tried() -> bool:
        with suppress(psycopg.Error):
            return holds()
        return False

    wait_until(tried, "the pool to recover", timeout_s)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_of_postgres(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer, how: str
) -> None:
    """After a restart the same clients go on; a waiting one only waits."""
    pooler = before(pgswitch, own_postgres, retry_s=0.2)
    with pooler.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
        own_postgres.stop(how)
        wait_until(
            lambda: not pooler.console("SHOW SERVERS"), "the servers to be noticed gone"
        )
        own_postgres.start()
        _eventually(lambda: pooler.execute("SELECT 1") == [(1,)])
        assert client.execute("SELECT 2").fetchone() == (2,)


def test_logins_wait_for_a_server_that_is_down(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """No client is refused while the port is closed; all are served when it opens."""
    pooler = before(pgswitch, own_postgres, retry_s=0.2)
    own_postgres.stop("fast")
    outcome: list[object] = []
    waiting = threading.Thread(
        target=lambda: outcome.append(pooler.execute("SELECT 1"))
    )
    waiting.start()
    pooler.wait_for_log("connect failed")
    assert waiting.is_alive()
    own_postgres.start()
    waiting.join(20)
    assert outcome == [[(1,)]]


def test_a_database_that_the_server_does_not_have(pgswitch: PgSwitchFactory) -> None:
    """The server's own text and code."""
    entry = pgswitch.usual_databases()["bench"]
    pooler = pgswitch({"missing": entry, "bench": entry})
    with pytest.raises(
        psycopg.OperationalError, match='database "missing" does not exist'
    ):
        pooler.connect(database="missing")
    assert pooler.execute("SELECT 1") == [(1,)]


def test_a_wrong_password_for_the_server(pgswitch: PgSwitchFactory) -> None:
    """The client learns why no login to the server works."""
    entry = pgswitch.usual_databases()["bench"]
    pooler = pgswitch({"bench": f"{entry} user=scram password=wrong"})
    with pytest.raises(
        psycopg.OperationalError, match="password authentication failed"
    ):
        pooler.connect(user="md5")


def test_a_server_that_hangs(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer
) -> None:
    """query_timeout frees the client of a hung server; other servers work."""
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={own_postgres.port}"},
        pool_mode="transaction",
        query_timeout=1,
    )
    with pooler.connect() as client, pooler.connect() as other:
        victim = backend(client)
        os.kill(victim, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(psycopg.OperationalError, match="query timeout"):
                client.execute("SELECT 1")
            assert time.monotonic() - began < 5
            assert other.execute("SELECT 1").fetchone() == (1,)
        finally:
            os.kill(victim, signal.SIGCONT)


def test_time_limits_of_transactions(pgswitch: PgSwitchFactory) -> None:
    """idle_transaction_timeout and transaction_timeout end what they say."""
    pooler = pgswitch(
        pool_mode="transaction",
        idle_transaction_timeout=1,
        transaction_timeout=2,
    )
    with pooler.connect(autocommit=False) as idle:
        idle.execute("SELECT 1")
        threading.Event().wait(1.8)
        with pytest.raises(psycopg.OperationalError, match="idle transaction timeout"):
            idle.execute("SELECT 1")
    with (
        pooler.connect(autocommit=False) as busy,
        pytest.raises(psycopg.OperationalError, match="transaction timeout"),
    ):
        for _ in range(40):
            busy.execute("SELECT pg_sleep(0.1)")


def test_a_client_that_vanishes_in_a_query(pgswitch: PgSwitchFactory) -> None:
    """Its server is closed, since its state is unknown."""
    pooler = pgswitch(auth_type="trust", pool_mode="transaction")
    with RawClient(pooler.port) as client:
        client.log_in()
        client.send(query("SELECT pg_sleep(30)"))
        wait_until(
            lambda: any(r["state"] == "active" for r in pooler.console("SHOW SERVERS")),
            "the query to run",
        )
    pooler.wait_for_log("client disconnected with query in progress")
    assert pooler.console("SHOW SERVERS") == []
