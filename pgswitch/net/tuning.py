"""Options of TCP sockets, for accepted and outgoing connections alike."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final, Protocol


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


SO_BUF_LOCK: Final = 72
"""Which buffers have a size that was asked for, and do not grow (Linux 5.14).

Python has no name for it.
"""

MIN_BUFFER: Final = 2048
"""Bytes below which a buffer of Linux may stall for good.

Once small pieces have filled it, as with TLS a byte each, the window that is left is
less than the sender waits for, and each 552 bytes take its timer of 200 ms (measured
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
"""What a connection takes over from the socket that it was accepted on."""


def tcp_options(settings: TcpSettings) -> list[Option]:
    """Return what the settings ask for; small messages are sent at once (no Nagle)."""
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

    They are for sockets that are not connected yet.  A peer that has been offered the
    window of a larger buffer sends no less than half of that at a time until its timer
    of 200 ms makes it (RFC 9293, 3.8.6.2.1): 40 kB/s for a buffer of 8 KiB.
    """
    if settings.tcp_socket_buffer <= 0:
        return []
    size = max(settings.tcp_socket_buffer, MIN_BUFFER)
    return [
        (socket.SOL_SOCKET, socket.SO_SNDBUF, size),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, size),
    ]


def tune_listener(sock: socket.socket, settings: TcpSettings) -> None:
    """Give a listening TCP socket all the others, for its connections to inherit.

    What an earlier call set, or another process that had the socket before, goes back
    to the system's default.

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
    """Have buffers begin with the system's size and grow again.

    A kernel that does not know how keeps those of a size once asked for from growing.
    """
    for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        value = fresh.getsockopt(socket.SOL_SOCKET, name)
        if sock.getsockopt(socket.SOL_SOCKET, name) != value:
            # It doubles what it is told, and tells the double (socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, name, value // 2)
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, 0)


def size_buffers(sock: socket.socket, settings: TcpSettings) -> None:
    """Size the buffers of a socket that is to be connected; a refusal is ignored.

    Whoever tunes it later meets that too.
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
    """Let the system hold back a connection until its first byte has come.

    :param sock: a listening TCP socket.
    :param seconds: how long to hold it back at most; 0 turns the delay off.
    """
    for option in _known("TCP_DEFER_ACCEPT", seconds, even_zero=True):
        sock.setsockopt(*option)


def _known(name: str, value: int, *, even_zero: bool = False) -> list[Option]:
    """Return a TCP option; nothing for 0, less, or a system that does not know it."""
    number: int | None = getattr(socket, name, None)
    if number is None or not (value > 0 or even_zero):
        return []
    return [(socket.IPPROTO_TCP, number, value)]
