"""All pools of the process, by database and user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.config.changes import needs_reconnect
from pgswitch.errors import DatabaseRemoved
from pgswitch.net.close_reason import CloseReason
from pgswitch.pool.cluster_databases import READER, ClusterDatabases
from pgswitch.pool.connection_limits import ConnectionLimits
from pgswitch.pool.pool import ServerPool
from pgswitch.types import PoolKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.context import ServiceContext


def _nobody(_pool: ServerPool) -> None:
    """Take no notice."""


class Pools:
    """Makes pools when they are first needed, and keeps them."""

    def __init__(self, context: ServiceContext) -> None:
        """Begin without pools."""
        self.context = context
        self.made: Callable[[ServerPool], object] = _nobody
        """Told of each new pool."""
        self.cluster_databases = ClusterDatabases()
        """The nodes of clusters."""
        self._pools: dict[tuple[str, str], ServerPool] = {}
        """By database and user: as found by a PoolKey as by a tuple made faster."""
        self.connection_limits = ConnectionLimits(context, lambda: self)
        self._minimum: dict[PoolKey, DatabaseSpec] = {}
        """Databases whose servers are kept open without any client."""
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

    def has(self, pool: ServerPool) -> bool:
        """Tell whether a pool is still one of these."""
        return self._pools.get(pool.key) is pool

    def pool(self, spec: DatabaseSpec, user: str) -> ServerPool:
        """Return the pool of a database for one login user, made if need be."""
        return self.pool_of(spec, spec.user or user)

    def pool_of(self, spec: DatabaseSpec, user: str) -> ServerPool:
        """Return the pool whose servers log in as ``user``, made if need be.

        That is somebody else than the entry's own ``user=`` for auth_user alone.
        """
        pool = self._pools.get((spec.name, user))
        if pool is None:
            key = PoolKey(spec.name, user)
            if self._is_automatic(spec.name) and not any(self.of_database(spec.name)):
                self.context.log.log(f"registered new auto-database: {spec.name}")
            pool = ServerPool(key, spec, self.context, self.connection_limits)
            pool.paused = spec.name in self.paused
            pool.update_open()
            self._pools[key] = pool
            self.made(pool)
        return pool

    def spec(self, name: str) -> DatabaseSpec | None:
        """Return the entry of a database, which may be a node of a cluster."""
        configuration = self.context.configuration
        if name in configuration.databases:
            return configuration.databases[name]
        return self.cluster_databases.spec(name) or configuration.database(name)

    def resolve_alias(self, name: str) -> str:
        """Return the database that is meant by a name: by a node's, its cluster."""
        if name in self.context.configuration.databases:
            return name
        found = self.cluster_databases.node_of(name)
        return name if found is None else found[0]

    def spec_of_key(self, key: str) -> DatabaseSpec | None:
        """Return the entry that a rule means, which is not looked for under ``*``."""
        spec = self.context.configuration.databases.get(self.resolve_alias(key))
        return None if spec is None or spec.dbname is None else spec

    def pool_for_role(
        self, spec: DatabaseSpec, user: str, role: str, here: ServerPool | None = None
    ) -> ServerPool:
        """Return the pool for what reads, or writes, in the cluster of an entry.

        Of several readers the one with least to do, and of these ``here``, the pool
        that the client is in; without any that takes clients in, that of the writer.
        A database that is no cluster has one pool for both.
        """
        readers = self.cluster_databases.readers(spec.name) if role == READER else []
        pools = [self.pool(reader, user) for reader in readers]
        pools = [one for one in pools if not one.refuses_logins()]
        if pools:
            return min(pools, key=lambda one: (one.load(), one is not here))
        return self.pool(spec, user)

    def belongs_to(self, pool: ServerPool, key: str) -> bool:
        """Tell whether a pool is that of an entry, or of a node of its cluster."""
        found = self.cluster_databases.node_of(pool.key.database)
        return key == (pool.key.database if found is None else found[0])

    def of_database(self, name: str | None) -> Iterator[ServerPool]:
        """Iterate over the pools of one database; of all for None."""
        for pool in self:
            if name is None or pool.key.database == name:
                yield pool

    def open_minimum(self) -> None:
        """Make the pools that are to be kept open without any client."""
        least = self.context.effective.min_pool_size
        self._minimum = {
            PoolKey(spec.name, spec.user): spec
            for spec in self.context.configuration.databases.values()
            if spec.dbname is not None
            and spec.user is not None
            and least(spec, spec.user) > 0
        }
        self._open_missing()

    def _open_missing(self) -> None:
        for key, spec in self._minimum.items():
            if key not in self._pools:
                self.pool(spec, key.user).launch()

    def drop_idle(self, now: float) -> None:
        """Forget pools and automatic databases that nobody has used for long.

        What is to be kept open and was dropped (KILL) is made again.
        """
        self._open_missing()
        settings = self.context.configuration.settings
        limit = settings.pool_idle_timeout
        for pool in self if limit else ():
            age = now - pool.idle_since
            if pool.is_empty and age > limit and pool.key not in self._minimum:
                self.context.log.log(
                    f"cleaning up idle pool for user {pool.key.user} on db"
                    f" {pool.key.database} because: pool idle timeout"
                    f" (age= {age:.0f}s)"
                )
                self.drop(pool)
        limit = settings.autodb_idle_timeout
        for name in self._automatic() if limit else ():
            pools = list(self.of_database(name))
            if name not in self.paused and all(
                pool.is_empty and now - pool.idle_since > limit for pool in pools
            ):
                self._end_database(name)

    def _automatic(self) -> set[str]:
        """Return the names of databases that were made from the template."""
        names = {pool.key.database for pool in self}
        return {name for name in names if self._is_automatic(name)}

    def _is_automatic(self, name: str) -> bool:
        """Tell whether a database has neither an entry of its own nor a cluster's."""
        in_file = name in self.context.configuration.databases
        return not in_file and self.cluster_databases.spec(name) is None

    def _end_database(self, name: str) -> None:
        """Drop all pools of a database that there is no more, and say so."""
        self.context.log.warning(
            f"dropping database '{name}' as it does not exist anymore or inactive"
            " auto-database"
        )
        for pool in self.of_database(name):
            self.drop(pool)

    def configure(self, *, recycle_all: bool) -> None:
        """Bring every pool in line with the configuration in force."""
        for name in {pool.key.database for pool in self}:
            if self.spec(name) is None:
                self._end_database(name)
        for pool in self:
            spec = self.spec(pool.key.database)
            assert spec is not None  # noqa: S101 - else it was ended
            changed = recycle_all or needs_reconnect(pool.spec, spec)
            pool.recycle(spec, servers=changed)
        self.open_minimum()

    def renew_cluster(self, spec: DatabaseSpec) -> None:
        """Bring the pools of a cluster's nodes in line with its changed entry."""
        self.cluster_databases.renew(spec)
        names = {*self.cluster_databases.names(spec.name).values()}
        for pool in self:
            own = self.cluster_databases.spec(pool.key.database)
            if own is not None and pool.key.database in names:
                pool.recycle(own, servers=needs_reconnect(pool.spec, own))

    def close_at(self, host: str, addresses: frozenset[str]) -> None:
        """Have servers closed in time that are at addresses which a name has lost.

        A database with several hosts is left alone: its servers are not known by name.
        That of a cluster is where its writer is, whatever its entry names.
        """
        for pool in self:
            if pool.target.hosts == (host,):
                pool.expire_at(addresses)

    def drop(self, pool: ServerPool) -> None:
        """End the clients and servers of a pool, and forget it."""
        self._pools.pop(pool.key, None)
        pool.paused = True  # or it would open new servers for those it loses
        for client in list(pool.clients.values()):
            client.disconnect(DatabaseRemoved())
        pool.internal_queries.fail(DatabaseRemoved())
        for backend in pool.backends():
            backend.close(CloseReason.REMOVED)
        self.connection_limits.set_starving(pool, starving=False)
        if pool.route is not None:
            pool.route.close()

    def set_paused(self, name: str, *, paused: bool) -> None:
        """Begin or end the pause of one database."""
        if paused:
            self.paused.add(name)
        else:
            self.paused.discard(name)
        for pool in self.of_database(name):
            pool.paused = paused
            if paused:
                pool.pause()
            else:
                pool.resume()

    def busy_servers(self, name: str | None) -> int:
        """Return how many servers a pause of this database has to wait for."""
        return sum(
            pool.server_connections.count_in_use() for pool in self.of_database(name)
        )
