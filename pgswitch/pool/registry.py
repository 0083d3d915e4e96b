"""All pools of the process, by database and user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.config.diff import recycles
from pgswitch.errors import DatabaseRemoved
from pgswitch.pool.pool import ServerPool
from pgswitch.types import PoolKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.context import PoolContext


class Pools:
    """Makes pools when they are first needed, and keeps them."""

    def __init__(self, context: PoolContext) -> None:
        """Begin without pools."""
        self.context = context
        self._pools: dict[PoolKey, ServerPool] = {}
        self.paused: set[str] = set()
        """Databases under PAUSE db or KILL."""
        self.disabled: set[str] = set()
        """Databases under DISABLE."""

    def __iter__(self) -> Iterator[ServerPool]:
        """Iterate over the pools; pools may come and go meanwhile."""
        return iter(list(self._pools.values()))

    def __len__(self) -> int:
        """Return how many pools there are."""
        return len(self._pools)

    def pool(self, spec: DatabaseSpec, user: str) -> ServerPool:
        """Return the pool of a database for one login user, made if need be."""
        key = PoolKey(spec.name, spec.user or user)
        pool = self._pools.get(key)
        if pool is None:
            if spec.name not in self.context.configuration.databases and not any(
                self.of_database(spec.name)
            ):
                self.context.log.log(f"registered new auto-database: {spec.name}")
            pool = ServerPool(key, spec, self.context)
            pool.paused = spec.name in self.paused
            pool.set_open()
            self._pools[key] = pool
        return pool

    def of_database(self, name: str | None) -> Iterator[ServerPool]:
        """Iterate over the pools of one database; of all for None."""
        for pool in self:
            if name is None or pool.key.database == name:
                yield pool

    def warm(self) -> None:
        """Make the pools that are to be kept open without any client."""
        for spec in self.context.configuration.databases.values():
            if spec.dbname is None or spec.user is None:
                continue
            if self.context.effective.min_pool_size(spec, spec.user) > 0:
                self.pool(spec, spec.user).launch()

    def configure(self, *, recycle_all: bool) -> None:
        """Bring every pool in line with the configuration in force."""
        configuration = self.context.configuration
        for pool in self:
            spec = configuration.database(pool.key.database)
            if spec is None:
                self.context.log.warning(
                    f"dropping database '{pool.key.database}' as it does not exist"
                    " anymore or inactive auto-database"
                )
                self.drop(pool)
                continue
            changed = recycle_all or recycles(pool.spec, spec)
            pool.recycle(spec, servers=changed)
        self.warm()

    def close_at(self, host: str, addresses: frozenset[str]) -> None:
        """Have servers closed in time that are at addresses which a name has lost.

        A database with several hosts is left alone: its servers are not known by name.
        """
        for pool in self:
            if pool.spec.hosts == (host,):
                pool.expire_at(addresses)

    def drop(self, pool: ServerPool) -> None:
        """End the clients and servers of a pool, and forget it."""
        self._pools.pop(pool.key, None)
        for client in list(pool.clients.values()):
            client.disconnect(DatabaseRemoved())
        for backend in pool.backends():
            backend.close("database removed")

    def set_paused(self, name: str, *, paused: bool) -> None:
        """Begin or end the pause of one database."""
        if paused:
            self.paused.add(name)
        else:
            self.paused.discard(name)
        for pool in self.of_database(name):
            pool.paused = paused
            if paused:
                pool.hold()
            else:
                pool.go_on()

    def busy_servers(self, name: str | None) -> int:
        """Return how many servers a pause of this database has to wait for."""
        return sum(pool.busy_servers() for pool in self.of_database(name))
