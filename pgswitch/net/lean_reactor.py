"""Twisted's epoll reactor with a short path from the kernel to our streams.

Install it with ``twistd --reactor lean``; the command ``pgswitch`` uses it by default
where the system has epoll, which this module needs.  Twisted's own code serves
everything but streams, and every stock reactor serves our streams too, only slower.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.internet import main
from twisted.internet.base import DelayedCall
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger
from twisted.python import log

from pgswitch.net.tcp_transport import FastRegistration
from pgswitch.relay.event_loop import EventLoop


class LeanReactor(EPollReactor):
    """An EPollReactor that spends its turns in relay/event_loop.py."""

    _log = Logger()

    def __init__(self) -> None:
        """Begin without streams."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.fast_registration = FastRegistration(
            self._poller, self._reads, self._selectables, self._serve, self._drop
        )
        self.event_loop = EventLoop(
            self.fast_registration.serve,
            self.fast_registration.ended,
            self._stream_failed,
        )

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002 - Twisted's own name
        *args: object,
        **kw: object,
    ) -> DelayedCall:
        """Schedule a call, and have the reactor check its timers again."""
        self.event_loop.interrupted = True
        return super().callLater(delay, callable, *args, **kw)

    def _moveCallLaterSooner(self, delayedCall: DelayedCall) -> None:
        """Check the timers again: a call was moved to an earlier time."""
        self.event_loop.interrupted = True
        super()._moveCallLaterSooner(delayedCall)

    def stop(self) -> None:
        """Stop the reactor."""
        self.event_loop.interrupted = True
        super().stop()

    def doPoll(self, timeout: float | None) -> None:
        """Poll until there is other work than reading streams."""
        try:
            self.event_loop.run(self._poller, -1.0 if timeout is None else timeout)
        except OSError as error:
            if error.errno != errno.EINTR:
                raise

    doIteration = doPoll

    def _serve(self, descriptor: int, event: int) -> bool:
        """Serve an event as Twisted does, and let the reactor do its other work."""
        selectable = self._selectables.get(descriptor)
        if selectable is not None:
            log.callWithLogger(
                selectable, self._doReadOrWrite, selectable, descriptor, event
            )
        return True

    def _drop(self, descriptor: int, why: object) -> None:
        """Drop a connection as Twisted does."""
        selectable = self._selectables.get(descriptor)
        if selectable is not None:
            is_read = True
            self._disconnectSelectable(selectable, why, is_read)  # type: ignore[no-untyped-call]

    def _stream_failed(self, descriptor: int) -> None:
        """Log a fault of ours and drop the connection, as Twisted does."""
        self._log.failure("while reading from a stream")
        self._drop(descriptor, main.CONNECTION_LOST)


def install() -> None:
    """Make this the reactor of the process; it must not have one yet."""
    main.installReactor(LeanReactor())
