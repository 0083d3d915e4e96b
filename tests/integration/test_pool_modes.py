"""A pool mode that changes while clients are active, on real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import error_fields
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.integration.test_rules_trouble import SYNC, parse, run
from tests.integration.test_takeover import pidfile, restart

ONE_INSTALLATION = True

CHANGES = ("RELOAD", "SET", "database", "user", "-R")
SLOW = "DO $$BEGIN RAISE NOTICE 'at it'; PERFORM pg_sleep(0.5); END$$"


def configure(
    pooler: PgSwitch, postgres: PostgresServer, mode: str, by: str = ""
) -> None:
    """Write the files: session pooling, but for what has another mode."""
    own = f" pool_mode={mode}" if by == "database" else ""
    pooler.configure(
        {"bench": f"host=127.0.0.1 port={postgres.port} dbname=bench{own}"},
        {
            "pool_mode": mode if by in ("RELOAD", "-R") else "session",
            "auth_type": "trust",
            "default_pool_size": 4,
            "pidfile": pidfile(pooler.directory.parent),
        },
        {"users": {"trusted": f"pool_mode={mode}"}} if by == "user" else None,
    )


def change(pooler: PgSwitch, postgres: PostgresServer, mode: str, by: str) -> None:
    """Put a pool mode in force in one of the CHANGES."""
    if by == "SET":
        pooler.console(f"SET pool_mode = '{mode}'")
        return
    configure(pooler, postgres, mode, by)
    if by == "-R":
        restart(pooler)
    else:
        pooler.console("RELOAD")


@pytest.fixture
def pooler(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, directory: Path
) -> PgSwitch:
    """Return a pgswitch in session pooling."""
    return pgswitch(
        {"bench": f"host=127.0.0.1 port={postgres.port} dbname=bench"},
        pool_mode="session",
        auth_type="trust",
        default_pool_size=4,
        pidfile=pidfile(directory),
    )


def answer(client: RawClient) -> tuple[list[bytes], str]:
    """Return the first column of all rows up to ReadyForQuery, or what went wrong."""
    rows = []
    for kind, body in client.read_until(b"Z"):
        if kind == b"E":
            return [], error_fields(body)["C"]
        if kind == b"D":
            rows.append(body[6:])
    return rows, ""


def ask(client: RawClient, data: bytes) -> tuple[list[bytes], str]:
    """Send; return the answer."""
    client.send(data)
    return answer(client)


def pid(client: RawClient) -> bytes:
    """Return the number of the server that a client has now."""
    (found,), _ = ask(client, query("SELECT pg_backend_pid()"))
    return found


def servers(pooler: PgSwitch) -> int:
    """Return how many servers there are."""
    return len([r for r in pooler.console("SHOW SERVERS") if r["database"] == "bench"])


@pytest.mark.parametrize("by", CHANGES)
def test_from_session_to_transaction(
    pooler: PgSwitch, postgres: PostgresServer, by: str
) -> None:
    """Clients idle, in a transaction, at a query: none meets what is another's."""
    with (
        RawClient(pooler.port) as idle,
        RawClient(pooler.port) as inside,
        RawClient(pooler.port) as busy,
    ):
        clients = (idle, inside, busy)
        for number, client in enumerate(clients):
            client.log_in()
            text = f"SELECT {number}"
            assert ask(client, parse(text, b"same") + SYNC) == ([], "")
        before = {pid(client) for client in clients}
        assert len(before) == 3
        ask(inside, query("BEGIN"))
        busy.send(query(SLOW))
        busy.read_until(b"N")
        change(pooler, postgres, "transaction", by)
        assert ask(inside, run(b"same") + SYNC) == ([b"1"], "")
        assert ask(inside, query("COMMIT")) == ([], "")
        assert answer(busy)[1] == ""
        # Their names were those of servers that are gone.
        for client in clients:
            assert ask(client, run(b"same") + SYNC) == ([], "26000")
        for number, client in enumerate(clients):
            text = f"SELECT {number} + 10"
            assert ask(client, parse(text, b"same") + SYNC) == ([], "")
        for _ in range(3):
            for number, client in enumerate(clients):
                found = ask(client, run(b"same") + SYNC)
                assert found == ([str(number + 10).encode()], "")
        after = {pid(client) for client in clients}
        assert not after & before
        assert len(after) == 1, "they share one"


@pytest.mark.parametrize("by", CHANGES)
def test_there_and_back(pooler: PgSwitch, postgres: PostgresServer, by: str) -> None:
    """Clients keep what they have prepared in the shared mode, and get a session."""
    change(pooler, postgres, "transaction", by)
    with RawClient(pooler.port) as one, RawClient(pooler.port) as other:
        clients = (one, other)
        for number, client in enumerate(clients):
            client.log_in()
            assert ask(client, parse(f"SELECT {number}", b"same") + SYNC) == ([], "")
        assert pid(one) == pid(other)
        change(pooler, postgres, "session", by)
        for _ in range(2):
            for number, client in enumerate(clients):
                found = ask(client, run(b"same") + SYNC)
                assert found == ([str(number).encode()], "")
        assert pid(one) != pid(other)
        ask(one, query("SET work_mem = '123kB'"))
        assert ask(one, query("SHOW work_mem")) == ([b"123kB"], "")
        change(pooler, postgres, "transaction", by)
        assert ask(one, run(b"same") + SYNC) == ([b"0"], "")
        assert ask(one, query("SHOW work_mem"))[0] != [b"123kB"]
        assert pid(one) == pid(other)


def test_waiting(pooler: PgSwitch, postgres: PostgresServer) -> None:
    """A client waiting for a session is served as soon as one is free."""
    change(pooler, postgres, "session", "RELOAD")
    clients = [RawClient(pooler.port) for _ in range(7)]
    try:
        for client in clients:
            client.log_in()
        for client in clients[:4]:
            ask(client, query("SELECT 1"))
        for number, client in enumerate(clients[4:]):
            client.send(parse(f"SELECT {number}", b"same") + run(b"same") + SYNC)
        change(pooler, postgres, "transaction", "RELOAD")
        for number, client in enumerate(clients[4:]):
            assert answer(client) == ([str(number).encode()], "")
        assert servers(pooler) <= 4
    finally:
        for client in clients:
            client.send(message(b"X"))
            client.socket.close()
