"""Clients that vanish in any state cost their server and no other client."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import startup
from tests.fakes.messages import message, query
from tests.integration.running import ADMIN, PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True

COPY_OUT = "COPY (SELECT repeat('x', 9999) FROM generate_series(1, 30000)) TO STDOUT"
EXTENDED = (
    message(b"P", b"\0SELECT pg_sleep(20)\0\0\0")
    + message(b"B", b"\0\0\0\0\0\0\0\0")
    + message(b"E", b"\0\0\0\0\0")
)


def nothing(_client: RawClient) -> None:
    """Log in and do no more."""


def query_done(client: RawClient) -> None:
    """Have a query answered."""
    client.send(query("SELECT 1"))
    client.read_until(b"Z")


def in_transaction(client: RawClient) -> None:
    """Be between two statements of a transaction."""
    client.send(query("BEGIN"))
    client.read_until(b"Z")


def in_failed_transaction(client: RawClient) -> None:
    """Be in a transaction that failed."""
    client.send(query("BEGIN; SELECT 1/0"))
    client.read_until(b"Z")


def half_a_header(client: RawClient) -> None:
    """Have sent less than the header of a message."""
    client.send(query("SELECT 1")[:3])


def half_a_query(client: RawClient) -> None:
    """Have sent a piece of a message that needs no server yet."""
    client.send(query("SELECT 1")[:-3])


def half_a_long_query(client: RawClient) -> None:
    """Have sent a piece of a message so long that it is passed on in pieces."""
    client.send(query(f"SELECT '{'x' * 300_000}'")[:200_000])


def running(client: RawClient) -> None:
    """Wait for the answer of a query."""
    client.send(query("SELECT pg_sleep(20)"))


def running_extended(client: RawClient) -> None:
    """Wait for the answer of an extended query, its Sync not sent."""
    client.send(EXTENDED + message(b"H"))


def copying_in(client: RawClient) -> None:
    """Be in COPY FROM STDIN."""
    client.send(query("CREATE TEMP TABLE t (a text); COPY t FROM STDIN"))
    client.read_until(b"G")
    client.send(message(b"d", b"x\n" * 1000))


def half_a_copy_row(client: RawClient) -> None:
    """Have sent half a CopyData."""
    copying_in(client)
    client.send(message(b"d", b"x" * 100_000 + b"\n")[:50_000])


def copying_out(client: RawClient) -> None:
    """Read the beginning of a long COPY TO STDOUT."""
    client.send(query(COPY_OUT))
    client.read_until(b"d")


def not_reading(client: RawClient) -> None:
    """Leave a long answer unread."""
    client.send(query("SELECT repeat('x', 9999) FROM generate_series(1, 30000)"))


class State(NamedTuple):
    """A state to vanish in: how to get there, and whether the server survives."""

    reach: Callable[[RawClient], None]
    server_stays: bool


STATES = [
    State(nothing, server_stays=True),
    State(query_done, server_stays=True),
    State(half_a_header, server_stays=True),
    State(half_a_query, server_stays=True),
    State(in_transaction, server_stays=False),
    State(in_failed_transaction, server_stays=False),
    State(half_a_long_query, server_stays=False),
    State(running, server_stays=False),
    State(running_extended, server_stays=False),
    State(copying_in, server_stays=False),
    State(half_a_copy_row, server_stays=False),
    State(copying_out, server_stays=False),
    State(not_reading, server_stays=False),
]


def reset(client: RawClient) -> None:
    """End the connection with RST, as a machine that lost its state does."""
    linger = struct.pack("ii", 1, 0)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.socket.close()


def half_closed(client: RawClient) -> None:
    """Send FIN, keep reading: to the pooler the client is gone."""
    client.socket.shutdown(socket.SHUT_WR)


def closed(client: RawClient) -> None:
    """Close the socket without Terminate."""
    client.socket.close()


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch with one server for all clients."""
    return pgswitch(auth_type="trust", pool_mode="transaction", default_pool_size=1)


def servers(pooler: PgSwitch) -> list[dict[str, Any]]:
    """Return the server connections of the usual user."""
    return [row for row in pooler.console("SHOW SERVERS") if row["user"] == "scram"]


def no_clients(pooler: PgSwitch) -> bool:
    """Tell whether the pooler has forgotten every client of the database."""
    pools = [row for row in pooler.console("SHOW POOLS") if row["database"] == "bench"]
    return not any(row["cl_active"] + row["cl_waiting"] for row in pools) and not any(
        row["database"] == "bench" for row in pooler.console("SHOW CLIENTS")
    )


