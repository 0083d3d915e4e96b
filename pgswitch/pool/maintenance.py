"""What time does to a pool: deadlines of clients, age and idleness of servers.

Called three times a second for each pool, as PgBouncer's full maintenance; so a
deadline is met within a third of a second.  Nothing here runs for each query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pgswitch.errors import (
    ClientLoginTimeoutServerDown,
    ClientQueued,
    QueryTimeoutWaiting,
    QueryWaitTimeout,
)
from pgswitch.net.backend import CRASHED, Backend, Phase
from pgswitch.pool.held_clients import asked_at
from pgswitch.pool.release import CHECK_FAILED
from pgswitch.pool.server_connector import CONNECT_TIMEOUT, PAUSED, RECONFIGURED
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.interceptor import QueryInterceptor
from pgswitch.wire.exchange import IDLE

if TYPE_CHECKING:
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.pool import ServerPool
    from pgswitch.wire.exchange import Exchange

INTERVAL_S = 1 / 3


def sweep(pool: ServerPool, now: float) -> None:
    """Enforce everything that is due in this pool; ``now`` in monotonic seconds."""
    if not pool.is_empty:
        pool.idle_since = now
    _waiting_clients(pool, now)
    _waiting_for_rules(pool, now)
    _logging_in(pool, now)
    for backend in pool.backends():
        if backend.phase is Phase.LOGIN:
            _connecting(pool, backend, now)
        elif backend.stream.exchange is not None:
            _linked(pool, backend, now)
        elif backend.phase is Phase.BUSY:
            _busy(pool, backend, now)
        else:
            _unlinked(pool, backend, now)
    _trim(pool)
    if pool.route is not None:
        pool.route.refresh()
    pool.cancels.go_on()
    pool.wait_watchdog.look(pool, now)
    if pool.idle_pool.waiters:
        pool.serve_waiters()
    else:
        pool.launch()


def _waiting_clients(pool: ServerPool, now: float) -> None:
    """End clients that waited too long; tell others that they wait."""
    settings = pool.context.configuration.settings
    for stream in [*pool.waiting(), *pool.held_clients.streams()]:
        client = cast("Frontend", stream.frontend)
        waited = now - asked_at(stream)
        if _is_too_long(pool, client.user, waited):
            client.disconnect(QueryWaitTimeout(detail=_last_failure(pool)))
        elif settings.query_timeout and waited > settings.query_timeout:
            client.disconnect(QueryTimeoutWaiting())
        elif 0 < settings.query_wait_notify < int(waited):
            client.notify_of_wait(stream.waiting_since, ClientQueued())


def _waiting_for_rules(pool: ServerPool, now: float) -> None:
    """End clients whose query waits to be judged, as if it waited for a server."""
    for client in list(pool.clients.values()):
        interceptor = client.stream.interceptor
        if (
            isinstance(interceptor, QueryInterceptor)
            and interceptor.waiting_since
            and _is_too_long(pool, client.user, now - interceptor.waiting_since)
        ):
            client.disconnect(QueryWaitTimeout())


def _logging_in(pool: ServerPool, now: float) -> None:
    """End logins, and questions of auth_query, that no server answered in time."""
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
    """Return why there is no server, for who has waited in vain; None if unknown."""
    route = pool.route
    if route is not None and route.no_writer_reason:
        return f"There is no writer: {route.no_writer_reason}."
    return f"The last login failed: {pool.failing}." if pool.failing else None


def _is_too_long(pool: ServerPool, user: str, waited: float) -> bool:
    """Tell whether a user has waited for a server for longer than is allowed."""
    limit = pool.context.effective.query_wait_timeout(pool.spec, user)
    return bool(limit) and waited > limit


def _connecting(pool: ServerPool, backend: Backend, now: float) -> None:
    if _is_slow(pool, backend, now):
        backend.close(CONNECT_TIMEOUT)


def _is_slow(pool: ServerPool, backend: Backend, now: float) -> bool:
    """Tell whether a server has taken too long to be of use."""
    limit = pool.context.configuration.settings.server_connect_timeout
    return bool(limit) and now - backend.connected_at > limit


def _linked(pool: ServerPool, backend: Backend, now: float) -> None:
    """End queries and transactions that take too long, with their server."""
    effective = pool.context.effective
    exchange = backend.stream.exchange
    if exchange is None:
        return
    is_free = exchange.clean and pool.context.configuration.settings.server_fast_close
    if backend.stream.close_needed and (is_free or backend.replication != "none"):
        backend.close(RECONFIGURED)
        return
    if backend.shutdown_notices:
        backend.close(CRASHED)  # It has said that it ends, and does not.
        return
    if backend.replication != "none":
        return  # A stream lasts, and is no query that hangs.
    _held_in_copy(backend, exchange)
    user = pool.key.user
    limit = effective.query_timeout(pool.spec, user)
    if limit and exchange.query_start and now - exchange.query_start > limit:
        backend.close("query timeout")
        return
    limit = effective.idle_transaction_timeout(pool.spec, user)
    if (
        limit
        and exchange.status != IDLE
        and not exchange.outstanding()
        and now - backend.stream.ready_since > limit
    ):
        backend.close("idle transaction timeout")
        return
    limit = effective.transaction_timeout(pool.spec, user)
    if (
        limit
        and not exchange.clean
        and exchange.transaction_start
        and now - exchange.transaction_start > limit
    ):
        backend.close("transaction timeout")


def _held_in_copy(backend: Backend, exchange: Exchange) -> None:
    """Let pass what waited in a COPY for its error: there is none, so it is one."""
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
        client.look_again(forced=True)


def _busy(pool: ServerPool, backend: Backend, now: float) -> None:
    """End a server that does not answer a query of ours: it may be hung."""
    if backend.is_fresh:
        # connect_query is the last part of its login.
        if _is_slow(pool, backend, now):
            pool.server_connections.login_attempts.lost(backend, CONNECT_TIMEOUT)
            backend.close(CONNECT_TIMEOUT)
        return
    settings = pool.context.configuration.settings
    limit = settings.query_timeout or settings.server_connect_timeout
    waited = now - max(backend.busy_since, backend.stream.ready_since)
    stream = pool.parameter_sync.client_of(backend)
    client = None if stream is None else cast("Frontend", stream.frontend)
    if client is not None and _is_too_long(pool, client.user, waited):
        client.disconnect(QueryWaitTimeout())
        backend.close(CHECK_FAILED)
    elif limit and waited > limit:
        backend.close(CHECK_FAILED)


def _unlinked(pool: ServerPool, backend: Backend, now: float) -> None:
    """Close what is too old, idle for too long or obsolete; mark what needs a check."""
    settings = pool.context.configuration.settings
    idle = now - backend.stream.ready_since
    if backend.stream.close_needed:
        backend.close(RECONFIGURED)
    elif pool.closes_free():
        backend.close(PAUSED)
    elif (
        settings.server_idle_timeout
        and idle > settings.server_idle_timeout
        and len(pool.servers) > pool.server_connections.min_pool_size
    ):
        backend.close("server idle timeout")
    elif _is_old(pool, backend, now):
        pool.last_lifetime_close = now
        backend.close("server lifetime over")
    elif (
        backend.phase is Phase.READY
        and settings.server_check_query
        and idle > settings.server_check_delay
        and backend.stream in pool.idle_pool.idle
    ):
        pool.idle_pool.idle.remove(backend.stream)
        backend.phase = Phase.USED


def _is_old(pool: ServerPool, backend: Backend, now: float) -> bool:
    """Tell whether a server's lifetime is over and its turn to close has come.

    One is closed for each lifetime/pool_size seconds, so that a pool that was opened
    at once is not closed at once.
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
    """Close what smaller sizes leave over: used servers first, then idle ones.

    Servers of the reserve are no surplus; they go when they have been idle long.
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
    spare = [one for one in pool.backends() if one.state == "used"]
    spare += [one for one in pool.backends() if one.state == "idle"]
    for backend in spare[:surplus]:
        backend.close("too many servers in the pool")
