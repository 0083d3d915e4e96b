"""Which reactor the command ``pgswitch`` runs on, and thread pools beside it.

``PGSWITCH_REACTOR`` names another of Twisted's reactors (``epoll``, ``poll``,
``select``, ``asyncio``); under ``twistd`` its own option ``--reactor`` does.
"""

from __future__ import annotations

import os
import select
import sys
from functools import partial
from threading import Thread

from twisted.application.reactors import installReactor
from twisted.python.threadpool import ThreadPool

LEAN = "lean"


def best() -> str:
    """Return the name of the reactor that :func:`install_best` would install."""
    return os.environ.get("PGSWITCH_REACTOR") or (
        LEAN if hasattr(select, "epoll") else "default"
    )


def install_best() -> None:
    """Install the lean reactor if the system has epoll, or the configured one.

    Does nothing when the process has a reactor already.  Raises
    twisted.application.reactors.NoSuchReactor for an unknown name.
    """
    if "twisted.internet.reactor" in sys.modules:
        return
    name = best()
    if name == LEAN:
        # Not through its plugin, which would read and write Twisted's plugin cache.
        from pgswitch.net import lean_reactor  # noqa: PLC0415 - needs epoll

        lean_reactor.install()
    else:
        installReactor(name)


class DaemonThreadPool(ThreadPool):
    """A thread pool that lets the process end while a call in it still hangs."""

    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment]

    def end(self) -> None:
        """Stop the pool; a thread that hangs is abandoned."""
        if self.started and not self.working:
            self.stop()
