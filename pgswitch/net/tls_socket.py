"""TLS on a Twisted transport: on its socket where possible, else by ``startTLS``.

:func:`start_tls` decides.  Twisted's ``transport.startTLS`` works on any transport that
is an ITLSTransport; it costs 80 to 120 microseconds more a round trip, and 53 KB a
connection.  Where the transport has a socket, ours do without:

Theory of operation (TLS on the socket).  A :class:`TlsSocket` takes the place of the
plain socket in ``transport.socket``.  It reads, sends and fails like that one, so all
users of the transport's socket continue as before: Twisted's own doRead and doWrite,
and our streams, which read and send directly (transport.py).  OpenSSL works on the
descriptor itself: no buffers between, no copies, and no flushing by timer.

What to be careful about:

* OpenSSL may hold decrypted bytes that a poller does not know of.  A read always takes
  a whole record, so nothing is left over; reading ahead is off, which is the default.
* After a write that would block, the next one must begin with the same bytes.  Streams
  and transports do so: what was not taken stays at the head of their queue.  It may
  stand elsewhere in memory (pyOpenSSL allows moving buffers).
* Reading may have to write first, to answer a KeyUpdate.  Then reading stops until the
  socket takes bytes again.  Writing never has to read, because nothing renegotiates.
* A :class:`Handshake` owns the transport's events while it lasts.  One that stalls
  costs no more than its descriptor, and ends at its owner's deadline.
* OpenSSL itself keeps up to 128 KiB of an incomplete handshake, from any peer.  We
  allow strangers less: what they have sent is counted, except for what arrives while
  OpenSSL is reading.  (Twisted's way has OpenSSL's limit only.)

``Connection.recv`` and ``send`` allocate a buffer for each call and ask OpenSSL how the
call went even when it plainly went well.  Without that, a read and a write take 5
microseconds instead of 8, of a transaction's 31.  The names used for it are internal to
pyOpenSSL; with a version that has changed them, its public ones are used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from errno import EWOULDBLOCK
from socket import MSG_PEEK
from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    ISSLTransport,
)
from zope.interface import implementer

from pgswitch.tls.contexts import reason_of, verify_error

if TYPE_CHECKING:
    import socket

    from twisted.protocols.tls import TLSMemoryBIOProtocol
    from twisted.python.failure import Failure

ReadFunction = Callable[[SSL.Connection], bytes]
WriteFunction = Callable[[SSL.Connection, bytes | memoryview], int]

RECORD = 16384
"""Bytes of the largest record, decrypted (RFC 8446, section 5.1)."""


def public_read(connection: SSL.Connection) -> bytes:
    """Return what one record holds. Raises what ``Connection.recv`` does."""
    return connection.recv(RECORD)


def public_write(connection: SSL.Connection, data: bytes | memoryview) -> int:
    """Write at most one record; return how many bytes it took.

    Raises what ``Connection.send`` does.
    """
    return connection.send(data)


def internal_functions() -> tuple[ReadFunction, WriteFunction] | None:
    """Return the same by pyOpenSSL's internal names; None if it has other ones now."""
    try:
        from OpenSSL._util import ffi, lib  # noqa: PLC0415 - may be missing

        ssl_read, ssl_write = lib.SSL_read, lib.SSL_write
        forget_errors = lib.ERR_clear_error
        content = ffi.buffer
        # One buffer for all: only the reactor's thread reads, and it copies the data.
        place: Any = ffi.new("char[]", RECORD)
        is_known = hasattr(SSL.Connection, "_raise_ssl_error")
        SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)._ssl  # noqa: B018, SLF001
    except (ImportError, AttributeError):
        return None
    if not is_known:
        return None

    def fail(connection: SSL.Connection, result: int) -> None:
        try:
            connection._raise_ssl_error(connection._ssl, result)  # noqa: SLF001 - see above
        finally:
            # pyOpenSSL leaves some in the queue.  A call for another connection, which
            # must start with an empty one (SSL_get_error), would seem to have failed.
            forget_errors()

    def read(connection: SSL.Connection) -> bytes:
        got = ssl_read(connection._ssl, place, RECORD)  # noqa: SLF001 - see above
        if got <= 0:
            fail(connection, got)
        data: bytes = content(place, got)[:]
        return data

    def write(connection: SSL.Connection, data: bytes | memoryview) -> int:
        if type(data) is not bytes:
            return connection.send(data)
        taken: int = ssl_write(connection._ssl, data, len(data))  # noqa: SLF001 - see above
        if taken <= 0:
            fail(connection, taken)
        return taken

    return read, write


_PUBLIC: tuple[ReadFunction, WriteFunction] = (public_read, public_write)
_BEST = internal_functions() or _PUBLIC


def io_functions(connection: object) -> tuple[ReadFunction, WriteFunction]:
    """Return the functions that read and write a connection, or a fake of one."""
    return _BEST if isinstance(connection, SSL.Connection) else _PUBLIC


