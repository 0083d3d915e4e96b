"""Where server connections are opened, and what is set on their sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from pgswitch.net import connect
from pgswitch.net.connect import Connect, unix_path
from tests.unit.net.listen_settings import ListenValues


@implementer(IHostResolution)
class Asked:
    """A question about a name."""

    def __init__(self, name: str) -> None:
        """Name it."""
        self.name = name

    def cancel(self) -> None:
        """Do nothing: the answer has been given."""


@implementer(IHostnameResolver)
class TwoAddresses:
    """Knows every name, by two addresses."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Tell them."""
        del addressTypes, transportSemantics
        question = Asked(hostName)
        resolutionReceiver.resolutionBegan(question)
        for address in ("10.0.0.1", "10.0.0.2"):
            resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return question


class Transport:
    """A connected transport with a socket."""

    connected = True
    socket = object()


class Scene:
    """A connector over a reactor that only notes."""

    def __init__(self) -> None:
        """Connect nothing."""
        self.reactor: Any = MemoryReactorClock()
        self.reactor.installNameResolver(TwoAddresses())
        self.settings = ListenValues(tcp_user_timeout=7)
        self.connect = Connect(
            self.reactor, lambda: self.settings, lambda: "/run/postgresql"
        )

    def begin(self, host: str | None, port: int = 5432) -> Deferred[object]:
        """Begin to connect."""
        return self.connect(host, port, Protocol())

    def asked(self) -> list[tuple[object, ...]]:
        """Return the addresses that the reactor was to connect to."""
        tcp = [one[:2] for one in self.reactor.tcpClients]
        return [*tcp, *(one[:1] for one in self.reactor.unixClients)]


@pytest.fixture
def scene() -> Scene:
    """Return a connector."""
    return Scene()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.1.2.3", ("10.1.2.3", 5432)),
        ("2001:db8::1", ("2001:db8::1", 5432)),
        ("db.example", ("10.0.0.1", 5432)),
        (None, ("/run/postgresql/.s.PGSQL.5432",)),
        ("/tmp/pg", ("/tmp/pg/.s.PGSQL.5432",)),
        ("@pg", ("\0pg/.s.PGSQL.5432",)),
    ],
)
def test_where(scene: Scene, host: str | None, expected: tuple[object, ...]) -> None:
    """Addresses, names and folders of sockets."""
    connecting = scene.begin(host)
    assert scene.asked() == [expected]
    connecting.addErrback(lambda _cancelled: None)
    connecting.cancel()


def test_the_next_address_of_a_name(scene: Scene) -> None:
    """A little later, the first still being tried."""
    connecting = scene.begin("db.example")
    scene.reactor.advance(1)
    assert scene.asked() == [("10.0.0.1", 5432), ("10.0.0.2", 5432)]
    connecting.addErrback(lambda _cancelled: None)
    connecting.cancel()


@pytest.mark.parametrize("host", ["10.1.2.3", None])
def test_tuning(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    """The settings of the moment go on TCP sockets only; the protocol is connected."""
    tuned: list[tuple[object, object]] = []
    monkeypatch.setattr(connect, "tune_socket", lambda *both: tuned.append(both))
    connecting = scene.begin(host)
    scene.settings = ListenValues(tcp_user_timeout=9)
    clients = scene.reactor.tcpClients or scene.reactor.unixClients
    factory = clients[0][1 if host is None else 2]
    protocol = factory.buildProtocol(IPv6Address("TCP", "::1", 1))

    transport = Transport()
    protocol.makeConnection(transport)
    done: list[object] = []
    connecting.addCallback(done.append)
    assert len(done) == 1
    expected = [(transport.socket, scene.settings)] if host else []
    assert tuned == expected


@pytest.mark.parametrize(
    ("folder", "path"),
    [("/tmp", "/tmp/.s.PGSQL.1"), ("@x", "\0x/.s.PGSQL.1")],
)
def test_unix_path(folder: str, path: str) -> None:
    """As libpq builds it; an abstract one begins with a zero byte."""
    assert unix_path(folder, 1) == path
