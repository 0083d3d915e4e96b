"""A small PostgreSQL client without a driver: every message can be sent and seen.

The functions return messages of a client as bytes; messages of a server come as
:class:`Message`. :class:`Connection` blocks, :class:`AsyncConnection` is for asyncio.
The formats are those of the manual, chapter 54.7.

It shares no code with pgswitch: the same mistake on both sides would go unnoticed.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import struct
from base64 import b64decode, b64encode
from contextlib import suppress
from hashlib import md5, pbkdf2_hmac, sha256
from hmac import digest
from typing import NamedTuple, Self

HOST = "127.0.0.1"
TIMEOUT_S = 10.0
PROTOCOL_3_0 = 196608
CANCEL_CODE, SSL_CODE, GSSENC_CODE = 80877102, 80877103, 80877104
HEADER = struct.Struct("!cI")
"""Type and length of a message; the length counts itself but not the type."""

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
"""Kinds of Authentication messages."""
_MECHANISM = b"SCRAM-SHA-256"
_LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close() sends a reset."""


# Messages of a client.


def message(kind: bytes, body: bytes = b"") -> bytes:
    """Return a message with a type byte."""
    return HEADER.pack(kind, len(body) + 4) + body


def packet(code: int, body: bytes = b"") -> bytes:
    """Return a first packet, which has no type byte: length, code, body."""
    return struct.pack("!II", len(body) + 8, code) + body


def startup(*pairs: str, version: int = PROTOCOL_3_0) -> bytes:
    """Return a StartupMessage with these names and values, in turn."""
    return packet(version, b"".join(p.encode() + b"\0" for p in pairs) + b"\0")


def cancel_request(key: bytes) -> bytes:
    """Return a CancelRequest; ``key`` is the body of a BackendKeyData."""
    return packet(CANCEL_CODE, key)


