"""Who gets which server, and when it is given back."""

from __future__ import annotations

import threading
import time
from functools import partial

import psycopg
import pytest

from tests.integration.running import PgSwitch, PgSwitchFactory
from tests.waiting import wait_until

ONE_INSTALLATION = True


def backend(connection: psycopg.Connection) -> int:
    """Return the process number of the server that serves this statement."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def pool(pooler: PgSwitch) -> dict[str, object]:
    """Return the row of SHOW POOLS of the usual user."""
    rows = pooler.console("SHOW POOLS")
    return next(row for row in rows if row["user"] == "scram")


def test_transaction_mode_shares_one_server(pgswitch: PgSwitchFactory) -> None:
    """Ten clients outside transactions need one server."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    clients = [pooler.connect() for _ in range(10)]
    assert len({backend(client) for client in clients}) == 1
    assert pool(pooler)["sv_idle"] == 1
    for client in clients:
        client.close()


def test_session_mode_keeps_a_server(pgswitch: PgSwitchFactory) -> None:
    """A client keeps its server from its first query until it leaves."""
    pooler = pgswitch(pool_mode="session", default_pool_size=2)
    with pooler.connect() as one, pooler.connect() as other:
        assert pool(pooler)["sv_active"] == 0
        assert backend(one) == backend(one) != backend(other)
        assert pool(pooler)["sv_active"] == 2
    wait_until(lambda: pool(pooler)["sv_idle"] == 2, "both servers given back")


def test_session_mode_resets(pgswitch: PgSwitchFactory) -> None:
    """The next client does not meet what the last one left."""
    pooler = pgswitch(pool_mode="session", default_pool_size=1)
    with pooler.connect() as client:
        client.execute("SET work_mem = '1234kB'")
        client.execute("CREATE TEMP TABLE left_behind (a int)")
        first = backend(client)
    with pooler.connect() as client:
        assert client.execute("SHOW work_mem").fetchone() != ("1234kB",)
        row = client.execute("SELECT to_regclass('left_behind')").fetchone()
        assert row == (None,)
        assert backend(client) == first


def test_statement_mode_forbids_transactions(pgswitch: PgSwitchFactory) -> None:
    """BEGIN ends the connection with the reference's text."""
    pooler = pgswitch(pool_mode="statement")
    with pooler.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(
            psycopg.OperationalError,
            match="transaction blocks not allowed in statement pooling mode",
        ):
            client.execute("BEGIN")
    assert pooler.execute("SELECT 1") == [(1,)]


def test_modes_of_database_and_user(pgswitch: PgSwitchFactory) -> None:
    """A user's mode goes before the database's, and that before the global one."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{bench} pool_mode=statement", "other": bench},
        sections={"users": {"md5": "pool_mode=session"}},
        pool_mode="transaction",
    )
    for user, database in (("scram", "bench"), ("md5", "bench"), ("scram", "other")):
        pooler.execute("SELECT 1", user=user, database=database)
    modes = {
        (row["user"], row["database"]): row["pool_mode"]
        for row in pooler.console("SHOW POOLS")
    }
    assert modes["scram", "bench"] == "statement"
    assert modes["md5", "bench"] == "session"
    assert modes["scram", "other"] == "transaction"


def _waits(pooler: PgSwitch, count: int) -> bool:
    return pool(pooler)["cl_waiting"] == count


def test_clients_queue_in_order(pgswitch: PgSwitchFactory) -> None:
    """With one server, waiting clients are served first come first served."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    holder = pooler.connect(autocommit=False)
    holder.execute("SELECT 1")
    served: list[tuple[object, int]] = []
    threads = []

    def ask(number: int, client: psycopg.Connection) -> None:
        row = client.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        served.append((row[0], number))
        client.close()

    for number in range(4):
        client = pooler.connect()
        thread = threading.Thread(target=ask, args=(number, client))
        thread.start()
        threads.append(thread)
        wait_until(partial(_waits, pooler, number + 1), "the client to wait")
    holder.close()
    for thread in threads:
        thread.join(10)
    assert [number for _when, number in sorted(served)] == [0, 1, 2, 3]


def test_query_wait_timeout(pgswitch: PgSwitchFactory) -> None:
    """A client that waits too long gets an error; the one with the server does not."""
    pooler = pgswitch(
        pool_mode="transaction", default_pool_size=1, query_wait_timeout=1
    )
    with pooler.connect(autocommit=False) as holder, pooler.connect() as waiter:
        holder.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            waiter.execute("SELECT 1")
        assert holder.execute("SELECT 2").fetchone() == (2,)


