"""Opens and closes the sockets that clients connect to.

``listen_addr`` and ``listen_port`` give TCP sockets, ``unix_socket_dir`` a
unix-domain one, named as PostgreSQL names its own. A service manager may pass
sockets that are open already; they then replace both.

Opening blocks (names are resolved); it happens once, before any client is served.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import unix
from twisted.internet.defer import Deferred, succeed

from pgswitch.errors.base import FatalError, fatal
from pgswitch.logs import Log
from pgswitch.net.acceptor import Acceptor, AcceptReactor, ProtocolFactory
from pgswitch.net.sockets import (
    ListenSettings,
    SocketFile,
    StepFailedError,
    defer_accept,
    is_abstract,
    listen_tcp,
    listen_unix,
    name_of,
    resolve,
    unix_socket_path,
)
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.types import Address

__all__ = ["ListenSettings", "Listeners"]


class UnixTransport(unix.Server):
    """A ``unix.Server`` that closes without shutdown(2), which has no effect here."""

    _shouldShutdown = False


class Listeners:
    """All listening sockets of the service."""

    def __init__(
        self,
        reactor: AcceptReactor,
        log: Log,
        *,
        tcp_transport: Callable[..., Any] = TcpTransport,
        unix_transport: Callable[..., Any] = UnixTransport,
    ) -> None:
        """Start with nothing open.

        :param reactor: provides ``IReactorFDSet`` and ``IReactorTime``.
        :param log: gets a line for each opened socket.
        :param tcp_transport: makes the transport of a TCP client; called like
            ``twisted.internet.tcp.Server``.
        :param unix_transport: the same for clients of the unix socket.
        """
        self._transports = (tcp_transport, unix_transport)
        self._reactor = reactor
        self._log = log
        self._tcp: list[Acceptor] = []
        self._unix: list[Acceptor] = []
        self._names: dict[Acceptor, str] = {}
        self._socket_file: SocketFile | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The sockets that are open, as log lines show them."""
        return tuple(self._names.values())

    def descriptors(self) -> list[tuple[int, Address]]:
        """Return descriptor and address of each open socket."""
        return [
            (acceptor.fileno(), acceptor.address)
            for acceptor in (*self._tcp, *self._unix)
        ]

    def open(
        self,
        settings: ListenSettings,
        factory: ProtocolFactory,
        *,
        inherited: Sequence[int] = (),
    ) -> None:
        """Open every socket that the settings ask for and begin to accept.

        :param settings: where and how.
        :param factory: builds the protocol of each client (IProtocolFactory).
        :param inherited: descriptors of listening sockets passed by the service
            manager; if there are any, ``listen_addr`` and ``unix_socket_dir`` are
            not used.
        :raises FatalError: nothing could be opened, or not the unix socket.
        """
        opened: list[socket.socket] = []
        try:
            if inherited:
                self._inherit(settings, inherited, opened)
            else:
                self._open_tcp(settings, opened)
                self._open_unix(settings, opened)
            if not opened:
                fatal("nowhere to listen on")
        except FatalError:
            for sock in opened:
                sock.close()
            raise
        for sock in opened:
            self._start(sock, factory, settings)

    def take_over(
        self,
        settings: ListenSettings,
        factory: ProtocolFactory,
        descriptors: Sequence[int],
    ) -> None:
        """Begin to accept on sockets that another process hands over."""
        for fd in descriptors:
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)  # noqa: FBT003 - its only argument
            sock.set_inheritable(False)
            is_unix = sock.family == socket.AF_UNIX
            if is_unix and not is_abstract(path := os.fsdecode(sock.getsockname())):
                self._socket_file = SocketFile(path)
            self._start(sock, factory, settings)
            self._log.log(f"listening on {name_of(sock.family, sock.getsockname())}")

    def reconfigure(self, settings: ListenSettings) -> None:
        """Apply reloaded settings: deferred accepts now, the rest for new clients."""
        for acceptor in self._tcp:
            defer_accept(acceptor.socket, settings.tcp_defer_accept)
            acceptor.tune(settings)

    def pause(self) -> None:
        """Accept nothing for now; new connections wait in the backlog."""
        for acceptor in (*self._tcp, *self._unix):
            acceptor.pause()

    def resume(self) -> None:
        """Accept again after :meth:`pause`."""
        for acceptor in (*self._tcp, *self._unix):
            acceptor.resume()

    def close_tcp(self) -> None:
        """Close the TCP sockets; the unix socket stays, for the console.

        Clients that have connected before are accepted: another process that shares
        the port does not get what waits in our queue.
        """
        for acceptor in self._tcp:
            acceptor.take_waiting()
        self._close(self._tcp)

    def close_all(self, *, keep_file: bool = False) -> Deferred[None]:
        """Close everything and remove the unix socket's file.

        :param keep_file: leave the file, because another process uses its name.
        :return: fires when all sockets are closed (here: at once).
        """
        self._close(self._tcp)
        self._close(self._unix)
        if self._socket_file is not None and not keep_file:
            self._socket_file.remove()
        self._socket_file = None
        return succeed(None)

    def _close(self, acceptors: list[Acceptor]) -> None:
        for acceptor in acceptors:
            acceptor.stopListening()
            del self._names[acceptor]
        acceptors.clear()

    def _start(
        self, sock: socket.socket, factory: ProtocolFactory, settings: ListenSettings
    ) -> None:
        is_unix = sock.family == socket.AF_UNIX
        transport = self._transports[is_unix]
        acceptor = Acceptor(
            self._reactor, sock, factory, log=self._log, transport=transport
        )
        if not is_unix:
            acceptor.tune(settings)
        (self._unix if is_unix else self._tcp).append(acceptor)
        self._names[acceptor] = name_of(sock.family, sock.getsockname())
        acceptor.startListening()

    def _inherit(
        self,
        settings: ListenSettings,
        descriptors: Sequence[int],
        opened: list[socket.socket],
    ) -> None:
        for name in ("listen_addr", "unix_socket_dir"):
            if getattr(settings, name):
                self._log.warning(
                    f"sockets passed from service manager, cf_{name} ignored"
                )
        for fd in descriptors:
            try:
                sock = socket.socket(fileno=fd)
            except OSError as error:
                fatal(f"socket passed from service manager (fd {fd}): {error.strerror}")
            sock.setblocking(False)  # noqa: FBT003 - its only argument
            sock.set_inheritable(False)
            opened.append(sock)
            self._log.log(f"socket passed from service manager (fd {fd})")

    def _open_tcp(self, settings: ListenSettings, opened: list[socket.socket]) -> None:
        for host in settings.listen_addr:
            for family, address in resolve(host, settings.listen_port):
                try:
                    sock = listen_tcp(family, address, settings)
                except StepFailedError as failed:
                    name = name_of(family, address)
                    self._log.warning(f"cannot listen on {name}: {failed}")
                    continue
                opened.append(sock)
                self._log.log(f"listening on {name_of(family, sock.getsockname())}")
        if settings.listen_addr and not opened:
            asked = ", ".join(settings.listen_addr)
            fatal(f"failed to listen on any address in listen_addr list: {asked}")

    def _open_unix(self, settings: ListenSettings, opened: list[socket.socket]) -> None:
        if not settings.unix_socket_dir:
            return
        path = unix_socket_path(settings.unix_socket_dir, settings.listen_port)
        name = name_of(socket.AF_UNIX, path)
        if not is_abstract(path) and os.path.lexists(f"{path}.lock"):
            # A PostgreSQL server owns this name; we must not take it away.
            fatal(f"unix port {settings.listen_port} is in use")
        try:
            opened.append(listen_unix(path, settings))
        except StepFailedError as failed:
            self._log.error(f"cannot listen on {name}: {failed}")
            fatal("failed to create unix socket")
        if not is_abstract(path):
            self._socket_file = SocketFile(path)
        self._log.log(f"listening on {name}")
