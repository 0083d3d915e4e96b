"""TLS on a transport, with every reactor of Twisted that works on descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import main
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from pgswitch.net.lean_reactor import LeanReactor
from pgswitch.net.tls_socket import RECORD, TlsLayer, TlsSocket, start_tls
from pgswitch.net.transport import SocketIO
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.stream import PAUSED_PEER, Clock
from pgswitch.tls.endpoints import ClientTls
from pgswitch.wire.framing import MAX_MESSAGE_SIZE
from tests.fakes.messages import message
from tests.unit.net.tls_pair import Pair, side_for_clients
from tests.unit.relay.pair import Control

PASSWORD = message(b"p", b"secret\0")
REACTORS = [LeanReactor, EPollReactor, PollReactor, SelectReactor]


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> ClientTls:
    """Return how clients are served."""
    return side_for_clients(tmp_path_factory.mktemp("tls"))


class Holder(Protocol):
    """Has a stream as our protocols do."""

    def __init__(self) -> None:
        """Begin unconnected."""
        self.control = Control()
        self.io: SocketIO
        self.stream: ClientStream
        self.ends: list[object] = []

    def connectionMade(self) -> None:
        """Make the stream."""
        self.io = SocketIO(self.transport)
        self.stream = ClientStream(
            MAX_MESSAGE_SIZE, self.io, self.control, Clock(monotonic, monotonic())
        )
        self.stream.starting = False
        self.io.attach(self.stream)

    def connectionLost(self, reason: object = None) -> None:
        """Drop the stream."""
        self.ends.append(reason)
        self.io.detach()


class Scene(Pair):
    """A stream whose connection is to be encrypted."""

    def __init__(self, reactor: Any, side: ClientTls, limit: int = 0) -> None:  # noqa: ANN401 - any reactor
        """Begin the handshake."""
        self.holder = Holder()
        super().__init__(reactor, self.holder, side)
        self.outcome: list[str] = []
        self.stream, self.io = self.holder.stream, self.holder.io
        self.done = self.io.start_tls(self.stream, side, limit)
        self.done.addCallbacks(self._done, self._failed)

    def _failed(self, failure: Failure) -> None:
        self.outcome.append(str(failure.value))

    def _done(self, _connection: SSL.Connection) -> None:
        self.outcome.append("")
        self.io.attach(self.stream)

    def shake_hands(self, cut: int = 65536) -> None:
        """Do the handshake."""
        self.until(lambda: self.outcome, cut)
        assert self.outcome == [""]


@pytest.fixture(params=REACTORS, ids=lambda kind: kind.__name__)
def scene(request: pytest.FixtureRequest, side: ClientTls) -> Iterator[Scene]:
    """Return a stream before its handshake."""
    made = Scene(request.param(), side)
    yield made
    made.close()


@pytest.fixture
def lean(side: ClientTls) -> Iterator[Scene]:
    """Return the same for what no reactor changes."""
    made = Scene(LeanReactor(), side)
    yield made
    made.close()


def test_a_conversation(scene: Scene) -> None:
    """Messages arrive on both sides, read by the stream alone."""
    scene.shake_hands()
    scene.far.connection.send(PASSWORD)
    scene.until(lambda: scene.holder.control.calls)
    assert scene.holder.control.calls == [("message", "p", b"secret\0")]
    scene.stream.send(b"answer")
    scene.until(lambda: scene.far.received)
    assert scene.far.received == b"answer"
    assert scene.stream.descriptor == -1


@pytest.mark.parametrize("cut", [1, 5, 6, 100])
def test_cut_anywhere(lean: Scene, cut: int) -> None:
    """A handshake or record in pieces waits for the rest, and blocks no one."""
    lean.shake_hands(cut)
    lean.far.connection.send(PASSWORD)
    lean.until(lambda: lean.holder.control.calls, cut)
    assert lean.holder.control.calls == [("message", "p", b"secret\0")]


@pytest.mark.parametrize("cut", [1, 50])
@pytest.mark.parametrize(
    ("limit", "outcome"), [(0, ""), (16384, ""), (100, "more than 100 bytes")]
)
def test_how_much_is_taken(side: ClientTls, cut: int, limit: int, outcome: str) -> None:
    """A handshake that has not come to its end by then comes to none."""
    scene = Scene(LeanReactor(), side, limit)
    scene.until(lambda: scene.outcome, cut)
    assert scene.outcome == [outcome]
    scene.close()


def test_nothing_stays_in_openssl(lean: Scene) -> None:
    """A record is read whole: what is left over in it no poller would tell of."""
    lean.shake_hands()
    count = RECORD // len(PASSWORD)
    lean.far.connection.send(PASSWORD * count)
    lean.until(lambda: len(lean.holder.control.calls) == count)


def test_more_than_the_socket_takes(scene: Scene) -> None:
    """It is sent in order as the peer takes it; meanwhile reading is paused."""
    scene.shake_hands()
    other = ClientStream(
        MAX_MESSAGE_SIZE, scene.io, Control(), Clock(monotonic, monotonic())
    )
    scene.stream.peer = other
    data = b"".join(b"%07d " % number for number in range(150_000))
    for at in range(0, len(data), 100_000):
        scene.stream.send(data[at : at + 100_000])
    assert scene.stream.backlogged
    assert other.paused == PAUSED_PEER
    scene.until(lambda: len(scene.far.received) >= len(data))
    assert bytes(scene.far.received) == data
    scene.until(lambda: not scene.stream.backlogged)
    assert other.paused == 0
    scene.stream.peer = None
    scene.stream.send(b"!")
    scene.until(lambda: scene.far.received.endswith(b"!"))


def test_closing(scene: Scene) -> None:
    """The final error goes out encrypted, then TLS's close_notify."""
    scene.shake_hands()
    scene.io.close(b"bye")
    scene.until(lambda: scene.far.is_over)
    assert scene.far.received == b"bye"
    assert scene.far.is_at_end
    assert len(scene.holder.ends) == 1


