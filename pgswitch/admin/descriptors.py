"""The open sockets that another process can take over (SHOW FDS, SHOW HANDOVER)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgswitch.admin.incremental import POOLS_PER_STEP
from pgswitch.net.backend import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgswitch.auth.login_service import LoginService
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.listen import Listeners
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.wire.params import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """One open socket."""

    fd: int
    task: str
    """``pooler`` for a listening socket, ``client``, ``server``."""
    user: str | None = None
    database: str | None = None
    addr: str
    """An IP address in text, or ``unix``; of the remote end, except when listening."""
    port: int
    cancel_key: bytes = b""
    """The key that the client was given, or that the server gave us."""
    peer_fd: int = 0
    """``fd`` of the other end while linked, else 0."""
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    """The tracked ones, by their own names."""
    state: str = ""
    """All else that is known of it (SHOW HANDOVER), see takeover/serialize.py."""


class Descriptors:
    """Finds the sockets of listeners, clients and servers."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        listeners: Listeners,
    ) -> None:
        """Take the parts of the service that own sockets."""
        self._listeners = listeners
        self._context = context
        self._pools = pools
        self._login_service = login_service

    def each(self) -> Iterator[Descriptor | None]:
        """Yield listening sockets, then clients and servers that have logged in."""
        yield from self.listening()
        for one in list(self._login_service.clients.values()):
            if one.logged_in and one.console is None and one.stream.descriptor >= 0:
                yield self.of_client(one)
        for number, pool in enumerate(self._pools, 1):
            for backend in list(pool.backends()):
                if backend.phase is Phase.READY and backend.stream.descriptor >= 0:
                    yield self.of_server(backend)
            if number % POOLS_PER_STEP == 0:
                yield None

    def listening(self) -> list[Descriptor]:
        """Return the listening sockets."""
        return [
            Descriptor(
                fd=fd,
                task="pooler",
                addr=where.host,
                port=where.port or self._login_service.listen_port,
            )
            for fd, where in self._listeners.descriptors()
        ]

    def of_client(self, one: Frontend) -> Descriptor:
        """Return the socket of a client."""
        server = one.stream.server
        return Descriptor(
            fd=one.stream.descriptor,
            task="client",
            user=one.user,
            database=one.database,
            addr=one.address.host,
            port=one.address.port,
            cancel_key=one.cancel_key,
            peer_fd=0 if server is None else server.descriptor,
            parameters=self.tracked(one.stream.parameters),
        )

    def of_server(self, backend: Backend) -> Descriptor:
        """Return the socket of a server."""
        client = backend.stream.peer
        return Descriptor(
            fd=backend.stream.descriptor,
            task="server",
            user=backend.user,
            database=backend.database,
            addr=backend.address.host,
            port=backend.address.port,
            cancel_key=backend.cancel_key,
            peer_fd=0 if client is None else client.descriptor,
            parameters=self.tracked(backend.stream.parameters),
        )

    def tracked(self, values: Values) -> dict[str, str | None]:
        """Return tracked parameters by their names."""
        # A client that has not sent its first packet has none.
        return dict(zip(self._context.tracking.names, values, strict=False))
