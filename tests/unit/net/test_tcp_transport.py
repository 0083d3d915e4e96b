"""The transports of accepted connections, on real sockets and a stock reactor."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from time import monotonic
from typing import Any

import pytest
from twisted.internet import main
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.net.tls_socket import restore_handlers


@pytest.mark.parametrize(
    ("client", "kind"),
    [(("127.0.0.1", 5), IPv4Address), (("::1", 5, 0, 0), IPv6Address)],
)
def test_tcp_transport(client: tuple[object, ...], kind: type) -> None:
    """It knows its peer, reads for its protocol and has a name for logs."""
    heard: list[bytes] = []

    class EndRecorder(Protocol):
        def dataReceived(self, data: bytes) -> None:
            heard.append(data)

    reactor = EPollReactor()
    ours, theirs = socket.socketpair()
    with closing(theirs):
        protocol = EndRecorder()
        transport: Any = TcpTransport(ours.detach(), protocol, client, None, 7, reactor)
        protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        theirs.send(b"abc")
        reactor.doPoll(1.0)
        assert heard == [b"abc"]
        assert transport.getPeer() == kind("TCP", *client)
        assert transport.logPrefix() == f"EndRecorder,7,{client[0]}"
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
    """Read to its end, a connection is closed, and its protocol notified once."""
    reactor = EPollReactor()
    ours, theirs = socket.socketpair()
    with closing(theirs):
        protocol = Mourner()
        transport: Any = TcpTransport(
            ours.detach(), protocol, ("::1", 5, 0, 0), None, 7, reactor
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


class Visit:
    """A transport on a pair of sockets; its protocol keeps what it receives."""

    def __init__(self) -> None:
        """Connect the two, and read."""
        self.reactor = EPollReactor()
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - its only argument
        self.theirs.settimeout(5)
        self.protocol = Mourner()
        self.transport = TcpTransport(
            ours.detach(), self.protocol, ("192.0.2.1", 5), None, 7, self.reactor
        )
        self.protocol.makeConnection(self.transport)  # type: ignore[no-untyped-call]

    def until(self, happened: Callable[[], object]) -> None:
        """Let the reactor run until something has happened."""
        deadline = monotonic() + 10
        while not happened() and monotonic() < deadline:
            self.reactor.runUntilCurrent()
            self.reactor.doPoll(0.01)
        assert happened()


@pytest.fixture
def visit() -> Iterator[Visit]:
    """Return a connection, both ends of which are closed afterwards."""
    made = Visit()
    with closing(made.theirs):
        yield made
        made.transport.connectionLost(Failure(ConnectionDone()))


class Giver:
    """A pull producer with so many chunks to give."""

    def __init__(self, transport: TcpTransport, chunks: int) -> None:
        """Have chunks of 100 kB."""
        self.transport = transport
        self.left = chunks
        self.stopped = False

    def resumeProducing(self) -> None:
        """Give one, or go."""
        if self.left:
            self.left -= 1
            self.transport.write(b"x" * 100_000)
        else:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Note the end."""
        self.stopped = True


def test_more_than_the_kernel_takes(visit: Visit) -> None:
    """All of it comes through, in order to close only then."""
    giver = Giver(visit.transport, 20)
    visit.transport.registerProducer(giver, streaming=False)
    visit.transport.loseConnection()
    read = bytearray()

    def pull() -> bool:
        with suppress(BlockingIOError):
            read.extend(visit.theirs.recv(1 << 20))
        return len(read) == 2_000_000

    visit.theirs.setblocking(False)  # noqa: FBT003 - its only argument
    visit.until(pull)
    visit.until(lambda: visit.protocol.reasons)
    assert isinstance(visit.protocol.reasons[0], ConnectionDone)
    assert not visit.reactor.getWriters()


class Narrow:
    """A socket that takes little at a time, and keeps what it was given."""

    def __init__(self) -> None:
        """Have been given nothing."""
        self.given: list[bytes | memoryview] = []
        self.taken = b""

    def send(self, data: bytes | memoryview) -> int:
        """Take some."""
        self.given.append(data)
        self.taken += bytes(data[:300])
        return min(len(data), 300)


def test_what_is_left_is_not_copied(visit: Visit) -> None:
    """However often the kernel takes a little of a long message."""
    long, more = b"x" * 5000, b"more"
    plain = visit.transport.socket
    narrow = visit.transport.socket = Narrow()
    visit.transport.write(long)
    visit.transport.write(more)
    while visit.transport.doWrite() is None and len(narrow.taken) < len(long + more):
        pass
    visit.transport.socket = plain
    assert narrow.taken == long + more
    assert narrow.given[0] is long
    assert narrow.given[-1] is more
    views = narrow.given[1:-1]
    assert all(isinstance(one, memoryview) and one.obj is long for one in views)


def test_abort(visit: Visit) -> None:
    """The queue is dropped, and the producer stopped."""
    giver = Giver(visit.transport, 1_000_000)
    visit.transport.registerProducer(giver, streaming=False)
    visit.transport.abortConnection()
    visit.transport.abortConnection()
    assert visit.transport.connected
    visit.until(lambda: not visit.transport.connected)
    assert [type(reason) for reason in visit.protocol.reasons] == [ConnectionAborted]
    assert giver.stopped
    assert visit.transport.fileno() == -1


