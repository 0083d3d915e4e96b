"""Plain sockets, without the reactor: how they listen, and their options.

The functions that make listening sockets block, and are meant for start-up.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from pgswitch.errors.base import FatalError

SocketAddress: TypeAlias = Any
"""What ``socket`` gives and takes: a tuple for TCP, text or bytes for unix."""

SO_BUF_LOCK: Final = 72
"""Option that tells, or resets, which buffers have a fixed size (Linux 5.14).

Python has no constant for it.
"""

MIN_BUFFER: Final = 2048
"""Bytes below which a socket buffer of Linux may stall for good.

Once small pieces have filled it (TLS records of one byte each), the remaining window is
smaller than the sender waits for, and each 552 bytes cost its timer of 200 ms (measured
between two plain sockets: 1, 1152 and 1500 stall, 2048 does not).
"""

Option = tuple[int, int, int]
"""Level, name and value, as setsockopt(2) has them."""

_INHERITED = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    *(
        (socket.IPPROTO_TCP, number)
        for name in ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        if (number := getattr(socket, name, None)) is not None
    ),
]
"""Options that a connection inherits from its listening socket."""

_T = TypeVar("_T")
_CREDENTIALS = Struct("3i")
"""Process, user and group."""


class TcpSettings(Protocol):
    """The settings that shape a TCP connection; 0 leaves the system's default."""

    @property
    def tcp_keepalive(self) -> int:
        """Nonzero to let the system probe silent peers."""

    @property
    def tcp_keepcnt(self) -> int:
        """Probes without an answer before the connection counts as lost."""

    @property
    def tcp_keepidle(self) -> int:
        """Seconds of silence before the first probe."""

    @property
    def tcp_keepintvl(self) -> int:
        """Seconds between probes."""

    @property
    def tcp_user_timeout(self) -> int:
        """Milliseconds that sent data may stay unacknowledged."""

    @property
    def tcp_socket_buffer(self) -> int:
        """Bytes of kernel buffer in each direction."""


class ListenSettings(TcpSettings, Protocol):
    """The settings that say where to listen."""

    @property
    def listen_addr(self) -> Sequence[str]:
        """Names and addresses; ``*`` for all interfaces; empty for no TCP."""

    @property
    def listen_port(self) -> int:
        """TCP port, and the number in the name of the unix socket."""

    @property
    def listen_backlog(self) -> int:
        """Connections that may wait to be accepted, per socket."""

    @property
    def so_reuseport(self) -> int:
        """Nonzero to share the port with other processes."""

    @property
    def tcp_defer_accept(self) -> int:
        """Seconds the system holds a connection until its first byte; 0 for off."""

    @property
    def unix_socket_dir(self) -> str | None:
        """Directory of the socket; ``@name`` for the abstract namespace."""

    @property
    def unix_socket_mode(self) -> int:
        """Permission bits of the socket file."""

    @property
    def unix_socket_group(self) -> str | None:
        """Group of the socket file, by name or number; empty for the process's."""


class SocketFile:
    """The file of our own unix socket, to be removed at the end.

    Remembers which file it was: by then another process may have put its own socket
    there.
    """

    def __init__(self, path: str) -> None:
        """Remember the file that is at ``path`` now."""
        self.path = path
        self._identity = self._look()

    def remove(self) -> None:
        """Remove the file if it is still ours; errors are ignored."""
        with suppress(OSError):
            if self._look() == self._identity:
                Path(self.path).unlink()

    def _look(self) -> tuple[int, int]:
        status = os.lstat(self.path)
        return status.st_dev, status.st_ino


