"""Readers of a real cluster, and connections kept to its standbys, when those fail.

One cluster serves all tests of this file; each leaves it whole.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from pgswitch.demo.cluster import TOPOLOGY_QUERY, PostgresCluster, running_cluster
from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, PrivateDirectory, hand_over, subdirectory
from pgswitch.demo.writers import SCHEMA, Writer
from pgswitch.demo.writers import tally_writes as account_of
from tests.integration.proxies import BlackholeProxy
from tests.integration.running import HBA, PgSwitch, PgSwitchFactory, wait_for_writes
from tests.waiting import wait_until

ONE_INSTALLATION = True

NODES = 3
RULES = """
def routing_rules(username, query, in_transaction):
    return "bench:reader" if "reader" in query else "bench:writer"
"""
WHERE = b"SELECT inet_server_port() -- reader"
FULL_FOR_S = 3.0
GOES_ON_S = 10.0


class Place:
    """The cluster, and how to put a pgswitch before it."""

    def __init__(
        self, cluster: PostgresCluster, factory: PgSwitchFactory, rules: str
    ) -> None:
        self.cluster = cluster
        self.factory = factory
        self.rules = rules
        self.connections: list[psycopg.Connection] = []
        self.pooler: PgSwitch

    def start(
        self, query: str = TOPOLOGY_QUERY, *, max_lag: float = 0, kept: int = 20
    ) -> PgSwitch:
        """Start a pgswitch; return it when it knows all nodes."""
        where = f"host=127.0.0.1 port={self.cluster.writer.port} user=trusted"
        self.pooler = self.factory(
            {
                "bench": f"{where} topology_query='{query}'",
                "split": f"{where} dbname=bench"
                f" routing_rules_py_module_file={self.rules}",
            },
            auth_type="trust",
            pool_mode="transaction",
            reader_max_lag=max_lag,
            standby_pool_size=kept,
        )
        wait_until(lambda: self.whys() == [""] * NODES, "all nodes to be known")
        return self.pooler

    def whys(self) -> list[str]:
        """Return the column of SHOW TOPOLOGY for each node."""
        return [row["why"] for row in self.pooler.console("SHOW TOPOLOGY")]

    def why(self, node: PostgresServer) -> str:
        """Return the column of one node."""
        rows = self.pooler.console("SHOW TOPOLOGY")
        return next(str(row["why"]) for row in rows if row["port"] == node.port)

    def connect(self, database: str = "split") -> psycopg.Connection:
        """Connect through pgswitch, in autocommit, until the end of the test."""
        made = self.pooler.connect("trusted", database)
        self.connections.append(made)
        return made

    def node_at(self, port: object) -> PostgresServer:
        """Return the node with a port."""
        return next(node for node in self.cluster.nodes if node.port == port)

    def reading(self) -> tuple[psycopg.Connection, PostgresServer]:
        """Return a client in a transaction on a standby, and that."""
        client = self.connect()
        client.execute(b"BEGIN -- reader")
        (row,) = client.execute(WHERE).fetchall()
        return client, self.node_at(row[0])


@pytest.fixture(scope="module")
def place(
    template: PostgresServer, postgres: PostgresServer, account: Account | None
) -> Iterator[Place]:
    """Yield a cluster of three with a table to write to."""
    with ExitStack() as stack:
        folder = PrivateDirectory(account)
        stack.callback(folder.remove)
        nodes = []
        for number in range(NODES):
            home = subdirectory(folder.path, f"node-{number}", account)
            nodes.append(PostgresServer(template.installation, home, account))
        nodes[0].create_as_copy(template)
        cluster = stack.enter_context(running_cluster(nodes, [*HBA], "bench"))
        for statement in SCHEMA:
            cluster.writer.execute(statement, database="bench")
        rules = subdirectory(folder.path, "rules", account) / "rules.py"
        rules.write_text(RULES)
        hand_over(rules, account)
        factory = PgSwitchFactory(folder.path, account, postgres)
        stack.callback(factory.stop_all)
        yield Place(cluster, factory, str(rules))


@pytest.fixture(autouse=True)
def healed(place: Place) -> Iterator[None]:
    """Leave the cluster whole, and no traceback in the log."""
    yield
    while place.connections:
        place.connections.pop().close()
    place.pooler.stop()
    cluster = place.cluster
    for node in cluster.nodes:
        if not node.is_running:
            cluster.rejoin(node, from_copy=True)
    cluster.wait_until_followed()
    _, traceback, text = place.pooler.log_text().partition("Traceback (most recent")
    assert not traceback, text[:3000]


class PendingStatement(threading.Thread):
    """A statement that waits, in a thread of its own."""

    def __init__(self, connection: psycopg.Connection, statement: bytes) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._statement = statement
        self._outcome: object = None
        self.start()

    def run(self) -> None:
        """Ask."""
        try:
            self._outcome = self._connection.execute(self._statement).statusmessage
        except psycopg.Error as error:
            self._outcome = error.sqlstate

    def result(self) -> object:
        """Return the command tag or the SQLSTATE; it must come."""
        self.join(GOES_ON_S)
        return self._outcome


@contextmanager
def full(node: PostgresServer) -> Iterator[None]:
    """Have a node refuse connections until the end of the block."""
    held: list[psycopg.Connection] = []
    try:
        with pytest.raises(
            psycopg.OperationalError, match=r"too many clients|reserved"
        ):
            while True:
                held.append(
                    psycopg.connect(
                        f"host=127.0.0.1 port={node.port} user=trusted dbname=bench"
                    )
                )
        yield
    finally:
        for one in held:
            one.close()


def test_a_standby_that_falls_silent(place: Place) -> None:
    """Clients there get an error for what they lost, or are served elsewhere."""
    pooler = place.start()
    clients = [place.reading() for _ in range(4)]
    inside, silent = clients[0]
    idle = next(one for one, node in clients[1:] if node is silent)
    idle.execute(b"COMMIT")
    counting, reading = [], []
    silent.freeze()
    try:
        told = PendingStatement(inside, b"SELECT 1")
        for _ in range(4):
            reading.append(
                PendingStatement(place.connect(), b"TABLE written -- reader")
            )
            counting.append(
                PendingStatement(
                    place.connect(), b"SELECT count(*) FROM written -- reader"
                )
            )
        assert told.result() == "40001"
        assert {str(one.result())[:6] for one in reading} == {"SELECT"}
        assert {one.result() for one in counting} <= {"SELECT 1", "08007"}
        assert re.search(r"\(node lost\).*: run the statement again", pooler.log_text())
        assert place.why(silent) == "no answer in time"
        assert inside.execute(b"ROLLBACK").statusmessage == "ROLLBACK"
        (row,) = inside.execute(WHERE).fetchall()
        assert row[0] != silent.port
    finally:
        silent.thaw()
    wait_until(lambda: place.why(silent) == "", "the standby to be read from again")


def test_standbys_without_an_upstream(place: Place) -> None:
    """They are not read from: what the writer has written is seen."""
    place.start(max_lag=2)
    writer, client = place.connect("bench"), place.connect()
    standbys = place.cluster.standbys
    for node in standbys:
        node.configure({"primary_conninfo": ""})
        node.reload()
    try:
        for node in standbys:
            wait_until(
                lambda node=node: place.why(node) == "no WAL receiver",  # type: ignore[misc]
                "the lost receiver to be seen",
            )
        for number in range(12):
            writer.execute(b"INSERT INTO written VALUES (%s)", [-100 - number])
        query = b"SELECT count(*) FROM written WHERE id <= -100 -- reader"
        (row,) = client.execute(query).fetchall()
        assert row[0] == 12
    finally:
        for node in standbys:
            place.cluster.follow(node)
            node.reload()
    for node in standbys:
        wait_until(lambda node=node: place.why(node) == "", "a reader")  # type: ignore[misc]
    (row,) = client.execute(WHERE).fetchall()
    assert row[0] != place.cluster.writer.port


def test_a_standby_of_the_old_writer(place: Place) -> None:
    """It streams, and what it has is not what the new writer has."""
    old = place.cluster.writer
    old.execute("GRANT pg_read_all_stats TO trusted")
    place.start()
    new, other = place.cluster.standbys
    place.cluster.writer = new
    new.execute("SELECT pg_promote(false)")
    try:
        wait_until(
            lambda: place.why(other).startswith("follows timeline"),
            "the old timeline to be seen",
        )
        (row,) = [
            row
            for row in place.pooler.console("SHOW TOPOLOGY")
            if row["port"] == other.port
        ]
        assert row["lag_bytes"] is None
        client = place.connect()
        (where,) = client.execute(WHERE).fetchall()
        assert where[0] == new.port
    finally:
        old.kill()
        other.kill()


def test_a_full_standby(place: Place) -> None:
    """All reads go elsewhere, and why they do is shown."""
    place.start()
    _, other = place.reading()
    crowded = next(node for node in place.cluster.standbys if node is not other)
    with full(crowded):
        clients = [place.reading() for _ in range(8)]
        assert not any(node is crowded for _, node in clients)
        assert "too many clients" in place.why(crowded) or (
            "reserved" in place.why(crowded)
        )


def test_a_new_writer_that_is_full(place: Place) -> None:
    """Waiting clients go on waiting, and are served at last."""
    pooler = place.start(kept=0)
    numbers = iter(range(1000, 2000))
    writers = [
        Writer(
            next(numbers),
            lambda: pooler.connect("trusted", "bench"),
            pause_s=0.001,
        )
        for _ in range(8)
    ]
    for one in writers:
        one.start()
    try:
        wait_for_writes(writers)
        best = place.cluster.standbys[0]
        with full(best):
            place.cluster.writer.stop("fast")
            place.cluster.promote(best)
            done = [one.acknowledged() for one in writers]
            pooler.wait_for_log("server login failed")
            wait_until(
                lambda: "refuses connections: " in place.why(best), "why to say so"
            )
            time.sleep(FULL_FOR_S)  # noqa: TID251 - nothing is to happen meanwhile
            assert [one.acknowledged() for one in writers] == done
        wait_for_writes(writers)
    finally:
        stopped = [one.stop() for one in writers]
    assert all(stopped)
    rows = place.cluster.writer.execute("SELECT id FROM written", database="bench")
    seen = account_of(writers, Counter(row[0] for row in rows))
    assert (seen.errors, seen.reconnects, seen.missing) == ({}, 0, 0)


def test_kept_connections_that_a_firewall_forgot(place: Place) -> None:
    """No client gets one; the monitor's own connection knows nothing of it."""
    cluster = place.cluster
    with ExitStack() as stack:
        paths = {node.port: BlackholeProxy(node.port) for node in cluster.nodes}
        for path in paths.values():
            stack.callback(path.close)
        rows = ", ".join(f"(''127.0.0.1'', {path.port})" for path in paths.values())
        pooler = place.start(f"select * from (values {rows}) as nodes (host, port)")
        client = place.connect("bench")
        client.execute(b"INSERT INTO written VALUES (-200)")
        new = cluster.standbys[0]
        wait_until(
            lambda: any(
                row["port"] == paths[new.port].port
                for row in pooler.console("SHOW SERVERS")
            ),
            "connections to be kept",
        )
        paths[new.port].drop(but=b"pgswitch monitor")
        cluster.writer.stop("fast")
        asking = [
            PendingStatement(
                place.connect("bench"), b"INSERT INTO written VALUES (-201)"
            )
            for _ in range(4)
        ]
        cluster.promote(new)
        assert [one.result() for one in asking] == ["INSERT 0 1"] * len(asking)
        (event,) = pooler.console("SHOW SWITCHOVERS")
        assert event["first_served"] > event["found"]
