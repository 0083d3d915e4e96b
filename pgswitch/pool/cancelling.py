"""Cancel requests: from a client's key to the server that runs its query.

A cancel request is a connection of its own, to us and from us to the server
(manual, "Canceling Requests in Progress").  The server it is aimed at is not used
again before that connection has ended, or the cancel might hit the next client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol

from pgswitch.net.backend import Phase
from pgswitch.wire import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool

KEY_SIZE = 8
SENT = "successfully sent cancel request"
NOT_NEEDED = "not sending cancel request for client that is now idle"
NOT_SENT = "failed to send cancel request"


class CancelConnection(Protocol):
    """Sends one CancelRequest and waits for the server to close."""

    def __init__(self, key: bytes, still_wanted: Callable[[], bool]) -> None:
        """Take the server's own cancel key; asks again just before sending."""
        self.ended: Deferred[None] = Deferred()
        self.sent = False
        self._key = key
        self._still_wanted = still_wanted

    def connectionMade(self) -> None:
        """Send the request, unless the query has finished meanwhile."""
        transport: Any = self.transport
        if self._still_wanted():
            self.sent = True
            transport.write(encode.cancel_request(self._key))
        else:
            transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002 - the server always just closes
        """Note that the server has dealt with the request."""
        self.ended.callback(None)


class CancelKeys:
    """The keys that clients were given, and what a request with one does."""

    def __init__(self, context: PoolContext) -> None:
        """Begin without clients."""
        self._context = context
        self._clients: dict[bytes, Frontend] = {}
        self.under_way: list[tuple[Frontend, ServerPool]] = []
        """Clients whose request is being passed on, with the pool it is for."""

    def issue(self, frontend: Frontend) -> bytes:
        """Return a new key for a client: a positive process number and a secret."""
        while True:
            key = bytearray(self._context.random(KEY_SIZE))
            key[0] &= 0x7F
            if bytes(key) not in self._clients:
                self._clients[bytes(key)] = frontend
                return bytes(key)

    def revoke(self, frontend: Frontend) -> None:
        """Forget the key of a client that left."""
        self._clients.pop(frontend.cancel_key, None)

    def cancel(self, requester: Frontend, key: bytes) -> Deferred[str]:
        """Carry out a request; fires with the reason to close its connection."""
        if len(key) != KEY_SIZE:
            return succeed("bad cancel request")
        target = self._clients.get(key)
        if target is None:
            return succeed("failed cancel request")
        if target.console is not None:
            target.console.cancel()
            return succeed("cancel request for console client")
        server = target.link.server
        if server is None:
            return succeed("cancel request for idle client")
        return self._pass_on(requester, target, cast("Backend", server.backend))

    def _pass_on(
        self, requester: Frontend, target: Frontend, backend: Backend
    ) -> Deferred[str]:
        pool: ServerPool = target.pool
        requester.cancelling = "active"
        entry = (requester, pool)
        self.under_way.append(entry)
        backend.cancels += 1
        backend.link.watched = True
        connection = CancelConnection(
            backend.cancel_key, lambda: target.link.server is backend.link
        )
        # Where the server is, whatever its name leads to by now.
        sending = self._context.connect(
            backend.host, backend.address.port, connection, backend.address.host
        )
        sending.addCallback(lambda _connected: connection.ended)
        outcome: Deferred[str] = sending.addCallbacks(
            lambda _ended: SENT if connection.sent else NOT_NEEDED,
            lambda _failure: NOT_SENT,
        )
        seconds = self._context.configuration.settings.cancel_wait_timeout
        timer = None
        if seconds:
            timer = self._context.later(seconds, sending.cancel)

        def over(reason: str) -> str:
            if timer is not None and timer.active():
                timer.cancel()
            self.under_way.remove(entry)
            transport: Any = connection.transport
            if transport is not None and transport.connected:
                transport.abortConnection()
            backend.cancels -= 1
            if backend.cancels:
                return reason
            backend.link.watched = backend.link.stale
            if (
                backend.phase is Phase.READY
                and backend.link.exchange is None
                and backend.link not in pool.rack.idle
            ):
                pool.rack.put_back(backend.link)
            return reason

        return outcome.addCallback(over)