class TlsSocket:
    """A non-blocking socket whose bytes are encrypted on the way."""

    def __init__(
        self,
        connection: SSL.Connection,
        plain: socket.socket,
        on_want_write: Callable[[], None],
    ) -> None:
        """Take a connection whose handshake is done, and its socket.

        ``on_want_write`` is called when OpenSSL has to write before it can read.
        """
        self.error = ""
        """Why OpenSSL failed, if it did; empty for errors of the network."""
        self.connection = connection
        self._read, self._write = io_functions(connection)
        self._plain = plain
        self._on_want_write = on_want_write

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever sockets have
        """Forward everything but reading and writing to the plain socket."""
        return getattr(self._plain, name)

    def recv(self, size: int) -> bytes:
        """Return the content of one record, whatever ``size`` is; b"" at the end.

        Raises BlockingIOError, or ConnectionError with ``error`` set.
        """
        del size
        try:
            return self._read(self.connection)
        except SSL.WantReadError:
            pass
        except SSL.WantWriteError:
            self._on_want_write()
        except (SSL.ZeroReturnError, SSL.SysCallError):
            # SysCallError is an end without close_notify: PostgreSQL's messages have
            # lengths, so that truncation cannot go unnoticed.
            return b""
        except SSL.Error as error:
            raise self._failed(error) from None
        raise BlockingIOError(EWOULDBLOCK, "a record is not complete")

    def send(self, data: bytes | memoryview) -> int:
        """Return how many bytes were taken; raises as :meth:`recv` does."""
        size = len(data)
        sent = 0
        try:
            while sent < size:
                # One call takes one record: no more is copied for it.
                part = data[sent : sent + RECORD] if size > RECORD else data
                sent += self._write(self.connection, part)
        except (SSL.WantWriteError, SSL.WantReadError):
            if not sent:
                raise BlockingIOError(EWOULDBLOCK, "no room") from None
        except SSL.Error as error:
            raise self._failed(error) from None
        return sent

    def _failed(self, error: SSL.Error) -> ConnectionError:
        if not isinstance(error, SSL.SysCallError) and error.args[0]:
            self.error = reason_of(error)
        return ConnectionAbortedError(reason_of(error))

    def close(self) -> None:
        """Send close_notify if that does not block, and close."""
        # Skip it for a peer that does not read, or is gone.
        with suppress(SSL.Error):
            self.connection.shutdown()
        self._plain.close()
        self._on_want_write = _ignore


def _ignore() -> None:
    """Do nothing: a closed socket must not keep its owner alive."""


class HandshakeFailed(Exception):
    """The handshake has failed; the text says why, in OpenSSL's words."""


class TlsLayer(Protocol):
    """What encrypts a transport, once the handshake is done."""

    connection: SSL.Connection
    error: str
    """Why OpenSSL failed since then; empty if it did not."""


class Handshake:
    """A handshake on the socket of a transport."""

    def __init__(
        self,
        transport: Any,  # noqa: ANN401 - of any reactor
        connection: SSL.Connection,
        limit: int,
    ) -> None:
        """Take a connection on the transport's socket.

        ``limit``: bytes that the peer may send before it is done, 0 for any number.
        """
        self.done: Deferred[SSL.Connection] = Deferred(aborting(transport))
        """Fires with the connection; fails with HandshakeFailed.

        Does neither if the transport is closed before; cancel it to abort."""
        self._transport = transport
        self._connection = connection
        self._limit = limit
        self._taken = 0
        """Bytes that OpenSSL was given, if there is a limit."""

    def begin(self) -> None:
        """Take over the transport's events; send the first message if it is ours."""
        self._transport.doRead = self._transport.doWrite = self._proceed
        self._proceed()

    def _proceed(self) -> None:
        """Do what can be done without blocking."""
        transport = self._transport
        if transport.disconnecting:
            # The owner has closed it, perhaps at a deadline.
            self._restore()
            return
        if self._limit:
            self._taken += self._unread()
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            if self._taken > self._limit:
                self._fail(f"more than {self._limit} bytes")
            else:
                transport.stopWriting()
        except SSL.WantWriteError:
            transport.startWriting()
        except SSL.Error as error:
            self._fail(_why(self._connection, error))
        else:
            self._restore()
            self.done.callback(self._connection)

    def _unread(self) -> int:
        """Return how many bytes wait in the socket, or a number above the limit."""
        try:
            return len(self._transport.socket.recv(self._limit + 1, MSG_PEEK))
        except OSError:
            return 0  # Nothing, or an error that OpenSSL is about to meet.

    def _fail(self, reason: str) -> None:
        self._restore()
        self.done.errback(HandshakeFailed(reason))

    def _restore(self) -> None:
        """Give the transport its events back."""
        transport = self._transport
        restore_handlers(transport, "doRead", "doWrite")
        if not transport.disconnecting:
            transport.stopWriting()


def aborting(transport: Any) -> Callable[[object], None]:  # noqa: ANN401 - as above
    """Return the canceller of a Deferred whose cancelling closes the connection."""
    return lambda _deferred: transport.abortConnection()


def _why(connection: SSL.Connection, error: SSL.Error) -> str:
    """Return why a handshake has failed."""
    if isinstance(error, SSL.SysCallError | SSL.ZeroReturnError):
        return "connection closed"
    refused = verify_error(connection)
    return f"{reason_of(error)} ({refused})" if refused else reason_of(error)


