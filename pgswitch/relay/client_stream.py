"""The client's end: what its messages ask for, and when it needs a server.

Theory of operation (hot path).

* *Without a server* a client shows us the beginning of a message.  If that message is
  whole (or too long to wait for), the client checks out a server from its pool; with
  one, the chunk goes on.  If none is idle, the chunk is held, the client waits in the
  pool's queue, and :meth:`ClientStream.resume_client` continues when its turn has come.
  A waiting client is still read until it sends more, so that we notice when it leaves.
* *With a server* a chunk is nearly always one whole query.  One call finds that out
  (``classify_chunk`` in wire/passing.py); the query is noted as one entry of the
  exchange, and sent.  Of anything else each message is looked at.
* *Prepared statements* are rewritten by a :class:`PreparedRewriter`, which a client has
  only while its servers are shared.
* *Before the login* chunks go to ``frontend.first_bytes`` as they are; until the login
  is done, and in the console, every message goes whole to ``frontend.message``.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import (
    BadPacketHeader,
    Fault,
    PqexecDisallowed,
    StartupRepeated,
    UnknownPacket,
)
from pgswitch.relay.interfaces import NULL_CLIENT_CONTROL, ClientControl, StreamIO
from pgswitch.relay.prepared_rewriter import PreparedRewriter, read_text
from pgswitch.relay.server_stream import ServerStream
from pgswitch.relay.stream import (
    BIG_READ,
    PAUSED_HOLDING,
    SMALL_READ,
    Clock,
    Interceptor,
    ServerSource,
    Stream,
)
from pgswitch.stats.counters import Counters
from pgswitch.types import SESSION_POOLING
from pgswitch.wire.actions import (
    CLIENT_COPYING,
    CLIENT_RELAYED,
    CLIENT_UNRELAYED,
    DROPPED_WITHOUT_SERVER,
    NEEDS_SERVER,
    STARTUP,
)
from pgswitch.wire.constants import (
    BIND,
    CLOSE,
    COPY_DATA,
    COPY_DONE,
    COPY_FAIL,
    FLUSH_MESSAGE,
    FUNCTION_CALL,
    HEADER_SIZE,
    PREPARED_STATEMENT,
    QUERY,
    READY_FOR_QUERY_IDLE,
    SYNC,
    SYNC_MESSAGE,
    TERMINATE,
    USES_UNNAMED,
)
from pgswitch.wire.exchange import BATCH, NAMED, RESETS, Exchange
from pgswitch.wire.passing import classify_chunk, suspect
from pgswitch.wire.prepared import ClientStatements, fake_reply

WAIT_FOR_WHOLE: Final = 16384
"""A message up to this long must be whole before it costs a server."""
MAX_REMEMBERED: Final = 65536
"""Bytes sent to a server that are remembered until it answers."""
FORGOTTEN: Final = b"?"
"""Stands for what was too long to remember; no message begins so."""
UNCOUNTED: Final = Counters()
"""Takes what is counted before a client has a pool; it is never read."""

_classify_chunk: Final = classify_chunk
"""Final names cost no look-up when compiled."""


class ClientStream(Stream):
    """One client connection, from its start-up packet on."""

    __slots__ = (
        "ahead",
        "counters",
        "dropping",
        "exchange",
        "frontend",
        "held",
        "indirect",
        "interceptor",
        "last_request",
        "relaying",
        "rewriter",
        "server",
        "server_source",
        "simple",
        "starting",
        "startup_parameters",
        "statements",
        "suspended",
        "waiting_since",
        "walking",
    )

    def __init__(
        self, limit: int, io: StreamIO, frontend: ClientControl, clock: Clock
    ) -> None:
        """Begin before the login: what comes goes to ``frontend.first_bytes``."""
        super().__init__(CLIENT_UNRELAYED, limit, io, clock)
        self.largest_read = SMALL_READ  # so that a stranger fills little memory
        self.frontend = frontend
        self.starting = True
        """The start-up packet has not come yet."""
        self.walking = False
        """In the midst of messages that go whole to the frontend."""
        self.relaying = False
        """Logged in to a pool, so messages are for a server."""
        self.ahead = b""
        """What the frontend leaves for a server of the message that begins relaying."""
        self.simple = True
        """Simple queries are allowed (disable_pqexec)."""
        self.startup_parameters: tuple[str | None, ...] = ()
        """The tracked parameters when the client was welcomed."""
        self.counters = UNCOUNTED
        self.server_source: ServerSource = ServerSource()
        self.server: ServerStream | None = None
        self.exchange = Exchange()
        self.statements: ClientStatements | None = None
        """Set by :meth:`track_statements`; None while its servers are its own."""
        self.rewriter: PreparedRewriter | None = None
        """Set with :attr:`statements`."""
        self.interceptor: Interceptor | None = None
        """Looks at each chunk first, when rules are in force (interceptor.py)."""
        self.suspended = False
        """Waits for a server, or for its parameters to be set there."""
        self.indirect = False
        """Chunks do not go straight on: it is suspended or has an interceptor."""
        self.held: list[bytes] = []
        """What came while it was suspended."""
        self.waiting_since = 0.0
        """When it began to wait for a server, in monotonic seconds, or 0.0."""
        self.last_request = 0.0
        """When the last query began, in monotonic seconds."""
        self.dropping = 0
        """Bytes still to come of a message that is dropped."""

    def let_go(self) -> None:
        """Break the circles of references: the connection is gone."""
        # Stream.let_go does the first three; a call for each connection is saved.
        self._held.clear()
        self.sent.clear()
        self.pending.clear()
        self.held.clear()
        self.frontend = NULL_CLIENT_CONTROL
        self.rewriter = None
        if self.interceptor is not None:
            self.interceptor.give_up()
            self.interceptor = None
        self.exchange.listener = None

    def report(self, fault: Fault) -> None:
        """Tell the frontend that the client broke the protocol."""
        self.frontend.faulted(fault)

    def begin_relay(
        self, server_source: ServerSource, statements: ClientStatements | None
    ) -> None:
        """Leave the login: messages now go to servers of ``server_source``."""
        self.server_source = server_source
        self.track_statements(statements)
        self.actions = CLIENT_RELAYED
        self.largest_read = BIG_READ
        self.relaying = True
        # What comes behind in the same chunk is for a server.
        self.stopped = self.walking

    def end_relay(self) -> None:
        """Have messages go whole to the frontend, until the relay begins again."""
        self.relaying = False
        self.actions = CLIENT_UNRELAYED

    def track_statements(self, statements: ClientStatements | None) -> None:
        """Rewrite messages about prepared statements from now on; None: do not."""
        if statements is self.statements:
            return
        self.statements = statements
        self.rewriter = None
        if statements is not None:
            self.rewriter = PreparedRewriter(self, self.exchange, statements)

    # What comes from the client.

    def feed(self, chunk: bytes) -> None:
        """Pass a chunk on to the server, after getting one if need be."""
        if self.indirect:
            if self.interceptor is not None:
                self.interceptor.feed(chunk)
                return
            self.held.append(chunk)
            self.pause(PAUSED_HOLDING)
            return
        server = self.server
        if server is None:
            if self.relaying:
                self._request_server(chunk)
            elif self.starting:
                self.frontend.first_bytes(chunk)
            else:
                self._feed_frontend(chunk)
            return
        self._relay(chunk, server)

    def _feed_frontend(self, chunk: bytes) -> None:
        """Give messages to the frontend, until one of them begins the relay."""
        if self.dropping:
            chunk = self._drop_rest(chunk)
        self.walking = True
        passed = self.walk(chunk)
        self.walking = False
        if self.relaying and self.stopped and not self.lost:
            self.stopped = False
            remainder = self.ahead + chunk[len(passed) :]
            self.ahead = b""
            if remainder:
                self.feed(remainder)

    def forward(self, chunk: bytes) -> None:
        """Process what the interceptor lets through: messages that need not wait."""
        server = self.server
        if server is None:
            self._request_server(chunk)
        else:
            self._relay(chunk, server)

    def _classify(self, chunk: bytes) -> int:
        """Return what ``classify_chunk`` does for one whole query to be sent as one.

        0 for anything else.  A Bind of a named statement is still to be renamed.
        """
        kind = _classify_chunk(chunk, self.limit)
        if kind == 0 or (kind == QUERY and not self.simple):
            return 0
        statements = self.statements
        if statements is not None and statements.busy:
            return 0
        return kind

    # With a server.

    def _relay(self, chunk: bytes, server: ServerStream) -> None:
        """Note what the chunk asks for, and send it on."""
        exchange = self.exchange
        if (
            self.skip == 0
            and not exchange.copying
            and not exchange.open
            and not exchange.unsettled
        ):
            kind = self._classify(chunk)
            if kind:
                self._send_query(kind, chunk, server)
                return
        self._relay_messages(chunk, server)

    def _send_query(self, kind: int, chunk: bytes, server: ServerStream) -> None:
        """Send on a chunk that is one whole query: the most frequent case by far."""
        passed = chunk
        entry = QUERY if kind == QUERY else BATCH
        rewriter = self.rewriter
        if rewriter is not None:
            if kind == BIND:
                passed = rewriter.bind_renamed(chunk, server)
                if not passed:
                    self._relay_messages(chunk, server)
                    return
            elif kind != USES_UNNAMED:
                # Nothing before it is skipped: from now on the server has the client's
                # own unnamed statement, or none.
                server.unnamed_is_clients = True
            elif not server.unnamed_is_clients:
                self._relay_messages(chunk, server)
                return
        exchange = self.exchange
        exchange.clean = False
        exchange.queue.append(entry)
        counters = self.counters
        # The same as begin_query, without a call for each query.
        if not exchange.query_start:
            now = self.clock.now
            exchange.query_start = now
            self.last_request = now
            counters.query_count += 1
            if not exchange.transaction_start:
                exchange.transaction_start = now
                counters.xact_count += 1
        counters.client_bytes += len(chunk)
        if server.tracks_loss:
            self._remember(chunk, goes_on=False)
        server.send(passed)

    def begin_query(self, now: float) -> None:
        """Note the start of a query, and of a transaction, unless they are open."""
        exchange = self.exchange
        if exchange.query_start:
            return
        exchange.query_start = now
        self.last_request = now
        self.counters.query_count += 1
        if not exchange.transaction_start:
            exchange.transaction_start = now
            self.counters.xact_count += 1

    def _relay_messages(self, chunk: bytes, server: ServerStream) -> None:
        """Walk the chunk, note each of its requests, send it on."""
        goes_on = self.skip > 0
        exchange = self.exchange
        actions = self.actions
        if exchange.copying:
            # The data of a COPY need no look.
            self.actions = CLIENT_COPYING
        passed = self.walk(chunk)
        self.actions = actions
        if not exchange.clean and exchange.head < len(exchange.queue):
            self.begin_query(self.clock.now)
        self.counters.client_bytes += len(chunk)
        if server.tracks_loss:
            gone = chunk[: self.stopped_at] if self.held_back else chunk
            self._remember(gone, goes_on=goes_on)
        if passed:
            server.send(passed)
        if self.stopped:
            if not self.held_back:
                self.frontend.terminated()
                return
            self.stopped = self.held_back = False
            remainder = chunk[self.stopped_at :]
            rewriter = self.rewriter
            if rewriter is not None and rewriter.remainder:
                remainder = rewriter.remainder
                rewriter.remainder = b""
            self._wait_for_answers(remainder)
        if exchange.synthetic_count and server.skip == 0 and exchange.head_is_fake():
            self._send_fake_replies()
        if exchange.clean and self.skip == 0 and server.mode != SESSION_POOLING:
            self.server_source.release(server)
        elif exchange.unsettled and self.skip == 0 and exchange.wants_fence():
            server.fence()

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Note one request of the client."""
        if not self.relaying:
            if message_type == STARTUP:
                raise StartupRepeated
            self.frontend.message(message_type, chunk[start + HEADER_SIZE : end])
            return True
        exchange = self.exchange
        rewriter = self.rewriter
        if exchange.skips_here and message_type != TERMINATE:
            if message_type != SYNC:
                if end > len(chunk):
                    return self.wait_for(end - start)
                self.replace(chunk, start, end, b"")
                return True
            exchange.skipped_here()
        if message_type == SYNC:
            exchange.request(SYNC)
            if rewriter is not None:
                rewriter.end_segment()
        elif message_type == COPY_DATA:
            exchange.copy_data_sent()
        elif NEEDS_SERVER[message_type] and exchange.must_settle():
            return self.hold_back()
        elif message_type == QUERY:
            if not self.simple:
                raise PqexecDisallowed
            server = self.server
            if rewriter is not None and server is not None:
                return rewriter.query(chunk, start, end, server)
            exchange.request(QUERY | self._reset_flag(chunk, start, end))
        elif NEEDS_SERVER[message_type]:
            server = self.server
            if rewriter is not None and server is not None:
                return rewriter.rewrite(message_type, chunk, start, end, server)
            exchange.request(message_type)
        elif message_type == COPY_DONE or message_type == COPY_FAIL:
            exchange.copy_data_ended(message_type)
        elif message_type == TERMINATE:
            # What no Sync has followed is not answered, nor is a COPY that goes on.
            if exchange.will_answer() and exchange.ends_are_outstanding():
                return self.hold_back()
            self.stopped = True
            self.replace(chunk, start, min(end, len(chunk)), b"")
        else:
            raise UnknownPacket
        return True

    def _reset_flag(self, chunk: bytes, start: int, end: int) -> int:
        """Return RESETS for a Query that resets parameters, else 0."""
        body = start + HEADER_SIZE
        if end <= len(chunk) and suspect(chunk, body, end):
            if read_text(chunk[body:end], self.parameters).resets:
                return RESETS
        return 0

    def _send_fake_replies(self) -> None:
        """Send the replies that we make, as far as no other comes before them."""
        exchange = self.exchange
        replies: list[bytes] = []
        while exchange.head_is_fake():
            entry = exchange.take()
            replies.append(fake_reply(entry))
            if entry & NAMED and self.statements is not None:
                self.statements.settled(entry)
        self.send(b"".join(replies))

    # Without a server.

    def _request_server(self, chunk: bytes) -> None:
        """Find out whether the chunk's first message needs a server, and get it."""
        if self.dropping:
            chunk = self._drop_rest(chunk)
        if self.exchange.skipping:
            chunk = self._skip_to_sync(chunk)
        kind = self._classify(chunk)
        size = len(chunk)
        at = 0
        while at < size and not kind:
            if size - at < HEADER_SIZE:
                self._hold_cut(chunk[at:], HEADER_SIZE)
                return
            message_type = chunk[at]
            end = at + 1 + self._length_at(chunk, at)
            if not NEEDS_SERVER[message_type]:
                if not self._needs_no_server(message_type, end - size):
                    return
                at = end
                continue
            if end > size and end - at <= WAIT_FOR_WHOLE + 1:
                self._hold_cut(chunk[at:], end - at)
                return
            if message_type == CLOSE and self.statements is not None:
                if end <= size and self._close_statement(chunk, at, end):
                    at = end
                    continue
            break
        if at >= size:
            return
        chunk = chunk[at:]
        if self.server_source.checkout(self):
            server = self.server
            if server is not None:
                if kind:
                    self._send_query(kind, chunk, server)
                else:
                    self._relay_messages(chunk, server)
        elif not self.lost:
            self.suspend()
            self.held.append(chunk)

    def _skip_to_sync(self, chunk: bytes) -> bytes:
        """Skip what a server skips after an error, and answer the Sync that ends it."""
        size = len(chunk)
        at = 0
        while size - at >= HEADER_SIZE:
            message_type = chunk[at]
            if message_type == TERMINATE:
                self.frontend.terminated()
                return b""
            at = self._drop_message(chunk, at)
            if message_type == SYNC:
                self.exchange.skipping = False
                self.send(READY_FOR_QUERY_IDLE)
                return chunk[at:]
        if at < size:
            self._hold_cut(chunk[at:], HEADER_SIZE)
        return b""

    def _drop_message(self, chunk: bytes, at: int) -> int:
        """Drop a message, also what is still to come of it; return where it ends."""
        end = at + 1 + self._length_at(chunk, at)
        self.dropping = max(end - len(chunk), 0)
        return end

    def _drop_rest(self, chunk: bytes) -> bytes:
        """Drop what is still to come of a message, and return what follows it."""
        dropped = min(self.dropping, len(chunk))
        self.dropping -= dropped
        return chunk[dropped:]

    def _length_at(self, chunk: bytes, at: int) -> int:
        """Return the length in a message's header; raises BadPacketHeader."""
        length = (
            chunk[at + 1] << 24
            | chunk[at + 2] << 16
            | chunk[at + 3] << 8
            | chunk[at + 4]
        )
        if length < HEADER_SIZE - 1 or length >= self.limit:
            raise BadPacketHeader(header=chunk[at:])
        return length

    def _hold_cut(self, chunk: bytes, wanted: int) -> None:
        """Hold a cut message back until ``wanted`` bytes are there."""
        self._held.append(chunk)
        self._held_size = len(chunk)
        self.wanted = wanted

    def _needs_no_server(self, message_type: int, missing: int) -> bool:
        """Process a message that needs no server; False: it is the last.

        ``missing`` bytes of it, if positive, are still to come.
        """
        if message_type == TERMINATE:
            self.frontend.terminated()
            return False
        if not DROPPED_WITHOUT_SERVER[message_type]:
            raise UnknownPacket
        self.dropping = max(missing, 0)
        return True

    def _close_statement(self, chunk: bytes, at: int, end: int) -> bool:
        """Answer the Close of a named statement; False when it is no such Close."""
        statements = self.statements
        body = at + HEADER_SIZE
        if statements is None or end <= body + 2 or chunk[body] != PREPARED_STATEMENT:
            return False
        is_open = self.exchange.open
        statements.close(chunk[body:end], None)
        self.exchange.open = is_open  # No server has received it.
        entry = self.exchange.take()
        self.send(fake_reply(entry))
        if entry & NAMED:
            statements.settled(entry)
        self.counters.client_bytes += end - at
        return True

    # Holding what comes, and going on with it.

    def suspend(self) -> None:
        """Hold what comes until :meth:`resume_client`."""
        self.suspended = True
        self.indirect = True

    def resume_client(self) -> None:
        """Go on with what was held: a server is linked and ready."""
        held = self._end_suspension()
        server = self.server
        if server is not None and held:
            # The caller is not reading this client: faults are the client's own.
            try:
                self._relay(held, server)
            except Fault as fault:
                self.frontend.faulted(fault)
                return
        if self.paused:
            self.resume(PAUSED_HOLDING)
        if self.interceptor is not None:
            self.interceptor.recheck()

    def _end_suspension(self) -> bytes:
        """Hold nothing any more, and return what was held."""
        self.suspended = False
        self.indirect = self.interceptor is not None
        held = b"".join(self.held)
        self.held.clear()
        return held

    def hold(self, chunk: bytes) -> None:
        """Hold what comes during the login, ``chunk`` first."""
        self.suspend()
        if chunk:
            self.feed(chunk)

    def take_held(self) -> None:
        """Go on with the login, and with what was held since :meth:`hold`."""
        self.suspended = False
        # The login may just have ended, and rules see what comes now.
        self.indirect = self.interceptor is not None
        held = b"".join(self.held)
        self.held.clear()
        if held:
            self.take(held)
        elif self.interceptor is not None:
            self.interceptor.recheck()  # It has taken what was held.
        if self.paused:
            self.resume(PAUSED_HOLDING)

    def _wait_for_answers(self, remainder: bytes) -> None:
        """Hold what cannot be judged until earlier requests have been answered."""
        self.exchange.await_answers()
        self.ask_for_answers()
        self.suspend()
        self.held.insert(0, remainder)

    def ask_for_answers(self) -> None:
        """Have the server send what it would keep until the next Sync."""
        server = self.server
        if server is None:
            return
        if not self.settle_doubts() and self.exchange.keeps_answers():
            server.send(FLUSH_MESSAGE)

    def settle_doubts(self) -> bool:
        """Send the server a fence or probe, if only that settles what is outstanding.

        Returns False if nothing was to be sent.
        """
        exchange = self.exchange
        server = self.server
        if server is None or not exchange.unsettled or self.skip:
            return False
        if exchange.wants_probe():
            server.probe()
        elif exchange.wants_fence():
            server.fence()
        else:
            return False
        return True

    def recheck(self) -> None:
        """Go on with what is held or queued, although no server is there to answer."""
        if self.suspended:
            self.retry_held()
        elif self.interceptor is not None:
            self.interceptor.recheck()

    def retry_held(self, *, forced: bool = False) -> None:
        """Go on with what waits for answers, if they have come.

        ``forced``: also in the midst of a COPY, which would have failed by now if what
        was sent ahead was to make it fail.
        """
        exchange = self.exchange
        if exchange.copying and not exchange.copy_end_sent():
            if not forced:
                return
            exchange.is_forced = True
        elif self.settle_doubts() or exchange.is_probing() or exchange.will_answer():
            return
        exchange.stop_waiting()
        if exchange.internal_query_failed:
            self._drop_answered_query()
        held = self._end_suspension()
        if held and not self.lost:
            # The caller is not reading this client: faults are the client's own.
            try:
                self.forward(held)
            except Fault as fault:
                self.frontend.faulted(fault)
                return
        server = self.server
        if server is not None and exchange.clean and self.skip == 0:
            if server.mode != SESSION_POOLING:
                self.server_source.release(server)
        if self.paused and not self.suspended:
            self.resume(PAUSED_HOLDING)
        if self.interceptor is not None and not self.suspended:
            self.interceptor.recheck()

    def _drop_answered_query(self) -> None:
        """Drop the Query that waits: the error of an internal query answered it."""
        exchange = self.exchange
        exchange.internal_query_failed = False
        held = b"".join(self.held)
        length = int.from_bytes(held[1:HEADER_SIZE], "big")
        self.held = [held[length + 1 :]]
        server = self.server
        if exchange.skipping and server is not None:
            # The internal query had no Sync; a Query ends with ReadyForQuery.
            exchange.request(SYNC)
            server.send(SYNC_MESSAGE)

    def refuse(self, error: bytes) -> None:
        """Answer the request that waits for a server as a server would that fails it.

        After the ErrorResponse a simple Query is over; of the extended protocol all up
        to the next Sync is skipped (manual, "Extended Query").
        """
        chunk = self._end_suspension()
        self.waiting_since = 0.0
        exchange = self.exchange
        exchange.query_start = exchange.transaction_start = 0.0
        self.send(error)
        if chunk[0] == QUERY or chunk[0] == FUNCTION_CALL:
            chunk = chunk[self._drop_message(chunk, 0) :]
            self.send(READY_FOR_QUERY_IDLE)
        else:
            exchange.skipping = True
        # The caller is not reading this client: faults are the client's own.
        try:
            self._request_server(chunk)
        except Fault as fault:
            self.frontend.faulted(fault)
            return
        if self.paused and not self.suspended:
            self.resume(PAUSED_HOLDING)
        if self.interceptor is not None:
            self.interceptor.recheck()

    # A server that may be lost (ServerStream.tracks_loss).

    def _remember(self, chunk: bytes, *, goes_on: bool) -> None:
        """Keep what the server is sent and has not begun to answer.

        If the server is lost, that shows what may have been carried out.  What is held
        back was not sent.  ``goes_on``: the chunk began inside a message.
        """
        if self.wanted:
            chunk = chunk[: len(chunk) - self._held_size]
        if self.sent_size > MAX_REMEMBERED:
            return  # It is FORGOTTEN already.
        self.sent_size += len(chunk)
        if (goes_on and not self.sent) or self.sent_size > MAX_REMEMBERED:
            self.sent = [FORGOTTEN]
            self.sent_size = MAX_REMEMBERED + 1
        elif chunk:
            self.sent.append(chunk)

    def remember_again(self, sent: bytes) -> None:
        """Go on with what another process has remembered."""
        self.sent = [sent] if sent else []
        self.sent_size = MAX_REMEMBERED + 1 if sent == FORGOTTEN else len(sent)

    def discard_pending(self) -> None:
        """Forget what was sent; of a message that is half sent the rest is dropped."""
        self.clear_sent()
        self.dropping += self.skip
        self.skip = 0

    def retry(self) -> None:
        """Send what was sent again, to another server, before anything else."""
        self.held[:0] = [*self.sent, *self._held]
        self.let_go_of_held()
        self.skip = 0
        self.clear_sent()
        self.suspend()
