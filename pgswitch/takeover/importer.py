"""Restores the connections of another process around its sockets.

It runs before the reactor, with everything suspended: it builds servers and clients
around their sockets and links them as they were.  Nothing reads before the old process
has ended.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from pgswitch.errors import ServerConnCrashed
from pgswitch.net.frontend import Frontend
from pgswitch.net.listen import UnixTransport
from pgswitch.net.sockets import unix_port
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.pool.modes import apply_mode_to_server, update_statements
from pgswitch.pool.pool import move_client
from pgswitch.relay.stream import PAUSED_SUSPENDED
from pgswitch.takeover.serialize import (
    Packed,
    moment,
    raw,
    unpack_client,
    unpack_cluster,
    unpack_counts,
    unpack_server,
)
from pgswitch.types import SESSION_POOLING, Address
from pgswitch.wire.startup import Replication, StartupFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgswitch.admin.statistics import Statistics
    from pgswitch.auth.credentials import ServerCredentials
    from pgswitch.auth.login_service import LoginService
    from pgswitch.auth.session_setup import SessionRules
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.relay.server_stream import ServerStream
    from pgswitch.takeover.predecessor import InheritedSocket
    from pgswitch.wire.params import Values

LISTENING, SERVER, CLIENT = "pooler", "server", "client"


class TakeoverImporter:
    """Imports inherited connections into a service that does not serve yet."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        *,
        credentials: ServerCredentials,
        rules: SessionRules,
        clusters: Clusters,
        statistics: Statistics,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """Take the parts of the service to import into."""
        self._clusters = clusters
        self._statistics = statistics
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._credentials = credentials
        self._rules = rules
        self._reactor = reactor
        self._servers: dict[int, ServerStream] = {}
        """By descriptor in the old process."""
        self._walsenders: dict[int, InheritedSocket] = {}
        """By descriptor in the old process; each is created along with its client."""

    def take(self, inherited: Iterable[InheritedSocket]) -> None:
        """Import servers and clients; close those whose database no longer exists."""
        by_task: dict[str, list[InheritedSocket]] = {
            LISTENING: [],
            SERVER: [],
            CLIENT: [],
        }
        for one in inherited:
            by_task[one.task].append(one)
        for one in by_task[LISTENING]:
            self._take_service(one.state)
        for one in by_task[SERVER]:
            self._take_server(one)
        for one in by_task[CLIENT]:
            self._take_client(one)

    def _take_service(self, state: Packed) -> None:
        self._pools.disabled.update(state.get("disabled", []))
        self._credentials.unpack(state.get("learned", []))
        clusters = state.get("clusters", {})
        now = self._context.clock()
        self._clusters.inherit(
            {key: unpack_cluster(one, now) for key, one in clusters.items()}
        )
        if state:
            unpack_counts(state, self._context, self._pools, self._statistics)

    def _take_server(self, one: InheritedSocket) -> None:
        spec = self._spec(one)
        if spec is None:
            socket.close(one.fd)
            return
        if one.state.get("replication", "none") != "none":
            self._walsenders[one.old_fd] = one
            return
        pool = self._pools.pool_of(spec, one.user)
        backend = pool.server_connections.create()
        self._go_on_with(backend, one)
        pool.inherit_server(backend, is_idle=not one.link)
        self._servers[one.old_fd] = backend.stream

    def _go_on_with(self, backend: Backend, one: InheritedSocket) -> None:
        """Restore a server from its socket and state."""
        now = self._context.clock()
        state = one.state
        backend.inherit(
            self._transport(one, backend),
            reported=state.get("reported", {}),
            parameters=self._values(one),
            cancel_key=raw(state["key"]) if "key" in state else one.cancel_key,
        )
        backend.host = state.get("host", backend.host)
        backend.connected_at = moment(state.get("age"), now) or now
        backend.connected_time = state.get("connected", backend.connected_time)
        stream = backend.stream
        unpack_server(stream, state, self._context.statements, now)
        stream.pause(PAUSED_SUSPENDED)

    def _take_client(self, one: InheritedSocket) -> None:
        spec = self._spec(one)
        if one.is_untouched:
            untouched = Frontend(self._login_service, self._address(one))
            untouched.makeConnection(self._transport(one, untouched))
            untouched.stream.pause(PAUSED_SUSPENDED)
        elif spec is None:
            socket.close(one.fd)
        else:
            self._take_session(one, spec)

    def _take_session(self, one: InheritedSocket, spec: DatabaseSpec) -> None:
        """Import a client that had logged in."""
        now = self._context.clock()
        state = one.state
        frontend = Frontend(self._login_service, self._address(one))
        frontend.adopt_session(
            self._transport(one, frontend), _facts(one), one.cancel_key
        )
        frontend.connected_at = moment(state.get("age"), now) or now
        frontend.connected_time = state.get("connected", frontend.connected_time)
        stream = frontend.stream
        stream.pause(PAUSED_SUSPENDED)
        self._login_service.readmit(frontend, spec, self._values(one))
        if "startup" in state:
            stream.startup_parameters = self._collected(state["startup"])
        self._to_its_pool(frontend, state)
        if state.get("statements") is not None:
            # Its servers were shared, so we track its prepared statements.
            update_statements(frontend, lambda _database: True)
        unpack_client(stream, state, self._context.statements, now)
        losses = state.get("lost")
        if losses:
            frontend.requeued = stream.exchange.query_start
            frontend.requeued_since = moment(losses["since"], now)
            frontend.reruns = losses["reruns"]
        idle_pool = frontend.pool.idle_pool_of(frontend)
        walsender = self._walsenders.pop(one.link, None)
        if walsender is not None:
            backend = frontend.pool.expect_walsender(frontend)
            self._go_on_with(backend, walsender)
            self._servers[one.link] = backend.stream
        server = self._servers.get(one.link)
        if server is not None:
            if not state:
                # PgBouncer does not say what the client is doing: wait for an answer.
                stream.exchange.clean = False
            idle_pool.link(stream, server)
            server.unnamed_is_clients = state.get("owned", False)
            self._take_mode(frontend, server, state)
        elif one.link:
            # Its server stayed with the old process, with everything in progress.
            frontend.disconnect(ServerConnCrashed())
            return
        elif stream.waiting_since:
            stream.suspend()
            idle_pool.waiters.append(stream)
        self._take_rules(frontend, raw(state.get("kept", "")))

    def _take_rules(self, frontend: Frontend, kept: bytes) -> None:
        """Attach rules, which have seen ``stream.held`` but not ``kept``."""
        stream = frontend.stream
        seen, stream.held[:] = stream.held[:], []
        self._rules.attach(frontend)
        stream.held[:] = seen
        if not kept:
            return
        if stream.interceptor is not None:
            stream.interceptor.restore_queued(kept)
        elif stream.suspended:
            stream.held.append(kept)
        else:
            self._reactor.callLater(0, stream.take, kept)

    def _take_mode(
        self, frontend: Frontend, server: ServerStream, state: Packed
    ) -> None:
        """Release the server that a client had to itself, if servers are now shared.

        Under the old process's pool mode the client kept the server while idle.
        """
        stream, pool = frontend.stream, frontend.pool
        is_new = stream.statements is not None and state.get("statements") is None
        if state and not frontend.replicates and (stream.exchange.clean or is_new):
            server.mode = SESSION_POOLING
            apply_mode_to_server(pool, stream, server)

    def _to_its_pool(self, frontend: Frontend, state: Packed) -> None:
        """Move a client to the pool to which a rule had moved it."""
        database, user = state.get("pool", frontend.pool.key)
        spec = self._pools.spec(database)
        if spec is not None and (database, user) != frontend.pool.key:
            move_client(frontend, self._pools.pool_of(spec, user))

    def _spec(self, one: InheritedSocket) -> DatabaseSpec | None:
        return self._pools.spec(one.database)

    def _values(self, one: InheritedSocket) -> Values:
        return self._collected(one.state.get("parameters", one.parameters))

    def _collected(self, parameters: Mapping[str, str | None]) -> Values:
        return self._context.tracking.collect(
            {name: value for name, value in parameters.items() if value is not None}
        )

    def _transport(self, one: InheritedSocket, protocol: Frontend | Backend) -> object:
        """Return the transport of a protocol on its socket."""
        sock = socket.socket(fileno=one.fd)
        sock.setblocking(False)  # noqa: FBT003 - its only argument
        sock.set_inheritable(False)
        # The old process may have raised SO_RCVLOWAT to batch reads.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        there, number, reactor = _peer(sock), protocol.number, self._reactor
        if sock.family == socket.AF_UNIX:
            kind: Any = UnixTransport
            made: object = kind(sock, protocol, there, None, number, reactor)
            return made
        return TcpTransport(sock.detach(), protocol, there, None, number, reactor)

    def _address(self, one: InheritedSocket) -> Address:
        """Return a client's address."""
        with socket.socket(fileno=os.dup(one.fd)) as sock:
            if sock.family == socket.AF_UNIX:
                return Address("unix", unix_port(sock.getsockname()))
            return Address(*_peer(sock)[:2])


def _facts(one: InheritedSocket) -> StartupFacts:
    """Return the facts of a client's startup packet that still matter."""
    given = one.state.get("replication")
    if given is None:
        return StartupFacts(one.user, one.database)
    kind = Replication(given["kind"])
    return StartupFacts(
        one.user, one.database, kind, given["options"], given["tracked"]
    )


def _peer(sock: socket.socket) -> Any:  # noqa: ANN401 - as the family has it
    """Return the address of the peer."""
    try:
        return sock.getpeername()
    except OSError:
        # It has just disconnected; reading will notice.
        return ("", 0) if sock.family != socket.AF_UNIX else ""
