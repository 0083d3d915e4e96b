"""The route of a pool to one node of a cluster, for reading.

When the node is unfit (lost, too far behind, promoted, removed), its clients move to
another reader, or to the writer if there is none, as soon as they have no work here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgswitch.cluster.node_checks import CheckResult
from pgswitch.net.connection_states import CloseReason
from pgswitch.pool.loss import LossCause
from pgswitch.pool.pool import move_client
from pgswitch.pool.writer_route import is_at_other_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgswitch.cluster.node_checks import CheckCallback
    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.pool import ServerPool


class ReaderRouteCluster(Protocol):
    """What the route needs of its cluster; see cluster/cluster.py."""

    def suspect(self, node: Node | None = None) -> None:
        """Have the monitor check a node."""

    def address_of(self, node: Node) -> str:
        """Return the address at which a node was probed; empty: none, or no name."""

    def check(self, callback: CheckCallback, node: Node | None = None) -> None:
        """Check a node over a new connection."""

    def is_standby(self, node: Node) -> bool:
        """Tell whether a node was in recovery when it last answered."""


class ReaderRoute:
    """The route of the pool of one node."""

    starting = False
    """Its node has answered, or the pool would not exist."""
    is_welcome_stale = False
    """Its node never changes."""

    def __init__(
        self,
        pool: ServerPool,
        node: Node,
        cluster: ReaderRouteCluster,
        better_pool: Callable[[ServerPool], ServerPool | None],
    ) -> None:
        """``better_pool`` returns the pool for its clients; None: this one."""
        self.searching = False
        """The node does not answer: clients wait or move."""
        self.node = node
        self._pool = pool
        self._cluster = cluster
        self._better_pool = better_pool

    @property
    def target(self) -> DatabaseSpec:
        """The node's own entry."""
        return self._pool.spec

    no_writer_reason = ""
    """A lost reader starts no search."""

    @property
    def is_standby(self) -> bool:
        """Whether servers here cannot write."""
        return self._cluster.is_standby(self.node)

    def cause_of(self, reason: CloseReason) -> LossCause | None:
        """Return what explains the loss of a server; None: not known yet."""
        return None if reason is CloseReason.CRASHED else LossCause.MOVED

    def cause_found(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return what a check of the node explains.

        A node that stops and one that restarts after a crash give the same answer, but
        only the first sends a shutdown notice.
        """
        if finding is CheckResult.WELL:
            return LossCause.WELL
        if finding is CheckResult.UNREACHABLE or (
            finding is CheckResult.NOT_READY and undone
        ):
            return LossCause.MOVED
        return None

    def check(self, callback: CheckCallback) -> None:
        """Check the node over a new connection."""
        self._cluster.check(callback, self.node)

    def standby_servers(self) -> Iterator[Backend]:
        """Iterate over connections to standbys: none."""
        return iter(())

    def suspect(self) -> None:
        """Have the monitor check the node."""
        self._cluster.suspect(self.node)

    def correct_parameters(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return them as they are: the node never changes."""
        return reported

    def is_at_wrong_address(self, backend: Backend) -> bool:
        """Tell whether a server is at another address than the monitor's probe."""
        return is_at_other_address(self._cluster.address_of(self.node), backend)

    def welcome_learned(self) -> None:
        """Do nothing."""

    def server_ready(self) -> None:
        """Do nothing: only the writer's servers matter."""

    def login_refused(self, sqlstate: str) -> bool:
        """Move clients away from a node that refuses a login; True: none waits here.

        The reason does not matter: if the writer refuses them too, its error counts.
        """
        del sqlstate
        self.refresh()
        return not self._pool.idle_pool.waiters

    def count_outcome(self, outcome: object) -> None:
        """Do nothing: the loss of a reader is no switchover."""

    def count_error(self, sqlstate: str) -> None:
        """Do nothing, for the same reason."""

    def refresh(self) -> None:
        """Move clients away if another pool should serve them."""
        target = self._better_pool(self._pool)
        if target is not None and target is not self._pool:
            drain_to(self._pool, target)

    def lose_node(self) -> None:
        """Close all servers at a silent node, and move clients away.

        Clients get an error for their work, or it is run again elsewhere, as if a
        writer were lost.
        """
        self.searching = True
        self._pool.update_open()
        for backend in list(self._pool.servers.values()):
            backend.close(CloseReason.NODE_LOST)
        self._pool.held_clients.decide(LossCause.MOVED)
        self.refresh()

    def node_answers(self) -> None:
        """Serve clients again: the node has answered."""
        if self.searching:
            self.searching = False
            self._pool.resume()

    def close(self) -> None:
        """Release held clients: the pool is dropped."""
        self._pool.held_clients.release_all()


def drain_to(pool: ServerPool, target: ServerPool) -> None:
    """Move all clients without work under way, and those that wait."""
    for client in list(pool.clients.values()):
        stream = client.stream
        if stream in pool.idle_pool.waiters:
            pool.idle_pool.waiters.remove(stream)
            move_client(client, target)
            target.idle_pool.waiters.append(stream)
        elif client.logged_in and stream.server is None and not stream.suspended:
            move_client(client, target)
    if target.idle_pool.waiters:
        target.serve_waiters()
