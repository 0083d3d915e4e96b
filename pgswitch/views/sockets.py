"""Snapshots of client and server connections."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, NamedTuple

from pgswitch.admin.snapshots import DescriptorSnapshot, SocketSnapshot
from pgswitch.net.server_state import ServerState
from pgswitch.relay.client_stream import ClientStream
from pgswitch.views.steps import POOLS_A_STEP, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgswitch.auth.login_service import LoginService
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.listen import Listeners
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.relay.stream import Stream
    from pgswitch.wire.params import Values


class SocketView:
    """SHOW CLIENTS, SERVERS, SOCKETS and FDS."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        listeners: Listeners,
    ) -> None:
        """Look at these parts of the service."""
        self._listeners = listeners
        self._context = context
        self._pools = pools
        self._login_service = login_service

    def clients(self) -> Sequence[SocketSnapshot]:
        """Return the clients that have logged in, console clients included."""
        return list(self.each_client())

    def servers(self) -> Sequence[SocketSnapshot]:
        """Return the server connections."""
        return shown(self.each_server())

    def sockets(self) -> Sequence[SocketSnapshot]:
        """Return every client and server connection."""
        return shown(self.each_socket())

    # One by one: whoever asks may let time pass in between, and so each is shown as
    # it is then. Who comes meanwhile need not be shown, who leaves is not.

    def each_client(self) -> Iterator[SocketSnapshot]:
        """Yield the clients that have logged in."""
        for one in list(self._login_service.clients.values()):
            if (one.logged_in or one.cancelling or one.waiting_since) and (
                one.number in self._login_service.clients
            ):
                yield self._client(one)

    def each_server(self) -> Iterator[SocketSnapshot | None]:
        """Yield the server connections."""
        for number, pool in enumerate(self._pools, 1):
            for backend in list(pool.connections()):
                if hasattr(backend, "stream") and not backend.stream.lost:
                    yield self._server(backend)
            if number % POOLS_A_STEP == 0:
                yield None

    def each_socket(self) -> Iterator[SocketSnapshot | None]:
        """Yield every client and server connection."""
        for one in list(self._login_service.clients.values()):
            if one.number in self._login_service.clients:
                yield self._client(one)
        yield from self.each_server()

    def _client(self, one: Frontend) -> SocketSnapshot:
        link = getattr(one, "stream", None)
        server = None if link is None else link.server
        tracking = self._context.tracking
        local = one.local_address
        buffers = _buffers(link)
        return SocketSnapshot(
            kind="C",
            id=one.number,
            user=one.user or None,
            database=one.database or None,
            state=one.state,
            socket_state="cl_login" if one.state == "login" else None,
            addr=one.address.host,
            port=one.address.port,
            replication="none" if one.facts is None else one.facts.replication.value,
            local_addr=local.host,
            local_port=local.port,
            connect_time=one.connected_time,
            request_time=self._wall(
                max(one.connected_at, 0.0 if link is None else link.last_request)
            ),
            ptr=id(one),
            wait_us=0 if link is None else self._since(link.exchange.query_start),
            link=None if server is None else id(server.backend),
            remote_pid=one.address.pid,
            tls=None if one.tls is None else one.tls.description,
            application_name=None
            if link is None or not link.parameters
            else tracking.value(link.parameters, "application_name"),
            prepared_statements=0
            if link is None or link.statements is None
            else len(link.statements.names) + len(link.statements.sql.texts),
            recv_pos=buffers.held,
            pkt_avail=buffers.held,
            pkt_remain=buffers.remain,
            send_avail=buffers.unsent,
        )

    def _server(self, backend: Backend) -> SocketSnapshot:
        link = backend.stream
        client = link.peer
        exchange = link.exchange
        buffers = _buffers(link)
        return SocketSnapshot(
            kind="S",
            id=backend.number,
            user=backend.user,
            database=backend.database,
            state=backend.state.column,
            socket_state="sv_login"
            if backend.stored_state is ServerState.LOGIN
            else None,
            addr=backend.address.host,
            port=backend.address.port,
            replication=backend.replication,
            local_addr=backend.local_address.host,
            local_port=backend.local_address.port,
            connect_time=backend.connected_time,
            request_time=self._wall(
                exchange.query_start
                if exchange is not None and exchange.query_start
                else max(link.ready_since, backend.connected_at)
            ),
            ptr=id(backend),
            wait_us=0 if exchange is None else self._since(exchange.query_start),
            close_needed=link.close_needed,
            link=None if client is None else id(client.control),
            remote_pid=int.from_bytes(backend.cancel_key[:4], "big"),
            tls=None if backend.tls is None else backend.tls.description,
            application_name=self._context.tracking.value(
                link.parameters, "application_name"
            )
            if link.parameters
            else None,
            prepared_statements=len(link.statements),
            recv_pos=buffers.held,
            pkt_avail=buffers.held,
            pkt_remain=buffers.remain,
            send_avail=buffers.unsent,
        )

    def _wall(self, then: float) -> float:
        """Return a monotonic time as seconds since the epoch."""
        return time() - (self._context.clock() - then)

    def _since(self, then: float) -> int:
        """Return the microseconds since a monotonic time; 0.0 stands for never."""
        return int((self._context.clock() - then) * 1e6) if then else 0

    # Descriptors.

    def descriptors(self) -> Sequence[DescriptorSnapshot]:
        """Return listening sockets, then clients and servers that are logged in."""
        return shown(self.each_descriptor())

    def each_descriptor(self) -> Iterator[DescriptorSnapshot | None]:
        """Yield the same one by one."""
        yield from self.listening()
        for one in list(self._login_service.clients.values()):
            if one.logged_in and one.console is None and one.stream.descriptor >= 0:
                yield self.client_descriptor(one)
        for number, pool in enumerate(self._pools, 1):
            for backend in list(pool.backends()):
                if (
                    backend.stored_state.serves_clients
                    and backend.stream.descriptor >= 0
                ):
                    yield self.server_descriptor(backend)
            if number % POOLS_A_STEP == 0:
                yield None

    def listening(self) -> list[DescriptorSnapshot]:
        """Return the listening sockets."""
        return [
            DescriptorSnapshot(
                fd=fd,
                task="pooler",
                addr=where.host,
                port=where.port or self._login_service.listen_port,
            )
            for fd, where in self._listeners.descriptors()
        ]

    def client_descriptor(self, one: Frontend) -> DescriptorSnapshot:
        """Return the socket of a client."""
        server = one.stream.server
        return DescriptorSnapshot(
            fd=one.stream.descriptor,
            task="client",
            user=one.user,
            database=one.database,
            addr=one.address.host,
            port=one.address.port,
            cancel_key=one.cancel_key,
            link=0 if server is None else server.descriptor,
            parameters=self.tracked(one.stream.parameters),
        )

    def server_descriptor(self, backend: Backend) -> DescriptorSnapshot:
        """Return the socket of a server."""
        client = backend.stream.peer
        return DescriptorSnapshot(
            fd=backend.stream.descriptor,
            task="server",
            user=backend.user,
            database=backend.database,
            addr=backend.address.host,
            port=backend.address.port,
            cancel_key=backend.cancel_key,
            link=0 if client is None else client.descriptor,
            parameters=self.tracked(backend.stream.parameters),
        )

    def tracked(self, values: Values) -> dict[str, str | None]:
        """Return tracked parameters by their names."""
        # A client that is still to say its first word has none.
        return dict(zip(self._context.tracking.names, values, strict=False))


class _Buffers(NamedTuple):
    """What SHOW SOCKETS tells of the buffers of a connection, in bytes."""

    held: int = 0
    remain: int = 0
    unsent: int = 0


def _buffers(link: Stream | None) -> _Buffers:
    if link is None:
        return _Buffers()
    held = link.wanted - link.missing() if link.wanted else 0
    if isinstance(link, ClientStream):
        held += sum(map(len, link.held))
    unsent = sum(map(len, link.pending))
    # What the transport has taken over is not told; it is something.
    return _Buffers(held, link.missing(), max(unsent, int(link.backlogged)))
