"""Carries out on the pools of one database what its cluster decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgswitch.net.connection_states import ServerState
from pgswitch.pool.cluster_databases import READER
from pgswitch.pool.reader_route import ReaderRoute
from pgswitch.pool.writer_route import WriterRoute

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from pgswitch.cluster.cluster import Cluster
    from pgswitch.cluster.nodes import Node
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools


@dataclass(slots=True)
class PoolRoutes:
    """The ClusterRoutes of one cluster; ``key`` is the name of its entry."""

    key: str
    pools: Pools
    node: Node | None = None
    searching: bool = False
    starting: bool = False
    """The first decision is still due."""
    standby_nodes: list[Node] = field(default_factory=list)
    nodes_and_readers: tuple[list[Node], list[Node]] = ([], [])
    """All nodes, and those that are fit for readers."""

    def wait(self) -> None:
        """Make clients wait until the writer is known."""
        self.searching = self.starting = True
        for route in self._routes():
            route.wait_for_nodes()

    def serve_as_configured(self) -> None:
        """Serve clients from the host of the database's entry."""
        self.node, self.searching, self.starting = None, False, False
        for route in self._routes():
            route.serve_from(None, same=True)

    def serve_from(self, node: Node, *, same: bool) -> None:
        """Serve clients from this node."""
        if self.node is not None:
            same = same or (self.node.host, self.node.port) == (node.host, node.port)
        self.node, self.searching, self.starting = node, False, False
        for route in self._routes():
            route.serve_from(node, same=same)

    def wait_for_writer(self, *, is_leaving: bool) -> None:
        """Make clients wait, and close the connections to the last writer."""
        self.searching, self.starting = True, False
        for route in self._routes():
            route.wait_for_writer(is_leaving=is_leaving)

    def keep_standbys(self, nodes: list[Node]) -> None:
        """Keep connections open to these nodes, and to no others."""
        self.standby_nodes = nodes
        for route in self._routes():
            route.standbys.set_nodes(nodes)

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Close standby connections to addresses that a node no longer has."""
        for route in self._routes():
            route.standbys.close_at(node, addresses)

    def node_answers(self, node: Node) -> None:
        """Use a node that has answered for the first time, or again."""
        for route in self._routes():
            route.standbys.node_answers(node)
        for reading in self._readers_at(node):
            reading.node_answers()

    def node_lost(self, node: Node, *, is_silent: bool) -> None:
        """Stop using idle connections to a node: its probe failed."""
        for route in self._routes():
            route.standbys.close_node(node)
        context = self.pools.context
        silence = context.configuration.settings.switchover_silence
        if is_silent and context.clock() - self.client_answered_at(node) >= silence:
            for reading in self._readers_at(node):
                reading.lose_node()
            if node == self.node and self.searching and not self.starting:
                # It was shutting down, and its busy connections were left to end.
                self.wait_for_writer(is_leaving=False)

    def set_readers(self, nodes: list[Node], readers: list[Node]) -> None:
        """Take all nodes, and those that are fit for readers."""
        self.nodes_and_readers = nodes, readers
        taken = self.pools.context.configuration.databases
        self.pools.cluster_databases.set(taken[self.key], nodes, readers, taken)
        for pool in self.pools:
            if isinstance(pool.route, ReaderRoute):
                pool.route.refresh()

    def rename_nodes(self) -> None:
        """Rename nodes whose names belong to new entries of ``[databases]``."""
        taken = self.pools.context.configuration.databases
        names = self.pools.cluster_databases.names(self.key)
        if not any(name in taken for name in names.values()):
            return
        self.set_readers(*self.nodes_and_readers)
        for pool in self.pools:
            if isinstance(pool.route, ReaderRoute) and pool.key.database in taken:
                self.pools.drop(pool)

    def better_pool(self, pool: ServerPool) -> ServerPool | None:
        """Return the pool that a node's clients should move to; None: they stay."""
        cluster_databases = self.pools.cluster_databases
        if (
            cluster_databases.takes_readers(pool.key.database)
            and not pool.refuses_logins()
        ):
            return None
        spec = self.pools.context.configuration.databases.get(self.key)
        if spec is None:
            return None
        return self.pools.pool_for_role(spec, pool.key.user, READER)

    def name_of(self, node: Node) -> str:
        """Return the name of a node as a database."""
        return self.pools.cluster_databases.names(self.key).get(node, node.name)

    def waiting(self) -> tuple[int, float]:
        """Return how many clients wait, and the longest wait in seconds."""
        now = self.pools.context.clock()
        since = [
            moment
            for pool in self.pools.of_database(self.key)
            for moment in pool.waits_since()
        ]
        return len(since), now - min(since, default=now)

    def client_answered_at(self, node: Node) -> float:
        """Return when this node last answered a client's query."""
        pools = list(self._pools_at(node))
        if node == self.node:
            pools += self.pools.of_database(self.key)
        return max(
            (
                backend.stream.ready_since
                for pool in pools
                for backend in pool.backends()
                if backend.stored_state is not ServerState.LOGIN
            ),
            default=float("-inf"),
        )

    def add(self, pool: ServerPool, cluster: Cluster) -> None:
        """Give a new pool of the database its route."""
        route = WriterRoute(pool, cluster, self.name_of)
        pool.set_route(route)
        if self.node is not None:
            route.node = self.node
        if self.starting:
            route.wait_for_nodes()
        elif self.searching:
            route.wait_for_writer()
        route.standbys.set_nodes(self.standby_nodes)

    def _pools_at(self, node: Node) -> Iterator[ServerPool]:
        """Iterate over the pools of readers at a node."""
        name = self.pools.cluster_databases.names(self.key).get(node, "")
        return self.pools.of_database(name)

    def _readers_at(self, node: Node) -> list[ReaderRoute]:
        routes = [pool.route for pool in self._pools_at(node)]
        return [route for route in routes if isinstance(route, ReaderRoute)]

    def _routes(self) -> list[WriterRoute]:
        return [
            pool.route
            for pool in self.pools.of_database(self.key)
            if isinstance(pool.route, WriterRoute)
        ]