def test_leaving_inside_a_transaction(pgswitch: PgSwitchFactory) -> None:
    """The server of a client that leaves mid-transaction is closed."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=2)
    client = pooler.connect(autocommit=False)
    left = backend(client)
    client.close()
    with pooler.connect() as witness:
        wait_until(
            lambda: (
                witness.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (left,)
                ).fetchone()
                == (0,)
            ),
            "the server to be closed",
        )
    pooler.wait_for_log("client disconnect while server was not ready")


def test_leaving_between_transactions(pgswitch: PgSwitchFactory) -> None:
    """The server of a client that leaves when idle serves the next one."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    with pooler.connect() as client:
        first = backend(client)
    with pooler.connect() as client:
        assert backend(client) == first


def test_parameters_follow_the_client(pgswitch: PgSwitchFactory) -> None:
    """Tracked parameters are the client's own on every server it gets."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    with (
        pooler.connect(application_name="one") as one,
        pooler.connect(application_name="two") as other,
    ):
        one.execute("SET TimeZone = 'Europe/Oslo'")
        other.execute("SET DateStyle = 'German'")
        for _ in range(3):
            assert one.execute("SHOW application_name").fetchone() == ("one",)
            assert other.execute("SHOW application_name").fetchone() == ("two",)
            assert one.execute("SHOW TimeZone").fetchone() == ("Europe/Oslo",)
            assert other.execute("SHOW TimeZone").fetchone() != ("Europe/Oslo",)
            assert other.execute("SHOW DateStyle").fetchone() == ("German, DMY",)
            assert one.execute("SHOW DateStyle").fetchone() != ("German, DMY",)


def test_a_parameter_that_the_server_refuses(pgswitch: PgSwitchFactory) -> None:
    """A client that asks for the impossible gets an error; no other client notices."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    with pooler.connect() as other:
        assert other.execute("SELECT 1").fetchone() == (1,)
        client = pooler.connect(options="-c TimeZone=nowhere/land")
        with pytest.raises(psycopg.OperationalError, match="invalid server parameter"):
            client.execute("SELECT 1")
        client.close()
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_prepared_statements_are_shared(pgswitch: PgSwitchFactory) -> None:
    """Two clients that prepare the same text use one statement of the server."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    with pooler.connect() as one, pooler.connect() as other:
        for client in (one, other):
            for _ in range(3):
                row = client.execute("SELECT %s::int", (5,), prepare=True).fetchone()
                assert row == (5,)
        row = one.execute("SELECT name FROM pg_prepared_statements").fetchone()
        assert row is not None
        assert row[0].startswith("PGBOUNCER_")
        count = one.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        assert count == (1,)


def test_prepared_statements_move_with_the_client(pgswitch: PgSwitchFactory) -> None:
    """A statement is prepared again on a server that does not have it."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=2)
    with pooler.connect() as client, pooler.connect(autocommit=False) as other:
        client.execute("SELECT %s::int + 1", (1,), prepare=True)
        first = backend(client)
        # The other client takes the server that has the statement.
        assert backend(other) == first
        row = client.execute("SELECT %s::int + 1", (2,), prepare=True).fetchone()
        assert row == (3,)
        assert backend(client) != first


def test_few_prepared_statements(pgswitch: PgSwitchFactory) -> None:
    """A server keeps no more than max_prepared_statements."""
    pooler = pgswitch(
        pool_mode="transaction", default_pool_size=1, max_prepared_statements=3
    )
    with pooler.connect() as client:
        for round_ in range(2):
            for number in range(8):
                text = f"SELECT {number} + %s::int"
                row = client.execute(text.encode(), (round_,), prepare=True).fetchone()
                assert row == (number + round_,)
        count = client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        assert count == (3,)


@pytest.mark.parametrize("statement", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_forgetting_prepared_statements(
    pgswitch: PgSwitchFactory, statement: str
) -> None:
    """After DISCARD ALL a client can prepare the same again."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    with pooler.connect() as client:
        client.execute("SELECT %s::int", (1,), prepare=True)
        client.execute(statement.encode())
    with pooler.connect() as client:
        row = client.execute("SELECT %s::int", (2,), prepare=True).fetchone()
        assert row == (2,)


def test_cancel_reaches_the_right_server(pgswitch: PgSwitchFactory) -> None:
    """The query of the client that cancels ends, and no other."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=2)
    with pooler.connect() as client, pooler.connect() as other:
        outcome: list[object] = []
        sleeper = threading.Thread(
            target=lambda: outcome.append(
                other.execute("SELECT 'slept' FROM pg_sleep(1.5)").fetchone()
            )
        )
        sleeper.start()
        timer = threading.Timer(0.4, client.cancel_safe)
        timer.start()
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - began < 10
        sleeper.join()
        assert outcome == [("slept",)]
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_many_servers_are_opened_at_once(pgswitch: PgSwitchFactory) -> None:
    """Clients that come together do not wait for one login after the other."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=10)
    clients = [pooler.connect() for _ in range(10)]
    threads = [
        threading.Thread(target=client.execute, args=("SELECT pg_sleep(0.5)",))
        for client in clients
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 4
    assert pool(pooler)["sv_idle"] == 10
    for client in clients:
        client.close()
