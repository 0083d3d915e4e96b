"""Cancel requests: the right query ends, and no other, whichever process gets them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.wire.constants import CANCEL_REQUEST_CODE
from testkit.pgwire import packet, startup
from tests.fakes.messages import query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True
CANCELLED = psycopg.errors.QueryCanceled
LONG = "SELECT pg_sleep(30)"


def states(pooler: PgSwitch) -> list[str]:
    """Return the states of the clients that are not at the console."""
    rows = pooler.console("SHOW CLIENTS")
    return sorted(row["state"] for row in rows if row["database"] == "bench")


@contextmanager
def running(client: psycopg.Connection, statement: str = LONG) -> Iterator[list[str]]:
    """Run a statement in a thread; the list gets its outcome by the end."""
    outcome: list[str] = []

    def run() -> None:
        try:
            client.execute(statement.encode())
            outcome.append("done")
        except psycopg.Error as error:
            outcome.append(error.sqlstate or str(error))

    thread = threading.Thread(target=run)
    thread.start()
    yield outcome
    thread.join(timeout=20)
    assert not thread.is_alive()


def cancel(client: psycopg.Connection) -> None:
    """Send a cancel request for the client's current query; wait until it is over."""
    client.pgconn.get_cancel().cancel()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_running_query(pgswitch: PgSwitchFactory, mode: str) -> None:
    """It ends with the server's own error; its client and the others go on."""
    pooler = pgswitch(pool_mode=mode)
    with pooler.connect() as client, pooler.connect() as other:
        with (
            running(other, "SELECT pg_sleep(1)") as undisturbed,
            running(client) as outcome,
        ):
            wait_until(lambda: states(pooler) == ["active"] * 2, "both at work")
            cancel(client)
        assert outcome == ["57014"]
        assert undisturbed == ["done"]
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_over_a_unix_socket(
    pgswitch: PgSwitchFactory, postgres: PostgresServer
) -> None:
    """The request takes the way that the server connection took."""
    pooler = pgswitch({"bench": f"host={postgres.directory} port={postgres.port}"})
    with pooler.connect() as client:
        with running(client) as outcome:
            wait_until(lambda: states(pooler) == ["active"], "a query at work")
            cancel(client)
        assert outcome == ["57014"]


