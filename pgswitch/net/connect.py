"""Opens transports to servers: TCP by name or address, unix sockets.

Names are looked up by the reactor's resolver, which never blocks the others; an
answer with several addresses is tried one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol

from pgswitch.net.tuning import tune_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.net.tuning import TcpSettings

ATTEMPT_LIMIT_S = 86_400
"""Twisted's own limit of an attempt; ours is server_connect_timeout, see upkeep.py."""


class _OneProtocol(Factory):
    """Hands out the protocol that was made before the connection."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        del addr
        return self._protocol


class Connect:
    """Connects protocols of ours; see pool.context.Connector."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - every reactor, no common interface
        settings: Callable[[], TcpSettings],
        unix_folder: Callable[[], str],
    ) -> None:
        """Take functions that return what is in force at the time of a connection."""
        self._reactor = reactor
        self._settings = settings
        self._unix_folder = unix_folder

    def __call__(
        self, host: str | None, port: int, protocol: Protocol
    ) -> Deferred[object]:
        """Connect ``protocol``; fires when its connectionMade has been called."""
        endpoint = self._endpoint(host, port)
        connecting: Deferred[object] = endpoint.connect(_OneProtocol(protocol))
        if not isinstance(endpoint, UNIXClientEndpoint):
            connecting.addCallback(self._tune, protocol)
        return connecting

    def _endpoint(self, host: str | None, port: int) -> Any:  # noqa: ANN401 - one of four
        reactor = self._reactor
        if host is None or host.startswith(("/", "@")):
            return UNIXClientEndpoint(
                reactor,
                unix_path(host or self._unix_folder(), port),
                timeout=ATTEMPT_LIMIT_S,
            )
        if ":" in host:
            return TCP6ClientEndpoint(reactor, host, port, timeout=ATTEMPT_LIMIT_S)
        if host.replace(".", "").isdigit():
            return TCP4ClientEndpoint(reactor, host, port, timeout=ATTEMPT_LIMIT_S)
        return HostnameEndpoint(reactor, host, port, timeout=ATTEMPT_LIMIT_S)

    def _tune(self, result: object, protocol: Protocol) -> object:
        transport: Any = protocol.transport
        if transport is not None and getattr(transport, "connected", False):
            tune_socket(transport.socket, self._settings())
        return result


def unix_path(folder: str, port: int) -> str:
    """Return the address of a server's unix socket; ``@`` begins an abstract one."""
    path = f"{folder}/.s.PGSQL.{port}"
    return "\0" + path[1:] if path.startswith("@") else path
