"""The connections of one pool to the standbys of its cluster, kept for a promotion.

Each standby has as many as the pool recently had to the writer, so that a new writer
has them all at once.  No client uses them before; the log and the console show them
under the node's name, as pgbouncer-fast-switchover does.

An idle connection can die unnoticed.  So each is checked now and then, and all are
checked once more, in parallel, when their node is promoted: that costs the first client
one round trip.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.backend import Backend, Phase
from pgswitch.pool.connection_limits import LimitedPool
from pgswitch.pool.release import CHECK_FAILED, check_query
from pgswitch.pool.server_connector import CONNECT_TIMEOUT, NODE_LOST, WRITER_MOVED

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.connection_limits import ConnectionLimits
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.server_connections import ServerConnections
    from pgswitch.wire.server_auth import Failed, ServerRefused

MIN_PER_STANDBY = 2
"""The minimum for a pool with hardly any servers, if its limits allow it."""
REOPEN_S = 1.0
"""How soon a lost connection, perhaps terminated by an administrator, is reopened."""
CHECK_S = 15.0
"""The longest that a connection is idle without a check."""
PROMOTION_CHECK_S = 0.5
"""How soon connections to a new writer must answer; others are opened then."""


class StandbyPool(LimitedPool, Protocol):
    """What standby connections need of their pool; see pool/pool.py."""

    context: ServiceContext
    servers: dict[int, Backend]
    server_connections: ServerConnections
    connection_limits: ConnectionLimits

    def logged_in(self, backend: Backend) -> None:
        """Take a server that is ready for clients."""

    def is_in_use(self) -> bool:
        """Tell whether the pool needs connections."""


class StandbyConnections:
    """Owns the standby connections of one pool."""

    def __init__(
        self,
        pool: StandbyPool,
        at: Callable[[Node], DatabaseSpec],
        name_of: Callable[[Node], str],
    ) -> None:
        """Begin without nodes.

        :param at: returns the database's entry with a node's host and port in it.
        :param name_of: returns the name of a node as a database.
        """
        self._pool = pool
        self._at = at
        self._name_of = name_of
        self._backends: dict[Node, list[Backend]] = {}
        self._not_before: dict[Node, float] = {}
        """When a node may be tried again, in monotonic seconds."""
        self._peak = 0
        """How many servers the pool recently had, and when it had that many."""
        self._peak_at = float("-inf")
        self._checking: set[int] = set()
        """Numbers of connections that were handed over and have not answered yet."""

    def by_name(self) -> Iterator[tuple[str, list[Backend]]]:
        """Iterate over the names of nodes as databases, and the connections to each."""
        for node, backends in self._backends.items():
            yield self._name_of(node), backends

    def __iter__(self) -> Iterator[Backend]:
        """Iterate over the connections."""
        for backends in self._backends.values():
            yield from backends

    def take(self, node: Node) -> list[Backend]:
        """Hand over the connections to a node that is the writer now.

        Each is still logging in, or is checked: the pool's ``logged_in`` is called when
        it is ready for clients.
        """
        backends = self._remove_all(node)
        for backend in backends:
            if backend.phase is Phase.LOGIN:
                continue
            self._checking.add(backend.number)
            backend.is_fresh = False
            if backend.phase is Phase.READY:
                self._check(backend)
        if backends:
            self._pool.context.later(
                PROMOTION_CHECK_S, partial(self._time_is_up, backends)
            )
        return backends

    def _remove_all(self, node: Node) -> list[Backend]:
        backends = self._backends.pop(node, [])
        for _ in backends:
            self._pool.connection_limits.closed_apart(self._pool.key, node)
        return backends

    def _time_is_up(self, backends: list[Backend]) -> None:
        """Close those that do not answer, having read what has come meanwhile."""
        self._pool.context.later(0, partial(self._give_up, backends))

    def _give_up(self, backends: list[Backend]) -> None:
        for backend in backends:
            if backend.phase is Phase.LOGIN:
                # It says nothing of the next one.
                backend.close(NODE_LOST)
            elif backend.number in self._checking:
                self._checking.discard(backend.number)
                backend.close(CHECK_FAILED)

    def keep(self, nodes: Iterable[Node]) -> None:
        """Keep connections to these nodes and to no others."""
        wanted = dict.fromkeys(nodes)
        for node in [*self._backends]:
            if node not in wanted:
                for backend in self._remove_all(node):
                    backend.close(WRITER_MOVED)
        for node in wanted:
            self._backends.setdefault(node, [])
        self.refresh()

    def forget(self, node: Node) -> None:
        """Close the connections to a node that does not answer; try again later."""
        if node not in self._backends:
            return
        for backend in [*self._backends[node]]:
            backend.close(NODE_LOST)
        pool = self._pool
        delay = pool.context.configuration.settings.server_failed_delay
        self._not_before[node] = pool.context.clock() + delay

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Close connections to addresses that a node no longer has."""
        for backend in [*self._backends.get(node, ())]:
            if backend.phase is Phase.LOGIN or backend.address.host in addresses:
                backend.close(WRITER_MOVED)

    def node_answers(self, node: Node) -> None:
        """Try a node at once: it answers again."""
        self._not_before.pop(node, None)
        self.refresh()

    def refresh(self) -> None:
        """Open missing connections, and close surplus ones."""
        pool = self._pool
        if not pool.is_in_use() or pool.spec.connect_query or pool.context.paused:
            return
        now = pool.context.clock()
        wanted = self._wanted(now)
        for node, backends in self._backends.items():
            for backend in [*backends]:
                if backend.generation != pool.server_connections.generation:
                    backend.close(WRITER_MOVED)
            for backend in backends[wanted:]:
                backend.close(WRITER_MOVED)
            self._check_idle(backends, now)
            if now < self._not_before.get(node, 0.0):
                continue
            while len(backends) < wanted and pool.connection_limits.has_room_apart(
                pool, node
            ):
                pool.connection_limits.opened_apart(pool.key, node)
                backend = pool.server_connections.open_apart(self._at(node), self, {})
                backend.database = self._name_of(node)
                backends.append(backend)

    def _check_idle(self, backends: list[Backend], now: float) -> None:
        """Check connections that have been idle for long, close those that fail."""
        settings = self._pool.context.configuration.settings
        delay = min(max(settings.server_check_delay, REOPEN_S), CHECK_S)
        patience = settings.server_connect_timeout
        for backend in [*backends]:
            if backend.phase is Phase.BUSY:
                if now - backend.busy_since > settings.switchover_silence:
                    backend.close(CHECK_FAILED)
            elif backend.phase is Phase.LOGIN:
                if patience and now - backend.connected_at > patience:
                    backend.close(CONNECT_TIMEOUT)
            elif now - backend.stream.ready_since > delay:
                self._check(backend)

    def _check(self, backend: Backend) -> None:
        """Check a connection, even if the pool does not check its servers."""
        settings = self._pool.context.configuration.settings
        backend.run(check_query(settings), partial(self._checked, backend))

    def _checked(self, backend: Backend, error: dict[str, str] | None) -> None:
        is_taken = backend.number in self._checking
        self._checking.discard(backend.number)
        if error is not None:
            backend.close(CHECK_FAILED)
        elif is_taken:
            self._pool.logged_in(backend)

    def _wanted(self, now: float) -> int:
        """Return how many connections each node should have."""
        pool = self._pool
        settings = pool.context.configuration.settings
        limit = settings.server_idle_timeout
        count = len(pool.servers)
        if count >= self._peak or (limit and now - self._peak_at > limit):
            self._peak, self._peak_at = count, now
        wanted = max(self._peak, MIN_PER_STANDBY)
        if pool.server_connections.pool_size:
            wanted = min(wanted, pool.server_connections.pool_size)
        return max(min(wanted, settings.standby_pool_size), 0)

    # The owner of the connections.

    def logged_in(self, backend: Backend) -> None:
        """Keep it as it is."""

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Do nothing: it is closed next, and the node is tried again later."""

    def lost(self, backend: Backend, reason: str) -> None:
        """Remove it, and wait before the next attempt if its node failed."""
        pool = self._pool
        pool.server_connections.remove(backend, reason)
        for node, backends in self._backends.items():
            if backend in backends:
                backends.remove(backend)
                pool.connection_limits.closed_apart(pool.key, node)
                if reason != WRITER_MOVED:
                    settings = pool.context.configuration.settings
                    is_failed = backend.phase_at_close is Phase.LOGIN
                    wait = settings.server_failed_delay if is_failed else REOPEN_S
                    self._not_before[node] = pool.context.clock() + wait

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Do nothing: the connection itself keeps it."""

    def on_read_only(self, backend: Backend) -> None:
        """Ignore it: no client has this connection."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Ignore it: no client has this connection."""
