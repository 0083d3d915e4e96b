"""Puts a Stream on a Twisted transport: on its socket where possible.

Theory of operation.  A TCP or unix transport keeps its socket in ``transport.socket``.
With :class:`SocketIO` the stream reads and sends on that socket itself.  The transport
remains what the reactor knows: its ``doRead`` is replaced by the stream's, and what the
kernel does not take at once goes to ``transport.write`` by way of Twisted's pull
producer, whose next call says that all of it has been written.

Every stock reactor calls ``doRead`` on the object that it was given, so this works with
all of them.  It works with TLS too, which puts another socket into the transport
(tls_socket.py).

Any other transport, one in memory or one with Twisted's own TLS, gets a
:class:`TransportIO`, which uses the interfaces ITransport, IConsumer and IPushProducer
only: bytes come by ``dataReceived`` and leave by ``write``.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from socket import MSG_PEEK, SO_RCVBUF, SO_RCVLOWAT, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from twisted.internet import main
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import classImplements

from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.net.tls_socket import has_socket, restore_handlers, start_tls
from pgswitch.relay.stream import PAUSED_TLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from OpenSSL import SSL
    from twisted.internet.defer import Deferred

    from pgswitch.net.tls_socket import TlsLayer
    from pgswitch.relay.event_loop import EventLoop
    from pgswitch.relay.stream import Stream


class SocketIO:
    """What a Stream needs of its transport: a ``StreamIO`` and an ``IPullProducer``."""

    def __init__(self, transport: Any) -> None:  # noqa: ANN401 - of any reactor
        """Take a connected TCP or unix transport of any reactor."""
        self.transport = transport
        sock = transport if isinstance(transport, TcpTransport) else transport.socket
        self.recv: Callable[[int], bytes] = sock.recv
        self.send: Callable[[bytes], int] = sock.send
        self._stream: Stream | None = None
        self._registered: tuple[dict[int, Stream], int] | None = None
        """Where a lean reactor finds the stream, see lean_reactor.py."""
        self.on_drained: Callable[[], object] | None = None
        """Called when all that the stream had pending is written."""
        self.tls: TlsLayer | None = None
        """What encrypts the connection; None: in clear."""
        self.observe: Callable[[bytes], None] | None = None
        """Gets what the transport has sent later; must not raise."""
        self._handed_over = b""
        """Given to the transport, which has not sent it yet; for ``observe``."""

    def attach(self, stream: Stream) -> None:
        """Read for the stream from now on."""
        self._stream = stream
        self.transport.doRead = stream.do_read_now
        descriptor = self.transport.fileno()
        # -1 if the socket's methods are wrapped (tracing.py), or do more than the
        # system's calls.
        is_plain = self.tls is None and stream.recv == self.recv
        stream.descriptor = descriptor if is_plain else -1
        event_loop: EventLoop | None = getattr(
            self.transport.reactor, "event_loop", None
        )
        if event_loop is not None:
            stream.clock = event_loop.clock
            stream.batching = event_loop.batching
            self._registered = event_loop.streams, descriptor
            event_loop.streams[descriptor] = stream

    def hold(self, stream: Stream) -> None:
        """Belong to a stream that does not read yet."""
        self._stream = stream

    def received(self, data: bytes) -> None:
        """Take what a transport has read that does not leave reading to the stream."""
        if self._stream is not None:
            self._stream.take(data)

    def peek(self) -> bytes:
        """Return the first byte that waits to be read; raises as a socket does."""
        data: bytes = self.transport.socket.recv(1, MSG_PEEK)
        return data

    def start_tls(
        self,
        stream: Stream,
        creator: Any,  # noqa: ANN401 - see tls_socket.start_tls
        limit: int = 0,
    ) -> Deferred[SSL.Connection]:
        """Do a handshake, after which the stream's bytes are encrypted.

        Until then nothing of it is read or sent; the caller attaches the stream again.
        See :func:`tls_socket.start_tls` for the rest.
        """
        self.hold(stream)
        self._unregister()
        # From here on nothing may go out in clear, not even a last message.
        stream.descriptor, stream.recv, stream.raw_send = -1, _no_recv, _no_send
        started = start_tls(
            self.transport, creator, on_want_write=self._wait_for_room, limit=limit
        )
        return started.addCallback(partial(self._encrypted, stream))

    def _encrypted(self, stream: Stream, tls: Any) -> SSL.Connection:  # noqa: ANN401 - a TlsSocket
        self.tls = tls
        self.recv, self.send = tls.recv, tls.send
        stream.recv, stream.raw_send = tls.recv, tls.send
        connection: SSL.Connection = tls.connection
        return connection

    def _wait_for_room(self) -> None:
        """Stop reading until the socket takes bytes: TLS has an answer to send."""
        if self._stream is not None:
            self._stream.pause(PAUSED_TLS)
            self.transport.doWrite = self._has_room
            self.transport.startWriting()

    def _has_room(self) -> object:
        restore_handlers(self.transport, "doWrite")
        if self._stream is not None:
            self._stream.resume(PAUSED_TLS)
        return self.transport.doWrite()

    def _unregister(self) -> None:
        if self._registered is not None:
            streams, descriptor = self._registered
            if streams.get(descriptor) is self._stream:
                del streams[descriptor]
            self._registered = None

    def detach(self) -> None:
        """Break the reference cycle when the connection is gone."""
        if self._stream is not None and self._stream.low_water:
            self._stream.reset_low_water()
        self._unregister()
        if self._stream is not None:
            # The number may soon be another connection's.
            self._stream.descriptor = -1
            self._stream.recv, self._stream.raw_send = _no_recv, _no_send
        self._stream = None
        self.on_drained = None
        self.recv, self.send = _no_recv, _no_send
        connector = getattr(self.transport, "connector", None)
        if connector is not None:
            connector.transport = None  # Twisted's own cycle.
        if not isinstance(self.transport, TcpTransport):  # which does so itself
            restore_handlers(self.transport, "doRead", "doWrite")

    # What the stream calls.

    def failed(self, error: OSError) -> Exception:
        """Return what a reactor takes for a lost connection."""
        del error
        return main.CONNECTION_LOST

    def ended(self) -> Exception:
        """Return what a reactor takes for an orderly end."""
        return main.CONNECTION_DONE

    def drain_later(self) -> None:
        """Write what the stream has pending, and tell it when that is done."""
        if self.transport.connected:
            self.transport.registerProducer(self, streaming=False)

    def pause(self) -> None:
        """Stop reading."""
        self.transport.stopReading()

    def wake_for(self, least: int) -> bool:
        """Have the socket count as readable once so many bytes have come.

        Returns False, and does nothing, if its buffer is too small for that.
        """
        if self.transport.connected:
            sock = self.transport.socket
            with suppress(OSError):  # It has just been lost.
                # Half of the buffer is for the kernel's own bookkeeping (tcp(7)), and
                # half of the rest must stay open for the sender.
                if least > 1 and sock.getsockopt(SOL_SOCKET, SO_RCVBUF) < 4 * least:
                    return False
                sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, least)
        return True

    def resume(self) -> None:
        """Read again."""
        if self.transport.connected and not self.transport.disconnecting:
            self.transport.startReading()

    # What the transport calls in its producer.

    def resumeProducing(self) -> None:
        """Write more: the transport has nothing left to write."""
        stream = self._stream
        if stream is None:
            return
        data = stream.take_pending()
        if self.observe is not None:
            self.observe(self._handed_over)
            self._handed_over = data
        if data:
            self.transport.write(data)
        else:
            self.transport.unregisterProducer()
            stream.drained()
            if self.on_drained is not None:
                self.on_drained()

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost, which the protocol learns as well."""

    # What the protocols call.

    def close(self, last: bytes = b"") -> None:
        """Send ``last`` as far as it goes at once, then close.

        A peer that has not read what it was sent before gets neither ``last``, which
        might land inside a message, nor more time.
        """
        stream = self._stream
        if stream is None or self.transport.disconnecting:
            return
        stream.lost = True
        stream.stopped = True
        if last and not stream.backlogged:
            stream.send(last)
        if stream.backlogged:
            self.transport.unregisterProducer()
            self.transport.abortConnection()
        elif stream.reading:
            # Cheaper than loseConnection, which waits for the socket to be writable.
            stream.over = True
        else:
            self.transport.loseConnection()