def test_the_other_end_closes(scene: Scene) -> None:
    """With a goodbye or without: the connection is over."""
    scene.shake_hands()
    scene.far.connection.shutdown()
    scene.until(lambda: scene.holder.ends)


def test_an_end_without_goodbye(lean: Scene) -> None:
    """It is an end like any other."""
    lean.shake_hands()
    lean.far.socket.close()
    for _ in range(5):
        lean.turn()
    assert len(lean.holder.ends) == 1


def test_garbage(lean: Scene) -> None:
    """An invalid record ends the connection; none of it reaches the stream."""
    lean.shake_hands()
    lean.far.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    lean.until(lambda: lean.holder.ends)
    assert lean.holder.control.calls == []
    assert lean.io.tls is not None
    assert "decryption failed or bad record mac" in lean.io.tls.error


def test_no_handshake(scene: Scene) -> None:
    """What came instead is named; the connection is for the owner to close."""
    scene.far.socket.send(b"Q\0\0\0\x0dSELECT 1\0")
    for _ in range(5):
        scene.turn()
    [reason] = scene.outcome
    assert "packet length" in reason or "wrong version number" in reason
    assert scene.holder.control.calls == []
    scene.io.close(b"in clear")
    scene.until(lambda: scene.far.is_over)
    assert scene.far.received == b""


def test_closing_in_the_midst(scene: Scene) -> None:
    """Nothing is sent unencrypted, and no outcome is reported."""
    scene.turn()
    scene.io.close(b"in clear")
    for _ in range(5):
        scene.turn()
    assert len(scene.holder.ends) == 1
    assert scene.outcome == []
    assert scene.far.socket.recv(100) == b""


def test_an_end_in_the_midst(lean: Scene) -> None:
    """The handshake fails, once."""
    lean.far.socket.close()
    for _ in range(5):
        lean.turn()
    assert lean.outcome == ["connection closed"]


def test_other_protocols(scene: Scene, side: ClientTls) -> None:
    """Twisted's own reading and writing go through TLS as well."""
    del scene
    heard: list[bytes] = []

    class Plain(Protocol):
        def dataReceived(self, data: bytes) -> None:
            heard.append(data)

    pair = Pair(LeanReactor(), Plain(), side)
    done: list[TlsLayer] = []
    start_tls(pair.transport, side).addCallback(done.append)
    pair.until(lambda: done)
    pair.far.connection.send(b"hello")
    pair.until(lambda: heard)
    pair.transport.write(b"x" * 500_000)
    pair.transport.loseConnection()
    pair.until(lambda: pair.far.is_over)
    assert heard == [b"hello"]
    assert pair.far.received == b"x" * 500_000
    pair.close()


