"""What depends on the pool mode: applied at logins, and when the mode changes.

For a client of a shared mode (transaction, statement) we track prepared statements; a
client in session pooling has its server to itself, and prepares there under its own
names.  When a pool's mode changes, by RELOAD or SET:

=======================  ==========================================================
from session to shared   we track each client's statements; its present server, whose
                         state is unknown, is closed as soon as nothing is under way
from shared to session   clients keep their statements, and keep the server of their
                         next checkout; idle servers are reset first
from one shared mode     holds from the next checkout, and at once if the new mode is
to the other             less strict
=======================  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.net.connection_states import CloseReason, ServerState
from pgswitch.types import SESSION_POOLING, STATEMENT_POOLING, PoolMode
from pgswitch.wire.prepared import ClientStatements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.server_connections import ServerConnections
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.relay.server_stream import ServerStream

_TRANSACTION = int(PoolMode.TRANSACTION)


class ModePool(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: ServiceContext
    server_connections: ServerConnections
    idle_pool: IdlePool
    clients: dict[int, Frontend]

    @property
    def replication(self) -> Mapping[int, object]:
        """Replication clients by number; each has a server of its own."""


def _never(_database: str) -> bool:
    return False


def statements_for(
    client: Frontend, moves: Callable[[str], bool] = _never
) -> ClientStatements | None:
    """Return the tracked statements that a client has, or needs in its pool's mode.

    ``moves`` tells whether rules may move the clients of a database: their servers are
    shared in every mode.  A client keeps those that it has; max_prepared_statements
    limits them too.  With 0 a client's statements last as long as it has its server.
    """
    stream: ClientStream = client.stream
    pool: ModePool = client.pool
    limit = pool.context.effective.max_prepared_statements
    has = stream.statements
    if has is not None:
        has.limit_to(limit)
        return has
    if client.number in pool.replication:
        return None
    if pool.idle_pool.mode == SESSION_POOLING and not moves(client.database):
        return None
    return ClientStatements(
        pool.context.statements, stream.exchange, limit, pool.idle_pool.counters
    )


def update_statements(client: Frontend, moves: Callable[[str], bool] = _never) -> None:
    """Give a client that is logged in already the tracked statements it needs."""
    stream: ClientStream = client.stream
    has = stream.statements
    statements = statements_for(client, moves)
    if statements is has:
        return
    stream.track_statements(statements)
    if stream.server is not None:
        # Names that it has used before exist on the server and are not rewritten.
        stream.server.client_statements = statements


def apply_mode(pool: ModePool, before: int) -> None:
    """Apply a pool's mode to its clients and servers; ``before``: the last mode."""
    mode = pool.idle_pool.mode
    if (before == SESSION_POOLING) != (mode == SESSION_POOLING):
        _reset_idle(pool)
    _limit_statements(pool)
    for client in list(pool.clients.values()):
        if client.replicates or not client.logged_in:
            continue
        update_statements(client)
        server = client.stream.server
        if server is not None:
            apply_mode_to_server(pool, client.stream, server)


def _limit_statements(pool: ModePool) -> None:
    """Have servers drop statements beyond a lowered max_prepared_statements.

    With 0 clients go on with those they have, and servers keep them.
    """
    limit = pool.context.effective.max_prepared_statements
    if limit:
        for backend in pool.server_connections:
            if backend.stored_state is not ServerState.LOGIN:
                backend.stream.statements.limit_to(limit)


def apply_mode_to_server(
    pool: ModePool, stream: ClientStream, server: ServerStream
) -> None:
    """Apply the pool's mode to a linked server, as far as possible now."""
    mode = pool.idle_pool.mode
    if mode == SESSION_POOLING:
        return
    if server.mode == SESSION_POOLING:
        # No other client may have it; a transaction may still be under way.
        server.close_needed = server.needs_release_check = True
        server.mode = _TRANSACTION
        is_mid_message = stream.skip or not server.at_boundary()
        if stream.exchange.clean and not is_mid_message:
            pool.idle_pool.release(server)
    elif server.mode == STATEMENT_POOLING:
        server.mode = mode


def _reset_idle(pool: ModePool) -> None:
    """Reset idle servers; without a reset query, close them."""
    idle, pool.idle_pool.idle[:] = list(pool.idle_pool.idle), []
    resets = bool(pool.context.configuration.settings.server_reset_query)
    for server in idle:
        if resets:
            pool.idle_pool.put_back(server)
        else:
            cast("Backend", server.backend).close(CloseReason.RECONFIGURED)
