"""Opens transports to servers: TCP by name or address, unix sockets.

A name may have several addresses. They are tried in turn, each for its share of
``server_connect_timeout``, so that a dead address costs part of that time and not the
connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.error import ConnectError

from pgswitch.net.factories import BackendFactory
from pgswitch.net.sockets import (
    TcpSettings,
    size_buffers,
    tune_socket,
    unix_socket_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol as Interface

    from twisted.internet.protocol import Protocol

    class ConnectSettings(TcpSettings, Interface):
        """The settings that connecting uses."""

        @property
        def server_connect_timeout(self) -> float:
            """Seconds for connecting and logging in; 0: no limit."""

        @property
        def unix_socket_dir(self) -> str | None:
            """Directory of the socket of a server without a host."""


NO_LIMIT_S = 86_400


class _SizingReactor:
    """A reactor's ``connectTCP`` that sizes a socket's buffers before it connects.

    See sockets.buffer_options; Twisted begins to connect only in the next turn.
    """

    def __init__(self, reactor: Any, settings: TcpSettings) -> None:  # noqa: ANN401 - as Connect's
        self._reactor = reactor
        self._settings = settings

    def connectTCP(self, *arguments: object, **options: object) -> object:
        """Connect as the reactor does."""
        connector = self._reactor.connectTCP(*arguments, **options)
        transport = getattr(connector, "transport", None)
        sock = getattr(transport, "socket", None)
        if sock is not None:
            size_buffers(sock, self._settings)
        return connector


class TransportConnector:
    """Connects protocols of ours; see pool.context.Connector."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - every reactor, no common interface
        settings: Callable[[], ConnectSettings],
        addresses: Callable[[str], Deferred[tuple[str, ...]]],
    ) -> None:
        """Take functions: the settings in force, the addresses of a host name."""
        self._reactor = reactor
        self._settings = settings
        self._addresses = addresses

    def __call__(
        self, host: str | None, port: int, protocol: Protocol, address: str = ""
    ) -> Deferred[object]:
        """Connect ``protocol``; fires when its connectionMade has been called.

        ``address`` is that of the host if it is known; then nothing is looked up.
        """
        if host is None or host.startswith(("/", "@")):
            path = unix_socket_path(
                host or self._settings().unix_socket_dir or "", port
            )
            endpoint = UNIXClientEndpoint(self._reactor, path, timeout=NO_LIMIT_S)
            made: Deferred[object] = endpoint.connect(BackendFactory(protocol))
            return made
        return Deferred.fromCoroutine(self._connect(address or host, port, protocol))

    async def _connect(self, host: str, port: int, protocol: Protocol) -> object:
        addresses = await self._addresses(host)
        seconds = (self._settings().server_connect_timeout or NO_LIMIT_S) / len(
            addresses
        )
        for address in addresses[:-1]:
            try:
                return await self._attempt(address, port, protocol, seconds)
            except ConnectError:
                continue
        return await self._attempt(addresses[-1], port, protocol, NO_LIMIT_S)

    async def _attempt(
        self, address: str, port: int, protocol: Protocol, seconds: float
    ) -> object:
        """Connect to one address; the pool's deadline ends the last attempt."""
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        reactor: Any = _SizingReactor(self._reactor, self._settings())
        endpoint: Any = kind(reactor, address, port, timeout=seconds)
        result: object = await endpoint.connect(BackendFactory(protocol))
        transport: Any = protocol.transport
        if transport is not None and getattr(transport, "connected", False):
            tune_socket(transport.socket, self._settings())
        return result
