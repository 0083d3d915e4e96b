"""Small and large socket buffers: never slow, and never slower for waiting for much."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import psycopg
import pytest

from pgswitch.demo.postgres import Installation, PostgresServer
from pgswitch.demo.processes import Account
from tests.integration.running import PgSwitch, PgSwitchFactory, base_backup
from tests.integration.tls import Certificates

ONE_INSTALLATION = True

SIZES = (2048, 4096, 65536, 4 << 20)
ROWS, ROW_SIZE = 1500, 1000

MOST_S = 5.0
"""Much for what takes 0.4 s at worst; one that stalls at each window takes 35 s."""
TIMES, SLACK_S = 1.2, 0.5
"""What waiting for much may cost, and what other work on the machine may."""

WITHOUT_WAITING = """\
import sys
from pgswitch.cli import main
from pgswitch.net.lean_reactor import LeanReactor
made = LeanReactor.__init__
def make(self):
    made(self)
    self.event_loop.batching.low_water_mark = 0
LeanReactor.__init__ = make
sys.exit(main())
"""
"""The program, with read batching off: every byte wakes a stream."""


def copy_out(connection: psycopg.Connection, each: str = "repeat('x', 1000)") -> None:
    """Have rows come by COPY."""
    text = f"COPY (SELECT {each} FROM generate_series(1, {ROWS}) AS i) TO STDOUT"
    with connection.cursor().copy(text.encode()) as copy:
        assert sum(len(block) for block in copy) >= ROWS * ROW_SIZE


def bursts(connection: psycopg.Connection) -> None:
    """Have them come with a pause of 3 ms before every hundredth."""
    copy_out(
        connection,
        "repeat('x', 1000) || CASE WHEN i % 100 = 0 THEN pg_sleep(0.003)::text "
        "ELSE '' END",
    )


def result(connection: psycopg.Connection) -> None:
    """Have them come as the answer to a query."""
    text = f"SELECT repeat('x', {ROW_SIZE}) FROM generate_series(1, {ROWS})"
    assert len(connection.execute(text.encode()).fetchall()) == ROWS


def copy_in(connection: psycopg.Connection) -> None:
    """Send them."""
    with connection.transaction():
        connection.execute("CREATE TEMPORARY TABLE t (a text) ON COMMIT DROP")
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            for _ in range(ROWS):
                copy.write("x" * ROW_SIZE + "\n")


WORK = (copy_out, bursts, result, copy_in)


def times(pooler: PgSwitch, sslmode: str = "prefer") -> dict[str, float]:
    """Return how long each kind of work takes, in seconds; the better of two."""
    taken: dict[str, float] = {}
    with pooler.connect(sslmode=sslmode) as connection:
        for work in WORK * 2:
            began = monotonic()
            work(connection)
            took = monotonic() - began
            taken[work.__name__] = min(took, taken.get(work.__name__, took))
            assert took < MOST_S, (work.__name__, took)
    return taken


@pytest.mark.parametrize("size", SIZES)
def test_each_size(pgswitch: PgSwitchFactory, size: int) -> None:
    """By a pooler that waits for much, and by one that does not."""
    pooler = pgswitch(pool_mode="transaction", tcp_socket_buffer=size)
    other = pgswitch(pool_mode="transaction", tcp_socket_buffer=size, start=False)
    other.program = ("-c", WITHOUT_WAITING)
    other.start()
    with_waits, without = times(pooler), times(other)
    for name, took in with_waits.items():
        assert took <= TIMES * without[name] + SLACK_S, (name, with_waits, without)


@pytest.mark.parametrize("size", [4096, 4 << 20])
def test_with_tls(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates, size: int
) -> None:
    """The same encrypted, where nothing is waited for."""
    pooler = tls_pgswitch(
        pool_mode="transaction",
        tcp_socket_buffer=size,
        server_tls_sslmode="require",
        **certificates.for_clients(),
    )
    times(pooler, sslmode="require")


def test_a_size_that_is_taken_back(pgswitch: PgSwitchFactory) -> None:
    """After a reload the next connections have buffers that grow again."""
    pooler = pgswitch(pool_mode="transaction", tcp_socket_buffer=2048)
    with pooler.connect() as connection:
        result(connection)
    text = pooler.ini_path.read_text()
    pooler.ini_path.write_text(
        text.replace("tcp_socket_buffer = 2048", "tcp_socket_buffer = 0")
    )
    pooler.reload()
    times(pooler)


def test_pg_basebackup(
    source: PostgresServer,
    pgswitch: PgSwitchFactory,
    installation: Installation,
    account: Account | None,
    directory: Path,
) -> None:
    """A backup with its WAL streamed in parallel."""
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={source.port}"},
        auth_type="trust",
        pool_mode="transaction",
        tcp_socket_buffer=4096,
    )
    base_backup(pooler, installation, account, directory)
