"""The innermost loop: wait for sockets, let their streams read, wait again.

Theory of operation (hot path).  A stock reactor's turn looks after timers and
threads, asks the poller, and calls each ready object through a logging context: 10
to 30 microseconds of Python around a read that takes 5.  Most turns of a pooler have
nothing but streams to read.  So :meth:`EventLoop.run` stays here as long as that
is all there is, and returns to the reactor for anything else: another event,
another object, a timer that is due, and in any case after a short while.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from select import epoll
from time import monotonic, sleep  # noqa: TID251 - of no time: to release a lock
from typing import Final

from pgswitch.relay.stream import Clock, ReadBatching, Stream
from pgswitch.relay.syscalls import wait

READABLE: Final = 1
"""EPOLLIN, and nothing else (epoll_ctl(2))."""
MAX_EVENTS: Final = 256
SLICE_S: Final = 0.1
"""How long the reactor's other business may wait while streams keep us busy.

Only business that makes no event waits so long: timers end the wait, and so do signals
and other threads, whose byte in a pipe is another event.  Returning to the reactor
costs as much as a query.
"""
LOCKED_S: Final = 0.01
"""How long other threads may wait for the interpreter lock meanwhile.

Neither compiled code nor a wait that finds something releases it.
"""

LOW_WATER_TIMEOUT_S: Final = 0.002
"""How long a stream may wait for more than a byte (ReadBatching): the end of a long
answer is late by that at most."""

_wait: Final = wait


class EventLoop:
    """Iterations of a reactor that serve streams alone."""

    def __init__(
        self,
        other: Callable[[int, int], bool],
        ended: Callable[[int, object], None],
        failed: Callable[[int], None],
    ) -> None:
        """Begin without streams.

        ``other`` processes any other event, and tells whether the reactor is to run
        then; ``ended`` takes a stream that has ended, with the reason; ``failed`` one
        whose reading raised an exception, while that is handled.
        """
        self.clock = Clock(monotonic, monotonic())
        self.batching = ReadBatching()
        self.streams: dict[int, Stream] = {}
        """By file descriptor."""
        self.interrupted = False
        """The reactor is wanted, for instance because a timer was set."""
        self._other = other
        self._ended = ended
        self._failed = failed

    def run(self, poller: epoll, timeout: float) -> None:
        """Wait up to ``timeout`` seconds (negative: for ever), serve what is ready.

        Raises what :func:`~pgswitch.relay.syscalls.wait` raises.
        """
        self.interrupted = False
        clock = self.clock
        low_water = self.batching.streams
        begin = monotonic()
        events = _wait(poller, self._within(timeout), MAX_EVENTS)
        end_of_slice = locked_until = 0.0
        while True:
            now = monotonic()
            clock.now = now
            self._serve(events)
            if low_water:
                self._flush_low_water(now)
            if self.interrupted or not events:
                return
            if end_of_slice == 0.0:
                end_of_slice = now + SLICE_S
                locked_until = now + LOCKED_S
            elif now >= end_of_slice:
                return
            elif now >= locked_until:
                sleep(0)
                locked_until = now + LOCKED_S
            left = timeout
            if timeout >= 0.0:
                left = timeout - (now - begin)
                if left <= 0.0:
                    return
            events = _wait(poller, self._within(left), MAX_EVENTS)

    def _within(self, timeout: float) -> float:
        """Return how long to wait at most (negative: for ever)."""
        if self.batching.streams and (timeout < 0.0 or timeout > LOW_WATER_TIMEOUT_S):
            return LOW_WATER_TIMEOUT_S
        return timeout

    def _flush_low_water(self, now: float) -> None:
        """Read the streams that have waited long enough for more.

        Paused streams leave the set, so that they don't force short poll timeouts.
        """
        low_water = self.batching.streams
        for descriptor, stream in list(low_water.items()):
            if low_water.get(descriptor) is not stream:
                continue  # Another stream's callback has just closed it.
            if now - stream.read_at > LOW_WATER_TIMEOUT_S:
                if stream.paused:
                    stream.end_low_water()
                    continue
                self._read(descriptor, stream)
                if low_water.get(descriptor) is stream:
                    # That was not the end of the answer.
                    stream.note_fruitless_wait()

    def _serve(self, events: list[tuple[int, int]]) -> None:
        streams = self.streams
        for descriptor, flags in events:
            stream = streams.get(descriptor)
            if stream is None or flags != READABLE:
                if self._other(descriptor, flags):
                    self.interrupted = True
                continue
            if stream.paused:
                # Another stream's callback has just paused it, perhaps to hand it over.
                continue
            self._read(descriptor, stream)

    def _read(self, descriptor: int, stream: Stream) -> None:
        try:
            why = stream.do_read()
        except Exception:  # noqa: BLE001 - one stream's fault must not end the turn
            self._register_again(stream)
            self._failed(descriptor)
            return
        if why is not None:
            self._register_again(stream)
            self._ended(descriptor, why)

    def _register_again(self, stream: Stream) -> None:
        """Register a stream with the reactor: the same read may have paused it."""
        if stream.paused:
            stream.io.resume()
