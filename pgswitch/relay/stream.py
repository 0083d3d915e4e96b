"""One connection as the hot path sees it: chunks in, chunks out, back-pressure.

Theory of operation (hot path).

* *Sending at once.*  Twisted's ``transport.write`` only queues and asks for a
  write event, which costs two epoll_ctl calls and a turn of the reactor for bytes
  that the kernel would have taken at once.  :meth:`Stream.send` calls the socket's own
  ``send`` as long as nothing is queued; only what the kernel refuses is queued
  (measured: 120 against 77 us of CPU a transaction).
* *Back-pressure.*  While bytes are queued for one end, the other end is not read.
  So memory is bounded: one chunk, and what one message makes of it.
* *Big reads.*  128 KiB a read once the data come in bulk: few turns for a large result.
* *No detours.*  With a descriptor, syscalls.py makes the same system calls as the
  socket's methods with less Python around them.
* *Read batching.*  PostgreSQL sends 8 KiB at a time, and each would cost a poll, a
  read and a write.  Inside a long answer the kernel wakes us only for larger reads
  (:class:`ReadBatching`).
* *Coarse time.*  The event loop reads the clock once a turn; within the turn all
  streams see the same time (:class:`Clock`).
* *Slots.*  A stream has more attributes than an interpreted object finds without
  searching its dictionary (30): 7.5 against 4.5 ns for each access, and 1.2 KB for
  each connection.

A paused stream has its reasons in :attr:`Stream.paused`, a set of bits, so that two
reasons to stop do not undo each other.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgswitch.errors import Fault
from pgswitch.relay.interfaces import StreamIO
from pgswitch.relay.syscalls import read, write
from pgswitch.wire.framing import Scanner

SMALL_READ: Final = 8192
BIG_READ: Final = 131072
"""How much is read at once: little, until a read fills it; then much.

The buffer is allocated before the kernel says how much there is, and the allocator
takes a large one for an occasion to tidy up; a large result still takes few turns.
COPY in cost 0.84 of PgBouncer's CPU with 128 KiB, 0.95 with 64 and 0.91 with 256.
"""

LONG_ANSWER_READS: Final = 16
"""Full reads in a row after which an answer may be a long one: 256 KiB have come."""
LONG_ANSWER_S: Final = 0.01
"""How long a long answer has taken by then, so that a wait of 2 ms (event_loop.py) is
a small part of it."""
LOW_WATER_MARK: Final = 32768
"""Bytes to wait for inside a long answer.

A receive buffer of the usual size has no room for twice 64 KiB, and the window would
suffer (tcp(7)).
"""
MAX_FRUITLESS_WAITS: Final = 3
"""Waits of one stream that may time out although more of the answer was to come.

After that many the stream has a sender, a window or a buffer that does not deliver so
much at once, and is woken for every byte from then on.  One may be a hiccup of the
machine, so it does not count if enough waits before it were successful.
"""
WAITS_BEFORE_HICCUP: Final = 128
"""Successful waits, 4 MiB in all, after which a fruitless one counts as a hiccup.

