"""Puts a Link on a Twisted transport: reading past it, writing before it.

Theory of operation.  A plain TCP or unix transport keeps its socket in
``transport.socket``.  The link reads and sends on that socket itself; the transport
stays what the reactor knows: its ``doRead`` is replaced by the link's, and what the
kernel does not take at once is handed to ``transport.write`` by way of Twisted's pull
producer, whose next call says that all of it has been written.

Every stock reactor calls ``doRead`` on the object that it was given, so this works
with all of them.  It works with TLS too, which puts another socket in the transport
(tls_socket.py).
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from socket import SO_RCVBUF, SO_RCVLOWAT, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from twisted.internet import main

from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.net.tls_socket import TlsSocket, encrypt, restore_handlers
from pgswitch.relay.stream import PAUSED_TLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from OpenSSL import SSL

    from pgswitch.relay.event_loop import EventLoop
    from pgswitch.relay.stream import Stream


class SocketIO:
    """What a Link needs done by its transport, of which it is an ``IPullProducer``.

    It does not say so to zope.interface: a class that is decorated is not compiled.
    """

    def __init__(self, transport: Any) -> None:  # noqa: ANN401 - of any reactor
        """Take a connected TCP or unix transport of any reactor."""
        self.transport = transport
        sock = transport if isinstance(transport, TcpTransport) else transport.socket
        self.recv: Callable[[int], bytes] = sock.recv
        self.send: Callable[[bytes], int] = sock.send
        self._link: Stream | None = None
        self._registered: tuple[dict[int, Stream], int] | None = None
        """Where a lean reactor finds the link, see lean_reactor.py."""
        self.on_drained: Callable[[], object] | None = None
        """To be called when all that the link had pending is written."""
        self.tls: TlsSocket | None = None
        """What is read and sent by, once it is encrypted."""
        self.observe: Callable[[bytes], None] | None = None
        """Is shown what the transport has sent later; raises nothing."""
        self._handed_over = b""
        """To the transport, which has not sent it yet; kept for whoever observes."""

    def attach(self, stream: Stream) -> None:
        """Read for the link from now on."""
        self._link = stream
        self.transport.doRead = stream.do_read_now
        descriptor = self.transport.fileno()
        # -1 if somebody listens in on the socket's methods (tracing.py), or they do
        # more than the system's calls.
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
        """Belong to a link that is not to read yet."""
        self._link = stream

    def encrypt(
        self,
        stream: Stream,
        connection: SSL.Connection,
        done: Callable[[], None],
        failed: Callable[[str], None],
        limit: int = 0,
    ) -> None:
        """Do a handshake, and have the link read and send by it.

        Until ``done``, which attaches the link again, nothing of it is read or sent.
        """
        self.hold(stream)
        self._unregister()
        # In clear, not even last words may go out any more.
        stream.descriptor, stream.recv, stream.raw_send = -1, _no_recv, _no_send
        encrypt(
            self.transport,
            connection,
            partial(self._encrypted, stream, done),
            failed,
            self._wait_for_room,
            limit=limit,
        )

    def _encrypted(
        self, stream: Stream, done: Callable[[], None], tls: TlsSocket
    ) -> None:
        self.tls = tls
        self.recv, self.send = tls.recv, tls.send
        stream.recv, stream.raw_send = tls.recv, tls.send
        done()

    def _wait_for_room(self) -> None:
        """Read no more until the socket takes bytes: there is an answer to be sent."""
        if self._link is not None:
            self._link.pause(PAUSED_TLS)
            self.transport.doWrite = self._has_room
            self.transport.startWriting()

    def _has_room(self) -> object:
        restore_handlers(self.transport, "doWrite")
        if self._link is not None:
            self._link.resume(PAUSED_TLS)
        return self.transport.doWrite()

    def _unregister(self) -> None:
        if self._registered is not None:
            streams, descriptor = self._registered
            if streams.get(descriptor) is self._link:
                del streams[descriptor]
            self._registered = None

    def detach(self) -> None:
        """Break the circle of references when the connection is gone."""
        if self._link is not None and self._link.low_water:
            self._link.reset_low_water()
        self._unregister()
        if self._link is not None:
            # The number may soon be another connection's.
            self._link.descriptor = -1
            self._link.recv, self._link.raw_send = _no_recv, _no_send
        self._link = None
        self.on_drained = None
        self.recv, self.send = _no_recv, _no_send
        connector = getattr(self.transport, "connector", None)
        if connector is not None:
            connector.transport = None  # Twisted's own circle.
        if not isinstance(self.transport, TcpTransport):  # which sees to it itself
            restore_handlers(self.transport, "doRead", "doWrite")

    # What the link calls.

    def failed(self, error: OSError) -> Exception:
        """Return what a reactor takes for a lost connection."""
        del error
        return main.CONNECTION_LOST

    def ended(self) -> Exception:
        """Return what a reactor takes for an orderly end."""
        return main.CONNECTION_DONE

    def drain_later(self) -> None:
        """Write what the link has pending, and tell it when that is done."""
        if self.transport.connected:
            self.transport.registerProducer(self, streaming=False)

    def pause(self) -> None:
        """Stop reading."""
        self.transport.stopReading()

    def wake_for(self, least: int) -> bool:
        """Have the socket count as readable once so many bytes have come.

        False, with nothing done: its buffer is too small for that.
        """
        if self.transport.connected:
            sock = self.transport.socket
            with suppress(OSError):  # It has just been lost.
                # Half of the buffer is for the kernel's own bookkeeping (tcp(7)), and
                # of the rest half must stay open for the sender.
                if least > 1 and sock.getsockopt(SOL_SOCKET, SO_RCVBUF) < 4 * least:
                    return False
                sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, least)
        return True

    def resume(self) -> None:
        """Read again."""
        if self.transport.connected and not self.transport.disconnecting:
            self.transport.startReading()

    # What the transport calls.

    def resumeProducing(self) -> None:
        """Write more: the transport has nothing left to write."""
        stream = self._link
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
        """Write no more: the connection is lost, its protocol hears of it too."""

    # What the protocols call.

    def close(self, last: bytes = b"") -> None:
        """Send ``last`` as far as it goes at once, then close.

        A peer that has not read what it was sent before gets neither ``last``, which
        might land inside a message, nor more time.
        """
        stream = self._link
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


def _no_recv(_size: int) -> bytes:
    raise ConnectionError


def _no_send(_data: bytes) -> int:
    raise ConnectionError
