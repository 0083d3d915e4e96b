"""Logs every message of a connection in libpq's trace format, at ``-v -v``.

Switched on when a connection begins: its two socket calls are wrapped, so that
connections that are not traced pay nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgswitch.wire.framing import (
    CALL,
    HEADER_SIZE,
    MAX_MESSAGE_SIZE,
    Scanner,
    action_table,
)
from pgswitch.wire.trace import trace_line

if TYPE_CHECKING:
    from pgswitch.logs import Log
    from pgswitch.net.transport import SocketIO
    from pgswitch.relay.link import Link

_ALL = action_table(CALL, {})


class Named(Protocol):
    """Something that log lines are about."""

    @property
    def prefix(self) -> str:
        """What its log lines begin with."""

    @property
    def is_confidential(self) -> bool:
        """Whether rows that it reads now are secrets."""


class _Direction(Scanner):
    """Logs the messages of one direction."""

    def __init__(self, letter: str, log: Log, owner: Named) -> None:
        super().__init__(_ALL, MAX_MESSAGE_SIZE)
        self._letter = letter
        self._log = log
        self._owner = owner

    def show(self, data: bytes) -> None:
        """Log what has come whole; what is cut is shown as far as it goes."""
        if self.wanted:
            joined = self.rejoin(data)
            if joined is None:
                return
            data = joined
        self.walk(data)

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Log one message."""
        line = trace_line(
            self._letter,
            message_type,
            end - start - 1,
            chunk[start + HEADER_SIZE : end],
            mask_rows=self._owner.is_confidential,
        )
        self._log.noise(f"{self._owner.prefix} {line}")
        return True


def traced(
    io: SocketIO, link: Link, log: Log, owner: Named, *, is_client: bool
) -> None:
    """Have everything that ``link`` reads and sends logged."""
    received = _Direction("F" if is_client else "B", log, owner)
    sent = _Direction("B" if is_client else "F", log, owner)
    recv, send = io.recv, io.send

    def traced_recv(size: int) -> bytes:
        data: bytes = recv(size)
        received.show(data)
        return data

    def traced_send(data: bytes) -> int:
        count: int = send(data)
        sent.show(data[:count])
        return count

    link.recv, link.raw_send = traced_recv, traced_send