That is 10 ms and more of an answer at the rates of loopback; a wait is 2 ms.
"""

PAUSED_HOLDING: Final = 1
"""The client has sent more while it waits for a server."""
PAUSED_PEER: Final = 2
"""The other end has not taken yet what this end sent."""
PAUSED_SUSPENDED: Final = 4
"""The admin stopped all reading."""
PAUSED_INTERCEPTOR: Final = 8
"""The client has sent more while a rule or a server makes its interceptor wait."""
PAUSED_TLS: Final = 16
"""TLS has an answer to send before it can read on."""
PAUSED_CONSOLE: Final = 32
"""The client has sent the console more requests than it has answered."""


_read: Final = read
_write: Final = write
"""Final names cost no look-up when compiled."""


class Clock:
    """The time of the present turn, in monotonic seconds."""

    def __init__(self, read_time: Callable[[], float], now: float) -> None:
        """Begin at ``now``; ``read_time`` reads the time when a turn begins."""
        self.read_time = read_time
        self.now = now


class ReadBatching:
    """The streams whose sockets have SO_RCVLOWAT raised (socket(7)).

    The kernel wakes us for these only when much has come, so the event loop has to
    read those that have been silent for a while: the answer may have ended, or slowed
    down.

    Waiting must never cost: it begins only after an answer has taken five times as
    long as one wait, the buffer must have room for four times as much, and a stream
    whose waits time out does not wait again.
    """

    def __init__(self) -> None:
        """Begin without streams."""
        self.streams: dict[int, Stream] = {}
        """By descriptor."""
        self.low_water_mark = LOW_WATER_MARK
        """Bytes that they wait for; 0: no stream is to wait."""


class Stream(Scanner):
    """Base of both ends: a Scanner with a socket.

    ``io`` does with the socket what is not hot, see interfaces.py.
    """

    __slots__ = (
        "backlogged",
        "batching",
        "clock",
        "descriptor",
        "fruitless_waits",
        "full_reads",
        "full_reads_since",
        "io",
        "largest_read",
        "lost",
        "low_water",
        "over",
        "parameters",
        "partly_answered",
        "paused",
        "peer",
        "pending",
        "raw_send",
        "read_at",
        "read_size",
        "reading",
        "recv",
        "sent",
        "sent_size",
        "successful_waits",
    )

    def __init__(self, actions: bytes, limit: int, io: StreamIO, clock: Clock) -> None:
        """Begin unlinked; see Scanner for the first two.

        ``clock`` serves until an event loop gives the stream its own.
        """
        super().__init__(actions, limit)
        self.io = io
        self.clock = clock
        """All streams of an event loop share its clock."""
        self.descriptor = -1
        """That of a plain socket; else the two functions below move the bytes."""
        self.recv = io.recv
        self.raw_send = io.send
        self.read_size = SMALL_READ
        self.largest_read = BIG_READ
        self.full_reads = 0
        """How many reads in a row were full."""
        self.full_reads_since = 0.0
        """The time of the first of them."""
        self.batching: ReadBatching | None = None
        """That of an event loop that watches over it."""
        self.low_water = False
        """Waits for more than a byte, see :attr:`batching`."""
        self.read_at = 0.0
        """When it was last read while it waits so."""
        self.fruitless_waits = 0
        """How many of its waits have timed out."""
        self.successful_waits = 0
        """How many have not, since the last that did."""
        self.parameters: tuple[str | None, ...] = ()
        """Values of the tracked parameters, see wire/params.py."""
        self.peer: Stream | None = None
        self.paused = 0
        self.backlogged = False
        """Bytes wait in :attr:`pending` or in the transport."""
        self.pending: list[bytes] = []
        self.sent: list[bytes] = []
        """Of a client: what its server was sent and may be sent again.

        See ``ClientStream._remember``."""
        self.sent_size = 0
        self.partly_answered = False
        """Some of the answer to that has reached the client."""
        self.lost = False
        """The connection is lost: what still comes does not count."""
        self.reading = False
        """Inside :meth:`do_read`, which can end the connection itself."""
        self.over = False
        """The reactor is to drop the socket after this read."""

    def do_read_now(self) -> object:
        """Read the clock, then :meth:`do_read`: the ``doRead`` of stock reactors."""
        clock = self.clock
        clock.now = clock.read_time()
        return self.do_read()

    def do_read(self) -> object:
        """Read one chunk and process it.

        Returns None, or the reason for which the reactor is to drop the socket.
        """
        size = self.read_size
        try:
            if self.descriptor >= 0:
                chunk = _read(self.descriptor, size)
            else:
                chunk = self.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            return self.io.failed(error)
        if not chunk:
            return self.io.ended()
        if len(chunk) == size:
            self.read_size = self.largest_read
            self.full_reads += 1
            if self.full_reads >= LONG_ANSWER_READS:
                if not self.low_water:
                    self.begin_low_water()
            elif self.full_reads == 1:
                self.full_reads_since = self.clock.now
        elif size != SMALL_READ:
            if len(chunk) <= SMALL_READ:
                self.read_size = SMALL_READ
        elif self.full_reads:
            self.full_reads = 0
        if self.low_water:
            self.read_at = self.clock.now
            self.successful_waits += 1
        if self.lost:
            return None
        self.reading = True
        try:
            if self.wanted:
                self._feed_rejoined(chunk)
            else:
                self.feed(chunk)
        except Fault as fault:
            self.report(fault)
        self.reading = False
        return self.io.ended() if self.over else None

    def take(self, chunk: bytes) -> None:
        """Process a chunk that was read elsewhere, as :meth:`do_read` does."""
        if self.lost:
            return
        try:
            if self.wanted:
                self._feed_rejoined(chunk)
            else:
                self.feed(chunk)
        except Fault as fault:
            self.report(fault)

    def _feed_rejoined(self, chunk: bytes) -> None:
        """Process what was held back, if the chunk completes it."""
        joined = self.rejoin(chunk)
        if joined is not None:
            self.feed(joined)

    def feed(self, chunk: bytes) -> None:
        """Process a chunk that begins where the walk left off."""
        raise AssertionError(len(chunk))

    def report(self, fault: Fault) -> None:
        """Tell the frontend or backend that its peer broke the protocol."""
        raise AssertionError(fault)

    def retry_held(self, *, forced: bool = False) -> None:
        """Send what waits for answers, if they have come; only clients wait so."""

    def begin_low_water(self) -> None:
        """Have the kernel wait for larger reads, if this end has long answers."""

    def note_fruitless_wait(self) -> None:
        """Be woken for every byte again: a wait has timed out."""
        if self.successful_waits < WAITS_BEFORE_HICCUP:
            self.fruitless_waits += 1
        self.successful_waits = 0
        self.end_low_water()

    def end_low_water(self) -> None:
        """Be woken for every byte again."""
        if self.low_water:
            self.reset_low_water()
            self.io.wake_for(1)

    def reset_low_water(self) -> None:
        """Leave :attr:`batching`, for instance because the connection is gone."""
        self.full_reads = 0
        self.low_water = False
        if self.batching is not None:
            self.batching.streams.pop(self.descriptor, None)

    def send(self, data: bytes) -> None:
        """Send now, or queue and stop the peer's reading; never blocks or raises."""
        if self.backlogged:
            self.pending.append(data)
            return
        try:
            if self.descriptor >= 0:
                sent = _write(self.descriptor, data)
            else:
                sent = self.raw_send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The next read reports the loss.
            return
        if sent != len(data):
            self.backlogged = True
            self.pending.append(data[sent:])
            if self.peer is not None:
                self.peer.pause(PAUSED_PEER)
            self.io.drain_later()

    def clear_sent(self) -> None:
        """Forget what was sent: it has been answered, or given up."""
        self.partly_answered = False
        if self.sent_size:
            self.sent.clear()
            self.sent_size = 0

    def let_go(self) -> None:
        """Drop all bytes held: the connection is gone."""
        self._held.clear()
        self.sent.clear()
        self.pending.clear()

    def take_pending(self) -> bytes:
        """Return what is queued to be written; the caller writes it."""
        data = b"".join(self.pending)
        self.pending.clear()
        return data

    def drained(self) -> None:
        """Note that everything queued was written: the peer may be read again."""
        self.backlogged = False
        if self.peer is not None:
            self.peer.resume(PAUSED_PEER)

    def pause(self, reason: int) -> None:
        """Stop reading for this reason."""
        if not self.paused:
            self.io.pause()
        self.paused |= reason

    def resume(self, reason: int) -> None:
        """Remove this reason; read on if it was the last."""
        if self.paused & reason:
            self.paused &= ~reason
            if not self.paused:
                self.io.resume()


