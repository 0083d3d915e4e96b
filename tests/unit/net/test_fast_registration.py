"""Connections come and go past Twisted's detours, with its tables as it has them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from twisted.internet import main
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from pgswitch.net.acceptor import Acceptor
from pgswitch.net.lean_reactor import LeanReactor
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.types import Address
from tests.unit.captured import CapturedLog
from tests.unit.net.call_factory import CallFactory


class Kept(Protocol):
    """Keeps why it lost its connection."""

    def __init__(self) -> None:
        """Have lost nothing."""
        self.reasons: list[type[BaseException]] = []

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep it."""
        assert reason.value is not None
        self.reasons.append(type(reason.value))


class Unfit(Kept):
    """Fails as soon as it is connected."""

    def connectionMade(self) -> None:
        """Fail."""
        raise ValueError("bad luck")


class House:
    """A lean reactor with a listening socket, and the accepted connections."""

    def __init__(self) -> None:
        """Listen."""
        self.reactor = LeanReactor()
        self.protocols: list[Kept] = []
        self.kind = Kept
        """Of protocols."""
        self.is_full = False
        """The reactor takes no more connections."""
        self.transports: list[TcpTransport] = []
        self.captured = CapturedLog()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)  # noqa: FBT003 - its only argument
        self.acceptor = Acceptor(
            self.reactor,
            self.listener,
            CallFactory(self._build),
            log=self.captured.log,
            transport=self._transport,
        )
        self.acceptor.startListening()

    def _build(self, _address: Address) -> Kept:
        self.protocols.append(self.kind())
        return self.protocols[-1]

    def _transport(self, *arguments: object) -> TcpTransport:
        if self.is_full:
            raise OSError(errno.ENOSPC, "no room")
        self.transports.append(TcpTransport(*arguments))  # type: ignore[arg-type]
        return self.transports[-1]

    def visit(self) -> socket.socket:
        """Return a client that was accepted."""
        before = len(self.protocols)
        client = socket.create_connection(self.listener.getsockname())
        while len(self.protocols) == before:
            self.reactor.doPoll(0.01)
        return client

    def close(self) -> None:
        """Close everything."""
        self.acceptor.stopListening()
        for transport in self.transports:
            transport.connectionLost(Failure(ConnectionDone()))
        waker = self.reactor.waker
        assert waker is not None
        waker.connectionLost(None)
        self.reactor._poller.close()


@pytest.fixture
def house() -> Iterator[House]:
    """Return a house, closed afterwards."""
    with closing(House()) as house:
        yield house


def test_who_comes_is_known_to_the_reactor(house: House) -> None:
    """As one of those that it reads, until it has gone."""
    with closing(house.visit()):
        [transport] = house.transports
        assert transport in house.reactor.getReaders()  # type: ignore[no-untyped-call]
        house.reactor.fast_registration.ended(transport.fileno(), main.CONNECTION_DONE)
        assert house.protocols[0].reasons == [ConnectionDone]
        assert transport not in house.reactor.getReaders()  # type: ignore[no-untyped-call]
        assert transport.fileno() == -1
    assert house.captured.lines == []


def test_an_end_that_is_none(house: House) -> None:
    """A connection that broke is dropped as Twisted drops its own."""
    with closing(house.visit()):
        [transport] = house.transports
        house.reactor.fast_registration.ended(transport.fileno(), main.CONNECTION_LOST)
        assert house.protocols[0].reasons == [ConnectionLost]
        assert transport not in house.reactor.getReaders()  # type: ignore[no-untyped-call]


def test_one_that_is_written_to(house: House) -> None:
    """It is in another table too, and leaves both."""
    with closing(house.visit()):
        [transport] = house.transports
        transport.startWriting()
        house.reactor.fast_registration.ended(transport.fileno(), main.CONNECTION_DONE)
        assert transport not in house.reactor.getReaders()  # type: ignore[no-untyped-call]
        assert transport not in house.reactor.getWriters()  # type: ignore[no-untyped-call]


def test_one_that_is_not_read(house: House) -> None:
    """It has left the tables already."""
    with closing(house.visit()):
        [transport] = house.transports
        transport.stopReading()
        transport.connectionLost(Failure(ConnectionDone()))
        assert house.protocols[0].reasons == [ConnectionDone]
        with closing(house.visit()):  # its number is free for the next
            assert len(house.protocols) == 2


def test_accepting_is_no_business_of_the_reactor(house: House) -> None:
    """Accepting does not return to it; any other readable descriptor does."""
    with closing(socket.create_connection(house.listener.getsockname())):
        assert not house.reactor.fast_registration.serve(house.listener.fileno(), 1)
    assert len(house.protocols) == 1
    assert house.reactor.fast_registration.serve(house.transports[0].fileno(), 1)


def test_one_that_cannot_be_watched(house: House) -> None:
    """It is closed, and its protocol is notified: other objects may refer to it."""
    house.is_full = True
    with closing(house.visit()) as client:
        client.settimeout(5)
        assert client.recv(1) == b""
    assert house.protocols[0].reasons == [OSError]


def test_one_whose_protocol_fails_at_once(house: House) -> None:
    """It is cut off, and leaves the tables."""
    house.kind = Unfit
    with closing(house.visit()) as client:
        house.reactor.runUntilCurrent()
        client.settimeout(5)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert house.protocols[0].reasons == [ConnectionAborted]
    assert house.transports[0] not in house.reactor.getReaders()  # type: ignore[no-untyped-call]
