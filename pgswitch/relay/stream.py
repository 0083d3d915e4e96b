"""One connection as the hot path sees it: chunks in, chunks out, back-pressure.

Theory of operation (hot path).

* *Sending at once.*  Twisted's ``transport.write`` only queues and asks for a
  write event, which costs two epoll_ctl calls and a turn of the reactor for bytes
  that the kernel would have taken at once.  :meth:`Link.send` calls the socket's own
  ``send`` as long as nothing is queued; only what the kernel refuses is queued
  (measured: 120 against 77 us of CPU a transaction).
* *Back-pressure.*  While bytes are queued for one end the other end is not read.
  So what is in memory is bounded: one chunk, and what one message makes of it.
* *Big reads.*  128 KiB a read once the data come in bulk: few turns for a large result.
* *No detours.*  With a descriptor, syscalls.py makes the same system calls as the
  socket's methods with less Python around them.
* *Patience.*  PostgreSQL sends 8 KiB at a time, and each would wake us for a poll, a
  read and a write.  Inside of a long answer the kernel is told to wake us for more
  (:class:`ReadBatching`).
* *Coarse time.*  The clock is read once for each turn of the reactor, by whoever runs
  the turn; within it all links see the same time.
* *Slots.*  A link has more attributes than an interpreted object finds without
  searching its dictionary (30): 7.5 against 4.5 ns for each access, and 1.2 KB for
  each connection.

A link that stands still has a reason in :attr:`Link.paused`, a set of bits, so that
two reasons to stop do not undo each other.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from pgswitch.errors import Fault
from pgswitch.relay.interfaces import StreamControl, StreamIO
from pgswitch.relay.syscalls import read, write
from pgswitch.wire.framing import Scanner

SMALL_READ: Final = 8192
BIG_READ: Final = 131072
"""How much is read at once: little, until a read fills it; then much.

The buffer is allocated before the kernel says how much there is, and the allocator
takes a large one for an occasion to tidy up; a large result still takes few turns.
COPY in cost 0.84 of PgBouncer's CPU with 128 KiB, 0.95 with 64 and 0.91 with 256.
"""

LONG_ANSWER: Final = 16
"""Full reads on end after which an answer may be a long one: 256 KiB have come."""
LONG_ANSWER_S: Final = 0.01
"""How long it has come by then: a wait of 2 ms (event_loop.py) must not be what it
takes."""
WORTH_WAITING_FOR: Final = 32768
"""Bytes of a long answer that are waited for: of 64 KiB, a receive buffer of the usual
size has no room for twice as many, and the window would suffer (tcp(7))."""
FRUITLESS_WAITS: Final = 3
"""Waits that may end by time, with more of the answer to come, in the life of a link.

After so many of them it has a sender, a window or a buffer that does not give so much
at once, and is woken for every byte for good.  One may be a hiccup of the machine's, so
it does not count in the midst of much that came as it should.
"""
WAITS_A_HICCUP: Final = 128
"""Waits that ended with much, 4 MiB of it, before one in vain is taken for a hiccup.

That is 10 ms and more of an answer at the rates that loopback has; a wait is 2 ms.
"""

PAUSED_HOLDING: Final = 1
"""The client has sent more while it waits for a server."""
PAUSED_PEER: Final = 2
"""The other end has not taken yet what this end sent."""
PAUSED_SUSPENDED: Final = 4
"""The admin stopped all reading."""
PAUSED_GATE: Final = 8
"""The client has sent more while a rule or a server makes its gate wait."""
PAUSED_TLS: Final = 16
"""TLS has an answer to send before it can read on."""
PAUSED_CONSOLE: Final = 32
"""The client has asked more of the console than has been answered."""


_read: Final = read
_write: Final = write
"""Final names cost no look-up when compiled."""


class Clock:
    """The time of the present turn, in monotonic seconds."""

    def __init__(self) -> None:
        """Begin now."""
        self.now = monotonic()


class ReadBatching:
    """The links that wait for more to come than a byte: SO_RCVLOWAT (socket(7)).

    Their sockets do not count as readable before, so whoever runs the turns has to
    read those that it has not heard of for a while: an answer may end, or slow down.

    Waiting must never cost: an answer has to have taken five times as long as a wait
    before there is one, the buffer must have room for four times as much, and a link
    whose waits end by time is not made to wait again.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self.streams: dict[int, Stream] = {}
        """By descriptor."""
        self.least = WORTH_WAITING_FOR
        """What they wait for; 0: nobody is to wait."""


