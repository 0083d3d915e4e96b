"""What is done to servers: at their first use, between clients, when they change."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from tests.integration.running import PgSwitch, PgSwitchFactory
from tests.waiting import wait_until

ONE_INSTALLATION = True
DATABASE_CHANGED = "database configuration changed"


def backend(connection: psycopg.Connection) -> int:
    """Return the process number of the server that serves this statement."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def three_servers(pooler: PgSwitch) -> list[int]:
    """Have three servers opened and released in sequence."""
    clients = [pooler.connect(autocommit=False) for _ in range(3)]
    pids = [backend(client) for client in clients]
    for client in clients:
        client.rollback()
        client.close()
    assert len(set(pids)) == 3
    return pids


@pytest.mark.parametrize("in_turn", [0, 1])
def test_which_idle_server(pgswitch: PgSwitchFactory, in_turn: int) -> None:
    """The last used; with server_round_robin the one unused for longest."""
    pooler = pgswitch(pool_mode="transaction", server_round_robin=in_turn)
    pids = three_servers(pooler)
    with pooler.connect(prepare_threshold=None) as client:
        used = [backend(client) for _ in range(6)]
    assert used == (pids * 2 if in_turn else [pids[-1]] * 6)


def test_connect_query(pgswitch: PgSwitchFactory) -> None:
    """Runs before a server's first use; one that fails costs a line in the log."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {
            "good": f"{bench} dbname=bench connect_query='SET work_mem = ''77kB'''",
            "bad": f"{bench} dbname=bench connect_query='SELECT nonsense'",
        },
        pool_mode="transaction",
    )
    assert pooler.execute("SHOW work_mem", database="good") == [("77kB",)]
    assert pooler.execute("SELECT 1", database="bad") == [(1,)]
    told = (
        'error while executing exec_on_query: ERROR: column "nonsense" does not exist'
    )
    assert told in pooler.log_text()


def test_reset_in_every_mode(pgswitch: PgSwitchFactory) -> None:
    """With server_reset_query_always, after each transaction."""
    pooler = pgswitch(
        pool_mode="transaction",
        default_pool_size=1,
        server_reset_query="RESET work_mem",
        server_reset_query_always=1,
    )
    with pooler.connect() as client:
        client.execute("SET work_mem = '77kB'")
        assert client.execute("SHOW work_mem").fetchone() != ("77kB",)


def test_no_reset(pgswitch: PgSwitchFactory) -> None:
    """An empty server_reset_query leaves everything to the next client."""
    pooler = pgswitch(default_pool_size=1, server_reset_query="")
    with pooler.connect() as client:
        client.execute("SET work_mem = '77kB'")
    with pooler.connect() as client:
        assert client.execute("SHOW work_mem").fetchone() == ("77kB",)


@pytest.mark.parametrize("delay", [0, 0.4])
def test_checks(
    pgswitch: PgSwitchFactory, own_postgres: PostgresServer, delay: float
) -> None:
    """A server that fails its check is replaced; the client notices nothing."""
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={own_postgres.port}"},
        pool_mode="transaction",
        server_check_query="SELECT check_me()",
        server_check_delay=delay,
    )
    own_postgres.execute(
        "CREATE FUNCTION check_me() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        database="bench",
    )
    with pooler.connect() as client:
        first = backend(client)
        wait_until(
            lambda: pooler.console("SHOW SERVERS")[0]["state"] == "used",
            "the server to be put aside",
        )
        assert backend(client) == first
        own_postgres.execute("DROP FUNCTION check_me()", database="bench")
        wait_until(
            lambda: pooler.console("SHOW SERVERS")[0]["state"] == "used",
            "the server to be put aside again",
        )
        assert backend(client) != first
    assert "closing because: test query failed" in pooler.log_text()


def test_what_a_server_says_unasked(
    pgswitch: PgSwitchFactory, make_own_postgres: Callable[..., PostgresServer]
) -> None:
    """A server that sends something while idle is not used again."""
    server = make_own_postgres(idle_session_timeout="300")
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={server.port}"}, pool_mode="transaction"
    )
    with pooler.connect() as client:
        first = backend(client)
        pooler.wait_for_log("closing because: SV_IDLE server got dirty")
        assert backend(client) != first


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_reconnect(pgswitch: PgSwitchFactory, mode: str) -> None:
    """Each server is closed when it is next given back, none before."""
    pooler = pgswitch(pool_mode=mode)
    with pooler.connect(autocommit=False) as client:
        first = backend(client)
        pooler.console("RECONNECT bench")
        assert [row["close_needed"] for row in pooler.console("SHOW SERVERS")] == [1]
        assert backend(client) == first
        client.rollback()
        if mode == "transaction":
            assert backend(client) != first
            client.rollback()
    wait_until(
        lambda: not any(row["close_needed"] for row in pooler.console("SHOW SERVERS")),
        "the old server to go",
    )
    assert "closing because: close_needed" in pooler.log_text()


def test_fast_close(pgswitch: PgSwitchFactory) -> None:
    """A session's server goes when its database changes, between transactions."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch({"bench": bench}, server_fast_close=1)
    with (
        pooler.connect() as idle,
        pooler.connect(autocommit=False) as busy,
    ):
        idle.execute("SELECT 1")
        busy.execute("SELECT 1")
        pooler.configure(
            {"bench": f"{bench} connect_query='SELECT 7'"}, {"server_fast_close": 1}
        )
        pooler.reload()
        pooler.wait_for_log(f"pooler error: {DATABASE_CHANGED}")
        with pytest.raises(psycopg.OperationalError, match=DATABASE_CHANGED):
            idle.execute("SELECT 1")
        busy.execute("SELECT 1")
        busy.commit()
        wait_until(
            lambda: pooler.log_text().count(f"pooler error: {DATABASE_CHANGED}") == 2,
            "the other to be told",
        )
