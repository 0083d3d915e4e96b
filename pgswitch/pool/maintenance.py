"""What time does to pools: deadlines of clients, age and idleness of servers.

Runs three times a second for each pool, as PgBouncer's full maintenance does, so a
deadline is met within a third of a second.  Nothing here runs for each query.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from pgswitch.errors import (
    ClientIdleTimeout,
    ClientLoginTimeoutServerDown,
    ClientQueued,
    QueryTimeoutWaiting,
    QueryWaitTimeout,
)
from pgswitch.net.connection_states import (
    IDLE_STATES,
    CloseReason,
    ServerEvent,
    ServerState,
)
from pgswitch.pool.failover import query_received_at
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.interceptor import QueryInterceptor
from pgswitch.wire.constants import STATUS_IDLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools
    from pgswitch.wire.exchange import Exchange


INTERVAL_S = 1 / 3
"""Seconds between two runs."""


def sweep(pool: ServerPool, now: float) -> None:
    """Enforce all limits of a pool; ``now`` in monotonic seconds."""
    if not pool.is_empty:
        pool.idle_since = now
    _waiting_clients(pool, now)
    _waiting_for_rules(pool, now)
    _logging_in(pool, now)
    for backend in pool.backends():
        if backend.stored_state is ServerState.LOGIN:
            _connecting(pool, backend, now)
        elif backend.stream.exchange is not None:
            _linked(pool, backend, now)
        elif backend.stored_state.runs_query:
            _busy(pool, backend, now)
        else:
            _unlinked(pool, backend, now)
    _trim(pool)
    if pool.route is not None:
        pool.route.refresh()
    pool.cancels.start_next()
    pool.wait_watchdog.look(pool, now)
    if pool.idle_pool.waiters:
        pool.serve_waiters()
    else:
        pool.launch()


def _waiting_clients(pool: ServerPool, now: float) -> None:
    """Disconnect clients that have waited too long; send others a notice."""
    settings = pool.context.configuration.settings
    for stream in [*pool.waiting(), *pool.held_clients.streams()]:
        client = cast("Frontend", stream.frontend)
        waited = now - query_received_at(stream)
        if _is_too_long(pool, client.user, waited):
            client.disconnect(QueryWaitTimeout(detail=_last_failure(pool)))
        elif settings.query_timeout and waited > settings.query_timeout:
            client.disconnect(QueryTimeoutWaiting())
        elif 0 < settings.query_wait_notify < int(waited):
            client.notify_of_wait(stream.waiting_since, ClientQueued())


def _waiting_for_rules(pool: ServerPool, now: float) -> None:
    """Disconnect clients whose query waits too long for a rule."""
    for client in list(pool.clients.values()):
        interceptor = client.stream.interceptor
        if (
            isinstance(interceptor, QueryInterceptor)
            and interceptor.waiting_since
            and _is_too_long(pool, client.user, now - interceptor.waiting_since)
        ):
            client.disconnect(QueryWaitTimeout())


def _logging_in(pool: ServerPool, now: float) -> None:
    """End logins and internal queries that no server has answered in time."""
    for internal_query in pool.internal_queries.waiting():
        if _is_too_long(pool, internal_query.user, now - internal_query.waiting_since):
            internal_query.fail(QueryWaitTimeout(detail=_last_failure(pool)))
    limit = pool.context.configuration.settings.client_login_timeout
    for client in pool.waiting_logins():
        if _is_too_long(pool, client.user, now - client.waiting_since):
            client.disconnect(QueryWaitTimeout(detail=_last_failure(pool)))
        elif limit and now - client.connected_at > limit:
            client.disconnect(ClientLoginTimeoutServerDown(detail=_last_failure(pool)))


def _last_failure(pool: ServerPool) -> str | None:
    """Return why there is no server, for a client that times out; None if unknown."""
    route = pool.route
    if route is not None and route.no_writer_reason:
        return f"There is no writer: {route.no_writer_reason}."
    return f"The last login failed: {pool.failing}." if pool.failing else None


def _is_too_long(pool: ServerPool, user: str, waited: float) -> bool:
    """Tell whether ``waited`` exceeds a user's query_wait_timeout."""
    limit = pool.context.effective.query_wait_timeout(pool.spec, user)
    return bool(limit) and waited > limit


