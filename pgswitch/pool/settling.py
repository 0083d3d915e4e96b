"""Makes the parameters of a server those of the client that is to have it.

One query sets all that differ; only when it has succeeded is the client joined to the
server and goes on.  Meanwhile the client belongs here: it may leave, the server may be
lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.errors import InvalidServerParameter
from pgswitch.wire.params import set_statement

if TYPE_CHECKING:
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import PoolContext
    from pgswitch.relay.client import ClientLink
    from pgswitch.relay.rack import Rack


class Settling:
    """The servers of one pool that are having parameters set."""

    def __init__(self, context: PoolContext, rack: Rack) -> None:
        """Begin with none."""
        self._context = context
        self._rack = rack
        self._clients: dict[Backend, ClientLink] = {}

    def __len__(self) -> int:
        """Return how many servers are being settled for a client."""
        return len(self._clients)

    def __contains__(self, backend: object) -> bool:
        """Tell whether a server is being settled for a client."""
        return backend in self._clients

    def begin(self, client: ClientLink, backend: Backend) -> bool:
        """Set what differs; False: nothing is to be done, join them now."""
        differences = self._context.tracking.differences(
            client.parameters, backend.link.parameters
        )
        if not differences:
            return False
        client.halt()
        self._clients[backend] = client
        backend.run(
            set_statement(differences), lambda error: self._answered(backend, error)
        )
        return True

    def client_of(self, backend: Backend) -> ClientLink | None:
        """Return the client that a server is being settled for; None if it has left."""
        return self._clients.get(backend)

    def forget(self, client: ClientLink) -> None:
        """Let go of a client that is leaving; its server comes back by itself."""
        for backend, settling in list(self._clients.items()):
            if settling is client:
                del self._clients[backend]

    def lost(self, backend: Backend) -> ClientLink | None:
        """Let go of a server that is lost; return the client that waits for it."""
        return self._clients.pop(backend, None)

    def _answered(self, backend: Backend, error: dict[str, str] | None) -> None:
        client = self._clients.pop(backend, None)
        if error is not None:
            self._context.log.error(
                f"{backend.prefix} varcache_apply failed:"
                f" {error.get('S', 'ERROR')}: {error.get('M', '')}"
            )
            fault = InvalidServerParameter(detail=error.get("M"))
            backend.close(fault.text)
            if client is not None:
                client.frontend.disconnect(fault)
        elif client is None:
            self._rack.put_back(backend.link)
        else:
            # The server's own spelling, so that the next meeting finds no difference.
            client.parameters = self._context.tracking.filled(
                backend.link.parameters, client.parameters
            )
            self._rack.join(client, backend.link)
            client.proceed()