class TransportIO(SocketIO):
    """The same by the interfaces of any Twisted transport, at Twisted's own price.

    An ``IPushProducer`` to the transport while the stream is attached.
    """

    def __init__(self, transport: Any) -> None:  # noqa: ANN401 - any ITransport
        """Take a connected ITransport that is an IConsumer."""
        self.transport = transport
        self.recv = self._take_received
        self.send = self._write
        self._stream = None
        self._registered = None
        self.on_drained = None
        self.tls = None
        self.observe = None
        self._handed_over = b""
        self._is_producing = False
        """Registered with the transport as its producer."""
        self._is_full = False
        """The transport has paused its producer."""
        self._waiting: list[bytes] = []
        """Data that arrived and was not read yet."""

    def attach(self, stream: Stream) -> None:
        """Read for the stream from now on."""
        self._stream = stream
        stream.descriptor = -1
        if not self._is_producing:
            self._is_producing = True
            self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's order

    def received(self, data: bytes) -> None:
        """Have the stream read, unless it is paused."""
        self._waiting.append(data)
        self._read_on()

    def _read_on(self) -> None:
        stream = self._stream
        while self._waiting and stream is not None and not stream.paused:
            if stream.do_read_now() is not None:
                self._waiting.clear()
                self._stop()
                return
            stream = self._stream

    def _take_received(self, _size: int) -> bytes:
        """Return what arrived by one call, as ``recv`` of a socket does."""
        if not self._waiting:
            raise BlockingIOError
        return self._waiting.pop(0)

    def _write(self, data: bytes) -> int:
        """Give data to the transport; refuse it while the transport is full."""
        if self._is_full:
            raise BlockingIOError
        self.transport.write(data)
        return len(data)

    def peek(self) -> bytes:
        """Return the first byte that waits to be read; raises as a socket does."""
        if not self._waiting:
            raise BlockingIOError
        return self._waiting[0][:1]

    def start_tls(
        self,
        stream: Stream,
        creator: Any,  # noqa: ANN401 - see tls_socket.start_tls
        limit: int = 0,
    ) -> Deferred[SSL.Connection]:
        """Do a handshake by ``transport.startTLS``; see SocketIO."""
        self.hold(stream)
        # A last message would wait in TLS, and keep the connection open, until the
        # handshake is done.
        stream.raw_send = _no_send
        first = b"".join(self._waiting)
        self._waiting.clear()
        started = start_tls(self.transport, creator, limit=limit, first=first)
        return started.addCallback(partial(self._encrypted, stream))

    def _encrypted(self, stream: Stream, tls: Any) -> SSL.Connection:  # noqa: ANN401 - a TlsLayer
        self.tls = tls
        stream.raw_send = self.send
        connection: SSL.Connection = tls.connection
        return connection

    def detach(self) -> None:
        """Break the reference cycle when the connection is gone."""
        stream = self._stream
        if stream is not None:
            stream.recv, stream.raw_send = _no_recv, _no_send
        self._stream = None
        self.on_drained = None
        self._waiting.clear()
        self.recv, self.send = _no_recv, _no_send

    # What the stream calls.

    def drain_later(self) -> None:
        """Do nothing: the transport calls :meth:`resumeProducing` when it has room."""

    def pause(self) -> None:
        """Stop reading."""
        self.transport.pauseProducing()

    def wake_for(self, least: int) -> bool:
        """Return False: there is no socket that could wait for more than a byte."""
        return least <= 1

    def resume(self) -> None:
        """Read again, first what has arrived already."""
        if not self.transport.disconnecting:
            self.transport.resumeProducing()
            if self._waiting:
                # Not at once: the caller may have older data to pass on first.
                self._reactor().callLater(0, self._read_on)

    def _reactor(self) -> Any:  # noqa: ANN401 - one object with many interfaces
        """Return the transport's reactor; one in memory has none of its own."""
        reactor: Any = getattr(self.transport, "reactor", None)
        if reactor is None:
            from twisted.internet import reactor
        return reactor

    # What the transport calls in its producer.

    def pauseProducing(self) -> None:
        """Write no more: the transport has enough to write."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """Write more: the transport has room."""
        self._is_full = False
        stream = self._stream
        if stream is None or not stream.backlogged:
            return
        data = stream.take_pending()
        if self.observe is not None:
            self.observe(self._handed_over)
            self._handed_over = b""
        if data:
            self._handed_over = data
            self.transport.write(data)
        if not self._is_full:
            if self.observe is not None:
                self.observe(self._handed_over)
                self._handed_over = b""
            stream.drained()
            if self.on_drained is not None:
                self.on_drained()

    # What the protocols call.

    def close(self, last: bytes = b"") -> None:
        """Send ``last`` unless data waits to be sent, then close; see SocketIO."""
        stream = self._stream
        if stream is None or self.transport.disconnecting:
            return
        stream.lost = True
        stream.stopped = True
        if last and not stream.backlogged:
            stream.send(last)
        if stream.backlogged:
            self.transport.abortConnection()
        elif stream.reading:
            stream.over = True
        else:
            self._stop()

    def _stop(self) -> None:
        """Close; with a producer the transport would wait for more."""
        if self._is_producing:
            self._is_producing = False
            self.transport.unregisterProducer()
        self.transport.loseConnection()


def io_for(transport: Any) -> SocketIO:  # noqa: ANN401 - any ITransport
    """Return what puts a stream on a transport, the fastest way that it allows."""
    return SocketIO(transport) if has_socket(transport) else TransportIO(transport)


# Not as decorators: mypyc does not compile decorated classes.
classImplements(SocketIO, IPullProducer)
classImplements(TransportIO, IPushProducer)


def _no_recv(_size: int) -> bytes:
    raise ConnectionError


def _no_send(_data: bytes) -> int:
    raise ConnectionError
