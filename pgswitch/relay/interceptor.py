"""Stands before a client's stream when rules are in force: each query is judged once.

Theory of operation.  The interceptor cuts what the client sends into messages.  It
shows Query and Parse whole to the *router* (rules/router.py), once each, before
anything of them goes anywhere; the router may return another text, and may have moved
the client to another pool.  All else passes, in as few pieces as it came in.

* A query that begins something new waits until all earlier requests have been answered.
  Only then is it known whether a transaction is open, and only then may the client
  change servers, or its answers would come in the wrong order.
* Inside a transaction or a pipeline the client keeps its server.  A query that the
  router refuses is replaced by one that cannot succeed, so that the server itself ends
  the transaction or skips to the next Sync, and all else follows by the usual rules;
  the client gets our error instead of the server's (Exchange.refuse_last).
* After an error in the extended protocol the server ignores everything up to the next
  Sync, simple queries too (manual, "Extended Query").  So nothing is judged then and
  nothing waits; all passes as it is.  What follows that Sync waits for its answer: as
  long as the exchange says that the server skips, it skips what comes next.
* A Bind or Describe of a statement follows its Parse to the pool where that was routed.
* While the stream waits for a server, an answer, or the user's function, what comes is
  queued, and the client is not read.

The interceptor holds back nothing that the stream behind it would have to hold: it
passes on only what the stream takes at once, messages of up to WAIT_FOR_WHOLE bytes
whole, and of longer ones as much as the stream or the router looks at.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import BadPacketHeader, BrokenPacket, Fault
from pgswitch.relay.client_stream import WAIT_FOR_WHOLE, ClientStream
from pgswitch.relay.interfaces import (
    CHANGED,
    LATER,
    REFUSED,
    UNCHANGED,
    Router,
)
from pgswitch.relay.stream import PAUSED_INTERCEPTOR, Interceptor
from pgswitch.wire.constants import (
    BIND,
    CLOSE,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EXECUTE,
    FUNCTION_CALL,
    HEADER_SIZE,
    PARSE,
    PREPARED_STATEMENT,
    QUERY,
    STATUS_IDLE,
    SYNC,
)
from pgswitch.wire.decode import (
    MAX_NAME_LENGTH,
    TO_COME,
    TOO_LONG,
    name_end,
    names_in,
    statement_in,
    text_in,
)
from pgswitch.wire.encode import message
from pgswitch.wire.framing import PASS, WHOLE, action_table

_PART: Final = 3
"""An action: to be noted, from the names at its beginning if it is a Bind."""
_LOOK: Final = action_table(
    PASS,
    {
        **dict.fromkeys((QUERY, PARSE, DESCRIBE, CLOSE), WHOLE),
        **dict.fromkeys((BIND, EXECUTE, SYNC, FUNCTION_CALL), _PART),
        **dict.fromkeys((COPY_DONE, COPY_FAIL), _PART),
    },
)


_NAMES: Final = {BIND: "Bind", PARSE: "Parse", CLOSE: "Close", DESCRIBE: "Describe"}


class QueryInterceptor(Interceptor):
    """Stands before one client's stream."""

    def __init__(self, stream: ClientStream, router: Router) -> None:
        """Begin where the stream is; from now on chunks come here first."""
        super().__init__(_LOOK, stream.limit)
        self.stream = stream
        self.router = router
        self.skip = stream.skip + stream.dropping
        self._queued: list[bytes] = stream.held[:]
        """What came while it waits, not looked at yet."""
        self._waiting = False
        """For the answers to earlier requests."""
        self._at_router = b""
        """The message that the router is still working on."""
        self.waiting_since = 0.0
        """When the router began to work on it, in monotonic seconds, or 0.0."""
        exchange = stream.exchange
        self._in_pipeline = exchange.is_in_pipeline()
        """A request has passed that no Sync has followed yet."""
        self._synced = exchange.skipping and SYNC in exchange.queue
        """The server was skipping when the last Sync passed."""
        self._synced_here = False
        """A Sync has passed that ends what the stream skips for the server."""
        self._closing = False
        """All requests since the last pipeline only close statements."""
        self._executes = False
        """The last request, apart from those, is an Execute and no Query."""
        self._copy_over = False
        """That is a COPY that has ended; a Sync before its end has ended nothing."""
        self._refused = False
        """Something in this pipeline was refused: the server skips the rest."""
        self._running = False
        self._first = b""
        """Goes in front of the present chunk from ``_begin`` on."""
        self._begin = 0
        self._drop = 0
        """Bytes still to come of a message that was refused."""
        stream.held.clear()
        stream.interceptor = self
        stream.indirect = True
        exchange.listener = self

    def feed(self, chunk: bytes) -> None:
        """Take a chunk as it was read."""
        if self._must_queue():
            self._queued.append(chunk)
            self.stream.pause(PAUSED_INTERCEPTOR)
            return
        self._take(chunk)

    def recheck(self) -> None:
        """Process what is queued, if what it waits for has come."""
        stream = self.stream
        if self._running or stream.lost:
            return
        if self._waiting:
            exchange = stream.exchange
            if exchange.outstanding() and not self._copies():
                stream.settle_doubts()
                return
            self._waiting = False
            exchange.synthetic_count -= 1
        try:
            while self._queued and not self._must_queue():
                chunk = b"".join(self._queued)
                self._queued.clear()
                self._take(chunk)
        except Fault as fault:
            # The caller is not reading this client.
            stream.frontend.faulted(fault)
            return
        if not self._queued and stream.paused:
            stream.resume(PAUSED_INTERCEPTOR)

    def leave(self) -> bytes:
        """Leave the stream: its server is lost, and a transaction with it."""
        stream = self.stream
        if self._waiting:
            self._waiting = False
            stream.exchange.synthetic_count -= 1
        stream.exchange.listener = None
        stream.interceptor = None
        stream.indirect = stream.suspended
        stream.skip += self._drop
        self._drop = 0
        queued = b"".join([self._at_router, *self._queued, *self._held])
        self.give_up()
        self._queued.clear()
        self.let_go_of_held()
        stream.resume(PAUSED_INTERCEPTOR)
        return queued

    def give_up(self) -> None:
        """Stop waiting for the router."""
        if self._at_router:
            self._at_router = b""
            self.waiting_since = 0.0
            self.router.give_up()

    def answered(self, outcome: int) -> None:
        """Take the outcome of a query that the router answered LATER."""
        query = self._at_router
        self._at_router = b""
        self.waiting_since = 0.0
        if self.stream.lost:
            return
        self._running = True
        try:
            self._carry_out(outcome, query, 0, len(query))
            self._note(query, 0, len(query))
            self._flush(query, len(query))
        except Fault as fault:
            self.stream.frontend.faulted(fault)
            return
        finally:
            self._running = False
        self.recheck()

    def cancel(self, error: bytes) -> bool:
        """End the query that waits for the router by this ErrorResponse.

        Returns False if there is none.
        """
        query = self._at_router
        if not query:
            return False
        stream = self.stream
        if stream.server is not None:
            self.router.give_up()
            self.router.refusal = error
            self.answered(REFUSED)
            return True
        self.give_up()
        self._in_pipeline = self._refused = query[0] == PARSE
        stream.held.append(query)
        stream.refuse(error)
        return True

    def can_hand_over(self) -> bool:
        """Tell whether another process can take over from here.

        What is queued can wait there too, for a server or an answer; a running function
        of the user's cannot be handed over.
        """
        return not self._at_router and not self._drop

    def queued(self) -> bytes:
        """Return the whole messages that came while it waits."""
        return b"".join(self._queued)

    def restore_queued(self, queued: bytes) -> None:
        """Go on with what the interceptor of another process had queued."""
        stream = self.stream
        self._queued.append(queued)
        stream.pause(PAUSED_INTERCEPTOR)
        if (
            stream.exchange.outstanding()
            and not stream.suspended
            and not self._copies()
        ):
            self._wait()
        self.recheck()

    def awaits_answers(self) -> bool:
        """Tell whether it waits for a server to answer earlier requests."""
        return self._waiting

    def is_inside(self) -> bool:
        """Tell whether a transaction or a pipeline is under way."""
        exchange = self.stream.exchange
        if self.stream.server is None:
            return False
        return (
            self._in_pipeline
            or exchange.status != STATUS_IDLE
            or exchange.outstanding() > 0
            or not (exchange.clean or self._closing)
        )

    def _copies(self) -> bool:
        """Tell whether a COPY is under way and no answer will come before more is sent.

        What comes next may be part of it; or an Execute began it whose Sync it has
        swallowed, and the server keeps the answer until the next Sync.
        """
        exchange = self.stream.exchange
        if not exchange.copying:
            return False
        return self._copy_over or (exchange.is_forced and not exchange.copy_end_sent())

    def _is_lost(self) -> bool:
        return self.stream.lost

    def _must_queue(self) -> bool:
        return self.stream.suspended or self._waiting or len(self._at_router) > 0

    def _take(self, chunk: bytes) -> None:
        """Process a chunk, if it completes what was held back."""
        if self.wanted:
            joined = self.rejoin(chunk)
            if joined is None:
                return
            chunk = joined
        self._running = True
        try:
            self._cut(chunk)
        finally:
            self._running = False

    def _cut(self, chunk: bytes) -> None:
        """Cut a chunk into messages, judge each, pass on what may pass."""
        if self._drop:
            dropped = min(self._drop, len(chunk))
            self._drop -= dropped
            chunk = chunk[dropped:]
        size = len(chunk)
        position = self.skip
        self.skip = 0
        self._begin = 0
        self._first = b""
        wanted = HEADER_SIZE
        while size - position >= HEADER_SIZE:
            length = (
                chunk[position + 1] << 24
                | chunk[position + 2] << 16
                | chunk[position + 3] << 8
                | chunk[position + 4]
            )
            if length < HEADER_SIZE - 1 or length >= self.limit:
                self._flush(chunk, position)
                raise BadPacketHeader(header=chunk[position : position + HEADER_SIZE])
            end = position + 1 + length
            action = _LOOK[chunk[position]]
            if end > size:
                wanted = self._wanted(chunk, position, end)
                if wanted:
                    break
            if action:
                if not self._look(chunk, position, end):
                    return
                self._note(chunk, position, end)
            position = end
        if position < size:
            self._held.append(chunk[position:])
            self._held_size = size - position
            self.wanted = wanted
        elif not self._drop:
            self.skip = position - size
        self._flush(chunk, min(position, size))

    def _wanted(self, chunk: bytes, start: int, end: int) -> int:
        """Return how much of a message that is cut is needed now; 0: no more.

        Raises BrokenPacket for one whose names are too long.
        """
        kind = chunk[start]
        size = end - start
        if size <= WAIT_FOR_WHOLE + 1:
            return size
        name = 0
        if kind == BIND:
            name = names_in(chunk, start, end)[1]
        elif kind == PARSE:
            name = name_end(chunk, start + HEADER_SIZE, end)
        elif kind == CLOSE or kind == DESCRIBE:
            name = TOO_LONG if size > HEADER_SIZE + MAX_NAME_LENGTH + 2 else 0
        if name == TOO_LONG:
            self._flush(chunk, start)
            raise BrokenPacket(message=_NAMES[kind])
        if name == TO_COME:
            # As the Scanner does where the need is unknown.
            return min(2 * (len(chunk) - start), size)
        return size if _LOOK[kind] == WHOLE else 0

    def _flush(self, chunk: bytes, end: int) -> None:
        """Pass on what has been looked at, up to ``end``."""
        passed = chunk[self._begin : end]
        if self._first:
            passed = self._first + passed
            self._first = b""
        self._begin = end
        if passed and not self.stream.lost:
            self.stream.forward(passed)

    def _look(self, chunk: bytes, start: int, end: int) -> bool:
        """Show a message to the rules if needed; False: the rest is queued.

        What comes before it is passed on first, since the judgement depends on it.
        """
        if self.stream.exchange.skips_here:
            if not self._synced_here:
                return True
            # The Sync that ends it has to get there first.
            self._flush(chunk, start)
            self._synced_here = False
        if self.stream.exchange.skipping:
            if not self._synced:
                return True
            if not self._is_synced(chunk, start):
                return False
        self._synced = False
        message_type = chunk[start]
        home = ""
        if message_type == QUERY or message_type == PARSE:
            if self._refused:
                return True
        else:
            statements = self.stream.statements
            if statements is None or not statements.homes:
                return True
            if message_type != BIND and message_type != DESCRIBE:
                return True
            home = statements.homes.get(statement_in(chunk, start, end), "")
            if self._refused or not home or not self.router.is_away(home):
                return True
        self._flush(chunk, start)
        if self._is_lost():
            return False
        if self._is_too_early():
            self._queued.append(chunk[start:])
            return False
        if home:
            outcome = self.router.route_to(home, is_inside=self.is_inside())
        else:
            outcome = self._ask(chunk, start, end)
        if self._is_lost():
            return False
        if outcome == LATER:
            self._at_router = chunk[start:end]
            self.waiting_since = self.stream.clock.now
            if end < len(chunk):
                self._queued.append(chunk[end:])
            return False
        self._carry_out(outcome, chunk, start, end)
        return True

    def _is_synced(self, chunk: bytes, start: int) -> bool:
        """Wait for the answer to a Sync that ends the skipping; True: it is there."""
        self._flush(chunk, start)
        if self._is_lost():
            return False
        exchange = self.stream.exchange
        # Without a server the stream skips; the Sync has just ended that.
        if not exchange.skipping or not exchange.outstanding():
            return True
        self._wait()
        self._queued.append(chunk[start:])
        return False

    def _is_too_early(self) -> bool:
        """Tell whether earlier answers must come before a message is judged."""
        if self.stream.suspended:
            return True
        exchange = self.stream.exchange
        if exchange.copying or exchange.unsettled or exchange.data_ahead:
            if exchange.must_settle():
                self._wait()
                return True
        if self._in_pipeline or not exchange.outstanding() or self._copies():
            return False
        self._wait()
        return True

    def _wait(self) -> None:
        """Wait for the answers to all requests passed on."""
        # The server's chunks are then looked at closely, and each ends in a recheck.
        self.stream.exchange.synthetic_count += 1
        self.stream.ask_for_answers()
        self._waiting = True

    def _ask(self, chunk: bytes, start: int, end: int) -> int:
        """Show the router a Query or Parse."""
        begin, after = text_in(chunk, start, end)
        if after < 0:
            # The server knows best what is wrong with it.
            return UNCHANGED
        name = b""
        if chunk[start] == PARSE and begin > start + HEADER_SIZE + 1:
            name = chunk[start + HEADER_SIZE : begin - 1]
        return self.router.ask(
            chunk[start],
            chunk[begin:after],
            name,
            end - start - after + begin,
            self.is_inside(),
        )

    def _carry_out(self, outcome: int, chunk: bytes, start: int, end: int) -> None:
        """Do with a message what the router decided."""
        message_type = chunk[start]
        if outcome == REFUSED:
            self._refuse(message_type)
            self._refused = True
            self._begin = min(end, len(chunk))
            self._drop = end - self._begin
            return
        if outcome == CHANGED:
            begin, after = text_in(chunk, start, end)
            self._first = message(
                message_type,
                chunk[start + HEADER_SIZE : begin]
                + self.router.data
                + chunk[after:end],
            )
            self._begin = end
        if message_type == PARSE:
            statements = self.stream.statements
            if statements is not None:
                # This Parse is passed on before the next one is looked at.
                statements.home = self.router.database

    def _refuse(self, message_type: int) -> None:
        """Send a query that fails instead; inside a transaction it goes at once."""
        text = self.router.failing_query + b"\0"
        if message_type == QUERY:
            self.stream.forward(message(QUERY, text))
        else:
            self.stream.forward(message(PARSE, b"\0" + text + b"\0\0"))
        self.stream.exchange.refuse_last(self.router.refusal)

    def _note(self, chunk: bytes, start: int, end: int) -> None:
        """Note where pipelines begin and end."""
        message_type = chunk[start]
        if (
            message_type == SYNC
            or message_type == QUERY
            or message_type == FUNCTION_CALL
        ):
            self._in_pipeline = False
            self._refused = False
            self._closing = False
            self._copy_over = False
            if message_type == SYNC:
                self._synced = self.stream.exchange.skipping
                self._synced_here = self.stream.exchange.skips_here
            else:
                self._executes = False
            return
        if message_type == COPY_DONE or message_type == COPY_FAIL:
            self._copy_over = self._executes
            return
        if (
            message_type == CLOSE
            and self.stream.statements is not None
            and end > start + HEADER_SIZE + 2
            and chunk[start + HEADER_SIZE] == PREPARED_STATEMENT
        ):
            # No server gets the Close of a named statement; drivers send it ahead of
            # their next request.
            self._closing = not self._in_pipeline and not self._copy_over
            return
        self._closing = False
        self._in_pipeline = True
        if message_type == EXECUTE:
            self._executes = True
