"""Logs every message of a connection in libpq's trace format, at ``-v -v``.

Switched on when a connection begins: its two socket calls are wrapped, so that
connections that are not traced pay nothing.

Theory of operation.  Whoever looks on changes nothing.  A trace that cannot go on, be
it by its own fault or because what it sees makes no sense, says so and ends; the
connection does not notice.  And bulk is not shown row by row, which took ten times as
long as to pass it on: of rows and copy data on end the first few are shown, then the
first that begins in each chunk, and at the end how many bytes were left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pgswitch.wire.constants import COPY_DATA, DATA_ROW, HEADER_SIZE
from pgswitch.wire.framing import CALL, MAX_MESSAGE_SIZE, PASS, Scanner, action_table
from pgswitch.wire.trace import trace_line

if TYPE_CHECKING:
    from pgswitch.logs import Log
    from pgswitch.net.transport import SocketIO
    from pgswitch.relay.stream import Stream

_ALL: Final = action_table(CALL, {})
_ALL_BUT_ROWS: Final = action_table(CALL, {DATA_ROW: PASS})
_ALL_BUT_COPY_DATA: Final = action_table(CALL, {COPY_DATA: PASS})
SHOWN_OF_BULK: Final = 8
"""Rows or messages of copy data that are shown of many that follow each other."""


class TracedPeer(Protocol):
    """Something that log lines are about."""

    @property
    def prefix(self) -> str:
        """What its log lines begin with."""

    @property
    def is_confidential(self) -> bool:
        """Whether rows that it reads now are secrets."""


class _Direction(Scanner):
    """Logs the messages of one direction."""

    def __init__(self, letter: str, log: Log, owner: TracedPeer) -> None:
        super().__init__(_ALL, MAX_MESSAGE_SIZE)
        self._letter = letter
        self._log = log
        self._owner = owner
        self._is_over = False
        self._seen = 0
        """Bytes that have come."""
        self._begin = 0
        """Where in them the chunk begins."""
        self._bulk = 0
        """The type of the last message, if it is one that comes in bulk."""
        self._bulk_shown = 0
        """How many of them on end were shown."""
        self._omitted = 0
        """Bytes of them that were not."""
        self._omitted_from = -1
        """Where the present part begins that is not shown."""

    def show(self, data: bytes) -> None:
        """Log what has come whole; what is cut is shown as far as it goes.

        Never raises.
        """
        if self._is_over:
            return
        try:
            self._show(data)
        except Exception as error:  # noqa: BLE001 - the connection is not ours to break
            self._is_over = True
            self._log.noise(
                f"{_name_of(self._owner)} {self._letter}\tno longer shown: {error!r}"
            )

    def _show(self, data: bytes) -> None:
        self._seen += len(data)
        if self.wanted:
            joined = self.rejoin(data)
            if joined is None:
                return
            data = joined
        self._begin = self._seen - len(data)
        self.actions = _ALL
        self.walk(data)

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Log one message."""
        if self._omitted_from >= 0:
            self._omitted += self._begin + start - self._omitted_from
            self._omitted_from = -1
        if message_type != self._bulk:
            self._end_bulk()
        line = trace_line(
            self._letter,
            message_type,
            end - start - 1,
            chunk[start + HEADER_SIZE : end],
            mask_rows=self._owner.is_confidential,
        )
        self._log.noise(f"{self._owner.prefix} {line}")
        is_row = message_type == DATA_ROW and self._letter == "B"
        if is_row or message_type == COPY_DATA:
            self._bulk = message_type
            self._bulk_shown += 1
            if self._bulk_shown >= SHOWN_OF_BULK:
                self.actions = _ALL_BUT_ROWS if is_row else _ALL_BUT_COPY_DATA
                self._omitted_from = self._begin + end
        return True

    def _end_bulk(self) -> None:
        """Tell what was left out of the messages of one type that end here."""
        if self._omitted:
            name = "DataRow" if self._bulk == DATA_ROW else "CopyData"
            self._log.noise(
                f"{self._owner.prefix} {self._letter}\t{self._omitted}"
                f"\tbytes of {name} not shown"
            )
        self._bulk = self._bulk_shown = self._omitted = 0


def _name_of(owner: TracedPeer) -> str:
    """Return what log lines about somebody begin with, whatever that leads to."""
    try:
        return owner.prefix
    except Exception as error:  # noqa: BLE001 - as above
        return repr(error)


def traced(
    io: SocketIO,
    stream: Stream,
    log: Log,
    owner: TracedPeer,
    *,
    is_client: bool,
    rest: bytes = b"",
) -> None:
    """Have everything that ``stream`` reads and sends logged.

    ``rest`` was read before, and the link has not been given it yet.
    """
    received = _Direction("F" if is_client else "B", log, owner)
    sent = _Direction("B" if is_client else "F", log, owner)
    recv, send = io.recv, io.send
    # Of what has been said before, nothing is shown.
    sent.skip = sum(len(data) for data in stream.pending)
    if rest:
        received.show(rest)

    def traced_recv(size: int) -> bytes:
        data: bytes = recv(size)
        received.show(data)
        return data

    def traced_send(data: bytes) -> int:
        count: int = send(data)
        sent.show(data[:count])
        return count

    stream.recv, stream.raw_send = traced_recv, traced_send
    io.observe = sent.show
