"""The same work on every reactor, compiled and not: nothing may depend on either."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fakes.messages import query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.integration.tls import Certificates
from tests.waiting import wait_until

ONE_INSTALLATION = True

ROWS = 20_000
STOCK_TRANSPORTS = Path(__file__).with_name("stock_transports")


@pytest.fixture(params=["lean", "epoll", "poll", "select", "asyncio", "pure"])
def pooler(
    request: pytest.FixtureRequest,
    pgswitch: PgSwitchFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[PgSwitch]:
    """Yield a pgswitch with two servers, on one reactor or from its sources."""
    if request.param == "pure":
        monkeypatch.setenv("PGSWITCH_PURE", "1")
    else:
        monkeypatch.setenv("PGSWITCH_REACTOR", request.param)
    pooler = pgswitch(pool_mode="transaction", auth_type="trust", default_pool_size=2)
    reactor = "lean" if request.param == "pure" else request.param
    assert f"({reactor}" in pooler.log_text()
    yield pooler
    assert pooler.execute("SELECT 1") == [(1,)]


@pytest.fixture(params=["lean", "epoll", "select", "asyncio"])
def encrypting(
    request: pytest.FixtureRequest,
    tls_pgswitch: PgSwitchFactory,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> PgSwitch:
    """Return a pgswitch with two servers and TLS on both sides, on one reactor."""
    monkeypatch.setenv("PGSWITCH_REACTOR", request.param)
    pooler = tls_pgswitch(
        pool_mode="transaction",
        default_pool_size=2,
        server_tls_sslmode="require",
        **certificates.for_clients(),
    )
    assert f"({request.param}" in pooler.log_text()
    return pooler


@pytest.fixture(params=["select", "poll", "asyncio", "epoll"])
def started_tls(
    request: pytest.FixtureRequest,
    tls_pgswitch: PgSwitchFactory,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> PgSwitch:
    """Return the same with Twisted's own transports, encrypted by startTLS."""
    monkeypatch.setenv("PGSWITCH_REACTOR", request.param)
    monkeypatch.setenv("PGSWITCH_PURE", "1")
    places = [str(STOCK_TRANSPORTS), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    pooler = tls_pgswitch(
        pool_mode="transaction",
        default_pool_size=2,
        server_tls_sslmode="require",
        **certificates.for_clients(),
    )
    assert f"({request.param}" in pooler.log_text()
    return pooler


def a_long_answer_and_a_long_copy(pooler: PgSwitch) -> None:
    """Much more than a socket's buffer goes either way."""
    with pooler.connect(autocommit=False) as client:
        cursor = client.execute(
            b"SELECT n, repeat('x', 500) FROM generate_series(1, %d) n" % ROWS
        )
        assert len(cursor.fetchall()) == ROWS
        client.execute("CREATE TEMP TABLE taken (a text) ON COMMIT DROP")
        with client.cursor().copy("COPY taken FROM STDIN") as copy:
            for _ in range(200):
                copy.write(b"x" * 999 + b"\n" + b"y" * 39_999 + b"\n")
        row = client.execute("SELECT count(*), sum(length(a)) FROM taken").fetchone()
        assert row == (400, 200 * (999 + 39_999))
        size = 0
        with client.cursor().copy("COPY taken TO STDOUT") as copy:
            for piece in copy:
                size += len(piece)
        assert size == 200 * 41_000


def more_clients_than_servers(pooler: PgSwitch) -> None:
    """Twenty clients share two servers, with prepared statements."""
    sums: list[int] = []

    def work(number: int) -> None:
        with pooler.connect() as client:
            client.prepare_threshold = 1
            total = 0
            for step in range(10):
                row = client.execute("SELECT %s::int + 1", (number + step,)).fetchone()
                assert row is not None
                total += row[0]
            sums.append(total)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(sums) == [10 * n + 55 for n in range(20)]
    assert len(pooler.console("SHOW SERVERS")) <= 2


def cancel_a_query(pooler: PgSwitch) -> None:
    """Cancel a query; the client goes on."""
    with pooler.connect() as client:
        timer = threading.Timer(0.3, client.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(20)")
        timer.join()
        assert client.execute("SELECT 2").fetchone() == (2,)


def vanish(pooler: PgSwitch) -> None:
    """Leave a query, whose server then has to go as well."""
    with RawClient(pooler.port) as raw:
        raw.log_in("scram")
        raw.send(query("SELECT pg_sleep(20)"))
        wait_until(
            lambda: any(r["state"] == "active" for r in pooler.console("SHOW SERVERS")),
            "the query to run",
        )
    pooler.wait_for_log("client disconnected with query in progress")


def a_slow_reader(pooler: PgSwitch) -> None:
    """Who reads late reads everything; another client is served meanwhile."""
    with RawClient(pooler.port, receive_buffer=65536) as slow:
        slow.log_in("scram")
        slow.send(query("SELECT repeat('x', 10000) FROM generate_series(1, 3000)"))
        assert pooler.execute("SELECT 1") == [(1,)]
        rows = [body for kind, body in slow.read_until(b"Z") if kind == b"D"]
        assert len(rows) == 3000


def test_work(pooler: PgSwitch) -> None:
    """One process does it all, one piece after the other."""
    a_long_answer_and_a_long_copy(pooler)
    more_clients_than_servers(pooler)
    cancel_a_query(pooler)
    vanish(pooler)
    a_slow_reader(pooler)


def test_work_encrypted(encrypting: PgSwitch) -> None:
    """The same by TLS, on both sides; a server can vanish as well."""
    a_long_answer_and_a_long_copy(encrypting)
    more_clients_than_servers(encrypting)
    rows = encrypting.console("SHOW SERVERS") + encrypting.console("SHOW CLIENTS")
    assert all(row["tls"].startswith("TLSv1.3/") for row in rows)
    with encrypting.connect() as client, pytest.raises(psycopg.OperationalError):
        client.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert encrypting.execute("SELECT 1") == [(1,)]


def test_work_with_started_tls(started_tls: PgSwitch) -> None:
    """The same through Twisted's interfaces alone; a client without TLS is refused."""
    a_long_answer_and_a_long_copy(started_tls)
    more_clients_than_servers(started_tls)
    cancel_a_query(started_tls)
    rows = started_tls.console("SHOW SERVERS") + started_tls.console("SHOW CLIENTS")
    assert all(row["tls"].startswith("TLSv1.3/") for row in rows)
    with pytest.raises(psycopg.OperationalError, match="SSL required"):
        started_tls.connect(sslmode="disable")
    with started_tls.connect() as client, pytest.raises(psycopg.OperationalError):
        client.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert started_tls.execute("SELECT 1") == [(1,)]