def query(text: str) -> bytes:
    """Return a Query."""
    return message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    """Return a Parse without parameter types."""
    return message(b"P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind(name: str, *values: str) -> bytes:
    """Return a Bind of a statement to the unnamed portal, all values as text."""
    given = b"".join(
        struct.pack("!i", len(value)) + value for value in map(str.encode, values)
    )
    counts = struct.pack("!HH", 0, len(values))
    return message(b"B", b"\0" + name.encode() + b"\0" + counts + given + b"\0\0")


SSL_REQUEST = packet(SSL_CODE)
GSSENC_REQUEST = packet(GSSENC_CODE)
DESCRIBE = message(b"D", b"P\0")
"""Of the unnamed portal."""
EXECUTE = message(b"E", b"\0\0\0\0\0")
"""Of the unnamed portal, without a row limit."""
SYNC = message(b"S")
TERMINATE = message(b"X")


# Messages of a server.


class Message(NamedTuple):
    """A message of a server: its type byte, and what follows the length."""

    kind: bytes
    body: bytes

    def error_fields(self) -> dict[str, str]:
        """Return the fields of an ErrorResponse or NoticeResponse."""
        return error_fields(self.body)

    def values(self) -> list[str | None]:
        """Return the values of a DataRow."""
        return row_values(self.body)


class ServerError(Exception):
    """The server answered with an ErrorResponse; ``fields`` are its fields."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(f"{fields['S']} {fields['C']}: {fields['M']}")
        self.fields = fields


def error_fields(body: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse by their letters."""
    parts = [part.decode(errors="replace") for part in body.split(b"\0") if part]
    return {part[0]: part[1:] for part in parts}


def row_description(received: tuple[bytes, bytes]) -> list[tuple[str, int]]:
    """Return the name and the type OID of each column of a RowDescription."""
    kind, body = received
    assert kind == b"T", received  # noqa: S101 - for tests
    (count,) = struct.unpack_from("!H", body)
    columns, position = [], 2
    for _ in range(count):
        end = body.index(b"\0", position)
        (type_oid,) = struct.unpack_from("!I", body, end + 7)
        columns.append((body[position:end].decode(), type_oid))
        position = end + 19
    assert position == len(body)  # noqa: S101 - as above
    return columns


def row_values(body: bytes) -> list[str | None]:
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
    assert position == len(body)  # noqa: S101 - as above
    return values


# Logging in.


def unverified_tls() -> ssl.SSLContext:
    """Return a context that accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def md5_answer(user: str, password: str, salt: bytes) -> bytes:
    """Return what a client answers to AuthenticationMD5Password (manual, 54.2.1)."""
    inner = md5(f"{password}{user}".encode(), usedforsecurity=False).hexdigest()
    outer = md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
    return f"md5{outer}".encode()


class ScramProof:
    """The client's side of SCRAM-SHA-256 without channel binding (RFC 5802, 7677).

    Passwords are taken as they are: SASLprep changes nothing in ASCII.
    """

    def __init__(self, password: str, nonce: str = "") -> None:
        """``nonce`` is random unless given."""
        self._password = password.encode()
        self._first = f"n=,r={nonce or secrets.token_urlsafe(18)}".encode()

    def first(self) -> bytes:
        """Return client-first-message."""
        return b"n,," + self._first

    def final(self, challenge: bytes) -> bytes:
        """Return client-final-message for server-first-message."""
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        salted = pbkdf2_hmac(
            "sha256", self._password, b64decode(fields[b"s"]), int(fields[b"i"])
        )
        key = digest(salted, b"Client Key", "sha256")
        without_proof = b"c=biws,r=" + fields[b"r"]
        signed = b",".join((self._first, challenge, without_proof))
        signature = digest(sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        return without_proof + b",p=" + b64encode(proof)


class Connection:
    """A socket to a server or pooler that reads whole messages and blocks meanwhile.

    All reads raise EOFError when the connection ends, TimeoutError when nothing comes.
    """

    def __init__(
        self, port: int, *, receive_buffer: int = 0, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Connect to 127.0.0.1; ``receive_buffer`` in bytes, 0 for the system's own.

        Raises OSError when that fails.
        """
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect((HOST, port))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def read_exactly(self, size: int) -> bytes:
        """Return the next ``size`` bytes; EOFError carries what came before the end."""
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                raise EOFError(data)
            data += chunk
        return data

    def read_message(self) -> Message:
        """Return the next message."""
        kind, length = HEADER.unpack(self.read_exactly(HEADER.size))
        return Message(kind, self.read_exactly(length - 4))

    def read_until(self, kind: bytes) -> list[Message]:
        """Return the messages up to and including one of this type."""
        found = []
        while True:
            found.append(self.read_message())
            if found[-1].kind == kind:
                return found

    def read_error(self) -> dict[str, str]:
        """Return the fields of the next ErrorResponse, skipping what comes before."""
        return self.read_until(b"E")[-1].error_fields()

    def is_closed(self) -> bool:
        """Wait for the next byte; tell whether the connection ended instead."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def request_tls(self, context: ssl.SSLContext | None = None) -> None:
        """Ask for TLS and do the handshake, by default with any certificate.

        Raises EOFError when the server refuses.
        """
        self.send(SSL_REQUEST)
        if self.read_exactly(1) != b"S":
            raise EOFError("the server refused TLS")
        self.socket = (context or unverified_tls()).wrap_socket(self.socket)

    def log_in(
        self, user: str, database: str, password: str = "", **parameters: str
    ) -> list[Message]:
        """Log in by trust, cleartext, MD5 or SCRAM; return all messages of the server.

        ``parameters`` are further ones of the StartupMessage. Raises ServerError when
        the server refuses.
        """
        more = [word for pair in parameters.items() for word in pair]
        self.send(startup("user", user, "database", database, *more))
        proof = ScramProof(password)
        received = []
        while True:
            kind, body = one = self.read_message()
            received.append(one)
            if kind == b"E":
                raise ServerError(one.error_fields())
            if kind == b"Z":
                return received
            if kind == b"R":
                code = int.from_bytes(body[:4])
                answer = _login_answer(code, body[4:], user, password, proof)
                if answer is not None:
                    self.send(message(b"p", answer))

    def query(self, text: str) -> list[list[str | None]]:
        """Run a simple query; return its rows. Raises ServerError for an error."""
        self.send(query(text))
        received = self.read_until(b"Z")
        for one in received:
            if one.kind == b"E":
                raise ServerError(one.error_fields())
        return [one.values() for one in received if one.kind == b"D"]


def _login_answer(
    code: int, data: bytes, user: str, password: str, proof: ScramProof
) -> bytes | None:
    """Return the body of the answer to an Authentication message, None for none."""
    if code == _CLEARTEXT:
        return password.encode() + b"\0"
    if code == _MD5:
        return md5_answer(user, password, data) + b"\0"
    if code == _SASL:
        first = proof.first()
        return _MECHANISM + b"\0" + struct.pack("!I", len(first)) + first
    if code == _SASL_CONTINUE:
        return proof.final(data)
    if code in {_OK, _SASL_FINAL}:
        return None
    raise ValueError(f"authentication request {code} is not supported")


class Disconnected(Exception):
    """The other end is not there, or has closed the connection."""


class NoAnswer(Exception):
    """Nothing came in time."""


class AsyncConnection:
    """The same for asyncio, for many connections at a time; logs in by trust."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Take both directions of a connection; see :meth:`open`."""
        self.key = b""
        """The body of BackendKeyData, empty before the login."""
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s

    @classmethod
    async def open(cls, port: int, timeout_s: float = TIMEOUT_S) -> Self:
        """Connect to 127.0.0.1; ``timeout_s`` holds for each message that is read.

        Raises Disconnected when that fails.
        """
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
        except OSError as error:
            raise Disconnected(str(error)) from None
        return cls(reader, writer, timeout_s)

    async def log_in(self, user: str, database: str) -> list[Message]:
        """Log in; return the messages of the server."""
        self.send(startup("user", user, "database", database))
        received = await self.read_answer()
        self.key = next((one.body for one in received if one.kind == b"K"), b"")
        return received

    def send(self, data: bytes) -> None:
        """Send, now or soon."""
        self._writer.write(data)

    async def read_message(self) -> Message:
        """Return the next message other than a notice.

        Raises Disconnected or NoAnswer.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    head = await self._reader.readexactly(HEADER.size)
                    kind, length = HEADER.unpack(head)
                    body = await self._reader.readexactly(length - 4)
                    if kind != b"N":
                        return Message(kind, body)
        except TimeoutError:
            raise NoAnswer from None
        except (asyncio.IncompleteReadError, OSError):
            raise Disconnected from None

    async def read_answer(self, end: bytes = b"Z") -> list[Message]:
        """Return the messages up to one of kind ``end``, or up to a FATAL error."""
        received = []
        while True:
            received.append(await self.read_message())
            last = received[-1]
            is_fatal = last.kind == b"E" and last.error_fields().get("S") == "FATAL"
            if last.kind == end or is_fatal:
                return received

    async def cancel(self, key: bytes) -> None:
        """Send a CancelRequest on a connection of its own; wait until that is closed.

        Raises Disconnected when the connection is refused.
        """
        port: int = self._writer.get_extra_info("peername")[1]
        connection = await type(self).open(port, self._timeout_s)
        connection.send(cancel_request(key))
        try:
            await connection.read_message()
        except Disconnected:
            pass
        finally:
            await connection.close()

    async def close(self) -> None:
        """Close once everything is sent."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """Close at once, unless it is closed already; the other end gets a reset."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._writer.transport.abort()
