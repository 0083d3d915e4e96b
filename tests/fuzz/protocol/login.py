"""Logging in without a password."""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

from tests.fuzz.protocol import wire
from tests.fuzz.protocol.wire import Splitter

READ = 65536


class Entered(NamedTuple):
    """A socket that does not block, its cancel key and its parameters."""

    connection: socket.socket
    key: bytes
    parameters: dict[str, str]


def log_in(
    address: tuple[str, int],
    user: str,
    database: str,
    tls: ssl.SSLContext | None,
    timeout_s: float,
) -> Entered:
    """Log in. Raises OSError; ConnectionError is one, and has the server's words."""
    connection = socket.create_connection(address, timeout_s)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connection = _encrypted(connection, tls)
        connection.sendall(wire.startup(user, database))
        entered = _greeted(connection)
        connection.setblocking(False)  # noqa: FBT003 - its own name
    except BaseException:
        connection.close()
        raise
    return entered


def _encrypted(connection: socket.socket, tls: ssl.SSLContext) -> socket.socket:
    connection.sendall(wire.SSL_REQUEST)
    if connection.recv(1) != b"S":
        raise ConnectionError("no TLS")
    return tls.wrap_socket(connection)


def _greeted(connection: socket.socket) -> Entered:
    splitter, key, parameters = Splitter(), b"", {}
    while data := connection.recv(READ):
        for message in splitter.feed(data):
            if message.kind == b"E":
                raise ConnectionError(wire.shown(message))
            if message.kind == b"K":
                key = message.body
            elif message.kind == b"S":
                name, value = wire.parameter(message.body)
                parameters[name] = value
            elif message.kind == b"Z":
                return Entered(connection, key, parameters)
    raise ConnectionError("closed during the login")
