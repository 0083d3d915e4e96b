"""Which servers of a pool are idle, which clients wait: checkout and release.

Theory of operation (hot path).  Idle servers are a stack, the last used on top (its
caches are warm, and the others may grow old and be closed).  A client with the same
tracked parameters takes the top one at the cost of a list's pop; a released server goes
to the client that has waited longest, or back on the stack.

Only :func:`is_fit` decides what becomes of a server without a client: one that is lost,
in the midst of a message or behind with its sending is never given to a client nor kept
for one, however it comes back and however late.

All that is not so simple is left to the :class:`PoolPolicy` (pool/pool.py), by one test
of a flag each: a pool that is paused, a server to be closed, a release that needs a
reset, parameters that differ, a client that must wait.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.server_stream import ServerStream
from pgswitch.relay.stream import ServerSource, Stream
from pgswitch.stats.counters import Counters
from pgswitch.types import SESSION_POOLING


class PoolPolicy(Protocol):
    """The slow path of an idle pool; see pool/pool.py."""

    def wait(self, client: ClientStream) -> None:
        """Queue a client that found no idle server, or close it with an error."""

    def sync_parameters(self, client: ClientStream, server: ServerStream) -> bool:
        """Set the server's parameters to the client's; False: they are set.

        True: the policy links the two later.
        """

    def discard(self, server: ServerStream) -> None:
        """Close an idle server that is not to be used."""

    def released(self, server: ServerStream) -> None:
        """Reset or check a server that came back unlinked and clean."""


def is_fit(server: ServerStream) -> bool:
    """Tell whether an unlinked server may be given to a client, or kept for one.

    Whether it is to be closed, or a cancel request is aimed at it, the policy knows.
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

    def __init__(self, policy: PoolPolicy, clock: Callable[[], float]) -> None:
        """Begin empty; the policy sets the flags.

        ``clock`` returns monotonic seconds: it ends the waits that the policy began.
        """
        self.policy = policy
        self.clock = clock
        self.counters = Counters()
        self.mode = SESSION_POOLING
        """The present pool mode, a PoolMode; read at each link, so that RELOAD acts."""
        self.open = True
        """False while all clients must wait (PAUSE)."""
        self.checks_releases = False
        """The policy looks at each released server (resets, checks)."""
        self.round_robin = False
        """Take the server unused for longest instead of the last used."""
        self.idle: list[ServerStream] = []
        """The last used at the end."""
        self.waiters: list[ClientStream] = []
        """The one that has waited longest first."""

    def checkout(self, client: Stream) -> bool:
        """Link the client to an idle server.

        Returns False when it has to wait; the policy has then queued it, or has
        closed it with an error.
        """
        assert isinstance(client, ClientStream)  # noqa: S101 - narrows the type
        idle = self.idle
        if self.open and not self.waiters:
            while idle:
                server = idle.pop(0) if self.round_robin else idle.pop()
                # The same as is_fit, without a call for each transaction.
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
        # It may have got a server at once, before anything was held.
        return client.server is not None and not client.suspended

    def _link(self, client: ClientStream, server: ServerStream) -> bool:
        """Link the two; False when parameters must be set first."""
        assert server.exchange is None  # noqa: S101 - the free part of is_fit
        self.counters.server_assignment_count += 1
        if server.parameters is not client.parameters:
            if server.parameters != client.parameters:
                if self.policy.sync_parameters(client, server):
                    return False
        # The same as link, without a call for each transaction.
        client.server = server
        server.link(client, client.exchange, client.statements, self.mode)
        return True

    def link(self, client: ClientStream, server: ServerStream) -> None:
        """Link a client to a server that has its parameters by now."""
        assert client.server is None and is_fit(server)  # noqa: PT018, S101 - see is_fit
        client.server = server
        server.link(client, client.exchange, client.statements, self.mode)

    def serve(self, client: ClientStream, server: ServerStream) -> None:
        """Link a server to a client that waited, and resume the client."""
        waited = self.clock() - client.waiting_since
        self.counters.waited(int(waited * 1e6))
        client.waiting_since = 0.0
        if self._link(client, server):
            client.resume_client()

    def unlink(self, client: ClientStream, server: ServerStream) -> None:
        """Part the two, whatever happens to the server."""
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
            # Clean, and neither lost nor to be closed, which set the flag: is_fit.
            self.idle.append(server)

    def relink(self, server: Stream) -> None:
        """Link a clean server again to its client, to set its parameters again."""
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
            self.reuse(server)

    def reuse(self, server: ServerStream) -> bool:
        """Give a server to the next waiter, or keep it idle; True: it is idle now."""
        if self.waiters and self.open and is_fit(server):
            self.serve(self.waiters.pop(0), server)
            return False
        return self.push_idle(server)

    def push_idle(self, server: ServerStream) -> bool:
        """Put a server on the stack; False: it was not fit, and is discarded."""
        if is_fit(server):
            self.idle.append(server)
            return True
        self.policy.discard(server)
        return False
