"""Which servers of a pool are idle, which clients wait: checkout and release.

Theory of operation (hot path).  Idle servers stand on a stack, the last used on top
(its caches are warm, and the others may grow old and be closed).  A client with the
same tracked parameters takes the top one at the cost of a list's pop; a released
server goes to the client that has waited longest, or back on the stack.

Whatever needs thought is left to the *steward* (pool/pool.py), by one test of a
flag each: a pool that is paused, a server that is stale, a release that wants a
reset, parameters that differ, a client that must wait.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from pgswitch.relay.client import ClientLink
from pgswitch.relay.link import Keeper, Link
from pgswitch.relay.server import SESSION, ServerLink
from pgswitch.stats.counters import Counters


class Steward(Protocol):
    """Does for a rack what needs thought; see pool/pool.py."""

    def wait(self, client: ClientLink) -> None:
        """Queue a client that found no idle server, or tell it why not."""

    def settle(self, client: ClientLink, server: ServerLink) -> bool:
        """Make the server's parameters the client's; False: nothing is to be done.

        If True, the steward links the two later.
        """

    def discard(self, server: ServerLink) -> None:
        """Close an idle server that is not to be used."""

    def released(self, server: ServerLink) -> None:
        """Look after a server that came back unlinked and clean."""


class Rack(Keeper):
    """The idle servers and the waiting clients of one pool."""

    def __init__(self, steward: Steward) -> None:
        """Begin empty; the steward sets the flags."""
        self.steward = steward
        self.counters = Counters()
        self.mode = SESSION
        """Pool mode in force, a PoolMode; read at each link, so RELOAD acts."""
        self.open = True
        """False while clients must wait whatever there is (PAUSE)."""
        self.careful = False
        """Each released server is for the steward to look at (resets, checks)."""
        self.round_robin = False
        """Take the server unused for longest instead of the last used."""
        self.idle: list[ServerLink] = []
        """The last used at the end."""
        self.waiters: list[ClientLink] = []
        """The one that has waited longest first."""

    def checkout(self, client: Link) -> bool:
        """Join the client to an idle server.

        Returns False when it has to wait; the steward has then queued it, or has
        closed it with an error.
        """
        assert isinstance(client, ClientLink)  # noqa: S101 - narrows the type
        idle = self.idle
        if self.open and not self.waiters:
            while idle:
                server = idle.pop(0) if self.round_robin else idle.pop()
                if server.stale or server.skip or server.wanted:
                    self.steward.discard(server)
                    continue
                return self._link(client, server)
        self.steward.wait(client)
        return False

    def _link(self, client: ClientLink, server: ServerLink) -> bool:
        """Join the two; False when parameters must be set first."""
        self.counters.server_assignment_count += 1
        if server.parameters is not client.parameters:
            if server.parameters != client.parameters:
                if self.steward.settle(client, server):
                    return False
        # As join does, which would be one more call for each transaction.
        client.server = server
        server.link(client, client.exchange, client.statements, self.mode)
        return True

    def join(self, client: ClientLink, server: ServerLink) -> None:
        """Join a client to a server whose parameters suit it by now."""
        client.server = server
        server.link(client, client.exchange, client.statements, self.mode)

    def serve(self, client: ClientLink, server: ServerLink) -> None:
        """Give a server to a client that waited, and let it go on."""
        waited = monotonic() - client.waiting_since
        self.counters.waited(int(waited * 1e6))
        client.waiting_since = 0.0
        if self._link(client, server):
            client.proceed()

    def unlink(self, client: ClientLink, server: ServerLink) -> None:
        """Part the two, whatever becomes of the server."""
        client.server = None
        server.unlink()

    def release(self, server: Link) -> None:
        """Take back a clean server from its client."""
        assert isinstance(server, ServerLink)  # noqa: S101 - narrows the type
        client = server.peer
        if client is not None:
            assert isinstance(client, ClientLink)  # noqa: S101 - narrows the type
            client.server = None
            server.unlink()
        if self.careful or server.watched or self.waiters:
            self.put_back(server)
        else:
            self.idle.append(server)

    def put_back(self, server: Link) -> None:
        """Give an unlinked, clean server to the next waiter, or keep it idle."""
        assert isinstance(server, ServerLink)  # noqa: S101 - narrows the type
        if self.careful or server.watched:
            self.steward.released(server)
        elif self.waiters and self.open:
            self.serve(self.waiters.pop(0), server)
        else:
            self.idle.append(server)
