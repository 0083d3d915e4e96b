"""The reactor that serves streams itself and leaves all else to Twisted."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("there is no epoll here", allow_module_level=True)

from time import monotonic

from twisted.internet import main
from twisted.logger import capturedLogs

from pgswitch.net.lean_reactor import LeanReactor
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.net.transport import SocketIO
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.stream import PAUSED_HOLDING, Clock
from pgswitch.wire.framing import MAX_MESSAGE_SIZE
from tests.fakes.messages import message
from tests.unit.relay.pair import Control, Socket

PASSWORD = message(b"p", b"secret\0")


class Plain(Socket):
    """What a stream reads by."""

    def __init__(self, near: socket.socket) -> None:
        """Read from this socket."""
        super().__init__()
        self._near = near

    def recv(self, size: int) -> bytes:
        """Return what has come."""
        return self._near.recv(size)

    def ended(self) -> object:
        """Return what a reactor takes for an orderly end."""
        return main.CONNECTION_DONE


class Broken(Control):
    """Has a bug."""

    def message(self, message_type: int, body: bytes) -> None:
        """Fail."""
        raise ValueError(message_type, body)


class Selectable:
    """One end of a socket pair, as the reactor knows it; its stream may be served."""

    def __init__(self, reactor: LeanReactor) -> None:
        """Be read in Twisted's own way as long as there is no stream."""
        near, self.far = socket.socketpair()
        near.setblocking(False)  # noqa: FBT003 - its only argument
        self.socket = near
        self.reactor = reactor
        self.read: list[bytes] = []
        self.lost: list[object] = []
        reactor.addReader(self)  # type: ignore[no-untyped-call]

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Return a name for Twisted's log."""
        return "selectable"

    def doRead(self) -> object:
        """Read as Twisted has it."""
        self.read.append(self.socket.recv(100))
        return None if self.read[-1] else main.CONNECTION_DONE

    def connectionLost(self, reason: object) -> None:
        """Note the end."""
        self.lost.append(reason)
        self.reactor.event_loop.streams.pop(self.fileno(), None)

    def readConnectionLost(self, reason: object) -> None:
        """Note the end of reading."""
        self.connectionLost(reason)

    def stream(self) -> ClientStream:
        """Have a stream read from now on."""
        stream = ClientStream(
            MAX_MESSAGE_SIZE,
            Plain(self.socket),
            Control(),
            Clock(monotonic, monotonic()),
        )
        stream.starting = False
        stream.clock = self.reactor.event_loop.clock
        self.reactor.event_loop.streams[self.fileno()] = stream
        return stream

    def close(self) -> None:
        """Close both ends."""
        self.socket.close()
        self.far.close()


@pytest.fixture
def reactor() -> Iterator[LeanReactor]:
    """Return one that is not installed."""
    reactor = LeanReactor()
    yield reactor
    for reader in reactor.removeAll():  # type: ignore[no-untyped-call]
        if isinstance(reader, Selectable):
            reader.close()
    waker = reactor.waker
    assert waker is not None
    waker.connectionLost(None)
    reactor._poller.close()


def told(stream: ClientStream) -> list[tuple[object, ...]]:
    """Return what the control of a stream received."""
    control = stream.frontend
    assert isinstance(control, Control)
    return control.calls


def test_links_and_others(reactor: LeanReactor) -> None:
    """Both are read, in one turn or two."""
    plain, linked = Selectable(reactor), Selectable(reactor)
    stream = linked.stream()
    plain.far.send(b"hello")
    linked.far.send(PASSWORD)
    reactor.doPoll(0)
    reactor.doPoll(0)
    assert plain.read == [b"hello"]
    assert linked.read == []
    assert told(stream) == [("message", "p", b"secret\0")]


