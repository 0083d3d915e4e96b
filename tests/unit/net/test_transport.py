"""A stream on a transport: reads and writes past it, and how it is detached."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from twisted.internet import main
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol

from pgswitch.net.sockets import tune_socket
from pgswitch.net.transport import SocketIO
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.stream import LOW_WATER_MARK, Clock
from pgswitch.wire.framing import MAX_MESSAGE_SIZE
from tests.fakes.messages import message
from tests.fakes.transports import END, FakeTransport
from tests.fakes.world import FakeReactor
from tests.unit.net.listen_settings import ListenValues
from tests.unit.relay.pair import Control

PASSWORD = message(b"p", b"secret\0")


class Holder(Protocol):
    """Drops its stream when the connection is lost, as our protocols do."""

    io: SocketIO

    def connectionLost(self, reason: object = None) -> None:
        """Drop the stream."""
        del reason
        self.io.detach()


class Scene:
    """One stream on a fake transport, with a control that records."""

    def __init__(self) -> None:
        """Attach the stream."""
        self.reactor = FakeReactor()
        self.protocol = Holder()
        peer = IPv4Address("TCP", "192.0.2.1", 40_000)
        self.transport = FakeTransport(self.reactor, self.protocol, peer, number=1)
        self.control = Control()
        self.io = self.protocol.io = SocketIO(self.transport)
        self.stream = ClientStream(
            MAX_MESSAGE_SIZE, self.io, self.control, Clock(monotonic, monotonic())
        )
        self.stream.starting = False
        self.io.attach(self.stream)

    @property
    def sent(self) -> bytes:
        """What has reached the peer."""
        return bytes(self.transport.socket.sent)


@pytest.fixture
def scene() -> Scene:
    """Return an attached stream."""
    return Scene()


def do_read(scene: Scene) -> object:
    """Return what the transport's doRead tells the reactor."""
    transport: Any = scene.transport
    result: object = transport.doRead()
    return result


def test_the_reactor_reads_by_the_stream(scene: Scene) -> None:
    """Its doRead is the stream's; its results are those that a reactor knows."""
    assert do_read(scene) is None
    scene.transport.socket.incoming.append(PASSWORD)
    assert do_read(scene) is None
    assert scene.control.calls == [("message", "p", b"secret\0")]
    scene.transport.socket.incoming.append(END)
    assert do_read(scene) is main.CONNECTION_DONE
    scene.transport.socket.is_broken = True
    assert do_read(scene) is main.CONNECTION_LOST


def test_the_lean_reactor_finds_the_stream(scene: Scene) -> None:
    """By descriptor, with its event loop's clock; no longer once it is detached."""
    event_loop = scene.reactor.event_loop
    assert event_loop.streams == {scene.transport.fileno(): scene.stream}
    assert scene.stream.clock is event_loop.clock
    scene.io.detach()
    assert event_loop.streams == {}


def test_a_number_that_is_another_ones_by_now(scene: Scene) -> None:
    """Detaching leaves the new owner of the descriptor alone."""
    other = Scene()
    streams = scene.reactor.event_loop.streams
    streams[scene.transport.fileno()] = other.stream
    scene.io.detach()
    assert streams == {scene.transport.fileno(): other.stream}


def test_any_other_reactor(scene: Scene) -> None:
    """Without an event loop the stream reads the clock itself."""
    del scene.io
    scene.transport.reactor = object()
    stream = ClientStream(
        MAX_MESSAGE_SIZE,
        SocketIO(scene.transport),
        Control(),
        Clock(monotonic, monotonic()),
    )
    stream.starting = False
    SocketIO(scene.transport).attach(stream)
    assert stream.clock is not scene.reactor.event_loop.clock


def test_what_the_kernel_refuses(scene: Scene) -> None:
    """It waits in the transport, in order, until the peer takes it."""
    scene.transport.socket.room = 3
    scene.stream.send(b"hello ")
    scene.stream.send(b"world")
    assert scene.sent == b"hel"
    states = [scene.stream.backlogged]
    scene.transport.make_room()
    assert scene.sent == b"hello world"
    states.append(scene.stream.backlogged)
    assert states == [True, False]
    scene.stream.send(b"!")
    assert scene.sent == b"hello world!"


