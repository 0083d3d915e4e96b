"""Where server connections are opened, and what is set on their sockets."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock

from pgswitch.net import connect
from pgswitch.net.connect import TransportConnector
from tests.unit.net.listen_settings import ListenValues


class Transport:
    """A connected transport with a socket."""

    connected = True
    socket: Any = object()


def addresses(host: str) -> Deferred[tuple[str, ...]]:
    """Know every name by two addresses, but one."""
    if host == "none.example":
        return fail(DNSLookupError())
    is_name = host.endswith(".example")
    return succeed(("10.0.0.1", "10.0.0.2") if is_name else (host,))


class Scene:
    """A connector over a reactor that only notes."""

    def __init__(self) -> None:
        """Connect nothing."""
        self.reactor: Any = MemoryReactorClock()
        self.settings = ListenValues(
            tcp_user_timeout=7, unix_socket_dir="/run/postgresql"
        )
        self.connect = TransportConnector(
            self.reactor, lambda: self.settings, addresses
        )

    def begin(
        self, host: str | None, port: int = 5432, address: str = ""
    ) -> Deferred[object]:
        """Begin to connect."""
        return self.connect(host, port, Protocol(), address)

    def refuse(self) -> None:
        """Let the last attempt be refused."""
        connector = self.reactor.connectors[-1]
        connector.factory = self.reactor.tcpClients[-1][2]
        connector.factory.clientConnectionFailed(connector, Refused())

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
    """It is tried when the first refuses; only the last one's refusal counts."""
    failures: list[object] = []
    scene.begin("db.example").addErrback(lambda one: failures.append(one.type))
    assert scene.asked() == [("10.0.0.1", 5432)]
    scene.refuse()
    assert scene.asked() == [("10.0.0.1", 5432), ("10.0.0.2", 5432)]
    assert failures == []
    scene.refuse()
    assert failures == [Refused]


def test_an_address_that_does_not_answer(scene: Scene) -> None:
    """It has its part of server_connect_timeout."""
    connecting = scene.begin("db.example")
    timeouts = [one[3] for one in scene.reactor.tcpClients]
    assert timeouts == [scene.settings.server_connect_timeout / 2]
    connecting.addErrback(lambda _cancelled: None)
    connecting.cancel()
    assert len(scene.reactor.tcpClients) == 1


def test_an_address_that_is_known(scene: Scene) -> None:
    """No name is looked up then."""
    connecting = scene.begin("none.example", address="10.0.0.7")
    assert scene.asked() == [("10.0.0.7", 5432)]
    connecting.addErrback(lambda _cancelled: None)
    connecting.cancel()


def test_no_address(scene: Scene) -> None:
    """A failed lookup fails the connection."""
    failures: list[object] = []
    scene.begin("none.example").addErrback(lambda one: failures.append(one.type))
    assert failures == [DNSLookupError]
    assert scene.asked() == []


@pytest.mark.parametrize("host", ["10.1.2.3", None])
def test_tuning(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    """The settings of the moment go on TCP sockets only; the protocol is connected."""
    tuned: list[tuple[object, object]] = []
    monkeypatch.setattr(connect, "tune_socket", lambda *both: tuned.append(both))
    connecting = scene.begin(host)
    scene.settings = ListenValues(tcp_user_timeout=9, unix_socket_dir="/tmp")
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


def test_buffers_before_it_connects(scene: Scene) -> None:
    """The server is never offered the window of a larger buffer."""
    made: list[socket.socket] = []
    plain = scene.reactor.connectTCP

    def connect_tcp(*arguments: object, **options: object) -> object:
        connector = plain(*arguments, **options)
        connector.transport = Transport()
        connector.transport.socket = socket.socket()
        made.append(connector.transport.socket)
        return connector

    scene.reactor.connectTCP = connect_tcp
    scene.settings = ListenValues(tcp_socket_buffer=50_000)
    connecting = scene.begin("10.1.2.3")
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        assert made[0].getsockopt(socket.SOL_SOCKET, option) == 100_000
    made[0].close()
    connecting.addErrback(lambda _cancelled: None)
    connecting.cancel()
