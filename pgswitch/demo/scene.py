"""Three nodes and pgswitch before them: where switchovers are shown and measured."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from pgswitch.demo.account import (
    Account,
    PrivateDirectory,
    account_for_children,
    hand_over,
)
from pgswitch.demo.cluster import TOPOLOGY_QUERY, PostgresCluster, running_cluster
from pgswitch.demo.installations import best_for
from pgswitch.demo.pooler import Pooler
from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.writers import SCHEMA

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
"""How the writer goes, by the name of that."""


class Scene:
    """The cluster, and ways to connect to it."""

    def __init__(
        self, cluster: PostgresCluster, folder: Path, account: Account | None
    ) -> None:
        self.cluster = cluster
        self.folder = folder
        self.account = account

    def start_pooler(self, port: int | None = None) -> Pooler:
        """Start a pgswitch that knows the cluster by its first node."""
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
                # Who watches does not want to wait 30 s for an old writer's return.
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
        """Return what connects a client through a pooler."""
        url = pooler.url(USER, "", database)
        return lambda: psycopg.connect(url, autocommit=True)

    def directly(self, *nodes: PostgresServer) -> Callable[[], psycopg.Connection]:
        """Return what connects a client to the one of some nodes that takes writes."""
        ports = ",".join(str(node.port) for node in nodes)
        hosts = ",".join("127.0.0.1" for _ in nodes)
        text = f"host={hosts} port={ports} user={USER} dbname={DATABASE}"
        if len(nodes) > 1:
            text += " target_session_attrs=read-write"
        return lambda: psycopg.connect(f"{text} connect_timeout=2", autocommit=True)

    def rows(self) -> Counter[int]:
        """Return how often each key is in the table."""
        rows = self.cluster.writer.execute("SELECT id FROM written", database=DATABASE)
        return Counter(row[0] for row in rows)

    def restore(self, node: PostgresServer, how: str) -> None:
        """Bring an old writer back as a standby."""
        self.cluster.rejoin(node, anew=how == "crash")
        self.cluster.wait_until_followed()


@contextmanager
def running_scene() -> Iterator[Scene]:
    """Make the cluster; stop and remove everything at the end."""
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
        yield Scene(cluster, folder.path, account)


def stop_pooler(pooler: Pooler) -> None:
    """End a pooler in order, then not."""
    pooler.stop(signal.SIGINT, signal.SIGQUIT, patience_s=3.0)


def subdirectory(directory: Path, name: str, account: Account | None) -> Path:
    """Make a folder (mode 0700) that belongs to the children's account."""
    path = directory / name
    path.mkdir(mode=0o700)
    hand_over(path, account)
    return path
