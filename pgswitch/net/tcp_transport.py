"""The transport of an accepted TCP connection.

Theory of operation (accept and close).  ``twisted.internet.tcp.Server`` consists of
four mixin classes, formats three texts for logs that are hardly ever written, calls
shutdown(2) before close(2), and takes six steps to end: a third of what a connection
cost outside the kernel.  :class:`TcpTransport` has the same interfaces and does less;
any reactor sees an ordinary descriptor.  A stream reads and sends on the socket
directly (transport.py), so the transport's own queue holds only the few bytes that the
kernel does not take at once.  The socket object is made on first use, because it costs
two objects and two system calls.

Theory of operation (:class:`FastRegistration`).  Each client connects and disconnects
once, and Twisted's reactor registers that through several nested calls, some of them in
a logging context.  The lean reactor updates the same tables here in one step, for the
simplest cases only: descriptors that are read and not written to, and connections that
end in an orderly way.  It is a class of its own because mypyc cannot compile a subclass
of EPollReactor.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from os import close
from select import epoll
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SHUT_WR,
    SO_KEEPALIVE,
    SO_LINGER,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    SocketType,
)
from struct import pack
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import main
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    IReadWriteDescriptor,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import classImplements

from pgswitch.net.acceptor import Acceptor
from pgswitch.relay.event_loop import READABLE
from pgswitch.relay.syscalls import read, write

if TYPE_CHECKING:
    from collections.abc import Iterable

_CLOSED_CLEANLY: Final = main.CONNECTION_DONE
_DONE: Final = Failure(_CLOSED_CLEANLY)
_IPV4_NAME: Final = 2
"""Parts of an IPv4 socket's name; one of IPv6 has more."""
_READ_SIZE: Final = 65536
_NO_LINGER: Final = pack("ii", 1, 0)
"""Close at once, by a reset, and discard unsent data (socket(7), SO_LINGER)."""
_BUFFER_SIZE: Final = 65536
"""Queued bytes that make a push producer pause, as in Twisted's own transports."""


