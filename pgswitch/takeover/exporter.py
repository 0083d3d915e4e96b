"""The old process's side of a takeover: SHOW HANDOVER, for another pgswitch process.

The rows are the listening sockets, the first of them with the state that belongs to no
connection; then servers, so that clients can find the ones they are linked to; then
clients.  Connections that only this process can continue are left out and end with it:
encrypted ones, consoles, and clients that are logging in or have a lost transaction to
end.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from pgswitch.errors import NotHandedOver
from pgswitch.net.connection_states import ServerState
from pgswitch.takeover.serialize import (
    Packed,
    age,
    pack_client,
    pack_cluster,
    pack_counts,
    pack_server,
    text,
)
from pgswitch.types import CONSOLE_USER
from pgswitch.wire import encode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pgswitch.admin.descriptors import Descriptor, Descriptors
    from pgswitch.admin.statistics import Statistics
    from pgswitch.auth.credentials import ServerCredentials
    from pgswitch.auth.login_service import LoginService
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.transport import SocketIO
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.relay.stream import Stream


UNTOUCHED = "untouched"
"""The state of a client that has not sent its first byte."""

NO_DESCRIPTOR = -1
"""The descriptor of a stream that does not write directly to a socket (TLS, ``-v -v``).
"""


class TakeoverExporter:
    """Exports everything that another process can take over."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        credentials: ServerCredentials,
        *,
        clusters: Clusters,
        descriptors: Descriptors,
        statistics: Statistics,
    ) -> None:
        """Take the parts of the service to export."""
        self.exported: frozenset[int] = frozenset()
        """The descriptors exported by the last SHOW HANDOVER or SHOW FDS."""
        self._clusters = clusters
        self._statistics = statistics
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._credentials = credentials
        self._descriptors = descriptors

    def rows(self) -> Sequence[Descriptor]:
        """Return what SHOW HANDOVER shows; meant for a time of SUSPEND."""
        rows = [row for row in self._rows() if row.fd != NO_DESCRIPTOR]
        self.exported = frozenset(row.fd for row in rows)
        return rows

    def each_descriptor(self) -> Iterator[Descriptor | None]:
        """Yield what SHOW FDS shows, which a PgBouncer takes over."""
        exported = set()
        for row in self._descriptors.each():
            if row is not None:
                exported.add(row.fd)
            yield row
        self.exported = frozenset(exported)

    def _rows(self) -> Iterator[Descriptor]:
        state = json.dumps(self._service())
        for socket in self._descriptors.listening():
            yield replace(socket, state=state)
            state = ""
        yield from self._servers()
        yield from self._clients()

    def _servers(self) -> Iterator[Descriptor]:
        for pool in self._pools:
            for backend in pool.backends():
                if not backend.stored_state.serves_clients:
                    continue
                if _is_encrypted(backend.stream) or _is_encrypted(backend.stream.peer):
                    continue
                yield replace(
                    self._descriptors.of_server(backend),
                    state=json.dumps(self._server(backend)),
                )

    def _clients(self) -> Iterator[Descriptor]:
        for client in self._login_service.clients.values():
            if client.console is not None or client.lost_transaction is not None:
                continue
            if client.is_untouched:
                yield replace(
                    self._descriptors.of_client(client),
                    fd=client.io.transport.fileno(),
                    state=UNTOUCHED,
                )
                continue
            if _is_encrypted(client.stream) or _is_encrypted(client.stream.server):
                continue
            if client.logged_in:
                yield replace(
                    self._descriptors.of_client(client),
                    state=json.dumps(self._client(client)),
                )

    def _service(self) -> Packed:
        now = self._context.clock()
        return {
            "disabled": sorted(self._pools.disabled),
            "clusters": {
                key: pack_cluster(one, now)
                for key, one in self._clusters.known().items()
            },
            **pack_counts(self._context, self._pools, self._statistics),
            "learned": self._credentials.pack(),
        }

    def _client(self, client: Frontend) -> Packed:
        now = self._context.clock()
        return {
            "age": age(client.connected_at, now),
            "connected": client.connected_time,
            "pool": list(client.pool.key),
            "replication": self._replication(client),
            "parameters": self._descriptors.tracked(client.stream.parameters),
            "startup": self._descriptors.tracked(client.stream.startup_parameters),
            **pack_client(client.stream, now),
            "lost": _losses(client, now),
            "kept": ""
            if client.stream.interceptor is None
            else text(client.stream.interceptor.queued()),
        }

    def _replication(self, client: Frontend) -> Packed | None:
        """Return the parameters for opening a replication client's server."""
        facts = client.facts
        if facts is None or not client.replicates:
            return None
        return {
            "kind": facts.replication.value,
            "options": facts.options,
            "tracked": facts.tracked,
        }

    def _server(self, backend: Backend) -> Packed:
        now = self._context.clock()
        return {
            "age": age(backend.connected_at, now),
            "connected": backend.connected_time,
            "host": backend.host,
            "key": text(backend.cancel_key),
            "reported": backend.parameters,
            "replication": backend.replication,
            "parameters": self._descriptors.tracked(backend.stream.parameters),
            **pack_server(backend.stream, now),
        }


def _is_encrypted(stream: Stream | None) -> bool:
    """Return whether a connection uses TLS, whose keys cannot be handed over.

    It ends with the old process, and so does the connection it is linked to.
    """
    return stream is not None and cast("SocketIO", stream.io).tls is not None


def _losses(client: Frontend, now: float) -> Packed | None:
    """Return the retries of the present statement (pool/failover.py)."""
    if not client.requeued or client.requeued != client.stream.exchange.query_start:
        return None
    return {"since": age(client.requeued_since, now), "reruns": client.reruns}


def notify_left_behind(
    context: ServiceContext,
    pools: Pools,
    login_service: LoginService,
    exported: Collection[int],
) -> None:
    """Tell clients and servers that are not handed over that their connection ends.

    ``exported`` are the descriptors that were handed over; if there are none, there was
    no takeover, and nothing happens.  Everything is suspended and the process ends
    right afterwards, so this only sends bytes: closing a connection in the usual way
    could disturb connections that are already handed over.
    """
    if not exported:
        return
    clients = [
        one for one in _clients(login_service) if _descriptor(one) not in exported
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


def _clients(login_service: LoginService) -> Iterator[Frontend]:
    """Return the clients without our own user's consoles: one of them ends us."""
    return (
        one
        for one in login_service.clients.values()
        if not (one.console is not None and one.user == CONSOLE_USER)
        and not one.is_cancel_request
    )


def _servers(pools: Pools) -> Iterator[Backend]:
    """Return the servers that have logged in."""
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