def _connecting(pool: ServerPool, backend: Backend, now: float) -> None:
    if _is_slow(pool, backend, now):
        backend.close(CloseReason.CONNECT_TIMEOUT)


def _is_slow(pool: ServerPool, backend: Backend, now: float) -> bool:
    """Tell whether a login exceeds server_connect_timeout."""
    limit = pool.context.configuration.settings.server_connect_timeout
    return bool(limit) and now - backend.connected_at > limit


def _linked(pool: ServerPool, backend: Backend, now: float) -> None:
    """Close servers whose query or transaction takes too long."""
    effective = pool.context.effective
    exchange = backend.stream.exchange
    if exchange is None:
        return
    is_free = exchange.clean and pool.context.configuration.settings.server_fast_close
    if backend.stream.close_needed and (is_free or backend.replication != "none"):
        backend.close(CloseReason.RECONFIGURED)
        return
    if backend.shutdown_notices:
        backend.close(
            CloseReason.CRASHED
        )  # It has announced its end and does not close.
        return
    if backend.replication != "none":
        return  # A replication stream has no end, and is no query that hangs.
    _release_copy(backend, exchange)
    user = pool.key.user
    limit = effective.query_timeout(pool.spec, user)
    if limit and exchange.query_start and now - exchange.query_start > limit:
        backend.close(CloseReason.QUERY_TIMEOUT)
        return
    limit = effective.idle_transaction_timeout(pool.spec, user)
    if (
        limit
        and exchange.status != STATUS_IDLE
        and not exchange.outstanding()
        and now - backend.stream.ready_since > limit
    ):
        backend.close(CloseReason.IDLE_TRANSACTION_TIMEOUT)
        return
    limit = effective.transaction_timeout(pool.spec, user)
    if (
        limit
        and not exchange.clean
        and exchange.transaction_start
        and now - exchange.transaction_start > limit
    ):
        backend.close(CloseReason.TRANSACTION_TIMEOUT)


def _release_copy(backend: Backend, exchange: Exchange) -> None:
    """Send what waited for the error of a COPY: none has come, so the COPY runs."""
    if not exchange.copying or exchange.copy_end_sent():
        return
    client = backend.stream.peer
    if not isinstance(client, ClientStream):
        return
    is_gated = client.interceptor is not None and client.interceptor.awaits_answers()
    if not exchange.awaited and not is_gated:
        return
    exchange.held_for += 1
    if exchange.held_for > 1:
        backend.stream.close_needed = backend.stream.needs_release_check = True
        client.retry_held(forced=True)


def _busy(pool: ServerPool, backend: Backend, now: float) -> None:
    """Close a server that does not answer our own query: it may hang."""
    if backend.is_fresh:
        # connect_query is the last part of its login.
        if _is_slow(pool, backend, now):
            pool.server_connections.login_attempts.lost(
                backend, CloseReason.CONNECT_TIMEOUT
            )
            backend.close(CloseReason.CONNECT_TIMEOUT)
        return
    settings = pool.context.configuration.settings
    limit = settings.query_timeout or settings.server_connect_timeout
    waited = now - max(backend.busy_since, backend.stream.ready_since)
    stream = pool.parameter_sync.client_of(backend)
    client = None if stream is None else cast("Frontend", stream.frontend)
    if client is not None and _is_too_long(pool, client.user, waited):
        client.disconnect(QueryWaitTimeout())
        backend.close(CloseReason.CHECK_FAILED)
    elif limit and waited > limit:
        backend.close(CloseReason.CHECK_FAILED)


def _unlinked(pool: ServerPool, backend: Backend, now: float) -> None:
    """Close servers that are old, unused or obsolete; mark those to be checked."""
    settings = pool.context.configuration.settings
    idle = now - backend.stream.ready_since
    if backend.stream.close_needed:
        backend.close(CloseReason.RECONFIGURED)
    elif pool.closes_idle():
        backend.close(CloseReason.PAUSED)
    elif (
        settings.server_idle_timeout
        and idle > settings.server_idle_timeout
        and len(pool.servers) > pool.server_connections.min_pool_size
    ):
        backend.close(CloseReason.IDLE_TIMEOUT)
    elif _is_old(pool, backend, now):
        pool.last_lifetime_close = now
        backend.close(CloseReason.LIFETIME_OVER)
    elif (
        backend.stored_state is ServerState.IDLE
        and settings.server_check_query
        and idle > settings.server_check_delay
        and backend.stream in pool.idle_pool.idle
    ):
        pool.idle_pool.idle.remove(backend.stream)
        backend.change_state(ServerEvent.CHECK_DUE)


