"""Goes on with the sockets of another process.

Called before the reactor runs, with everything suspended: listening sockets are
adopted, servers and clients built around theirs and joined as they were, and only when
the old process has gone does anything read.
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
from pgswitch.pool.modes import equip, follow
from pgswitch.pool.moving import move
from pgswitch.relay.server_stream import SESSION
from pgswitch.relay.stream import PAUSED_SUSPENDED
from pgswitch.takeover.counts import unpack_counts
from pgswitch.takeover.serialize import (
    Packed,
    moment,
    raw,
    unpack_client,
    unpack_cluster,
    unpack_server,
)
from pgswitch.types import Address
from pgswitch.wire.startup import Replication, StartupFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    from pgswitch.views.statistics import StatisticsView
    from pgswitch.wire.params import Values

LISTENING, SERVER, CLIENT = "pooler", "server", "client"


class TakeoverImporter:
    """Puts inherited connections into a service that serves nobody yet."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        *,
        credentials: ServerCredentials,
        rules: SessionRules,
        clusters: Clusters,
        statistics: StatisticsView,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """Take the parts that connections belong to."""
        self._clusters = clusters
        self._statistics = statistics
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._credentials = credentials
        self._rules = rules
        self._reactor = reactor
        self._servers: dict[int, ServerStream] = {}
        """By their descriptors in the old process."""
        self._walsenders: dict[int, InheritedSocket] = {}
        """The same; each is made when its client is, which it belongs to."""

    def take(self, inherited: Iterable[InheritedSocket]) -> None:
        """Take servers and clients; those whose database is gone are closed."""
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
        self._clusters.go_on_with(
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
        pool.take_back(backend, is_idle=not one.link)
        self._servers[one.old_fd] = backend.stream

    def _go_on_with(self, backend: Backend, one: InheritedSocket) -> None:
        """Make a server of ours of what was handed over."""
        now = self._context.clock()
        state = one.state
        backend.go_on_with(
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
        """Take a client that had logged in."""
        now = self._context.clock()
        state = one.state
        frontend = Frontend(self._login_service, self._address(one))
        frontend.go_on_with(self._transport(one, frontend), _facts(one), one.cancel_key)
        frontend.connected_at = moment(state.get("age"), now) or now
        frontend.connected_time = state.get("connected", frontend.connected_time)
        stream = frontend.stream
        stream.pause(PAUSED_SUSPENDED)
        self._login_service.readmit(frontend, spec, self._values(one))
        if "startup" in state:
            stream.startup_parameters = self._collected(state["startup"])
        self._to_its_pool(frontend, state)
        if state.get("statements") is not None:
            # Its servers were shared; what it has prepared it keeps.
            equip(frontend, lambda _database: True)
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
                # What the client is doing was not said; the next answer will show.
                stream.exchange.clean = False
            idle_pool.join(stream, server)
            server.owned = state.get("owned", False)
            self._take_mode(frontend, server, state)
        elif one.link:
            # Its server stayed behind, and whatever it was doing there.
            frontend.disconnect(ServerConnCrashed())
            return
        elif stream.waiting_since:
            stream.suspend()
            idle_pool.waiters.append(stream)
        self._take_rules(frontend, raw(state.get("kept", "")))

    def _take_rules(self, frontend: Frontend, kept: bytes) -> None:
        """Have a client judged again, but not what has been; ``kept`` has not been."""
        stream = frontend.stream
        judged, stream.held[:] = stream.held[:], []
        self._rules.attach(frontend)
        stream.held[:] = judged
        if not kept:
            return
        if stream.interceptor is not None:
            stream.interceptor.keep(kept)
        elif stream.suspended:
            stream.held.append(kept)
        else:
            self._reactor.callLater(0, stream.take, kept)

    def _take_mode(
        self, frontend: Frontend, server: ServerStream, state: Packed
    ) -> None:
        """Part a client and the server it had to itself, if servers are shared now.

        Else it would have no server while nothing is under way, nor be without
        statements that are kept for it.
        """
        stream, pool = frontend.stream, frontend.pool
        is_new = stream.statements is not None and state.get("statements") is None
        if state and not frontend.replicates and (stream.exchange.clean or is_new):
            server.mode = SESSION
            follow(pool, stream, server)

    def _to_its_pool(self, frontend: Frontend, state: Packed) -> None:
        """Bring a client to the pool that a rule had moved it to."""
        database, user = state.get("pool", frontend.pool.key)
        spec = self._pools.spec(database)
        if spec is not None and (database, user) != frontend.pool.key:
            move(frontend, self._pools.pool_of(spec, user))

    def _spec(self, one: InheritedSocket) -> DatabaseSpec | None:
        return self._pools.spec(one.database)

    def _values(self, one: InheritedSocket) -> Values:
        return self._collected(one.state.get("parameters", one.parameters))

    def _collected(self, parameters: Mapping[str, str | None]) -> Values:
        return self._context.tracking.collect(
            {name: value for name, value in parameters.items() if value is not None}
        )

    def _transport(self, one: InheritedSocket, protocol: Frontend | Backend) -> object:
        """Return what connects a protocol to its socket."""
        sock = socket.socket(fileno=one.fd)
        sock.setblocking(False)  # noqa: FBT003 - its only argument
        sock.set_inheritable(False)
        # A stream may have been handed over by a link that waited for much.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        there, number, reactor = _peer(sock), protocol.number, self._reactor
        if sock.family == socket.AF_UNIX:
            kind: Any = UnixTransport
            made: object = kind(sock, protocol, there, None, number, reactor)
            return made
        return TcpTransport(sock.detach(), protocol, there, None, number, reactor)

    def _address(self, one: InheritedSocket) -> Address:
        """Return where a client comes from."""
        with socket.socket(fileno=os.dup(one.fd)) as sock:
            if sock.family == socket.AF_UNIX:
                return Address("unix", unix_port(sock.getsockname()))
            return Address(*_peer(sock)[:2])


def _facts(one: InheritedSocket) -> StartupFacts:
    """Return what a client's start-up packet said, as far as it still matters."""
    given = one.state.get("replication")
    if given is None:
        return StartupFacts(one.user, one.database)
    kind = Replication(given["kind"])
    return StartupFacts(
        one.user, one.database, kind, given["options"], given["tracked"]
    )


def _peer(sock: socket.socket) -> Any:  # noqa: ANN401 - as the family has it
    """Return the address of the other end."""
    try:
        return sock.getpeername()
    except OSError:
        # It has just left; reading will tell.
        return ("", 0) if sock.family != socket.AF_UNIX else ""
