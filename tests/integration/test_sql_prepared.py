"""PREPARE, EXECUTE and DEALLOCATE of SQL under transaction pooling."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import pq

from tests.integration.running import PgSwitch, PgSwitchFactory

ONE_INSTALLATION = True
MISSING = psycopg.errors.InvalidSqlStatementName
DUPLICATE = psycopg.errors.DuplicatePreparedStatement


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pooler with two servers to meet."""
    return pgswitch(pool_mode="transaction", default_pool_size=2)


def backend(client: psycopg.Connection) -> int:
    """Return the server that serves this."""
    row = client.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def value(client: psycopg.Connection, statement: str) -> object:
    """Return the one value that a statement gives."""
    row = client.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


class Others:
    """A client that takes the server that another one has used last."""

    def __init__(self, pooler: PgSwitch) -> None:
        """Connect."""
        self.client = pooler.connect(autocommit=False)

    def take(self) -> int:
        """Hold the server on top until :meth:`give`."""
        return backend(self.client)

    def give(self) -> None:
        """Give it back."""
        self.client.rollback()


def test_on_every_server(pooler: PgSwitch) -> None:
    """A statement is there wherever its client goes."""
    others = Others(pooler)
    with pooler.connect() as client, others.client:
        client.execute("PREPARE plus (int, int) AS SELECT $1 + $2")
        first = backend(client)
        assert value(client, "EXECUTE plus(1, 2)") == 3
        assert others.take() == first
        assert value(client, "EXECUTE plus(3, 4)") == 7
        assert value(client, "execute PLUS(5, 6)") == 11
        assert backend(client) != first
        plan = client.execute("EXPLAIN (COSTS OFF) EXECUTE plus(1, 2)").fetchall()
        assert plan == [("Result",)]
        client.execute("DEALLOCATE plus")
        others.give()
        for _ in range(2):
            with pytest.raises(MISSING, match='"plus" does not exist'):
                client.execute("EXECUTE plus(1, 2)")
        client.execute("PREPARE plus AS SELECT 'again'")
        assert value(client, "EXECUTE plus") == "again"


def test_names_are_a_clients_own(pooler: PgSwitch) -> None:
    """Two clients with one name, on one server; a third has none."""
    others = Others(pooler)
    with (
        pooler.connect() as one,
        pooler.connect() as two,
        pooler.connect() as none,
        others.client,
    ):
        others.take()
        one.execute("PREPARE s AS SELECT 'one'")
        two.execute("PREPARE s AS SELECT 'two'")
        assert len({backend(client) for client in (one, two, none)}) == 1
        for _ in range(2):
            assert (value(one, "EXECUTE s"), value(two, "EXECUTE s")) == ("one", "two")
        with pytest.raises(MISSING):
            none.execute("EXECUTE s")
        with pytest.raises(MISSING):
            none.execute("DEALLOCATE s")
        assert (value(one, "EXECUTE s"), value(two, "EXECUTE s")) == ("one", "two")
        with pytest.raises(DUPLICATE):
            one.execute("PREPARE s AS SELECT 'three'")
        others.give()
        others.take()
        with pytest.raises(DUPLICATE):
            one.execute("PREPARE s AS SELECT 'three'")
        assert value(one, "EXECUTE s") == "one"


def test_inside_a_transaction(pooler: PgSwitch) -> None:
    """As without a pooler, a failed transaction included."""
    with pooler.connect(autocommit=False) as client:
        client.execute("PREPARE s AS SELECT 1")
        assert value(client, "EXECUTE s") == 1
        client.rollback()
        assert value(client, "EXECUTE s") == 1
        with pytest.raises(psycopg.errors.UndefinedTable):
            client.execute("PREPARE t AS SELECT * FROM no_such_table")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute("EXECUTE s")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute("DEALLOCATE s")
        client.rollback()
        assert value(client, "EXECUTE s") == 1
        client.execute("PREPARE t AS SELECT 2")


def test_several_statements_in_one_query(pooler: PgSwitch) -> None:
    """They pass as they are."""
    with pooler.connect() as client:
        query = "PREPARE s AS SELECT 1; EXECUTE s; DEALLOCATE s"
        client.execute(query)
        client.execute(query)


