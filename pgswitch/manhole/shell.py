"""A Python shell into the running service, off unless a setting opens it.

The shell can do everything that the process can. So the unix socket is only for the
process's own user and root, as verified by the kernel, and SSH accepts only public
keys and listens only on the loopback interface.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.conch.insults.insults import ITerminalProtocol, ServerProtocol
from twisted.conch.manhole import ColoredManhole
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from pgswitch.errors.base import fatal
from pgswitch.logs import Log
from pgswitch.net.acceptor import peer_credentials

BANNER = (
    "pgswitch: a Python shell inside the running service.",
    "What you run here runs in its only thread: a loop stops the pooler.",
    "pools(), clients() and servers() only read; `service` is the service itself.",
    "Control-D leaves.",
)

_SOCKET_MODE = 0o600
_MAX_PORT = 65535


class ManholeSettings(Protocol):
    """The settings that open the shell; empty ones leave it closed."""

    @property
    def manhole_socket(self) -> str:
        """Path of a unix socket."""

    @property
    def manhole_ssh(self) -> str:
        """Loopback address and port for SSH, as ``127.0.0.1:2222``."""

    @property
    def manhole_authorized_keys(self) -> str:
        """Path of a file with public keys, in the format of sshd(8)."""

    @property
    def manhole_host_key(self) -> str:
        """Path of the private host key; created if it does not exist."""


class Manhole:
    """Opens and closes the shell's listeners."""

    def __init__(
        self,
        namespace: Mapping[str, object],
        *,
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
        log: Log,
    ) -> None:
        """Prepare; :meth:`open` listens.

        :param namespace: the variables that a shell starts with.
        :param reactor: provides ``IReactorUNIX`` and ``IReactorTCP``.
        :param log: receives a line for each connection and each refusal.
        """
        self._namespace = namespace
        self._reactor = reactor
        self._log = log
        self._ports: list[IListeningPort] = []

    def open(self, settings: ManholeSettings) -> None:
        """Listen at the addresses in the settings, if there are any.

        :raises FatalError: a setting is invalid or the address cannot be used.
        """
        try:
            if settings.manhole_socket:
                self._open_unix(settings.manhole_socket)
            if settings.manhole_ssh:
                self._open_ssh(settings)
        except CannotListenError as error:
            fatal(f"cannot open the manhole: {error}")

    async def close(self) -> None:
        """Stop listening; returns when the ports are closed."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)

    def _open_unix(self, path: str) -> None:
        factory = ShellFactory(self._namespace, self._log)
        self._ports.append(
            self._reactor.listenUNIX(path, factory, mode=_SOCKET_MODE, wantPID=True)
        )
        self._log.log(f"manhole listening on unix:{path}")

    def _open_ssh(self, settings: ManholeSettings) -> None:
        host, port = loopback(settings.manhole_ssh)
        for name in ("manhole_authorized_keys", "manhole_host_key"):
            if not getattr(settings, name):
                fatal(f"manhole_ssh needs {name}")
        try:
            from pgswitch.manhole import ssh  # noqa: PLC0415 - needs the extra
        except ImportError as error:
            fatal(f"manhole_ssh needs the extra pgswitch[manhole]: {error}")
        try:
            factory = ssh.make_factory(
                self._make_shell,
                authorized_keys=settings.manhole_authorized_keys,
                host_key=settings.manhole_host_key,
            )
        except ssh.KeyFileError as error:
            fatal(f"manhole_ssh: {error}")
        self._ports.append(self._reactor.listenTCP(port, factory, interface=host))
        self._log.log(f"manhole listening on ssh:{settings.manhole_ssh}")

    def _make_shell(self) -> ITerminalProtocol:
        return Shell(self._namespace)


class Shell(ColoredManhole):
    """The shell of one connection, which begins with a banner."""

    def __init__(self, namespace: Mapping[str, object]) -> None:
        """Take the variables that the shell starts with."""
        super().__init__(dict(namespace))  # type: ignore[no-untyped-call]

    def initializeScreen(self) -> None:
        """Write the banner before the first prompt."""
        self.terminal.reset()
        for line in BANNER:
            self.terminal.write(line.encode())
            self.terminal.nextLine()
        self.terminal.write(self.ps[self.pn])
        self.setInsertMode()  # type: ignore[no-untyped-call]


class PeerCheck(TwistedProtocol):
    """One connection to the unix socket: checks the peer's credentials (SO_PEERCRED).

    The mode of the socket's file already keeps other users out; this also holds where
    the file system ignores the mode.
    """

    def __init__(self, namespace: Mapping[str, object], log: Log) -> None:
        """Prepare for one connection."""
        self._namespace = namespace
        self._log = log
        self._terminal: Any = None

    def connectionMade(self) -> None:
        """Accept the process's own user and root; disconnect everyone else."""
        pid, uid = peer_credentials(self.transport) or (0, -1)
        if uid not in {0, os.geteuid()}:
            self._log.warning(f"manhole: refused user id {uid}, process {pid}")
            if self.transport is not None:
                self.transport.loseConnection()
            return
        self._log.log(f"manhole: opened by user id {uid}, process {pid}")
        terminal: Callable[..., Any] = ServerProtocol
        self._terminal = terminal(Shell, self._namespace)
        self._terminal.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Pass input on; drop the input of a refused peer."""
        if self._terminal is not None:
            self._terminal.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Pass the end of the connection on."""
        if self._terminal is not None:
            self._terminal.connectionLost(reason)


class ShellFactory(Factory):
    """Makes a :class:`PeerCheck` for each connection to the unix socket."""

    noisy = False

    def __init__(self, namespace: Mapping[str, object], log: Log) -> None:
        """Take the variables that each shell starts with."""
        self._namespace = namespace
        self._log = log

    def buildProtocol(self, addr: IAddress | None) -> PeerCheck:  # noqa: ARG002
        """Return the protocol of one connection."""
        return PeerCheck(self._namespace, self._log)


def inspection_helpers(
    rows_of: Callable[[str], Sequence[object]],
) -> dict[str, Callable[[], object]]:
    """Return the functions that a shell offers for looking around.

    ``rows_of`` returns the rows of a SHOW.  The functions return fresh copies: nothing
    done to a result reaches the service.
    """
    return {
        "pools": lambda: list(rows_of("pools")),
        "clients": lambda: list(rows_of("clients")),
        "servers": lambda: list(rows_of("servers")),
    }


def loopback(text: str) -> tuple[str, int]:
    """Return host and port of ``manhole_ssh``.

    :param text: ``127.0.0.1:2222`` or ``[::1]:2222``.
    :raises FatalError: another format, or not an address of the loopback interface.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback or not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
        fatal(f"manhole_ssh must be a loopback address and a port, not '{text}'")
    return host, int(port)
