"""Gives a server the parameters of its next client (PgBouncer: varcache).

One query sets all that differ, or two (see wire/params.py); only when they have
succeeded is the client linked to the server.  Until then the client may leave and the
server may be lost.

A query that fails has changed nothing, because it is one transaction.  So the server
serves others, and the client gets an error that says what it cannot have.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from pgswitch.errors import InvalidServerParameter
from pgswitch.net.connection_states import CloseReason, ServerState

if TYPE_CHECKING:
    from pgswitch.net.backend import AnswerCallback, Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.wire.params import Differences, Tracking, Values


class LogSubject(Protocol):
    """A connection that log lines are about."""

    @property
    def prefix(self) -> str:
        """The beginning of those lines."""


_SERVER_ERRORS: Final = ("08", "57P", "58", "F0", "XX")
"""Beginnings of SQLSTATEs that say more about the server than about the query."""


def sync_parameters(
    tracking: Tracking, backend: Backend, wanted: Values, answered: AnswerCallback
) -> bool:
    """Give an unlinked server these parameters; False: it has them already.

    ``answered`` is called with the error that ended it, or None.
    """
    there = backend.stream.parameters
    differences = tracking.differences(wanted, there)
    if not differences:
        return False
    queries = tracking.set_queries(wanted, there)
    _set_next(backend, differences, queries, answered, None)
    return True


def _set_next(
    backend: Backend,
    differences: Differences,
    queries: list[str],
    answered: AnswerCallback,
    error: dict[str, str] | None,
) -> None:
    """Run the first of some queries, then the others unless one fails."""
    if error is None and queries:
        rest = partial(_set_next, backend, differences, queries[1:], answered)
        backend.run_set(queries[0], rest)
        return
    if error is None:
        for name, value in differences:
            backend.set_parameter(name, value)
    answered(error)


def log_respelled(
    context: ServiceContext, client: LogSubject, before: Values, now: Values
) -> None:
    """Log which parameters of a client now have the server's spelling."""
    for name, requested, canonical in context.tracking.respelled(before, now):
        context.log.noise(
            f"{client.prefix} setting {name} to its canonical version"
            f" {requested} -> {canonical}"
        )


class ParameterSync:
    """The servers of one pool on which a client's parameters are being set."""

    def __init__(self, context: ServiceContext, idle_pool: IdlePool) -> None:
        """Begin with none."""
        self._context = context
        self._idle_pool = idle_pool
        self._clients: dict[Backend, ClientStream] = {}

    def __len__(self) -> int:
        """Return how many servers are being prepared for a client."""
        return len(self._clients)

    def __contains__(self, backend: object) -> bool:
        """Tell whether a server is being prepared for a client."""
        return backend in self._clients

    def begin(self, client: ClientStream, backend: Backend) -> bool:
        """Set what differs; False: nothing differs, link them now."""
        tracking = self._context.tracking
        here, there = client.parameters, backend.stream.parameters
        if not tracking.differences(here, there):
            # With the server's spelling the next checkout costs less.
            self._respell(client, there)
            return False
        if self._context.log.noise_enabled:
            prefix = cast("LogSubject", client.frontend).prefix
            for query in tracking.set_queries(here, there):
                self._context.log.noise(f"{prefix} varcache_apply: {query}")
        client.suspend()
        self._clients[backend] = client
        return sync_parameters(
            tracking, backend, here, partial(self._answered, backend)
        )

    def client_of(self, backend: Backend) -> ClientStream | None:
        """Return the client that a server is prepared for; None if it has left."""
        return self._clients.get(backend)

    def remove_client(self, client: ClientStream) -> None:
        """Drop a client that is leaving; its server is released when it answers."""
        for backend, waiting in list(self._clients.items()):
            if waiting is client:
                del self._clients[backend]

    def lost(self, backend: Backend) -> ClientStream | None:
        """Drop a server that is lost; return the client that waits for it."""
        return self._clients.pop(backend, None)

    def _answered(self, backend: Backend, error: dict[str, str] | None) -> None:
        client = self._clients.pop(backend, None)
        if error is not None:
            self._refused(backend, client, error)
            return
        if client is None:
            self._idle_pool.put_back(backend.stream)
        else:
            # With the server's spelling the next checkout finds no difference.
            self._respell(client, backend.stream.parameters)
            self._idle_pool.link(client, backend.stream)
            client.resume_client()

    def _respell(self, client: ClientStream, there: Values) -> None:
        """Give a client's parameters the spelling of its server."""
        before = client.parameters
        client.parameters = self._context.tracking.filled(there, before)
        if self._context.log.noise_enabled:
            frontend = cast("LogSubject", client.frontend)
            log_respelled(self._context, frontend, before, client.parameters)

    def _refused(
        self, backend: Backend, client: ClientStream | None, error: dict[str, str]
    ) -> None:
        """Disconnect a client whose parameters the server refuses; keep the server."""
        self._context.log.error(
            f"{backend.prefix} varcache_apply failed:"
            f" {error.get('S', 'ERROR')}: {error.get('M', '')}"
        )
        fault = InvalidServerParameter(detail=error.get("M"))
        if error.get("C", "").startswith(_SERVER_ERRORS):
            backend.close(CloseReason.PARAMETERS_REFUSED)
        if client is not None:
            client.frontend.disconnect(fault)
        if backend.stored_state is ServerState.IDLE:
            self._idle_pool.put_back(backend.stream)
