"""TLS on a Twisted transport, without the detour of memory BIOs.

Theory of operation.  A :class:`TlsSocket` takes the place of the plain socket in
``transport.socket``.  It reads, sends and fails as that one did, so whatever uses the
transport's socket goes on as before: Twisted's own doRead and doWrite, and our links,
which read and send past them (transport.py).  OpenSSL works on the descriptor itself:
no buffers between, no copies, and no flushing by timer.  Twisted's ``startTLS`` costs
80 to 120 microseconds more a round trip, and 53 KB a connection.

What there is to be careful about:

* OpenSSL may hold decrypted bytes that no poller knows of.  A read always takes a whole
  record, so nothing is left over; reading ahead is off, as it is by default.
* After a write that would block, the next one must begin with the same bytes.  Links
  and transports do so: what was not taken stays at the head of their queue.  It may
  stand elsewhere in memory (pyOpenSSL allows moving buffers).
* Reading may have to write first, to answer a KeyUpdate.  Then reading stops until the
  socket takes bytes again.  Writing never has to read: nothing renegotiates.
* A :class:`Handshake` has the transport's events for as long as it takes, so one that
  stands still costs nothing but its descriptor, and ends by whoever's deadline it is.
* OpenSSL itself keeps up to 128 KiB of a handshake that is not complete, whoever sends
  it.  From strangers less is taken: what they have sent is counted, but for what comes
  while OpenSSL is reading already.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from errno import EWOULDBLOCK
from socket import MSG_PEEK
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from pgswitch.tls.contexts import reason_of, verify_error

if TYPE_CHECKING:
    import socket


ReadFunction = Callable[[SSL.Connection], bytes]
WriteFunction = Callable[[SSL.Connection, bytes | memoryview], int]

RECORD = 16384
"""Bytes of the largest record, decrypted (RFC 8446, section 5.1)."""


def outer_read(connection: SSL.Connection) -> bytes:
    """Return what one record holds. Raises what ``Connection.recv`` does."""
    return connection.recv(RECORD)


def outer_write(connection: SSL.Connection, data: bytes | memoryview) -> int:
    """Write at most one record; return how many bytes it took.

    Raises what ``Connection.send`` does.
    """
    return connection.send(data)


def inner_functions() -> tuple[ReadFunction, WriteFunction] | None:
    """Return the same by pyOpenSSL's inner names; None if it has others by now."""
    try:
        from OpenSSL._util import ffi, lib  # noqa: PLC0415 - may be missing

        ssl_read, ssl_write = lib.SSL_read, lib.SSL_write
        forget_errors = lib.ERR_clear_error
        content = ffi.buffer
        # One for all: only the reactor's thread reads, and what was read is copied.
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
            # pyOpenSSL leaves some behind, and a call for another connection, which
            # must begin without (SSL_get_error), would be thought to have failed.
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


_OUTER: tuple[ReadFunction, WriteFunction] = (outer_read, outer_write)
_BEST = inner_functions() or _OUTER


def io_functions(connection: object) -> tuple[ReadFunction, WriteFunction]:
    """Return what to read and to write a connection by; a stand-in has no inside."""
    return _BEST if isinstance(connection, SSL.Connection) else _OUTER


class TlsSocket:
    """A non-blocking socket whose bytes are encrypted on the way."""

    def __init__(
        self,
        connection: SSL.Connection,
        plain: socket.socket,
        on_want_write: Callable[[], None],
    ) -> None:
        """Take a connection whose handshake is done, and the socket that it is on.

        ``on_want_write`` is called when nothing can be read before something is
        written.
        """
        self.error = ""
        """Why OpenSSL gave up, if it did; not what befell the network."""
        self._connection = connection
        self._read, self._write = io_functions(connection)
        self._plain = plain
        self._on_want_write = on_want_write

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever sockets have
        """Do as the plain socket for all but its bytes."""
        return getattr(self._plain, name)

    def recv(self, size: int) -> bytes:
        """Return what one record holds, whatever ``size`` is; nothing at the end.

        Raises BlockingIOError, or ConnectionError with ``error`` set.
        """
        del size
        try:
            return self._read(self._connection)
        except SSL.WantReadError:
            pass
        except SSL.WantWriteError:
            self._on_want_write()
        except (SSL.ZeroReturnError, SSL.SysCallError):
            # The latter is an end without a goodbye: PostgreSQL's messages tell where
            # they end, so nothing can be cut short unnoticed.
            return b""
        except SSL.Error as error:
            raise self._given_up(error) from None
        raise BlockingIOError(EWOULDBLOCK, "a record is not complete")

    def send(self, data: bytes | memoryview) -> int:
        """Return how many bytes were taken; raises as :meth:`recv` does."""
        size = len(data)
        sent = 0
        try:
            while sent < size:
                # One call takes one record: no more is copied for it.
                part = data[sent : sent + RECORD] if size > RECORD else data
                sent += self._write(self._connection, part)
        except (SSL.WantWriteError, SSL.WantReadError):
            if not sent:
                raise BlockingIOError(EWOULDBLOCK, "no room") from None
        except SSL.Error as error:
            raise self._given_up(error) from None
        return sent

    def _given_up(self, error: SSL.Error) -> ConnectionError:
        if not isinstance(error, SSL.SysCallError) and error.args[0]:
            self.error = reason_of(error)
        return ConnectionAbortedError(reason_of(error))

    def close(self) -> None:
        """Say goodbye if that goes without waiting, and close."""
        # An other end that does not read, or has gone, is owed nothing.
        with suppress(SSL.Error):
            self._connection.shutdown()
        self._plain.close()
        self._on_want_write = _never_again


