"""TLS by startTLS: transports without a socket, and stock connection creators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.protocols import tls
from twisted.python.failure import Failure
from zope.interface import implementer

from pgswitch.net.factories import BackendFactory
from pgswitch.net.tls_negotiation import Encryption
from pgswitch.net.tls_socket import StartedTls, TlsLayer, TlsSocket, start_tls
from pgswitch.net.transport import TransportIO, io_for
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.stream import PAUSED_PEER
from pgswitch.relay.stream import Clock as StreamClock
from pgswitch.tls.contexts import TlsOptions
from pgswitch.tls.endpoints import ClientTls, ServerTls
from pgswitch.types import Address
from pgswitch.wire import encode
from pgswitch.wire.framing import MAX_MESSAGE_SIZE
from tests.fakes.memory import MemoryPair
from tests.fakes.messages import ANSWER, message, query
from tests.fakes.world import World
from tests.tls_files import Authority
from tests.unit.net.call_factory import CallFactory
from tests.unit.net.tls_pair import side_for_clients
from tests.unit.relay.pair import Control

TURNS = 2000
MUCH = 3_000_000
TO_ANY = Encryption(ServerTls(TlsOptions(mode="require")), "localhost")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for certificates."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def side(folder: Path) -> ClientTls:
    """Return how clients are served."""
    return side_for_clients(folder)


@pytest.fixture(scope="module")
def strict(side: ClientTls, tmp_path_factory: pytest.TempPathFactory) -> Encryption:
    """Return a client of servers that does not accept our certificate."""
    del side
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    options = TlsOptions(mode="verify-ca", ca_file=str(other.path))
    return Encryption(ServerTls(options), "localhost")


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class WithoutSockets:
    """A connection creator that makes connections in memory only."""

    def __init__(self, side: Any) -> None:  # noqa: ANN401 - either creator
        """Make those of ``side``."""
        self._side = side

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """Make one."""
        made: SSL.Connection = self._side.clientConnectionForTLS(tlsProtocol)
        return made

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """Make one."""
        made: SSL.Connection = self._side.serverConnectionForTLS(tlsProtocol)
        return made


class Recorder(Protocol):
    """Begins TLS when it is connected, and records all that happens."""

    def __init__(self, creator: Any) -> None:  # noqa: ANN401 - either creator
        """Take what makes the connection."""
        self.creator = creator
        self.layer: TlsLayer | None = None
        self.failure = ""
        self.received = b""
        self.lost: list[BaseException | None] = []

    def connectionMade(self) -> None:
        """Begin."""
        start_tls(self.transport, self.creator).addCallbacks(self._done, self._failed)

    def _done(self, layer: TlsLayer) -> None:
        self.layer = layer

    def _failed(self, failure: Failure) -> None:
        self.failure = str(failure.value)

    @property
    def is_over(self) -> bool:
        """Whether the handshake has come to an end."""
        return self.layer is not None or bool(self.failure)

    def dataReceived(self, data: bytes) -> None:
        """Record it."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Record it."""
        self.lost.append(reason.value)


class Holder(Recorder):
    """Has a stream, as our protocols do."""

    def __init__(self, creator: Any) -> None:  # noqa: ANN401 - either creator
        """Have none yet."""
        super().__init__(creator)
        self.control = Control()
        self.io: Any
        self.stream: ClientStream

    def connectionMade(self) -> None:
        """Make the stream, and begin TLS on it."""
        self.io = io_for(self.transport)
        self.stream = ClientStream(
            MAX_MESSAGE_SIZE, self.io, self.control, StreamClock(monotonic, 0.0)
        )
        self.stream.starting = False
        self.io.attach(self.stream)
        self.io.start_tls(self.stream, self.creator).addCallbacks(
            self._encrypted, self._failed
        )

    def _encrypted(self, _connection: SSL.Connection) -> None:
        self.layer = self.io.tls
        self.io.attach(self.stream)

    def dataReceived(self, data: bytes) -> None:
        """Have the stream read."""
        self.io.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Drop the connection."""
        super().connectionLost(reason)
        self.io.detach()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return what Twisted's TLS takes for the reactor: it writes in the next turn."""
    made = Clock()
    monkeypatch.setattr(tls, "_get_default_clock", lambda: made)
    return made


