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
from pgswitch.handover.counts import unpack_counts
from pgswitch.handover.packing import (
    Packed,
    moment,
    raw,
    unpack_client,
    unpack_cluster,
    unpack_server,
)
from pgswitch.net.accepted import TcpTransport
from pgswitch.net.accepted_unix import UnixTransport
from pgswitch.net.frontend import Frontend
from pgswitch.net.sockets import unix_port
from pgswitch.pool.modes import equip, follow
from pgswitch.pool.moving import move
from pgswitch.relay.link import PAUSED_SUSPENDED
from pgswitch.relay.server import SESSION
from pgswitch.types import Address
from pgswitch.wire.startup import Replication, StartupFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgswitch.auth.credentials import Credentials
    from pgswitch.auth.entering import Rules
    from pgswitch.auth.reception import FrontDesk
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.handover.asking import Inherited
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.registry import Pools
    from pgswitch.relay.server import ServerLink
    from pgswitch.topology.clusters import Clusters
    from pgswitch.views.statistics import StatisticsView
    from pgswitch.wire.params import Values

LISTENING, SERVER, CLIENT = "pooler", "server", "client"


class Heir:
    """Puts inherited connections into a service that serves nobody yet."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        desk: FrontDesk,
        *,
        credentials: Credentials,
        rules: Rules,
        clusters: Clusters,
        statistics: StatisticsView,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """Take the parts that connections belong to."""
        self._clusters = clusters
        self._statistics = statistics
        self._context = context
        self._pools = pools
        self._desk = desk
        self._credentials = credentials
        self._rules = rules
        self._reactor = reactor
        self._servers: dict[int, ServerLink] = {}
        """By their descriptors in the old process."""
        self._walsenders: dict[int, Inherited] = {}
        """The same; each is made when its client is, which it belongs to."""

    def take(self, inherited: Iterable[Inherited]) -> None:
        """Take servers and clients; those whose database is gone are closed."""
        by_task: dict[str, list[Inherited]] = {LISTENING: [], SERVER: [], CLIENT: []}
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

    def _take_server(self, one: Inherited) -> None:
        spec = self._spec(one)
        if spec is None:
            socket.close(one.fd)
            return
        if one.state.get("replication", "none") != "none":
            self._walsenders[one.old_fd] = one
            return
        pool = self._pools.pool_of(spec, one.user)
        backend = pool.fleet.expect()
        self._go_on_with(backend, one)
        pool.take_back(backend, is_idle=not one.link)
        self._servers[one.old_fd] = backend.link

    def _go_on_with(self, backend: Backend, one: Inherited) -> None:
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
        link = backend.link
        unpack_server(link, state, self._context.statements, now)
        link.pause(PAUSED_SUSPENDED)

    def _take_client(self, one: Inherited) -> None:
        spec = self._spec(one)
        if one.is_untouched:
            untouched = Frontend(self._desk, self._address(one))
            untouched.makeConnection(self._transport(one, untouched))
            untouched.link.pause(PAUSED_SUSPENDED)
        elif spec is None:
            socket.close(one.fd)
        else:
            self._take_session(one, spec)

    def _take_session(self, one: Inherited, spec: DatabaseSpec) -> None:
        """Take a client that had logged in."""
        now = self._context.clock()
        state = one.state
        frontend = Frontend(self._desk, self._address(one))
        frontend.go_on_with(self._transport(one, frontend), _facts(one), one.cancel_key)
        frontend.connected_at = moment(state.get("age"), now) or now
        frontend.connected_time = state.get("connected", frontend.connected_time)
        link = frontend.link
        link.pause(PAUSED_SUSPENDED)
        self._desk.readmit(frontend, spec, self._values(one))
        if "startup" in state:
            link.startup_parameters = self._collected(state["startup"])
        self._to_its_pool(frontend, state)
        if state.get("statements") is not None:
            # Its servers were shared; what it has prepared it keeps.
            equip(frontend, lambda _database: True)
        unpack_client(link, state, self._context.statements, now)
        losses = state.get("lost")
        if losses:
            frontend.requeued = link.exchange.query_start
            frontend.requeued_since = moment(losses["since"], now)
            frontend.reruns = losses["reruns"]
        rack = frontend.pool.rack_of(frontend)
        walsender = self._walsenders.pop(one.link, None)
        if walsender is not None:
            backend = frontend.pool.expect_walsender(frontend)
            self._go_on_with(backend, walsender)
            self._servers[one.link] = backend.link
        server = self._servers.get(one.link)
        if server is not None:
            if not state:
                # What the client is doing was not said; the next answer will show.
                link.exchange.clean = False
            rack.join(link, server)
            server.owned = state.get("owned", False)
            self._take_mode(frontend, server, state)
        elif one.link:
            # Its server stayed behind, and whatever it was doing there.
            frontend.disconnect(ServerConnCrashed())
            return
        elif link.waiting_since:
            link.halt()
            rack.waiters.append(link)
        self._take_rules(frontend, raw(state.get("kept", "")))

    def _take_rules(self, frontend: Frontend, kept: bytes) -> None:
        """Have a client judged again, but not what has been; ``kept`` has not been."""
        link = frontend.link
        judged, link.held[:] = link.held[:], []
        self._rules.attach(frontend)
        link.held[:] = judged
        if not kept:
            return
        if link.gate is not None:
            link.gate.keep(kept)
        elif link.halted:
            link.held.append(kept)
        else:
            self._reactor.callLater(0, link.take, kept)

    def _take_mode(self, frontend: Frontend, server: ServerLink, state: Packed) -> None:
        """Part a client and the server it had to itself, if servers are shared now.

        Else it would have no server while nothing is under way, nor be without
        statements that are kept for it.
        """
        link, pool = frontend.link, frontend.pool
        is_new = link.statements is not None and state.get("statements") is None
        if state and not frontend.replicates and (link.exchange.clean or is_new):
            server.mode = SESSION
            follow(pool, link, server)

    def _to_its_pool(self, frontend: Frontend, state: Packed) -> None:
        """Bring a client to the pool that a rule had moved it to."""
        database, user = state.get("pool", frontend.pool.key)
        spec = self._pools.spec(database)
        if spec is not None and (database, user) != frontend.pool.key:
            move(frontend, self._pools.pool_of(spec, user))

    def _spec(self, one: Inherited) -> DatabaseSpec | None:
        return self._pools.spec(one.database)

    def _values(self, one: Inherited) -> Values:
        return self._collected(one.state.get("parameters", one.parameters))

    def _collected(self, parameters: Mapping[str, str | None]) -> Values:
        return self._context.tracking.collect(
            {name: value for name, value in parameters.items() if value is not None}
        )

    def _transport(self, one: Inherited, protocol: Frontend | Backend) -> object:
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

    def _address(self, one: Inherited) -> Address:
        """Return where a client comes from."""
        with socket.socket(fileno=os.dup(one.fd)) as sock:
            if sock.family == socket.AF_UNIX:
                return Address("unix", unix_port(sock.getsockname()))
            return Address(*_peer(sock)[:2])


def _facts(one: Inherited) -> StartupFacts:
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
