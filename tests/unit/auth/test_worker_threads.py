"""Threads of logins: a line with an end, results, failures that tell no secret."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet import threads
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgswitch.auth import worker_threads
from pgswitch.auth.ldap import DirectoryError
from pgswitch.auth.worker_threads import LoginThreads, WorkerThreads
from pgswitch.errors import TooManyLogins
from pgswitch.net.reactor import DaemonThreadPool
from pgswitch.wire.client_auth import Offload
from tests.unit.captured import CapturedLog


class Lane:
    """Stands for a thread: the test decides when queued work runs."""

    def __init__(self) -> None:
        """Begin idle."""
        self.begun: list[tuple[Callable[[], object], Deferred[object]]] = []

    def defer(
        self, _reactor: object, _pool: object, call: Callable[[], object]
    ) -> Deferred[object]:
        """Take a call."""
        done: Deferred[object] = Deferred()
        self.begun.append((call, done))
        return done

    def run(self) -> None:
        """Run the oldest call."""
        call, done = self.begun.pop(0)
        try:
            result = call()
        except Exception:  # noqa: BLE001 - as threads do
            done.errback(Failure())
        else:
            done.callback(result)


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Lane:
    """Put a lane in place of threads."""
    lane = Lane()
    monkeypatch.setattr(worker_threads, "deferToThreadPool", lane.defer)
    monkeypatch.setattr(DaemonThreadPool, "start", lambda _: None)
    return lane


def made(log: CapturedLog) -> WorkerThreads:
    """Return workers with room for two."""
    return WorkerThreads(None, log.log, name="pam", threads=1, max_queued=2)


def test_results(lane: Lane) -> None:
    """Come when the thread has them."""
    result = made(CapturedLog())(lambda: 7)
    got: list[object] = []
    result.addCallback(got.append)
    assert got == []
    lane.run()
    assert got == [7]


def test_the_line_has_an_end(lane: Lane) -> None:
    """A login fails at once then; the log has one line for each crowd."""
    log = CapturedLog()
    work = made(log)
    got: list[object] = []
    for crowd in range(1, 3):
        for _ in range(2):
            work(lambda: True).addCallback(got.append)
        for _ in range(2):
            full = work(lambda: True)
            assert isinstance(full.result, Failure)
            assert full.result.check(TooManyLogins)
            full.addErrback(lambda _: None)
        assert log.lines == ["WARNING pam queue is full"] * crowd
        lane.run()
        work(lambda: True).addCallback(got.append)
        lane.run()
        lane.run()
    assert got == [True] * 6


def test_given_up(lane: Lane) -> None:
    """A call without a waiting client is not made."""
    done: list[bool] = []
    result = made(CapturedLog())(lambda: done.append(True))
    result.addErrback(lambda _: None)
    result.cancel()
    lane.run()
    assert done == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("hush"), "ERROR pam: ValueError"),
        (DirectoryError("no server"), "ERROR pam: no server"),
    ],
)
def test_failures(lane: Lane, error: Exception, line: str) -> None:
    """Errors count as a refusal; only pgswitch's own texts are logged."""
    log = CapturedLog()

    def fail() -> None:
        raise error

    got: list[object] = []
    made(log)(fail).addCallback(got.append)
    lane.run()
    assert got == [None]
    assert log.lines == [line]


def test_taking_turns(lane: Lane) -> None:
    """A user with many logins delays no other user; some run one at a time."""
    for each, first in ((None, ["a", "a"]), (1, ["a", "b"])):
        work = WorkerThreads(
            None,
            CapturedLog().log,
            name="x",
            threads=2,
            max_queued=100,
            each=each,
        )
        done: list[str] = []
        for owner in "aaaaaabbbc":
            work(partial(done.append, owner), owner)
        assert len(lane.begun) == 2
        lane.run()
        lane.run()
        assert done == first
        while lane.begun:
            lane.run()
        assert sorted(done) == list("aaaaaabbbc")
        assert done.index("c") < 5
        assert done.index("b") < 4
        assert not work._queues
        assert not work._busy
        assert (work._free, work._under_way) == (2, 0)


def test_given_up_in_the_line(lane: Lane) -> None:
    """A cancelled call leaves the queue, and makes room."""
    log = CapturedLog()
    work = made(log)
    done: list[str] = []
    work(partial(done.append, "first"), "x")
    for _ in range(1000):
        result = work(partial(done.append, "never"), "x")
        result.addErrback(lambda _: None)
        result.cancel()
    assert work._queues == {}
    work(partial(done.append, "last"), "y")
    assert log.lines == []
    lane.run()
    lane.run()
    assert done == ["first", "last"]
    assert lane.begun == []


def test_rounds_for_the_dead(lane: Lane) -> None:
    """None are begun: of each server that hangs up, at most one call is under way.

    What its other connections asked for does not keep a server that is there waiting.
    """
    ours = LoginThreads(None, CapturedLog().log).ours
    done: list[tuple[str, bool]] = []
    ended: set[str] = set()

    def derive_keys(server: str) -> None:
        done.append((server, server in ended))

    asked = [
        ours(partial(derive_keys, server), server)
        for _ in range(200)
        for server in ("greedy", "other", "third")
    ]
    assert len(lane.begun) == 2
    for result in asked:
        result.addErrback(lambda _: None)
        result.cancel()
    ended |= {"greedy", "other", "third"}
    ours(partial(derive_keys, "good"), "good")
    while lane.begun:
        lane.run()
    assert done == [("good", False)]
    assert not ours._queues
    assert not ours._busy


def test_a_line_without_an_end(lane: Lane) -> None:
    """Our own work is never refused."""
    ours = LoginThreads(None, CapturedLog().log).ours
    got: list[object] = []
    for number in range(2000):
        ours(partial(int, number)).addCallback(got.append)
    for _ in range(2000):
        lane.run()
    assert got == list(range(2000))


def test_real_threads() -> None:
    """Are chosen by the kind of the call, and end."""
    calls: list[Any] = []

    class Reactor:
        def callFromThread(self, call: Callable[..., Any], *args: object) -> None:
            calls.append((call, args))

    all_of_them = LoginThreads(Reactor(), CapturedLog().log)
    assert all_of_them.of(Offload(int)) is all_of_them.deriving_keys
    assert all_of_them.of(Offload(int, is_external=True)) is all_of_them.waiting
    assert threads.deferToThreadPool is not None
    assert all_of_them.ours not in (all_of_them.waiting, all_of_them.deriving_keys)
    all_of_them.stop()
