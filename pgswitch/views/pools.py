"""Snapshots of pools, and of what they are made from: databases, users, peers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pgswitch.admin.rows import PAUSE
from pgswitch.admin.snapshots import (
    DatabaseSnapshot,
    ListsSnapshot,
    PeerSnapshot,
    PoolSnapshot,
    UserSnapshot,
)
from pgswitch.auth.client_counts import CONSOLE_SPEC
from pgswitch.config.model import UserSpec
from pgswitch.pool.writer_route import WriterRoute
from pgswitch.types import CONSOLE_DATABASES, CONSOLE_USER, PoolKey, PoolMode
from pgswitch.views.steps import POOLS_A_STEP, finished, shown

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.login_service import LoginService
    from pgswitch.config.model import DatabaseSpec, PeerSpec
    from pgswitch.dns.resolver import Resolver
    from pgswitch.pool.cancel_keys import CancelKeys
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools

CONSOLE = CONSOLE_DATABASES[0]


class PoolView:
    """SHOW POOLS, DATABASES, USERS, PEERS and LISTS."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        store: AuthFile,
        keys: CancelKeys,
        *,
        names: Resolver,
    ) -> None:
        """Look at these parts of the service."""
        self._context = context
        self._pools = pools
        self._login_service = login_service
        self._store = store
        self._keys = keys
        self._names = names

    def pools(self) -> Sequence[PoolSnapshot]:
        """Return the pools by database and user, the console's own included."""
        return shown(self.each_pool())

    def each_pool(self) -> Iterator[PoolSnapshot | None]:
        """Yield the same one by one, each as it is when it is asked for."""
        apart: dict[PoolKey, PoolSnapshot] = {}
        for one in self._standbys():
            if one is not None:
                key = PoolKey(one.database, one.user)
                apart[key] = _together(one, apart.get(key))
            yield None
        pools = {pool.key: pool for pool in self._pools}
        own = PoolKey(CONSOLE, CONSOLE)
        keys = sorted({*pools, *apart, own})
        yield from PAUSE
        for key in keys:
            if key in pools:
                yield _together(self._pool(pools[key]), apart.get(key))
            else:
                yield apart[key] if key in apart else self._own_pool()

    def _own_pool(self) -> PoolSnapshot:
        """Return the console's own."""
        consoles = sum(
            one.console is not None for one in self._login_service.clients.values()
        )
        return PoolSnapshot(
            database=CONSOLE,
            user=CONSOLE,
            pool_mode=PoolMode.STATEMENT,
            cl_active=consoles,
        )

    def _standbys(self) -> Iterator[PoolSnapshot | None]:
        """Yield what pools keep open to standbys, as pools of their nodes."""
        for pool in self._pools:
            if not isinstance(pool.route, WriterRoute):
                continue
            for name, backends in pool.route.standbys.by_name():
                states = [backend.state.column for backend in backends]
                yield PoolSnapshot(
                    database=name,
                    user=pool.key.user,
                    pool_mode=pool.mode,
                    sv_idle=states.count("idle"),
                    sv_login=states.count("new"),
                )
            yield None

    def _pool(self, pool: ServerPool) -> PoolSnapshot:
        states = [backend.state.column for backend in pool.backends()]
        waiters = [*pool.held_clients.streams(), *pool.waiting()]
        waiting = len(waiters) + len(pool.unwelcomed())
        return PoolSnapshot(
            database=pool.key.database,
            user=pool.key.user,
            pool_mode=pool.mode,
            cl_active=len(pool.clients) - waiting,
            cl_waiting=waiting + len(pool.internal_queries),
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
        return shown(self.each_database())

    def _specs(self) -> dict[str, DatabaseSpec]:
        """Return the entries of all databases but the console's, by name."""
        specs = {
            name: spec
            for name, spec in self._context.configuration.databases.items()
            if spec.dbname is not None
        }
        for pool in self._pools:
            if not pool.is_empty:
                specs.setdefault(pool.key.database, pool.spec)
        for spec in self._pools.cluster_databases.specs():
            specs.setdefault(spec.name, spec)
        # An automatic one may be told to wait before anybody has used it.
        for name in {*self._pools.paused, *self._pools.disabled} - specs.keys():
            told = self._context.configuration.database(name)
            if told is not None:
                specs[name] = told
        return specs

    def each_database(self) -> Iterator[DatabaseSnapshot | None]:
        """Yield the databases one by one."""
        specs = self._specs()
        yield from PAUSE
        open_to = Counter(self._pools.connection_limits.of_database)
        for one in self._standbys():
            if one is not None:
                open_to[one.database] += one.sv_idle + one.sv_login
            yield None
        names = sorted({*specs, CONSOLE})
        yield from PAUSE
        for name in names:
            if name in specs:
                yield self._database(specs[name], open_to[name])
            else:
                yield self._own_database()

    def _own_database(self) -> DatabaseSnapshot:
        """Return the console's own."""
        effective = self._context.effective
        return DatabaseSnapshot(
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
            current_client_connections=self._login_service.client_counts.of_console(),
        )

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
            current_client_connections=self._login_service.client_counts.of_database.get(
                spec.name, 0
            ),
            paused=spec.name in self._pools.paused,
            disabled=spec.name in self._pools.disabled,
        )

    def users(self) -> Sequence[UserSnapshot]:
        """Return the users of auth_file and of ``[users]`` and our own, by name."""
        return shown(self.each_user())

    def _user_names(self) -> set[str]:
        names = {*self._store.users(), *self._context.configuration.users}
        return {*names, CONSOLE_USER, *(pool.key.user for pool in self._pools)}

    def each_user(self) -> Iterator[UserSnapshot | None]:
        """Yield the users one by one."""
        names = sorted(self._user_names())
        yield from PAUSE
        for name in names:
            yield self._user(name)

    def _user(self, name: str) -> UserSnapshot:
        configuration = self._context.configuration
        settings = configuration.settings
        spec = configuration.users.get(name) or UserSpec(name=name)
        return UserSnapshot(
            name=name,
            pool_size=spec.pool_size,
            reserve_pool_size=spec.reserve_pool_size,
            pool_mode=spec.pool_mode,
            max_user_connections=spec.max_user_connections
            or settings.max_user_connections,
            current_connections=self._pools.connection_limits.of_user[name],
            max_user_client_connections=spec.max_user_client_connections
            or settings.max_user_client_connections,
            current_client_connections=self._login_service.client_counts.of_user.get(
                name, 0
            ),
        )

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
        return finished(self.gather_lists())

    def gather_lists(self) -> Generator[None, None, ListsSnapshot]:
        """Return the same in steps."""
        databases = len({*self._specs(), CONSOLE})
        yield from PAUSE
        users = len(self._user_names())
        yield from PAUSE
        servers = 0
        for number, pool in enumerate(self._pools, 1):
            servers += sum(1 for _ in pool.connections())
            if number % POOLS_A_STEP == 0:
                yield
        arriving = len(self._login_service.arriving)
        names, zones, looking_up = self._names.counts()
        return ListsSnapshot(
            databases=databases,
            users=users,
            peers=len(self._context.configuration.peers),
            pools=len(self._pools) + 1,
            peer_pools=sum(one.has_pool for one in self.peers()),
            used_clients=len(self._login_service.clients) - arriving,
            login_clients=arriving,
            used_servers=servers,
            dns_names=names,
            dns_zones=zones,
            dns_queries=looking_up,
        )

    def _waited(self, since: float) -> int:
        """Return the microseconds since a monotonic time; 0.0 stands for never."""
        return int((self._context.clock() - since) * 1e6) if since else 0


def _together(one: PoolSnapshot, apart: PoolSnapshot | None) -> PoolSnapshot:
    """Return a pool with the connections to its node that others keep open."""
    if apart is None:
        return one
    return replace(
        one,
        sv_idle=one.sv_idle + apart.sv_idle,
        sv_login=one.sv_login + apart.sv_login,
    )


def _balance(spec: DatabaseSpec) -> str | None:
    """Return the word for a list of hosts, None where there is only one."""
    return (spec.load_balance_hosts or "round-robin") if len(spec.hosts) > 1 else None
