"""The client's end: what its messages ask, and when it needs a server.

Theory of operation (hot path).  A client without a server shows us the beginning of
a message.  If that message is whole (or too long to wait for), the rack is asked for
a server; with one, the chunk is passed on (relaying.py).  Without one the chunk is
kept, the client waits in the rack's queue, and :meth:`ClientStream.proceed` continues
when its turn has come.  A client that waits is still read until it sends more, so that
its leaving is noticed.

What comes before the login goes to ``frontend.first_bytes`` as it is; until the login
is done, and in the console, every message goes whole to ``control.message``.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.errors import (
    BadPacketHeader,
    Fault,
    UnknownPacket,
)
from pgswitch.relay.interfaces import ClientControl, StreamIO
from pgswitch.relay.preparing import FLUSH_MESSAGE, SYNC_MESSAGE
from pgswitch.relay.relaying import ALL_WHOLE, NEEDS_SERVER, TERMINATE, RelayingLink
from pgswitch.relay.server_stream import SESSION
from pgswitch.relay.stream import (
    BIG_READ,
    PAUSED_HOLDING,
    SMALL_READ,
    Interceptor,
    ServerSource,
)
from pgswitch.wire.exchange import (
    CLOSE,
    COPY_DONE,
    COPY_FAIL,
    FUNCTION_CALL,
    NAMED,
    QUERY,
    SYNC,
)
from pgswitch.wire.framing import CALL, HEADER_SIZE, PASS, action_table
from pgswitch.wire.prepared import BODY, STATEMENT, ClientStatements, fake_reply

COPY_DATA: Final = 0x64
FLUSH: Final = 0x48
WAIT_FOR_WHOLE: Final = 16384
"""A message up to this long is awaited whole before it costs a server."""

READY: Final = b"Z\x00\x00\x00\x05I"
"""ReadyForQuery, outside of a transaction."""
RELAYED: Final = action_table(CALL, {FLUSH: PASS})

_NEEDS_NONE: Final = action_table(
    0, dict.fromkeys((COPY_DATA, COPY_DONE, COPY_FAIL, FLUSH), 1)
)
"""Late messages of a COPY that failed, and a Flush of nothing: dropped."""


class NullClientControl:
    """The control of a client that is gone: nothing comes of it any more."""

    def message(self, message_type: int, body: bytes) -> None:
        """Do nothing."""

    def faulted(self, fault: Fault) -> None:
        """Do nothing."""

    def first_bytes(self, chunk: bytes) -> None:
        """Do nothing."""

    def terminated(self) -> None:
        """Do nothing."""

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Do nothing."""


NULL_CLIENT_CONTROL: Final = NullClientControl()


