"""The innermost loop, with real sockets under a poller of its own."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from pgswitch.compiled import is_compiled
from pgswitch.relay import event_loop
from pgswitch.relay.event_loop import EventLoop

pytestmark = pytest.mark.skipif(
    is_compiled(), reason="compiled classes take no stand-ins for streams"
)


class FakeStream:
    """Stands for a stream: reads its socket, then does as prepared."""

    def __init__(self, sock: socket.socket, then: Callable[[], object]) -> None:
        """Remember what to do."""
        self.sock = sock
        self.then = then
        self.reads = 0
        self.paused = 0

    def do_read(self) -> object:
        """Read and act."""
        self.reads += 1
        self.sock.recv(100)
        return self.then()


class Stage:
    """Turns with everything they report recorded."""

    def __init__(self) -> None:
        """Begin with no sockets."""
        self.poller = select.epoll()
        self.calls: list[tuple[str, int, object]] = []
        self.wants_reactor = True
        self.event_loop = EventLoop(self._other, self._ended, self._failed)
        self._open: list[socket.socket] = []

    def _other(self, descriptor: int, event: int) -> bool:
        self.calls.append(("other", descriptor, event))
        return self.wants_reactor

    def _ended(self, descriptor: int, why: object) -> None:
        self.calls.append(("ended", descriptor, why))

    def _failed(self, descriptor: int) -> None:
        self.calls.append(("failed", descriptor, None))

    def socket(self) -> tuple[socket.socket, socket.socket]:
        """Return the two ends of a connection; the first is polled."""
        near, far = socket.socketpair()
        self._open += [near, far]
        self.poller.register(near, select.EPOLLIN)
        return near, far

    def have_always_something_to_read(self) -> None:
        """Have a stream whose other end says more whenever it is read."""
        near, far = self.socket()

        def send_again() -> None:
            far.send(b"x")

        self.event_loop.streams[near.fileno()] = FakeStream(near, send_again)  # type: ignore[assignment]
        far.send(b"x")

    def close(self) -> None:
        """Close everything."""
        self.poller.close()
        for sock in self._open:
            sock.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Yield a stage that is cleared away afterwards."""
    stage = Stage()
    yield stage
    stage.close()


def test_links_are_read_until_nothing_comes(stage: Stage) -> None:
    """The loop goes on while streams can be read, and ends with the time-out."""
    near, far = stage.socket()
    left = [3]

    def send_again() -> None:
        left[0] -= 1
        if left[0]:
            far.send(b"x")

    stream = FakeStream(near, send_again)
    stage.event_loop.streams[near.fileno()] = stream  # type: ignore[assignment]
    far.send(b"x")
    before = stage.event_loop.clock.now
    stage.event_loop.run(stage.poller, 0.005)
    assert stream.reads == 3
    assert stage.calls == []
    assert stage.event_loop.clock.now > before


def test_other_objects_end_the_loop(stage: Stage) -> None:
    """An event of something else than a stream is passed on, and the loop ends."""
    near, far = stage.socket()
    far.send(b"x")
    stage.event_loop.run(stage.poller, 5.0)
    assert stage.calls == [("other", near.fileno(), select.EPOLLIN)]


def test_others_that_want_no_reactor(stage: Stage) -> None:
    """The loop goes on until there is nothing more to do."""
    stage.wants_reactor = False
    _near, far = stage.socket()
    far.send(b"x")
    stage.event_loop.run(stage.poller, 0.05)
    assert len(stage.calls) > 1


def test_other_events_of_a_stream(stage: Stage) -> None:
    """A hang-up is not read but handed on."""
    near, far = stage.socket()
    stream = FakeStream(near, lambda: None)
    stage.event_loop.streams[near.fileno()] = stream  # type: ignore[assignment]
    far.close()
    stage.event_loop.run(stage.poller, 5.0)
    assert stream.reads == 0
    assert stage.calls == [("other", near.fileno(), select.EPOLLIN | select.EPOLLHUP)]


def test_the_end_of_a_stream(stage: Stage) -> None:
    """The reason that a stream returns is reported."""
    near, far = stage.socket()
    stream = FakeStream(near, lambda: "done")
    stage.event_loop.streams[near.fileno()] = stream  # type: ignore[assignment]
    far.send(b"x")
    stage.event_loop.run(stage.poller, 0.0)
    assert stage.calls == [("ended", near.fileno(), "done")]


def test_a_failing_stream_disturbs_no_other(stage: Stage) -> None:
    """An exception of one stream is reported, and the others are read."""
    near, far = stage.socket()
    second_near, second_far = stage.socket()

    def fail() -> None:
        raise ValueError

    other = FakeStream(second_near, lambda: None)
    stage.event_loop.streams[near.fileno()] = FakeStream(near, fail)  # type: ignore[assignment]
    stage.event_loop.streams[second_near.fileno()] = other  # type: ignore[assignment]
    far.send(b"x")
    second_far.send(b"x")
    stage.event_loop.run(stage.poller, 0.0)
    assert stage.calls == [("failed", near.fileno(), None)]
    assert other.reads == 1


def test_a_stream_that_another_has_stopped(stage: Stage) -> None:
    """It is not read any more, though the poller had reported it."""
    streams: list[FakeStream] = []

    def stop_the_others() -> None:
        for stream in streams:
            stream.paused = 1

    for _ in range(2):
        near, far = stage.socket()
        streams.append(FakeStream(near, stop_the_others))
        stage.event_loop.streams[near.fileno()] = streams[-1]  # type: ignore[assignment]
        far.send(b"x")
    stage.event_loop.run(stage.poller, 0.0)
    assert [stream.reads for stream in streams] in ([0, 1], [1, 0])


def test_an_interruption_ends_the_loop(stage: Stage) -> None:
    """A timer that is set while streams are read returns to the reactor."""
    near, far = stage.socket()

    def interrupt() -> None:
        far.send(b"x")
        stage.event_loop.interrupted = True

    stream = FakeStream(near, interrupt)
    stage.event_loop.streams[near.fileno()] = stream  # type: ignore[assignment]
    far.send(b"x")
    stage.event_loop.run(stage.poller, 5.0)
    assert stream.reads == 1


def test_the_loop_ends_after_its_slice(stage: Stage) -> None:
    """Streams that can always be read do not keep the reactor for long."""
    stage.have_always_something_to_read()
    stage.event_loop.run(stage.poller, -1.0)


def test_other_threads_get_the_lock(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams that can always be read do not keep the interpreter for a whole slice."""
    let_go: list[float] = []
    monkeypatch.setattr(event_loop, "sleep", let_go.append)
    times = count(step=event_loop.LOCKED_S / 3)
    monkeypatch.setattr(event_loop, "monotonic", lambda: next(times))
    stage.have_always_something_to_read()
    stage.event_loop.run(stage.poller, -1.0)
    assert set(let_go) == {0}
    assert 5 < len(let_go) < event_loop.SLICE_S / event_loop.LOCKED_S