class TcpTransport:
    """An accepted connection.

    An ``ITCPTransport``, ``IConsumer`` (of pull and push producers), ``IPushProducer``
    and ``IReadWriteDescriptor``.
    """

    __slots__ = (
        "_descriptor",
        "_is_aborted",
        "_is_half_closing",
        "_is_producer_paused",
        "_is_streaming",
        "_is_writing",
        "_offset",
        "_own_read",
        "_own_write",
        "_pending",
        "_producer",
        "_registration",
        "_socket",
        "client",
        "connected",
        "disconnecting",
        "protocol",
        "reactor",
        "sessionno",
    )

    def __init__(  # noqa: PLR0917 - as Twisted calls its own
        self,
        descriptor: int,
        protocol: Any,  # noqa: ANN401 - as Twisted has it
        client: tuple[Any, ...],
        server: object,
        number: int,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """Take what ``tcp.Server`` takes, but a descriptor in place of the socket.

        The descriptor must be non-blocking.  Begins to read.
        """
        del server
        self._socket: Any = None
        self.protocol: Any = protocol
        self.client = client
        self.sessionno = number
        self.reactor: Any = reactor
        self.connected = True
        self.disconnecting = False
        """Closes as soon as everything is written."""
        self._descriptor = descriptor
        self._pending: list[bytes] = []
        self._offset = 0
        """Bytes of the first piece that are written."""
        self._producer: Any = None
        self._is_streaming = False
        """The producer is a push producer."""
        self._is_producer_paused = False
        self._is_half_closing = False
        """Closes its writing side as soon as everything is written."""
        self._is_writing = False
        self._is_aborted = False
        self._own_read: Any = None
        self._own_write: Any = None
        self._registration: Any = getattr(reactor, "fast_registration", None)
        """The registration of a lean reactor (FastRegistration); other reactors
        have addReader and removeReader only."""
        if self._registration is None:
            reactor.addReader(self)
        else:
            self._registration.add(self._descriptor, self)

    # What the reactor calls.

    def fileno(self) -> int:
        """Return the descriptor to watch; -1 after closing."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return what Twisted's log lines about this connection begin with."""
        return f"{type(self.protocol).__name__},{self.sessionno},{self.client[0]}"

    @property
    def doRead(self) -> Any:  # noqa: ANN401 - as the reactor calls it
        """The function that reads: the one that was set, by default our own."""
        return self._read if self._own_read is None else self._own_read

    @doRead.setter
    def doRead(self, way: Any) -> None:  # noqa: ANN401 - as above
        self._own_read = way

    @property
    def doWrite(self) -> Any:  # noqa: ANN401 - as the reactor calls it
        """The function that writes; as ``doRead``."""
        return self._flush if self._own_write is None else self._own_write

    @doWrite.setter
    def doWrite(self, way: Any) -> None:  # noqa: ANN401 - as above
        self._own_write = way

    def connectionLost(self, reason: Failure) -> None:
        """Close, and tell the protocol; a second call does nothing."""
        if not self.connected:
            return
        self.connected = False
        if self._is_writing:
            self.stopWriting()
        if self._registration is None:
            self.reactor.removeReader(self)
        else:
            self._registration.remove(self._descriptor)
        if self._is_aborted:
            self.socket.setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGER)
        if self._socket is None:
            close(self._descriptor)
        else:
            self._socket.close()
        self._descriptor = -1
        self._pending.clear()
        self._own_read = self._own_write = None
        producer, protocol = self._producer, self.protocol
        self._producer = self.protocol = None
        if producer is not None:
            producer.stopProducing()
        protocol.connectionLost(reason)

    def ended(self) -> None:
        """Do what ``connectionLost`` does, at an end of file or an orderly close."""
        self.connectionLost(_DONE)

    def _read(self) -> object:
        """Read for a protocol that has no stream of its own."""
        try:
            data = self.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def _flush(self) -> object:
        """Write what is queued; then ask the producer for more, or close."""
        if self._pending:
            try:
                first = self._pending[0]
                rest: Any = first
                if self._offset:
                    rest = memoryview(first)[self._offset :]
                sent: int = self.socket.send(rest)
            except BlockingIOError:
                return None
            except OSError:
                return main.CONNECTION_LOST
            self._offset += sent
            if self._offset >= len(first):
                del self._pending[0]
                self._offset = 0
        if not self._pending:
            self.stopWriting()
            waits = not self._is_streaming or self._is_producer_paused
            if self._producer is not None and waits:
                self._is_producer_paused = False
                self._producer.resumeProducing()
            elif self.disconnecting:
                return main.CONNECTION_DONE
            elif self._is_half_closing:
                return self._close_writing()
        return None

    def _close_writing(self) -> object:
        self._is_half_closing = False
        try:
            self.socket.shutdown(SHUT_WR)
        except OSError:
            return main.CONNECTION_LOST
        listener: Any = self.protocol
        if IHalfCloseableProtocol.providedBy(listener):
            listener.writeConnectionLost()
        return None

    # What protocols call.

    @property
    def socket(self) -> Any:  # noqa: ANN401 - of C, or one that encrypts
        """The socket, made on first use."""
        if self._socket is None:
            family = AF_INET if len(self.client) == _IPV4_NAME else AF_INET6
            self._socket = SocketType(family, SOCK_STREAM, 0, self._descriptor)
        return self._socket

    @socket.setter
    def socket(self, sock: Any) -> None:  # noqa: ANN401 - as above
        self._socket = sock

    def recv(self, size: int) -> bytes:
        """Read as the socket does, unencrypted."""
        return read(self._descriptor, size)

    def send(self, data: bytes) -> int:
        """Send as the socket does, unencrypted; return how many bytes were taken."""
        return write(self._descriptor, data)

    def startReading(self) -> None:
        """Have the reactor watch for data."""
        self.reactor.addReader(self)

    def stopReading(self) -> None:
        """Stop reading for now."""
        self.reactor.removeReader(self)

    def startWriting(self) -> None:
        """Have the reactor watch for room to write."""
        self._is_writing = True
        self.reactor.addWriter(self)

    def stopWriting(self) -> None:
        """Stop writing for now."""
        self._is_writing = False
        self.reactor.removeWriter(self)

    def write(self, data: bytes) -> None:
        """Queue bytes; they are sent once the reactor finds room for them."""
        if self.connected and data:
            self._pending.append(data)
            self.startWriting()
            if self._is_streaming and not self._is_producer_paused:
                self._pause_producer()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Queue several pieces."""
        self.write(b"".join(data))

    def _pause_producer(self) -> None:
        """Pause a push producer if more than a buffer is queued."""
        size = -self._offset
        for piece in self._pending:
            size += len(piece)
        if size > _BUFFER_SIZE:
            self._is_producer_paused = True
            self._producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: ANN401, FBT001 - as Twisted has it
        """Have ``producer`` provide the data.

        A pull producer is asked whenever nothing is queued; a push producer
        (``streaming``) is paused while more than a buffer is.  Raises RuntimeError if
        one is registered.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._is_streaming = streaming
        self._is_producer_paused = False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer; a connection that is closing closes now."""
        self._producer = None
        self._is_streaming = False
        if self.connected and self.disconnecting:
            self.startWriting()

    def loseConnection(self) -> None:
        """Stop reading, and close once everything is written."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.stopReading()
            self.startWriting()

    def loseWriteConnection(self) -> None:
        """Close the writing side once everything is written (shutdown(2))."""
        if self.connected and not self.disconnecting:
            self._is_half_closing = True
            self.startWriting()

    def abortConnection(self) -> None:
        """Close in the next turn, by a reset; nothing more is read or written."""
        if not self.connected or self._is_aborted:
            return
        self._is_aborted = self.disconnecting = True
        self.stopReading()
        self.stopWriting()
        self.reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def pauseProducing(self) -> None:
        """Stop reading: backpressure by the consumer of what arrives."""
        self.stopReading()

    def resumeProducing(self) -> None:
        """Read again, unless the connection is closing."""
        if self.connected and not self.disconnecting:
            self.startReading()

    def stopProducing(self) -> None:
        """Close: the consumer of what arrives is gone."""
        self.loseConnection()

    def getTcpNoDelay(self) -> bool:
        """Tell whether small writes are sent at once (no Nagle)."""
        return bool(self.socket.getsockopt(IPPROTO_TCP, TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001 - as Twisted has it
        """Have small writes sent at once, or collected."""
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        """Tell whether the system probes a silent peer."""
        return bool(self.socket.getsockopt(SOL_SOCKET, SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001 - as Twisted has it
        """Have the system probe a silent peer, or not."""
        self.socket.setsockopt(SOL_SOCKET, SO_KEEPALIVE, int(enabled))

    def getHandle(self) -> object:
        """Return the socket."""
        return self.socket

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the address that the client has connected to."""
        return self._address(self.socket.getsockname())

    def getPeer(self) -> IPv4Address | IPv6Address:
        """Return where the client comes from."""
        return self._address(self.client)

    def _address(self, name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
        if len(self.client) == _IPV4_NAME:
            return IPv4Address("TCP", *name)
        return IPv6Address("TCP", *name)

    def __repr__(self) -> str:
        """Return the connection's number and where it comes from."""
        return f"<client #{self.sessionno} from {self.client[0]}>"


# Not as a decorator: mypyc does not compile decorated classes.
classImplements(
    TcpTransport, ITCPTransport, IConsumer, IPushProducer, IReadWriteDescriptor
)


class FastRegistration:
    """Direct access to the tables of an EPollReactor."""

    def __init__(
        self,
        poller: epoll,
        reads: set[int],
        selectables: dict[int, Any],
        serve: Callable[[int, int], bool],
        drop: Callable[[int, object], None],
    ) -> None:
        """Take the tables, and the functions for all other events and ends."""
        self._poller = poller
        self._reads = reads
        self._selectables = selectables
        self._serve = serve
        self._drop = drop

    def add(self, descriptor: int, selectable: object) -> None:
        """Watch a descriptor, new to the reactor, for data to read."""
        self._poller.register(descriptor, READABLE)
        self._reads.add(descriptor)
        self._selectables[descriptor] = selectable

    def remove(self, descriptor: int) -> None:
        """Stop watching a descriptor for data; unknown ones are ignored."""
        if descriptor in self._reads:
            self._reads.remove(descriptor)
            del self._selectables[descriptor]
            self._poller.unregister(descriptor)

    def serve(self, descriptor: int, event: int) -> bool:
        """Serve an event; tell whether the reactor has other work to do afterwards.

        An Acceptor handles its own faults, so it needs no logging context, and uses
        callLater for everything else, so it needs no further turn of the reactor.
        """
        if event == READABLE:
            selectable = self._selectables.get(descriptor)
            if isinstance(selectable, Acceptor):
                selectable.doRead()
                return False
        return self._serve(descriptor, event)

    def ended(self, descriptor: int, why: object) -> None:
        """Drop a connection whose stream read its end, or is to be closed."""
        selectable = self._selectables.get(descriptor)
        if why is _CLOSED_CLEANLY and isinstance(selectable, TcpTransport):
            selectable.ended()
        else:
            self._drop(descriptor, why)
