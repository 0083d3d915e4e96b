"""Registers connections with the lean reactor, without Twisted's detours.

Each client connects and disconnects once, and Twisted's reactor registers that through
several nested calls, some of them in a logging context.  This module updates the same
tables in one step, for the simplest cases only: descriptors that are read and not
written to, and connections that end in an orderly way.  It is a file of its own because
mypyc compiles it; a subclass of EPollReactor it could not.

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
    """Direct access to the tables of an EPollReactor."""

    def __init__(
        self,
        poller: epoll,
        reads: set[int],
        selectables: dict[int, Any],
        serve: Callable[[int, int], bool],
        drop: Callable[[int, object], None],
    ) -> None:
        """Take the tables, and the functions for all other events and ends."""
        self._poller = poller
        self._reads = reads
        self._selectables = selectables
        self._serve = serve
        self._drop = drop

    def add(self, descriptor: int, selectable: object) -> None:
        """Watch a descriptor, new to the reactor, for data to read."""
        self._poller.register(descriptor, READABLE)
        self._reads.add(descriptor)
        self._selectables[descriptor] = selectable

    def remove(self, descriptor: int) -> None:
        """Stop watching a descriptor for data; unknown ones are ignored."""
        if descriptor in self._reads:
            self._reads.remove(descriptor)
            del self._selectables[descriptor]
            self._poller.unregister(descriptor)

    def serve(self, descriptor: int, event: int) -> bool:
        """Serve an event; tell whether the reactor has other work to do afterwards.

        An Acceptor handles its own faults, so it needs no logging context, and uses
        callLater for everything else, so it needs no further turn of the reactor.
        """
        if event == READABLE:
            selectable = self._selectables.get(descriptor)
            if isinstance(selectable, Acceptor):
                selectable.doRead()
                return False
        return self._serve(descriptor, event)

    def ended(self, descriptor: int, why: object) -> None:
        """Drop a connection whose stream read its end, or is to be closed."""
        selectable = self._selectables.get(descriptor)
        if why is _DONE and isinstance(selectable, TcpTransport):
            selectable.ended()
        else:
            self._drop(descriptor, why)