def test_all(pooler: PgSwitch) -> None:
    """DEALLOCATE ALL and DISCARD ALL drop them on this server; the names are free."""
    with pooler.connect() as client:
        for statement in ("DEALLOCATE ALL", "DISCARD ALL"):
            client.execute("PREPARE s AS SELECT 1")
            client.execute(statement)
            with pytest.raises(MISSING):
                client.execute("EXECUTE s")


def test_dropping_a_statement_of_the_extended_protocol(pooler: PgSwitch) -> None:
    """As drivers do that cannot close one: PDO, Rails, DBD::Pg."""
    others = Others(pooler)
    with pooler.connect() as client, others.client:
        connection = client.pgconn
        for _ in range(2):
            assert (
                connection.prepare(b"pdo_1", b"SELECT 'x'").status
                == pq.ExecStatus.COMMAND_OK
            )
            result = connection.exec_prepared(b"pdo_1", [])
            assert result.get_value(0, 0) == b"x"
            others.take()
            client.execute("DEALLOCATE pdo_1")
            others.give()
            with pytest.raises(MISSING):
                client.execute("DEALLOCATE pdo_1")
            error = connection.exec_prepared(b"pdo_1", []).error_message
            assert b"does not exist" in error


def test_a_reset_after_each_transaction(pgswitch: PgSwitchFactory) -> None:
    """What the reset query dropped is prepared again, of either protocol."""
    pooler = pgswitch(
        pool_mode="transaction", default_pool_size=1, server_reset_query_always=1
    )
    with pooler.connect() as client:
        client.execute("PREPARE s AS SELECT 1")
        assert (
            client.pgconn.prepare(b"p", b"SELECT 2").status == pq.ExecStatus.COMMAND_OK
        )
        for _ in range(2):
            assert value(client, "EXECUTE s") == 1
            assert client.pgconn.exec_prepared(b"p", []).get_value(0, 0) == b"2"


def test_no_more_than_max_prepared_statements(pgswitch: PgSwitchFactory) -> None:
    """A client may have more: between two clients a server keeps none of them."""
    pooler = pgswitch(
        pool_mode="transaction", default_pool_size=1, max_prepared_statements=3
    )
    with pooler.connect() as client:
        for number in range(6):
            client.execute(f"PREPARE s{number} AS SELECT {number}".encode())
        count = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 's%'"
        assert value(client, count) == 0
        assert [value(client, f"EXECUTE s{n}") for n in range(6)] == [*range(6)]
        assert value(client, count) == 0
        with client.transaction():
            assert [value(client, f"EXECUTE s{n}") for n in range(6)] == [*range(6)]
            assert value(client, count) == 6
        assert value(client, count) == 0


def test_the_extended_protocol(pooler: PgSwitch) -> None:
    """The same, text by text, named or not."""
    others = Others(pooler)
    with pooler.connect() as client, others.client:
        run = client.pgconn.exec_params
        ok, rows = pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK
        for round_ in range(2):
            assert run(b"PREPARE s (int) AS SELECT $1", []).status == ok
            named = b"named_%d" % round_
            assert client.pgconn.prepare(named, b"EXECUTE s(2)").status == ok
            others.take()
            result = run(b"EXECUTE s(1)", [])
            assert (result.status, result.get_value(0, 0)) == (rows, b"1")
            others.give()
            others.take()
            result = client.pgconn.exec_prepared(named, [])
            assert (result.status, result.get_value(0, 0)) == (rows, b"2")
            assert run(b"DEALLOCATE s", []).status == ok
            others.give()
            assert b"does not exist" in run(b"EXECUTE s(1)", []).error_message


def test_a_driver_that_prepares_by_itself(pooler: PgSwitch) -> None:
    """Psycopg turns what it sees often into statements of the extended protocol."""
    with pooler.connect() as client:
        for number in range(12):
            client.execute("PREPARE s AS SELECT 'there'")
            assert value(client, "EXECUTE s") == "there", number
            client.execute("DEALLOCATE s")


def test_session_pooling(pgswitch: PgSwitchFactory) -> None:
    """Nothing is looked at, nothing is missing."""
    pooler = pgswitch(pool_mode="session")
    with pooler.connect() as client:
        client.execute("PREPARE s AS SELECT 1")
        assert value(client, "EXECUTE s") == 1
    with pooler.connect() as client, pytest.raises(MISSING):
        client.execute("EXECUTE s")
