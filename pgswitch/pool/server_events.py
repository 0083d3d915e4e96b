"""What a pool does at the ends of a server's life: its login, and its loss.

In between the rack passes it from client to client.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.backend import CRASHED, Backend, Phase
from pgswitch.pool.server_connector import (
    NO_FAILURES,
    NODE_LOST,
    WRITER_LOST,
    WRITER_MOVED,
)
from pgswitch.relay.client_stream import ClientStream
from pgswitch.wire.welcome import Welcome

if TYPE_CHECKING:
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.held_clients import HeldClients
    from pgswitch.pool.internal_queries import InternalQueries
    from pgswitch.pool.parameter_sync import ParameterSync
    from pgswitch.pool.release import ServerRelease
    from pgswitch.pool.server_connections import ServerConnections
    from pgswitch.pool.writer_route import Route
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.wire.server_auth import Failed, ServerRefused

SWITCHOVER_REASONS = (CRASHED, NODE_LOST, WRITER_LOST, WRITER_MOVED)
"""Reasons for which a cluster's server is lost through no fault of its client."""


class ServerEventsPool(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: ServiceContext
    spec: DatabaseSpec
    idle_pool: IdlePool
    server_connections: ServerConnections
    internal_queries: InternalQueries
    parameter_sync: ParameterSync
    release: ServerRelease
    route: Route | None
    held_clients: HeldClients
    welcome: Welcome | None
    login_waiters: list[Frontend]

    def resume_logins(self) -> None:
        """Go on with the logins that wait, if the welcome is known."""

    def launch(self) -> None:
        """Open servers for those who wait."""

    def serve_waiters(self) -> None:
        """Give servers to those who wait; open more."""


def logged_in(pool: ServerEventsPool, backend: Backend) -> None:
    """Take in a server that has logged in: connect_query, then the clients."""
    if pool.route is not None and pool.route.is_at_wrong_address(backend):
        backend.close(WRITER_MOVED)
        return
    pool.server_connections.login_attempts.succeeded()
    stream = backend.stream
    stream.server_source = pool.idle_pool
    stream.counters = pool.idle_pool.counters
    stream.tracks_loss = pool.route is not None
    stream.close_needed = backend.generation != pool.server_connections.generation
    stream.drop_release_check()
    if pool.spec.connect_query:
        backend.run(pool.spec.connect_query, partial(_prepared_for_use, pool, backend))
    else:
        _prepared_for_use(pool, backend, None)


def _prepared_for_use(
    pool: ServerEventsPool, backend: Backend, error: dict[str, str] | None
) -> None:
    if error is not None:
        pool.context.log.error(
            f"{backend.prefix} error while executing exec_on_query:"
            f" {error.get('S', 'ERROR')}: {error.get('M', '')}"
        )
    backend.is_fresh = False
    learn_welcome(pool, backend)
    pool.resume_logins()
    if backend.phase is not Phase.CLOSED:
        pool.release.free(backend)
        if pool.route is not None:
            pool.route.server_ready()


def learn_welcome(pool: ServerEventsPool, backend: Backend) -> None:
    """Have clients told from now on what this server has reported."""
    present, reported = pool.welcome, backend.parameters
    if backend.stream.close_needed:
        return
    if pool.route is not None:
        pool.route.welcome_learned()
        reported = {**pool.route.correct_parameters(reported)}
    if present is None or present.parameters != reported:
        tracking = pool.context.tracking
        pool.welcome = Welcome(reported, tracking, backend.connected_at)


def inherit_welcome(pool: ServerEventsPool, backend: Backend) -> None:
    """Do so if no other that another process had was connected to later."""
    present = pool.welcome
    is_later = present is None or backend.connected_at >= present.since
    if backend.parameters and is_later:
        learn_welcome(pool, backend)


def reported(pool: ServerEventsPool, name: str, value: str, backend: Backend) -> None:
    """Have clients told of a parameter that is so for all of them from now on."""
    welcome = pool.welcome
    if welcome is None or backend.is_fresh or backend.stream.close_needed:
        return
    if pool.route is not None:
        value = pool.route.correct_parameters({name: value})[name]
    for other in pool.server_connections:
        # They say so with their next answers, which may be long after a takeover.
        if other.host == backend.host and other.phase is not Phase.LOGIN:
            other.parameters[name] = value
    if welcome.parameters.get(name) != value:
        pool.welcome = welcome.changed(name, value)


def login_refused(
    pool: ServerEventsPool, backend: Backend, refusal: ServerRefused | Failed
) -> None:
    """Note why a login failed; tell those who wait unless others still serve.

    Those of a cluster may be served by another node, or by this one later.
    """
    login_attempts, route = pool.server_connections.login_attempts, pool.route
    fault = login_attempts.refused(backend, refusal)
    if (
        route is not None
        and login_attempts.refusal
        and route.login_refused(login_attempts.sqlstate)
    ):
        return
    if fault is None or (
        pool.welcome is not None and pool.server_connections.has_login()
    ):
        return
    for client in [*pool.login_waiters]:
        client.disconnect(fault)
    for stream in [*pool.idle_pool.waiters]:
        stream.frontend.disconnect(fault)
    pool.internal_queries.fail(fault)


def lost(pool: ServerEventsPool, backend: Backend, reason: str) -> None:
    """Let go of a server, and of the client that was using it."""
    pool.server_connections.remove(backend, reason)
    route = pool.route
    if route is not None and reason not in NO_FAILURES:
        route.suspect()
    if backend.phase_at_close is Phase.LOGIN:
        pool.server_connections.login_attempts.lost(backend, reason)
        pool.launch()
        return
    is_move = route is not None and reason in SWITCHOVER_REASONS
    pool.internal_queries.lost(backend, may_ask_again=is_move)
    stream = backend.stream
    # Whoever brings it back after this has it looked at.
    stream.needs_release_check = True
    parameter_sync = pool.parameter_sync.lost(backend)
    client = stream.peer or parameter_sync
    if stream in pool.idle_pool.idle:
        pool.idle_pool.idle.remove(stream)
    half_sent = stream.skip != 0
    if isinstance(client, ClientStream):
        pool.idle_pool.unlink(client, stream)
        if route is not None and reason in SWITCHOVER_REASONS:
            if client is parameter_sync:
                # Its parameters were being set: it had asked nothing yet.
                pool.held_clients.requeue(client)
            else:
                pool.held_clients.lost(client, backend, reason)
        else:
            client.frontend.disconnect(backend.loss_fault(), quietly=half_sent)
    stream.statements.clear()
    pool.launch()
