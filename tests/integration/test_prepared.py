"""Prepared statements that follow their client from server to server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.integration.running import PgSwitch, PgSwitchFactory

ONE_INSTALLATION = True
MOST = 3


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch in transaction mode with two servers."""
    return pgswitch(
        pool_mode="transaction",
        default_pool_size=2,
        max_prepared_statements=MOST,
    )


def backend(connection: psycopg.Connection) -> int:
    """Return the process number of the server that serves this statement."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def other_server(pooler: PgSwitch, client: psycopg.Connection) -> Iterator[None]:
    """Keep the server that the client used last, so that it meets another."""
    before = backend(client)
    with pooler.connect(autocommit=False) as holder:
        assert backend(holder) == before
        yield
        assert backend(client) != before
        holder.rollback()


def held(pooler: PgSwitch) -> list[int]:
    """Return how many prepared statements each server has."""
    rows = pooler.console("SHOW SERVERS")
    return sorted(row["prepared_statements"] for row in rows)


def test_sql(pooler: PgSwitch) -> None:
    """PREPARE on one server, EXECUTE on any, DEALLOCATE for good."""
    with pooler.connect(prepare_threshold=None) as client:
        client.execute("PREPARE twice (int) AS SELECT $1 * 2, 'a;b'")
        for _ in range(2):
            with other_server(pooler, client):
                for number in (3, 4):
                    row = client.execute(f"EXECUTE twice({number})").fetchone()
                    assert row == (2 * number, "a;b")
        client.execute("DEALLOCATE twice")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName, match='"twice"'):
            client.execute("EXECUTE twice(1)")


def test_sql_of_several_clients(pooler: PgSwitch) -> None:
    """The same name means to each what it has prepared, also on one server."""
    with (
        pooler.connect(prepare_threshold=None) as one,
        pooler.connect(prepare_threshold=None) as other,
    ):
        one.execute("PREPARE mine AS SELECT 'one'")
        other.execute("PREPARE mine AS SELECT 'other'")
        assert backend(one) == backend(other)
        assert one.execute("EXECUTE mine").fetchone() == ("one",)
        assert other.execute("EXECUTE mine").fetchone() == ("other",)
        one.execute("DEALLOCATE ALL")
        assert other.execute("EXECUTE mine").fetchone() == ("other",)
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            one.execute("EXECUTE mine")


def test_sql_in_transactions(pooler: PgSwitch) -> None:
    """A failed transaction takes nothing away, and nothing is left by a failure."""
    with pooler.connect(prepare_threshold=None) as client:
        client.execute("BEGIN")
        client.execute("PREPARE kept AS SELECT 7")
        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            client.execute("PREPARE kept AS SELECT 8")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute("DEALLOCATE kept")
        client.execute("ROLLBACK")
        with pytest.raises(psycopg.errors.SyntaxError):
            client.execute("PREPARE wrong AS SELEC")
        with other_server(pooler, client):
            client.execute("BEGIN")
            assert client.execute("EXECUTE kept").fetchone() == (7,)
            client.execute("COMMIT")
            client.execute("PREPARE wrong AS SELECT 9")
        assert client.execute("EXECUTE wrong").fetchone() == (9,)


def test_sql_ends_statements_of_messages(pooler: PgSwitch) -> None:
    """As PHP's PDO does it: PQprepare, then DEALLOCATE."""
    with pooler.connect(prepare_threshold=None) as client:
        connection = client.pgconn
        assert connection.prepare(b"pdo_1", b"SELECT 5").status == 1
        with other_server(pooler, client):
            assert connection.exec_prepared(b"pdo_1", None).get_value(0, 0) == b"5"
        client.execute("DEALLOCATE pdo_1")
        assert connection.exec_prepared(b"pdo_1", None).status == 7
        assert connection.prepare(b"pdo_1", b"SELECT 6").status == 1


@pytest.mark.parametrize("by_sql", [False, True])
def test_a_server_keeps_so_many(pooler: PgSwitch, *, by_sql: bool) -> None:
    """max_prepared_statements for each server, the one used last stays.

    Of what SQL prepared none stays: it has the client's own names.
    """
    kept = 0 if by_sql else MOST
    with pooler.connect(prepare_threshold=None) as client:
        names = [f"s{number}" for number in range(MOST + 2)]
        for name in names:
            if by_sql:
                client.execute(f"PREPARE {name} AS SELECT '{name}'")
            else:
                client.pgconn.prepare(name.encode(), f"SELECT '{name}'".encode())
        assert held(pooler) == [kept]
        count = (
            "SELECT count(*) FROM pg_prepared_statements WHERE name <> 'PGBOUNCER_0'"
        )
        assert client.execute(count).fetchone() == (kept,)
        for name in [*names, *reversed(names)]:
            if by_sql:
                assert client.execute(f"EXECUTE {name}").fetchone() == (name,)
            else:
                result = client.pgconn.exec_prepared(name.encode(), None)
                assert result.get_value(0, 0) == name.encode()
        assert held(pooler) == [kept]
        assert client.execute(count).fetchone() == (kept,)


def test_a_limit_that_changes(pooler: PgSwitch) -> None:
    """Lowered, the next use evicts, though it prepares nothing; raised, more stay."""
    names = [f"s{number}".encode() for number in range(MOST + 1)]
    count = "SELECT count(*) FROM pg_prepared_statements"
    with pooler.connect(prepare_threshold=None) as client:
        for name in names:
            client.pgconn.prepare(name, b"SELECT '" + name + b"'")
        for most in (1, MOST + 1, 2):
            pooler.console(f"SET max_prepared_statements = {most}")
            for name in [*names[-1:], *(names if most > MOST else ())]:
                result = client.pgconn.exec_prepared(name, None)
                assert result.get_value(0, 0) == name
            assert client.execute(count).fetchone() == (most,)
            assert held(pooler) == [most]


def test_one_text_of_many_clients(pooler: PgSwitch) -> None:
    """A server prepares it once, whatever the clients call it."""
    with pooler.connect() as one, pooler.connect() as other:
        for client, name in ((one, b"a"), (other, b"b"), (other, b"c")):
            client.pgconn.prepare(name, b"SELECT 1")
            assert client.pgconn.exec_prepared(name, None).get_value(0, 0) == b"1"
        assert held(pooler) == [1]


def test_what_forgets_all(pooler: PgSwitch) -> None:
    """DISCARD ALL and DEALLOCATE ALL, for the client that said so."""
    with pooler.connect() as one, pooler.connect() as other:
        for statement in ("DISCARD ALL", "DEALLOCATE ALL"):
            for client in (one, other):
                client.pgconn.prepare(b"a", b"SELECT 1")
            one.execute(statement)
            assert held(pooler) == [0]
            assert one.pgconn.exec_prepared(b"a", None).status == 7
            assert other.pgconn.exec_prepared(b"a", None).get_value(0, 0) == b"1"
            other.pgconn.exec_(b"DEALLOCATE a")
