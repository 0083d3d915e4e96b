"""The connections of one pool to the standbys of its cluster, kept for a promotion.

As many are open to each standby as the pool has had to the writer lately, so that a
new writer has all of them the moment it is one.  Nobody uses them before; the log and
the console call them by their node's name, as pgbouncer-fast-switchover does.

The way to an idle connection may be lost without a sign.  So each is checked now and
then, and proves itself once more when its node is promoted, all at the same time:
that costs the first client one round trip.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.close_reason import CloseReason
from pgswitch.net.server_state import ServerEvent, ServerState
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
"""What a pool that hardly has servers keeps on each standby, if sizes allow it."""
REOPEN_S = 1.0
"""After which time one that was lost, perhaps ended by somebody, is opened again."""
CHECK_S = 15.0
"""For how long none is idle without having answered a query."""
PROOF_S = 0.5
"""Within which time those of a new writer have to answer; others are opened then."""


class StandbyPool(LimitedPool, Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: ServiceContext
    servers: dict[int, Backend]
    server_connections: ServerConnections
    connection_limits: ConnectionLimits

    def logged_in(self, backend: Backend) -> None:
        """Take in a server that is ready for clients."""

    def is_in_use(self) -> bool:
        """Tell whether anybody has a use for connections."""


class StandbyConnections:
    """Takes the part of the pool for its connections to standbys."""

    def __init__(
        self,
        pool: StandbyPool,
        at: Callable[[Node], DatabaseSpec],
        name_of: Callable[[Node], str],
    ) -> None:
        """``at`` returns the database's entry with a node's host and port in it.

        ``name_of`` returns what a node is called as a database.
        """
        self._pool = pool
        self._at = at
        self._name_of = name_of
        self._backends: dict[Node, list[Backend]] = {}
        self._not_before: dict[Node, float] = {}
        """When a node may be tried again, in monotonic seconds."""
        self._max = 0
        """How many servers the pool has had lately, and when it had so many."""
        self._max_at = float("-inf")
        self._rechecked: set[int] = set()
        """Numbers of those that were handed over and have not answered yet."""

    def by_name(self) -> Iterator[tuple[str, list[Backend]]]:
        """Iterate over the nodes' databases and the connections to each."""
        for node, backends in self._backends.items():
            yield self._name_of(node), backends

    def __iter__(self) -> Iterator[Backend]:
        """Iterate over the connections."""
        for backends in self._backends.values():
            yield from backends

    def hand_over(self, node: Node) -> list[Backend]:
        """Hand over what there is to a node; it is kept here no more.

        Each logs in or proves itself: the pool hears when it is ready for clients.
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
            self._pool.context.later(PROOF_S, partial(self._time_is_up, backends))
        return backends

    def _remove_node(self, node: Node) -> list[Backend]:
        backends = self._backends.pop(node, [])
        for _ in backends:
            self._pool.connection_limits.closed_on_standby(self._pool.key, node)
        return backends

    def _time_is_up(self, backends: list[Backend]) -> None:
        """Close those that do not answer, having read what has come meanwhile."""
        self._pool.context.later(0, partial(self._give_up, backends))

    def _give_up(self, backends: list[Backend]) -> None:
        for backend in backends:
            if backend.stored_state is ServerState.LOGIN:
                # It says nothing of the next one.
                backend.close(CloseReason.NODE_LOST)
            elif backend.number in self._rechecked:
                self._rechecked.discard(backend.number)
                backend.close(CloseReason.CHECK_FAILED)

    def set_nodes(self, nodes: Iterable[Node]) -> None:
        """Keep connections to these nodes and to no others."""
        wanted = dict.fromkeys(nodes)
        for node in [*self._backends]:
            if node not in wanted:
                for backend in self._remove_node(node):
                    backend.close(CloseReason.WRITER_MOVED)
        for node in wanted:
            self._backends.setdefault(node, [])
        self.refresh()

    def close_node(self, node: Node) -> None:
        """Close what there is to a node that does not answer; try later again."""
        if node not in self._backends:
            return
        for backend in [*self._backends[node]]:
            backend.close(CloseReason.NODE_LOST)
        pool = self._pool
        delay = pool.context.configuration.settings.server_failed_delay
        self._not_before[node] = pool.context.clock() + delay

    def close_at(self, node: Node, addresses: Container[str]) -> None:
        """Close connections to addresses that a node's name leads to no longer."""
        for backend in [*self._backends.get(node, ())]:
            if (
                backend.stored_state is ServerState.LOGIN
                or backend.address.host in addresses
            ):
                backend.close(CloseReason.WRITER_MOVED)

    def node_answers(self, node: Node) -> None:
        """Try a node at once: it answers again."""
        self._not_before.pop(node, None)
        self.refresh()

    def refresh(self) -> None:
        """Open what is missing, and close what has been too many for long."""
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
        """Check those that have been idle for long, close those that do not answer."""
        settings = self._pool.context.configuration.settings
        delay = min(max(settings.server_check_delay, REOPEN_S), CHECK_S)
        patience = settings.server_connect_timeout
        for backend in [*backends]:
            if backend.stored_state.runs_query:
                if now - backend.busy_since > settings.switchover_silence:
                    backend.close(CloseReason.CHECK_FAILED)
            elif backend.stored_state is ServerState.LOGIN:
                if patience and now - backend.connected_at > patience:
                    backend.close(CloseReason.CONNECT_TIMEOUT)
            elif now - backend.stream.ready_since > delay:
                self._check(backend)

    def _check(self, backend: Backend) -> None:
        """Have a connection answer, even if servers are not to be checked."""
        settings = self._pool.context.configuration.settings
        backend.run(check_query(settings), partial(self._checked, backend))

    def _checked(self, backend: Backend, error: dict[str, str] | None) -> None:
        is_taken = backend.number in self._rechecked
        self._rechecked.discard(backend.number)
        if error is not None:
            backend.close(CloseReason.CHECK_FAILED)
        elif is_taken:
            self._pool.logged_in(backend)
        else:
            backend.change_state(ServerEvent.KEPT)

    def _wanted(self, now: float) -> int:
        """Return how many are to be open to each node."""
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
        """Keep it as it is."""
        backend.change_state(ServerEvent.KEPT)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Do nothing: it is closed next, and tried again later."""

    def lost(self, backend: Backend, reason: CloseReason) -> None:
        """Forget it, and the node for a while if that is why."""
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
        """Do nothing: the connection has noted it, for when it is used."""

    def on_read_only(self, backend: Backend) -> None:
        """Do nothing: no client has it."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Do nothing: no client has it."""