def _never_again() -> None:
    """Do nothing: what a closed socket would call is let go of."""


class Handshake:
    """A handshake on the socket of a transport."""

    def __init__(
        self,
        transport: Any,  # noqa: ANN401 - of any reactor
        connection: SSL.Connection,
        done: Callable[[], None],
        failed: Callable[[str], None],
        limit: int,
    ) -> None:
        """Take a connection on the transport's socket; one function will be called.

        ``limit``: bytes that the other end may send before it is done, 0 for any.
        """
        self._transport = transport
        self._connection = connection
        self._done = done
        self._failed = failed
        self._limit = limit
        self._taken = 0
        """Bytes that OpenSSL was given, where they count."""

    def begin(self) -> None:
        """Take the transport's events; say the first word if that is ours."""
        self._transport.doRead = self._transport.doWrite = self._go_on
        self._go_on()

    def _go_on(self) -> None:
        """Go on as far as it goes without waiting."""
        transport = self._transport
        if transport.disconnecting:
            # Somebody's deadline has passed.
            self._let_go()
            return
        if self._limit:
            self._taken += self._unread()
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            if self._taken > self._limit:
                self._let_go()
                self._failed(f"more than {self._limit} bytes")
            else:
                transport.stopWriting()
        except SSL.WantWriteError:
            transport.startWriting()
        except SSL.Error as error:
            self._let_go()
            self._failed(self._why(error))
        else:
            self._let_go()
            self._done()

    def _unread(self) -> int:
        """Return how many bytes wait in the socket, or how many too many at least."""
        try:
            return len(self._transport.socket.recv(self._limit + 1, MSG_PEEK))
        except OSError:
            return 0  # Nothing, or an error that OpenSSL is about to meet.

    def _why(self, error: SSL.Error) -> str:
        if isinstance(error, SSL.SysCallError | SSL.ZeroReturnError):
            return "connection closed"
        refused = verify_error(self._connection)
        return f"{reason_of(error)} ({refused})" if refused else reason_of(error)

    def _let_go(self) -> None:
        """Give the transport its events back."""
        transport = self._transport
        restore_handlers(transport, "doRead", "doWrite")
        if not transport.disconnecting:
            transport.stopWriting()


def restore_handlers(transport: Any, *events: str) -> None:  # noqa: ANN401 - of any reactor
    """Let a transport deal with ``doRead`` or ``doWrite`` itself again."""
    own = getattr(transport, "__dict__", None)
    for event in events:
        if own is not None:
            own.pop(event, None)
        else:
            setattr(transport, event, None)  # net/tcp_transport.py


def encrypt(
    transport: Any,  # noqa: ANN401 - of any reactor
    connection: SSL.Connection,
    done: Callable[[TlsSocket], None],
    failed: Callable[[str], None],
    on_want_write: Callable[[], None] = lambda: None,
    *,
    limit: int = 0,
) -> None:
    """Do a handshake on a transport; then its bytes are encrypted.

    ``done`` is told the socket that the transport has from then on, ``failed`` what
    went wrong, in OpenSSL's words.  If the transport is closed meanwhile, neither is
    called.  ``limit`` is how many bytes the other end may send for it, 0 for any.
    """

    def encrypted() -> None:
        transport.socket = TlsSocket(connection, transport.socket, on_want_write)
        done(transport.socket)

    Handshake(transport, connection, encrypted, failed, limit).begin()
