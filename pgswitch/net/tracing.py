"""Logs every message of a connection in libpq's trace format, at ``-v -v``.

Tracing wraps the two socket calls of a connection when it begins, so that untraced
connections pay nothing.

Theory of operation.  Tracing never changes the connection.  A trace that cannot
continue, because of its own fault or because the data make no sense, says so and ends;
the connection goes on.  Bulk data are not shown row by row, which took ten times as
long as relaying them: of consecutive rows or copy data the first few are shown, then
the first that begins in each chunk, and finally the number of bytes left out.
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
"""Consecutive rows or copy data messages that are shown."""


class TracedPeer(Protocol):
    """The client or server of a traced connection."""

    @property
    def prefix(self) -> str:
        """What its log lines begin with."""

    @property
    def is_confidential(self) -> bool:
        """Whether the rows on this connection are secret now."""


class _Direction(Scanner):
    """Logs the messages of one direction."""

    def __init__(self, letter: str, log: Log, owner: TracedPeer) -> None:
        super().__init__(_ALL, MAX_MESSAGE_SIZE)
        self._letter = letter
        self._log = log
        self._owner = owner
        self._is_over = False
        self._seen = 0
        """Bytes seen so far."""
        self._begin = 0
        """The position at which the present chunk begins."""
        self._bulk = 0
        """The type of the last message if it was bulk data."""
        self._bulk_shown = 0
        """Consecutive bulk messages shown."""
        self._omitted = 0
        """Bytes of bulk data not shown."""
        self._omitted_from = -1
        """The position from which nothing is shown; -1: everything is."""

    def show(self, data: bytes) -> None:
        """Log the complete messages of a chunk. Never raises."""
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
        """Log how much of the bulk data that ends here was left out."""
        if self._omitted:
            name = "DataRow" if self._bulk == DATA_ROW else "CopyData"
            self._log.noise(
                f"{self._owner.prefix} {self._letter}\t{self._omitted}"
                f"\tbytes of {name} not shown"
            )
        self._bulk = self._bulk_shown = self._omitted = 0


def _name_of(owner: TracedPeer) -> str:
    """Return what log lines about the owner begin with; never raises."""
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
    """Log everything that ``stream`` reads and sends from now on.

    ``rest`` was read before; the stream has not processed it yet.
    """
    received = _Direction("F" if is_client else "B", log, owner)
    sent = _Direction("B" if is_client else "F", log, owner)
    recv, send = io.recv, io.send
    # What was sent before is not shown.
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
