"""All pools of the process, by database and user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.config.model import needs_reconnect
from pgswitch.errors import DatabaseRemoved
from pgswitch.net.connection_states import CloseReason
from pgswitch.pool.cluster_databases import READER, ClusterDatabases
from pgswitch.pool.connection_limits import ConnectionLimits
from pgswitch.pool.pool import ServerPool
from pgswitch.types import PoolKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.context import ServiceContext


def _ignore(_pool: ServerPool) -> None:
    """Do nothing."""


class Pools:
    """Creates pools when they are first needed."""

    def __init__(self, context: ServiceContext) -> None:
        """Begin without pools."""
        self.context = context
        self.on_new_pool: Callable[[ServerPool], object] = _ignore
        """Called with each new pool."""
        self.cluster_databases = ClusterDatabases()
        """The nodes of clusters."""
        self._pools: dict[tuple[str, str], ServerPool] = {}
        """By PoolKey, for which a plain tuple is a faster equal."""
        self.connection_limits = ConnectionLimits(context, lambda: self)
        self._minimum: dict[PoolKey, DatabaseSpec] = {}
        """Databases with a min_pool_size and a user: their servers need no clients."""
        self.paused: set[str] = set()
        """Databases under PAUSE db or KILL."""
        self.disabled: set[str] = set()
        """Databases under DISABLE."""

    def __iter__(self) -> Iterator[ServerPool]:
        """Iterate over a copy of the pools."""
        return iter(list(self._pools.values()))

    def __len__(self) -> int:
        """Return how many pools there are."""
        return len(self._pools)

    def has(self, pool: ServerPool) -> bool:
        """Tell whether a pool has not been dropped."""
        return self._pools.get(pool.key) is pool

    def pool(self, spec: DatabaseSpec, user: str) -> ServerPool:
        """Return the pool of a database for a client's user, created if need be."""
        return self.pool_of(spec, spec.user or user)

    def pool_of(self, spec: DatabaseSpec, user: str) -> ServerPool:
        """Return the pool whose servers log in as ``user``, created if need be.

        ``user`` differs from the entry's ``user=`` for auth_user only.
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
            self.on_new_pool(pool)
        return pool

    def spec(self, name: str) -> DatabaseSpec | None:
        """Return the entry of a database, which may be a node of a cluster."""
        configuration = self.context.configuration
        if name in configuration.databases:
            return configuration.databases[name]
        return self.cluster_databases.spec(name) or configuration.database(name)

    def resolve_alias(self, name: str) -> str:
        """Return the database for a name; a node's name means its cluster."""
        if name in self.context.configuration.databases:
            return name
        found = self.cluster_databases.node_of(name)
        return name if found is None else found[0]

    def spec_of_key(self, key: str) -> DatabaseSpec | None:
        """Return the entry for the key in a rule; ``*`` does not count."""
        spec = self.context.configuration.databases.get(self.resolve_alias(key))
        return None if spec is None or spec.dbname is None else spec

    def pool_for_role(
        self, spec: DatabaseSpec, user: str, role: str, here: ServerPool | None = None
    ) -> ServerPool:
        """Return the pool for reading, or for writing, in the cluster of an entry.

        Of several readers it is the one with the lowest load, and among equals
        ``here``, the client's present pool; the writer's if none is available.  A
        database that is no cluster has one pool for both.
        """
        readers = self.cluster_databases.readers(spec.name) if role == READER else []
        pools = [self.pool(reader, user) for reader in readers]
        pools = [one for one in pools if not one.refuses_logins()]
        if pools:
            return min(pools, key=lambda one: (one.load(), one is not here))
        return self.pool(spec, user)

    def belongs_to(self, pool: ServerPool, key: str) -> bool:
        """Tell whether a pool belongs to an entry, or to a node of its cluster."""
        found = self.cluster_databases.node_of(pool.key.database)
        return key == (pool.key.database if found is None else found[0])

    def of_database(self, name: str | None) -> Iterator[ServerPool]:
        """Iterate over the pools of one database; of all for None."""
        for pool in self:
            if name is None or pool.key.database == name:
                yield pool

    def open_minimum(self) -> None:
        """Create the pools whose min_pool_size holds without any client."""
        min_pool_size = self.context.effective.min_pool_size
        self._minimum = {
            PoolKey(spec.name, spec.user): spec
            for spec in self.context.configuration.databases.values()
            if spec.dbname is not None
            and spec.user is not None
            and min_pool_size(spec, spec.user) > 0
        }
        self._open_missing()

    def _open_missing(self) -> None:
        for key, spec in self._minimum.items():
            if key not in self._pools:
                self.pool(spec, key.user).launch()

    def drop_idle(self, now: float) -> None:
        """Drop pools and automatic databases that have not been used for long.

        Pools whose min_pool_size needs no clients are created again after a KILL.
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
        """Return the names of databases made from the ``*`` entry."""
        names = {pool.key.database for pool in self}
        return {name for name in names if self._is_automatic(name)}

    def _is_automatic(self, name: str) -> bool:
        """Tell whether a database has neither an entry nor a cluster."""
        in_file = name in self.context.configuration.databases
        return not in_file and self.cluster_databases.spec(name) is None

    def _end_database(self, name: str) -> None:
        """Drop all pools of a database that has been removed, and log it."""
        self.context.log.warning(
            f"dropping database '{name}' as it does not exist anymore or inactive"
            " auto-database"
        )
        for pool in self.of_database(name):
            self.drop(pool)

    def configure(self, *, recycle_all: bool) -> None:
        """Apply the configuration in force to every pool."""
        for name in {pool.key.database for pool in self}:
            if self.spec(name) is None:
                self._end_database(name)
        for pool in self:
            spec = self.spec(pool.key.database)
            assert spec is not None  # noqa: S101 - else it was dropped
            changed = recycle_all or needs_reconnect(pool.spec, spec)
            pool.recycle(spec, servers=changed)
        self.open_minimum()

    def renew_cluster(self, spec: DatabaseSpec) -> None:
        """Apply a cluster's changed entry to the pools of its nodes."""
        self.cluster_databases.renew(spec)
        names = {*self.cluster_databases.names(spec.name).values()}
        for pool in self:
            own = self.cluster_databases.spec(pool.key.database)
            if own is not None and pool.key.database in names:
                pool.recycle(own, servers=needs_reconnect(pool.spec, own))

    def close_at(self, host: str, addresses: frozenset[str]) -> None:
        """Replace servers at addresses that a host name no longer has.

        Does nothing for a database with several hosts: which of them a server belongs
        to is unknown.  A cluster's host is that of its writer.
        """
        for pool in self:
            if pool.target.hosts == (host,):
                pool.expire_at(addresses)

    def drop(self, pool: ServerPool) -> None:
        """Disconnect the clients and servers of a pool, and remove it."""
        self._pools.pop(pool.key, None)
        pool.paused = True  # or it would open new servers for its clients
        for client in list(pool.clients.values()):
            client.disconnect(DatabaseRemoved())
        pool.internal_queries.fail(DatabaseRemoved())
        for backend in pool.backends():
            backend.close(CloseReason.REMOVED)
        self.connection_limits.set_starving(pool, starving=False)
        if pool.route is not None:
            pool.route.close()

    def set_paused(self, name: str, *, paused: bool) -> None:
        """Pause or resume one database."""
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
        """Return how many servers a PAUSE of this database waits for."""
        return sum(
            pool.server_connections.count_in_use() for pool in self.of_database(name)
        )
