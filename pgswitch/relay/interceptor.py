"""Stands before a client's link when rules are in force: each query is looked at once.

Theory of operation.  What the client sends is cut into messages.  Query and Parse
are shown whole to the *advisor* (rules/router.py), once each, before anything of
them goes anywhere; the advisor may give another text, and may have moved the client
to another pool.  All else passes, in as few pieces as it came in.

* A query that begins something new waits until all answers to what came before are
  there.  Only then is it known whether a transaction is open, and only then may the
  client change servers, or its answers would come in the wrong order.
* Inside a transaction or a pipeline there is no change.  A query that the advisor
  refuses is replaced by one that cannot succeed, so that the server itself ends the
  transaction or skips to the next Sync, and all else follows by the usual rules; the
  error that the client gets is in our words (Exchange.refuse_last).
* After an error in the extended protocol the server ignores everything up to the next
  Sync, simple queries too (manual, "Extended Query").  So nothing is judged then and
  nothing waits; all passes as it is.  Whatever follows that Sync waits for its answer:
  as long as the exchange says that the server skips, it is what comes next that is
  skipped.
* A Bind or Describe of a statement whose Parse was routed goes where that went.
* While the link waits for a server, an answer, or the user's function, what comes is
  kept, and the client is read no further.

So that nothing is held back behind the gate, it passes on only what the link takes
at once: messages of up to WAIT_FOR_WHOLE bytes whole, and of longer ones whatever
somebody has to look at.

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
from pgswitch.relay.stream import PAUSED_GATE, Interceptor
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import (
    BIND,
    CLOSE,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EXECUTE,
    FUNCTION_CALL,
    IDLE,
    PARSE,
    QUERY,
    SYNC,
)
from pgswitch.wire.fields import (
    LONGEST_NAME,
    TO_COME,
    TOO_LONG,
    name_end,
    names_in,
    statement_in,
    text_in,
)
from pgswitch.wire.framing import HEADER_SIZE, PASS, WHOLE, action_table
from pgswitch.wire.prepared import BODY, STATEMENT

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
    """What stands before one client's link."""

    def __init__(self, stream: ClientStream, advisor: Router) -> None:
        """Begin where the link is; from now on chunks come here first."""
        super().__init__(_LOOK, stream.limit)
        self.stream = stream
        self.advisor = advisor
        self.skip = stream.skip + stream.dropping
        self._kept: list[bytes] = stream.held[:]
        """What came while we wait, not looked at yet."""
        self._waiting = False
        """For the answers to what was asked before."""
        self._asked = b""
        """The message that the advisor is still thinking about."""
        self.waiting_since = 0.0
        """When the advisor began to think, in monotonic seconds; 0.0: it does not."""
        exchange = stream.exchange
        self._in_pipeline = exchange.is_in_pipeline()
        """Something was asked that no Sync has followed yet."""
        self._synced = exchange.skipping and SYNC in exchange.queue
        """The server was skipping when the last Sync passed."""
        self._synced_here = False
        """A Sync has passed that ends what our end skips for the server."""
        self._closing = False
        """All that was asked since the last pipeline ended is to close statements."""
        self._executes = False
        """What was asked last, apart from that, is an Execute and no Query."""
        self._copy_over = False
        """It is a COPY that has ended; a Sync before its end has ended nothing."""
        self._refused = False
        """Something in this pipeline was refused: the server skips the rest."""
        self._running = False
        self._first = b""
        """In the chunk at hand: goes in front of what begins at ``_begin``."""
        self._begin = 0
        self._drop = 0
        """Bytes still to come of a message that was refused."""
        stream.held.clear()
        stream.interceptor = self
        stream.indirect = True
        exchange.listener = self

    def feed(self, chunk: bytes) -> None:
        """Take a chunk as it was read."""
        if self._must_keep():
            self._kept.append(chunk)
            self.stream.pause(PAUSED_GATE)
            return
        self._take(chunk)

    def go_on(self) -> None:
        """Look at what was kept, if what we waited for is there."""
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
            while self._kept and not self._must_keep():
                chunk = b"".join(self._kept)
                self._kept.clear()
                self._take(chunk)
        except Fault as fault:
            # Whoever calls is not reading this client.
            stream.control.faulted(fault)
            return
        if not self._kept and stream.paused:
            stream.resume(PAUSED_GATE)

    def leave(self) -> bytes:
        """Leave the link: its server is lost, and a transaction with it."""
        stream = self.stream
        if self._waiting:
            self._waiting = False
            stream.exchange.synthetic_count -= 1
        stream.exchange.listener = None
        stream.interceptor = None
        stream.indirect = stream.suspended
        stream.skip += self._drop
        self._drop = 0
        kept = b"".join([self._asked, *self._kept, *self._held])
        self.give_up()
        self._kept.clear()
        self.let_go_of_held()
        stream.resume(PAUSED_GATE)
        return kept

    def give_up(self) -> None:
        """Tell the advisor that nobody waits for what it is thinking about."""
        if self._asked:
            self._asked = b""
            self.waiting_since = 0.0
            self.advisor.give_up()

    def answered(self, outcome: int) -> None:
        """Hear from the advisor what becomes of the query it was thinking about."""
        asked = self._asked
        self._asked = b""
        self.waiting_since = 0.0
        if self.stream.lost:
            return
        self._running = True
        try:
            self._carry_out(outcome, asked, 0, len(asked))
            self._note(asked, 0, len(asked))
            self._flush(asked, len(asked))
        except Fault as fault:
            self.stream.control.faulted(fault)
            return
        finally:
            self._running = False
        self.go_on()

    def cancel(self, error: bytes) -> bool:
        """End the query that the advisor is thinking about by this ErrorResponse.

        Returns False if there is none.
        """
        asked = self._asked
        if not asked:
            return False
        stream = self.stream
        if stream.server is not None:
            self.advisor.give_up()
            self.advisor.refusal = error
            self.answered(REFUSED)
            return True
        self.give_up()
        self._in_pipeline = self._refused = asked[0] == PARSE
        stream.held.append(asked)
        stream.refuse(error)
        return True

    def is_at_rest(self) -> bool:
        """Tell whether another process can go on from here.

        What is kept can wait there too, for a server or an answer; a function of the
        user's that is thinking cannot be handed over.
        """
        return not self._asked and not self._drop

    def kept(self) -> bytes:
        """Return what came while it waits, not looked at yet; whole messages."""
        return b"".join(self._kept)

    def keep(self, kept: bytes) -> None:
        """Go on with what a gate of another process had kept."""
        stream = self.stream
        self._kept.append(kept)
        stream.pause(PAUSED_GATE)
        if (
            stream.exchange.outstanding()
            and not stream.suspended
            and not self._copies()
        ):
            self._wait()
        self.go_on()

    def awaits_answers(self) -> bool:
        """Tell whether it waits for a server to answer what was asked before."""
        return self._waiting

    def is_inside(self) -> bool:
        """Tell whether a transaction or a pipeline is under way."""
        exchange = self.stream.exchange
        if self.stream.server is None:
            return False
        return (
            self._in_pipeline
            or exchange.status != IDLE
            or exchange.outstanding() > 0
            or not (exchange.clean or self._closing)
        )

    def _copies(self) -> bool:
        """Tell whether there is no answer to wait for while a COPY is under way.

        What comes next may be part of it; or it was begun by an Execute whose Sync it
        has swallowed, and the answer is kept by the server until the next one.
        """
        exchange = self.stream.exchange
        if not exchange.copying:
            return False
        return self._copy_over or (exchange.is_forced and not exchange.copy_end_sent())

    def _is_lost(self) -> bool:
        return self.stream.lost

    def _must_keep(self) -> bool:
        return self.stream.suspended or self._waiting or len(self._asked) > 0

    def _take(self, chunk: bytes) -> None:
        """Deal with a chunk, if it makes what was held back enough."""
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
        """Cut a chunk into messages, look at each, pass on what may pass."""
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
            name = name_end(chunk, start + BODY, end)
        elif kind == CLOSE or kind == DESCRIBE:
            name = TOO_LONG if size > BODY + LONGEST_NAME + 2 else 0
        if name == TOO_LONG:
            self._flush(chunk, start)
            raise BrokenPacket(message=_NAMES[kind])
        if name == TO_COME:
            # As the Scanner does for who cannot say how much is needed.
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
            self.stream.pass_on(passed)

    def _look(self, chunk: bytes, start: int, end: int) -> bool:
        """Have a message judged if it is to be; False: the rest of the chunk is kept.

        What comes before it goes on first, since the judgement depends on it.
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
            if self._refused or not home or not self.advisor.is_away(home):
                return True
        self._flush(chunk, start)
        if self._is_lost():
            return False
        if self._is_too_early():
            self._kept.append(chunk[start:])
            return False
        if home:
            outcome = self.advisor.route_to(home, is_inside=self.is_inside())
        else:
            outcome = self._ask(chunk, start, end)
        if self._is_lost():
            return False
        if outcome == LATER:
            self._asked = chunk[start:end]
            self.waiting_since = self.stream.clock.now
            if end < len(chunk):
                self._kept.append(chunk[end:])
            return False
        self._carry_out(outcome, chunk, start, end)
        return True

    def _is_synced(self, chunk: bytes, start: int) -> bool:
        """Wait for the answer to a Sync that ends the skipping; True: it is there."""
        self._flush(chunk, start)
        if self._is_lost():
            return False
        exchange = self.stream.exchange
        # Without a server it is we who skip; the Sync has ended that just now.
        if not exchange.skipping or not exchange.outstanding():
            return True
        self._wait()
        self._kept.append(chunk[start:])
        return False

    def _is_too_early(self) -> bool:
        """Tell whether answers are to be awaited before a message is judged."""
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
        """Wait for the answers to all that was passed on."""
        # This has the server's chunks looked at closely, and us told after each.
        self.stream.exchange.synthetic_count += 1
        self.stream.ask_for_answers()
        self._waiting = True

    def _ask(self, chunk: bytes, start: int, end: int) -> int:
        """Ask the advisor about a Query or Parse."""
        begin, after = text_in(chunk, start, end)
        if after < 0:
            # The server knows best what is wrong with it.
            return UNCHANGED
        name = b""
        if chunk[start] == PARSE and begin > start + BODY + 1:
            name = chunk[start + BODY : begin - 1]
        return self.advisor.ask(
            chunk[start],
            chunk[begin:after],
            name,
            end - start - after + begin,
            self.is_inside(),
        )

    def _carry_out(self, outcome: int, chunk: bytes, start: int, end: int) -> None:
        """Do with a message what was decided."""
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
                chunk[start + BODY : begin] + self.advisor.data + chunk[after:end],
            )
            self._begin = end
        if message_type == PARSE:
            statements = self.stream.statements
            if statements is not None:
                # It has been passed on when the next one is looked at.
                statements.home = self.advisor.database

    def _refuse(self, message_type: int) -> None:
        """Send what fails in place of a message; we are inside, so it goes at once."""
        text = self.advisor.failing_query + b"\0"
        if message_type == QUERY:
            self.stream.pass_on(message(QUERY, text))
        else:
            self.stream.pass_on(message(PARSE, b"\0" + text + b"\0\0"))
        self.stream.exchange.refuse_last(self.advisor.refusal)

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
            and end > start + BODY + 2
            and chunk[start + BODY] == STATEMENT
        ):
            # No server gets the Close of a named statement; drivers send it ahead of
            # what is new.
            self._closing = not self._in_pipeline and not self._copy_over
            return
        self._closing = False
        self._in_pipeline = True
        if message_type == EXECUTE:
            self._executes = True
