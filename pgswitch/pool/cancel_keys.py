"""Cancel keys of clients, and what a cancel request with one does.

A request with the key of

* a client whose query runs goes to its server (outgoing_cancels.py);
* a client whose query still waits, for a server or for a rule, cancels that query here;
* a client of a peer is forwarded to that peer.

A request gets no answer: its connection is just closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, succeed

from pgswitch.errors import QueryCancelled
from pgswitch.pool.outgoing_cancels import CancelTarget, OutgoingCancels
from pgswitch.wire import cancel_key, encode

if TYPE_CHECKING:
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext


class CancelKeys:
    """The keys that clients have been sent."""

    def __init__(self, context: ServiceContext) -> None:
        """Begin without clients."""
        self.peers: dict[int, OutgoingCancels] = {}
        """By peer_id; created with the first request for that peer."""
        self._context = context
        self._clients: dict[bytes, Frontend] = {}

    def issue(self, frontend: Frontend) -> bytes:
        """Return a new key for a client."""
        peer_id = self._context.configuration.settings.peer_id
        while True:
            key = cancel_key.make(self._context.random(cancel_key.KEY_SIZE), peer_id)
            if key not in self._clients:
                self._clients[key] = frontend
                return key

    def keep(self, frontend: Frontend) -> None:
        """Store the key that another process has sent to a client."""
        self._clients[frontend.cancel_key] = frontend

    def revoke(self, frontend: Frontend) -> None:
        """Remove the key of a client that has left."""
        self._clients.pop(frontend.cancel_key, None)

    def cancel(self, requester: Frontend, key: bytes) -> Deferred[str]:
        """Carry out a request; fires with the reason to close its connection."""
        if len(key) != cancel_key.KEY_SIZE:
            return succeed("bad cancel request")
        own = self._context.configuration.settings.peer_id
        if own and cancel_key.peer_of(key) != own and key not in self._clients:
            return self._forward_to_peer(requester, key)
        target = self._clients.get(cancel_key.as_issued(key) if own else key)
        if target is None:
            return succeed("failed cancel request")
        return self._cancel(requester, target)

    def _cancel(self, requester: Frontend, target: Frontend) -> Deferred[str]:
        """Cancel the query of one of our own clients."""
        if target.console is not None:
            target.console.cancel()
            return succeed("cancel request for console client")
        stream, pool = target.stream, target.pool
        fault = QueryCancelled()
        error = encode.error_response(fault)
        if stream.interceptor is not None and stream.interceptor.cancel(error):
            target.service.on_fault(target, fault)
            return succeed("cancel request for waiting client")
        if stream.server is not None:
            backend = cast("Backend", stream.server.backend)
            # To the server's own address, even if its name now has another.
            target_server = CancelTarget(
                backend.host,
                backend.address.port,
                backend.address.host,
                None if backend.tls is None else backend.encryption,
            )
            cancels: OutgoingCancels = pool.cancels
            return cancels.send(requester, backend.cancel_key, target_server, backend)
        waiters = pool.idle_pool_of(target).waiters
        is_waiting = stream in waiters
        if is_waiting:
            waiters.remove(stream)
        if is_waiting or pool.held_clients.withdraw(stream):
            stream.refuse(error)
            target.service.on_fault(target, fault)
            return succeed("cancel request for waiting client")
        if stream.suspended:
            return succeed("ignoring cancel request for server that is setting vars")
        return succeed("cancel request for idle client")

    def _forward_to_peer(self, requester: Frontend, key: bytes) -> Deferred[str]:
        """Forward a request to the process that has issued the key."""
        if not cancel_key.ttl_of(key):
            return succeed(
                "failed to forward cancel request because its TTL was exhausted"
            )
        peer_id = cancel_key.peer_of(key)
        peer = self._context.configuration.peers.get(peer_id)
        if peer is None:
            return succeed("could not find peer to forward request to")
        cancels = self.peers.get(peer_id)
        if cancels is None:
            cancels = OutgoingCancels(
                self._context, lambda: self._room_at_peer(peer_id)
            )
            self.peers[peer_id] = cancels
        return cancels.send(
            requester, cancel_key.passed_on(key), CancelTarget(peer.host, peer.port)
        )

    def _room_at_peer(self, peer_id: int) -> int | None:
        """Return how many connections to a peer are allowed; None means no limit."""
        size = self._context.effective.peer_pool_size(peer_id)
        return 2 * size if size else None