# Reading that has to write first.


def _want_to_write(_connection: SSL.Connection) -> bytes:
    raise SSL.WantWriteError


def test_an_answer_to_be_sent(lean: Scene) -> None:
    """Reading stops until there is room, and goes on then; streams wait meanwhile."""
    lean.shake_hands()
    tls = lean.io.tls
    assert isinstance(tls, TlsSocket)
    whole, tls._read = tls._read, _want_to_write
    lean.far.connection.send(PASSWORD)
    lean.far.socket.send(lean.far.connection.bio_read(1000))
    assert lean.stream.do_read_now() is None
    assert lean.transport not in lean.reactor.getReaders()
    assert lean.transport in lean.reactor.getWriters()
    tls._read = whole
    lean.until(lambda: lean.holder.control.calls)
    assert lean.transport in lean.reactor.getReaders()
    assert lean.transport not in lean.reactor.getWriters()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SSL.WantReadError(), BlockingIOError),
        (SSL.Error([("SSL routines", "", "bad")]), ConnectionAbortedError),
        (SSL.SysCallError(104, "ECONNRESET"), b""),
        (SSL.ZeroReturnError(), b""),
    ],
)
def test_what_a_read_comes_to(error: Exception, outcome: object) -> None:
    """OpenSSL's words as those of a socket."""
    tls = TlsSocket(_failing(error), object(), lambda: None)  # type: ignore[arg-type]
    if isinstance(outcome, bytes):
        assert tls.recv(5) == outcome
    else:
        with pytest.raises(OSError) as raised:  # noqa: PT011 - its type is compared
            tls.recv(5)
        assert type(raised.value) is outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SSL.WantWriteError(), BlockingIOError),
        (SSL.Error([("SSL routines", "", "bad")]), ConnectionAbortedError),
        (SSL.SysCallError(32, "EPIPE"), ConnectionAbortedError),
    ],
)
def test_what_a_write_comes_to(error: Exception, outcome: type) -> None:
    """The same for what is sent."""
    tls = TlsSocket(_failing(error), object(), lambda: None)  # type: ignore[arg-type]
    with pytest.raises(OSError) as raised:  # noqa: PT011 - its type is compared
        tls.send(b"x")
    assert type(raised.value) is outcome
    assert tls.send(b"") == 0
    assert tls.error == ("bad" if type(error) is SSL.Error else "")


def test_what_comes_after_the_end() -> None:
    """OpenSSL has no words for it; those of before stay."""
    tls = TlsSocket(_failing(SSL.Error([])), object(), lambda: None)  # type: ignore[arg-type]
    tls.error = "tlsv1 alert unknown ca"
    with pytest.raises(ConnectionAbortedError):
        tls.send(b"x")
    assert tls.error == "tlsv1 alert unknown ca"


def _failing(error: Exception) -> Any:  # noqa: ANN401 - stands for a connection
    """Return a connection that does nothing but fail."""

    def fail(*_arguments: object) -> bytes:
        raise error

    return type("Failing", (), {"recv": staticmethod(fail), "send": staticmethod(fail)})


def test_the_reactors_word_for_the_end(lean: Scene) -> None:
    """A stream reports the end of a TLS connection as of any other."""
    lean.shake_hands()
    lean.far.connection.shutdown()
    lean.far.socket.send(lean.far.connection.bio_read(1000))
    assert lean.stream.do_read_now() is main.CONNECTION_DONE


class Sparing:
    """A connection that takes what it is given, a record at a time; notes how much."""

    def __init__(self) -> None:
        """Have taken nothing."""
        self.given: list[int] = []
        self.taken = b""

    def send(self, data: bytes | memoryview) -> int:
        """Take one record."""
        self.given.append(len(data))
        self.taken += bytes(data[:RECORD])
        return min(len(data), RECORD)


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_no_more_is_copied_than_one_call_takes(kind: type) -> None:
    """Else a long message would be copied once for each of its records."""
    connection: Any = Sparing()
    data = bytes(range(250)) * 2000
    tls = TlsSocket(connection, connection, lambda: None)
    assert tls.send(kind(data)) == len(data)
    assert connection.taken == data
    assert sum(connection.given) == len(data)
