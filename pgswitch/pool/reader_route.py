"""The route of a pool whose clients read from one node of a cluster.

When the node is no longer fit for readers (lost, too far behind, promoted, removed),
its clients move to another reader, or to the writer if there is none, as soon as they
are idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgswitch.cluster.node_checks import CheckResult
from pgswitch.net.backend import CRASHED
from pgswitch.pool.held_clients import LossCause
from pgswitch.pool.moving import move
from pgswitch.pool.server_connector import NODE_LOST
from pgswitch.pool.writer_route import is_at_other_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgswitch.cluster.node_checks import CheckCallback
    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.pool import ServerPool


class ReaderRouteCluster(Protocol):
    """What a reader route needs of its cluster; see cluster/cluster.py."""

    def suspect(self, node: Node | None = None) -> None:
        """Take a hint that something is wrong with a node."""

    def address_of(self, node: Node) -> str:
        """Return the address where a node with a host name answered; empty: none."""

    def check(self, callback: CheckCallback, node: Node | None = None) -> None:
        """Check a node over a new connection."""

    def is_standby(self, node: Node) -> bool:
        """Tell whether a node was in recovery when it last answered."""


class ReaderRoute:
    """The Route of the pool of one node."""

    starting = False
    """There are readers only after the first decision."""
    is_welcome_stale = False
    """The node never changes."""

    def __init__(
        self,
        pool: ServerPool,
        node: Node,
        cluster: ReaderRouteCluster,
        better_pool: Callable[[ServerPool], ServerPool | None],
    ) -> None:
        """``better_pool`` returns the pool that clients should move to, or None."""
        self.searching = False
        """The node is silent: it serves no client until it answers again."""
        self.node = node
        self._pool = pool
        self._cluster = cluster
        self._better_pool = better_pool

    @property
    def target(self) -> DatabaseSpec:
        """The node's own entry."""
        return self._pool.spec

    no_writer_reason = ""
    """Clients of readers never wait for a writer here."""

    @property
    def is_standby(self) -> bool:
        """Whether servers here cannot write."""
        return self._cluster.is_standby(self.node)

    def verdict(self, reason: str) -> LossCause | None:
        """Return the cause of the loss of a server; None: a check must show it."""
        return None if reason == CRASHED else LossCause.MOVED

    def verdict_of(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return the cause of a loss that a check of the node shows.

        A node that shuts down and one that restarts after a crash answer alike, but
        only the first has announced its end (``undone``).
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
        """Iterate over standby connections: a reader has none."""
        return iter(())

    def suspect(self) -> None:
        """Make the monitor probe the node."""
        self._cluster.suspect(self.node)

    def correct_parameters(self, reported: Mapping[str, str]) -> Mapping[str, str]:
        """Return the parameters unchanged."""
        return reported

    def is_at_wrong_address(self, backend: Backend) -> bool:
        """Tell whether a server is not at the address that the monitor uses."""
        return is_at_other_address(self._cluster.address_of(self.node), backend)

    def welcome_learned(self) -> None:
        """Ignore it: the welcome is that of the node."""

    def server_ready(self) -> None:
        """Ignore it: only the writer's servers are counted."""

    def login_refused(self, sqlstate: str) -> bool:
        """Move clients away from a node that refuses a login; return if none waits now.

        The reason does not matter: if it is valid, the writer refuses the login too.
        """
        del sqlstate
        self.refresh()
        return not self._pool.idle_pool.waiters

    def note(self, outcome: object) -> None:
        """Ignore it: the loss of a reader is no switchover."""

    def note_error(self, sqlstate: str) -> None:
        """Ignore it: the loss of a reader is no switchover."""

    def refresh(self) -> None:
        """Move clients away if the node is no longer fit for them."""
        target = self._better_pool(self._pool)
        if target is not None and target is not self._pool:
            drain_to(self._pool, target)

    def close_silent(self) -> None:
        """Close all connections to a silent node, and move its clients away.

        Their statements fail or run again on another node, as when a writer is lost.
        """
        self.searching = True
        self._pool.set_open()
        for backend in list(self._pool.servers.values()):
            backend.close(NODE_LOST)
        self._pool.held_clients.decide(LossCause.MOVED)
        self.refresh()

    def node_answers(self) -> None:
        """Serve clients again: the node answers."""
        if self.searching:
            self.searching = False
            self._pool.go_on()

    def close(self) -> None:
        """Release held clients: the pool is given up."""
        self._pool.held_clients.give_up()


def drain_to(pool: ServerPool, target: ServerPool) -> None:
    """Move all idle and all waiting clients to another pool."""
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
