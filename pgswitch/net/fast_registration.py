"""What the lean reactor does for connections without Twisted's detours.

A client comes and goes with a connection, and each time Twisted's reactor is told of
it by calls of calls, some of them through a logging context.  Here its tables are kept
the same way in one step.  Only what is simplest is done so: descriptors that are read
and not written to, connections that have come to their orderly end.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from select import epoll
from typing import Any, Final

from twisted.internet import main

from pgswitch.net.acceptor import Acceptor
from pgswitch.net.tcp_transport import TcpTransport
from pgswitch.relay.event_loop import READABLE

_DONE: Final = main.CONNECTION_DONE


class FastRegistration:
    """The tables of an EPollReactor, for its own use."""

    def __init__(
        self,
        poller: epoll,
        reads: set[int],
        selectables: dict[int, Any],
        serve: Callable[[int, int], bool],
        drop: Callable[[int, object], None],
    ) -> None:
        """Take the tables, and what deals with the events and ends of all others."""
        self._poller = poller
        self._reads = reads
        self._selectables = selectables
        self._serve = serve
        self._drop = drop

    def add(self, descriptor: int, selectable: object) -> None:
        """Watch a descriptor that is new to the reactor for something to be read."""
        self._poller.register(descriptor, READABLE)
        self._reads.add(descriptor)
        self._selectables[descriptor] = selectable

    def remove(self, descriptor: int) -> None:
        """Watch one no more that is not written to; an unknown one is ignored."""
        if descriptor in self._reads:
            self._reads.remove(descriptor)
            del self._selectables[descriptor]
            self._poller.unregister(descriptor)

    def serve(self, descriptor: int, event: int) -> bool:
        """Serve an event; tell whether the reactor is to look after its business then.

        An Acceptor keeps its faults to itself, so it needs no logging context, and no
        turn of the reactor: what it wants of that, it says by callLater.
        """
        if event == READABLE:
            selectable = self._selectables.get(descriptor)
            if isinstance(selectable, Acceptor):
                selectable.doRead()
                return False
        return self._serve(descriptor, event)

    def ended(self, descriptor: int, why: object) -> None:
        """Drop a connection whose link read its end, or is to be closed."""
        selectable = self._selectables.get(descriptor)
        if why is _DONE and isinstance(selectable, TcpTransport):
            selectable.ended()
        else:
            self._drop(descriptor, why)
