"""One listening socket in the reactor: accepts, tunes, has a protocol built.

Twisted's own ports are not used. They set the mode of an adopted unix socket to
0666 and remove its file, and when descriptors run out they accept and drop clients,
where a pooler's clients do better to wait in the backlog.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from pgswitch.logs import Log
from pgswitch.net.sockets import (
    Option,
    SocketAddress,
    TcpSettings,
    tcp_options,
    tune_listener,
    unix_port,
)
from pgswitch.relay.syscalls import accept
from pgswitch.types import Address

ACCEPT_PAUSE_S = 5.0
"""Seconds without accepting after the system refused a connection."""

Builder = Callable[[Address], Any]
"""Makes the protocol of a client that comes from an address."""

_PEER_CREDENTIALS = struct.Struct("3i")


class AcceptReactor(Protocol):
    """What is used of the reactor: ``IReactorFDSet`` and ``IReactorTime``."""

    def addReader(self, reader: Any) -> object:  # noqa: ANN401 - an IReadDescriptor
        """Watch a descriptor."""

    def removeReader(self, reader: Any) -> object:  # noqa: ANN401 - as above
        """Watch it no more; unknown ones are ignored."""

    def callLater(
        self, delay: float, call: Callable[..., object], /, *args: object
    ) -> IDelayedCall:
        """Call once after ``delay`` seconds."""


class Acceptor:
    """Takes connections from one listening socket until it is closed.

    It is an ``IReadDescriptor`` that does not say so to zope.interface: a class that
    is decorated is not compiled.
    """

    # Twisted's server transports look these two names up on their port, for their
    # own repr.
    _realPortNumber: int | None = None
    _type = "TCP"

    def __init__(
        self,
        reactor: AcceptReactor,
        sock: socket.socket,
        build: Builder,
        *,
        log: Log,
        transport: Callable[..., Any],
    ) -> None:
        """Wrap a socket that already listens.

        :param reactor: provides ``IReactorFDSet`` and ``IReactorTime``.
        :param sock: non-blocking listening socket; owned by this object from now on.
        :param build: builds the protocol of each connection.
        :param log: where refused accepts are told.
        :param transport: makes the transport of each connection; called like
            ``twisted.internet.tcp.Server``, with this object as the port. That of a
            TCP connection gets a descriptor in place of the socket.
        """
        self.reactor = reactor
        self.socket = sock
        self.build = build
        self._log = log
        self._transport = transport
        self._unix_origin: Address | None = None
        """Where all clients of a unix socket come from, as they have no other name."""
        self.options: Sequence[Option] = ()
        """What each connection begins with."""
        self._sessions = 0
        self._retry: Any = None  # mypyc does not understand zope's IDelayedCall
        self._closed = False
        if sock.family == socket.AF_UNIX:
            self._unix_origin = Address("unix", unix_port(sock.getsockname()))
        else:
            self._realPortNumber = sock.getsockname()[1]

    @property
    def address(self) -> Address:
        """Where it listens; a unix socket has no port of its own."""
        if self._unix_origin is not None:
            return Address("unix", 0)
        return Address(*self.socket.getsockname()[:2])

    def tune(self, settings: TcpSettings) -> None:
        """Have each TCP connection from now on begin with the options of ``settings``.

        It is born with them: Linux copies those of the listening socket, so that they
        cost no system call for each client, and the client is told of a window that
        fits into the buffer.
        """
        self.options = tcp_options(settings)
        try:
            tune_listener(self.socket, settings)
        except OSError as error:
            self._log.error(f"setsockopt() failed: {error.strerror}")

    def start(self) -> None:
        """Begin to accept."""
        self.reactor.addReader(self)

    def pause(self) -> None:
        """Accept nothing until :meth:`resume`; new connections wait in the backlog."""
        self._forget_retry()
        self.reactor.removeReader(self)

    def resume(self) -> None:
        """Accept again after :meth:`pause`."""
        self._forget_retry()
        if not self._closed:
            self.reactor.addReader(self)

    def take_waiting(self) -> None:
        """Accept whoever has connected by now: a close would cut them off."""
        for _ in range(socket.SOMAXCONN):
            if self._closed or not self._accept():
                return

    def close(self) -> None:
        """Stop accepting for good and close the socket. A second call does nothing."""
        if self._closed:
            return
        self.pause()
        self._closed = True
        self.socket.close()

    # What the reactor calls.

    def fileno(self) -> int:
        """Return the descriptor to watch; -1 after closing."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Return the name under which Twisted logs a fault of this object."""
        return "Acceptor"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        """Close: the reactor drops this socket, at its end or after an error."""
        self.close()

    def doRead(self) -> None:
        """Accept one connection; while more wait, the reactor calls again.

        To ask for more at once would mostly be in vain, and cost what a turn costs.
        """
        if not self._closed:
            self._accept()

    def _accept(self) -> bool:
        """Accept one connection; False when there is none to be had."""
        end: Any
        try:
            if self._unix_origin is not None:
                end, address = self.socket.accept()
            else:
                end, address = accept(self.socket)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ECONNABORTED:
                return True
            self._refused(error)
            return False
        self._serve(end, address)
        return True

    def _refused(self, error: OSError) -> None:
        self._log.error(f"accept() failed: {error.strerror}")
        self.reactor.removeReader(self)
        self._retry = self.reactor.callLater(ACCEPT_PAUSE_S, self._accept_again)

    def _accept_again(self) -> None:
        self._retry = None
        self.resume()

    def _forget_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _serve(self, end: Any, address: SocketAddress) -> None:  # noqa: ANN401 - a socket or a descriptor
        protocol: Any = None
        transport: Any = None
        try:
            # As Address(...), which would be a function of Python's.
            origin = self._unix_origin or tuple.__new__(Address, (*address[:2], 0))
            protocol = self.build(origin)
            if protocol is None:
                raise ConnectionRefusedError("there is no protocol for it")  # noqa: TRY301 - told as all others
            self._sessions += 1
            transport = self._transport(
                end, protocol, address, self, self._sessions, self.reactor
            )
            protocol.makeConnection(transport)
        except Exception as error:  # noqa: BLE001 - one client must not end the rest
            # Passing it on would make the reactor drop the listening socket.
            self._log.error(f"cannot serve a new connection: {error!r}")
            if transport is not None:
                transport.abortConnection()  # which tells the protocol
                return
            if isinstance(end, int):
                os.close(end)
            else:
                end.close()
            if protocol is not None:
                protocol.connectionLost(Failure(error))


def peer_credentials(transport: object) -> tuple[int, int] | None:
    """Return process id and user id of the other end of a unix-domain connection.

    The kernel vouches for them (``SO_PEERCRED``, unix(7)).

    :param transport: a Twisted transport.
    :return: ``(pid, uid)``; ``None`` for other connections, or if the kernel does
        not say.
    """
    get_handle = getattr(transport, "getHandle", None)
    sock = get_handle() if get_handle else None
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or not isinstance(sock, socket.socket):
        return None
    if sock.family != socket.AF_UNIX:
        return None
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, option, _PEER_CREDENTIALS.size)
    except OSError:
        return None
    pid, uid, _gid = _PEER_CREDENTIALS.unpack(data)
    return pid, uid
