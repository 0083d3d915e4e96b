"""The server's end: what its messages mean for the client and for the release.

Theory of operation (hot path).  A chunk is walked once and sent to the client as it
is.  On the way, completions settle the exchange, ReadyForQuery closes the books of
the query, ParameterStatus goes to the control.  When the exchange is clean at the
end of the chunk, the server goes back to its rack.

Three tables tell which messages are looked at: all and whole while no client is
linked (logins, resets, checks: the control's business), few while one is, and a few
more, whole, while replies of our own are to be swallowed or put in.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import (
    Fault,
    ServerBadHeader,
    ServerMessageTooLong,
    ServerUnaskedAnswer,
    ServerUnknownPacket,
)
from pgswitch.relay.interfaces import ServerControl, StreamIO
from pgswitch.relay.stream import (
    FRUITLESS_WAITS,
    LONG_ANSWER_S,
    PAUSED_PEER,
    ServerSource,
    Stream,
)
from pgswitch.stats.counters import Counters
from pgswitch.wire.encode import message
from pgswitch.wire.exchange import (
    BATCH,
    CLOSE,
    COMPLETES,
    FENCE,
    IDLE,
    NAMED,
    PARSE,
    QUERY,
    RESETS,
    SQL,
    SWALLOW,
    SYNC,
    Exchange,
)
from pgswitch.wire.framing import CALL, PASS, TAG, WHOLE, action_table
from pgswitch.wire.passing import skip_messages
from pgswitch.wire.prepared import ClientStatements, fake_reply
from pgswitch.wire.shutdown_notice import FATAL_MARK, MARK, MAX_LENGTH
from pgswitch.wire.statements import PREFIX, ServerStatements

READY_FOR_QUERY: Final = 0x5A
ERROR_RESPONSE: Final = 0x45
PARAMETER_STATUS: Final = 0x53
COMMAND_COMPLETE: Final = 0x43
COPY_IN_RESPONSE: Final = 0x47
COPY_BOTH_RESPONSE: Final = 0x57
FUNCTION_CALL_RESPONSE: Final = 0x56
BODY: Final = 5
CODE_FIELD: Final = b"\0C"
"""The end of the field before, and the letter of the SQLSTATE."""
READ_ONLY: Final = b"C25006\0"
"""The SQLSTATE of a server that takes no writes, as an ErrorResponse has it."""

_PASSING: Final = b"DdcHANtv"  # DataRow, copy data, notices, ...
_COMPLETING: Final = b"123nTCIsV"

ALL_WHOLE: Final = action_table(WHOLE, {})
LINKED: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        READY_FOR_QUERY: WHOLE,
        PARAMETER_STATUS: WHOLE,
        COMMAND_COMPLETE: WHOLE,
    },
)
ENDING: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys(_COMPLETING, PASS),
        READY_FOR_QUERY: WHOLE,
        PARAMETER_STATUS: WHOLE,
        COMMAND_COMPLETE: TAG,
    },
)
"""While nothing but ReadyForQuery can settle what is asked."""
LINKED_SPECIAL: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys(_COMPLETING, WHOLE),
        READY_FOR_QUERY: WHOLE,
        PARAMETER_STATUS: WHOLE,
    },
)

WARY: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys(b"CSZ", WHOLE),
    },
)
WARY_SPECIAL: Final = action_table(
    CALL,
    {
        **dict.fromkeys(_PASSING, PASS),
        **dict.fromkeys(_COMPLETING, WHOLE),
        **dict.fromkeys(b"SZ", WHOLE),
    },
)
UNASKED: Final = action_table(
    CALL,
    {
        **dict.fromkeys(b"AN", PASS),
        **dict.fromkeys(b"ES", WHOLE),
    },
)
"""While nothing is outstanding: a server may say only what nobody has to ask for."""
MAY_BE_LONG: Final = action_table(0, dict.fromkeys(b"ADENTVdt", 1))
"""What an answer may have that is longer than LONG_MESSAGE.

