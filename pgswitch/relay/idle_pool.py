"""Which servers of a pool are idle, which clients wait: checkout and release.

Theory of operation (hot path).  Idle servers stand on a stack, the last used on top
(its caches are warm, and the others may grow old and be closed).  A client with the
same tracked parameters takes the top one at the cost of a list's pop; a released
server goes to the client that has waited longest, or back on the stack.

What becomes of a server that nobody has is decided here alone, by :func:`is_fit`:
one that is lost, in the midst of a message or behind with its sending is never given to
a client nor kept for one, whoever brings it back and however late.

Whatever needs thought is left to the *steward* (pool/pool.py), by one test of a
flag each: a pool that is paused, a server that is stale, a release that wants a
reset, parameters that differ, a client that must wait.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.server_stream import SESSION, ServerStream
from pgswitch.relay.stream import ServerSource, Stream
from pgswitch.stats.counters import Counters


class PoolPolicy(Protocol):
    """Does for a rack what needs thought; see pool/pool.py."""

    def wait(self, client: ClientStream) -> None:
        """Queue a client that found no idle server, or tell it why not."""

    def sync_parameters(self, client: ClientStream, server: ServerStream) -> bool:
        """Make the server's parameters the client's; False: nothing is to be done.

        If True, the steward links the two later.
        """

    def discard(self, server: ServerStream) -> None:
        """Close an idle server that is not to be used."""

    def released(self, server: ServerStream) -> None:
        """Look after a server that came back unlinked and clean."""


def is_fit(server: ServerStream) -> bool:
    """Tell whether a server that no client has may be given to one, or kept for one.

    Whether it is stale, or a cancel request is aimed at it, is the steward's to know.
    """
    return (
        not server.lost
        and not server.backlogged
        and server.skip == 0
        and server.wanted == 0
        and server.exchange is None
    )


class IdlePool(ServerSource):
    """The idle servers and the waiting clients of one pool."""

    def __init__(self, policy: PoolPolicy) -> None:
        """Begin empty; the steward sets the flags."""
        self.policy = policy
        self.counters = Counters()
        self.mode = SESSION
        """Pool mode in force, a PoolMode; read at each link, so RELOAD acts."""
        self.open = True
        """False while clients must wait whatever there is (PAUSE)."""
        self.checks_releases = False
        """Each released server is for the steward to look at (resets, checks)."""
        self.round_robin = False
        """Take the server unused for longest instead of the last used."""
        self.idle: list[ServerStream] = []
        """The last used at the end."""
        self.waiters: list[ClientStream] = []
        """The one that has waited longest first."""

    def checkout(self, client: Stream) -> bool:
        """Join the client to an idle server.

        Returns False when it has to wait; the steward has then queued it, or has
        closed it with an error.
        """
        assert isinstance(client, ClientStream)  # noqa: S101 - narrows the type
        idle = self.idle
        if self.open and not self.waiters:
            while idle:
                server = idle.pop(0) if self.round_robin else idle.pop()
                # As is_fit tells, without a call for each transaction.
                if (
                    server.close_needed
                    or server.lost
                    or server.backlogged
                    or server.skip
                    or server.wanted
                ):
                    self.policy.discard(server)
                    continue
                return self._link(client, server)
        self.policy.wait(client)
        # It may have had its turn at once, with nothing held yet to go on with.
        return client.server is not None and not client.suspended

    def _link(self, client: ClientStream, server: ServerStream) -> bool:
        """Join the two; False when parameters must be set first."""
        assert server.exchange is None  # noqa: S101 - is_fit, as far as it is free
        self.counters.server_assignment_count += 1
        if server.parameters is not client.parameters:
            if server.parameters != client.parameters:
                if self.policy.sync_parameters(client, server):
                    return False
        # As join does, which would be one more call for each transaction.
        client.server = server
        server.link(client, client.exchange, client.statements, self.mode)
        return True

    def join(self, client: ClientStream, server: ServerStream) -> None:
        """Join a client to a server whose parameters suit it by now."""
        assert client.server is None and is_fit(server)  # noqa: PT018, S101 - see is_fit
        client.server = server
        server.link(client, client.exchange, client.statements, self.mode)

    def serve(self, client: ClientStream, server: ServerStream) -> None:
        """Give a server to a client that waited, and let it go on."""
        waited = monotonic() - client.waiting_since
        self.counters.waited(int(waited * 1e6))
        client.waiting_since = 0.0
        if self._link(client, server):
            client.resume_client()

    def unlink(self, client: ClientStream, server: ServerStream) -> None:
        """Part the two, whatever becomes of the server."""
        client.server = None
        server.unlink()

    def release(self, server: Stream) -> None:
        """Take back a server from its client; one that is not clean is discarded."""
        assert isinstance(server, ServerStream)  # noqa: S101 - narrows the type
        client = server.peer
        if client is not None:
            assert isinstance(client, ClientStream)  # noqa: S101 - narrows the type
            is_clean = client.exchange.clean and client.skip == 0
            client.server = None
            server.unlink()
            if not is_clean:
                self.policy.discard(server)
                return
        if (
            self.checks_releases
            or server.needs_release_check
            or self.waiters
            or server.backlogged
        ):
            self.put_back(server)
        else:
            # What is lost or stale is watched, and it is clean: so it is_fit.
            self.idle.append(server)

    def relink(self, server: Stream) -> None:
        """Give a clean server to the client that has it anew, its parameters set."""
        assert isinstance(server, ServerStream)  # noqa: S101 - narrows the type
        client = server.peer
        assert isinstance(client, ClientStream)  # noqa: S101 - narrows the type
        self.unlink(client, server)
        self._link(client, server)

    def put_back(self, server: Stream) -> None:
        """Give an unlinked, clean server to the next waiter, or keep it idle."""
        assert isinstance(server, ServerStream)  # noqa: S101 - narrows the type
        if not is_fit(server):
            self.policy.discard(server)
        elif self.checks_releases or server.needs_release_check:
            self.policy.released(server)
        else:
            self.hand_on(server)

    def hand_on(self, server: ServerStream) -> bool:
        """Give a server to the next waiter, or keep it; True: it is idle now."""
        if self.waiters and self.open and is_fit(server):
            self.serve(self.waiters.pop(0), server)
            return False
        return self.keep(server)

    def keep(self, server: ServerStream) -> bool:
        """Put a server on the stack; False: it is not fit for that, and discarded."""
        if is_fit(server):
            self.idle.append(server)
            return True
        self.policy.discard(server)
        return False
