"""Threads that hang do not keep the process."""

from __future__ import annotations

from threading import Event

from pgswitch.net.threads import DaemonThreads


def test_a_thread_that_hangs() -> None:
    """Is left behind; it is a daemon."""
    pool = DaemonThreads(0, 1)
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
