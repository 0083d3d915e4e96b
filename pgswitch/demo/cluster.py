"""A streaming cluster: a writer, standbys, and ways to move the writer.

:class:`DemoCluster` adds pgswitch: switchovers are shown and measured on it.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from pgswitch.demo.pooler import Pooler
from pgswitch.demo.postgres import SUPERUSER, PostgresServer, best_for
from pgswitch.demo.processes import (
    Account,
    ChildFailed,
    PrivateDirectory,
    account_for_children,
    subdirectory,
)
from pgswitch.demo.writers import SCHEMA

FOLLOW_LIMIT_S = 30.0
POLL_S = 0.05
REPLICATION_HBA = (
    "host replication all 127.0.0.1/32 trust",
    f"local replication {SUPERUSER} trust",
)
SETTINGS = {
    "hot_standby": "on",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "wal_retrieve_retry_interval": "100ms",
    "wal_keep_size": "512MB",
    "hot_standby_feedback": "on",
}
TOPOLOGY_TABLE = "CREATE TABLE topology (host text, port int)"
TOPOLOGY_QUERY = "select host, port from topology"


class PostgresCluster:
    """Nodes that replicate from one writer, at first from the first node."""

    def __init__(self, nodes: list[PostgresServer]) -> None:
        """Take stopped servers: the first has data, the others have none."""
        self.nodes = nodes
        self.writer = nodes[0]

    def start(self, hba: list[str], database: str) -> None:
        """Copy the first server's data to the others and start all.

        A table ``topology`` in ``database`` names the nodes.
        """
        writer = self.writer
        writer.configure(SETTINGS)
        writer.set_hba([*hba, *REPLICATION_HBA])
        for node in self.nodes[1:]:
            node.create_as_copy(writer)
        writer.start()
        for node in self.nodes[1:]:
            self.follow(node)
            node.start()
        writer.execute(TOPOLOGY_TABLE, database=database)
        writer.execute("GRANT SELECT ON topology TO PUBLIC", database=database)
        for node in self.nodes:
            writer.execute(
                f"INSERT INTO topology VALUES ('127.0.0.1', {node.port})",  # noqa: S608 - a number of ours
                database=database,
            )
        self.wait_until_followed()

    def stop(self) -> None:
        """Stop every node at once."""
        for node in self.nodes:
            node.stop("immediate")

    @property
    def standbys(self) -> list[PostgresServer]:
        """The nodes that run and are not the writer."""
        return [one for one in self.nodes if one is not self.writer and one.is_running]

    def switch(self, how: Callable[[PostgresServer], object]) -> PostgresServer:
        """Stop the writer by ``how`` and promote a standby; return the old writer."""
        old = self.writer
        how(old)
        self.promote_best()
        return old

    def promote_best(self) -> None:
        """Promote the standby that has received most of the writer's WAL."""
        self.promote(max(self.standbys, key=_received))

    def promote(self, node: PostgresServer) -> None:
        """Make a standby the writer; the others then follow it."""
        node.execute("SELECT pg_promote(false)")
        self.writer = node
        for other in self.standbys:
            self.follow(other)
            other.reload()

    def rejoin(self, node: PostgresServer, *, from_copy: bool = False) -> None:
        """Start a stopped node as a standby of the current writer.

        ``from_copy``: from a new base backup, as after a crash the node may have WAL
        that the writer never received.
        """
        if from_copy:
            node.copy_from(self.writer)
        self.follow(node)
        node.start()

    def wait_until_followed(self) -> None:
        """Wait until every standby streams from the writer."""
        wanted = len(self.standbys)
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        deadline = time.monotonic() + FOLLOW_LIMIT_S
        while self.writer.execute(query)[0][0] < wanted:
            if time.monotonic() > deadline:
                raise ChildFailed(f"no {wanted} standbys stream from the writer")
            time.sleep(POLL_S)  # noqa: TID251 - a process of its own

    def follow(self, node: PostgresServer) -> None:
        """Configure a node as a standby of the current writer."""
        source = f"host=127.0.0.1 port={self.writer.port} user={SUPERUSER}"
        node.configure({"primary_conninfo": source})
        node.mark_as_standby()


def _received(node: PostgresServer) -> int:
    """Return the WAL position that a standby has received, in bytes."""
    (row,) = node.execute("SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn")
    return int(row[0] or 0)


@contextmanager
def running_cluster(
    nodes: list[PostgresServer], hba: list[str], database: str
) -> Iterator[PostgresCluster]:
    """Start a cluster for the length of a block."""
    cluster = PostgresCluster(nodes)
    try:
        cluster.start(hba, database)
        yield cluster
    finally:
        cluster.stop()


