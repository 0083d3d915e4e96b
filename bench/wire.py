"""Connections by hand: a first query, and clients that stay and do nothing."""

from __future__ import annotations

import socket
import struct

LIMIT_S = 10.0
_STARTUP = b"user\0bench\0database\0bench\0\0"
STARTUP = struct.pack("!II", len(_STARTUP) + 8, 196608) + _STARTUP
QUERY = b"Q\0\0\0\x0dSELECT 1\0"
READY = b"Z\0\0\0\5I"


def log_in(port: int) -> socket.socket:
    """Return a logged-in connection; OSError or EOFError if that does not work."""
    connection = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    connection.sendall(STARTUP)
    _until_ready(connection)
    return connection


def first_answer(port: int) -> None:
    """Log in and have a query answered."""
    with log_in(port) as connection:
        connection.sendall(QUERY)
        _until_ready(connection)


def _until_ready(connection: socket.socket) -> None:
    seen = b""
    while not seen.endswith(READY):
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(seen)
        seen += chunk
