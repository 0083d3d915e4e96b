"""A connection without a driver: messages both ways (manual, chapter 54)."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import NamedTuple

HOST = "127.0.0.1"
DATABASE = "soak"
USERS = ("soak", "second")
PROTOCOL_3_0 = 196608
CANCEL_CODE = 80877102
HEADER = struct.Struct("!cI")
LIMIT_S = 100.0
"""Nobody waits for longer for a message: less than query_wait_timeout."""


class Message(NamedTuple):
    """A message of a server."""

    kind: bytes
    body: bytes

    def fields(self) -> dict[str, str]:
        """Return the fields of an ErrorResponse or NoticeResponse."""
        parts = self.body.decode(errors="replace").split("\0")
        return {part[0]: part[1:] for part in parts if part}

    def column(self) -> str:
        """Return the first column of a DataRow."""
        (size,) = struct.unpack_from("!i", self.body, 2)
        return self.body[6 : 6 + size].decode()


class Gone(Exception):
    """The other end has closed the connection."""


class Silent(Exception):
    """Nothing came for LIMIT_S."""


def message(kind: bytes, body: bytes = b"") -> bytes:
    """Return a message."""
    return HEADER.pack(kind, len(body) + 4) + body


def query(text: str) -> bytes:
    """Return a Query."""
    return message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    """Return a Parse without parameter types."""
    return message(b"P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind(name: str, *values: str) -> bytes:
    """Return a Bind of the unnamed portal, and an Execute of it."""
    given = b"".join(
        struct.pack("!i", len(value)) + value for value in map(str.encode, values)
    )
    body = b"\0" + name.encode() + b"\0" + struct.pack("!HH", 0, len(values)) + given
    return message(b"B", body + b"\0\0") + message(b"E", b"\0\0\0\0\0")


_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for no time."""
SYNC = message(b"S")
TERMINATE = message(b"X")


class Connection:
    """One socket to the pooler."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take both directions of it; see :meth:`open`."""
        self._reader = reader
        self._writer = writer
        self.key = b""

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect. Raises Gone when the other end does not take us."""
        try:
            return cls(*await asyncio.open_connection(HOST, port))
        except OSError as error:
            raise Gone(str(error)) from None

    async def log_in(self, user: str = USERS[0]) -> list[Message]:
        """Log in where no password is asked; return what was said."""
        pairs = f"user\0{user}\0database\0{DATABASE}\0\0".encode()
        self.send(struct.pack("!II", len(pairs) + 8, PROTOCOL_3_0) + pairs)
        said = await self.answer()
        self.key = next((one.body for one in said if one.kind == b"K"), b"")
        return said

    def send(self, data: bytes) -> None:
        """Send, now or soon."""
        self._writer.write(data)

    async def message(self) -> Message:
        """Return the next message; notices are passed over. Raises Gone, Silent."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    head = await self._reader.readexactly(HEADER.size)
                    kind, length = HEADER.unpack(head)
                    body = await self._reader.readexactly(length - 4)
                    if kind != b"N":
                        return Message(kind, body)
        except TimeoutError:
            raise Silent from None
        except (asyncio.IncompleteReadError, OSError):
            raise Gone from None

    async def answer(self, end: bytes = b"Z") -> list[Message]:
        """Return the messages up to one of kind ``end``, or up to a FATAL error."""
        said = []
        while True:
            said.append(await self.message())
            if said[-1].kind == end:
                return said
            if said[-1].kind == b"E" and said[-1].fields().get("S") == "FATAL":
                return said

    async def cancel(self, key: bytes) -> None:
        """Send a cancel request for a key, and wait until it has been dealt with."""
        connection = await Connection.open(self._port)
        connection.send(struct.pack("!II", 16, CANCEL_CODE) + key)
        try:
            await connection.message()
        except Gone:
            pass
        finally:
            await connection.close()

    @property
    def _port(self) -> int:
        port: int = self._writer.get_extra_info("peername")[1]
        return port

    async def close(self) -> None:
        """Close after everything was sent."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return

    def reset(self) -> None:
        """Close at once, unless it is closed; the other end gets a reset."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()
