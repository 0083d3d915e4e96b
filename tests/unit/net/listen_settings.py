"""The settings that listening reads, with the defaults of the real ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ListenValues:
    """No listening address, unless a test sets one."""

    listen_addr: tuple[str, ...] = ()
    listen_port: int = 6432
    listen_backlog: int = 128
    so_reuseport: int = 0
    tcp_defer_accept: int = 0
    unix_socket_dir: str | None = ""
    unix_socket_mode: int = 0o777
    unix_socket_group: str | None = ""
    tcp_keepalive: int = 1
    tcp_keepcnt: int = 0
    tcp_keepidle: int = 0
    tcp_keepintvl: int = 0
    tcp_user_timeout: int = 0
    tcp_socket_buffer: int = 0
    server_connect_timeout: float = 15
