"""The console as operators use it, through psql's protocol."""

from __future__ import annotations

import signal
import socket
import threading

import psycopg
import pytest

from tests.integration.running import ADMIN, PgSwitch, PgSwitchFactory
from tests.waiting import wait_until

ONE_INSTALLATION = True


def refusal(pooler: PgSwitch, command: str) -> tuple[str | None, str | None]:
    """Return SQLSTATE and text of the error that a command gets."""
    with pytest.raises(psycopg.Error) as caught:
        pooler.console(command)
    return caught.value.sqlstate, caught.value.diag.message_primary


def test_shows(pgswitch: PgSwitchFactory) -> None:
    """Each SHOW answers, and tells of the client that is there."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect(application_name="me") as client:
        client.execute("SELECT 1")
        for word in (
            *("VERSION", "POOLS", "CLIENTS", "SERVERS", "DATABASES", "CONFIG"),
            *("STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "USERS"),
            *("LISTS", "STATE", "SOCKETS"),
        ):
            assert pooler.console(f"SHOW {word}"), word
        (mine,) = (
            row for row in pooler.console("SHOW CLIENTS") if row["database"] == "bench"
        )
        assert (mine["user"], mine["state"], mine["application_name"]) == (
            "scram",
            "idle",
            "me",
        )
        (server,) = pooler.console("SHOW SERVERS")
        assert (server["user"], server["state"]) == ("scram", "idle")
        stats = next(
            row for row in pooler.console("SHOW STATS") if row["database"] == "bench"
        )
        assert stats["total_query_count"] == 1
        assert stats["total_xact_count"] == 1
        assert stats["total_received"] == len(b"Q\0\0\0\0SELECT 1\0")


def test_a_linked_client(pgswitch: PgSwitchFactory) -> None:
    """A client in a transaction and its server point at each other."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect(autocommit=False) as client:
        client.execute("SELECT 1")
        (server,) = pooler.console("SHOW SERVERS")
        (mine,) = (
            row for row in pooler.console("SHOW CLIENTS") if row["database"] == "bench"
        )
        assert (server["state"], mine["state"]) == ("active", "active")
        assert (server["link"], mine["link"]) == (mine["ptr"], server["ptr"])


def test_pause_and_resume(pgswitch: PgSwitchFactory) -> None:
    """PAUSE waits for the busy client; others wait until RESUME."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect(autocommit=False) as busy, pooler.connect() as other:
        busy.execute("SELECT 1")
        pausing = threading.Thread(target=pooler.console, args=("PAUSE",))
        pausing.start()
        wait_until(
            lambda: {"key": "paused", "value": "yes"} in pooler.console("SHOW STATE"),
            "the pause to begin",
        )
        assert pausing.is_alive()
        assert busy.execute("SELECT 2").fetchone() == (2,)
        busy.commit()
        pausing.join(10)
        assert not pausing.is_alive()
        assert pooler.console("SHOW SERVERS") == []
        rows: list[object] = []
        waiting = threading.Thread(
            target=lambda: rows.append(other.execute("SELECT 3").fetchone())
        )
        waiting.start()
        wait_until(
            lambda: any(row["cl_waiting"] for row in pooler.console("SHOW POOLS")),
            "a client to wait",
        )
        for command in ("PAUSE", "PAUSE bench", "KILL bench", "KILL"):
            answer = refusal(pooler, command)
            assert answer == ("08P01", "already suspended/paused"), command
        pooler.console("RESUME")
        waiting.join(10)
        assert rows == [(3,)]
    assert refusal(pooler, "RESUME") == ("08P01", "pooler is not paused/suspended")


def test_pause_of_one_database(pgswitch: PgSwitchFactory) -> None:
    """The other database is not paused."""
    pooler = pgswitch(pool_mode="transaction")
    pooler.execute("SELECT 1")
    pooler.console("PAUSE bench")
    assert pooler.execute("SELECT 1", database="other") == [(1,)]
    pooler.console("RESUME bench")
    assert pooler.execute("SELECT 1") == [(1,)]
    assert refusal(pooler, "RESUME bench") == (
        "08P01",
        "database bench is not paused",
    )
    assert refusal(pooler, "PAUSE nowhere") == ("08P01", "no such database: nowhere")


def test_reconnect(pgswitch: PgSwitchFactory) -> None:
    """Servers of before are closed: idle ones soon, the busy one at its release."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect(autocommit=False) as client:
        client.execute("SELECT 1")
        (old,) = pooler.console("SHOW SERVERS")
        pooler.console("RECONNECT")
        (marked,) = (
            row for row in pooler.console("SHOW SERVERS") if row["id"] == old["id"]
        )
        assert marked["close_needed"] == 1
        assert client.execute("SELECT 2").fetchone() == (2,)
        client.commit()
        pooler.console("WAIT_CLOSE")
        assert all(row["id"] != old["id"] for row in pooler.console("SHOW SERVERS"))
        assert client.execute("SELECT 3").fetchone() == (3,)