# On stock reactors, with their own ports and connectors.


@pytest.fixture(params=[SelectReactor, PollReactor, AsyncioSelectorReactor])
def reactor(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Return one of Twisted's reactors, which is not that of the process."""
    made = request.param()
    monkeypatch.setattr(tls, "_get_default_clock", lambda: made)
    yield made
    for selectable in made.removeAll():
        selectable.connectionLost(connectionDone)
    if isinstance(made, AsyncioSelectorReactor):
        made._asyncioEventloop.close()


def _turn(reactor: Any) -> None:  # noqa: ANN401 - one object with many interfaces
    reactor.runUntilCurrent()
    if isinstance(reactor, AsyncioSelectorReactor):
        loop = reactor._asyncioEventloop
        loop.call_soon(loop.stop)
        loop.run_forever()
    else:
        reactor.doIteration(0.01)


def connect(reactor: Any, server: Protocol, client: Protocol) -> None:  # noqa: ANN401 - as above
    """Connect two protocols by TCP, through Twisted's own transports."""
    port = reactor.listenTCP(
        0, CallFactory(lambda _address: server), interface="127.0.0.1"
    )
    endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    made = endpoint.connect(BackendFactory(client))
    until(reactor, lambda: made.called and server.transport is not None)
    made.addErrback(lambda failure: failure.raiseException())
    port.stopListening()


def until(reactor: Any, is_true: Any) -> None:  # noqa: ANN401 - as above
    """Take turns until something is true."""
    for _ in range(TURNS):
        if is_true():
            return
        _turn(reactor)
    raise AssertionError("it does not become true")


@pytest.mark.parametrize("has_sockets", [True, False])
def test_on_a_stock_reactor(
    reactor: Any,  # noqa: ANN401 - one object with many interfaces
    side: ClientTls,
    *,
    has_sockets: bool,
) -> None:
    """Both ways work on both ends, and the creator decides which is taken."""
    ours: Any = side if has_sockets else WithoutSockets(side)
    theirs: Any = TO_ANY if has_sockets else WithoutSockets(TO_ANY)
    server, client = Recorder(ours), Recorder(theirs)
    connect(reactor, server, client)
    until(reactor, lambda: server.is_over and client.is_over)
    kind = TlsSocket if has_sockets else StartedTls
    for end in (server, client):
        assert end.failure == ""
        assert isinstance(end.layer, kind)
        assert end.layer.connection.get_protocol_version_name() == "TLSv1.3"
    assert client.transport is not None
    assert server.transport is not None
    client.transport.write(b"question")
    server.transport.write(b"x" * MUCH)
    until(reactor, lambda: len(client.received) == MUCH and server.received)
    assert server.received == b"question"
    client.transport.loseConnection()
    until(reactor, lambda: client.lost and server.lost)


@pytest.mark.parametrize("has_sockets", [True, False])
def test_a_handshake_fails_on_a_stock_reactor(
    reactor: Any,  # noqa: ANN401 - as above
    side: ClientTls,
    strict: Encryption,
    *,
    has_sockets: bool,
) -> None:
    """The client learns why; the server gets the alert."""
    ours: Any = side if has_sockets else WithoutSockets(side)
    theirs: Any = strict if has_sockets else WithoutSockets(strict)
    server, client = Recorder(ours), Recorder(theirs)
    connect(reactor, server, client)
    until(reactor, lambda: server.is_over and client.is_over)
    assert "certificate verify failed" in client.failure
    assert "unable to get local issuer certificate" in client.failure
    assert "alert unknown ca" in server.failure


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL X509:DeprecationWarning")
def test_a_creator_of_twisted(reactor: Any, side: ClientTls, folder: Path) -> None:  # noqa: ANN401 - as above
    """Twisted's own creators do as well as ours, and verify the host themselves."""
    root = ssl.Certificate.loadPEM((folder / "root.crt").read_bytes())
    server = Recorder(side)
    client = Recorder(ssl.optionsForClientTLS("localhost", trustRoot=root))
    connect(reactor, server, client)
    until(reactor, lambda: server.is_over and client.is_over)
    assert (server.failure, client.failure) == ("", "")
    assert isinstance(server.layer, TlsSocket)
    assert isinstance(client.layer, StartedTls)


# In memory.


def test_in_memory(side: ClientTls, clock: Clock) -> None:
    """A transport without a socket is encrypted by its own means."""
    server, client = Holder(side), Holder(TO_ANY)
    pair = MemoryPair(server, client, clock)
    pair.pump()
    assert (server.failure, client.failure) == ("", "")
    assert isinstance(server.io, TransportIO)
    assert isinstance(server.layer, StartedTls)
    client.stream.send(message(b"p", b"secret\0"))
    pair.pump()
    assert server.control.calls == [("message", "p", b"secret\0")]
    client.io.close(b"")
    pair.pump()
    assert server.lost
    assert client.lost


@pytest.mark.parametrize("is_bound_to_fail", [True, False])
def test_an_end_in_the_midst(
    side: ClientTls, clock: Clock, *, is_bound_to_fail: bool
) -> None:
    """It fails if the peer closes; if we close, nothing is reported."""
    server, client = Holder(side), Recorder(TO_ANY)
    pair = MemoryPair(server, client, clock)
    if is_bound_to_fail:
        pair.client.disconnecting = True
    else:
        server.io.close(b"in clear")
    pair.pump()
    assert server.failure == ("connection closed" if is_bound_to_fail else "")
    assert len(server.lost) == 1
    assert server.layer is None


def test_a_handshake_fails_in_memory(
    side: ClientTls, clock: Clock, strict: Encryption
) -> None:
    """Both ends learn why."""
    server, client = Recorder(side), Recorder(strict)
    MemoryPair(server, client, clock).pump()
    assert "certificate verify failed" in client.failure
    assert "alert unknown ca" in server.failure
    assert [len(end.lost) for end in (server, client)] == [1, 1]


def test_no_handshake_at_all(side: ClientTls, clock: Clock) -> None:
    """What comes instead of one is named."""
    server, client = Recorder(side), Protocol()
    pair = MemoryPair(server, client, clock)
    pair.client.write(query())
    pair.pump()
    assert "packet length" in server.failure or "wrong version" in server.failure


def test_cancelling(side: ClientTls, clock: Clock) -> None:
    """Who cancels a handshake closes the connection."""
    server = Protocol()
    pair = MemoryPair(server, Protocol(), clock)
    cancelled: list[Failure] = []
    start_tls(pair.server, side).addErrback(cancelled.append).cancel()
    pair.pump()
    assert pair.server.aborted
    assert len(cancelled) == 1


def test_back_pressure(side: ClientTls, clock: Clock) -> None:
    """A transport that has enough pauses its stream; its peer waits."""
    server, client = Holder(side), Holder(TO_ANY)
    pair = MemoryPair(server, client, clock)
    pair.pump()
    other = ClientStream(
        MAX_MESSAGE_SIZE, server.io, Control(), StreamClock(monotonic, 0.0)
    )
    server.stream.peer = other
    drained: list[None] = []
    server.io.on_drained = lambda: drained.append(None)
    producer: Any = pair.server.producer
    producer.pauseProducing()
    server.stream.send(message(b"p", b"later\0"))
    states = [(server.stream.backlogged, other.paused)]
    pair.pump()
    assert client.control.calls == []
    producer.resumeProducing()
    states.append((server.stream.backlogged, other.paused))
    assert states == [(True, PAUSED_PEER), (False, 0)]
    assert drained == [None]
    pair.pump()
    assert client.control.calls == [("message", "p", b"later\0")]


def test_pausing(side: ClientTls, clock: Clock) -> None:
    """What arrives for a stream that is paused is read later, in order."""
    server, client = Holder(side), Holder(TO_ANY)
    pair = MemoryPair(server, client, clock)
    pair.pump()
    server.stream.pause(PAUSED_PEER)
    client.stream.send(message(b"p", b"1"))
    pair.pump()
    client.stream.send(message(b"p", b"2"))
    pair.pump()
    assert server.control.calls == []
    server.stream.resume(PAUSED_PEER)
    assert server.control.calls == []
    clock.advance(0)
    assert server.control.calls == [("message", "p", b"1"), ("message", "p", b"2")]


# Our own protocols.


class Psql(Protocol):
    """A client that asks for TLS, or begins with it, and logs in."""

    def __init__(self, *, is_direct: bool = False) -> None:
        """Have heard nothing."""
        self.is_direct = is_direct
        self.received = b""
        self.is_encrypted = False
        self.lost = False

    def connectionMade(self) -> None:
        """Ask."""
        if self.is_direct:
            self._encrypt()
        else:
            assert self.transport is not None
            self.transport.write(encode.ssl_request())

    def _encrypt(self) -> None:
        start_tls(self.transport, TO_ANY).addCallback(self._encrypted)

    def _encrypted(self, _layer: TlsLayer) -> None:
        self.is_encrypted = True
        assert self.transport is not None
        self.transport.write(encode.startup([("user", "app"), ("database", "db")]))

    def dataReceived(self, data: bytes) -> None:
        """Take the answer."""
        if not self.is_encrypted:
            assert data == b"S"
            self._encrypt()
        else:
            self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        del reason
        self.lost = True


@pytest.mark.parametrize("is_direct", [False, True])
def test_a_client_in_memory(
    world: World, side: ClientTls, clock: Clock, *, is_direct: bool
) -> None:
    """It logs in, asks a query and leaves: a Frontend needs no socket."""
    earlier = world.client()
    server = world.server()
    earlier.drop()
    world.context.tls.clients = side
    client = Psql(is_direct=is_direct)
    made = world.service.frontends.buildProtocol(Address("192.0.2.1", 5))
    pair = MemoryPair(made, client, clock)
    pair.pump()
    assert client.received.endswith(b"Z\0\0\0\5I")
    assert made.tls is not None
    client.received = b""
    assert client.transport is not None
    client.transport.write(query("SELECT 1"))
    pair.pump()
    server.say(ANSWER)
    pair.pump()
    assert client.received == ANSWER
    client.transport.write(message(b"X"))
    pair.pump()
    assert client.lost


def test_a_client_whose_handshake_fails(
    world: World, side: ClientTls, clock: Clock
) -> None:
    """The log says why, as with a socket."""
    world.context.tls.clients = side
    made = world.service.frontends.buildProtocol(Address("192.0.2.1", 5))
    client = Protocol()
    pair = MemoryPair(made, client, clock)
    pair.client.write(encode.ssl_request())
    pair.pump()
    pair.client.write(query())
    pair.pump()
    assert world.logged("closing because: TLS handshake failed: ")
    assert made.closed


class Postgres(Protocol):
    """A server that accepts TLS, and records what it is sent then."""

    def __init__(self, side: ClientTls) -> None:
        """Have been sent nothing."""
        self.side = side
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """Accept, or record."""
        if data == encode.ssl_request():
            assert self.transport is not None
            self.transport.write(b"S")
            start_tls(self.transport, self.side).addErrback(lambda _failure: None)
        else:
            self.received += data


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_server_in_memory(
    world: World, side: ClientTls, folder: Path, clock: Clock, *, is_trusted: bool
) -> None:
    """A Backend needs no socket either; it sends nothing to one it does not trust."""
    authority = folder / "root.crt" if is_trusted else Authority(folder, "other").path
    options = TlsOptions(mode="verify-ca", ca_file=str(authority))
    to_server = ServerTls(options)
    world.context.tls.server = lambda _spec: to_server  # type: ignore[assignment,method-assign]
    world.client()
    attempt = world.attempts[0]
    server: Any = Postgres(side)
    backend: Any = attempt.protocol
    MemoryPair(server, backend, clock).pump()
    if is_trusted:
        assert backend.tls.description.startswith("TLSv1.3/")
        assert b"user\0app\0" in server.received
    else:
        assert backend.tls is None
        assert server.received == b""
        assert "TLS handshake failed" in backend.close_text
        assert "certificate verify failed" in backend.close_text