libpq takes no more than 30,000 bytes of any other message (VALID_LONG_MESSAGE_TYPE).
"""
_SHUTDOWN_NOTICES: Final = (b"VFATAL\0", b"VPANIC\0", b"SFATAL\0", b"SPANIC\0")
"""Severities of an ErrorResponse that ends the connection, and needs no question."""
READY: Final = b"Z\0\0\0\5"
"""ReadyForQuery but for its last byte, the status."""
READY_SIZE: Final = 6
DISCARD_ALL: Final = b"DISCARD ALL\0"
DEALLOCATE_ALL: Final = b"DEALLOCATE ALL\0"
PREPARE_DONE: Final = b"PREPARE\0"
DEALLOCATE_DONE: Final = b"DEALLOCATE\0"
FENCE_MESSAGES: Final = message(CLOSE, b"SPGBOUNCER_0\0") + message(SYNC)
"""Close of what may or may not be there, and Sync: answered in any case."""
PROBE_MESSAGES: Final = (
    message(CLOSE, b"SPGBOUNCER_PROBE\0")
    + message(SYNC)
    + message(PARSE, b"PGBOUNCER_PROBE\0\0\0\0")
    + message(CLOSE, b"SPGBOUNCER_PROBE\0")
    + message(SYNC)
)
"""The same, and a Parse of nothing, which cannot fail; see Exchange.probe."""

SESSION: Final = 2
STATEMENT: Final = 0
"""The values of types.PoolMode, as integers that mypyc keeps in registers."""


_skip_messages: Final = skip_messages


class NullServerControl:
    """The control of a server that is gone: nothing comes of it any more."""

    def message(self, message_type: int, body: bytes) -> None:
        """Do nothing."""

    def faulted(self, fault: Fault) -> None:
        """Do nothing."""

    def walked(self) -> None:
        """Do nothing."""

    def parameter_status(self, body: bytes) -> None:
        """Do nothing."""

    def is_answering(self) -> bool:
        """Tell that it is not."""
        return False

    def was_reset(self, *, at_default: bool) -> None:
        """Do nothing."""

    def transaction_in_statement_mode(self) -> None:
        """Do nothing."""

    def without_shutdown_notice(
        self, chunk: bytes, at: int, *, unanswered: bool
    ) -> bytes:
        """Return all of it."""
        del at, unanswered
        return chunk

    def parameter_reset(self, body: bytes) -> bytes | None:
        """Return nothing else."""
        del body
        return None

    def contradicted(self, what: str) -> None:
        """Do nothing."""

    def refused_to_write(self) -> None:
        """Do nothing."""

    def close(self, reason: object) -> None:
        """Do nothing: it is closed, whoever brings it back."""


NULL_SERVER_CONTROL: Final = NullServerControl()


class ServerStream(Stream):
    """One server connection of ours, from its login on."""

    __slots__ = (
        "backend",
        "client_statements",
        "close_needed",
        "counters",
        "exchange",
        "mode",
        "needs_release_check",
        "owned",
        "parameters",
        "ready_since",
        "server_source",
        "statements",
        "tracks_loss",
        "unasked",
        "unlike",
    )

    def __init__(
        self,
        limit: int,
        io: StreamIO,
        control: ServerControl,
        statements: ServerStatements,
    ) -> None:
        """Begin unlinked: every message goes whole to ``control.message``."""
        super().__init__(ALL_WHOLE, limit, io, control)
        self.backend = control
        self.exchange: Exchange | None = None
        self.client_statements: ClientStatements | None = None
        self.statements = statements
        self.server_source: ServerSource = ServerSource()
        self.counters = Counters()
        self.mode = SESSION
        """How long the linked client keeps this server, a PoolMode."""
        self.owned = False
        """Its unnamed statement is the linked client's, or there is none."""
        self.unlike = False
        """Its parameters are not those of the client that is linked: set them again."""
        self.unasked = 0
        """The type of a message that nobody has asked for."""
        self.parameters: tuple[str | None, ...] = ()
        """Values of the tracked parameters, see wire/params.py."""
        self.close_needed = False
        """To be closed instead of used again; then also watched."""
        self.needs_release_check = False
        """Its release is for the steward to look at."""
        self.tracks_loss = False
        """It may be lost to a switchover: what clients lose then is kept track of."""
        self.ready_since = 0.0
        """When the last ReadyForQuery came, in monotonic seconds."""

    def let_go(self) -> None:
        """Break the circle of references: the connection is gone."""
        super().let_go()
        self.control = self.backend = NULL_SERVER_CONTROL

    def link(
        self,
        client: Stream,
        exchange: Exchange,
        statements: ClientStatements | None,
        mode: int,
    ) -> None:
        """Give the server to a client; the server must be at a message boundary.

        ``mode`` is the PoolMode that tells for how long.
        """
        self.mode = mode
        self.owned = self.unlike = False
        self.exchange = exchange
        self.client_statements = statements
        self.peer = client
        client.peer = self
        if client.backlogged:
            self.pause(PAUSED_PEER)

    def drop_release_check(self) -> None:
        """Have its release looked at only if there is something left to look at."""
        self.needs_release_check = self.close_needed or self.statements.needs_cleaning()

    def fence(self) -> None:
        """Ask what is answered in any case, behind what may not be answered at all."""
        exchange = self.exchange
        client = self.peer
        if exchange is None or client is None or client.skip:
            return  # In the midst of a message of the client's; it will ask again.
        exchange.request(CLOSE | SWALLOW | FENCE)
        exchange.request(SYNC | SWALLOW)
        self.send(FENCE_MESSAGES)

    def probe(self) -> None:
        """Ask what shows whether it skips what is asked; see Exchange.probe."""
        exchange = self.exchange
        if exchange is not None:
            exchange.probe()
            self.send(PROBE_MESSAGES)

    def begin_low_water(self) -> None:
        """Be woken for much only, in the midst of a long answer."""
        batching = self.batching
        if batching is None or self.descriptor < 0 or not batching.least:
            return
        if self.fruitless_waits >= FRUITLESS_WAITS:
            return
        if self.clock.now - self.bulk_at < LONG_ANSWER_S:
            return
        if not self.io.wake_for(batching.least):
            self.fruitless_waits = FRUITLESS_WAITS
            return
        self.low_water = True
        batching.streams[self.descriptor] = self

    def unlink(self) -> None:
        """Take the server from its client; messages go to the control again."""
        self.exchange = None
        self.client_statements = None
        self.actions = ALL_WHOLE
        client = self.peer
        if client is not None:
            self.peer = None
            client.peer = None
            # Neither may stay paused for the sake of the other.
            if self.paused:
                self.resume(PAUSED_PEER)
            if client.paused:
                client.resume(PAUSED_PEER)

    def feed(self, chunk: bytes) -> None:
        """Pass a chunk on to the client, or to the control when there is none."""
        self.counters.server_bytes += len(chunk)
        exchange = self.exchange
        if exchange is None:
            self.walk(chunk)
            self.backend.walked()
            return
        if self.tracks_loss:
            self._feed_wary(chunk, exchange)
            return
        if exchange.synthetic_count:
            self._feed_special(chunk, exchange, LINKED_SPECIAL)
            return
        queue = exchange.queue
        self.actions = LINKED if queue else UNASKED
        if len(queue) == 1 and not exchange.copying and not exchange.skipping:
            if queue[0] == QUERY or queue[0] == BATCH:
                if self._feed_end(chunk, exchange):
                    return
                self.actions = ENDING
        passed = self.walk(chunk)
        client = self.peer
        if client is None:
            return
        if passed:
            client.send(passed)
        if self.unasked:
            self._refute_unasked()
        if exchange.clean and self.skip == 0 and self.wanted == 0:
            if client.skip == 0:
                self._part(client)
        elif exchange.unsettled and exchange.wants_fence():
            self.fence()

    def _part(self, client: Stream) -> None:
        """Let go of a client that has nothing under way, if it is not to be kept."""
        if self.mode != SESSION:
            self.server_source.release(self)
        elif self.unlike and not client.wanted:
            self.server_source.relink(self)

    def _refute_unasked(self) -> None:
        """Close a server that has answered what nobody asked; raises the reason."""
        self.backend.contradicted(
            f"got packet '{chr(self.unasked)}' from server when nothing was asked"
        )
        raise ServerUnaskedAnswer

    def _feed_end(self, chunk: bytes, exchange: Exchange) -> bool:
        """Do the same for what is nearly always there: results, and the end of them.

        Returns False, with nothing done, when anything else is in the chunk.
        """
        size = len(chunk)
        at = _skip_messages(chunk, self.skip, ENDING, self.limit)
        if at < size:
            if at + READY_SIZE != size or chunk[at : size - 1] != READY:
                return False
            self.skip = 0
            start = exchange.query_start
            if (
                chunk[at + BODY] == IDLE
                and start == exchange.transaction_start
                and start != 0.0
            ):
                self._close_books(exchange, start)
            else:
                self._ready(exchange, chunk[at + BODY])
        else:
            self.skip = at - size
        client = self.peer
        if client is not None:  # of statement mode it may just have been closed
            client.send(chunk)
            if exchange.clean and client.skip == 0:
                if self.mode != SESSION:
                    self.server_source.release(self)
                elif self.unlike:
                    self.server_source.relink(self)
        return True

    def _close_books(self, exchange: Exchange, start: float) -> None:
        """Do what :meth:`_ready` does for one query that was a transaction.

        Nearly every one is, so that its questions are worth leaving out.
        """
        if self.low_water:
            self.end_low_water()
        now = self.clock.now
        self.ready_since = now
        exchange.query_start = exchange.transaction_start = 0.0
        exchange.queue.clear()
        if exchange.surveyed:
            exchange.survey_again()
        exchange.status = IDLE
        exchange.clean = True
        counters = self.counters
        took = int((now - start) * 1e6)
        counters.query_time += took
        counters.xact_time += took
        counters.single_times.note(took)

    def _feed_wary(self, chunk: bytes, exchange: Exchange) -> None:
        """Do the same with a last word of the server kept from the client."""
        if MARK in chunk or FATAL_MARK in chunk[-MAX_LENGTH:]:
            at = self.skip
            if at < len(chunk):
                client = self.peer
                unanswered = (
                    client is not None and len(client.sent) > 0 and not client.partly
                )
                chunk = self.backend.without_shutdown_notice(
                    chunk, at, unanswered=unanswered
                )
                if not chunk:
                    return
        table = WARY
        if exchange.synthetic_count:
            table = WARY_SPECIAL
        self._feed_special(chunk, exchange, table)

    def _feed_special(self, chunk: bytes, exchange: Exchange, table: bytes) -> None:
        """Do the same while replies are made by us, or somebody waits for the last."""
        self.actions = table if exchange.queue else UNASKED
        if self.skip and self.skip <= len(chunk) and exchange.head_is_fake():
            # Nothing can be put into the midst of the server's message.
            self._put_in(exchange, chunk, self.skip)
        passed = self.walk(chunk)
        client = self.peer
        if client is None:
            return
        if exchange.head == len(exchange.queue):
            client.forget_sent()
            # What is done already of a pipeline is committed by its Sync.
            client.partly = exchange.open and exchange.executes
        elif passed:
            client.partly = True
        if passed:
            client.send(passed)
        if self.unasked:
            self._refute_unasked()
        if exchange.clean and self.skip == 0 and self.wanted == 0:
            if client.skip == 0 and not exchange.internal_query:
                self._part(client)
        elif exchange.unsettled and exchange.wants_fence():
            self.fence()
        if exchange.awaited:
            client.look_again()
        elif exchange.listener is not None:
            exchange.listener.go_on()

    def check_long(self, message_type: int, size: int) -> None:
        """Refuse to hold what no server of good sense says, or not now."""
        exchange = self.exchange
        if exchange is None:
            may_be = self.backend.is_answering()
        else:
            may_be = exchange.outstanding() > 0
        if not may_be or not MAY_BE_LONG[message_type]:
            raise ServerMessageTooLong(kind=chr(message_type), size=size)

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Deal with one message that the table in force names."""
        exchange = self.exchange
        if exchange is None:
            self.control.message(message_type, chunk[start + BODY : end])
            return True
        if exchange.head == len(exchange.queue) and message_type != PARAMETER_STATUS:
            self._unasked_for(message_type, chunk, start, end)
        elif message_type == READY_FOR_QUERY:
            if end - start != READY_SIZE:
                raise ServerBadHeader
            self._ready(exchange, chunk[start + BODY])
            if exchange.answered & SWALLOW:
                self.replace(chunk, start, end, b"")
        elif message_type == ERROR_RESPONSE:
            return self._failed(exchange, chunk, start, end)
        elif message_type == PARAMETER_STATUS:
            self._parameter(exchange, chunk, start, end)
        elif message_type == COPY_IN_RESPONSE or message_type == COPY_BOTH_RESPONSE:
            exchange.copy_started()
            if not self.tracks_loss:
                self.actions = LINKED
        elif COMPLETES[message_type]:
            self._completed(exchange, message_type, chunk, start, end)
        elif message_type == FUNCTION_CALL_RESPONSE:
            exchange.completed(message_type)
        else:
            raise ServerUnknownPacket
        if exchange.synthetic_count and exchange.head_is_fake():
            self._put_in(exchange, chunk, end)
        return True

    def _parameter(
        self, exchange: Exchange, chunk: bytes, start: int, end: int
    ) -> None:
        """Note a parameter that the server reports, after a reset perhaps.

        What a client asked for at its start is what its session goes back to; the
        server, which goes back to what it had at its own, is told of it later.
        """
        body = chunk[start + BODY : end]
        if exchange.status != IDLE or not exchange.is_reset():
            self.backend.parameter_status(body)
            return
        told = self.backend.parameter_reset(body)
        if told is not None:
            self.unlike = True
            self.replace(chunk, start, end, told)

    def _failed(self, exchange: Exchange, chunk: bytes, start: int, end: int) -> bool:
        """Note an ErrorResponse; False to see all of it."""
        if self.tracks_loss and chunk.find(READ_ONLY, start, end) >= 0:
            self.backend.refused_to_write()
        statements = self.client_statements
        sees_all = (
            self.tracks_loss or statements is not None or exchange.synthetic_count > 0
        )
        if end > len(chunk) and sees_all:
            self.needed = end - start
            return False
        error = chunk[start:end]
        is_refused = exchange.synthetic_count and exchange.head_is_refused()
        if is_refused:
            self.replace(chunk, start, end, exchange.refusal)
        code = chunk.find(CODE_FIELD, start + BODY, end)
        if code >= 0:
            self.counters.failed(chunk[code + 2 : code + 7])
        skipped = exchange.failed()
        if statements is not None:
            first = exchange.queue[exchange.head] if exchange.outstanding() else 0
            first = skipped[0] if skipped else first
            if PREFIX in error and not is_refused:
                self.replace(chunk, start, end, statements.translated(error, first))
            if statements.refuted(error, first, self.statements):
                # Its word against ours: nobody else is to get it.
                self.close_needed = self.needs_release_check = True
                self.backend.contradicted("server refutes its prepared statements")
            self._undone(skipped)
        if exchange.synthetic_count and exchange.head_is_fake():
            self._put_in(exchange, chunk, end)
        return True

    def _completed(
        self, exchange: Exchange, message_type: int, chunk: bytes, start: int, end: int
    ) -> None:
        """Note an answer that completes a request, all but ReadyForQuery."""
        statements = self.client_statements
        if exchange.is_probing():
            told = [READY + bytes((one,)) for one in exchange.probed(message_type)]
            self.replace(chunk, start, start, b"".join(told))
        entry = exchange.completed(message_type)
        if message_type == COMMAND_COMPLETE:
            size = end - start - BODY
            if len(PREPARE_DONE) <= size <= len(DEALLOCATE_ALL):
                self._tagged(exchange, entry, chunk[start + BODY : end])
        if entry & RESETS:
            exchange.resets = True
        if entry == PARSE:
            self.owned = True
        elif entry & (NAMED | SQL) and statements is not None:
            statements.settled(entry)
            self.needs_release_check = (
                self.needs_release_check or self.statements.needs_cleaning()
            )
        if entry & SWALLOW:
            self.replace(chunk, start, end, b"")

    def _undone(self, skipped: list[int]) -> None:
        """Note that the server has not done some requests."""
        statements = self.client_statements
        if statements is not None:
            statements.undone(skipped, self.statements)
            self.needs_release_check = (
                self.needs_release_check or self.statements.needs_cleaning()
            )

    def _tagged(self, exchange: Exchange, entry: int, tag: bytes) -> None:
        """Note what a command has done to prepared statements, by its tag."""
        statements = self.client_statements
        if tag == DISCARD_ALL or tag == DEALLOCATE_ALL:
            self.statements.clear()
            if statements is not None:
                statements.clear(portals=tag == DISCARD_ALL)
            if tag == DISCARD_ALL:
                self.backend.was_reset(at_default=True)
        elif tag == PREPARE_DONE or tag == DEALLOCATE_DONE:
            if exchange.outstanding():
                entry |= exchange.queue[exchange.head]
            if statements is not None and entry & SQL:
                statements.done(tag[:-1], self.statements)
            elif tag == PREPARE_DONE:
                self.statements.has_unknown = True
            self.needs_release_check = (
                self.needs_release_check or self.statements.needs_cleaning()
            )

    def _unasked_for(
        self, message_type: int, chunk: bytes, start: int, end: int
    ) -> None:
        """Note what a server says while nothing is outstanding."""
        if message_type == ERROR_RESPONSE:
            error = chunk[start:end]
            if any(word in error for word in _SHUTDOWN_NOTICES):
                return  # It ends the connection, and says why.
        self.unasked = message_type
        self.stopped = True
        self.replace(chunk, start, min(end, len(chunk)), b"")

    def _ready(self, exchange: Exchange, status: int) -> None:
        """Close the books of the query, and of the transaction when it ended."""
        if self.low_water:
            self.end_low_water()
        unanswered = exchange.ready(status)
        statements = self.client_statements
        if statements is not None:
            if unanswered:
                self._undone(unanswered)
            if exchange.answered & SQL:
                statements.settled(exchange.answered)
        now = self.clock.now
        self.ready_since = now
        if exchange.head < len(exchange.queue):
            if not exchange.synthetic_count and not self.tracks_loss:
                self.actions = LINKED
        else:
            self.actions = UNASKED
            if exchange.query_start:
                counters = self.counters
                took = int((now - exchange.query_start) * 1e6)
                counters.query_time += took
                if (
                    status == IDLE
                    and exchange.transaction_start == exchange.query_start
                ):
                    counters.xact_time += took
                    counters.single_times.note(took)
                    exchange.transaction_start = 0.0
                else:
                    counters.query_times.note(took)
                exchange.query_start = 0.0
            if status == IDLE:
                if exchange.transaction_start:
                    counters = self.counters
                    took = int((now - exchange.transaction_start) * 1e6)
                    counters.xact_time += took
                    counters.xact_times.note(took)
                    exchange.transaction_start = 0.0
            elif self.mode == STATEMENT:
                self.backend.transaction_in_statement_mode()

    def _put_in(self, exchange: Exchange, chunk: bytes, end: int) -> None:
        """Put the replies that we make behind the message that ends at ``end``."""
        replies: list[bytes] = []
        while exchange.head_is_fake():
            entry = exchange.take()
            replies.append(fake_reply(entry))
            if entry & NAMED and self.client_statements is not None:
                self.client_statements.settled(entry)
        self.replace(chunk, end, end, b"".join(replies))