# The classes below are interfaces, yet base classes and no Protocols: compiled, a call
# through a native base class goes through a table of C functions; a call through a
# Protocol looks its method up by name each time.


class Interceptor(Scanner):
    """Looks at what a client sends before its stream does; see interceptor.py."""

    def feed(self, chunk: bytes) -> None:
        """Take a chunk as it was read."""
        raise AssertionError(len(chunk))

    def recheck(self) -> None:
        """Process what is queued, if what it waits for has come."""
        raise AssertionError

    def can_hand_over(self) -> bool:
        """Tell whether another process can take over from here."""
        raise AssertionError

    def awaits_answers(self) -> bool:
        """Tell whether it waits for a server to answer earlier requests."""
        raise AssertionError

    def queued(self) -> bytes:
        """Return the whole messages that came while it waits."""
        raise AssertionError

    def restore_queued(self, queued: bytes) -> None:
        """Go on with what the interceptor of another process had queued."""
        raise AssertionError(queued)

    def leave(self) -> bytes:
        """Leave the stream; return what was queued and not looked at yet."""
        raise AssertionError

    def give_up(self) -> None:
        """Stop waiting for the router: the client is gone."""
        raise AssertionError

    def cancel(self, error: bytes) -> bool:
        """End a query that waits for the router; False: there is none."""
        raise AssertionError(error)


class ServerSource:
    """Where a client gets its servers, and returns them; see idle_pool.py."""

    def checkout(self, client: Stream) -> bool:
        """Link the client to an idle server; False when it has to wait."""
        raise AssertionError(client)

    def release(self, server: Stream) -> None:
        """Take back a clean server."""
        raise AssertionError(server)

    def relink(self, server: Stream) -> None:
        """Link a clean server again to its client, to set its parameters again."""
        raise AssertionError(server)

    def put_back(self, server: Stream) -> None:
        """Give an unlinked, clean server to the next client, or keep it idle."""
        raise AssertionError(server)
