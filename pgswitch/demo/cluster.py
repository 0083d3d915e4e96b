"""A streaming cluster of our own: a writer, standbys, and ways to move the writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pgswitch.demo.child import ChildFailed
from pgswitch.demo.postgres import SUPERUSER, PostgresServer

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
    """Nodes that replicate from one writer; the first one begins as that."""

    def __init__(self, nodes: list[PostgresServer]) -> None:
        """Take stopped servers, the first with data, the others without."""
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
        """End the writer as ``how`` says, promote a standby; return the old writer."""
        old = self.writer
        how(old)
        self.promote_best()
        return old

    def promote_best(self) -> None:
        """Promote the standby that has most of what the writer has written."""
        self.promote(max(self.standbys, key=_received))

    def promote(self, node: PostgresServer) -> None:
        """Make a standby the writer, and have the others follow it."""
        node.execute("SELECT pg_promote(false)")
        self.writer = node
        for other in self.standbys:
            self.follow(other)
            other.reload()

    def rejoin(self, node: PostgresServer, *, anew: bool = False) -> None:
        """Start a stopped node as a standby of the present writer.

        ``anew``: from a new copy, for after a crash it may have what nobody else has.
        """
        if anew:
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
        """Write the configuration of a standby of the present writer."""
        source = f"host=127.0.0.1 port={self.writer.port} user={SUPERUSER}"
        node.configure({"primary_conninfo": source})
        node.mark_as_standby()


def _received(node: PostgresServer) -> int:
    """Return how much of the writer's log a standby has, in bytes."""
    (row,) = node.execute("SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn")
    return int(row[0] or 0)


@contextmanager
def running_cluster(
    nodes: list[PostgresServer], hba: list[str], database: str
) -> Iterator[PostgresCluster]:
    """Start a cluster and stop it at the end, whatever happens."""
    cluster = PostgresCluster(nodes)
    try:
        cluster.start(hba, database)
        yield cluster
    finally:
        cluster.stop()
