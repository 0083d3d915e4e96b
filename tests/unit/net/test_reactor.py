"""Which reactor the command installs, and the thread pools next to it."""

from __future__ import annotations

import select
import sys
from threading import Event

import pytest

from pgswitch.net import reactor
from pgswitch.net.reactor import DaemonThreadPool


@pytest.mark.parametrize(
    ("wish", "has_epoll", "expected"),
    [
        ("", True, "lean"),
        ("", False, "default"),
        ("asyncio", True, "asyncio"),
        ("poll", False, "poll"),
    ],
)
def test_best(
    monkeypatch: pytest.MonkeyPatch, wish: str, expected: str, *, has_epoll: bool
) -> None:
    """What the environment asks for, else the fastest there is."""
    monkeypatch.setenv("PGSWITCH_REACTOR", wish)
    if not has_epoll:
        monkeypatch.delattr(select, "epoll", raising=False)
    assert reactor.best() == expected


def test_one_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has one reactor; an unknown name is not even looked for then."""
    monkeypatch.setenv("PGSWITCH_REACTOR", "nonsense")
    present = object()
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", present)
    reactor.install_best()
    assert sys.modules["twisted.internet.reactor"] is present


def test_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Twisted's own name for it."""
    installed: list[str] = []
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor", raising=False)
    monkeypatch.setenv("PGSWITCH_REACTOR", "poll")
    monkeypatch.setattr(reactor, "installReactor", installed.append)
    reactor.install_best()
    assert installed == ["poll"]


def test_a_thread_that_hangs() -> None:
    """The pool abandons it; it is a daemon thread."""
    pool = DaemonThreadPool(0, 1)
    pool.end()
    pool.start()
    begun, go_on = Event(), Event()

    def hang() -> None:
        begun.set()
        go_on.wait()

    pool.callInThread(hang)
    assert begun.wait(10)
    assert all(thread.daemon for thread in pool.threads)
    pool.end()
    go_on.set()
    pool.stop()