def test_kill(pgswitch: PgSwitchFactory) -> None:
    """KILL ends clients and servers of the database, which stays paused."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect() as client, pooler.connect(database="other") as other:
        client.execute("SELECT 1")
        pooler.console("KILL bench")
        with pytest.raises(psycopg.OperationalError, match="database removed"):
            client.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)
        pooler.console("RESUME bench")
        assert pooler.execute("SELECT 1") == [(1,)]


def test_kill_client(pgswitch: PgSwitchFactory) -> None:
    """One client, by its number in SHOW CLIENTS."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect() as client:
        (number,) = (
            row["id"]
            for row in pooler.console("SHOW CLIENTS")
            if row["database"] == "bench"
        )
        pooler.console(f"KILL_CLIENT {number}")
        with pytest.raises(psycopg.OperationalError, match="admin forced disconnect"):
            client.execute("SELECT 1")


def test_disable_and_enable(pgswitch: PgSwitchFactory) -> None:
    """New logins are refused; present clients stay."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect() as client:
        pooler.console("DISABLE bench")
        with pytest.raises(
            psycopg.OperationalError, match='database "bench" is disabled'
        ):
            pooler.connect()
        assert client.execute("SELECT 1").fetchone() == (1,)
        pooler.console("ENABLE bench")
        assert pooler.execute("SELECT 1") == [(1,)]


def test_set_and_reload(pgswitch: PgSwitchFactory) -> None:
    """SET holds until RELOAD; a bad file changes nothing and is reported."""
    pooler = pgswitch(query_wait_timeout=50)

    def value() -> str:
        rows = pooler.console("SHOW CONFIG")
        values = {row["key"]: str(row["value"]) for row in rows}
        return values["query_wait_timeout"]

    pooler.console("SET query_wait_timeout = 60")
    assert value() == "60"
    pooler.console("RELOAD")
    assert value() == "50"
    databases = pgswitch.usual_databases()
    pooler.configure(databases, {"query_wait_timeout": 70, "pool_mode": "sometimes"})
    assert refusal(pooler, "RELOAD") == (
        "F0000",
        "RELOAD failed, see logs for additional details",
    )
    assert value() == "50"
    pooler.wait_for_log('invalid value "sometimes" for parameter pool_mode')
    assert refusal(pooler, "SET pool_mode = sometimes") == ("08P01", "SET failed")


def test_who_may_do_what(pgswitch: PgSwitchFactory) -> None:
    """A stats user looks, an admin acts, others stay out."""
    pooler = pgswitch(stats_users="md5")
    with pooler.connect("md5", "pgbouncer") as looker:
        assert looker.execute("SHOW VERSION").fetchone() == ("PgBouncer 1.25.2",)
        with pytest.raises(psycopg.Error, match="admin access needed"):
            looker.execute("RELOAD")
    with pytest.raises(psycopg.OperationalError, match="not allowed"):
        pooler.connect("scram", "pgbouncer")


def test_a_changed_user_list(pgswitch: PgSwitchFactory) -> None:
    """A user that is taken out of the list is refused after the reload."""
    pooler = pgswitch()
    assert pooler.execute("SELECT 1", user="md5") == [(1,)]
    pooler.write_users({"scram": "scram-secret", ADMIN: "admin-secret"})
    pooler.reload()
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        pooler.connect("md5")
    assert pooler.execute("SELECT 1") == [(1,)]


def test_shutdown_wait_for_clients(pgswitch: PgSwitchFactory) -> None:
    """Clients finish in peace; the process ends when the last one leaves."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect() as client:
        pooler.console("SHUTDOWN WAIT_FOR_CLIENTS")
        with pytest.raises(psycopg.OperationalError):
            pooler.connect()
        assert client.execute("SELECT 1").fetchone() == (1,)
    pooler.wait_for_log("client connections dropped, exiting")


