"""Connections in memory whose two ends are Twisted transports with real TLS."""

# mypy: allow-untyped-calls
# ruff: noqa: FBT001, FBT002 - Twisted's names and order

from __future__ import annotations

from typing import Any

from twisted.internet import _newtls
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITLSTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport
from zope.interface import implementer

TURNS = 200


@implementer(ITLSTransport)
class MemoryTransport(FakeTransport):
    """One end: no socket, no reactor; TLS as in Twisted's own transports."""

    TLS = False
    connected = True

    def __init__(self, protocol: Any, *, is_server: bool, reactor: Any) -> None:  # noqa: ANN401 - any of both
        """Be connected; the protocol does not know it yet."""
        super().__init__(protocol, is_server)
        self.reactor = reactor
        self._tlsClientDefault = not is_server
        self.aborted = False

    def startTLS(self, contextFactory: object, beNormal: bool = True) -> None:
        """Begin with TLS, as a transport of a reactor does."""
        _newtls.startTLS(self, contextFactory, beNormal, _Plain)

    def write(self, data: bytes) -> None:
        """Write, encrypted if TLS is on."""
        if self.TLS:
            self.protocol.write(data)
        else:
            super().write(data)

    def loseConnection(self) -> None:
        """Close, after a goodbye if TLS is on."""
        if self.TLS:
            self.protocol.loseConnection()
        else:
            super().loseConnection()

    def abortConnection(self) -> None:
        """Note it, and close."""
        self.aborted = True
        super().abortConnection()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Take a producer, by way of TLS if that is on."""
        if self.TLS:
            self.protocol.registerProducer(producer, streaming)
        else:
            super().registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Forget it."""
        if self.TLS:
            self.protocol.unregisterProducer()
        else:
            super().unregisterProducer()


class _Plain:
    """What TLS itself uses to write."""

    write = staticmethod(FakeTransport.write)
    writeSequence = staticmethod(FakeTransport.writeSequence)
    loseConnection = staticmethod(FakeTransport.loseConnection)
    registerProducer = staticmethod(FakeTransport.registerProducer)
    unregisterProducer = staticmethod(FakeTransport.unregisterProducer)


class MemoryPair:
    """Two protocols, connected."""

    def __init__(self, server: Any, client: Any, reactor: Clock) -> None:  # noqa: ANN401 - any protocols
        """Connect them; ``reactor`` is what both transports have as theirs."""
        self.reactor = reactor
        self.server = MemoryTransport(server, is_server=True, reactor=reactor)
        self.client = MemoryTransport(client, is_server=False, reactor=reactor)
        server.makeConnection(self.server)
        client.makeConnection(self.client)

    def pump(self) -> None:
        """Carry bytes until none are left; then report what has closed."""
        for _ in range(TURNS):
            busy = bool(self.reactor.getDelayedCalls())
            self.reactor.advance(0)
            for one, other in (
                (self.server, self.client),
                (self.client, self.server),
            ):
                data = b"".join(one.stream)
                one.stream.clear()
                if data and other.connected:
                    busy = True
                    other.protocol.dataReceived(data)
                if one.disconnecting and one.connected:
                    busy = True
                    _lose(one)
                    if other.connected:
                        _lose(other)
            if not busy:
                return
        raise AssertionError("it does not come to rest")


def _lose(end: MemoryTransport) -> None:
    end.connected = False
    end.protocol.connectionLost(Failure(ConnectionDone()))
