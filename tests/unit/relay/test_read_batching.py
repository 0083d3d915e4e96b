"""Long answers are waited for in large pieces, and nothing else is."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import closing
from time import monotonic

import pytest

from pgswitch.relay.event_loop import EventLoop
from pgswitch.relay.stream import (
    LONG_ANSWER_READS,
    LONG_ANSWER_S,
    LOW_WATER_MARK,
    MAX_FRUITLESS_WAITS,
    SMALL_READ,
    WAITS_BEFORE_HICCUP,
    Stream,
)
from tests.fakes.messages import READY, message, query
from tests.unit.relay.pair import Stage

MUCH, ONE = f"wake for {LOW_WATER_MARK}", "wake for 1"
ROW = message(b"D", bytes(2_000_000))
"""A row that is longer than all that is sent of it here."""


class Pipe:
    """A stage whose streams read from real sockets, in an event loop."""

    def __init__(self) -> None:
        """Join a server to a client that has asked something."""
        self.pace_s = 0.001
        """How long a piece takes to come."""
        self.stage = Stage()
        self.event_loop = EventLoop(lambda *_: True, lambda *_: None, lambda _: None)
        self.event_loop.clock.now = 0.0  # so that all that is long past in a real turn
        self.server, self.client = self.stage.server(), self.stage.client()
        self.far = self.connect(self.server)
        self.client.take(query())

    def connect(self, stream: Stream) -> socket.socket:
        """Return the peer of a stream that has a descriptor from now on."""
        near, far = socket.socketpair()
        near.setblocking(False)  # noqa: FBT003 - its only argument
        stream.descriptor = near.detach()
        stream.batching = self.event_loop.batching
        stream.clock = self.event_loop.clock
        return far

    def come(
        self, stream: Stream, far: socket.socket, size: int, *, times: int
    ) -> None:
        """Have so many pieces of a row come, one at a time."""
        for _ in range(times):
            far.send(ROW[:size] if stream.skip == 0 else bytes(size))
            self.event_loop.clock.now += self.pace_s
            assert stream.do_read() is None

    @property
    def calls(self) -> list[str]:
        """The calls of the server's socket."""
        return self.stage.sockets[self.server].done

    def close(self) -> None:
        """Close both ends."""
        self.far.close()
        socket.socket(fileno=self.server.descriptor).close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return a pipe, closed afterwards."""
    with closing(Pipe()) as pipe:
        yield pipe


def begun(pipe: Pipe) -> Pipe:
    """Return the pipe in the middle of a long answer."""
    # Every other read is asked for more than comes, and does not count as full.
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=2 * LONG_ANSWER_READS - 1)
    assert pipe.calls == [MUCH]
    assert pipe.event_loop.batching.streams == {pipe.server.descriptor: pipe.server}
    return pipe


def test_a_long_answer(pipe: Pipe) -> None:
    """Is waited for in large pieces."""
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=2 * LONG_ANSWER_READS - 2)
    assert pipe.calls == []
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=1)
    assert pipe.calls == [MUCH]


def test_many_short_pieces(pipe: Pipe) -> None:
    """Are no long answer, however many there are."""
    for _ in range(3):
        pipe.come(pipe.server, pipe.far, SMALL_READ, times=LONG_ANSWER_READS)
        pipe.come(pipe.server, pipe.far, 100, times=2)
    assert pipe.calls == []


@pytest.mark.parametrize("status", [b"I", b"T"])
def test_its_end(pipe: Pipe, status: bytes) -> None:
    """Whatever follows is woken for at once."""
    begun(pipe)
    rest = bytes(pipe.server.skip) + message(b"C", b"SELECT 1\0")
    pipe.server.take(rest + message(b"Z", status))
    assert pipe.calls == [MUCH, ONE]
    assert pipe.event_loop.batching.streams == {}
    assert not pipe.server.low_water


def test_a_quick_one(pipe: Pipe) -> None:
    """The end of one that takes little time must not be late by a wait's."""
    pipe.pace_s = LONG_ANSWER_S / 1000
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=200)
    assert pipe.calls == []
    pipe.pace_s = 0.001
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=20)
    assert pipe.calls == [MUCH]


def test_a_sender_in_bursts(pipe: Pipe) -> None:
    """However long it goes on, there are a few waits that end by time and no more."""
    with select.epoll() as poller:
        for _ in range(MAX_FRUITLESS_WAITS + 5):
            pipe.come(pipe.server, pipe.far, SMALL_READ, times=3 * LONG_ANSWER_READS)
            pipe.event_loop.run(poller, 0.01)
            pipe.event_loop.clock.now = 0.0
            pipe.stage.sent(pipe.client)
    assert pipe.calls == [MUCH, ONE] * MAX_FRUITLESS_WAITS
    assert pipe.event_loop.batching.streams == {}


