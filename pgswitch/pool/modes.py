"""What depends on the pool mode: taken at a client's login, and when the mode changes.

A client of a shared mode (transaction, statement) has its prepared statements kept by
us; one of session pooling has its server to itself, and the names on it are its own.
When a pool's mode changes, by RELOAD or SET, everybody follows:

=======================  ==========================================================
from session to shared   each client gets statements; the server that it has, whose
                         state nobody knows, is closed as soon as nothing is under way
from shared to session   clients keep their statements, and their servers from the next
                         link on; idle servers are reset first, as sessions expect
from one shared mode     the next link has the new one, and at once where that
to the other             forbids less
=======================  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.net.close_reason import CloseReason
from pgswitch.net.server_state import ServerState
from pgswitch.relay.server_stream import SESSION, STATEMENT
from pgswitch.types import PoolMode
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
        """Replication clients by number; they have a server each, for good."""


def _never(_database: str) -> bool:
    return False


def statements_for(
    client: Frontend, moves: Callable[[str], bool] = _never
) -> ClientStatements | None:
    """Return the prepared statements that a client has, or needs in its pool's mode.

    ``moves`` tells whether rules may move the clients of a database: their servers are
    shared whatever the mode.  Those that it has it keeps; max_prepared_statements holds
    for them too; with 0 what a client prepares lasts as long as it has its server.
    """
    stream: ClientStream = client.stream
    pool: ModePool = client.pool
    most = pool.context.effective.max_prepared_statements
    has = stream.statements
    if has is not None:
        has.keep_at_most(most)
        return has
    if client.number in pool.replication:
        return None
    if pool.idle_pool.mode == SESSION and not moves(client.database):
        return None
    return ClientStatements(
        pool.context.statements, stream.exchange, most, pool.idle_pool.counters
    )


def update_statements(client: Frontend, moves: Callable[[str], bool] = _never) -> None:
    """Give a client that is welcomed already what it needs."""
    stream: ClientStream = client.stream
    has = stream.statements
    statements = statements_for(client, moves)
    if statements is has:
        return
    stream.statements = statements
    if stream.server is not None:
        # Names that it has given before are the server's own, and pass as they are.
        stream.server.client_statements = statements


def apply_mode(pool: ModePool, before: int) -> None:
    """Have clients and servers of a pool follow its settings; ``before``: its mode."""
    mode = pool.idle_pool.mode
    if (before == SESSION) != (mode == SESSION):
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
    """Have servers drop what a lowered max_prepared_statements leaves no room for.

    With 0 clients go on with those that they have, and servers keep them.
    """
    most = pool.context.effective.max_prepared_statements
    if most:
        for backend in pool.server_connections:
            if backend.stored_state is not ServerState.LOGIN:
                backend.stream.statements.limit_to(most)


def apply_mode_to_server(
    pool: ModePool, stream: ClientStream, server: ServerStream
) -> None:
    """Have a server that is linked take the pool's mode, as far as it can be now."""
    mode = pool.idle_pool.mode
    if mode == SESSION:
        return
    if server.mode == SESSION:
        # Nobody else is to have it. What is under way may be a transaction still.
        server.close_needed = server.needs_release_check = True
        server.mode = _TRANSACTION
        is_amid = stream.skip or not server.at_boundary()
        if stream.exchange.clean and not is_amid:
            pool.idle_pool.release(server)
    elif server.mode == STATEMENT:
        server.mode = mode


def _reset_idle(pool: ModePool) -> None:
    """Reset what is idle for sessions; close what sessions may have left unclean."""
    idle, pool.idle_pool.idle[:] = list(pool.idle_pool.idle), []
    resets = bool(pool.context.configuration.settings.server_reset_query)
    for server in idle:
        if resets:
            pool.idle_pool.put_back(server)
        else:
            cast("Backend", server.backend).close(CloseReason.RECONFIGURED)