class Stream(Scanner):
    """Base of both ends; a Scanner with a socket.

    ``io`` and ``control`` do what is not hot, see ``interfaces.py``.
    """

    __slots__ = (
        "backlogged",
        "batching",
        "bulk",
        "bulk_at",
        "clock",
        "control",
        "descriptor",
        "fruitful",
        "fruitless_waits",
        "io",
        "largest_read",
        "lost",
        "low_water",
        "over",
        "partly",
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
    )

    def __init__(
        self, actions: bytes, limit: int, io: StreamIO, control: StreamControl
    ) -> None:
        """Begin unlinked; see Scanner for the first two."""
        super().__init__(actions, limit)
        self.io = io
        self.control = control
        self.descriptor = -1
        """Of a plain socket; else its bytes go by the two functions below."""
        self.clock = Clock()
        """Shared by all links of a reactor that sets it each turn (event_loop.py)."""
        self.recv = io.recv
        self.raw_send = io.send
        self.read_size = SMALL_READ
        self.largest_read = BIG_READ
        self.bulk = 0
        """How many full reads there were on end."""
        self.bulk_at = 0.0
        """When the first of them was."""
        self.batching: ReadBatching | None = None
        """Of a reactor whose turns have an eye on it."""
        self.low_water = False
        """In :attr:`patience`."""
        self.read_at = 0.0
        """When a patient one was read last."""
        self.fruitless_waits = 0
        """How many of its waits have ended by time."""
        self.fruitful = 0
        """Reads that were waited for since the last of them."""
        self.peer: Stream | None = None
        self.paused = 0
        self.backlogged = False
        """Bytes wait in :attr:`pending` or in the transport."""
        self.pending: list[bytes] = []
        self.partly = False
        """Some of the answer to that has reached the client."""
        self.sent: list[bytes] = []
        """What a client has asked that may be asked again; see relaying.py."""
        self.sent_size = 0
        self.lost = False
        """Nothing of the other end matters any more."""
        self.reading = False
        """In the midst of :meth:`do_read`, which can end the connection itself."""
        self.over = False
        """The reactor is to drop the socket after this read."""

    def do_read_now(self) -> object:
        """Read the clock, then :meth:`do_read`: the ``doRead`` of stock reactors."""
        self.clock.now = monotonic()
        return self.do_read()

    def do_read(self) -> object:
        """Read one chunk and deal with it.

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
            self.bulk += 1
            if self.bulk >= LONG_ANSWER:
                if not self.low_water:
                    self.begin_low_water()
            elif self.bulk == 1:
                self.bulk_at = self.clock.now
        elif size != SMALL_READ:
            if len(chunk) <= SMALL_READ:
                self.read_size = SMALL_READ
        elif self.bulk:
            self.bulk = 0
        if self.low_water:
            self.read_at = self.clock.now
            self.fruitful += 1
        if self.lost:
            return None
        self.reading = True
        try:
            if self.wanted:
                self._rejoined(chunk)
            else:
                self.feed(chunk)
        except Fault as fault:
            self.control.faulted(fault)
        self.reading = False
        return self.io.ended() if self.over else None

    def take(self, chunk: bytes) -> None:
        """Deal with a chunk that somebody else read, as :meth:`do_read` does."""
        if self.lost:
            return
        try:
            if self.wanted:
                self._rejoined(chunk)
            else:
                self.feed(chunk)
        except Fault as fault:
            self.control.faulted(fault)

    def _rejoined(self, chunk: bytes) -> None:
        """Deal with what was held back, if the chunk makes it enough."""
        joined = self.rejoin(chunk)
        if joined is not None:
            self.feed(joined)

    def feed(self, chunk: bytes) -> None:
        """Deal with a chunk that begins where the walk left off."""
        raise AssertionError(len(chunk))

    def look_again(self, *, forced: bool = False) -> None:
        """Look whether what waits for answers can go on."""

    def begin_low_water(self) -> None:
        """Be woken for much only, if this is an end that has long answers."""

    def note_fruitless_wait(self) -> None:
        """Be woken for every byte again, as much has not come in time."""
        if self.fruitful < WAITS_A_HICCUP:
            self.fruitless_waits += 1
        self.fruitful = 0
        self.end_low_water()

    def end_low_water(self) -> None:
        """Be woken for every byte again."""
        if self.low_water:
            self.reset_low_water()
            self.io.wake_for(1)

    def reset_low_water(self) -> None:
        """Wait for nothing any more: the connection is gone."""
        self.bulk = 0
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
            # The reading side learns of the loss and tells the control.
            return
        if sent != len(data):
            self.backlogged = True
            self.pending.append(data[sent:])
            if self.peer is not None:
                self.peer.pause(PAUSED_PEER)
            self.io.drain_later()

    def forget_sent(self) -> None:
        """Remember nothing that is to be answered: all of it is, or it is given up."""
        self.partly = False
        if self.sent_size:
            self.sent.clear()
            self.sent_size = 0

    def let_go(self) -> None:
        """Hold nothing any more: the connection is gone."""
        self._held.clear()
        self.sent.clear()
        self.pending.clear()

    def take_pending(self) -> bytes:
        """Return what waits to be written; the caller writes it."""
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
        """Take this reason away; read on when it was the last."""
        if self.paused & reason:
            self.paused &= ~reason
            if not self.paused:
                self.io.resume()


class Interceptor(Scanner):
    """Looks at what a client sends before its link does; see interceptor.py."""

    def feed(self, chunk: bytes) -> None:
        """Take a chunk as it was read."""
        raise AssertionError(len(chunk))

    def go_on(self) -> None:
        """Look whether what was kept can be passed on now."""
        raise AssertionError

    def is_at_rest(self) -> bool:
        """Tell whether another process can go on from here."""
        raise AssertionError

    def awaits_answers(self) -> bool:
        """Tell whether it waits for a server to answer what was asked before."""
        raise AssertionError

    def kept(self) -> bytes:
        """Return what came while it waits, not looked at yet; whole messages."""
        raise AssertionError

    def keep(self, kept: bytes) -> None:
        """Go on with what a gate of another process had kept."""
        raise AssertionError(kept)

    def leave(self) -> bytes:
        """Leave the link; return what was kept and not looked at yet."""
        raise AssertionError

    def give_up(self) -> None:
        """Wait for nobody any more: the client is gone."""
        raise AssertionError

    def cancel(self, error: bytes) -> bool:
        """End a query that somebody is thinking about; False: there is none."""
        raise AssertionError(error)


class ServerSource:
    """What a link needs of the pool it belongs to; see idle_pool.py."""

    def checkout(self, client: Stream) -> bool:
        """Join the client to an idle server; False when it has to wait."""
        raise AssertionError(client)

    def release(self, server: Stream) -> None:
        """Take back a clean server."""
        raise AssertionError(server)

    def relink(self, server: Stream) -> None:
        """Give a clean server to the client that has it anew, its parameters set."""
        raise AssertionError(server)

    def put_back(self, server: Stream) -> None:
        """Give an unlinked, clean server to the next client, or keep it."""
        raise AssertionError(server)