def test_a_waiting_query(pgswitch: PgSwitchFactory) -> None:
    """It ends before it has begun; simple and extended protocol; the client goes on."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    with (
        pooler.connect() as busy,
        pooler.connect() as client,
        running(busy) as outcome,
    ):
        wait_until(lambda: "active" in states(pooler), "a query at work")
        for statement in ("CREATE TABLE never (a int)", "SELECT %s::int"):
            parameters = [1] if "%s" in statement else None

            def cancel_when_waiting() -> None:
                wait_until(lambda: "waiting" in states(pooler), "a client in the queue")
                cancel(client)

            thread = threading.Thread(target=cancel_when_waiting)
            thread.start()
            with pytest.raises(CANCELLED, match="canceling statement due to user"):
                client.execute(statement.encode(), parameters)
            thread.join()
        assert states(pooler) == ["active", "idle"]
        cancel(busy)
        wait_until(lambda: bool(outcome), "the end of the query")
        assert client.execute("SELECT to_regclass('never')").fetchone() == (None,)
    assert outcome == ["57014"]


def test_no_wrong_query(pgswitch: PgSwitchFactory) -> None:
    """While one client's short queries are cancelled, none of another one's ends."""
    pooler = pgswitch(pool_mode="transaction", default_pool_size=1)
    stop = time.monotonic() + 3
    with pooler.connect() as cancelled, pooler.connect() as other:

        def cancel_all_the_time() -> None:
            while time.monotonic() < stop:
                cancel(cancelled)

        def query_all_the_time() -> None:
            while time.monotonic() < stop:
                try:
                    cancelled.execute("SELECT pg_sleep(0.002)")
                except CANCELLED:
                    hits.append(1)

        hits: list[int] = []
        threads = [
            threading.Thread(target=one)
            for one in (cancel_all_the_time, query_all_the_time)
        ]
        for thread in threads:
            thread.start()
        count = 0
        while time.monotonic() < stop:
            other.execute("SELECT pg_sleep(0.001)")
            count += 1
        for thread in threads:
            thread.join()
    assert count > 10
    assert hits


def configure_peers(
    factory: PgSwitchFactory, poolers: Sequence[PgSwitch], **settings: str | int
) -> None:
    """Start processes that know each other by their unix sockets."""
    peers = {
        str(number): f"host={one.directory} port={one.port}"
        for number, one in enumerate(poolers, start=1)
    }
    for number, one in enumerate(poolers, start=1):
        given = {"auth_type": "trust", "peer_id": number, **settings}
        one.configure(factory.usual_databases(), given, {"peers": peers})
        one.start()


def ask_to_cancel(port: int, key: bytes) -> None:
    """Send a cancel request; wait until the connection is closed."""
    with RawClient(port) as client:
        client.send(packet(CANCEL_REQUEST_CODE, key))
        assert client.is_closed()


def at_work(port: int) -> tuple[RawClient, bytes]:
    """Return a client whose query runs, and its cancel key."""
    client = RawClient(port)
    client.send(startup("user", "trusted", "database", "bench"))
    key = dict(client.read_until(b"Z"))[b"K"]
    client.send(query("DO 'BEGIN RAISE NOTICE $$begun$$; PERFORM pg_sleep(30); END'"))
    client.read_until(b"N")
    return client, key


def test_peers(pgswitch: PgSwitchFactory) -> None:
    """A request that reaches another process ends the query all the same."""
    first, second, third = poolers = [pgswitch(start=False) for _ in range(3)]
    configure_peers(pgswitch, poolers, pool_mode="transaction")
    client, key = at_work(first.port)
    with client:
        assert key[1:3] == b"\1\0"
        assert second.console("SHOW PEER_POOLS") == []
        ask_to_cancel(second.port, key)
        assert client.read_error()["C"] == "57014"
    second.wait_for_log("closing because: successfully sent cancel request")
    (pool,) = second.console("SHOW PEER_POOLS")
    assert pool.pop("peer_id") == 1
    assert set(pool.values()) == {0}
    peers = [(row["peer_id"], row["host"]) for row in third.console("SHOW PEERS")]
    assert peers == [(n, str(one.directory)) for n, one in enumerate(poolers, start=1)]
    lists = {row["list"]: row["items"] for row in second.console("SHOW LISTS")}
    assert (lists["peers"], lists["peer_pools"]) == (3, 1)


def test_peers_that_send_on_in_a_circle(pgswitch: PgSwitchFactory) -> None:
    """A request for a peer that each takes for the other's ends with its TTL."""
    first, second = poolers = [pgswitch(start=False) for _ in range(2)]
    configure_peers(pgswitch, poolers)
    for one, other in ((first, second), (second, first)):
        one.configure(
            pgswitch.usual_databases(),
            {"auth_type": "trust", "peer_id": 7},
            {"peers": {"9": f"host=127.0.0.1 port={other.port}"}},
        )
        one.reload()
    ask_to_cancel(first.port, bytes([1, 9, 0, 4, 5, 6, 7, 0xFF]))
    text = "failed to forward cancel request because its TTL was exhausted"
    wait_until(
        lambda: text in first.log_text() + second.log_text(), "the end of the TTL"
    )


def test_processes_that_share_a_port(pgswitch: PgSwitchFactory) -> None:
    """With so_reuseport a request reaches any of them, and always the right query."""
    first, second = poolers = [pgswitch(start=False) for _ in range(2)]
    second.port = first.port
    configure_peers(pgswitch, poolers, so_reuseport=1)
    owners = set()
    for _ in range(12):
        client, key = at_work(first.port)
        with client:
            owners.add(key[1])
            ask_to_cancel(first.port, key)
            assert client.read_error()["C"] == "57014"
    assert owners == {1, 2}
