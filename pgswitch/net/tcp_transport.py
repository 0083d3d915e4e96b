"""The transport of an accepted TCP connection.

Theory of operation (a connection's way).  ``twisted.internet.tcp.Server`` is four
classes of mixins, three texts for logs that are hardly ever written, shutdown(2)
before close(2), and six steps to end: a third of what a connection cost outside the
kernel.  :class:`TcpTransport` is what our protocols use of it, and no more; the
reactor, any reactor, sees an ordinary descriptor.  A link reads past it and sends
before it (transport.py), so that its own queue is for the rare bytes that the kernel
does not take at once.  There is a socket object only once somebody asks for one: to
make it costs two objects and two system calls.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from os import close
from socket import AF_INET, AF_INET6, SO_LINGER, SOCK_STREAM, SOL_SOCKET, SocketType
from struct import pack
from typing import Any, Final

from twisted.internet import main
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from pgswitch.relay.syscalls import read, write

_DONE: Final = Failure(main.CONNECTION_DONE)
_IPV4_NAME: Final = 2
"""Parts of an IPv4 socket's name; one of IPv6 has more."""
_READ_SIZE: Final = 65536
_NO_LINGER: Final = pack("ii", 1, 0)
"""Close at once, by a reset, whatever is still to be sent (socket(7), SO_LINGER)."""


class TcpTransport:
    """An accepted connection: of ``ITCPTransport`` what is used here."""

    __slots__ = (
        "_descriptor",
        "_is_aborted",
        "_is_writing",
        "_offset",
        "_own_read",
        "_own_write",
        "_pending",
        "_producer",
        "_socket",
        "_watching",
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
        """Take what ``tcp.Server`` takes, and for the socket the descriptor.

        It must not block.  Begins to read.
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
        """How much of the first piece was written."""
        self._producer: Any = None
        self._is_writing = False
        self._is_aborted = False
        self._own_read: Any = None
        self._own_write: Any = None
        self._watching: Any = getattr(reactor, "watching", None)
        """How a lean reactor is told (fast_registration.py); any other is by its own
        names."""
        if self._watching is None:
            reactor.addReader(self)
        else:
            self._watching.add(self._descriptor, self)

    # What the reactor calls.

    def fileno(self) -> int:
        """Return the descriptor to watch; -1 after closing."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return what Twisted's log lines about this connection begin with."""
        return f"{type(self.protocol).__name__},{self.sessionno},{self.client[0]}"

    @property
    def doRead(self) -> Any:  # noqa: ANN401 - as the reactor calls it
        """What reads: what was set for that, else (None) we ourselves."""
        return self._read if self._own_read is None else self._own_read

    @doRead.setter
    def doRead(self, way: Any) -> None:  # noqa: ANN401 - as above
        self._own_read = way

    @property
    def doWrite(self) -> Any:  # noqa: ANN401 - as the reactor calls it
        """What writes; as ``doRead``."""
        return self._flush if self._own_write is None else self._own_write

    @doWrite.setter
    def doWrite(self, way: Any) -> None:  # noqa: ANN401 - as above
        self._own_write = way

    def connectionLost(self, reason: Failure) -> None:
        """Close, and tell the protocol; a second time nothing happens."""
        if not self.connected:
            return
        self.connected = False
        if self._is_writing:
            self.stopWriting()
        if self._watching is None:
            self.reactor.removeReader(self)
        else:
            self._watching.remove(self._descriptor)
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
        """Do what ``connectionLost`` does, for one that was read to its end."""
        self.connectionLost(_DONE)

    def _read(self) -> object:
        """Read for a protocol that does not do it by itself."""
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
        """Write what is queued; ask for more of it, or close, when it is written."""
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
            if self._producer is not None:
                self._producer.resumeProducing()
            elif self.disconnecting:
                return main.CONNECTION_DONE
        return None

    # What protocols and their helpers call.

    @property
    def socket(self) -> Any:  # noqa: ANN401 - of C, or one that encrypts
        """The socket, made now if need be."""
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
        """Have the reactor look for something to be read."""
        self.reactor.addReader(self)

    def stopReading(self) -> None:
        """Read no more for now."""
        self.reactor.removeReader(self)

    def startWriting(self) -> None:
        """Have the reactor look for room to write to."""
        self._is_writing = True
        self.reactor.addWriter(self)

    def stopWriting(self) -> None:
        """Write no more for now."""
        self._is_writing = False
        self.reactor.removeWriter(self)

    def write(self, data: bytes) -> None:
        """Queue bytes; nothing is sent before the reactor finds room for them."""
        if self.connected and data:
            self._pending.append(data)
            self.startWriting()

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: ANN401, FBT001 - as Twisted has it
        """Ask ``producer``, which is a pull producer, whenever nothing is queued."""
        del streaming
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Ask it no more."""
        self._producer = None
        if self.connected and self.disconnecting:
            self.startWriting()

    def loseConnection(self) -> None:
        """Close once everything is written; read no more."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.stopReading()
            self.startWriting()

    def abortConnection(self) -> None:
        """Close soon, by a reset; nothing more is read or written."""
        if not self.connected or self._is_aborted:
            return
        self._is_aborted = self.disconnecting = True
        self.stopReading()
        self.stopWriting()
        self.reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

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