@pytest.mark.parametrize("vanish", [reset, closed, half_closed])
def test_vanishing(
    pooler: PgSwitch, postgres: PostgresServer, vanish: Callable[[RawClient], None]
) -> None:
    """A server is reused only if it is clean, and the next client gets a clean one."""
    for state in STATES:
        what = state.reach.__name__
        assert pooler.execute("SELECT 1") == [(1,)], what
        (before,) = servers(pooler)
        client = RawClient(pooler.port)
        client.log_in("scram")
        state.reach(client)
        with client:
            vanish(client)
            wait_until(lambda: no_clients(pooler), f"the client to be missed: {what}")
        with pooler.connect(autocommit=False) as next_client:
            row = next_client.execute("SELECT to_regclass('pg_temp.t')").fetchone()
            assert row == (None,), what
        (after,) = servers(pooler)
        assert (before["remote_pid"] == after["remote_pid"]) is state.server_stays, what


def test_vanishing_during_the_login(pgswitch: PgSwitchFactory) -> None:
    """A client may vanish after each byte of the login, without a trace."""
    pooler = pgswitch(auth_type="scram-sha-256", pool_mode="transaction")
    first = startup("user", "scram", "database", "bench")
    pooler.execute("SELECT 1")
    for length in range(0, len(first) + 1, 3):
        for vanish in (reset, closed):
            client = RawClient(pooler.port)
            client.send(first[:length])
            vanish(client)
    wait_until(
        lambda: {"list": "login_clients", "items": 0} in pooler.console("SHOW LISTS"),
        "the logins to end",
    )
    wait_until(lambda: no_clients(pooler), "the clients to be forgotten")
    assert pooler.execute("SELECT 1") == [(1,)]


def test_vanishing_from_the_queue(pooler: PgSwitch) -> None:
    """A waiting client that leaves is skipped; the next ones get their turn."""
    with RawClient(pooler.port) as holder, RawClient(pooler.port) as patient:
        holder.log_in("scram")
        in_transaction(holder)
        leavers = [RawClient(pooler.port) for _ in range(3)]
        for client in leavers:
            client.log_in("scram")
            client.send(query("SELECT 1"))
        patient.log_in("scram")
        patient.send(query("SELECT 'patient'"))

        def waiting() -> int:
            pools = pooler.console("SHOW POOLS")
            return sum(row["cl_waiting"] for row in pools if row["user"] == "scram")

        wait_until(lambda: waiting() == 4, "four to wait")
        for client, vanish in zip(leavers, (reset, closed, closed), strict=True):
            vanish(client)
        wait_until(lambda: waiting() == 1, "three to be missed")
        holder.send(query("COMMIT"))
        holder.read_until(b"Z")
        assert (b"D", b"\0\1\0\0\0\7patient") in patient.read_until(b"Z")


def test_saying_goodbye_behind_a_query(pooler: PgSwitch) -> None:
    """Terminate in the same packet as a query: the query runs, or is given up."""
    pooler.execute("SELECT 1")
    for text in ("SELECT 1", "BEGIN", "SELECT pg_sleep(0.1)"):
        with RawClient(pooler.port) as client:
            client.log_in("scram")
            client.send(query(text) + message(b"X"))
            with pytest.raises((EOFError, ConnectionError)):
                client.read_until(b"never")
        wait_until(lambda: no_clients(pooler), "the client to be missed")
        with pooler.connect() as client_after:
            row = client_after.execute(
                "SELECT now() = statement_timestamp()"
            ).fetchone()
            assert row == (True,), text


def test_a_console_that_vanishes(pooler: PgSwitch) -> None:
    """While it waits for PAUSE: the pause stays, and another console ends it."""
    with RawClient(pooler.port) as busy:
        busy.log_in("scram")
        in_transaction(busy)
        with RawClient(pooler.port) as console:
            console.log_in(ADMIN, "pgbouncer")
            console.send(query("PAUSE"))
            paused = {"key": "paused", "value": "yes"}
            wait_until(lambda: paused in pooler.console("SHOW STATE"), "the pause")
            reset(console)
        busy.send(query("COMMIT"))
        busy.read_until(b"Z")
        wait_until(lambda: not servers(pooler), "the servers to be closed")
        pooler.console("RESUME")
        busy.send(query("SELECT 1"))
        assert busy.read_until(b"Z")[-1] == (b"Z", b"I")


def test_a_crowd_that_vanishes(pooler: PgSwitch) -> None:
    """Many at once, in every state: the pool is as before."""
    bystander_rows: list[object] = []
    stop = threading.Event()

    def work() -> None:
        with pooler.connect(user="md5") as bystander:
            while not stop.is_set():
                bystander_rows.append(bystander.execute("SELECT 1").fetchone())

    with pooler.connect():
        bystander = threading.Thread(target=work)
        bystander.start()
        try:
            for _ in range(3):
                crowd = [RawClient(pooler.port) for _ in range(20)]
                for client in crowd:
                    client.log_in("scram")
                for client in crowd:
                    client.send(query("SELECT pg_sleep(0.05)"))
                for number, client in enumerate(crowd):
                    (reset if number % 2 else closed)(client)
        finally:
            stop.set()
            bystander.join(20)
    assert set(bystander_rows) == {(1,)}
    wait_until(lambda: no_clients(pooler), "the clients to be forgotten")
    assert pooler.execute("SELECT 1") == [(1,)]
    assert len(servers(pooler)) == 1
