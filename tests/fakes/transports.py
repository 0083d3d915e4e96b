"""A transport and its socket, as far as net/transport.py and the protocols use them."""

# ruff: noqa: D102 - the methods do what those of Twisted and of sockets do

from __future__ import annotations

from collections import deque
from socket import MSG_PEEK
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pgswitch.net.tls_socket import TlsSocket

_MSG_PEEK = int(MSG_PEEK)
"""An int: operators of an enumeration are calls, which test_cost.py would count."""

END = b""
"""In place of bytes that are read: the other end has closed."""


class FakeSocket:
    """Gives what a test has put in, takes as much as a test allows."""

    def __init__(self) -> None:
        """Begin with nothing to read and room without end."""
        self.incoming: deque[bytes] = deque()
        self.sent = bytearray()
        self.room: int | None = None
        self.is_broken = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self.is_broken:
            raise ConnectionResetError
        if not self.incoming:
            raise BlockingIOError
        if flags & _MSG_PEEK:
            return self.incoming[0][:size]
        data = self.incoming.popleft()
        if data == END or len(data) > size:
            # An end is there to be read again.
            self.incoming.appendleft(data[size:])
        return data[:size]

    def send(self, data: bytes) -> int:
        if self.is_broken:
            raise BrokenPipeError
        if self.room is None:
            taken = len(data)
        elif self.room:
            taken = min(self.room, len(data))
            self.room -= taken
        else:
            raise BlockingIOError
        self.sent += data[:taken]
        return taken

    def close(self) -> None:
        """Do nothing: what was sent is still to be heard."""


class FakeTransport:
    """A connected transport whose other end is the test."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        protocol: Any,  # noqa: ANN401 - an IProtocol
        peer: IPv4Address | UNIXAddress,
        *,
        number: int,
    ) -> None:
        """Connect ``protocol``; ``number`` tells its descriptor from others."""
        self.socket = FakeSocket()
        self.reactor = reactor
        self.protocol = protocol
        self.connected = True
        self.disconnecting = False
        self.aborted = False
        self.reading = True
        self._peer = peer
        self._number = number
        self._queued = bytearray()
        self._producer: Any = None
        protocol.makeConnection(self)

    # What the tests do.

    def arrive(self, data: bytes) -> None:
        """Have the protocol read some bytes, or the END."""
        stream = self.reactor.event_loop.streams.get(self.fileno())
        if stream is None:
            if data:
                self.protocol.dataReceived(data)
            else:
                self.finish()
            return
        self.socket.incoming.append(data)
        while self.reading and self.connected and self.socket.incoming:
            if self.reactor.event_loop.streams.get(self.fileno()) is not stream:
                break
            if stream.do_read() is not None:
                self.finish()

    def break_(self) -> None:
        """Have the connection reset."""
        self.socket.is_broken = True
        self.arrive(b"?")

    def make_room(self) -> None:
        """Take all that waits, and whatever else comes."""
        self.socket.room = None
        self.socket.sent += self._queued
        self._queued.clear()
        while self._producer is not None:
            self._producer.resumeProducing()
            self.socket.sent += self._queued
            self._queued.clear()
        if self.disconnecting:
            self.finish()

    def finish(self, reason: type[Exception] = ConnectionDone) -> None:
        """End the connection, as the reactor does once it is closed or lost."""
        if self.connected:
            self.connected = False
            if self._producer is not None:
                producer, self._producer = self._producer, None
                producer.stopProducing()
            sock: object = self.socket
            if isinstance(sock, TlsSocket):
                sock.close()
            # Those of Twisted drop it as well.
            protocol, self.protocol = self.protocol, None
            protocol.connectionLost(Failure(reason()))

    # What protocols and SocketIO do.

    def fileno(self) -> int:
        # Negative, so that streams use the socket's methods; -1 would be none.
        return -1 - self._number

    def getHandle(self) -> FakeSocket:
        return self.socket

    def getPeer(self) -> IPv4Address | UNIXAddress:
        return self._peer

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "10.9.9.9", 50_000 + self._number)

    def write(self, data: bytes) -> None:
        if self.socket.room is None:
            self.socket.sent += data
        else:
            self._queued += data

    def registerProducer(self, producer: object, *, streaming: bool) -> None:
        assert not streaming
        assert self._producer is None
        self._producer = producer
        self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def stopReading(self) -> None:
        self.reading = False

    def startReading(self) -> None:
        self.reading = True
        if self.socket.incoming:
            self.reactor.callLater(0, self._read_on)

    def startWriting(self) -> None:
        """Do nothing: what is to be written is, once there is room."""

    stopWriting = startWriting

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.reading = False
            if not self._queued:
                self.reactor.callLater(0, self.finish)

    def abortConnection(self) -> None:
        if self.connected:
            self.aborted = True
            self.disconnecting = True
            self.reactor.callLater(0, self.finish)

    def _read_on(self) -> None:
        stream = self.reactor.event_loop.streams.get(self.fileno())
        while stream and self.reading and self.connected and self.socket.incoming:
            if stream.do_read() is not None:
                self.finish()