NODES = 3
DATABASE, USER = "bench", "app"
SESSION = "session"
"""The same database in session pooling."""
HBA = ["local all postgres trust", "host all all 127.0.0.1/32 trust"]
READY_S = 10.0
POLL_S = 0.05

HOW = {
    "planned": lambda server: server.stop("fast"),
    "crash": lambda server: server.kill(),
}
"""The ways to stop the writer."""


class DemoCluster:
    """A cluster of three nodes, poolers in front of it, and ways to connect."""

    def __init__(
        self, cluster: PostgresCluster, folder: Path, account: Account | None
    ) -> None:
        self.cluster = cluster
        self.folder = folder
        self.account = account

    def start_pooler(self, port: int | None = None) -> Pooler:
        """Start a pgswitch that is configured with the first node only."""
        place = subdirectory(self.folder, "pgswitch", self.account)
        pooler = Pooler(place, self.account, port=port)
        pooler.write_users({USER: ""})
        pooler.write_ini(self.sections())
        pooler.start()
        self._await_topology(pooler)
        return pooler

    def sections(self) -> dict[str, dict[str, str | int]]:
        """Return the configuration of a pooler for the cluster, in both modes."""
        entry = (
            f"host=127.0.0.1 port={self.cluster.nodes[0].port} dbname={DATABASE}"
            f" user={USER} topology_query='{TOPOLOGY_QUERY}'"
        )
        return {
            "databases": {DATABASE: entry, SESSION: f"{entry} pool_mode=session"},
            "pgbouncer": {
                "auth_type": "trust",
                "admin_users": USER,
                "pool_mode": "transaction",
                # The default, 30 s, is too long for a demo to wait for the old writer.
                "server_failed_delay": 1,
            },
        }

    def _await_topology(self, pooler: Pooler) -> None:
        deadline = time.monotonic() + READY_S
        while pooler.log_text().count("the nodes are") < 2:  # noqa: PLR2004 - the entries
            if time.monotonic() > deadline:
                raise pooler.child.failure("did not find the nodes")
            time.sleep(POLL_S)  # noqa: TID251 - a process of its own

    def through(
        self, pooler: Pooler, database: str = DATABASE
    ) -> Callable[[], psycopg.Connection]:
        """Return a function that connects a client through a pooler."""
        url = pooler.url(USER, "", database)
        return lambda: psycopg.connect(url, autocommit=True)

    def directly(self, *nodes: PostgresServer) -> Callable[[], psycopg.Connection]:
        """Return a function that connects a client to the node that accepts writes."""
        ports = ",".join(str(node.port) for node in nodes)
        hosts = ",".join("127.0.0.1" for _ in nodes)
        text = f"host={hosts} port={ports} user={USER} dbname={DATABASE}"
        if len(nodes) > 1:
            text += " target_session_attrs=read-write"
        return lambda: psycopg.connect(f"{text} connect_timeout=2", autocommit=True)

    def rows(self) -> Counter[int]:
        """Return how often each key is in the table ``written``."""
        rows = self.cluster.writer.execute("SELECT id FROM written", database=DATABASE)
        return Counter(row[0] for row in rows)

    def restore(self, node: PostgresServer, how: str) -> None:
        """Bring an old writer back as a standby."""
        self.cluster.rejoin(node, from_copy=how == "crash")
        self.cluster.wait_until_followed()


@contextmanager
def running_demo_cluster() -> Iterator[DemoCluster]:
    """Start the cluster; stop and remove everything at the end of the block."""
    account = account_for_children()
    with ExitStack() as stack:
        folder = PrivateDirectory(account)
        stack.callback(folder.remove)
        installation = best_for(account, folder.path)
        nodes = [
            PostgresServer(
                installation, subdirectory(folder.path, f"node-{at}", account), account
            )
            for at in range(NODES)
        ]
        first = nodes[0]
        first.create(hba=HBA)
        first.start()
        first.create_user(USER, "")
        first.create_database(DATABASE, owner=USER)
        for statement in SCHEMA:
            first.execute(statement, database=DATABASE)
        first.stop()
        cluster = stack.enter_context(running_cluster(nodes, HBA, DATABASE))
        yield DemoCluster(cluster, folder.path, account)


def stop_pooler(pooler: Pooler) -> None:
    """Shut a pooler down; by SIGQUIT if that takes long."""
    pooler.stop(signal.SIGINT, signal.SIGQUIT, patience_s=3.0)
