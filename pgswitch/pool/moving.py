"""Moves a client that has no work under way from one pool to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.pool.modes import equip
from pgswitch.wire.constants import STATUS_IDLE

if TYPE_CHECKING:
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.pool import ServerPool
    from pgswitch.relay.client_stream import ClientStream


def move(client: Frontend, target: ServerPool) -> None:
    """Make ``target`` the pool whose servers the client uses from now on.

    The client must be outside of any transaction or pipeline and not be waiting.  A
    server that it keeps in session pooling goes back first, and is reset there.  Its
    tracked parameters and its prepared statements are its own, so they follow.
    """
    stream: ClientStream = client.stream
    source: ServerPool = client.pool
    if stream.server is not None:
        exchange = stream.exchange
        # Nothing is open here; what makes it look so is a Close that we have answered.
        exchange.clean = (
            exchange.status == STATUS_IDLE
            and not exchange.outstanding()
            and not exchange.skipping
        )
        source.idle_pool.release(stream.server)
    source.let_go(client)
    target.clients[client.number] = client
    client.pool = target
    counters = target.idle_pool.counters
    stream.server_source = target.idle_pool
    stream.counters = counters
    if stream.statements is not None:
        stream.statements.counters = counters
    equip(client)
