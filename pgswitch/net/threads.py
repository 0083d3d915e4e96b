"""Threads for calls that block."""

from __future__ import annotations

from functools import partial
from threading import Thread

from twisted.python.threadpool import ThreadPool


class DaemonThreads(ThreadPool):
    """Threads that do not keep the process from ending when what they call hangs."""

    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment]

    def end(self) -> None:
        """End the threads; one that hangs is left behind."""
        if self.started and not self.working:
            self.stop()
