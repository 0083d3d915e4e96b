"""Protocols, transports, factories and ports keep what their interfaces promise."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import (
    IConsumer,
    IHandshakeListener,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IPullProducer,
    IPushProducer,
    IReadDescriptor,
    IReadWriteDescriptor,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from zope.interface import Interface
from zope.interface.verify import verifyClass, verifyObject

from pgswitch.net.acceptor import Acceptor
from pgswitch.net.backend import Backend
from pgswitch.net.factories import BackendFactory, FrontendFactory
from pgswitch.net.frontend import Frontend
from pgswitch.net.listen import UnixTransport
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.net.tls_negotiation import Encryption
from pgswitch.net.tls_socket import StartedTls
from pgswitch.net.transport import SocketIO, TransportIO
from pgswitch.pool.outgoing_cancels import CancelConnection
from pgswitch.tls.contexts import TlsOptions
from pgswitch.tls.endpoints import ClientTls, ServerTls
from tests.fakes.world import World
from tests.unit.captured import CapturedLog
from tests.unit.net.call_factory import CallFactory
from tests.unit.net.tls_pair import side_for_clients

DECLARED = [
    (Acceptor, IListeningPort),
    (Acceptor, IReadDescriptor),
    (Backend, IProtocol),
    (BackendFactory, IProtocolFactory),
    (CancelConnection, IProtocol),
    (ClientTls, IOpenSSLServerConnectionCreator),
    (Encryption, IOpenSSLClientConnectionCreator),
    (Frontend, IProtocol),
    (FrontendFactory, IProtocolFactory),
    (SocketIO, IPullProducer),
    (StartedTls, IHandshakeListener),
    (StartedTls, IOpenSSLClientConnectionCreator),
    (StartedTls, IOpenSSLServerConnectionCreator),
    (StartedTls, IProtocol),
    (TcpTransport, IConsumer),
    (TcpTransport, IPushProducer),
    (TcpTransport, ITCPTransport),
    (TransportIO, IPushProducer),
    (UnixTransport, ITransport),
]


@pytest.mark.parametrize(("kind", "interface"), DECLARED)
def test_classes(kind: type, interface: type[Interface]) -> None:
    """Each class has the methods of what it declares, with their signatures."""
    assert verifyClass(interface, kind)


@pytest.fixture
def transport() -> Iterator[TcpTransport]:
    """Return a connected transport."""
    ours, theirs = socket.socketpair()
    with closing(theirs):
        made = TcpTransport(
            ours.detach(), Protocol(), ("127.0.0.1", 5), None, 1, EPollReactor()
        )
        yield made
        made.ended()


@pytest.mark.parametrize(
    "interface", [IConsumer, IPushProducer, IReadWriteDescriptor, ITCPTransport]
)
def test_tcp_transport(transport: TcpTransport, interface: type[Interface]) -> None:
    """An object, as doRead and doWrite are properties that a class cannot show."""
    assert verifyObject(interface, transport)


def test_streams(transport: TcpTransport) -> None:
    """What puts a stream on a transport is its producer."""
    assert verifyObject(IPullProducer, SocketIO(transport))
    assert verifyObject(IPushProducer, TransportIO(StringTransport()))


def test_protocols_and_factories(world: World) -> None:
    """Those of a running service."""
    client, server = world.pair()
    assert verifyObject(IProtocol, client.frontend)
    assert verifyObject(IProtocol, server.backend)
    assert verifyObject(IProtocolFactory, world.service.frontends)
    assert verifyObject(IProtocolFactory, BackendFactory(server.backend))


def test_ports() -> None:
    """A listening socket, open and closed."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        reactor: Any = EPollReactor()
        acceptor = Acceptor(
            reactor,
            sock,
            CallFactory(lambda _address: Protocol()),
            log=CapturedLog().log,
            transport=TcpTransport,
        )
        assert verifyObject(IListeningPort, acceptor)
        assert verifyObject(IReadDescriptor, acceptor)
        assert acceptor.getHost().port == sock.getsockname()[1]


def test_connection_creators(tmp_path: Path) -> None:
    """Both sides of TLS."""
    assert verifyObject(IOpenSSLServerConnectionCreator, side_for_clients(tmp_path))
    to_server = Encryption(ServerTls(TlsOptions(mode="require")), "localhost")
    assert verifyObject(IOpenSSLClientConnectionCreator, to_server)
