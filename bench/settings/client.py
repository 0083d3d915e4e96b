"""Connections that read and write as specified, and checksums of their answers."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Self
from zlib import crc32

from bench.environment import DATABASE, USER
from testkit.pgwire import (
    DESCRIBE,
    EXECUTE,
    HEADER,
    SYNC,
    TERMINATE,
    Connection,
    bind,
    startup,
)


@dataclass(frozen=True, slots=True)
class ClientBehaviour:
    """How a client sends and reads, and how fast the server makes rows.

    The client sends ``send_size`` bytes at a time (0: all at once) and pauses for
    ``send_pause_s`` after every ``burst`` bytes. It reads ``read_size`` bytes at a time
    and pauses for ``read_pause_s`` after every ``read_burst`` bytes; its socket has
    ``receive_buffer`` bytes (0: the system's default). The server pauses for
    ``row_pause_s`` at every ``pause_rows``-th row. ``scale`` is the amount of work, 1:
    all of it.
    """

    name: str
    send_size: int = 0
    burst: int = 0
    send_pause_s: float = 0.0
    read_size: int = 1 << 18
    read_burst: int = 0
    read_pause_s: float = 0.0
    receive_buffer: int = 0
    pause_rows: int = 0
    row_pause_s: float = 0.0
    scale: float = 1.0


PLAIN = ClientBehaviour("plain")
SLOW_READER = ClientBehaviour(
    "slow reader",
    read_size=2048,
    read_burst=32768,
    read_pause_s=0.001,
    receive_buffer=8192,
    scale=0.2,
)
ONE_BYTE = ClientBehaviour("1-byte writes", send_size=1, scale=0.2)
BURSTS = ClientBehaviour(
    "bursts",
    burst=65536,
    send_pause_s=0.003,
    pause_rows=100,
    row_pause_s=0.003,
    scale=0.4,
)
SLOW_SENDER = ClientBehaviour(
    "slow sender",
    send_size=4096,
    burst=4096,
    send_pause_s=0.0005,
    pause_rows=10,
    row_pause_s=0.001,
    scale=0.2,
)

BEHAVIOURS = {
    one.name: one for one in (PLAIN, SLOW_READER, ONE_BYTE, BURSTS, SLOW_SENDER)
}


LIMIT_S = 5.0
"""Silence after which no answer is expected any more."""
ASYNCHRONOUS = frozenset((b"N", b"S"))
"""NoticeResponse and ParameterStatus, which may come before any other message."""


ARCHIVE_DATA = ord("d")
"""The first byte of a CopyData with part of an archive."""


class IncorrectAnswer(Exception):
    """An answer is wrong or missing; the text says how."""


class NoAnswer(IncorrectAnswer):
    """Nothing came for LIMIT_S."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to connect.

    ``pid`` is the process whose CPU time counts, 0 for none.
    """

    port: int
    behaviour: ClientBehaviour
    by_tls: bool = False
    pid: int = 0


class Answer:
    """Size, checksum and tags of what came up to ReadyForQuery, without keeping it.

    Asynchronous messages do not count.
    """

    def __init__(self, archives: list[bytes] | None = None) -> None:
        """Append the data of base backups to ``archives`` (manual, chapter 55.4)."""
        self.size = 0
        """Bytes of the messages that count."""
        self.crc = 0
        self.tags: list[str] = []
        self.error = ""
        self.kinds = b""
        """The messages that are neither rows nor CopyData."""
        self.is_over = False
        self.copies_in = False
        """Whether CopyInResponse came, so that the client is to send."""
        self._rest = b""
        self._archives = archives

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the answer."""
        data = self._rest + chunk if self._rest else chunk
        at, size, begun = 0, len(data), 0
        view = memoryview(data)
        while size - at >= HEADER.size:
            kind, length = HEADER.unpack_from(data, at)
            end = at + 1 + length
            if end > size:
                break
            if self.is_over:
                raise IncorrectAnswer(f"a message {kind!r} after ReadyForQuery")
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
            raise IncorrectAnswer("part of a message after ReadyForQuery")

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
        """Size and checksum."""
        return self.size, self.crc


class Client:
    """A logged-in connection. All methods may raise IncorrectAnswer or OSError."""

    def __init__(self, target: Target, *, replication: bool = False) -> None:
        """Connect and log in, with the behaviour of the target."""
        self._behaviour = behaviour = target.behaviour
        self._sent = self._read = 0
        self._connection = Connection(
            target.port, receive_buffer=behaviour.receive_buffer, timeout_s=LIMIT_S
        )
        try:
            raw = self._connection.socket
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.by_tls:
                self._connection.request_tls()
            more = ("replication", "true") if replication else ()
            self.send(startup("user", USER, "database", DATABASE, *more))
            self._log_in()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Send Terminate, as drivers do, and close."""
        try:
            self._connection.send(TERMINATE)
        except OSError:
            pass
        finally:
            self._connection.close()

    def send(self, data: bytes) -> None:
        """Send with our behaviour."""
        behaviour = self._behaviour
        if not behaviour.send_size and not behaviour.burst:
            self._connection.send(data)
            return
        step = behaviour.send_size or behaviour.burst
        for at in range(0, len(data), step):
            part = data[at : at + step]
            self._connection.send(part)
            self._sent += len(part)
            if behaviour.burst and self._sent >= behaviour.burst:
                self._sent = 0
                _pause(behaviour.send_pause_s)

    def answer(self, more: bytes = b"", archives: list[bytes] | None = None) -> Answer:
        """Return the answer up to ReadyForQuery; send ``more`` when COPY asks."""
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
        """Send a request; return its answer. Raises IncorrectAnswer for an error."""
        self.send(request)
        answer = self.answer(more, archives)
        if answer.error:
            raise IncorrectAnswer(answer.error)
        return answer

    def _receive(self) -> bytes:
        behaviour = self._behaviour
        try:
            chunk = self._connection.socket.recv(behaviour.read_size)
        except TimeoutError:
            raise NoAnswer(f"nothing came for {LIMIT_S:g} s") from None
        if not chunk:
            raise IncorrectAnswer("the connection was closed")
        if behaviour.read_burst:
            self._read += len(chunk)
            if self._read >= behaviour.read_burst:
                self._read = 0
                _pause(behaviour.read_pause_s)
        return chunk

    def _log_in(self) -> None:
        answer = self.answer()
        if answer.error:
            raise IncorrectAnswer(answer.error)
        if not answer.kinds.startswith(b"R") or b"K" not in answer.kinds:
            raise IncorrectAnswer(f"a login of messages {answer.kinds!r}")


def bind_and_run(name: str, value: str) -> bytes:
    """Return a Bind of one value to a statement, Describe, Execute and Sync."""
    return bind(name, value) + DESCRIBE + EXECUTE + SYNC


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - no reactor runs in this process
