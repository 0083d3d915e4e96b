"""A replication client and the server connection that is its own.

A walsender is of no use to other clients, so it is never pooled: it is opened for one
client (manual, "Streaming Replication Protocol") and closed with it.  To the client's
stream it is an idle pool of one server in session pooling; to the pool it is one more
server, which counts against pool_size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.errors import (
    Fault,
    ServerClosed,
    ServerLoginRefused,
)
from pgswitch.net.connection_states import CloseReason, ServerState
from pgswitch.pool.server_connections import INTERVENTION, NO_RESOURCES
from pgswitch.relay.idle_pool import IdlePool
from pgswitch.types import SESSION_POOLING
from pgswitch.wire.params import Welcome
from pgswitch.wire.server_auth import Failed, ServerRefused
from pgswitch.wire.startup import Replication

if TYPE_CHECKING:
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.route import Route
    from pgswitch.pool.server_connections import ServerConnections
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.server_stream import ServerStream

TRANSIENT = (NO_RESOURCES, INTERVENTION)
"""Classes of SQLSTATEs with which a node refuses logins for a short time only."""
_STARTUP_WORDS = {Replication.LOGICAL: "database", Replication.PHYSICAL: "true"}


class ReplicationPool(Protocol):
    """What a session needs of its pool; see pool/pool.py."""

    context: ServiceContext
    welcome: Welcome | None
    idle_pool: IdlePool
    server_connections: ServerConnections
    route: Route | None

    def is_blocked(self) -> bool:
        """Tell whether no client may get a server now."""


class _NullPolicy:
    """The policy of the idle pool of a client that has left: does nothing."""

    def wait(self, client: ClientStream) -> None:
        """Do nothing."""

    def sync_parameters(self, client: ClientStream, server: ServerStream) -> bool:
        """Set nothing."""
        del client, server
        return False

    def discard(self, server: ServerStream) -> None:
        """Do nothing: it is closed."""

    released = discard


_NULL_POLICY = _NullPolicy()


class ReplicationSession:
    """Policy of one replication client's idle pool, and owner of its server."""

    def __init__(self, pool: ReplicationPool, client: Frontend) -> None:
        """Begin without a server."""
        self.idle_pool = IdlePool(self, pool.context.clock)
        self.idle_pool.mode = SESSION_POOLING
        self.idle_pool.counters = pool.idle_pool.counters
        self._pool = pool
        self.client = client
        self._backend: Backend | None = None

    def begin(self) -> Welcome | None:
        """Return what to report to the client; None: it waits for our server.

        A server is opened for the welcome only if the pool has none: the database that
        a physical client names need not exist.
        """
        if self._pool.welcome is not None:
            return self._pool.welcome
        self.client.begin_login_wait()
        self.open()
        return None

    def end(self) -> None:
        """Close the server: the client has left."""
        if self._backend is not None:
            is_free = self.client.stream.exchange.clean
            self._backend.close(
                CloseReason.REPLICATION_CLOSED
                if is_free
                else CloseReason.REPLICATION_LEFT
            )
        # Break the reference cycle.
        self.idle_pool.policy = _NULL_POLICY

    def open(self) -> None:
        """Open the server if it is wanted and there is room for it."""
        client, pool = self.client, self._pool
        is_wanted = bool(self.idle_pool.waiters) or not client.logged_in
        if not is_wanted or self._backend is not None or pool.is_blocked():
            return
        if not pool.server_connections.evict_if_full():
            return
        facts = client.facts
        assert facts is not None  # noqa: S101 - the client has logged in
        parameters = {"replication": _STARTUP_WORDS[facts.replication]}
        if facts.options is not None:
            parameters["options"] = facts.options
        self._backend = pool.server_connections.open_for(
            self, parameters | facts.tracked
        )
        self._backend.replication = facts.replication.value

    def create(self) -> Backend:
        """Return a backend for a connection that another process has opened."""
        backend = self._backend = self._pool.server_connections.create(self)
        assert self.client.facts is not None  # noqa: S101 - the client has logged in
        backend.replication = self.client.facts.replication.value
        return backend

    # The policy of the idle pool.

    def wait(self, client: ClientStream) -> None:
        """Queue the client for its server, which is opened now."""
        shutdown_fault = self._pool.context.shutdown_fault
        if shutdown_fault is not None:
            self.client.disconnect(shutdown_fault())
            return
        client.suspend()
        client.waiting_since = self._pool.context.clock()
        self.idle_pool.waiters.append(client)
        self.open()

    def sync_parameters(self, client: ClientStream, server: ServerStream) -> bool:
        """Set nothing: the startup packet has all, and a walsender knows no SET."""
        del client, server
        return False

    def discard(self, server: ServerStream) -> None:
        """Close the server."""
        cast("Backend", server.backend).close(CloseReason.REPLICATION_LEFT)

    released = discard

    # The owner of the server.

    def logged_in(self, backend: Backend) -> None:
        """Welcome the client if it waits for that, and link the two."""
        stream = self.client.stream
        backend.stream.server_source = self.idle_pool
        backend.stream.counters = self.idle_pool.counters
        backend.is_fresh = False
        if not self.client.logged_in:
            self.client.resume_login(
                Welcome(backend.parameters, self._pool.context.tracking)
            )
        if self.idle_pool.waiters:
            self.idle_pool.reuse(backend.stream)
        elif not stream.lost:
            self.idle_pool.link(stream, backend.stream)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Disconnect the client, unless its cluster may serve it soon."""
        log = self._pool.context.log
        fault: Fault
        if isinstance(refusal, ServerRefused):
            log.warning(f"server login failed: {refusal.severity} {refusal.message}")
            if self._pool.route is not None and refusal.sqlstate[:2] in TRANSIENT:
                return
            fault = ServerLoginRefused(
                message=refusal.message, sqlstate=refusal.sqlstate
            )
        else:
            log.error(f"{backend.prefix} {refusal.reason}")
            fault = refusal.client_fault or ServerClosed(reason=refusal.reason)
        self.client.disconnect(fault)

    def lost(self, backend: Backend, reason: CloseReason) -> None:
        """Disconnect the client, unless only a login was lost that is tried again."""
        self._backend = None
        pool = self._pool
        pool.server_connections.remove(backend)
        if pool.route is not None and reason.is_failure:
            pool.route.suspect()
        if backend.state_at_close is ServerState.LOGIN:
            if reason.is_failure and pool.route is None:
                self.client.disconnect(ServerClosed(reason=backend.close_text))
            return
        stream = backend.stream
        if stream.peer is not None:
            self.idle_pool.unlink(self.client.stream, stream)
        self.client.disconnect(backend.loss_fault(), quietly=stream.skip != 0)

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Do nothing: the client gets it from its own server."""

    def on_read_only(self, backend: Backend) -> None:
        """Do nothing: a replication stream writes nothing."""

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Do nothing: in session pooling every transaction is allowed."""
