"""A client without a driver: bytes to the pooler, what comes back."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

PROTOCOL_3_0 = 196608
DEADLINE_S = 10.0


def packet(code: int, body: bytes = b"") -> bytes:
    """Return a first packet: length, code, body."""
    return struct.pack("!II", len(body) + 8, code) + body


def startup(*pairs: str, version: int = PROTOCOL_3_0) -> bytes:
    """Return a StartupMessage of names and values in turn."""
    return packet(version, b"".join(p.encode() + b"\0" for p in pairs) + b"\0")


def error_fields(body: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse."""
    parts = [part.decode() for part in body.split(b"\0") if part]
    return {part[0]: part[1:] for part in parts}


def row_description(received: tuple[bytes, bytes]) -> list[tuple[str, int]]:
    """Return name and type number of each column that a RowDescription announces."""
    kind, body = received
    assert kind == b"T", received
    (count,) = struct.unpack_from("!H", body)
    columns, position = [], 2
    for _ in range(count):
        end = body.index(b"\0", position)
        (type_number,) = struct.unpack_from("!I", body, end + 7)
        columns.append((body[position:end].decode(), type_number))
        position = end + 19
    assert position == len(body)
    return columns


def column_texts(body: bytes) -> list[str | None]:
    """Return the values of a DataRow, None for NULL."""
    (count,) = struct.unpack_from("!H", body)
    values: list[str | None] = []
    position = 2
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, position)
        position += 4
        if size < 0:
            values.append(None)
            continue
        values.append(body[position : position + size].decode())
        position += size
    assert position == len(body)
    return values


class RawClient:
    """A socket to the pooler that reads whole messages."""

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        """Connect; ``receive_buffer`` in bytes, 0 for the system's own."""
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def exactly(self, size: int) -> bytes:
        """Return so many bytes; EOFError if the connection ends before."""
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                raise EOFError(data)
            data += chunk
        return data

    def message(self) -> tuple[bytes, bytes]:
        """Return type and body of the next message."""
        header = self.exactly(5)
        (length,) = struct.unpack("!I", header[1:])
        return header[:1], self.exactly(length - 4)

    def until(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        """Return the messages up to one of this type."""
        found = []
        while True:
            found.append(self.message())
            if found[-1][0] == kind:
                return found

    def log_in(self, user: str = "trusted", database: str = "bench") -> None:
        """Log in where ``auth_type`` is trust."""
        self.send(startup("user", user, "database", database))
        self.until(b"Z")

    def error(self) -> dict[str, str]:
        """Return the fields of the next ErrorResponse."""
        return error_fields(self.until(b"E")[-1][1])

    def is_closed(self) -> bool:
        """Tell whether the connection ends, and nothing comes before that."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