def _is_old(pool: ServerPool, backend: Backend, now: float) -> bool:
    """Tell whether a server's lifetime is over, and it is its turn to be closed.

    One is closed every lifetime/pool_size seconds, so that servers that were opened
    together are not closed together.
    """
    lifetime = pool.context.effective.server_lifetime(pool.spec, pool.key.user)
    if now - backend.connected_at < lifetime:
        return False
    if not pool.server_connections.pool_size:
        return True
    return (
        now - pool.last_lifetime_close >= lifetime / pool.server_connections.pool_size
    )


def _trim(pool: ServerPool) -> None:
    """Close servers beyond reduced sizes: used ones first, then idle ones.

    Servers of the reserve are no surplus; server_idle_timeout closes them.
    """
    if not pool.server_connections.pool_size:
        return
    server_connections = pool.server_connections
    surplus = (
        len(server_connections)
        - server_connections.pool_size
        - server_connections.reserve_size
    )
    if surplus <= 0:
        return
    unused = [one for one in pool.backends() if one.state is ServerState.USED]
    unused += [one for one in pool.backends() if one.state is ServerState.IDLE]
    for backend in unused[:surplus]:
        backend.close(CloseReason.TOO_MANY)


POOLS_PER_STEP: Final = 100
"""Pools in one iteration of the event loop: 3 to 6 ms."""


class Janitor:
    """The timer of all pools and clients; no error of one pool stops it."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        after_pools: Callable[[float], None],
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """``after_pools`` is called with the time when all pools are done."""
        self._context = context
        self._pools = pools
        self._after_pools = after_pools
        self._reactor = reactor
        self._loop = LoopingCall(self.turn)
        self._loop.clock = reactor
        self._remaining: deque[ServerPool] = deque()
        """The pools that this run has not reached yet."""
        self._next_step: Any = None
        """The delayed call for the next step (Any: mypyc has no zope types)."""

    def start(self) -> None:
        """Start; the first run comes after one interval."""
        self._loop.start(INTERVAL_S, now=False)

    def stop(self) -> None:
        """Stop."""
        if self._loop.running:
            self._loop.stop()
        if self._next_step is not None:
            self._next_step.cancel()
            self._next_step = None

    def turn(self) -> Deferred[None] | None:
        """Start one run; None while everything is suspended.

        A run over thousands of pools takes several iterations of the event loop; the
        Deferred fires, for the timer, when all are done.
        """
        if self._context.suspended:
            return None
        self._pools.connection_limits.retry_evictions()
        self._remaining = deque(self._pools)
        done: Deferred[None] = Deferred()
        self._step(done)
        return done

    def _step(self, done: Deferred[None]) -> None:
        """Do the next pools, and after the last one everything else."""
        self._next_step = None
        now = self._context.clock()
        for _ in range(POOLS_PER_STEP):
            if not self._remaining or self._context.suspended:
                break
            pool = self._remaining.popleft()
            if self._pools.has(pool):
                self._maintain(pool, now)
        if self._remaining and not self._context.suspended:
            self._next_step = self._reactor.callLater(0, self._step, done)
            return
        if not self._remaining:
            try:
                self._pools.drop_idle(now)
                self._after_pools(now)
            except Exception as error:  # noqa: BLE001 - see below
                self._context.log.error(f"upkeep failed: {error!r}")
        done.callback(None)

    def _maintain(self, pool: ServerPool, now: float) -> None:
        # A LoopingCall ends with the first exception: one pool must not end the
        # maintenance of all others.
        try:
            sweep(pool, now)
            self._silent_clients(pool, now)
        except Exception as error:  # noqa: BLE001 - see above
            self._context.log.error(f"upkeep of {pool.key} failed: {error!r}")

    def _silent_clients(self, pool: ServerPool, now: float) -> None:
        """Disconnect idle clients by client_idle_timeout."""
        effective = self._context.effective
        if not effective.has_silence_limit:
            return
        for client in list(pool.clients.values()):
            limit = effective.client_idle_timeout(pool.spec, client.user)
            if (
                limit
                and client.state in IDLE_STATES
                and now - max(client.stream.last_request, client.welcomed_at) > limit
            ):
                client.disconnect(ClientIdleTimeout())
