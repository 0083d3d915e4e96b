"""One node of a cluster as the place of a pool: for reading, as long as it is fit.

When it is not (lost, too far behind, promoted, no node any more), its clients go to
another reader, or to the writer if there is none, as soon as they have no work here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgswitch.net.backend import CRASHED
from pgswitch.pool.moving import move
from pgswitch.pool.opening import NODE_LOST
from pgswitch.pool.site import is_elsewhere
from pgswitch.pool.verdicts import Verdict
from pgswitch.topology.calling import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.pool import ServerPool
    from pgswitch.topology.calling import Heard
    from pgswitch.topology.nodes import Node


class Cluster(Protocol):
    """What a pool tells its cluster; see topology/cluster.py."""

    def suspect(self, node: Node | None = None) -> None:
        """Take a hint that something is wrong with a node."""

    def address_of(self, node: Node) -> str:
        """Return where the monitor has asked a node that has a name; empty: nowhere."""

    def call(self, heard: Heard, node: Node | None = None) -> None:
        """Call on a node over a new connection."""

    def is_standby(self, node: Node) -> bool:
        """Tell whether a node was in recovery when it last answered."""


class ReaderSite:
    """Takes the part of a Site for the pool of one node."""

    starting = False
    """Its node has spoken, or it would not be one."""
    is_unheard = False
    """It is one node for good."""

    def __init__(
        self,
        pool: ServerPool,
        node: Node,
        cluster: Cluster,
        elsewhere: Callable[[ServerPool], ServerPool | None],
    ) -> None:
        """``elsewhere`` returns where the clients should be; None: here."""
        self.searching = False
        """The node says nothing: nobody is served here before it speaks again."""
        self.node = node
        self._pool = pool
        self._cluster = cluster
        self._elsewhere = elsewhere

    @property
    def place(self) -> DatabaseSpec:
        """The node's own entry."""
        return self._pool.spec

    why_searching = ""
    """Nobody searches."""

    @property
    def is_standby(self) -> bool:
        """Whether servers here cannot write."""
        return self._cluster.is_standby(self.node)

    def verdict(self, reason: str) -> Verdict | None:
        """Return what explains the loss of a server; None: it is to be found out."""
        return None if reason == CRASHED else Verdict.MOVED

    def verdict_of(self, finding: Finding, *, undone: bool) -> Verdict | None:
        """Return what a call on the node says.

        One that stops and one that was restarted for a crash say the same, but only
        the first says that it ends.
        """
        if finding is Finding.WELL:
            return Verdict.WELL
        if finding is Finding.GONE or (finding is Finding.NOT_READY and undone):
            return Verdict.MOVED
        return None

    def call(self, heard: Heard) -> None:
        """Call on the node over a new connection."""
        self._cluster.call(heard, self.node)

    def warm_servers(self) -> Iterator[Backend]:
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

    def heard(self) -> None:
        """Take no notice."""

    def served(self) -> None:
        """Take no notice: only the writer's is of interest."""

    def refused(self, sqlstate: str) -> bool:
        """Send clients away from a node that refuses a login; True: all have gone.

        Whatever its reason is: that it is a good one is for the writer to say.
        """
        del sqlstate
        self.refresh()
        return not self._pool.rack.waiters

    def note(self, outcome: object) -> None:
        """Take no notice: the loss of a reader is no switchover."""

    def note_error(self, sqlstate: str) -> None:
        """Take no notice of that either."""

    def refresh(self) -> None:
        """Send clients away if this is no place for them any more."""
        target = self._elsewhere(self._pool)
        if target is not None and target is not self._pool:
            leave(self._pool, target)

    def fall_silent(self) -> None:
        """End what waits for an answer of the node, and send clients away.

        They are told what became of their work, or it is done elsewhere, as if a
        writer were lost.
        """
        self.searching = True
        self._pool.set_open()
        for backend in list(self._pool.servers.values()):
            backend.close(NODE_LOST)
        self._pool.verdicts.decide(Verdict.MOVED)
        self.refresh()

    def answers(self) -> None:
        """Serve clients again: the node has spoken."""
        if self.searching:
            self.searching = False
            self._pool.go_on()

    def close(self) -> None:
        """Hold nobody any more: the pool is given up."""
        self._pool.verdicts.give_up()


def leave(pool: ServerPool, target: ServerPool) -> None:
    """Move all clients that have no work under way, also those that wait."""
    for client in list(pool.clients.values()):
        link = client.link
        if link in pool.rack.waiters:
            pool.rack.waiters.remove(link)
            move(client, target)
            target.rack.waiters.append(link)
        elif client.logged_in and link.server is None and not link.halted:
            move(client, target)
    if target.rack.waiters:
        target.serve_waiters()