def test_shutdown_wait_for_servers(pgswitch: PgSwitchFactory) -> None:
    """The transaction under way ends; clients that would have to wait get an error."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect(autocommit=False) as busy, pooler.connect() as other:
        busy.execute("SELECT 1")
        pooler.console("SHUTDOWN WAIT_FOR_SERVERS")
        with pytest.raises(psycopg.OperationalError, match="server shutting down"):
            other.execute("SELECT 1")
        assert busy.execute("SELECT 2").fetchone() == (2,)
        busy.commit()
        pooler.wait_for_log("server connections dropped, exiting")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signals_close_the_doors(
    pgswitch: PgSwitchFactory, number: signal.Signals
) -> None:
    """No client gets in meanwhile, except the console by the unix socket.

    What is under way ends, or, by SIGQUIT, is cut off without a message.
    """
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    at_once = number == signal.SIGQUIT
    with pooler.connect(autocommit=False) as busy, pooler.connect() as waiting:
        busy.execute("SELECT 1")
        pooler.send(number)
        pooler.wait_for_log(f"got {number.name}")
        wait_until(lambda: _is_refused(pooler.port), "the TCP sockets to be closed")
        if at_once:
            with pytest.raises(psycopg.OperationalError, match="unexpectedly"):
                busy.execute("SELECT 2")
        else:
            by_socket = {"host": str(pooler.directory)}
            with pytest.raises(psycopg.OperationalError, match="is shutting down"):
                pooler.connect(**by_socket)
            with pooler.connect(ADMIN, "pgbouncer", **by_socket) as admin:
                assert admin.execute("SHOW VERSION").fetchone() is not None
            assert busy.execute("SELECT 2").fetchone() == (2,)
            busy.commit()
        if number == signal.SIGTERM:
            assert waiting.execute("SELECT 3").fetchone() == (3,)
    assert pooler.child.wait(10) == 0


def _is_refused(port: int) -> bool:
    """Tell whether no process listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_suspend_and_resume(pgswitch: PgSwitchFactory) -> None:
    """What is asked meanwhile is answered afterwards, large results in one piece."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=2)
    numbers = "SELECT sum(n) FROM generate_series(1, 300000) AS n"
    rows = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
    with (
        pooler.connect() as reader,
        pooler.connect() as counter,
        pooler.connect(ADMIN, "pgbouncer") as admin,
    ):
        counted: list[object] = []
        read: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: counted.append(counter.execute(numbers).fetchone())
            ),
            threading.Thread(
                target=lambda: read.append(len(reader.execute(rows).fetchall()))
            ),
        ]
        for thread in threads:
            thread.start()
        wait_until(
            lambda: any(
                row["state"] == "active" for row in pooler.console("SHOW SERVERS")
            ),
            "a query",
        )
        assert admin.execute("SUSPEND").statusmessage == "SUSPEND"
        assert ("suspended", "yes") in admin.execute("SHOW STATE").fetchall()
        for command in ("SUSPEND", "PAUSE", "PAUSE bench"):
            with pytest.raises(psycopg.Error, match="already suspended/paused"):
                admin.execute(command)
        admin.execute("RESUME")
        for thread in threads:
            thread.join(20)
    assert counted == [(45000150000,)]
    assert read == [20000]


def test_drain(pgswitch: PgSwitchFactory) -> None:
    """The transaction under way ends, every client gets PostgreSQL's text."""
    pooler = pgswitch(pool_mode="transaction")
    with pooler.connect(autocommit=False) as busy, pooler.connect() as idle:
        busy.execute("SELECT 1")
        pooler.console("DRAIN TIMEOUT 60")
        with pytest.raises(psycopg.errors.AdminShutdown):
            idle.execute("SELECT 1")
        assert busy.execute("SELECT 2").fetchone() == (2,)
        busy.commit()
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 3")
        pooler.wait_for_log("clients drained, exiting")
    assert pooler.child.wait(10) == 0
