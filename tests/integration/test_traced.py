"""At ``-v -v`` everything is as it is without, only logged."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.fakes.messages import query
from tests.integration.running import PgSwitchFactory, RawClient

ONE_INSTALLATION = True

ROWS = 20_000
BULK = f"SELECT repeat('x', 500) FROM generate_series(1, {ROWS})"


def test_a_client_that_reads_slowly(pgswitch: PgSwitchFactory) -> None:
    """What it is sent late is traced in its place, and it gets all of it."""
    pooler = pgswitch(options=("-v", "-v"), auth_type="trust", tcp_socket_buffer=8192)
    with RawClient(pooler.port) as client:
        client.log_in("scram")
        for _ in range(3):
            client.send(query(BULK))
            time.sleep(0.2)  # noqa: TID251 - a slow reader, for which there is no event
            messages = client.read_until(b"Z")
            assert [kind for kind, _ in messages].count(b"D") == ROWS
    log = pooler.log_text()
    for word in ("Unknown message", "no longer shown", "bad pkt header"):
        assert word not in log
    assert "bytes of DataRow not shown" in log


def test_bulk(pgswitch: PgSwitchFactory) -> None:
    """Costs a line for each chunk at most, as it is read and as it is sent."""
    pooler = pgswitch(options=("-v", "-v"))
    with pooler.connect() as connection:
        assert len(connection.execute(BULK.encode()).fetchall()) == ROWS
    assert 2 <= pooler.log_text().count("DataRow") < ROWS / 2


@pytest.mark.parametrize("is_right", [True, False])
def test_passwords(pgswitch: PgSwitchFactory, *, is_right: bool) -> None:
    """They are in no line, whether the statement works or not."""
    pooler = pgswitch(options=("-v", "-v"))
    name = "scram" if is_right else "nobody_here"
    with pooler.connect() as connection:
        for prepare in (False, True):
            try:
                connection.execute(
                    f"ALTER ROLE {name} PASSWORD 'scram-secret'".encode(),
                    prepare=prepare,
                )
            except psycopg.Error:
                assert not is_right
    log = pooler.log_text()
    assert f"ALTER ROLE {name} PASSWORD ***" in log
    assert "scram-secret" not in log