def restore_handlers(transport: Any, *events: str) -> None:  # noqa: ANN401 - of any reactor
    """Have a transport use its own ``doRead`` or ``doWrite`` again."""
    own = getattr(transport, "__dict__", None)
    for event in events:
        if own is not None:
            own.pop(event, None)
        else:
            setattr(transport, event, None)  # net/tcp_transport.py


@implementer(
    IProtocol,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
class StartedTls:
    """Twisted's TLS on a transport: stands between it and the protocol above.

    Makes the connection by the creator it was given, and learns how the handshake, and
    at last the connection, ends.
    """

    connection: SSL.Connection

    def __init__(self, transport: Any, creator: Any) -> None:  # noqa: ANN401 - ITLSTransport
        """Take a transport that is an ITLSTransport, and a connection creator."""
        self.done: Deferred[TlsLayer] = Deferred(aborting(transport))
        """As :attr:`Handshake.done`, but fires with this object."""
        self.error = ""
        self._is_done = False
        self._transport = transport
        self._creator = creator
        self._protocol: Any = transport.protocol
        self._tls: TLSMemoryBIOProtocol | None = None

    def begin(self, first: bytes) -> None:
        """Begin; ``first`` is what was read of the handshake before."""
        self._transport.protocol = self
        self._transport.startTLS(self)
        self._tls = self._transport.protocol
        if first and self._tls is not None:
            self._tls.dataReceived(first)

    # What Twisted asks a connection creator.

    def serverConnectionForTLS(
        self, tlsProtocol: TLSMemoryBIOProtocol
    ) -> SSL.Connection:
        """Return the creator's connection, and remember it."""
        self.connection = self._creator.serverConnectionForTLS(tlsProtocol)
        return self.connection

    def clientConnectionForTLS(
        self, tlsProtocol: TLSMemoryBIOProtocol
    ) -> SSL.Connection:
        """Return the creator's connection, and remember it."""
        self.connection = self._creator.clientConnectionForTLS(tlsProtocol)
        return self.connection

    # What Twisted calls in a protocol.

    def makeConnection(self, transport: object) -> None:
        """Do nothing: the protocol has been connected before."""

    def connectionMade(self) -> None:
        """Do nothing, as above."""

    def handshakeCompleted(self) -> None:
        """Report success."""
        self._is_done = True
        self.done.callback(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass decrypted bytes on."""
        self._protocol.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """Report a failed handshake, then the end."""
        protocol, tls = self._protocol, self._tls
        self._protocol = self._tls = None
        error = reason.value
        if isinstance(error, SSL.Error):
            self.error = _why(self.connection, error)
        network = reason.check(ConnectionAborted, ConnectionDone, ConnectionLost)
        is_our_close = tls is not None and tls.disconnecting and network is not None
        if not self._is_done and not self.done.called and not is_our_close:
            self.done.errback(HandshakeFailed(self.error or "connection closed"))
        protocol.connectionLost(reason)


def has_socket(transport: Any) -> bool:  # noqa: ANN401 - any ITransport
    """Tell whether a transport has a socket that carries the protocol's own bytes.

    Ours have, and Twisted's for TCP and unix sockets until ``startTLS``.
    """
    has_one = getattr(transport, "socket", None) is not None
    return has_one and not ISSLTransport.providedBy(transport)


def start_tls(
    transport: Any,  # noqa: ANN401 - any ITransport
    creator: Any,  # noqa: ANN401 - see below
    *,
    on_want_write: Callable[[], None] = lambda: None,
    limit: int = 0,
    first: bytes = b"",
) -> Deferred[TlsLayer]:
    """Do a handshake on a connected transport; from then on its bytes are encrypted.

    Uses the transport's socket if it has one and the creator can work on it, else
    ``transport.startTLS``.

    :param transport: connected, its protocol set.
    :param creator: an IOpenSSLServerConnectionCreator for an accepted connection, an
        IOpenSSLClientConnectionCreator for one of ours.  One with a method
        ``connection(sock)`` as well (ClientTls, Encryption) can work on a socket.
    :param on_want_write: called when OpenSSL has to write before it can read (on a
        socket only).
    :param limit: bytes that the peer may send for the handshake, 0 for any number (on a
        socket only).
    :param first: bytes of the handshake that were read before (not on a socket).
    :return: fires with the layer that encrypts; fails with HandshakeFailed.  Does
        neither if the transport is closed before; cancelling it aborts the connection.
    """
    if not (has_socket(transport) and hasattr(creator, "connection")):
        started = StartedTls(transport, creator)
        started.begin(first)
        return started.done

    def encrypted(connection: SSL.Connection) -> TlsLayer:
        transport.socket = TlsSocket(connection, transport.socket, on_want_write)
        layer: TlsLayer = transport.socket
        return layer

    handshake = Handshake(transport, creator.connection(transport.socket), limit)
    layer = handshake.done.addCallback(encrypted)
    handshake.begin()
    return layer
