"""Answers console clients, a little in each turn of the event loop.

Theory of operation.  A console client may ask for any amount, and a list of ten
thousand clients takes a tenth of a second to write.  So no answer is written in one
go: in each turn of the loop one console (chosen by the :class:`FairQueue`) gives one
piece of an answer, or answers a few cheap messages.  All other clients are served
between two pieces.

Back-pressure: a console gets no turn while its client's socket is full, so at most one
piece waits in memory.  A client with many unanswered messages is not read either.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred

from pgswitch.errors import InternalFault
from pgswitch.relay.stream import PAUSED_CONSOLE
from pgswitch.wire.constants import EXECUTE, QUERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.python.failure import Failure

    from pgswitch.errors import Fault
    from pgswitch.logs import Log
    from pgswitch.relay.client_stream import ClientStream

COSTLY: Final = frozenset({QUERY, EXECUTE})
"""Messages that end a turn: one of them is answered in each."""
CHEAP_A_TURN: Final = 100
"""Other messages answered in a turn: usually those around an Execute."""
MAX_QUEUED: Final = 100
"""Unanswered messages above which a client is not read."""
MAX_QUEUED_BYTES: Final = 65536
"""The same limit in bytes."""
LONG_TURN_S: Final = 0.005
"""After a longer turn (an answer that cannot be split) all other clients get as much
time."""


class ConsoleReply(Protocol):
    """A console's reply to one message."""

    data: bytes
    close: bool
    faults: tuple[Fault, ...]
    attached: tuple[tuple[int, int], ...]
    rest: Iterator[bytes] | None


class ConsoleSession(Protocol):
    """What a frontend needs of the console; see admin/console.py."""

    def message(self, kind: int, body: bytes) -> Any:  # noqa: ANN401 - reply or Deferred of one
        """Return the reply to a message, or a Deferred of it."""

    def cancel(self) -> None:
        """Act on a cancel request."""

    def closed(self) -> None:
        """Cancel a statement that waits: the client is gone."""


class ConsoleClient(Protocol):
    """What this module uses of a client's connection; see frontend.py."""

    stream: ClientStream
    closed: bool

    @property
    def prefix(self) -> str:
        """What log lines about the client begin with."""

    def reply(self, reply: ConsoleReply) -> None:
        """Send the console's reply, or its beginning."""

    def disconnect(self, fault: Fault) -> None:
        """Close the connection, and tell the client why."""


class FairQueue:
    """Grants turns in order, one in each turn of the event loop."""

    def __init__(
        self,
        later: Callable[[float, Callable[[], object]], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take ``callLater`` of the reactor, and the clock that measures turns."""
        self._later = later
        self._clock = clock
        self._line: deque[Callable[[], object]] = deque()
        self._is_taken = False
        """This turn of the loop is granted."""

    def wants(self, turn: Callable[[], object]) -> None:
        """Call ``turn`` once: now if this turn is free, else in its order."""
        if self._is_taken:
            self._line.append(turn)
        else:
            self._give(turn)

    def _next(self) -> None:
        self._is_taken = False
        if self._line:
            self._give(self._line.popleft())

    def _give(self, turn: Callable[[], object]) -> None:
        self._is_taken = True
        begin = self._clock()
        try:
            turn()
        finally:
            used = self._clock() - begin
            self._later(used if used > LONG_TURN_S else 0, self._next)


class ConsoleAnswers:
    """The unanswered messages of one console client."""

    def __init__(
        self,
        frontend: ConsoleClient,
        console: ConsoleSession,
        fair_queue: FairQueue,
        log: Log,
    ) -> None:
        """Begin without messages."""
        self._log = log
        self._frontend = frontend
        self._console = console
        self._fair_queue = fair_queue
        self._queued: deque[tuple[int, bytes]] = deque()
        self._size = 0
        """Bytes in the queue."""
        self._rest: Iterator[bytes] | None = None
        """The rest of the answer that is being given."""
        self._is_waiting = False
        """A statement's Deferred has not fired yet."""
        self._is_in_line = False

    def take(self, kind: int, body: bytes) -> None:
        """Take a message; it is answered after all earlier ones."""
        self._queued.append((kind, body))
        self._size += len(body)
        self._line_up()
        if len(self._queued) > MAX_QUEUED or self._size > MAX_QUEUED_BYTES:
            self._frontend.stream.pause(PAUSED_CONSOLE)

    def go_on(self) -> None:
        """Continue: the client has read what it was sent."""
        self._line_up()

    def stop(self) -> None:
        """Drop everything: the client is gone."""
        self._queued.clear()
        self._rest = None

    def _line_up(self) -> None:
        """Request a turn if there is something to do."""
        if (
            (self._queued or self._rest is not None)
            and not self._is_in_line
            and not self._is_waiting
            and not self._frontend.closed
            and not self._frontend.stream.backlogged
        ):
            self._is_in_line = True
            self._fair_queue.wants(self._turn)

    def _turn(self) -> None:
        self._is_in_line = False
        if not self._frontend.closed and not self._is_waiting:
            try:
                self._answer()
            except Exception as error:  # noqa: BLE001 - it must not be left waiting
                self._broken(error)
        self._line_up()

    def _answer(self) -> None:
        """Give a piece of the current answer, or answer the next messages."""
        stream = self._frontend.stream
        if self._rest is not None:
            piece = next(self._rest, None)
            if piece is not None:
                if piece:
                    stream.send(piece)
                return
            self._rest = None
        for _ in range(CHEAP_A_TURN):
            if not self._queued or self._frontend.closed or stream.backlogged:
                break
            kind, body = self._queued.popleft()
            self._size -= len(body)
            reply: Any = self._console.message(kind, body)
            if isinstance(reply, Deferred):
                self._is_waiting = True
                reply.addCallback(self._answered).addErrback(self._failed)
                break
            self._say(reply)
            if kind in COSTLY:
                break
        if not self._queued and not self._frontend.closed:
            stream.resume(PAUSED_CONSOLE)

    def _say(self, reply: ConsoleReply) -> None:
        self._rest = reply.rest
        self._frontend.reply(reply)

    def _answered(self, reply: ConsoleReply) -> None:
        self._is_waiting = False
        if not self._frontend.closed:
            self._say(reply)
        self._line_up()

    def _failed(self, failure: Failure) -> None:
        self._is_waiting = False
        self._broken(failure.value)

    def _broken(self, error: object) -> None:
        """Close the connection: the answer failed by a fault of ours."""
        self._log.error(f"{self._frontend.prefix} console: {error!r}")
        self._frontend.disconnect(InternalFault())
