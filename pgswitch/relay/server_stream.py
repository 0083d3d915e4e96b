"""The server's end: what its messages mean for the client and for the release.

Theory of operation (hot path).  A chunk is walked once and sent to the client as it
is.  On the way, completions settle the exchange, ReadyForQuery ends the query and its
statistics, ParameterStatus goes to the backend.  When the exchange is clean at the end
of the chunk, the server goes back to its pool.

The tables of wire/actions.py say which messages are looked at: all of them, whole,
while no client is linked (logins, resets, checks: the backend's business), few while
one is, and a few more, whole, while replies to our own requests are to be cut out, or
replies of ours put in.

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
from pgswitch.relay.interfaces import NULL_SERVER_CONTROL, ServerControl, StreamIO
from pgswitch.relay.stream import (
    LONG_ANSWER_S,
    MAX_FRUITLESS_WAITS,
    PAUSED_PEER,
    Clock,
    ServerSource,
    Stream,
)
from pgswitch.stats.counters import Counters
from pgswitch.types import SESSION_POOLING, STATEMENT_POOLING
from pgswitch.wire.actions import (
    MAY_BE_LONG,
    SERVER_LAST_REQUEST,
    SERVER_LINKED,
    SERVER_SYNTHETIC,
    SERVER_TRACKS_LOSS,
    SERVER_UNASKED,
    SERVER_UNLINKED,
)
from pgswitch.wire.constants import (
    COMMAND_COMPLETE,
    COPY_BOTH_RESPONSE,
    COPY_IN_RESPONSE,
    ERROR_RESPONSE,
    FUNCTION_CALL_RESPONSE,
    HEADER_SIZE,
    PARAMETER_STATUS,
    PARSE,
    QUERY,
    READY_FOR_QUERY,
    READY_FOR_QUERY_HEADER,
    READY_FOR_QUERY_SIZE,
    STATUS_IDLE,
    TAG_DEALLOCATE,
    TAG_DEALLOCATE_ALL,
    TAG_DISCARD_ALL,
    TAG_PREPARE,
)
from pgswitch.wire.exchange import (
    BATCH,
    COMPLETES,
    FENCE_MESSAGES,
    NAMED,
    PROBE_MESSAGES,
    RESETS,
    SQL,
    SWALLOW,
    Exchange,
)
from pgswitch.wire.loss import (
    ENDING_SEVERITIES,
    FATAL_MARK,
    MARK,
    MAX_LENGTH,
)
from pgswitch.wire.passing import skip_messages
from pgswitch.wire.prepared import ClientStatements, fake_reply
from pgswitch.wire.statements import PREFIX, ServerStatements

CODE_FIELD: Final = b"\0C"
"""In an ErrorResponse: the end of a field, and the type of the next, the SQLSTATE."""
READ_ONLY: Final = b"C25006\0"
"""The SQLSTATE field of a server that takes no writes (read_only_sql_transaction)."""

_skip_messages: Final = skip_messages
"""Final names cost no look-up when compiled."""


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
        "parameters_differ",
        "ready_since",
        "server_source",
        "statements",
        "tracks_loss",
        "unasked",
        "unnamed_is_clients",
    )

    def __init__(
        self,
        limit: int,
        io: StreamIO,
        backend: ServerControl,
        statements: ServerStatements,
        clock: Clock,
    ) -> None:
        """Begin unlinked: every message goes whole to ``backend.message``."""
        super().__init__(SERVER_UNLINKED, limit, io, clock)
        self.backend = backend
        self.statements = statements
        self.server_source: ServerSource = ServerSource()
        self.counters = Counters()
        self.exchange: Exchange | None = None
        """That of the linked client."""
        self.client_statements: ClientStatements | None = None
        """Those of the linked client."""
        self.mode = SESSION_POOLING
        """How long the linked client keeps this server, a PoolMode."""
        self.unnamed_is_clients = False
        """Its unnamed statement is the linked client's, or there is none."""
        self.parameters_differ = False
        """Its parameters are not those of the linked client: set them again."""
        self.unasked = 0
        """The type of a message that answers no request."""
        self.close_needed = False
        """To be closed instead of used again; needs_release_check is set as well."""
        self.needs_release_check = False
        """The pool's policy looks at its release."""
        self.tracks_loss = False
        """It may be lost to a switchover: track what its client would lose."""
        self.ready_since = 0.0
        """When the last ReadyForQuery came, in monotonic seconds."""

    def let_go(self) -> None:
        """Break the circle of references: the connection is gone."""
        super().let_go()
        self.backend = NULL_SERVER_CONTROL

    def report(self, fault: Fault) -> None:
        """Tell the backend that the server broke the protocol."""
        self.backend.faulted(fault)

    def link(
        self,
        client: Stream,
        exchange: Exchange,
        statements: ClientStatements | None,
        mode: int,
    ) -> None:
        """Link the server to a client; it must be at a message boundary.

        ``mode`` is the PoolMode that says for how long.
        """
        self.mode = mode
        self.unnamed_is_clients = self.parameters_differ = False
        self.exchange = exchange
        self.client_statements = statements
        self.peer = client
        client.peer = self
        if client.backlogged:
            self.pause(PAUSED_PEER)

    def drop_release_check(self) -> None:
        """Stop checking its release, unless something is left to check."""
        self.needs_release_check = self.close_needed or self.statements.needs_cleaning()

    def fence(self) -> None:
        """Send a request that is surely answered, behind some that may not be."""
        exchange = self.exchange
        client = self.peer
        if exchange is None or client is None or client.skip:
            return  # In the midst of a client's message; it will be called again.
        exchange.fence()
        self.send(FENCE_MESSAGES)

    def probe(self) -> None:
        """Find out whether the server skips requests; see Exchange.probe."""
        exchange = self.exchange
        if exchange is not None:
            exchange.probe()
            self.send(PROBE_MESSAGES)

    def begin_low_water(self) -> None:
        """Have the kernel wait for larger reads, inside a long answer."""
        batching = self.batching
        if batching is None or self.descriptor < 0 or not batching.low_water_mark:
            return
        if self.fruitless_waits >= MAX_FRUITLESS_WAITS:
            return
        if self.clock.now - self.full_reads_since < LONG_ANSWER_S:
            return
        if not self.io.wake_for(batching.low_water_mark):
            self.fruitless_waits = MAX_FRUITLESS_WAITS
            return
        self.low_water = True
        batching.streams[self.descriptor] = self

    def unlink(self) -> None:
        """Part the server from its client; messages go to the backend again."""
        self.exchange = None
        self.client_statements = None
        self.actions = SERVER_UNLINKED
        client = self.peer
        if client is not None:
            self.peer = None
            client.peer = None
            # Neither stays paused because of the other.
            if self.paused:
                self.resume(PAUSED_PEER)
            if client.paused:
                client.resume(PAUSED_PEER)

    def feed(self, chunk: bytes) -> None:
        """Pass a chunk on to the client, or to the backend when there is none."""
        self.counters.server_bytes += len(chunk)
        exchange = self.exchange
        if exchange is None:
            self.walk(chunk)
            self.backend.chunk_processed()
            return
        if self.tracks_loss:
            self._feed_tracking_loss(chunk, exchange)
            return
        if exchange.synthetic_count:
            self._feed_closely(chunk, exchange, SERVER_SYNTHETIC)
            return
        queue = exchange.queue
        self.actions = SERVER_LINKED if queue else SERVER_UNASKED
        if len(queue) == 1 and not exchange.copying and not exchange.skipping:
            if queue[0] == QUERY or queue[0] == BATCH:
                if self._feed_last_request(chunk, exchange):
                    return
                self.actions = SERVER_LAST_REQUEST
        passed = self.walk(chunk)
        client = self.peer
        if client is None:
            return
        if passed:
            client.send(passed)
        if self.unasked:
            self._reject_unasked()
        if exchange.clean and self.skip == 0 and self.wanted == 0:
            if client.skip == 0:
                self._release_from(client)
        elif exchange.unsettled and exchange.wants_fence():
            self.fence()

    def _release_from(self, client: Stream) -> None:
        """Leave a client that has nothing outstanding, if the pool mode says so."""
        if self.mode != SESSION_POOLING:
            self.server_source.release(self)
        elif self.parameters_differ and not client.wanted:
            self.server_source.relink(self)

    def _reject_unasked(self) -> None:
        """Close a server that has answered no request; raises the reason."""
        self.backend.contradicted(
            f"got packet '{chr(self.unasked)}' from server when nothing was asked"
        )
        raise ServerUnaskedAnswer

    def _feed_last_request(self, chunk: bytes, exchange: Exchange) -> bool:
        """Do the same for the usual chunk: results of the last request, and their end.

        Returns False, with nothing done, when the chunk has anything else.
        """
        size = len(chunk)
        at = _skip_messages(chunk, self.skip, SERVER_LAST_REQUEST, self.limit)
        if at < size:
            if (
                at + READY_FOR_QUERY_SIZE != size
                or chunk[at : size - 1] != READY_FOR_QUERY_HEADER
            ):
                return False
            self.skip = 0
            start = exchange.query_start
            if (
                chunk[at + HEADER_SIZE] == STATUS_IDLE
                and start == exchange.transaction_start
                and start != 0.0
            ):
                self._end_transaction(exchange, start)
            else:
                self._ready_for_query(exchange, chunk[at + HEADER_SIZE])
        else:
            self.skip = at - size
        client = self.peer
        if client is not None:  # statement pooling may just have closed it
            client.send(chunk)
            if exchange.clean and client.skip == 0:
                if self.mode != SESSION_POOLING:
                    self.server_source.release(self)
                elif self.parameters_differ:
                    self.server_source.relink(self)
        return True

    def _end_transaction(self, exchange: Exchange, start: float) -> None:
        """Do what :meth:`_ready_for_query` does, for one query that was a transaction.

        Nearly every query is, so leaving out the other's tests pays.
        """
        if self.low_water:
            self.end_low_water()
        now = self.clock.now
        self.ready_since = now
        exchange.query_start = exchange.transaction_start = 0.0
        exchange.queue.clear()
        if exchange.surveyed:
            exchange.survey_again()
        exchange.status = STATUS_IDLE
        exchange.clean = True
        counters = self.counters
        took = int((now - start) * 1e6)
        counters.query_time += took
        counters.xact_time += took
        counters.single_times.note(took)

    def _feed_tracking_loss(self, chunk: bytes, exchange: Exchange) -> None:
        """Do the same, and keep a shutdown notice of the server from the client."""
        if MARK in chunk or FATAL_MARK in chunk[-MAX_LENGTH:]:
            at = self.skip
            if at < len(chunk):
                client = self.peer
                unanswered = (
                    client is not None
                    and len(client.sent) > 0
                    and not client.partly_answered
                )
                chunk = self.backend.without_shutdown_notice(
                    chunk, at, unanswered=unanswered
                )
                if not chunk:
                    return
        table = SERVER_TRACKS_LOSS
        if exchange.synthetic_count:
            table = SERVER_SYNTHETIC
        self._feed_closely(chunk, exchange, table)

    def _feed_closely(self, chunk: bytes, exchange: Exchange, table: bytes) -> None:
        """Do the same while we make or swallow replies, or wait for some."""
        self.actions = table if exchange.queue else SERVER_UNASKED
        if self.skip and self.skip <= len(chunk) and exchange.head_is_fake():
            # Nothing can be put inside the server's message.
            self._put_in_replies(exchange, chunk, self.skip)
        passed = self.walk(chunk)
        client = self.peer
        if client is None:
            return
        if exchange.head == len(exchange.queue):
            client.clear_sent()
            # A Sync commits what is already done of a pipeline.
            client.partly_answered = exchange.open and exchange.executes
        elif passed:
            client.partly_answered = True
        if passed:
            client.send(passed)
        if self.unasked:
            self._reject_unasked()
        if exchange.clean and self.skip == 0 and self.wanted == 0:
            if client.skip == 0 and not exchange.internal_query:
                self._release_from(client)
        elif exchange.unsettled and exchange.wants_fence():
            self.fence()
        if exchange.awaited:
            client.retry_held()
        elif exchange.listener is not None:
            exchange.listener.recheck()

    def check_long(self, message_type: int, size: int) -> None:
        """Refuse to hold a message that no server sends, or not now."""
        exchange = self.exchange
        if exchange is None:
            may_be = self.backend.is_answering()
        else:
            may_be = exchange.outstanding() > 0
        if not may_be or not MAY_BE_LONG[message_type]:
            raise ServerMessageTooLong(kind=chr(message_type), size=size)

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Process one message that the present table names."""
        exchange = self.exchange
        if exchange is None:
            self.backend.message(message_type, chunk[start + HEADER_SIZE : end])
            return True
        if exchange.head == len(exchange.queue) and message_type != PARAMETER_STATUS:
            self._message_unasked(message_type, chunk, start, end)
        elif message_type == READY_FOR_QUERY:
            if end - start != READY_FOR_QUERY_SIZE:
                raise ServerBadHeader
            self._ready_for_query(exchange, chunk[start + HEADER_SIZE])
            if exchange.answered & SWALLOW:
                self.replace(chunk, start, end, b"")
        elif message_type == ERROR_RESPONSE:
            return self._failed(exchange, chunk, start, end)
        elif message_type == PARAMETER_STATUS:
            self._parameter(exchange, chunk, start, end)
        elif message_type == COPY_IN_RESPONSE or message_type == COPY_BOTH_RESPONSE:
            exchange.copy_started()
            if not self.tracks_loss:
                self.actions = SERVER_LINKED
        elif COMPLETES[message_type]:
            self._completed(exchange, message_type, chunk, start, end)
        elif message_type == FUNCTION_CALL_RESPONSE:
            exchange.completed(message_type)
        else:
            raise ServerUnknownPacket
        if exchange.synthetic_count and exchange.head_is_fake():
            self._put_in_replies(exchange, chunk, end)
        return True

    def _parameter(
        self, exchange: Exchange, chunk: bytes, start: int, end: int
    ) -> None:
        """Note a parameter that the server reports, perhaps after a reset.

        A reset takes a client's session back to what the client asked for at its
        start, but the server to what it had at its own: so the client is sent its own
        value, and the server's is set again later.
        """
        body = chunk[start + HEADER_SIZE : end]
        if exchange.status != STATUS_IDLE or not exchange.is_reset():
            self.backend.parameter_status(body)
            return
        reported = self.backend.parameter_reset(body)
        if reported is not None:
            self.parameters_differ = True
            self.replace(chunk, start, end, reported)

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
        code = chunk.find(CODE_FIELD, start + HEADER_SIZE, end)
        if code >= 0:
            self.counters.failed(chunk[code + 2 : code + 7])
        skipped = exchange.failed()
        if statements is not None:
            first = exchange.queue[exchange.head] if exchange.outstanding() else 0
            first = skipped[0] if skipped else first
            if PREFIX in error and not is_refused:
                self.replace(chunk, start, end, statements.translated(error, first))
            if statements.refuted(error, first, self.statements):
                # It contradicts what we track: no other client is to get it.
                self.close_needed = self.needs_release_check = True
                self.backend.contradicted("server refutes its prepared statements")
            self._undone(skipped)
        if exchange.synthetic_count and exchange.head_is_fake():
            self._put_in_replies(exchange, chunk, end)
        return True

    def _completed(
        self, exchange: Exchange, message_type: int, chunk: bytes, start: int, end: int
    ) -> None:
        """Note an answer that completes a request, all but ReadyForQuery."""
        statements = self.client_statements
        if exchange.is_probing():
            withheld = [
                READY_FOR_QUERY_HEADER + bytes((status,))
                for status in exchange.probed(message_type)
            ]
            self.replace(chunk, start, start, b"".join(withheld))
        entry = exchange.completed(message_type)
        if message_type == COMMAND_COMPLETE:
            size = end - start - HEADER_SIZE
            if len(TAG_PREPARE) <= size <= len(TAG_DEALLOCATE_ALL):
                self._tagged(exchange, entry, chunk[start + HEADER_SIZE : end])
        if entry & RESETS:
            exchange.resets = True
        if entry == PARSE:
            self.unnamed_is_clients = True
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
        """Note what a command has done to prepared statements, by its command tag."""
        statements = self.client_statements
        if tag == TAG_DISCARD_ALL or tag == TAG_DEALLOCATE_ALL:
            self.statements.clear()
            if statements is not None:
                statements.clear(portals=tag == TAG_DISCARD_ALL)
            if tag == TAG_DISCARD_ALL:
                self.backend.was_reset(at_default=True)
        elif tag == TAG_PREPARE or tag == TAG_DEALLOCATE:
            if exchange.outstanding():
                entry |= exchange.queue[exchange.head]
            if statements is not None and entry & SQL:
                statements.done(tag[:-1], self.statements)
            elif tag == TAG_PREPARE:
                self.statements.has_unknown = True
            self.needs_release_check = (
                self.needs_release_check or self.statements.needs_cleaning()
            )

    def _message_unasked(
        self, message_type: int, chunk: bytes, start: int, end: int
    ) -> None:
        """Note a message that comes while nothing is outstanding."""
        if message_type == ERROR_RESPONSE:
            error = chunk[start:end]
            if any(one in error for one in ENDING_SEVERITIES):
                return  # It ends the connection, and says why.
        self.unasked = message_type
        self.stopped = True
        self.replace(chunk, start, min(end, len(chunk)), b"")

    def _ready_for_query(self, exchange: Exchange, status: int) -> None:
        """End the query and its statistics, and those of a transaction that ended."""
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
                self.actions = SERVER_LINKED
        else:
            self.actions = SERVER_UNASKED
            if exchange.query_start:
                counters = self.counters
                took = int((now - exchange.query_start) * 1e6)
                counters.query_time += took
                if (
                    status == STATUS_IDLE
                    and exchange.transaction_start == exchange.query_start
                ):
                    counters.xact_time += took
                    counters.single_times.note(took)
                    exchange.transaction_start = 0.0
                else:
                    counters.query_times.note(took)
                exchange.query_start = 0.0
            if status == STATUS_IDLE:
                if exchange.transaction_start:
                    counters = self.counters
                    took = int((now - exchange.transaction_start) * 1e6)
                    counters.xact_time += took
                    counters.xact_times.note(took)
                    exchange.transaction_start = 0.0
            elif self.mode == STATEMENT_POOLING:
                self.backend.transaction_in_statement_mode()

    def _put_in_replies(self, exchange: Exchange, chunk: bytes, end: int) -> None:
        """Put the replies that we make behind the message that ends at ``end``."""
        replies: list[bytes] = []
        while exchange.head_is_fake():
            entry = exchange.take()
            replies.append(fake_reply(entry))
            if entry & NAMED and self.client_statements is not None:
                self.client_statements.settled(entry)
        self.replace(chunk, end, end, b"".join(replies))
