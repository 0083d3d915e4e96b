"""Connections without a driver: a log-in, and a first query (manual, chapter 54)."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Mapping

import psycopg

LIMIT_S = 10.0
PROTOCOL_3_0 = 196608
USER = DATABASE = "bench"
PASSWORD = "bench"  # noqa: S105 - of the benchmark alone
"""Where a pooler asks for one."""
RULED = "ruled"
"""The same database by way of rules, where a pooler has such."""

_QUERY = b"Q\0\0\0\x0dSELECT 1\0"
_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_READY = b"Z\0\0\0\5I"


def log_in(port: int, *, by_tls: bool = False) -> socket.socket:
    """Return a logged-in connection to a pooler on 127.0.0.1 that trusts us.

    Raises OSError when it cannot be reached, EOFError when it hangs up or refuses.
    """
    connection = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    try:
        if by_tls:
            connection = encrypted(connection)
        connection.sendall(startup({"user": USER, "database": DATABASE}))
        _await_ready(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def first_answer(port: int, *, by_tls: bool = False, by_password: bool = False) -> None:
    """Log in and have one query answered. Raises as ``log_in`` does.

    With a password it takes a driver, which raises ``psycopg.Error``.
    """
    if by_password:
        text = f"host=127.0.0.1 port={port} user={USER} password={PASSWORD}"
        with psycopg.connect(text, dbname=DATABASE, autocommit=True) as driver:
            driver.execute("SELECT 1")
        return
    with log_in(port, by_tls=by_tls) as connection:
        connection.sendall(_QUERY)
        _await_ready(connection)


def startup(parameters: Mapping[str, str]) -> bytes:
    """Return a StartupMessage."""
    pairs = "".join(f"{name}\0{value}\0" for name, value in parameters.items())
    body = pairs.encode("ascii") + b"\0"
    return struct.pack("!II", len(body) + 8, PROTOCOL_3_0) + body


def encrypted(connection: socket.socket) -> socket.socket:
    """Ask for TLS, and do the handshake with whoever is there.

    Raises EOFError when TLS is refused.
    """
    connection.sendall(_SSL_REQUEST)
    if connection.recv(1) != b"S":
        raise EOFError("the pooler refused TLS")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def _await_ready(connection: socket.socket) -> None:
    """Read until the message that says so: it is the last of each answer here."""
    seen = b""
    while not seen.endswith(_READY):
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(f"the pooler hung up after {seen!r}")
        seen += chunk
