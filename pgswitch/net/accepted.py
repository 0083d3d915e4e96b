"""Twisted's transports of accepted connections, made cheaper to begin and to end.

``tcp.Server`` puts together three texts for logs that are hardly ever written, says
shutdown(2) before close(2), which changes nothing for a socket that only we hold, and
ends in six steps.  Together that was 30 of the 300 microseconds that a connection cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import main, tcp, unix
from twisted.internet.address import IPv6Address
from twisted.python.failure import Failure

if TYPE_CHECKING:
    import socket

_DONE = Failure(main.CONNECTION_DONE)
_IPV4_NAME = 2
"""Parts of an IPv4 socket's name; one of IPv6 has more."""


class TcpTransport(tcp.Server):
    """A ``tcp.Server`` whose texts are made when they are asked for."""

    _shouldShutdown = False

    def __init__(  # noqa: PLR0917 - as Twisted calls it
        self,
        sock: socket.socket,
        protocol: Any,  # noqa: ANN401 - as Twisted has it
        client: tuple[object, ...],
        server: Any,  # noqa: ANN401 - an Acceptor
        number: int,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """Take what ``tcp.Server`` takes; begin to read."""
        tcp.Connection.__init__(self, sock, protocol, reactor)
        if len(client) != _IPV4_NAME:
            self._addressType = IPv6Address
        self.server = server
        self.client = client
        self.sessionno = number
        self.hostname = client[0]
        reactor.addReader(self)
        self.connected = 1

    def ended(self) -> None:
        """Do what ``connectionLost`` does, for one that was read to its end.

        Its protocol has nothing more to say.
        """
        if self.producer is not None or self.disconnecting or self.TLS:
            self.connectionLost(_DONE)
        elif self.connected:
            self.connected, self.disconnected = 0, 1
            self.reactor.removeReader(self)
            self.socket.close()
            protocol = self.protocol
            # For whoever asks the transport later, as connectionLost does it.
            del self.protocol, self.socket, self.fileno
            protocol.connectionLost(_DONE)

    def logPrefix(self) -> str:
        """Return what Twisted's log lines about this connection begin with."""
        return f"{type(self.protocol).__name__},{self.sessionno},{self.hostname}"

    def __repr__(self) -> str:
        """Return the connection's number and where it comes from."""
        return f"<client #{self.sessionno} from {self.hostname}>"


class UnixTransport(unix.Server):
    """A ``unix.Server`` that is closed without a shutdown before."""

    _shouldShutdown = False
