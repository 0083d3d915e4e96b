"""What ends when it has taken too long; whose own limits go before the others'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from testkit.pgwire import error_fields
from tests.fakes.messages import query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True
QUEUED = "No server connection available in postgres backend, client being queued"
LONG = "SELECT pg_sleep(30)"


@contextmanager
def client_of(
    pooler: PgSwitch, user: str = "scram", database: str = "bench"
) -> Iterator[RawClient]:
    """Yield a client that has logged in."""
    with RawClient(pooler.port) as client:
        client.log_in(user, database)
        yield client


def begin(client: RawClient) -> None:
    """Begin a transaction."""
    client.send(query("BEGIN"))
    client.read_until(b"Z")


def is_answered(client: RawClient, text: str = "SELECT 1") -> bool:
    """Tell whether a query is answered without an error."""
    client.send(query(text))
    return b"E" not in [kind for kind, _ in client.read_until(b"Z")]


RUNNING = {
    "query_timeout": ("query timeout", LONG),
    "idle_transaction_timeout": ("idle transaction timeout", "BEGIN"),
    "transaction_timeout": ("transaction timeout", "BEGIN"),
    "transaction_timeout, busy": ("transaction timeout", f"BEGIN; {LONG}"),
}


@pytest.mark.parametrize("which", RUNNING)
@pytest.mark.parametrize("of_user", [False, True])
def test_running(pgswitch: PgSwitchFactory, which: str, *, of_user: bool) -> None:
    """The server closes, its client gets an error; with [users], only that user's."""
    text, asked = RUNNING[which]
    setting = which.partition(",")[0]
    settings: dict[str, Any] = {} if of_user else {setting: 0.4}
    pooler = pgswitch(
        sections={"users": {"md5": f"{setting}=1"}} if of_user else {},
        auth_type="trust",
        pool_mode="transaction",
        **settings,
    )
    with client_of(pooler, "md5") as client, client_of(pooler) as other:
        if of_user:
            begin(other)
        client.send(query(asked))
        fields = client.read_error()
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08P01", text)
        assert client.is_closed()
        assert f"closing because: {text}" in pooler.log_text()
        assert is_answered(other)


def test_waiting(pgswitch: PgSwitchFactory) -> None:
    """query_wait_timeout of the user, else of the database, else of all."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{bench} query_wait_timeout=1", "other": bench},
        sections={"users": {"md5": "query_wait_timeout=0"}},
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        query_wait_timeout=0.2,
    )
    with ExitStack() as stack:

        def waiting(user: str, database: str) -> tuple[RawClient, RawClient]:
            one = stack.enter_context(client_of(pooler, user, database))
            begin(one)
            other = stack.enter_context(client_of(pooler, user, database))
            other.send(query("SELECT 1"))
            return one, other

        holder, patient = waiting("md5", "bench")
        _, of_database = waiting("scram", "bench")
        _, of_all = waiting("scram", "other")
        assert of_all.read_error()["M"] == "query_wait_timeout"
        of_database.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            of_database.read_message()
        of_database.socket.settimeout(10)
        assert of_database.read_error()["M"] == "query_wait_timeout"
        holder.send(query("COMMIT"))
        assert b"D" in [kind for kind, _ in patient.read_until(b"Z")]


def test_waiting_for_longer_than_a_query_may_run(pgswitch: PgSwitchFactory) -> None:
    """query_timeout counts for waiting clients too, with another text."""
    pooler = pgswitch(
        sections={"users": {"md5": "query_timeout=100"}},
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        query_timeout=0.5,
    )
    with client_of(pooler, "md5") as holder, client_of(pooler, "md5") as waiter:
        begin(holder)
        waiter.send(query("SELECT 1"))
        assert waiter.read_error()["M"] == "query_timeout"


def test_telling_those_who_wait(pgswitch: PgSwitchFactory) -> None:
    """A NOTICE once for each wait, and SHOW POOLS tells how long it is."""
    pooler = pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        query_wait_notify=1,
    )
    with client_of(pooler) as holder, client_of(pooler) as waiter:
        for _ in range(2):
            begin(holder)
            waiter.send(query("SELECT 1"))
            fields = error_fields(waiter.read_until(b"N")[-1][1])
            assert (fields["S"], fields["C"]) == ("NOTICE", "00000")
            assert fields["M"] == QUEUED
            (row,) = (
                row for row in pooler.console("SHOW POOLS") if row["user"] == "scram"
            )
            assert row["cl_waiting"] == 1
            assert row["maxwait"] >= 1
            holder.send(query("COMMIT"))
            holder.read_until(b"Z")
            assert [kind for kind, _ in waiter.read_until(b"Z")] == [
                b"T",
                b"D",
                b"C",
                b"Z",
            ]


def test_silent_clients(pgswitch: PgSwitchFactory) -> None:
    """client_idle_timeout of [users] ends that user's clients, and no others."""
    pooler = pgswitch(
        sections={"users": {"md5": "client_idle_timeout=1"}},
        auth_type="trust",
        pool_mode="transaction",
    )
    with (
        client_of(pooler) as other,
        client_of(pooler, "md5") as busy,
        client_of(pooler, "md5") as client,
    ):
        begin(busy)
        assert client.read_error()["M"] == "client_idle_timeout"
        assert client.is_closed()
        assert is_answered(other)
        assert is_answered(busy)


def test_silent_clients_in_session_mode(pgswitch: PgSwitchFactory) -> None:
    """Those with a server are never silent for too long, the others are."""
    pooler = pgswitch(auth_type="trust", client_idle_timeout=0.6)
    with client_of(pooler) as linked, client_of(pooler) as client:
        assert is_answered(linked)
        assert client.read_error()["M"] == "client_idle_timeout"
        assert is_answered(linked)


def test_servers_of_a_database(pgswitch: PgSwitchFactory) -> None:
    """server_lifetime of the entry goes before that of all; idle ones go too."""
    bench = pgswitch.usual_databases()["bench"]
    pooler = pgswitch(
        {"bench": f"{bench} server_lifetime=1", "other": bench},
        pool_mode="transaction",
        server_idle_timeout=3,
    )
    for database in ("bench", "other"):
        pooler.execute("SELECT 1", database=database)
    assert len(pooler.console("SHOW SERVERS")) == 2
    pooler.wait_for_log("closing because: server lifetime over")
    assert "server idle timeout" not in pooler.log_text()
    assert [row["database"] for row in pooler.console("SHOW SERVERS")] == ["other"]
    pooler.wait_for_log("closing because: server idle timeout")
    wait_until(lambda: not pooler.console("SHOW SERVERS"), "no server")
    lifetimes = {
        row["name"]: row["server_lifetime"] for row in pooler.console("SHOW DATABASES")
    }
    assert lifetimes["bench"] == 1
    assert lifetimes["other"] == 3600
