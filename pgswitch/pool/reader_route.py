"""One node of a cluster as the place of a pool: for reading, as long as it is fit.

When it is not (lost, too far behind, promoted, no node any more), its clients go to
another reader, or to the writer if there is none, as soon as they have no work here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgswitch.cluster.node_checks import CheckResult
from pgswitch.net.close_reason import CloseReason
from pgswitch.pool.loss import LossCause
from pgswitch.pool.pool import move
from pgswitch.pool.writer_route import is_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgswitch.cluster.node_checks import CheckCallback
    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.pool import ServerPool


class ReaderRouteCluster(Protocol):
    """What a pool tells its cluster; see cluster/cluster.py."""

    def suspect(self, node: Node | None = None) -> None:
        """Take a hint that something is wrong with a node."""

    def address_of(self, node: Node) -> str:
        """Return where the monitor has asked a node that has a name; empty: nowhere."""

    def check(self, heard: CheckCallback, node: Node | None = None) -> None:
        """Call on a node over a new connection."""

    def is_standby(self, node: Node) -> bool:
        """Tell whether a node was in recovery when it last answered."""


class ReaderRoute:
    """Takes the part of a Site for the pool of one node."""

    starting = False
    """Its node has spoken, or it would not be one."""
    welcome_is_outdated = False
    """It is one node for good."""

    def __init__(
        self,
        pool: ServerPool,
        node: Node,
        cluster: ReaderRouteCluster,
        better_pool: Callable[[ServerPool], ServerPool | None],
    ) -> None:
        """``better_pool`` returns where the clients should be; None: here."""
        self.searching = False
        """The node says nothing: nobody is served here before it speaks again."""
        self.node = node
        self._pool = pool
        self._cluster = cluster
        self._better_pool = better_pool

    @property
    def target(self) -> DatabaseSpec:
        """The node's own entry."""
        return self._pool.spec

    why_searching = ""
    """Nobody searches."""

    @property
    def is_standby(self) -> bool:
        """Whether servers here cannot write."""
        return self._cluster.is_standby(self.node)

    def cause_of(self, reason: CloseReason) -> LossCause | None:
        """Return what explains the loss of a server; None: it is to be found out."""
        return None if reason is CloseReason.CRASHED else LossCause.MOVED

    def cause_found(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return what a call on the node says.

        One that stops and one that was restarted for a crash say the same, but only
        the first says that it ends.
        """
        if finding is CheckResult.WELL:
            return LossCause.WELL
        if finding is CheckResult.GONE or (finding is CheckResult.NOT_READY and undone):
            return LossCause.MOVED
        return None

    def check(self, heard: CheckCallback) -> None:
        """Call on the node over a new connection."""
        self._cluster.check(heard, self.node)

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over connections kept for later: none."""
        return iter(())

    def suspect(self) -> None:
        """Have the monitor look at the node."""
        self._cluster.suspect(self.node)

    def corrected(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return it as it is: this is the node that serves."""
        return reported

    def is_elsewhere(self, backend: Backend) -> bool:
        """Tell whether a server is at another address than the monitor has asked."""
        return is_elsewhere(self._cluster.address_of(self.node), backend)

    def welcome_learned(self) -> None:
        """Take no notice."""

    def served(self) -> None:
        """Take no notice: only the writer's is of interest."""

    def login_refused(self, sqlstate: str) -> bool:
        """Send clients away from a node that refuses a login; True: all have gone.

        Whatever its reason is: that it is a good one is for the writer to say.
        """
        del sqlstate
        self.refresh()
        return not self._pool.idle_pool.waiters

    def count_outcome(self, outcome: object) -> None:
        """Take no notice: the loss of a reader is no switchover."""

    def count_error(self, sqlstate: str) -> None:
        """Take no notice of that either."""

    def refresh(self) -> None:
        """Send clients away if this is no place for them any more."""
        target = self._better_pool(self._pool)
        if target is not None and target is not self._pool:
            drain_to(self._pool, target)

    def lose_node(self) -> None:
        """End what waits for an answer of the node, and send clients away.

        They are told what became of their work, or it is done elsewhere, as if a
        writer were lost.
        """
        self.searching = True
        self._pool.update_open()
        for backend in list(self._pool.servers.values()):
            backend.close(CloseReason.NODE_LOST)
        self._pool.held_clients.decide(LossCause.MOVED)
        self.refresh()

    def answers(self) -> None:
        """Serve clients again: the node has spoken."""
        if self.searching:
            self.searching = False
            self._pool.resume()

    def close(self) -> None:
        """Hold nobody any more: the pool is given up."""
        self._pool.held_clients.release_all()


def drain_to(pool: ServerPool, target: ServerPool) -> None:
    """Move all clients that have no work under way, also those that wait."""
    for client in list(pool.clients.values()):
        stream = client.stream
        if stream in pool.idle_pool.waiters:
            pool.idle_pool.waiters.remove(stream)
            move(client, target)
            target.idle_pool.waiters.append(stream)
        elif client.logged_in and stream.server is None and not stream.suspended:
            move(client, target)
    if target.idle_pool.waiters:
        target.serve_waiters()
