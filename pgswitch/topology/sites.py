"""The pools of one cluster's database: where they are is the cluster's to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgswitch.net.backend import Phase
from pgswitch.pool.families import READER
from pgswitch.pool.reader_site import ReaderSite
from pgswitch.pool.site import Site

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools
    from pgswitch.topology.cluster import Cluster
    from pgswitch.topology.nodes import Node


@dataclass(slots=True)
class PoolSites:
    """Takes the part of the Sites of cluster.py; ``key`` is the entry's name."""

    key: str
    pools: Pools
    node: Node | None = None
    searching: bool = False
    starting: bool = False
    """It is not known yet whether there is a writer."""
    warm: list[Node] = field(default_factory=list)
    known: tuple[list[Node], list[Node]] = ([], [])
    """All nodes, and those that are fit for readers."""

    def wait(self) -> None:
        """Have clients wait until it is known where the writer is."""
        self.searching = self.starting = True
        for site in self._sites():
            site.wait()

    def serve_as_configured(self) -> None:
        """Use the host of the database's entry, and let clients go on."""
        self.node, self.searching, self.starting = None, False, False
        for site in self._sites():
            site.serve_from(None, same=True)

    def serve_from(self, node: Node, *, same: bool) -> None:
        """Use this node from now on, and let clients go on."""
        if self.node is not None:
            same = same or (self.node.host, self.node.port) == (node.host, node.port)
        self.node, self.searching, self.starting = node, False, False
        for site in self._sites():
            site.serve_from(node, same=same)

    def hold(self, *, is_leaving: bool) -> None:
        """Have clients wait, and close the connections to the last writer."""
        self.searching, self.starting = True, False
        for site in self._sites():
            site.hold(is_leaving=is_leaving)

    def keep_warm(self, nodes: list[Node]) -> None:
        """Keep connections open to these nodes, and to no others."""
        self.warm = nodes
        for site in self._sites():
            site.standbys.keep(nodes)

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Close connections kept for later to addresses that a node has no longer."""
        for site in self._sites():
            site.standbys.close_at(node, addresses)

    def answers(self, node: Node) -> None:
        """Hear that a node answers that did not, or was not known."""
        for site in self._sites():
            site.standbys.answers(node)
        for reading in self._readers_at(node):
            reading.answers()

    def lost(self, node: Node, *, is_silent: bool) -> None:
        """Trust connections to a node no more: it was asked in vain."""
        for site in self._sites():
            site.standbys.forget(node)
        context = self.pools.context
        silence = context.configuration.settings.switchover_silence
        if is_silent and context.clock() - self.heard_at(node) >= silence:
            for reading in self._readers_at(node):
                reading.fall_silent()
            if node == self.node and self.searching and not self.starting:
                # It was leaving, and what it was at was left to its own end.
                self.hold(is_leaving=False)

    def read_from(self, nodes: list[Node], readers: list[Node]) -> None:
        """Take the nodes that there are, and those that are fit for readers."""
        self.known = nodes, readers
        taken = self.pools.context.configuration.databases
        self.pools.families.set(taken[self.key], nodes, readers, taken)
        for pool in self.pools:
            if isinstance(pool.site, ReaderSite):
                pool.site.refresh()

    def make_way(self) -> None:
        """Name nodes anew whose names belong to entries of ``[databases]`` by now."""
        taken = self.pools.context.configuration.databases
        names = self.pools.families.names(self.key)
        if not any(name in taken for name in names.values()):
            return
        self.read_from(*self.known)
        for pool in self.pools:
            if isinstance(pool.site, ReaderSite) and pool.key.database in taken:
                self.pools.drop(pool)

    def elsewhere(self, pool: ServerPool) -> ServerPool | None:
        """Return where a node's clients should be; None if they are well there."""
        families = self.pools.families
        if families.takes_readers(pool.key.database) and not pool.turns_away():
            return None
        spec = self.pools.context.configuration.databases.get(self.key)
        if spec is None:
            return None
        return self.pools.of_role(spec, pool.key.user, READER)

    def name_of(self, node: Node) -> str:
        """Return what a node is called as a database."""
        return self.pools.families.names(self.key).get(node, node.name)

    def waiting(self) -> tuple[int, float]:
        """Return how many clients wait, and the longest wait in seconds."""
        now = self.pools.context.clock()
        since = [
            moment
            for pool in self.pools.of_database(self.key)
            for moment in pool.waits_since()
        ]
        return len(since), now - min(since, default=now)

    def heard_at(self, node: Node) -> float:
        """Return when a client's query was last answered by this node."""
        pools = list(self._pools_at(node))
        if node == self.node:
            pools += self.pools.of_database(self.key)
        return max(
            (
                backend.link.ready_since
                for pool in pools
                for backend in pool.backends()
                if backend.phase is not Phase.LOGIN
            ),
            default=float("-inf"),
        )

    def add(self, pool: ServerPool, cluster: Cluster) -> None:
        """Take in a new pool."""
        site = Site(pool, cluster, self.name_of)
        pool.settle_at(site)
        if self.node is not None:
            site.node = self.node
        if self.starting:
            site.wait()
        elif self.searching:
            site.hold()
        site.standbys.keep(self.warm)

    def _pools_at(self, node: Node) -> Iterator[ServerPool]:
        """Iterate over the pools of those who read at a node."""
        name = self.pools.families.names(self.key).get(node, "")
        return self.pools.of_database(name)

    def _readers_at(self, node: Node) -> list[ReaderSite]:
        sites = [pool.site for pool in self._pools_at(node)]
        return [site for site in sites if isinstance(site, ReaderSite)]

    def _sites(self) -> list[Site]:
        return [
            pool.site
            for pool in self.pools.of_database(self.key)
            if isinstance(pool.site, Site)
        ]
