"""The transport of the unix socket's clients."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from pgswitch.net.accepted_unix import UnixTransport


class Mourner(Protocol):
    """Keeps why it lost its connection."""

    why: BaseException | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep it."""
        self.why = reason.value


def test_end() -> None:
    """The other end sees an end of file, the protocol hears of it."""
    reactor = EPollReactor()
    ours, theirs = socket.socketpair()
    with closing(theirs):
        protocol = Mourner()
        transport: Any = UnixTransport(ours, protocol, "", None, 7, reactor)  # type: ignore[no-untyped-call]
        protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.loseConnection()
        reactor.doPoll(1.0)
        theirs.settimeout(5)
        assert theirs.recv(1) == b""
        assert isinstance(protocol.why, ConnectionDone)