def test_too_late(visit: Visit) -> None:
    """After the end nothing is written and no producer is taken."""
    visit.transport.connectionLost(Failure(ConnectionDone()))
    giver = Giver(visit.transport, 1)
    visit.transport.registerProducer(giver, streaming=False)
    visit.transport.write(b"x")
    visit.transport.loseConnection()
    assert giver.stopped
    assert not visit.reactor.getWriters()


def test_who_takes_the_events(visit: Visit) -> None:
    """A way that was set is what the reactor calls, until it is taken back."""
    transport: Any = visit.transport
    transport.doRead = transport.doWrite = list
    assert (transport.doRead(), transport.doWrite()) == ([], [])
    restore_handlers(transport, "doRead", "doWrite")
    assert transport.doRead() is None
    visit.theirs.close()
    assert transport.doRead() is main.CONNECTION_DONE


class Pusher:
    """A push producer that writes until it is paused."""

    def __init__(self, transport: TcpTransport) -> None:
        """Begin to write."""
        self.transport = transport
        self.calls: list[str] = []
        self.written = 0
        transport.registerProducer(self, streaming=True)
        self._write()

    def _write(self) -> None:
        while not self.calls or self.calls[-1] != "pause":
            self.transport.write(b"x" * 10_000)
            self.written += 10_000

    def pauseProducing(self) -> None:
        """Pause."""
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """Write on, once."""
        self.calls.append("resume")
        if self.calls.count("resume") == 1:
            self._write()

    def stopProducing(self) -> None:
        """Note the end."""
        self.calls.append("stop")


def test_a_push_producer(visit: Visit) -> None:
    """It is paused while more than a buffer is queued, and resumed when none is."""
    pusher = Pusher(visit.transport)
    assert pusher.written == 70_000
    with pytest.raises(RuntimeError):
        visit.transport.registerProducer(pusher, streaming=True)
    read = bytearray()

    def is_done() -> bool:
        with suppress(BlockingIOError):
            read.extend(visit.theirs.recv(1 << 20))
        return pusher.calls.count("resume") == 2

    visit.theirs.setblocking(False)  # noqa: FBT003 - its only argument
    visit.until(is_done)
    visit.theirs.settimeout(5)
    assert pusher.calls == ["pause", "resume", "pause", "resume"]
    visit.transport.loseConnection()
    visit.until(lambda: visit.protocol.reasons)
    assert pusher.calls[-1] == "stop"
    assert len(read + _read_all(visit.theirs)) == pusher.written == 140_000


def _read_all(sock: socket.socket) -> bytes:
    read = bytearray()
    while piece := sock.recv(1 << 20):
        read += piece
    return bytes(read)


@implementer(IHalfCloseableProtocol)
class HalfCloser(Mourner):
    """Notes the end of its writing side."""

    is_write_closed = False

    def writeConnectionLost(self) -> None:
        """Note it."""
        self.is_write_closed = True

    def readConnectionLost(self) -> None:
        """Do nothing: nothing calls it."""


@pytest.mark.parametrize("kind", [Mourner, HalfCloser])
def test_half_closing(visit: Visit, kind: type[Mourner]) -> None:
    """What is queued is written, then an end; what comes is still read."""
    protocol = visit.transport.protocol = kind()
    visit.transport.writeSequence([b"last ", b"words"])
    visit.transport.loseWriteConnection()
    heard: list[bytes] = []
    vars(protocol)["dataReceived"] = heard.append
    visit.until(lambda: not visit.reactor.getWriters())
    assert _read_all(visit.theirs) == b"last words"
    visit.theirs.send(b"answer")
    visit.until(lambda: heard)
    assert heard == [b"answer"]
    assert not protocol.reasons
    assert getattr(protocol, "is_write_closed", True)


def test_as_a_producer(visit: Visit) -> None:
    """Reading can be paused, resumed and stopped by what consumes the data."""
    states = [visit.transport in visit.reactor.getReaders()]
    visit.transport.pauseProducing()
    states.append(visit.transport in visit.reactor.getReaders())
    visit.transport.resumeProducing()
    states.append(visit.transport in visit.reactor.getReaders())
    assert states == [True, False, True]
    visit.transport.stopProducing()
    visit.transport.resumeProducing()
    assert visit.transport not in visit.reactor.getReaders()
    visit.until(lambda: visit.protocol.reasons)


def test_options() -> None:
    """Those that ITCPTransport has are those of the socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, client = server.accept()
        with theirs:
            transport = TcpTransport(
                ours.detach(), Mourner(), client, None, 7, EPollReactor()
            )
            for enabled in (True, False):
                transport.setTcpNoDelay(enabled)
                transport.setTcpKeepAlive(enabled)
                assert transport.getTcpNoDelay() is enabled
                assert transport.getTcpKeepAlive() is enabled
            transport.ended()
