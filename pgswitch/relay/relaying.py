"""The part of a client's link that passes on what is asked of its server.

Theory of operation (hot path).  Nearly always a chunk is one whole query; that is found
out by one call (``classify_chunk`` in wire/passing.py), noted as one entry of the
exchange, and sent.  Of anything else each message is looked at.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import PqexecDisallowed, StartupRepeated, UnknownPacket
from pgswitch.relay.interfaces import ClientControl, StreamIO
from pgswitch.relay.preparing import PreparingLink
from pgswitch.relay.server_stream import SESSION, ServerStream
from pgswitch.relay.stream import ServerSource
from pgswitch.stats.counters import Counters
from pgswitch.wire.exchange import (
    BATCH,
    BIND,
    CLOSE,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EXECUTE,
    FUNCTION_CALL,
    NAMED,
    PARSE,
    QUERY,
    SYNC,
)
from pgswitch.wire.framing import CALL, PASS, WHOLE, action_table
from pgswitch.wire.prepared import BODY, fake_reply

TERMINATE: Final = 0x58
USES_UNNAMED: Final = 0x55
"""What ``asked`` returns for a query that begins with the unnamed statement."""
STARTUP: Final = 0
"""No message has this type: it is the length of a second start-up packet."""
ALL_WHOLE: Final = action_table(WHOLE, {STARTUP: CALL})
"""Before the login is done, and in the console."""

MAX_REMEMBERED: Final = 65536
FORGOTTEN: Final = b"?"
"""Stands for what was too long to remember; no message begins so."""

COPY_DATA: Final = 0x64
FLUSH: Final = 0x48
COPYING: Final = action_table(CALL, {COPY_DATA: PASS, FLUSH: PASS})
"""While the server takes the data of a COPY."""

NEEDS_SERVER: Final = action_table(
    0,
    dict.fromkeys(
        (QUERY, SYNC, FUNCTION_CALL, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE), 1
    ),
)
UNCOUNTED: Final = Counters()
"""What is counted before a client has a pool; nobody asks for it."""


class RelayingLink(PreparingLink):
    """Base of ClientLink."""

    __slots__ = ("counters", "frontend", "last_request", "relaying", "server_source")

    def __init__(self, limit: int, io: StreamIO, control: ClientControl) -> None:
        """Begin before the login: messages go whole to the control."""
        super().__init__(ALL_WHOLE, limit, io, control)
        self.frontend = control
        self.server_source: ServerSource = ServerSource()
        self.counters = UNCOUNTED
        self.relaying = False
        """Logged in to a pool, so messages are for a server."""
        self.last_request = 0.0
        """Start of the last query, in monotonic seconds."""

    def relay(self, chunk: bytes, server: ServerStream) -> None:
        """Note what the chunk asks, and send it on."""
        exchange = self.exchange
        if (
            self.skip == 0
            and not exchange.copying
            and not exchange.open
            and not exchange.unsettled
        ):
            kind = self.one_query(chunk)
            if kind:
                self.send_one(kind, chunk, server)
                return
        self.relay_each(chunk, server)

    def send_one(self, kind: int, chunk: bytes, server: ServerStream) -> None:
        """Send on a chunk that is one whole query: the commonest, so the shortest."""
        passed = chunk
        entry = QUERY if kind == QUERY else BATCH
        if self.statements is not None:
            if kind == BIND:
                passed = self.bound(chunk, server)
                if not passed:
                    self.relay_each(chunk, server)
                    return
            elif kind != USES_UNNAMED:
                # Nothing that is skipped comes before: the server has the client's
                # own unnamed statement from now on, or none.
                server.owned = True
            elif not server.owned:
                self.relay_each(chunk, server)
                return
        exchange = self.exchange
        exchange.clean = False
        exchange.queue.append(entry)
        counters = self.counters
        # As begin_query, without a call for each query.
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

    def _remember(self, chunk: bytes, *, goes_on: bool) -> None:
        """Keep what the server is sent and has not begun to answer.

        Should the server be lost, it tells what may have been carried out.  What is
        held back was not sent.  ``goes_on``: the chunk began inside of a message.
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

    def relay_each(self, chunk: bytes, server: ServerStream) -> None:
        """Walk the chunk, note each of its requests, send it on."""
        goes_on = self.skip > 0
        exchange = self.exchange
        actions = self.actions
        if exchange.copying:
            # What a COPY asked for is of no more interest.
            self.actions = COPYING
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
            rest = self.rest or chunk[self.stopped_at :]
            self.rest = b""
            self.wait_for_answers(rest)
        if exchange.synthetic_count and server.skip == 0 and exchange.head_is_fake():
            self._answer()
        if exchange.clean and self.skip == 0 and server.mode != SESSION:
            self.server_source.release(server)
        elif exchange.unsettled and self.skip == 0 and exchange.wants_fence():
            server.fence()

    def wait_for_answers(self, rest: bytes) -> None:
        """Hold what could not be judged until what was asked has been answered."""
        raise AssertionError(rest)

    def _answer(self) -> None:
        """Send the replies that we make and that nothing stands before."""
        exchange = self.exchange
        replies: list[bytes] = []
        while exchange.head_is_fake():
            entry = exchange.take()
            replies.append(fake_reply(entry))
            if entry & NAMED and self.statements is not None:
                self.statements.settled(entry)
        self.send(b"".join(replies))

    def on_message(self, message_type: int, chunk: bytes, start: int, end: int) -> bool:
        """Note one request of the client."""
        if not self.relaying:
            if message_type == STARTUP:
                raise StartupRepeated
            self.control.message(message_type, chunk[start + BODY : end])
            return True
        exchange = self.exchange
        if exchange.skips_here and message_type != TERMINATE:
            if message_type != SYNC:
                if end > len(chunk):
                    return self._wait_for(end - start)
                self.replace(chunk, start, end, b"")
                return True
            exchange.skipped_here()
        if message_type == SYNC:
            exchange.request(SYNC)
            self.ended_segment()
        elif message_type == COPY_DATA:
            exchange.copy_data_sent()
        elif NEEDS_SERVER[message_type] and exchange.must_settle():
            return self.hold_back()
        elif message_type == QUERY:
            if not self.simple:
                raise PqexecDisallowed
            return self.query(chunk, start, end)
        elif NEEDS_SERVER[message_type]:
            if self.statements is None:
                self.exchange.request(message_type)
            else:
                return self.prepared(message_type, chunk, start, end)
        elif message_type == COPY_DONE or message_type == COPY_FAIL:
            self.exchange.copy_data_ended(message_type)
        elif message_type == TERMINATE:
            if self._is_owed_an_answer():
                return self.hold_back()
            self.stopped = True
            self.replace(chunk, start, min(end, len(chunk)), b"")
        else:
            raise UnknownPacket
        return True

    def _is_owed_an_answer(self) -> bool:
        """Tell whether answers are to be passed on before the connection is closed.

        What no Sync has followed is not answered, nor is a COPY that has not ended.
        """
        exchange = self.exchange
        return exchange.will_answer() and exchange.ends_are_outstanding()
