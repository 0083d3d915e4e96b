"""Last words to those whom another process does not go on with.

Everything stands still and the process ends right afterwards, so nothing happens here
but that bytes are sent: to let go of a connection in the usual way would disturb others
that are handed over already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgswitch.errors import NotHandedOver
from pgswitch.net.server_state import ServerState
from pgswitch.types import CONSOLE_USER
from pgswitch.wire import encode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pgswitch.auth.login_service import LoginService
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools


def notify_left_behind(
    context: ServiceContext,
    pools: Pools,
    login_service: LoginService,
    exported: Collection[int],
) -> None:
    """Tell clients and servers that are not handed over that their connection ends.

    ``exported`` are the descriptors that were handed over; none is no takeover, and
    then nobody is told anything.
    """
    if not exported:
        return
    clients = [
        one for one in _guests(login_service) if _descriptor(one) not in exported
    ]
    servers = [one for one in _servers(pools) if _descriptor(one) not in exported]
    if clients or servers:
        context.log.log(
            f"{len(clients)} clients and {len(servers)} servers cannot be handed over"
            " and end with this process"
        )
    shutdown_fault = encode.error_response(NotHandedOver())
    for client in clients:
        client.stream.send(shutdown_fault)
    for server in servers:
        server.stream.send(encode.terminate())


def _guests(login_service: LoginService) -> Iterator[Frontend]:
    """Return the clients but for our own user's consoles: one of them ends us."""
    return (
        one
        for one in login_service.clients.values()
        if not (one.console is not None and one.user == CONSOLE_USER)
        and not one.cancelling
    )


def _servers(pools: Pools) -> Iterator[Backend]:
    """Return the servers that are past their login."""
    return (
        backend
        for pool in pools
        for backend in pool.connections()
        if backend.stored_state not in (ServerState.LOGIN, ServerState.CLOSED)
    )


def _descriptor(one: Frontend | Backend) -> int:
    """Return the descriptor of a connection, encrypted or not."""
    transport: Any = one.transport
    return int(transport.fileno())
