"""The transports of accepted connections, on real sockets and a stock reactor."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from pgswitch.net.accepted import TcpTransport


@pytest.mark.parametrize(
    ("client", "kind"),
    [(("127.0.0.1", 5), IPv4Address), (("::1", 5, 0, 0), IPv6Address)],
)
def test_tcp_transport(client: tuple[object, ...], kind: type) -> None:
    """It knows its peer, reads for its protocol and has a name for logs."""
    heard: list[bytes] = []

    class Hearer(Protocol):
        def dataReceived(self, data: bytes) -> None:
            heard.append(data)

    reactor = EPollReactor()
    ours, theirs = socket.socketpair()
    with closing(theirs):
        protocol = Hearer()
        transport: Any = TcpTransport(ours, protocol, client, None, 7, reactor)
        protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        theirs.send(b"abc")
        reactor.doPoll(1.0)
        assert heard == [b"abc"]
        assert transport.getPeer() == kind("TCP", *client)
        assert transport.logPrefix() == f"Hearer,7,{client[0]}"
        assert repr(transport) == f"<client #7 from {client[0]}>"
        transport.loseConnection()
        reactor.doPoll(1.0)
        theirs.settimeout(5)
        assert theirs.recv(1) == b""


class Mourner(Protocol):
    """Keeps why it lost its connection."""

    def __init__(self) -> None:
        """Have lost nothing."""
        self.reasons: list[BaseException | None] = []

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep it."""
        self.reasons.append(reason.value)


@pytest.mark.parametrize("is_closing", [False, True])
def test_ended(*, is_closing: bool) -> None:
    """Read to its end, a connection is closed, and its protocol told once."""
    reactor = EPollReactor()
    ours, theirs = socket.socketpair()
    with closing(theirs):
        protocol = Mourner()
        transport: Any = TcpTransport(
            ours, protocol, ("::1", 5, 0, 0), None, 7, reactor
        )
        protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        if is_closing:
            transport.loseConnection()
        transport.ended()
        transport.ended()
        theirs.settimeout(5)
        assert theirs.recv(1) == b""
        assert [type(reason) for reason in protocol.reasons] == [ConnectionDone]
        assert not transport.connected
        assert transport not in reactor.getReaders() + reactor.getWriters()
