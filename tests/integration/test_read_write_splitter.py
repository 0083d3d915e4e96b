"""The example that parts reads from writes, before a writer and a standby."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import psycopg.errors
import pytest

from pgswitch.demo.cluster import TOPOLOGY_QUERY, running_cluster
from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, PrivateDirectory, subdirectory
from pgswitch.sql import Classifier, Kind
from tests.integration.running import HBA, PgSwitch, PgSwitchFactory
from tests.unit.sql.statements import OTHERS, READS
from tests.waiting import wait_until

ONE_INSTALLATION = True

SPLITTER = Path(__file__).parents[2] / "examples/rules/read_write_splitter.py"
WHERE = b"SELECT pg_is_in_recovery()"


@pytest.fixture(scope="module")
def split(
    template: PostgresServer, postgres: PostgresServer, account: Account | None
) -> Iterator[PgSwitch]:
    """Return a pgswitch with the example before a cluster of two."""
    with ExitStack() as stack:
        folder = PrivateDirectory(account)
        stack.callback(folder.remove)
        nodes = []
        for name in ("one", "two"):
            home = subdirectory(folder.path, name, account)
            nodes.append(PostgresServer(template.installation, home, account))
        nodes[0].create_as_copy(template)
        cluster = stack.enter_context(running_cluster(nodes, [*HBA], "bench"))
        rules = folder.path / SPLITTER.name
        text = SPLITTER.read_text(encoding="ascii")
        rules.write_text(text.replace("OWN_WRITES_S = 2.0", "OWN_WRITES_S = 0.3"))
        rules.chmod(0o644)
        factory = PgSwitchFactory(folder.path, account, postgres)
        stack.callback(factory.stop_all)
        pooler = factory(
            {
                "bench": f"host=127.0.0.1 port={cluster.writer.port} user=trusted"
                f" dbname=bench topology_query='{TOPOLOGY_QUERY}'"
            },
            auth_type="trust",
            pool_mode="transaction",
            routing_rules_py_module_file=str(rules),
        )
        pooler.execute("CREATE TABLE t (id integer); CREATE SEQUENCE s")
        wait_until(
            lambda: pooler.execute(WHERE.decode()) == [(True,)],
            "a standby",
        )
        yield pooler


def is_standby(connection: psycopg.Connection, *, prepare: bool = False) -> object:
    """Tell where a read of this client runs."""
    row = connection.execute(WHERE, prepare=prepare).fetchone()
    assert row is not None
    return row[0]


def test_a_session(split: PgSwitch) -> None:
    """Reads on the standby, writes on the writer, for a while its reads as well."""
    with split.connect() as connection:
        for prepare in (False, True, True):
            assert is_standby(connection, prepare=prepare)
        connection.execute("INSERT INTO t VALUES (1)")
        assert not is_standby(connection), "it must see what it has written"
        row = connection.execute("SELECT count(*) FROM t").fetchone()
        assert row is not None
        assert row[0] >= 1
        wait_until(lambda: is_standby(connection) is True, "reads to part again")


def test_transactions(split: PgSwitch) -> None:
    """Whole, on the writer; those that are read only, on the standby."""
    with split.connect() as connection:
        with connection.transaction():
            assert not is_standby(connection)
            connection.execute("INSERT INTO t VALUES (2)")
            assert not is_standby(connection, prepare=True)
        wait_until(lambda: is_standby(connection) is True, "reads to part again")
        connection.execute("BEGIN READ ONLY")
        assert is_standby(connection)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM t")
        connection.execute("ROLLBACK")


def test_explain_route(split: PgSwitch) -> None:
    """The console tells node and role."""
    rows = {}
    for query in ("SELECT 1", "DELETE FROM t"):
        (row,) = split.console(f"EXPLAIN ROUTE user=trusted database=bench '{query}'")
        rows[query] = row
    assert [row["role"] for row in rows.values()] == ["reader", "writer"]
    assert len({row["node"] for row in rows.values()}) == 2


def begins_on_standby(connection: psycopg.Connection) -> bool:
    """Begin a transaction; on a busy machine the standby may lag just then."""
    connection.execute("BEGIN READ ONLY")
    if is_standby(connection):
        return True
    connection.execute("ROLLBACK")
    return False


def test_the_classifier_against_a_standby(split: PgSwitch) -> None:
    """What it takes for a read a standby can do, in each case."""
    kind_of = Classifier()
    with split.connect(prepare_threshold=None) as connection:
        for text in [*READS, *(text for text, _ in OTHERS)]:
            # Locks of the session and replication commands are not undone by ROLLBACK.
            if "advisory" in text or kind_of(text) in (Kind.TRANSACTION, Kind.COPY):
                continue
            wait_until(lambda: begins_on_standby(connection), "a standby that is fit")
            done = connection.pgconn.exec_(text.replace("$1", "1").encode())
            if kind_of(text) is Kind.READ:
                assert not done.error_message, text
            connection.execute("ROLLBACK")
