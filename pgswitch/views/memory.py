"""How many objects of each kind are alive, under the names of PgBouncer's caches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import MemorySnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgswitch.auth.reception import FrontDesk
    from pgswitch.auth.store import AuthStore
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.registry import Pools


class MemoryView:
    """SHOW MEM.

    No object is kept for reuse, so nothing is free; sizes are those of one living
    object with its attributes, without what these point to.
    """

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        desk: FrontDesk,
        store: AuthStore,
    ) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._pools = pools
        self._desk = desk
        self._store = store

    def memory(self) -> Sequence[MemorySnapshot]:
        """Return the twelve rows, in the reference's order."""
        configuration = self._context.configuration
        users = {*self._store.users(), *configuration.users}
        pools, clients = list(self._pools), list(self._desk.clients.values())
        servers = list(self._servers())
        kinds: tuple[tuple[str, Sequence[object]], ...] = (
            ("user_cache", list(users)),
            ("credentials_cache", [self._store.secret(user) for user in users]),
            ("db_cache", list(configuration.databases.values())),
            ("peer_cache", list(configuration.peers.values())),
            ("peer_pool_cache", ()),
            ("pool_cache", pools),
            ("outstanding_request_cache", self._outstanding()),
            ("server_cache", servers),
            ("client_cache", clients),
            ("iobuf_cache", self._buffers()),
            ("var_list_cache", self._parameters()),
            ("server_prepared_statement_cache", self._statements(servers)),
        )
        return [
            MemorySnapshot(
                name=name,
                size=_footprint(objects[0]) if objects else 0,
                used=len(objects),
            )
            for name, objects in kinds
        ]

    def _servers(self) -> Iterator[Backend]:
        for pool in self._pools:
            for backend in pool.backends():
                if hasattr(backend, "link"):
                    yield backend

    def _outstanding(self) -> list[object]:
        """Return the requests that clients wait to have answered."""
        return [
            entry
            for client in self._desk.clients.values()
            for entry in client.link.exchange.queue[client.link.exchange.head :]
        ]

    def _buffers(self) -> list[object]:
        """Return the chunks that wait to be sent or looked at."""
        return [
            chunk
            for client in self._desk.clients.values()
            for chunk in (*client.link.held, *client.link.pending)
        ]

    def _parameters(self) -> list[object]:
        """Return the different sets of tracked parameters, which connections share."""
        return list(
            {
                *(client.link.parameters for client in self._desk.clients.values()),
                *(backend.link.parameters for backend in self._servers()),
            }
        )

    def _statements(self, servers: Sequence[Backend]) -> list[object]:
        return [
            statement
            for backend in servers
            for statement in backend.link.statements.by_number.values()
        ]


def _footprint(one: object) -> int:
    """Return the bytes of an object and of its table of attributes."""
    return sys.getsizeof(one) + sys.getsizeof(getattr(one, "__dict__", ()))
