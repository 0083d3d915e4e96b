"""How many objects of each kind are alive, under the names of PgBouncer's caches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pgswitch.admin.rows import PAUSE
from pgswitch.admin.snapshots import MemorySnapshot
from pgswitch.views.steps import POOLS_A_STEP, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.login_service import LoginService
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools


class MemoryView:
    """SHOW MEM.

    No object is kept for reuse, so nothing is free; sizes are those of one living
    object with its attributes, without what these point to.
    """

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        store: AuthFile,
    ) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._store = store

    def memory(self) -> Sequence[MemorySnapshot]:
        """Return the twelve rows, in the reference's order."""
        return shown(self.each_memory())

    def each_memory(self) -> Iterator[MemorySnapshot | None]:
        """Yield the same one by one; None while others may be served."""
        configuration = self._context.configuration
        users = {*self._store.users(), *configuration.users}
        servers: list[Backend] = []
        for number, pool in enumerate(self._pools, 1):
            servers += (one for one in pool.backends() if hasattr(one, "stream"))
            if number % POOLS_A_STEP == 0:
                yield None
        kinds: tuple[tuple[str, Callable[[], Sequence[object]]], ...] = (
            ("user_cache", lambda: list(users)),
            ("credentials_cache", lambda: list(map(self._store.secret, users))),
            ("db_cache", lambda: list(configuration.databases.values())),
            ("peer_cache", lambda: list(configuration.peers.values())),
            ("peer_pool_cache", tuple),
            ("pool_cache", lambda: list(self._pools)),
            ("outstanding_request_cache", self._outstanding),
            ("server_cache", lambda: servers),
            ("client_cache", lambda: list(self._login_service.clients.values())),
            ("iobuf_cache", self._buffers),
            ("var_list_cache", lambda: self._parameters(servers)),
            ("server_prepared_statement_cache", lambda: self._statements(servers)),
        )
        for name, collect in kinds:
            objects = collect()
            size = _footprint(objects[0]) if objects else 0
            yield MemorySnapshot(name=name, size=size, used=len(objects))
            yield from PAUSE

    def _outstanding(self) -> list[object]:
        """Return the requests that clients wait to have answered."""
        return [
            entry
            for client in self._login_service.clients.values()
            for entry in client.stream.exchange.queue[client.stream.exchange.head :]
        ]

    def _buffers(self) -> list[object]:
        """Return the chunks that wait to be sent or looked at."""
        return [
            chunk
            for client in self._login_service.clients.values()
            for chunk in (*client.stream.held, *client.stream.pending)
        ]

    def _parameters(self, servers: Sequence[Backend]) -> list[object]:
        """Return the different sets of tracked parameters, which connections share."""
        return list(
            {
                *(
                    client.stream.parameters
                    for client in self._login_service.clients.values()
                ),
                *(backend.stream.parameters for backend in servers),
            }
        )

    def _statements(self, servers: Sequence[Backend]) -> list[object]:
        return [
            statement
            for backend in servers
            for statement in backend.stream.statements.by_number.values()
        ]


def _footprint(one: object) -> int:
    """Return the bytes of an object and of its table of attributes."""
    return sys.getsizeof(one) + sys.getsizeof(getattr(one, "__dict__", ()))
