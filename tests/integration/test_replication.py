"""Replication through the pooler: the server's own tools, and the bare protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.demo.postgres import Installation, PostgresServer
from pgswitch.demo.processes import Account
from testkit.pgwire import startup
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient, base_backup
from tests.waiting import wait_until

ONE_INSTALLATION = True


@pytest.fixture
def pooler(source: PostgresServer, pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch before it whose clients need no password."""
    return pgswitch(
        {"bench": f"host=127.0.0.1 port={source.port}"},
        auth_type="trust",
        pool_mode="transaction",
    )


def replication_client(pooler: PgSwitch, word: str) -> RawClient:
    """Return a client that is logged in for replication."""
    client = RawClient(pooler.port)
    names = ("user", "trusted", "database", "bench", "replication", word)
    client.send(startup(*names, "application_name", "standby"))
    client.read_until(b"Z")
    return client


def begin_stream(client: RawClient) -> None:
    """Have a client receive what is written from now on."""
    client.send(query("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL test_decoding"))
    client.read_until(b"Z")
    client.send(query("START_REPLICATION SLOT s LOGICAL 0/0"))
    client.read_until(b"W")


def end_stream(client: RawClient, source: PostgresServer) -> None:
    """See a row of the table ``t`` arrive, then end the stream."""
    source.execute("INSERT INTO t VALUES (4711)", database="bench")
    seen = b""
    while b"4711" not in seen:
        seen += client.read_until(b"d")[-1][1]
    client.send(message(b"c"))
    assert [kind for kind, _ in client.read_until(b"Z")][-2:] == [b"C", b"Z"]


@pytest.mark.parametrize("word", ["database", "true"])
def test_identify_system(pooler: PgSwitch, word: str) -> None:
    """A walsender answers, on a connection that SHOW tells apart and that ends."""
    with replication_client(pooler, word) as client:
        client.send(query("IDENTIFY_SYSTEM"))
        assert [kind for kind, _ in client.read_until(b"Z")] == [b"T", b"D", b"C", b"Z"]
        kind = "logical" if word == "database" else "physical"
        shown = [row["replication"] for row in pooler.console("SHOW SERVERS")]
        assert shown.count(kind) == 1
        (row,) = (
            row for row in pooler.console("SHOW CLIENTS") if row["database"] == "bench"
        )
        assert (row["replication"], row["state"]) == (kind, "active")
    wait_until(
        lambda: all(
            row["replication"] == "none" for row in pooler.console("SHOW SERVERS")
        ),
        "the walsender to go",
    )


def test_a_logical_stream(source: PostgresServer, pooler: PgSwitch) -> None:
    """Changes arrive while they happen; the client can end the stream and go on."""
    source.execute("CREATE TABLE t (i int)", database="bench")
    with replication_client(pooler, "database") as client:
        begin_stream(client)
        pooler.execute("SELECT 1", user="trusted")
        end_stream(client, source)
        client.send(query("IDENTIFY_SYSTEM"))
        assert client.read_until(b"Z")[0][0] == b"T"


def test_pg_basebackup(
    pooler: PgSwitch,
    installation: Installation,
    account: Account | None,
    directory: Path,
) -> None:
    """A whole backup with its WAL streamed in parallel: two walsenders at once."""
    base_backup(pooler, installation, account, directory)


def test_pg_basebackup_traced(
    source: PostgresServer,
    pgswitch: PgSwitchFactory,
    installation: Installation,
    account: Account | None,
    directory: Path,
) -> None:
    """At -v -v, whose log holds parts of it, nothing else is different."""
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={source.port}"},
        options=("-v", "-v"),
        auth_type="trust",
        pool_mode="transaction",
    )
    base_backup(pooler, installation, account, directory)
    log = pooler.log_text()
    for word in ("Unknown message", "no longer shown", "bad pkt header"):
        assert word not in log
    assert "bytes of CopyData not shown" in log


def test_refused(source: PostgresServer, pooler: PgSwitch) -> None:
    """The server's own words reach the client; ordinary clients go on."""
    source.execute("ALTER ROLE trusted NOREPLICATION")
    with RawClient(pooler.port) as client:
        names = ("user", "trusted", "database", "bench", "replication", "true")
        client.send(startup(*names))
        told = client.read_error()
        assert told["C"] == "42501"
    pooler.wait_for_log(f"WARNING server login failed: FATAL {told['M']}")
    pooler.wait_for_log(f"pooler error: {told['M']}")
    assert "permission denied" in told["M"] or "must be superuser" in told["M"]
    assert pooler.execute("SELECT 1", user="trusted") == [(1,)]
