"""What happens to a server of a pool between two clients: reset, check, or the end.

A released server is closed if its time is over, else reset or set aside for a check
as the settings say, and only then given to the next client (manual of PgBouncer,
"server_reset_query", "server_check_query").
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.connection_states import CloseReason, ServerEvent, ServerState
from pgswitch.types import PoolMode
from pgswitch.wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.config.settings import Settings
    from pgswitch.net.backend import Backend
    from pgswitch.pool.connection_limits import ConnectionLimits
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.internal_queries import InternalQueries
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.relay.server_stream import ServerStream
    from pgswitch.types import PoolKey
    from pgswitch.wire.statements import ServerStatements

EMPTY_QUERY = "<empty>"
"""The value of server_check_query for a query without any statement."""


class ReleasePool(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    key: PoolKey
    spec: DatabaseSpec
    context: ServiceContext
    connection_limits: ConnectionLimits
    idle_pool: IdlePool
    internal_queries: InternalQueries

    def is_blocked(self) -> bool:
        """Tell whether no client may get a server now."""

    def closes_idle(self) -> bool:
        """Tell whether idle servers are closed."""

    def backends(self) -> Iterator[Backend]:
        """Return the servers."""

    def serve_waiters(self) -> None:
        """Give servers to waiting clients; open more."""

    def launch(self) -> None:
        """Open servers that are wanted and allowed."""

    def update_open(self) -> None:
        """Update whether released servers are looked at."""

    def waiting_since(self) -> float:
        """Return since when the first client waits; infinite if none does."""

    def is_logging_in(self) -> bool:
        """Tell whether a server is logging in."""


class StatementCleanup:
    """Drops the statements that a client has prepared under its own names."""

    unfit = ""

    def __init__(self, statements: ServerStatements) -> None:
        """Drop those that ``statements`` names."""
        self.request = statements.cleaning() + encode.sync()

    def message(self, kind: int, body: bytes) -> None:
        """Ignore the answer."""


def unfit(stream: ClientStream, server: ServerStream) -> CloseReason | None:
    """Return why a server cannot be used after its client left; None if it can."""
    if stream.exchange.outstanding():
        return CloseReason.QUERY_IN_PROGRESS
    if not stream.exchange.clean or stream.skip or not server.at_boundary():
        return CloseReason.CLIENT_NOT_READY
    if server.backlogged:
        return CloseReason.CLIENT_UNSENT
    return None


def check_query(settings: Settings) -> str:
    """Return the query that a server must answer to be used again."""
    query = settings.server_check_query
    return "" if query == EMPTY_QUERY else query


class ServerRelease:
    """Resets, checks and closes the released servers of one pool."""

    def __init__(self, pool: ReleasePool) -> None:
        """Call :meth:`configure` before use."""
        self._pool = pool
        self._resets = False
        self._checks_always = False

    def configure(self) -> None:
        """Take the settings in force."""
        settings = self._pool.context.configuration.settings
        self._resets = bool(settings.server_reset_query) and (
            self._pool.idle_pool.mode == PoolMode.SESSION
            or bool(settings.server_reset_query_always)
        )
        self._checks_always = (
            settings.server_check_delay == 0 and settings.server_check_query != ""
        )

    def is_needed(self) -> bool:
        """Tell whether every released server must be looked at."""
        pool = self._pool
        return (
            pool.is_blocked()
            or self._resets
            or self._checks_always
            or self._lifetime() == 0
            or bool(pool.internal_queries)
            or pool.connection_limits.has_starving_rival(pool.key)
        )

    def released(self, backend: Backend) -> None:
        """Reset, check, close or pass on a server that was released clean."""
        settings = self._pool.context.configuration.settings
        if backend.stored_state is ServerState.CLOSED:
            return
        for cancel in [*backend.cancels]:
            cancel.drop_unsent()
        if self._pool.context.clock() - backend.connected_at >= self._lifetime():
            backend.close(CloseReason.LIFETIME_OVER)
        elif backend.stream.close_needed:
            backend.close(CloseReason.CLOSE_NEEDED)
        elif backend.cancels:
            backend.change_state(ServerEvent.RELEASED_IN_CANCEL)
        elif self._pool.closes_idle():
            backend.close(CloseReason.PAUSED)
        elif backend.stream.statements.needs_cleaning():
            backend.ask(
                StatementCleanup(backend.stream.statements),
                partial(self._cleaned, backend),
                event=ServerEvent.TEST_SENT,
            )
        elif self._resets:
            backend.run(
                settings.server_reset_query,
                partial(self._free_unless_failed, backend, CloseReason.RESET_FAILED),
            )
        elif self._checks_always:
            backend.change_state(ServerEvent.CHECK_DUE)
            self._pool.serve_waiters()
        else:
            self.free(backend)

    def _cleaned(self, backend: Backend, error: dict[str, str] | None) -> None:
        """Go on with a server that has dropped its client's statements."""
        backend.stream.drop_release_check()
        if error is not None:
            backend.close(CloseReason.CLEANUP_FAILED)
        else:
            self.released(backend)

    def free(self, backend: Backend) -> None:
        """Give a server to an internal query, a rival pool, or the next client."""
        pool, idle_pool = self._pool, self._pool.idle_pool
        if pool.closes_idle():
            backend.close(CloseReason.PAUSED)
        elif backend.stream.close_needed:
            backend.close(CloseReason.CLOSE_NEEDED)
        elif idle_pool.open and pool.internal_queries.run_next(backend):
            pass  # It is released when the query has its answer.
        elif pool.connection_limits.must_yield(pool):
            backend.close(CloseReason.EVICTED)
        elif idle_pool.reuse(backend.stream):
            pool.connection_limits.launch_starving(pool.key)

    def check_used(self, wanted: int) -> None:
        """Start the check of as many used servers as clients wait for."""
        query = check_query(self._pool.context.configuration.settings)
        for backend in self._pool.backends():
            if wanted <= 0:
                return
            if backend.stored_state is ServerState.USED:
                wanted -= 1
                if backend.stream.close_needed:
                    backend.close(CloseReason.OBSOLETE)
                    continue
                backend.run(
                    query,
                    partial(
                        self._free_unless_failed, backend, CloseReason.CHECK_FAILED
                    ),
                )

    def _free_unless_failed(
        self, backend: Backend, reason: CloseReason, error: dict[str, str] | None
    ) -> None:
        """Pass a server on after a reset or a check; close it if that failed."""
        if error is not None:
            backend.close(reason)
        else:
            self.free(backend)

    def _lifetime(self) -> float:
        pool = self._pool
        return pool.context.effective.server_lifetime(pool.spec, pool.key.user)