class StepFailedError(Exception):
    """A system call refused; reads ``bind(): Address already in use``."""

    def __init__(self, step: str, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        super().__init__(f"{step}(): {reason}")


def resolve(host: str, port: int) -> list[tuple[int, SocketAddress]]:
    """Return every address that a ``listen_addr`` entry stands for.

    :param host: a name, an address, or ``*`` for all interfaces.
    :param port: the TCP port.
    :return: pairs of address family and socket address, in the resolver's order.
    :raises FatalError: the name is not known.
    """
    try:
        found = socket.getaddrinfo(
            None if host == "*" else host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except socket.gaierror as error:
        text = f"getaddrinfo('{host}', '{port}') = {error.strerror} [{error.errno}]"
        raise FatalError(text) from error
    except UnicodeError as error:
        # Raised by Python itself for a label that no host name can have.
        text = f"getaddrinfo('{host}', '{port}') = {error}"
        raise FatalError(text) from error
    return [(family, address) for family, _, _, _, address in found]


MAX_BACKLOG: Final = 2**31 - 1
"""The largest int of C."""


def listen_tcp(
    family: int, address: SocketAddress, settings: ListenSettings
) -> socket.socket:
    """Return a non-blocking TCP socket that listens on one resolved address."""
    sock = _step("socket", lambda: socket.socket(family, socket.SOCK_STREAM))
    try:
        _step("setsockopt", lambda: _prepare_tcp(sock, settings))
        _step("bind", lambda: sock.bind(address))
        _step("listen", lambda: sock.listen(_backlog(settings)))
    except StepFailedError:
        sock.close()
        raise
    sock.setblocking(False)  # noqa: FBT003 - its only argument
    return sock


def _backlog(settings: ListenSettings) -> int:
    """Return the backlog for listen(2); a negative setting means the maximum.

    The system applies its own limit (/proc/sys/net/core/somaxconn).  Python would turn
    a negative number into 0, and of many clients at once all but the first would wait
    for a second and more.
    """
    wanted = settings.listen_backlog
    return wanted if wanted >= 0 else MAX_BACKLOG


def listen_unix(path: str, settings: ListenSettings) -> socket.socket:
    """Return a non-blocking socket that listens on a unix-domain path.

    Removes a stale socket file first. Sets group and mode before the socket listens,
    so that it never accepts with the wrong ones.
    """
    sock = _step("socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        if is_abstract(path):
            _step("bind", lambda: sock.bind(path))
        else:
            _step("unlink", lambda: _remove_stale(path))
            _step("bind", lambda: sock.bind(path))
            _step("chown", lambda: _set_group(path, settings.unix_socket_group))
            _step("chmod", lambda: Path(path).chmod(settings.unix_socket_mode))
        _step("listen", lambda: sock.listen(_backlog(settings)))
    except StepFailedError:
        sock.close()
        raise
    sock.setblocking(False)  # noqa: FBT003 - its only argument
    return sock


def unix_socket_path(directory: str, port: int) -> str:
    """Return the address of the unix socket, ``<directory>/.s.PGSQL.<port>``.

    :param directory: ``unix_socket_dir``; with ``@`` in front, the result is in the
        abstract namespace of Linux and starts with a zero byte (unix(7)).
    """
    path = f"{directory}/.s.PGSQL.{port}"
    return f"\0{path[1:]}" if path.startswith("@") else path


def unix_port(path: str | bytes, default: int = 0) -> int:
    """Return the port that a unix socket's address ends with, if it does."""
    number = os.fsdecode(path).rpartition(".s.PGSQL.")[2]
    return int(number) if number.isdecimal() else default


def is_abstract(path: str) -> bool:
    """Tell whether a unix socket address is without a file."""
    return path.startswith("\0")


def name_of(family: int, address: SocketAddress) -> str:
    """Return an address as log lines show it.

    ``127.0.0.1:6432``, ``[::1]:6432``, ``unix:/tmp/.s.PGSQL.6432``.
    """
    if family == socket.AF_UNIX:
        path = os.fsdecode(address)
        return f"unix:@{path[1:]}" if is_abstract(path) else f"unix:{path}"
    host, port = address[:2]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def user_behind(connection: socket.socket) -> int:
    """Return the user id of the peer of a unix socket, as the kernel reports it.

    For a listening socket, the user that called listen() (SO_PEERCRED, unix(7)); -1 if
    it is unknown.
    """
    try:
        data = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
    except (OSError, AttributeError):
        return -1
    return int(_CREDENTIALS.unpack(data)[1])


def _prepare_tcp(sock: socket.socket, settings: ListenSettings) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        # Otherwise the IPv6 wildcard takes the IPv4 port too, and one of them fails.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if settings.so_reuseport:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if settings.tcp_defer_accept:
        defer_accept(sock, settings.tcp_defer_accept)


def _remove_stale(path: str) -> None:
    with suppress(FileNotFoundError):
        # Only a socket: with a wrong setting, this may be any other file.
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            Path(path).unlink()


def _set_group(path: str, group: str | None) -> None:
    if group:
        os.chown(path, -1, group_id(group))


def group_id(group: str) -> int:
    """Return the number of a group given by name or number.

    :raises LookupError: there is no such group.
    """
    import grp  # noqa: PLC0415 - not on every system

    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise LookupError(f"could not find group '{group}'") from None


def _step(name: str, action: Callable[[], _T]) -> _T:
    try:
        return action()
    except (OSError, LookupError) as error:
        raise StepFailedError(name, error) from error


_PATIENCE_S = 10.0


def send_with_descriptors(
    sock: socket.socket, data: bytes, attached: Sequence[tuple[int, int]]
) -> None:
    """Send bytes with descriptors attached (SCM_RIGHTS, unix(7)).

    Blocks; raises OSError if the peer does not read in time.

    :param attached: ascending offsets in ``data``, each with its descriptor.
    """
    sock.settimeout(_PATIENCE_S)
    try:
        sent = 0
        for at, (place, descriptor) in enumerate(attached):
            sock.sendall(data[sent:place])
            end = attached[at + 1][0] if at + 1 < len(attached) else len(data)
            sent = place + socket.send_fds(sock, [data[place:end]], [descriptor])
        sock.sendall(data[sent:])
    finally:
        sock.setblocking(False)  # noqa: FBT003 - its only argument


def tcp_options(settings: TcpSettings) -> list[Option]:
    """Return the options; small messages are always sent at once (no Nagle)."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    options += buffer_options(settings)
    options += _known("TCP_USER_TIMEOUT", settings.tcp_user_timeout)
    if settings.tcp_keepalive:
        options += [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        options += _known("TCP_KEEPIDLE", settings.tcp_keepidle)
        options += _known("TCP_KEEPINTVL", settings.tcp_keepintvl)
        options += _known("TCP_KEEPCNT", settings.tcp_keepcnt)
    return options


def buffer_options(settings: TcpSettings) -> list[Option]:
    """Return those of ``tcp_options`` that size the kernel's buffers.

    Set them before the socket is connected.  A peer that was offered the window of a
    larger buffer sends at least half of it at a time, or waits for its timer of 200 ms
    (RFC 9293, 3.8.6.2.1): 40 kB/s for a buffer of 8 KiB.
    """
    if settings.tcp_socket_buffer <= 0:
        return []
    size = max(settings.tcp_socket_buffer, MIN_BUFFER)
    return [
        (socket.SOL_SOCKET, socket.SO_SNDBUF, size),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, size),
    ]


def tune_listener(sock: socket.socket, settings: TcpSettings) -> None:
    """Set the options on a listening TCP socket, for its connections to inherit.

    Resets what an earlier call, or another process that had the socket, has set and
    the settings do not.

    :raises OSError: the system refuses an option.
    """
    options = tcp_options(settings)
    wanted = {(level, name): value for level, name, value in options}
    with socket.socket(sock.family, sock.type) as fresh:
        for level, name in _INHERITED:
            value = wanted.get((level, name))
            if value is None:
                value = fresh.getsockopt(level, name)
            sock.setsockopt(level, name, value)
        buffers = buffer_options(settings)
        for option in buffers:
            sock.setsockopt(*option)
        if not buffers:
            _free_buffers(sock, fresh)


def _free_buffers(sock: socket.socket, fresh: socket.socket) -> None:
    """Reset the buffers to the system's size, and let them grow again.

    An older kernel does not let a buffer grow whose size was ever set.
    """
    for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        value = fresh.getsockopt(socket.SOL_SOCKET, name)
        if sock.getsockopt(socket.SOL_SOCKET, name) != value:
            # The system doubles the value, and returns the double (socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, name, value // 2)
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, 0)


def size_buffers(sock: socket.socket, settings: TcpSettings) -> None:
    """Size the buffers of a socket before it is connected; errors are ignored.

    ``tune_socket`` meets them again.
    """
    with suppress(OSError):
        for option in buffer_options(settings):
            sock.setsockopt(*option)


def tune_socket(sock: socket.socket, settings: TcpSettings) -> None:
    """Apply the settings to one socket; a unix-domain socket is left alone.

    :raises OSError: the system refuses an option, or the connection is gone.
    """
    if sock.family == socket.AF_UNIX:
        return
    for option in tcp_options(settings):
        sock.setsockopt(*option)


def defer_accept(sock: socket.socket, seconds: int) -> None:
    """Have the system report a connection only when its first byte has come.

    :param sock: a listening TCP socket.
    :param seconds: how long to hold it back at most; 0 turns the delay off.
    """
    for option in _known("TCP_DEFER_ACCEPT", seconds, even_zero=True):
        sock.setsockopt(*option)


def _known(name: str, value: int, *, even_zero: bool = False) -> list[Option]:
    """Return a TCP option; nothing for 0, less, or if the system lacks it."""
    number: int | None = getattr(socket, name, None)
    if number is None or not (value > 0 or even_zero):
        return []
    return [(socket.IPPROTO_TCP, number, value)]
