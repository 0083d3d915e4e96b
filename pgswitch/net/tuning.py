"""Options of TCP sockets, for accepted and outgoing connections alike."""

from __future__ import annotations

import socket
from typing import Protocol


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


def tune_socket(sock: socket.socket, settings: TcpSettings) -> None:
    """Apply the settings to one connected or connecting socket.

    Small messages are sent at once (no Nagle). A unix-domain socket is left alone.

    :raises OSError: the system refuses an option, or the connection is gone.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if settings.tcp_socket_buffer > 0:
        size = settings.tcp_socket_buffer
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    if settings.tcp_user_timeout > 0:
        _set(sock, "TCP_USER_TIMEOUT", settings.tcp_user_timeout)
    if not settings.tcp_keepalive:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", settings.tcp_keepidle),
        ("TCP_KEEPINTVL", settings.tcp_keepintvl),
        ("TCP_KEEPCNT", settings.tcp_keepcnt),
    ):
        if value > 0:
            _set(sock, name, value)


def defer_accept(sock: socket.socket, seconds: int) -> None:
    """Let the system hold back a connection until its first byte has come.

    :param sock: a listening TCP socket.
    :param seconds: how long to hold it back at most; 0 turns the delay off.
    """
    _set(sock, "TCP_DEFER_ACCEPT", seconds)


def _set(sock: socket.socket, name: str, value: int) -> None:
    # Not every system knows every option; one that does not goes without.
    option = getattr(socket, name, None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
