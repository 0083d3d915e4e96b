"""What this process has to hand over: SHOW HANDOVER, for another process of ours.

First the listening sockets, the first of them with what belongs to no connection; then
servers, so that clients find those they are linked to; then clients.  Connections that
only this process can go on with are left out and end with it (left_behind.py):
encrypted ones, consoles, and whoever is at a login or has a lost transaction to end.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from pgswitch.takeover.counts import pack_counts
from pgswitch.takeover.serialize import (
    Packed,
    age,
    pack_client,
    pack_cluster,
    pack_server,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgswitch.admin.snapshots import DescriptorSnapshot
    from pgswitch.auth.credentials import ServerCredentials
    from pgswitch.auth.login_service import LoginService
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.net.transport import SocketIO
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.relay.stream import Stream
    from pgswitch.views.sockets import SocketView
    from pgswitch.views.statistics import StatisticsView

UNTOUCHED = "untouched"
"""A connection whose first byte is still to come."""


NO_DESCRIPTOR = -1
"""What a link has whose bytes do not go straight to a socket (TLS, ``-v -v``)."""


class TakeoverExporter:
    """Everything that another process can take over."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        credentials: ServerCredentials,
        *,
        clusters: Clusters,
        sockets: SocketView,
        statistics: StatisticsView,
    ) -> None:
        """Look at these parts of the service."""
        self.exported: frozenset[int] = frozenset()
        """The descriptors that were shown last, to be handed over."""
        self._clusters = clusters
        self._statistics = statistics
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._credentials = credentials
        self._sockets = sockets

    def rows(self) -> Sequence[DescriptorSnapshot]:
        """Return what SHOW HANDOVER shows; meant for a time of SUSPEND."""
        rows = [row for row in self._rows() if row.fd != NO_DESCRIPTOR]
        self.exported = frozenset(row.fd for row in rows)
        return rows

    def each_descriptor(self) -> Iterator[DescriptorSnapshot | None]:
        """Yield what SHOW FDS shows, which a PgBouncer takes over."""
        exported = set()
        for row in self._sockets.each_descriptor():
            if row is not None:
                exported.add(row.fd)
            yield row
        self.exported = frozenset(exported)

    def _rows(self) -> Iterator[DescriptorSnapshot]:
        state = json.dumps(self._service())
        for socket in self._sockets.listening():
            yield replace(socket, state=state)
            state = ""
        yield from self._servers()
        yield from self._clients()

    def _servers(self) -> Iterator[DescriptorSnapshot]:
        for pool in self._pools:
            for backend in pool.backends():
                if not backend.stored_state.serves_clients:
                    continue
                if _is_encrypted(backend.stream) or _is_encrypted(backend.stream.peer):
                    continue
                yield replace(
                    self._sockets.server_descriptor(backend),
                    state=json.dumps(self._server(backend)),
                )

    def _clients(self) -> Iterator[DescriptorSnapshot]:
        for client in self._login_service.clients.values():
            if client.console is not None or client.lost_transaction is not None:
                continue
            if client.is_untouched:
                yield replace(
                    self._sockets.client_descriptor(client),
                    fd=client.io.transport.fileno(),
                    state=UNTOUCHED,
                )
                continue
            if _is_encrypted(client.stream) or _is_encrypted(client.stream.server):
                continue
            if client.logged_in:
                yield replace(
                    self._sockets.client_descriptor(client),
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
            "parameters": self._sockets.tracked(client.stream.parameters),
            "startup": self._sockets.tracked(client.stream.startup_parameters),
            **pack_client(client.stream, now),
            "lost": _losses(client, now),
            "kept": ""
            if client.stream.interceptor is None
            else text(client.stream.interceptor.kept()),
        }

    def _replication(self, client: Frontend) -> Packed | None:
        """Return what a replication client's server is, or would be, opened with."""
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
            "parameters": self._sockets.tracked(backend.stream.parameters),
            **pack_server(backend.stream, now),
        }


def _is_encrypted(stream: Stream | None) -> bool:
    """Tell whether a connection is one by TLS, whose keys cannot be handed over.

    It ends with the old process, and so does the one that it is linked to.
    """
    return stream is not None and cast("SocketIO", stream.io).tls is not None


def _losses(client: Frontend, now: float) -> Packed | None:
    """Return what verdicts.py counts for the present statement."""
    if not client.requeued or client.requeued != client.stream.exchange.query_start:
        return None
    return {"since": age(client.requeued_since, now), "reruns": client.reruns}
