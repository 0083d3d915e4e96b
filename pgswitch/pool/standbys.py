"""The connections of one pool to the standbys of its cluster, kept for a promotion.

The pool keeps as many open to each standby as it has lately had to the writer, so that
a promoted node has all of them at once.  Until then no client uses them; in the log
and on the console they have their node's name, as in pgbouncer-fast-switchover.

An idle connection may be lost without a sign.  So each is checked now and then, and
again when its node is promoted, all at the same time: that costs the first client one
round trip.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.connection_states import CloseReason, ServerEvent, ServerState
from pgswitch.pool.connection_limits import LimitedPool
from pgswitch.pool.release import check_query

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.connection_limits import ConnectionLimits
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.server_connections import ServerConnections
    from pgswitch.wire.server_auth import Failed, ServerRefused

MIN_PER_STANDBY = 2
"""What even a pool with fewer servers keeps to each standby, if sizes allow."""
REOPEN_S = 1.0
"""Seconds until one that was lost, perhaps terminated, is opened again."""
CHECK_S = 15.0
"""Maximum of seconds that one is idle between two checks."""
PROOF_S = 0.5
"""Seconds for those of a new writer to answer; then others are opened."""


class StandbyPool(LimitedPool, Protocol):
    """What connections to standbys need of their pool; see pool/pool.py."""

    context: ServiceContext
    servers: dict[int, Backend]
    server_connections: ServerConnections
    connection_limits: ConnectionLimits

    def logged_in(self, backend: Backend) -> None:
        """Take a server that is ready for clients."""

    def is_in_use(self) -> bool:
        """Tell whether there are clients or servers, or the entry has a user."""


class StandbyConnections:
    """Owner of a pool's connections to standbys."""

    def __init__(
        self,
        pool: StandbyPool,
        at: Callable[[Node], DatabaseSpec],
        name_of: Callable[[Node], str],
    ) -> None:
        """``at`` returns the database's entry with a node's host and port.

        ``name_of`` returns the name of a node's own database.
        """
        self._pool = pool
        self._at = at
        self._name_of = name_of
        self._backends: dict[Node, list[Backend]] = {}
        self._not_before: dict[Node, float] = {}
        """When to try a node again, in monotonic seconds."""
        self._max = 0
        """The highest number of servers the pool has lately had, and when."""
        self._max_at = float("-inf")
        self._rechecked: set[int] = set()
        """Numbers of those handed over that have not answered the last check."""

    def by_name(self) -> Iterator[tuple[str, list[Backend]]]:
        """Iterate over the nodes' databases and the connections to each."""
        for node, backends in self._backends.items():
            yield self._name_of(node), backends

    def __iter__(self) -> Iterator[Backend]:
        """Iterate over the connections."""
        for backends in self._backends.values():
            yield from backends

    def hand_over(self, node: Node) -> list[Backend]:
        """Hand over the connections to a promoted node.

        Each finishes its login or is checked; then the pool's ``logged_in`` is called.
        """
        backends = self._remove_node(node)
        for backend in backends:
            if backend.stored_state is ServerState.LOGIN:
                continue
            self._rechecked.add(backend.number)
            backend.is_fresh = False
            if backend.stored_state.serves_clients:
                self._check(backend)
        if backends:
            self._pool.context.later(PROOF_S, partial(self._timed_out, backends))
        return backends

    def _remove_node(self, node: Node) -> list[Backend]:
        backends = self._backends.pop(node, [])
        for _ in backends:
            self._pool.connection_limits.closed_on_standby(self._pool.key, node)
        return backends

    def _timed_out(self, backends: list[Backend]) -> None:
        """Close those that have not answered, after reading what has arrived."""
        self._pool.context.later(0, partial(self._close_unanswered, backends))

    def _close_unanswered(self, backends: list[Backend]) -> None:
        for backend in backends:
            if backend.stored_state is ServerState.LOGIN:
                # This reason does not count as a failed login.
                backend.close(CloseReason.NODE_LOST)
            elif backend.number in self._rechecked:
                self._rechecked.discard(backend.number)
                backend.close(CloseReason.CHECK_FAILED)

    def set_nodes(self, nodes: Iterable[Node]) -> None:
        """Keep connections to these nodes only."""
        wanted = dict.fromkeys(nodes)
        for node in [*self._backends]:
            if node not in wanted:
                for backend in self._remove_node(node):
                    backend.close(CloseReason.WRITER_MOVED)
        for node in wanted:
            self._backends.setdefault(node, [])
        self.refresh()

    def close_node(self, node: Node) -> None:
        """Close the connections to a node that does not answer; try it again later."""
        if node not in self._backends:
            return
        for backend in [*self._backends[node]]:
            backend.close(CloseReason.NODE_LOST)
        pool = self._pool
        delay = pool.context.configuration.settings.server_failed_delay
        self._not_before[node] = pool.context.clock() + delay

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Close connections to addresses that a node's name no longer has."""
        for backend in [*self._backends.get(node, ())]:
            if (
                backend.stored_state is ServerState.LOGIN
                or backend.address.host in addresses
            ):
                backend.close(CloseReason.WRITER_MOVED)

    def node_answers(self, node: Node) -> None:
        """Connect to a node at once: it answers again."""
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
                    backend.close(CloseReason.WRITER_MOVED)
            for backend in backends[wanted:]:
                backend.close(CloseReason.WRITER_MOVED)
            self._check_idle(backends, now)
            if now < self._not_before.get(node, 0.0):
                continue
            while len(backends) < wanted and pool.connection_limits.has_room_on_standby(
                pool, node
            ):
                pool.connection_limits.opened_on_standby(pool.key, node)
                backend = pool.server_connections.open_uncounted(
                    self._at(node), self, {}
                )
                backend.database = self._name_of(node)
                backends.append(backend)

    def _check_idle(self, backends: list[Backend], now: float) -> None:
        """Check those that have been idle for long; close those that do not answer."""
        settings = self._pool.context.configuration.settings
        delay = min(max(settings.server_check_delay, REOPEN_S), CHECK_S)
        timeout = settings.server_connect_timeout
        for backend in [*backends]:
            if backend.stored_state.runs_query:
                if now - backend.busy_since > settings.switchover_silence:
                    backend.close(CloseReason.CHECK_FAILED)
            elif backend.stored_state is ServerState.LOGIN:
                if timeout and now - backend.connected_at > timeout:
                    backend.close(CloseReason.CONNECT_TIMEOUT)
            elif now - backend.stream.ready_since > delay:
                self._check(backend)

    def _check(self, backend: Backend) -> None:
        """Run the check query, even if the settings have none."""
        settings = self._pool.context.configuration.settings
        backend.run(check_query(settings), partial(self._checked, backend))

    def _checked(self, backend: Backend, error: dict[str, str] | None) -> None:
        is_handed_over = backend.number in self._rechecked
        self._rechecked.discard(backend.number)
        if error is not None:
            backend.close(CloseReason.CHECK_FAILED)
        elif is_handed_over:
            self._pool.logged_in(backend)
        else:
            backend.change_state(ServerEvent.KEPT)

    def _wanted(self, now: float) -> int:
        """Return how many to keep open to each node."""
        pool = self._pool
        settings = pool.context.configuration.settings
        limit = settings.server_idle_timeout
        count = len(pool.servers)
        if count >= self._max or (limit and now - self._max_at > limit):
            self._max, self._max_at = count, now
        wanted = max(self._max, MIN_PER_STANDBY)
        if pool.server_connections.pool_size:
            wanted = min(wanted, pool.server_connections.pool_size)
        return max(min(wanted, settings.standby_pool_size), 0)

    # The owner of the connections.

    def logged_in(self, backend: Backend) -> None:
        """Keep it, unused."""
        backend.change_state(ServerEvent.KEPT)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Do nothing: it is closed next, and opened again later."""

    def lost(self, backend: Backend, reason: CloseReason) -> None:
        """Remove it; avoid the node for a while, unless we closed it."""
        pool = self._pool
        pool.server_connections.remove(backend)
        for node, backends in self._backends.items():
            if backend in backends:
                backends.remove(backend)
                pool.connection_limits.closed_on_standby(pool.key, node)
                if reason is not CloseReason.WRITER_MOVED:
                    settings = pool.context.configuration.settings
                    is_failed = backend.state_at_close is ServerState.LOGIN
                    wait = settings.server_failed_delay if is_failed else REOPEN_S
                    self._not_before[node] = pool.context.clock() + wait

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Do nothing: the backend has stored it."""

    def on_read_only(self, backend: Backend) -> None:
        """Do nothing: no client has it."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Do nothing: no client has it."""