def test_a_backlog_of_a_connection_that_is_gone(scene: Scene) -> None:
    """Nothing is registered with a transport that is not connected."""
    scene.transport.connected = False
    scene.transport.socket.room = 0
    scene.stream.send(b"x")
    assert scene.transport._producer is None


def test_pausing(scene: Scene) -> None:
    """Reading stops and goes on, but not once the connection is closing."""
    scene.io.pause()
    states = [scene.transport.reading]
    scene.io.resume()
    states.append(scene.transport.reading)
    scene.io.close()
    scene.io.resume()
    states.append(scene.transport.reading)
    assert states == [False, True, False]


def test_closing(scene: Scene) -> None:
    """The final error is sent, once; later input is ignored."""
    scene.io.close(b"bye")
    scene.io.close(b"bye")
    assert scene.stream.lost
    assert scene.transport.disconnecting
    assert not scene.transport.aborted
    scene.stream.take(PASSWORD)
    scene.reactor.advance(0)
    assert scene.sent == b"bye"
    assert scene.control.calls == []
    assert not scene.transport.connected


@pytest.mark.parametrize("room", [0, 1])
def test_closing_what_does_not_take_its_bytes(scene: Scene, room: int) -> None:
    """Such a close is cut off, before or in the middle of the final error."""
    scene.transport.socket.room = room
    if not room:
        scene.stream.send(b"hello")
    scene.io.close(b"bye")
    assert scene.transport.aborted
    scene.reactor.advance(0)
    assert scene.sent == b"bye"[:room]
    assert not scene.transport.connected


def test_after_the_end(scene: Scene) -> None:
    """A detached stream neither reads nor sends, and does not raise."""
    scene.io.detach()
    scene.stream.send(b"x")
    assert scene.sent == b""
    assert scene.stream.do_read() is main.CONNECTION_LOST
    scene.io.resumeProducing()
    scene.io.close(b"x")
    assert scene.sent == b""
    assert not scene.transport.disconnecting


def test_the_end_of_a_patient_one(scene: Scene) -> None:
    """A connection that is gone has no socket whose options could be set."""
    scene.stream.batching = scene.reactor.event_loop.batching
    scene.stream.batching.streams[-1] = scene.stream
    scene.stream.low_water = True
    del scene.transport.socket
    scene.transport.connected = False
    scene.io.detach()
    assert scene.reactor.event_loop.streams == {}
    assert not scene.stream.low_water


# With a socket of the system.


@pytest.mark.parametrize(
    ("size", "waits"),
    [
        *((size, False) for size in (2048, 4096, 8192, 16384, 32768)),
        *((size, True) for size in (0, 65536, 1 << 20, 4 << 20)),
    ],
)
def test_waiting_takes_a_buffer(scene: Scene, size: int, *, waits: bool) -> None:
    """Where much has no room nothing is waited for: it would not come."""
    transport: Any = scene.transport
    sock = transport.socket = socket.socket()
    transport.connected = True
    with sock:
        tune_socket(sock, ListenValues(tcp_socket_buffer=size))
        assert scene.io.wake_for(LOW_WATER_MARK) is waits
        least = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        assert least == (LOW_WATER_MARK if waits else 1)
        assert scene.io.wake_for(1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003 - its only argument
    yield near, far
    near.close()
    far.close()


def test_the_descriptor(
    scene: Scene, ends: tuple[socket.socket, socket.socket]
) -> None:
    """A plain socket is read and written by its number, until it is detached."""
    near, far = ends
    transport: Any = scene.transport
    transport.socket = near
    transport.fileno = near.fileno
    io = SocketIO(transport)
    control = Control()
    stream = ClientStream(MAX_MESSAGE_SIZE, io, control, Clock(monotonic, monotonic()))
    stream.starting = False
    io.attach(stream)
    assert stream.descriptor == near.fileno()
    stream.send(b"hello")
    assert far.recv(10) == b"hello"
    far.send(PASSWORD)
    assert stream.do_read_now() is None
    assert control.calls == [("message", "p", b"secret\0")]
    assert stream.do_read_now() is None
    far.close()
    assert stream.do_read_now() is main.CONNECTION_DONE
    io.detach()
    assert stream.descriptor == -1