class ClientStream(RelayingLink):
    """One client connection, from its start-up packet on."""

    __slots__ = (
        "ahead",
        "dropping",
        "held",
        "indirect",
        "interceptor",
        "starting",
        "startup_parameters",
        "suspended",
        "waiting_since",
        "walking",
    )

    def __init__(self, limit: int, io: StreamIO, control: ClientControl) -> None:
        """Begin before the login: what comes goes to ``control.first_bytes``."""
        super().__init__(limit, io, control)
        self.largest_read = SMALL_READ  # so that a stranger fills little memory
        self.startup_parameters: tuple[str | None, ...] = ()
        """What they were when the client was welcomed."""
        self.walking = False
        """In the midst of messages that go whole to the control."""
        self.ahead = b""
        """What the control leaves to a server of the message that begins the relay."""
        self.starting = True
        """The start-up packet has not come yet."""
        self.suspended = False
        """Waits for a server or for its parameters to be set there."""
        self.interceptor: Interceptor | None = None
        """Looks at each chunk first, when rules are in force (interceptor.py)."""
        self.indirect = False
        """Chunks do not go straight on: it is halted or has a gate."""
        self.held: list[bytes] = []
        self.waiting_since = 0.0
        self.dropping = 0
        """Bytes still to come of a message that nobody needs."""

    def let_go(self) -> None:
        """Break the circles of references: the connection is gone."""
        # As Link does, without a call for each connection.
        self._held.clear()
        self.sent.clear()
        self.pending.clear()
        self.held.clear()
        self.rest = b""
        self.control = self.frontend = NULL_CLIENT_CONTROL
        if self.interceptor is not None:
            self.interceptor.give_up()
            self.interceptor = None
        self.exchange.listener = None

    def begin_relay(
        self, server_source: ServerSource, statements: ClientStatements | None
    ) -> None:
        """Leave the login: messages now go to servers of ``server_source``."""
        self.server_source = server_source
        self.statements = statements
        self.actions = RELAYED
        self.largest_read = BIG_READ
        self.relaying = True
        # What comes behind in the same chunk is for a server.
        self.stopped = self.walking

    def end_relay(self) -> None:
        """Have messages go whole to the control, until the relay begins again."""
        self.relaying = False
        self.actions = ALL_WHOLE

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
                self._ask(chunk)
            elif self.starting:
                self.frontend.first_bytes(chunk)
            else:
                self._walk_whole(chunk)
            return
        self.relay(chunk, server)

    def _walk_whole(self, chunk: bytes) -> None:
        """Give messages to the control, until one of them begins the relay."""
        if self.dropping:
            chunk = self._drop(chunk)
        self.walking = True
        passed = self.walk(chunk)
        self.walking = False
        if self.relaying and self.stopped and not self.lost:
            self.stopped = False
            rest = self.ahead + chunk[len(passed) :]
            self.ahead = b""
            if rest:
                self.feed(rest)

    def pass_on(self, chunk: bytes) -> None:
        """Deal with what the gate lets through: messages that needed no waiting."""
        server = self.server
        if server is None:
            self._ask(chunk)
        else:
            self.relay(chunk, server)

    def resume_client(self) -> None:
        """Go on with what was held: a server is linked and ready."""
        self.suspended = False
        self.indirect = self.interceptor is not None
        server = self.server
        held = b"".join(self.held)
        self.held.clear()
        if server is not None and held:
            # Whoever calls is not reading this client: its faults are its own.
            try:
                self.relay(held, server)
            except Fault as fault:
                self.control.faulted(fault)
                return
        if self.paused:
            self.resume(PAUSED_HOLDING)
        if self.interceptor is not None:
            self.interceptor.go_on()

    def suspend(self) -> None:
        """Hold what comes until :meth:`proceed`."""
        self.suspended = True
        self.indirect = True

    def hold(self, chunk: bytes) -> None:
        """Hold what comes in the midst of the login, ``chunk`` first."""
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
        if self.paused:
            self.resume(PAUSED_HOLDING)

    def wait_for_answers(self, rest: bytes) -> None:
        """Hold what could not be judged until what was asked has been answered."""
        exchange = self.exchange
        exchange.await_answers()
        self.ask_for_answers()
        self.suspend()
        self.held.insert(0, rest)

    def ask_for_answers(self) -> None:
        """Have the server send what it would keep until the next Sync."""
        server = self.server
        exchange = self.exchange
        if server is None:
            return
        if not self.settle_doubts() and exchange.keeps_answers():
            server.send(FLUSH_MESSAGE)

    def settle_doubts(self) -> bool:
        """Ask the server what only a question of ours settles; False: there is none."""
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

    def go_on(self) -> None:
        """Go on without the answers that whatever is held back waits for."""
        if self.suspended:
            self.look_again()
        elif self.interceptor is not None:
            self.interceptor.go_on()

    def look_again(self, *, forced: bool = False) -> None:
        """Go on with what waits for answers, if they are there.

        ``forced``: also in the midst of a COPY, which would have failed by now if it
        was to fail for what was sent ahead.
        """
        exchange = self.exchange
        if exchange.copying and not exchange.copy_end_sent():
            if not forced:
                return
            exchange.is_forced = True
        elif self.settle_doubts() or exchange.is_probing() or exchange.will_answer():
            return
        exchange.stop_waiting()
        if exchange.errand_failed:
            self._drop_answered()
        self.suspended = False
        self.indirect = self.interceptor is not None
        held = b"".join(self.held)
        self.held.clear()
        if held and not self.lost:
            # Whoever calls is not reading this client: its faults are its own.
            try:
                self.pass_on(held)
            except Fault as fault:
                self.control.faulted(fault)
                return
        server = self.server
        if server is not None and exchange.clean and self.skip == 0:
            if server.mode != SESSION:
                self.server_source.release(server)
        if self.paused and not self.suspended:
            self.resume(PAUSED_HOLDING)
        if self.interceptor is not None and not self.suspended:
            self.interceptor.go_on()

    def _drop_answered(self) -> None:
        """Drop the Query that waits: the error of an errand was the answer to it."""
        exchange = self.exchange
        exchange.errand_failed = False
        held = b"".join(self.held)
        length = int.from_bytes(held[1:HEADER_SIZE], "big")
        self.held = [held[length + 1 :]]
        server = self.server
        if exchange.skipping and server is not None:
            # The errand had no Sync of its own; a Query ends with ReadyForQuery.
            exchange.request(SYNC)
            server.send(SYNC_MESSAGE)

    def refuse(self, error: bytes) -> None:
        """Answer the request that waits for a server as a server would that fails it.

        With the ErrorResponse a simple Query is over; of the extended protocol all up
        to the next Sync is skipped (manual, "Extended Query").
        """
        chunk = b"".join(self.held)
        self.held.clear()
        self.suspended = False
        self.indirect = self.interceptor is not None
        self.waiting_since = 0.0
        exchange = self.exchange
        exchange.query_start = exchange.transaction_start = 0.0
        self.send(error)
        if chunk[0] == QUERY or chunk[0] == FUNCTION_CALL:
            chunk = chunk[self._skip(chunk, 0) :]
            self.send(READY)
        else:
            exchange.skipping = True
        # Whoever calls is not reading this client: its faults are its own.
        try:
            self._ask(chunk)
        except Fault as fault:
            self.control.faulted(fault)
            return
        if self.paused and not self.suspended:
            self.resume(PAUSED_HOLDING)
        if self.interceptor is not None:
            self.interceptor.go_on()

    def discard_pending(self) -> None:
        """Forget what was asked; of a message that is half sent the rest is dropped."""
        self.forget_sent()
        self.dropping += self.skip
        self.skip = 0

    def retry(self) -> None:
        """Ask what was sent once more, of another server, before anything else."""
        self.held[:0] = [*self.sent, *self._held]
        self.let_go_of_held()
        self.skip = 0
        self.forget_sent()
        self.suspend()

    # Without a server.

    def _ask(self, chunk: bytes) -> None:
        """Find out whether the chunk's first message needs a server, and get it."""
        if self.dropping:
            chunk = self._drop(chunk)
        if self.exchange.skipping:
            chunk = self._skip_to_sync(chunk)
        kind = self.one_query(chunk)
        size = len(chunk)
        at = 0
        while at < size and not kind:
            if size - at < HEADER_SIZE:
                self._keep(chunk[at:], HEADER_SIZE)
                return
            message_type = chunk[at]
            end = at + 1 + self._length_at(chunk, at)
            if not NEEDS_SERVER[message_type]:
                if not self._serverless(message_type, end - size):
                    return
                at = end
                continue
            if end > size and end - at <= WAIT_FOR_WHOLE + 1:
                self._keep(chunk[at:], end - at)
                return
            if message_type == CLOSE and self.statements is not None:
                if end <= size and self._close_here(chunk, at, end):
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
                    self.send_one(kind, chunk, server)
                else:
                    self.relay_each(chunk, server)
        elif not self.lost:
            self.suspend()
            self.held.append(chunk)

    def _drop(self, chunk: bytes) -> bytes:
        """Drop what is still to come of a message that nobody needs."""
        dropped = min(self.dropping, len(chunk))
        self.dropping -= dropped
        return chunk[dropped:]

    def _skip_to_sync(self, chunk: bytes) -> bytes:
        """Skip what a server skips after an error, and answer the Sync that ends it."""
        size = len(chunk)
        at = 0
        while size - at >= HEADER_SIZE:
            message_type = chunk[at]
            if message_type == TERMINATE:
                self.frontend.terminated()
                return b""
            at = self._skip(chunk, at)
            if message_type == SYNC:
                self.exchange.skipping = False
                self.send(READY)
                return chunk[at:]
        if at < size:
            self._keep(chunk[at:], HEADER_SIZE)
        return b""

    def _skip(self, chunk: bytes, at: int) -> int:
        """Drop a message, also what is still to come of it; return where it ends."""
        end = at + 1 + self._length_at(chunk, at)
        self.dropping = max(end - len(chunk), 0)
        return end

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

    def _keep(self, chunk: bytes, wanted: int) -> None:
        """Hold a cut message back until ``wanted`` bytes are there."""
        self._held.append(chunk)
        self._held_size = len(chunk)
        self.wanted = wanted

    def _serverless(self, message_type: int, missing: int) -> bool:
        """Deal with a message that no server is needed for; False: it is the last.

        ``missing`` bytes of it, if positive, are still to come.
        """
        if message_type == TERMINATE:
            self.frontend.terminated()
            return False
        if not _NEEDS_NONE[message_type]:
            raise UnknownPacket
        self.dropping = max(missing, 0)
        return True

    def _close_here(self, chunk: bytes, at: int, end: int) -> bool:
        """Answer the Close of a named statement; False when it is no such Close."""
        statements = self.statements
        body = at + BODY
        if statements is None or end <= body + 2 or chunk[body] != STATEMENT:
            return False
        is_open = self.exchange.open
        statements.close(chunk[body:end], None)
        self.exchange.open = is_open  # No server has heard of it.
        entry = self.exchange.take()
        self.send(fake_reply(entry))
        if entry & NAMED:
            statements.settled(entry)
        self.counters.client_bytes += end - at
        return True
