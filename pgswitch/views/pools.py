"""Snapshots of pools, and of what they are made from: databases, users, peers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import (
    DatabaseSnapshot,
    ListsSnapshot,
    PeerSnapshot,
    PoolSnapshot,
    UserSnapshot,
)
from pgswitch.auth.limits import CONSOLE_SPEC
from pgswitch.config.model import UserSpec
from pgswitch.pool.site import Site
from pgswitch.types import CONSOLE_DATABASES, CONSOLE_USER, PoolKey, PoolMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgswitch.auth.reception import FrontDesk
    from pgswitch.auth.store import AuthStore
    from pgswitch.config.model import DatabaseSpec, PeerSpec
    from pgswitch.names.resolver import Names
    from pgswitch.pool.cancelling import CancelKeys
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools

CONSOLE = CONSOLE_DATABASES[0]


class PoolView:
    """SHOW POOLS, DATABASES, USERS, PEERS and LISTS."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        desk: FrontDesk,
        store: AuthStore,
        keys: CancelKeys,
        *,
        names: Names,
    ) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._pools = pools
        self._desk = desk
        self._store = store
        self._keys = keys
        self._names = names

    def pools(self) -> Sequence[PoolSnapshot]:
        """Return the pools, the console's own included."""
        consoles = sum(one.console is not None for one in self._desk.clients.values())
        own = PoolSnapshot(
            database=CONSOLE,
            user=CONSOLE,
            pool_mode=PoolMode.STATEMENT,
            cl_active=consoles,
        )
        pools = {pool.key: self._pool(pool) for pool in self._pools}
        for one in self._standbys():
            key = PoolKey(one.database, one.user)
            readers = pools.get(key)
            pools[key] = (
                one
                if readers is None
                else replace(
                    readers,
                    sv_idle=readers.sv_idle + one.sv_idle,
                    sv_login=readers.sv_login + one.sv_login,
                )
            )
        return [*pools.values(), own]

    def _standbys(self) -> Iterator[PoolSnapshot]:
        """Yield what pools keep open to standbys, as pools of their nodes."""
        for pool in self._pools:
            if not isinstance(pool.site, Site):
                continue
            for name, backends in pool.site.standbys.by_name():
                states = [backend.state for backend in backends]
                yield PoolSnapshot(
                    database=name,
                    user=pool.key.user,
                    pool_mode=pool.mode,
                    sv_idle=states.count("idle"),
                    sv_login=states.count("new"),
                )

    def _pool(self, pool: ServerPool) -> PoolSnapshot:
        states = [backend.state for backend in pool.backends()]
        waiters = [*pool.verdicts.links(), *pool.waiting()]
        waiting = len(waiters) + len(pool.unwelcomed())
        return PoolSnapshot(
            database=pool.key.database,
            user=pool.key.user,
            pool_mode=pool.mode,
            cl_active=len(pool.clients) - waiting,
            cl_waiting=waiting + len(pool.errands),
            cl_active_cancel_req=pool.cancels.active,
            cl_waiting_cancel_req=pool.cancels.waiting,
            sv_active=states.count("active"),
            sv_active_cancel=pool.cancels.active,
            sv_being_canceled=states.count("being_canceled"),
            sv_idle=states.count("idle"),
            sv_used=states.count("used"),
            sv_tested=states.count("tested"),
            sv_login=states.count("new") + pool.cancels.connecting,
            maxwait_us=self._waited(waiters[0].waiting_since) if waiters else 0,
            load_balance_hosts=_balance(pool.spec),
        )

    def databases(self) -> Sequence[DatabaseSnapshot]:
        """Return the databases by name, the console's own and automatic ones too."""
        specs = {
            name: spec
            for name, spec in self._context.configuration.databases.items()
            if spec.dbname is not None
        }
        for pool in self._pools:
            if not pool.is_empty:
                specs.setdefault(pool.key.database, pool.spec)
        for spec in self._pools.families.specs():
            specs.setdefault(spec.name, spec)
        # An automatic one may be told to wait before anybody has used it.
        for name in {*self._pools.paused, *self._pools.disabled} - specs.keys():
            told = self._context.configuration.database(name)
            if told is not None:
                specs[name] = told
        effective = self._context.effective
        own = DatabaseSnapshot(
            name=CONSOLE,
            host=None,
            port=self._context.configuration.settings.listen_port,
            database=CONSOLE,
            force_user=CONSOLE,
            pool_size=2,
            server_lifetime=int(self._context.configuration.settings.server_lifetime),
            pool_mode=PoolMode.STATEMENT,
            max_connections=effective.max_db_connections(CONSOLE_SPEC, CONSOLE_USER),
            max_client_connections=effective.max_db_client_connections(
                CONSOLE_SPEC, CONSOLE_USER
            ),
            current_client_connections=self._desk.headcount.of_console(),
        )
        open_to = Counter(self._pools.totals.of_database)
        for one in self._standbys():
            open_to[one.database] += one.sv_idle + one.sv_login
        found = [self._database(spec, open_to[name]) for name, spec in specs.items()]
        found.append(own)
        return sorted(found, key=attrgetter("name"))

    def _database(self, spec: DatabaseSpec, connections: int) -> DatabaseSnapshot:
        effective = self._context.effective
        user = spec.user or ""
        return DatabaseSnapshot(
            name=spec.name,
            host=spec.host,
            port=spec.port,
            database=spec.dbname or spec.name,
            force_user=spec.user,
            pool_size=effective.pool_size(spec, user),
            min_pool_size=effective.min_pool_size(spec, user),
            reserve_pool_size=effective.reserve_pool_size(spec, user),
            server_lifetime=int(effective.server_lifetime(spec, user)),
            pool_mode=spec.pool_mode,
            load_balance_hosts=_balance(spec),
            max_connections=effective.max_db_connections(spec, user),
            current_connections=connections,
            max_client_connections=effective.max_db_client_connections(spec, user),
            current_client_connections=self._desk.headcount.of_database.get(
                spec.name, 0
            ),
            paused=spec.name in self._pools.paused,
            disabled=spec.name in self._pools.disabled,
        )

    def users(self) -> Sequence[UserSnapshot]:
        """Return the users of auth_file and of ``[users]`` and our own, by name."""
        configuration = self._context.configuration
        settings = configuration.settings
        names = {*self._store.users(), *configuration.users, CONSOLE_USER}
        names |= {pool.key.user for pool in self._pools}
        snapshots = []
        for name in sorted(names):
            spec = configuration.users.get(name, UserSpec(name=name))
            snapshots.append(
                UserSnapshot(
                    name=name,
                    pool_size=spec.pool_size,
                    reserve_pool_size=spec.reserve_pool_size,
                    pool_mode=spec.pool_mode,
                    max_user_connections=spec.max_user_connections
                    or settings.max_user_connections,
                    current_connections=self._pools.totals.of_user[name],
                    max_user_client_connections=spec.max_user_client_connections
                    or settings.max_user_client_connections,
                    current_client_connections=self._desk.headcount.of_user.get(
                        name, 0
                    ),
                )
            )
        return snapshots

    def peers(self) -> Sequence[PeerSnapshot]:
        """Return the peers of the configuration."""
        peers = self._context.configuration.peers
        return [self._peer(spec) for _id, spec in sorted(peers.items())]

    def _peer(self, spec: PeerSpec) -> PeerSnapshot:
        cancels = self._keys.peers.get(spec.peer_id)
        return PeerSnapshot(
            peer_id=spec.peer_id,
            host=spec.host,
            port=spec.port,
            pool_size=self._context.effective.peer_pool_size(spec.peer_id),
            has_pool=cancels is not None,
            cl_active_cancel_req=0 if cancels is None else cancels.active,
            cl_waiting_cancel_req=0 if cancels is None else cancels.waiting,
            sv_active_cancel=0 if cancels is None else cancels.active,
            sv_login=0 if cancels is None else cancels.connecting,
        )

    def lists(self) -> ListsSnapshot:
        """Return how many there are of each thing."""
        arriving = len(self._desk.arriving)
        names, zones, looking_up = self._names.counts()
        return ListsSnapshot(
            databases=len(self.databases()),
            users=len(self.users()),
            peers=len(self._context.configuration.peers),
            pools=len(self._pools) + 1,
            peer_pools=sum(one.has_pool for one in self.peers()),
            used_clients=len(self._desk.clients) - arriving,
            login_clients=arriving,
            used_servers=sum(1 for pool in self._pools for _ in pool.connections()),
            dns_names=names,
            dns_zones=zones,
            dns_queries=looking_up,
        )

    def _waited(self, since: float) -> int:
        """Return the microseconds since a monotonic time; 0.0 stands for never."""
        return int((self._context.clock() - since) * 1e6) if since else 0


def _balance(spec: DatabaseSpec) -> str | None:
    """Return the word for a list of hosts, None where there is only one."""
    return (spec.load_balance_hosts or "round-robin") if len(spec.hosts) > 1 else None
