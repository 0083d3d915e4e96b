"""What the console sees of the running service; reads everything, changes nothing."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from pgswitch.admin.snapshots import (
    DatabaseSnapshot,
    ListsSnapshot,
    MemorySnapshot,
    PeerSnapshot,
    PoolSnapshot,
    RouteSnapshot,
    RuleSnapshot,
    SocketSnapshot,
    StateSnapshot,
    StatsReport,
    StatsSnapshot,
    UserSnapshot,
)
from pgswitch.config.model import UserSpec
from pgswitch.config.show import config_rows
from pgswitch.net.backend import Phase
from pgswitch.rules.deciding import plain_key
from pgswitch.stats.periods import NOTHING, Periods, Totals, plus
from pgswitch.testing import at_once
from pgswitch.types import CONSOLE_DATABASES, PoolMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgswitch.admin.snapshots import DnsHostSnapshot
    from pgswitch.auth.reception import FrontDesk
    from pgswitch.auth.store import AuthStore
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.cancelling import CancelKeys
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools
    from pgswitch.rules.advice import RulesDesk

CONSOLE = CONSOLE_DATABASES[0]


class ServiceView:
    """The View of admin/interfaces.py."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        desk: FrontDesk,
        store: AuthStore,
        keys: CancelKeys,
        *,
        rules: RulesDesk,
    ) -> None:
        """Look at these parts of the service."""
        self._rules = rules
        self._context = context
        self._pools = pools
        self._desk = desk
        self._store = store
        self._keys = keys
        self.periods = Periods(context.clock())

    # Sockets.

    def clients(self) -> Sequence[SocketSnapshot]:
        """Return the clients that have logged in, console clients included."""
        return [
            self._client(one)
            for one in self._desk.clients.values()
            if one.logged_in or one.cancelling or one.waiting_since
        ]

    def servers(self) -> Sequence[SocketSnapshot]:
        """Return the server connections."""
        return [
            self._server(backend)
            for pool in self._pools
            for backend in pool.backends()
            if hasattr(backend, "link")
        ]

    def sockets(self) -> Sequence[SocketSnapshot]:
        """Return every client and server connection."""
        clients = [self._client(one) for one in self._desk.clients.values()]
        return [*clients, *self.servers()]

    def _client(self, one: Frontend) -> SocketSnapshot:
        link = getattr(one, "link", None)
        server = None if link is None else link.server
        tracking = self._context.tracking
        local = one.local_address
        return SocketSnapshot(
            kind="C",
            id=one.number,
            user=one.user or None,
            database=one.database or None,
            state=one.state,
            socket_state="cl_login" if one.state == "login" else None,
            addr=one.address.host,
            port=one.address.port,
            replication="none" if one.facts is None else one.facts.replication.value,
            local_addr=local.host,
            local_port=local.port,
            connect_time=one.connected_time,
            request_time=self._wall(
                max(one.connected_at, 0.0 if link is None else link.last_request)
            ),
            ptr=id(one),
            wait_us=0 if link is None else self._since(link.exchange.query_start),
            link=None if server is None else id(server.backend),
            remote_pid=one.address.pid,
            application_name=None
            if link is None or not link.parameters
            else tracking.value(link.parameters, "application_name"),
            prepared_statements=0
            if link is None or link.statements is None
            else len(link.statements.names),
            pkt_remain=0 if link is None else link.skip,
        )

    def _server(self, backend: Backend) -> SocketSnapshot:
        link = backend.link
        client = link.peer
        exchange = link.exchange
        return SocketSnapshot(
            kind="S",
            id=backend.number,
            user=backend.user,
            database=backend.database,
            state=backend.state,
            socket_state="sv_login" if backend.phase is Phase.LOGIN else None,
            addr=backend.address.host,
            port=backend.address.port,
            replication=backend.replication,
            local_addr=backend.local_address.host,
            local_port=backend.local_address.port,
            connect_time=backend.connected_time,
            request_time=self._wall(
                exchange.query_start
                if exchange is not None and exchange.query_start
                else max(link.ready_since, backend.connected_at)
            ),
            ptr=id(backend),
            wait_us=0 if exchange is None else self._since(exchange.query_start),
            close_needed=link.stale,
            link=None if client is None else id(client.control),
            remote_pid=int.from_bytes(backend.cancel_key[:4], "big"),
            application_name=self._context.tracking.value(
                link.parameters, "application_name"
            )
            if link.parameters
            else None,
            prepared_statements=len(link.statements),
            pkt_remain=link.skip,
        )

    def _wall(self, then: float) -> float:
        """Return a monotonic time as seconds since the epoch."""
        return time() - (self._context.clock() - then)

    def _since(self, then: float) -> int:
        """Return the microseconds since a monotonic time; 0.0 stands for never."""
        return int((self._context.clock() - then) * 1e6) if then else 0

    # Pools, databases, users.

    def pools(self) -> Sequence[PoolSnapshot]:
        """Return the pools, the console's own included."""
        consoles = sum(one.console is not None for one in self._desk.clients.values())
        own = PoolSnapshot(
            database=CONSOLE,
            user=CONSOLE,
            pool_mode=PoolMode.STATEMENT,
            cl_active=consoles,
        )
        return [*(self._pool(pool) for pool in self._pools), own]

    def _pool(self, pool: ServerPool) -> PoolSnapshot:
        states = [backend.state for backend in pool.backends()]
        waiters = pool.waiting()
        waiting = len(waiters) + len(pool.unwelcomed())
        return PoolSnapshot(
            database=pool.key.database,
            user=pool.key.user,
            pool_mode=pool.mode,
            cl_active=len(pool.clients) - waiting,
            cl_waiting=waiting,
            cl_active_cancel_req=sum(
                target is pool for _client, target in self._keys.under_way
            ),
            sv_active=states.count("active"),
            sv_active_cancel=sum(
                target is pool for _client, target in self._keys.under_way
            ),
            sv_being_canceled=states.count("being_canceled"),
            sv_idle=states.count("idle"),
            sv_used=states.count("used"),
            sv_tested=states.count("tested"),
            sv_login=states.count("new"),
            maxwait_us=self._since(waiters[0].waiting_since) if waiters else 0,
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
            specs.setdefault(pool.key.database, pool.spec)
        own = DatabaseSnapshot(
            name=CONSOLE,
            host=None,
            port=self._context.configuration.settings.listen_port,
            database=CONSOLE,
            force_user=CONSOLE,
            pool_size=2,
            pool_mode=PoolMode.STATEMENT,
        )
        return [*(self._database(specs[name]) for name in sorted(specs)), own]

    def _database(self, spec: DatabaseSpec) -> DatabaseSnapshot:
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
            current_connections=sum(
                len(pool.servers) for pool in self._pools.of_database(spec.name)
            ),
            max_client_connections=effective.max_db_client_connections(spec, user),
            current_client_connections=sum(
                len(pool.clients) for pool in self._pools.of_database(spec.name)
            ),
            paused=spec.name in self._pools.paused,
            disabled=spec.name in self._pools.disabled,
        )

    def users(self) -> Sequence[UserSnapshot]:
        """Return the users of auth_file and of ``[users]``, by name."""
        configuration = self._context.configuration
        settings = configuration.settings
        names = {*self._store.users(), *configuration.users}
        names |= {pool.key.user for pool in self._pools}
        snapshots = []
        for name in sorted(names):
            spec = configuration.users.get(name, UserSpec(name=name))
            servers = sum(
                len(pool.servers) for pool in self._pools if pool.key.user == name
            )
            snapshots.append(
                UserSnapshot(
                    name=name,
                    pool_size=spec.pool_size,
                    reserve_pool_size=spec.reserve_pool_size,
                    pool_mode=spec.pool_mode,
                    max_user_connections=spec.max_user_connections
                    or settings.max_user_connections,
                    current_connections=servers,
                    max_user_client_connections=spec.max_user_client_connections
                    or settings.max_user_client_connections,
                    current_client_connections=sum(
                        one.user == name for one in self._desk.clients.values()
                    ),
                )
            )
        return snapshots

    def peers(self) -> Sequence[PeerSnapshot]:
        """Return the peers of the configuration."""
        configuration = self._context.configuration
        return [
            PeerSnapshot(
                peer_id=number,
                host=spec.host,
                port=spec.port,
                pool_size=configuration.settings.default_pool_size
                if spec.pool_size is None
                else spec.pool_size,
            )
            for number, spec in sorted(configuration.peers.items())
        ]

    # Counting.

    def totals(self) -> dict[str, Totals]:
        """Return the counts of each database that has a pool."""
        totals: dict[str, Totals] = {}
        for pool in self._pools:
            name = pool.key.database
            counts = pool.rack.counters.values()
            totals[name] = plus(totals.get(name, NOTHING), counts)
        return totals

    def stats(self) -> StatsReport:
        """Return the counters now and their averages."""
        now = self._context.clock()
        totals = {**self.totals(), CONSOLE: NOTHING}
        averages = self.periods.averages(now, totals)
        total = NOTHING
        for counts in totals.values():
            total = plus(total, counts)
        return StatsReport(
            totals={name: StatsSnapshot(*one) for name, one in totals.items()},
            averages={name: StatsSnapshot(*one) for name, one in averages.items()},
            total=StatsSnapshot(*total),
            total_averages=StatsSnapshot(*self.periods.of_all(now, totals)),
        )

    def state(self) -> StateSnapshot:
        """Return whether the service is paused or shutting down."""
        return StateSnapshot(
            paused=self._context.paused, shutting_down=self._desk.shutting_down
        )

    def lists(self) -> ListsSnapshot:
        """Return how many there are of each thing."""
        arriving = len(self._desk.arriving)
        return ListsSnapshot(
            databases=len(self.databases()),
            users=len(self.users()),
            peers=len(self._context.configuration.peers),
            pools=len(self._pools) + 1,
            used_clients=len(self._desk.clients) - arriving,
            login_clients=arriving,
            used_servers=sum(len(pool.servers) for pool in self._pools),
        )

    def memory(self) -> Sequence[MemorySnapshot]:
        """Return nothing: no object is kept in a cache of its own kind."""
        return ()

    def rules(self) -> Sequence[RuleSnapshot]:
        """Return the functions in force, with the databases they are for."""
        book = self._rules.book
        if book is None:
            return ()
        return [
            RuleSnapshot(
                rule=rule.name,
                database=",".join(book.databases[key]),
                file=rule.module.path,
                written_at=rule.module.written_at,
                digest=rule.module.digest,
                calls=rule.measures.times.count,
                kept=rule.measures.kept,
                effects=rule.measures.effects,
                errors=rule.measures.errors,
                refused=rule.measures.refused,
                unknown=rule.measures.unknown,
                p50_us=rule.measures.times.percentile(0.5),
                p99_us=rule.measures.times.percentile(0.99),
                max_us=rule.measures.times.longest,
                last_error=rule.measures.last_error,
            )
            for key, rule in sorted(book.rules.items())
        ]

    def route(self, query: str, user: str, database: str) -> RouteSnapshot:
        """Return what the rules make of a query of a client of this database."""
        rules = self._rules.rules_of(database)
        if rules is None:
            return RouteSnapshot(query=query, database=database, why="no rules")
        outcome = at_once(rules, query, user=user)
        key = outcome.database
        if key is None:
            target, why = database, "routing_rules did not name a database"
        else:
            target, why = plain_key(key), f"routing_rules returned {key!r}"
        spec = self._context.configuration.databases.get(target)
        if spec is None and key is not None:
            why += ", which is no entry of [databases]: the client stays"
        return RouteSnapshot(
            query=outcome.query,
            database=target,
            role=key.rpartition(":")[2] if key and target != key else None,
            node=None if spec is None else f"{spec.host or 'unix'}:{spec.port}",
            why="; ".join([why, *outcome.failures]),
            microseconds=outcome.microseconds,
        )

    def dns_hosts(self) -> Sequence[DnsHostSnapshot]:
        """Return nothing: names are looked up for each connection."""
        return ()

    def config_rows(self) -> Sequence[tuple[str, str | None, str | None, str]]:
        """Return name, value, default and whether it can be changed."""
        return config_rows(self._context.configuration.settings)


def _balance(spec: DatabaseSpec) -> str | None:
    """Return the word for a list of hosts, None where there is only one."""
    return spec.load_balance_hosts if len(spec.hosts) > 1 else None
