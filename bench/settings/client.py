"""A connection that reads and writes in some manner; its answers are compared whole."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import Self
from zlib import crc32

from bench.settings.manners import Manner
from bench.wire import DATABASE, USER, encrypted, startup

LIMIT_S = 5.0
"""Silence after which an answer will not come any more."""
HEADER = struct.Struct("!cI")
ASYNCHRONOUS = frozenset((b"N", b"S"))
"""NoticeResponse and ParameterStatus: they may come before any other message."""


ARCHIVE_DATA = ord("d")
"""The first byte of a CopyData with a part of an archive."""


class Wrong(Exception):
    """An answer is not what it must be, or does not come."""


class Hung(Wrong):
    """Nothing came for too long."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, how, and with which manners.

    ``log_in_as`` is the database that is asked for, and ``pid`` the process whose CPU
    counts, 0 for none.
    """

    port: int
    manner: Manner
    by_tls: bool = False
    pid: int = 0


class Answer:
    """What came up to ReadyForQuery, summed up as it comes.

    What may come at any time is left out.
    """

    def __init__(self, archives: list[bytes] | None = None) -> None:
        """Give ``archives`` what a backup is made of (manual, chapter 55.4)."""
        self.size = 0
        """Bytes of what counts."""
        self.crc = 0
        self.tags: list[str] = []
        self.error = ""
        self.kinds = b""
        """The messages that are neither rows nor CopyData."""
        self.is_over = False
        self.copies_in = False
        """CopyInResponse came: it is the client's turn."""
        self._rest = b""
        self._archives = archives

    def feed(self, chunk: bytes) -> None:
        """Take bytes of the answer."""
        data = self._rest + chunk if self._rest else chunk
        at, size, begun = 0, len(data), 0
        view = memoryview(data)
        while size - at >= HEADER.size:
            kind, length = HEADER.unpack_from(data, at)
            end = at + 1 + length
            if end > size:
                break
            if self.is_over:
                raise Wrong(f"a message {kind!r} after ReadyForQuery")
            if kind == b"d":
                if self._archives is not None and data[at + 5] == ARCHIVE_DATA:
                    self._archives.append(data[at + 6 : end])
            elif kind in ASYNCHRONOUS:
                self._count(view[begun:at])
                begun = end
            elif kind != b"D":
                self.kinds += kind
                self._note(kind, data[at + 5 : end])
            at = end
        self._count(view[begun:at])
        self._rest = data[at:]
        if self.is_over and self._rest:
            raise Wrong("a part of a message after ReadyForQuery")

    def _count(self, part: memoryview) -> None:
        self.size += len(part)
        self.crc = crc32(part, self.crc)

    def _note(self, kind: bytes, body: bytes) -> None:
        if kind == b"C":
            self.tags.append(body[:-1].decode())
        elif kind == b"E":
            self.error = body.replace(b"\0", b" ").decode(errors="replace")
        elif kind == b"Z":
            self.is_over = True
        elif kind == b"G":
            self.copies_in = True

    @property
    def sum(self) -> tuple[int, int]:
        """Its size and checksum."""
        return self.size, self.crc


class Client:
    """A logged-in connection. Raises Wrong, or OSError, from everything."""

    def __init__(self, target: Target, *, replication: bool = False) -> None:
        """Connect and log in, all of it in the target's manner."""
        self._manner = manner = target.manner
        self._sent = self._read = 0
        raw = socket.socket()
        raw.settimeout(LIMIT_S)
        if manner.buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, manner.buffer)
        self._socket: socket.socket = raw
        try:
            raw.connect(("127.0.0.1", target.port))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.by_tls:
                self._socket = encrypted(raw)
            more = {"replication": "true"} if replication else {}
            self.send(startup({"user": USER, "database": DATABASE, **more}))
            self._log_in()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take leave, as drivers do."""
        try:
            self._socket.sendall(b"X\0\0\0\4")
        except OSError:
            pass
        finally:
            self._socket.close()

    def send(self, data: bytes) -> None:
        """Send in our manner."""
        manner = self._manner
        if not manner.piece and not manner.burst:
            self._socket.sendall(data)
            return
        step = manner.piece or manner.burst
        for at in range(0, len(data), step):
            part = data[at : at + step]
            self._socket.sendall(part)
            self._sent += len(part)
            if manner.burst and self._sent >= manner.burst:
                self._sent = 0
                _pause(manner.send_pause_s)

    def answer(self, more: bytes = b"", archives: list[bytes] | None = None) -> Answer:
        """Return what comes up to ReadyForQuery; ``more`` is sent when COPY asks."""
        answer = Answer(archives)
        while not answer.is_over:
            answer.feed(self._receive())
            if answer.copies_in:
                answer.copies_in = False
                self.send(more)
        return answer

    def ask(
        self,
        request: bytes,
        more: bytes = b"",
        archives: list[bytes] | None = None,
    ) -> Answer:
        """Send a request; return its answer. Raises Wrong when it is an error."""
        self.send(request)
        answer = self.answer(more, archives)
        if answer.error:
            raise Wrong(answer.error)
        return answer

    def _receive(self) -> bytes:
        manner = self._manner
        try:
            chunk = self._socket.recv(manner.bite)
        except TimeoutError:
            raise Hung(f"nothing came for {LIMIT_S:g} s") from None
        if not chunk:
            raise Wrong("the connection was closed")
        if manner.gulp:
            self._read += len(chunk)
            if self._read >= manner.gulp:
                self._read = 0
                _pause(manner.read_pause_s)
        return chunk

    def _log_in(self) -> None:
        answer = self.answer()
        if answer.error:
            raise Wrong(answer.error)
        if not answer.kinds.startswith(b"R") or b"K" not in answer.kinds:
            raise Wrong(f"a login of messages {answer.kinds!r}")


def message(kind: bytes, body: bytes = b"") -> bytes:
    """Return a message of a client."""
    return HEADER.pack(kind, len(body) + 4) + body


def query(text: str) -> bytes:
    """Return a Query."""
    return message(b"Q", text.encode() + b"\0")


SYNC = message(b"S")


def parse(name: str, text: str) -> bytes:
    """Return a Parse without types of parameters."""
    return message(b"P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind_and_run(name: str, value: str) -> bytes:
    """Return a Bind of one value to a statement, Describe, Execute and Sync."""
    given = struct.pack("!HHi", 0, 1, len(value)) + value.encode() + b"\0\0"
    return (
        message(b"B", b"\0" + name.encode() + b"\0" + given)
        + message(b"D", b"P\0")
        + message(b"E", b"\0\0\0\0\0")
        + SYNC
    )


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - no reactor runs in this process
