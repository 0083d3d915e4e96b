"""Twisted's epoll reactor with a short way from the kernel to our links.

Install it with ``twistd --reactor lean``; the command ``pgswitch`` uses it by itself
where there is epoll.  Everything but links is served by Twisted's own code, and every
stock reactor serves our links too, only slower.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from select import EPOLLIN
from typing import Any

from twisted.internet import main
from twisted.internet.base import DelayedCall
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger
from twisted.python import log

from pgswitch.net.accept import Acceptor
from pgswitch.net.accepted import TcpTransport
from pgswitch.relay.turn import Turns


class LeanReactor(EPollReactor):
    """EPollReactor whose turns are spent in relay/turn.py."""

    _log = Logger()

    def __init__(self) -> None:
        """Begin without links."""
        self.turns = Turns(self._serve_other, self._link_ended, self._link_failed)
        super().__init__()  # type: ignore[no-untyped-call]

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002 - Twisted's own name
        *args: object,
        **kw: object,
    ) -> DelayedCall:
        """Schedule a call, and have the reactor look at its timers again."""
        self.turns.interrupted = True
        return super().callLater(delay, callable, *args, **kw)

    def stop(self) -> None:
        """Stop the reactor."""
        self.turns.interrupted = True
        super().stop()

    def doPoll(self, timeout: float | None) -> None:
        """Poll, until something but reading links is to be done."""
        try:
            self.turns.run(self._poller, -1.0 if timeout is None else timeout)
        except OSError as error:
            if error.errno != errno.EINTR:
                raise

    doIteration = doPoll

    def _serve_other(self, descriptor: int, event: int) -> bool:
        """Serve an event as Twisted does, but for new connections.

        An Acceptor keeps its faults to itself, so it needs no logging context, and no
        turn of the reactor: what it wants of that, it says by callLater.
        """
        selectable = self._selectables.get(descriptor)
        if event == EPOLLIN and isinstance(selectable, Acceptor):
            selectable.doRead()
            return False
        if selectable is not None:
            log.callWithLogger(
                selectable, self._doReadOrWrite, selectable, descriptor, event
            )
        return True

    def _link_ended(self, descriptor: int, why: object) -> None:
        """Drop a connection whose link read its end, or is to be closed."""
        selectable = self._selectables.get(descriptor)
        if why is main.CONNECTION_DONE and isinstance(selectable, TcpTransport):
            selectable.ended()
        elif selectable is not None:
            is_read = True
            self._disconnectSelectable(selectable, why, is_read)  # type: ignore[no-untyped-call]

    def _link_failed(self, descriptor: int) -> None:
        """Log a fault of ours and drop its connection, as Twisted does."""
        self._log.failure("while reading from a link")
        self._link_ended(descriptor, main.CONNECTION_LOST)


def install() -> None:
    """Make this the reactor of the process; before any other is."""
    main.installReactor(LeanReactor())
