"""One listening socket in the reactor: accepts, tunes, has a protocol built.

Twisted's own ports are not used. They set the mode of an adopted unix socket to
0666 and remove its file, and when descriptors run out they accept and drop clients;
a pooler's clients had better wait in the backlog.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import classImplements

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

_PEER_CREDENTIALS = struct.Struct("3i")


class ProtocolFactory(Protocol):
    """What is used of ``IProtocolFactory``."""

    def doStart(self) -> None:
        """Note a listening socket that begins to use the factory."""

    def doStop(self) -> None:
        """Note a listening socket that has closed."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: ANN401 - as Twisted has it
        """Return the protocol of a new connection; None refuses it."""


class AcceptReactor(Protocol):
    """What is used of the reactor: ``IReactorFDSet`` and ``IReactorTime``."""

    def addReader(self, reader: Any) -> object:  # noqa: ANN401 - an IReadDescriptor
        """Watch a descriptor."""

    def removeReader(self, reader: Any) -> object:  # noqa: ANN401 - as above
        """Stop watching it; unknown ones are ignored."""

    def callLater(
        self, delay: float, call: Callable[..., object], /, *args: object
    ) -> IDelayedCall:
        """Call once after ``delay`` seconds."""


class Acceptor:
    """Takes connections from one listening socket until it is closed.

    An ``IListeningPort`` and an ``IReadDescriptor``.
    """

    # Twisted's server transports read these two attributes of their port, for their
    # own repr.
    _realPortNumber: int | None = None
    _type = "TCP"

    def __init__(
        self,
        reactor: AcceptReactor,
        sock: socket.socket,
        factory: ProtocolFactory,
        *,
        log: Log,
        transport: Callable[..., Any],
    ) -> None:
        """Wrap a socket that already listens.

        :param reactor: provides ``IReactorFDSet`` and ``IReactorTime``.
        :param sock: non-blocking listening socket; owned by this object from now on.
        :param factory: builds the protocol of each connection (IProtocolFactory).
        :param log: receives errors of accept().
        :param transport: makes the transport of each connection; called like
            ``twisted.internet.tcp.Server``, with this object as the port. For a TCP
            connection it gets a descriptor instead of a socket.
        """
        self.reactor = reactor
        self.socket = sock
        self.factory = factory
        self._log = log
        self._transport = transport
        self._unix_origin: Address | None = None
        """The address of every client of a unix socket; they have no other name."""
        self.options: Sequence[Option] = ()
        """The options that each connection inherits."""
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
        """Give each new TCP connection the socket options of ``settings``.

        Linux copies them from the listening socket: they cost no system call for each
        client, and the first window that the client sees fits into the buffer.
        """
        self.options = tcp_options(settings)
        try:
            tune_listener(self.socket, settings)
        except OSError as error:
            self._log.error(f"setsockopt() failed: {error.strerror}")

    def startListening(self) -> None:
        """Begin to accept; the socket listens already."""
        self.factory.doStart()
        self.reactor.addReader(self)

    def pause(self) -> None:
        """Accept nothing until :meth:`resume`; new connections wait in the backlog."""
        self._cancel_retry()
        self.reactor.removeReader(self)

    def resume(self) -> None:
        """Accept again after :meth:`pause`."""
        self._cancel_retry()
        if not self._closed:
            self.reactor.addReader(self)

    def take_waiting(self) -> None:
        """Accept all clients that have connected by now: closing would cut them off."""
        for _ in range(socket.SOMAXCONN):
            if self._closed or not self._accept():
                return

    def stopListening(self) -> None:
        """Stop accepting for good and close the socket. A second call does nothing."""
        if self._closed:
            return
        self.pause()
        self._closed = True
        self.socket.close()
        self.factory.doStop()

    def getHost(self) -> Any:  # noqa: ANN401 - an IAddress
        """Return where it listens, as Twisted's address."""
        name: Any = self.socket.getsockname()
        if self._unix_origin is not None:
            return UNIXAddress(name)
        if self.socket.family == socket.AF_INET6:
            return IPv6Address("TCP", *name)
        return IPv4Address("TCP", *name)

    # What the reactor calls.

    def fileno(self) -> int:
        """Return the descriptor to watch; -1 after closing."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Return what Twisted's log lines about this object begin with."""
        return "Acceptor"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        """Close: the reactor drops this socket, at its end or after an error."""
        self.stopListening()

    def doRead(self) -> None:
        """Accept one connection; while more wait, the reactor calls again.

        A second accept() would usually hit EAGAIN and waste a system call.
        """
        if not self._closed:
            self._accept()

    def _accept(self) -> bool:
        """Accept one connection; return False if none was waiting."""
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

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _serve(self, end: Any, address: SocketAddress) -> None:  # noqa: ANN401 - a socket or a descriptor
        protocol: Any = None
        transport: Any = None
        try:
            # As Address(...), which would be a function of Python's.
            origin = self._unix_origin or tuple.__new__(Address, (*address[:2], 0))
            protocol = self.factory.buildProtocol(origin)
            if protocol is None:
                raise ConnectionRefusedError("the factory refused it")  # noqa: TRY301 - logged like all others
            self._sessions += 1
            transport = self._transport(
                end, protocol, address, self, self._sessions, self.reactor
            )
            protocol.makeConnection(transport)
        except Exception as error:  # noqa: BLE001 - one client must not end the rest
            # If this went on to the reactor, it would drop the listening socket.
            self._log.error(f"cannot serve a new connection: {error!r}")
            if transport is not None:
                transport.abortConnection()  # calls protocol.connectionLost
                return
            if isinstance(end, int):
                os.close(end)
            else:
                end.close()
            if protocol is not None:
                protocol.connectionLost(Failure(error))


# Not as a decorator: mypyc does not compile decorated classes.
classImplements(Acceptor, IListeningPort, IReadDescriptor)


def peer_credentials(transport: object) -> tuple[int, int] | None:
    """Return process id and user id of the peer of a unix-domain connection.

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