def test_ends(reactor: LeanReactor) -> None:
    """A stream that reads its end is dropped, as Twisted drops its own."""
    plain, linked = Selectable(reactor), Selectable(reactor)
    linked.stream()
    for one in (plain, linked):
        one.far.close()
    reactor.doPoll(0)
    reactor.doPoll(0)
    assert len(plain.lost) == len(linked.lost) == 1
    readers = reactor.getReaders()  # type: ignore[no-untyped-call]
    assert {plain, linked}.isdisjoint(readers)
    plain.close()
    linked.close()


def test_a_fault_of_ours(reactor: LeanReactor) -> None:
    """It is logged, ends that connection, and no other."""
    broken, fine = Selectable(reactor), Selectable(reactor)
    broken.stream().frontend = Broken()
    other = fine.stream()
    for one in (broken, fine):
        one.far.send(PASSWORD)
    with capturedLogs() as logged:
        reactor.doPoll(0)
        reactor.doPoll(0)
    assert [one["log_failure"].type for one in logged] == [ValueError]
    assert len(broken.lost) == 1
    assert fine.lost == []
    assert told(other) == [("message", "p", b"secret\0")]
    broken.close()


class Hasty(Control):
    """Stops the reading, before or after it ends the connection or has a fault."""

    def __init__(self, io: SocketIO, order: str) -> None:
        """Take what closes it, and what comes after what."""
        super().__init__()
        self.io = io
        self.order = order
        self.stream: ClientStream

    def message(self, message_type: int, body: bytes) -> None:
        """Do it."""
        del message_type, body
        if self.order == "closed, paused":
            self.io.close()
        self.stream.pause(PAUSED_HOLDING)
        if self.order == "paused, closed":
            self.io.close()
        elif self.order == "paused, failed":
            raise ValueError("boom")

    def connectionLost(self, reason: object) -> None:
        """Drop the connection."""
        del reason
        self.io.detach()


@pytest.mark.parametrize(
    "order", ["paused, closed", "closed, paused", "paused, failed"]
)
def test_paused_in_the_read_that_ends_it(reactor: LeanReactor, order: str) -> None:
    """The reactor does not know it any more; it is closed all the same."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003 - its only argument
    far.settimeout(5)
    address = "192.0.2.1", 5
    transport = TcpTransport(near.detach(), None, address, None, 1, reactor)
    io = SocketIO(transport)
    control = transport.protocol = Hasty(io, order)
    stream = control.stream = ClientStream(
        MAX_MESSAGE_SIZE, io, control, Clock(monotonic, monotonic())
    )
    stream.starting = False
    io.attach(stream)
    far.send(PASSWORD)
    with capturedLogs():
        for _ in range(3):
            reactor.doPoll(0)
    assert not transport.connected
    assert far.recv(1) == b""
    far.close()


def test_an_unknown_descriptor(reactor: LeanReactor) -> None:
    """An event for it is left alone."""
    reactor.fast_registration.serve(10_000, select.EPOLLIN)
    reactor.fast_registration.ended(10_000, main.CONNECTION_DONE)


def test_timers_and_the_end_interrupt(reactor: LeanReactor) -> None:
    """The turns end, so that the reactor looks at what it has to do."""
    later = reactor.callLater(50, list)
    for ask in (
        lambda: reactor.callLater(5, list),
        lambda: later.reset(1),
        reactor.stop,
    ):
        reactor._stopped = False
        reactor.event_loop.interrupted = False
        ask()
        assert reactor.event_loop.interrupted
    for call in reactor.getDelayedCalls():
        call.cancel()


@pytest.mark.parametrize(
    ("number", "raises"), [(errno.EINTR, False), (errno.EBADF, True)]
)
def test_interrupted_waits(
    reactor: LeanReactor, monkeypatch: pytest.MonkeyPatch, number: int, *, raises: bool
) -> None:
    """A signal ends a wait early; anything else is a fault."""

    class Broken:
        def run(self, *_arguments: object) -> None:
            raise OSError(number, "made up")

    monkeypatch.setattr(reactor, "event_loop", Broken())
    if raises:
        with pytest.raises(OSError, match="made up"):
            reactor.doPoll(None)
    else:
        reactor.doPoll(None)