def test_a_hiccup(pipe: Pipe) -> None:
    """One fruitless wait does not count after many successful ones."""
    with select.epoll() as poller:
        for _ in range(MAX_FRUITLESS_WAITS + 5):
            pipe.come(pipe.server, pipe.far, SMALL_READ, times=3 * LONG_ANSWER_READS)
            pipe.server.successful_waits = WAITS_BEFORE_HICCUP
            pipe.event_loop.run(poller, 0.01)
            pipe.event_loop.clock.now = 0.0
            pipe.stage.sent(pipe.client)
            assert pipe.server.successful_waits == 0
    assert pipe.calls == [MUCH, ONE] * (MAX_FRUITLESS_WAITS + 5)
    assert pipe.server.fruitless_waits == 0


def test_the_last_piece(pipe: Pipe) -> None:
    """It is not enough to wake us, and no reason to wait no more from then on."""
    with select.epoll() as poller:
        for _ in range(MAX_FRUITLESS_WAITS + 5):
            pipe.client.take(query())
            pipe.come(pipe.server, pipe.far, SMALL_READ, times=3 * LONG_ANSWER_READS)
            rest = message(b"C", b"SELECT 1\0") + message(b"Z", b"I")
            pipe.server.take(bytes(pipe.server.skip))
            pipe.stage.sent(pipe.client)
            assert pipe.server.low_water
            pipe.far.send(rest)
            pipe.event_loop.run(poller, 0.01)
            pipe.event_loop.clock.now = 0.0
            pipe.stage.idle_pool.idle.clear()
            pipe.stage.idle_pool.idle.append(pipe.server)
    assert pipe.calls == [MUCH, ONE] * (MAX_FRUITLESS_WAITS + 5)
    assert pipe.server.fruitless_waits == 0


def test_a_small_buffer(pipe: Pipe) -> None:
    """Nothing is waited for, and the buffer is asked once."""
    socket_ = pipe.stage.sockets[pipe.server]

    def wake_for(least: int) -> bool:
        socket_.done.append(f"asked for {least}")
        return False

    socket_.wake_for = wake_for  # type: ignore[method-assign]
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=20 * LONG_ANSWER_READS)
    assert pipe.calls == [f"asked for {LOW_WATER_MARK}"]
    assert pipe.event_loop.batching.streams == {}
    assert not pipe.server.low_water


def test_switched_off(pipe: Pipe) -> None:
    """Every byte wakes then."""
    pipe.event_loop.batching.low_water_mark = 0
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=3 * LONG_ANSWER_READS)
    assert pipe.calls == []


def test_only_servers_send_such(pipe: Pipe) -> None:
    """A client is woken for every byte."""
    client = pipe.stage.client()
    with closing(pipe.connect(client)) as far:
        client.starting = True
        client.lost = True  # what it says is not looked at
        pipe.come(client, far, SMALL_READ, times=3 * LONG_ANSWER_READS)
        assert pipe.stage.sockets[client].done == []
        socket.socket(fileno=client.descriptor).close()


def test_without_an_eye_on_it(pipe: Pipe) -> None:
    """By a stock reactor, and with TLS, every byte wakes."""
    pipe.server.batching = None
    pipe.come(pipe.server, pipe.far, SMALL_READ, times=3 * LONG_ANSWER_READS)
    assert pipe.calls == []


def test_an_answer_that_slows_down(pipe: Pipe) -> None:
    """What has come is read after two milliseconds, though no event said so."""
    begun(pipe)
    pipe.stage.sent(pipe.client)
    pipe.far.send(bytes(100))
    began = monotonic()
    with select.epoll() as poller:  # which has nothing to tell
        while not pipe.stage.sent(pipe.client):
            pipe.event_loop.run(poller, 5.0)
    assert monotonic() - began < 2.0
    assert pipe.calls == [MUCH, ONE]
    assert pipe.event_loop.batching.streams == {}


def test_one_that_stands_still(pipe: Pipe) -> None:
    """For a slow client it is not read, and does not wake us."""
    begun(pipe)
    pipe.server.pause(1)
    pipe.far.send(bytes(100))
    pipe.stage.sent(pipe.client)
    with select.epoll() as poller:
        for _ in range(4):
            pipe.event_loop.run(poller, 0.01)
    assert pipe.calls == [MUCH, "pause", ONE]
    assert pipe.stage.sent(pipe.client) == b""
    assert pipe.event_loop._within(5.0) == 5.0


def test_ready_in_large_pieces(pipe: Pipe) -> None:
    """The end that comes with the last piece ends the waiting too."""
    begun(pipe)
    pipe.server.skip = 0
    pipe.server.take(READY)
    assert pipe.calls[-1] == ONE


def test_one_that_another_ends(pipe: Pipe) -> None:
    """It is not read: its number may be another connection's by now."""
    begun(pipe)
    other = pipe.stage.server()
    far, number = pipe.connect(other), other.descriptor
    pipe.event_loop.batching.streams[number] = other
    other.low_water = True
    ended: list[int] = []

    def broken(_size: int) -> bytes:
        raise ConnectionError

    def end(descriptor: int, _why: object) -> None:
        ended.append(descriptor)
        other.end_low_water()
        other.descriptor, other.recv = -1, broken

    event_loop = EventLoop(lambda *_: True, end, lambda _: None)
    event_loop.batching = pipe.event_loop.batching
    pipe.far.close()
    with closing(far), socket.socket(fileno=number), select.epoll() as poller:
        event_loop.run(poller, 0.01)
    assert ended == [pipe.server.descriptor]
