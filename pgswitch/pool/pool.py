"""One pool: the servers of one database for one user, and the clients that use them.

The :class:`IdlePool` does what happens in every transaction.  The pool is its
:class:`PoolPolicy` and does the rest: it queues clients and gives them servers.  Parts
of it have files of their own: the servers from login to loss (server_connections.py),
resets, checks and parameters (release.py), auth_query (internal_queries.py), cancel
requests (outgoing_cancels.py), replication (replication.py), lost servers
(failover.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pgswitch.errors import ServerLoginFailing, TransactionBlocksNotAllowed
from pgswitch.net.connection_states import CloseReason, ServerState
from pgswitch.pool.connection_limits import Demand
from pgswitch.pool.failover import HeldClients
from pgswitch.pool.internal_queries import InternalQueries
from pgswitch.pool.modes import apply_mode, update_statements
from pgswitch.pool.outgoing_cancels import OutgoingCancels
from pgswitch.pool.parameter_sync import ParameterSync
from pgswitch.pool.release import ServerRelease, unfit
from pgswitch.pool.replication import ReplicationSession
from pgswitch.pool.server_connections import PAUSE_CLOSES, ServerConnections
from pgswitch.pool.wait_watchdog import WaitWatchdog
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.idle_pool import IdlePool, is_fit
from pgswitch.types import PoolKey, PoolMode
from pgswitch.wire.constants import STATUS_IDLE

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.connection_limits import ConnectionLimits
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.route import Route
    from pgswitch.relay.server_stream import ServerStream
    from pgswitch.wire.params import Welcome
    from pgswitch.wire.server_auth import Failed, ServerRefused


class ServerPool:
    """A pool; ``key`` names it, ``spec`` is its database entry."""

    def __init__(
        self,
        key: PoolKey,
        spec: DatabaseSpec,
        context: ServiceContext,
        connection_limits: ConnectionLimits,
    ) -> None:
        """Begin without servers: they are opened when clients need them."""
        self.key = key
        self.spec = spec
        self.context = context
        self.connection_limits = connection_limits
        self.idle_pool = IdlePool(self, context.clock)
        self.server_connections = ServerConnections(self)
        self.servers = self.server_connections.by_number
        self.clients: dict[int, Frontend] = {}
        """Logged-in clients by number."""
        self.login_waiters: list[Frontend] = []
        """Clients whose login waits for the first login of a server."""
        self.welcome: Welcome | None = None
        """What a server reports at login, and so what clients get at theirs."""
        self.route: Route | None = None
        """Where the servers are, if the database is a cluster."""
        self.replication: dict[int, ReplicationSession] = {}
        """What replication clients have instead of the idle pool, by client number."""
        self.internal_queries = InternalQueries(self)
        """Runs of auth_query for clients that log in."""
        self.cancels = OutgoingCancels(
            context, self.server_connections.room_for_cancels
        )
        """Cancel requests aimed at its servers."""
        self.paused = False
        """PAUSE of this database is in force."""
        self.last_lifetime_close = float("-inf")
        self.idle_since = context.clock()
        """When maintenance last found it in use, in monotonic seconds."""
        self.parameter_sync = ParameterSync(context, self.idle_pool)
        self.release = ServerRelease(self)
        self.held_clients = HeldClients(self)
        """Clients whose server is lost, until the cause is known."""
        self.wait_watchdog = WaitWatchdog()
        """Logs clients that wait for longer than they may."""
        self.configure()

    # Configuration.

    def configure(self) -> None:
        """Take the settings in force."""
        settings = self.context.configuration.settings
        before = self.idle_pool.mode
        mode = self.context.effective.pool_mode(self.spec, self.key.user)
        self.idle_pool.mode = int(mode)
        self.server_connections.configure()
        self.idle_pool.round_robin = bool(settings.server_round_robin)
        self.release.configure()
        self.update_open()
        apply_mode(self, before)

    @property
    def failing(self) -> str:
        """Why the last attempt to log in failed; empty if it did not."""
        return self.server_connections.login_attempts.failing

    @property
    def is_empty(self) -> bool:
        """Whether it has neither clients nor servers."""
        return not self.clients and not self.servers and not self.internal_queries

    @property
    def mode(self) -> PoolMode:
        """The pool mode in force."""
        return PoolMode(self.idle_pool.mode)

    def recycle(self, spec: DatabaseSpec, *, servers: bool) -> None:
        """Take a changed entry; with ``servers``, replace the present servers."""
        self.spec = spec
        if servers:
            self.expire_servers()
        self.configure()

    def expire_servers(self) -> None:
        """Close every present server instead of using it again (RECONNECT)."""
        self.server_connections.generation += 1
        self.welcome = None
        self.server_connections.expire()
        self.launch()

    def expire_at(self, addresses: Container[str]) -> None:
        """Close the servers at these addresses instead of using them again."""
        self.server_connections.expire(addresses)
        self.launch()

    # Clients.

    def add_client(self, client: Frontend) -> Welcome | None:
        """Take a client that has authenticated; return what to report to it.

        None while no server has logged in: the client's ``resume_login`` is called
        later, with what that server reports.
        """
        self.register_client(client)
        session = self.replication.get(client.number)
        if session is not None:
            return session.begin()
        route = self.route
        if self.welcome is not None and (route is None or not route.is_welcome_stale):
            return self.welcome
        self.login_waiters.append(client)
        client.begin_login_wait()
        self.launch()
        return None

    def register_client(self, client: Frontend) -> None:
        """Take a client that needs no welcome, perhaps of another process."""
        self.clients[client.number] = client
        if client.replicates:
            self.replication[client.number] = ReplicationSession(self, client)

    def remove_client(self, client: Frontend) -> None:
        """Remove a client that is leaving, and release or close its server."""
        if self.clients.pop(client.number, None) is None:
            return
        if client in self.login_waiters:
            self.login_waiters.remove(client)
        stream: ClientStream = client.stream
        if stream in self.idle_pool.waiters:
            self.idle_pool.waiters.remove(stream)
        self.parameter_sync.remove_client(stream)
        if stream.suspended:
            self.held_clients.remove(stream)
        session = self.replication.pop(client.number, None)
        server = stream.server
        if session is not None:
            session.end()
        elif server is not None:
            reason = unfit(stream, server)
            self.idle_pool.unlink(stream, server)
            if reason is not None:
                _backend(server).close(reason)
            else:
                self.idle_pool.put_back(server)
        if stream.statements is not None:
            stream.statements.leave()

    # The policy of the idle pool.

    def wait(self, client: ClientStream) -> None:
        """Queue a client that found no idle server, or disconnect it with an error."""
        if self.context.shutdown_fault is not None:
            client.frontend.disconnect(self.context.shutdown_fault())
            return
        now = self.context.clock()
        if self.is_failing:
            client.frontend.disconnect(ServerLoginFailing(reason=self.failing))
            self.launch(at_least=1)
            return
        client.suspend()
        client.waiting_since = now
        client.begin_query(now)
        self.idle_pool.waiters.append(client)
        if (
            self.idle_pool.idle
            or self.welcome is None
            or not self.server_connections.is_exhausted()
        ):
            self.serve_waiters()

    @property
    def is_failing(self) -> bool:
        """Whether no server is available before the next attempt to log in."""
        is_failing = (
            self.failing
            and self.route is None
            and not self.server_connections.has_login()
        )
        return bool(is_failing) and not self.is_blocked()

    def sync_parameters(self, client: ClientStream, server: ServerStream) -> bool:
        """Give the server the client's parameters; False: it has them already."""
        return self.parameter_sync.begin(client, _backend(server))

    def discard(self, server: ServerStream) -> None:
        """Close a server that must not be used."""
        reason = CloseReason.DISCARDED_DIRTY
        if server.close_needed:
            reason = CloseReason.OBSOLETE
        elif server.backlogged:
            reason = CloseReason.RELEASED_UNSENT
        _backend(server).close(reason)

    def released(self, server: ServerStream) -> None:
        """Reset, check or close a server that was released unlinked and clean."""
        self.release.released(_backend(server))

    def on_read_only(self, backend: Backend) -> None:
        """Have the monitor check the nodes: a server of a cluster takes no writes."""
        del backend
        if self.route is not None:
            self.route.suspect()

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """Disconnect a client that opened a transaction, and close its server."""
        fault = TransactionBlocksNotAllowed()
        client = backend.stream.peer
        if isinstance(client, ClientStream):
            self.idle_pool.unlink(client, backend.stream)
            client.frontend.disconnect(fault)
        backend.close(CloseReason.TRANSACTION_BLOCK)

    # Servers.

    def serve_waiters(self) -> None:
        """Give idle servers to waiting clients; check used ones; open more."""
        idle_pool = self.idle_pool
        while (
            idle_pool.idle
            and idle_pool.open
            and (idle_pool.waiters or self.internal_queries)
        ):
            server = idle_pool.idle.pop()
            if server.close_needed or not is_fit(server):
                self.discard(server)
            else:
                self.release.free(_backend(server))
        if idle_pool.open:
            wanted = len(idle_pool.waiters) + len(self.internal_queries)
            busy = self.server_connections.count_running_queries()
            self.release.check_used(wanted - busy)
        self.launch()

    def idle_pool_of(self, client: Frontend) -> IdlePool:
        """Return the idle pool that a client's servers come from."""
        session = self.replication.get(client.number)
        return self.idle_pool if session is None else session.idle_pool

    def waiting(self) -> list[ClientStream]:
        """Return the clients that wait for a server, replication clients last."""
        waiting = [*self.idle_pool.waiters]
        for session in self.replication.values():
            waiting += session.idle_pool.waiters
        return waiting

    def waiting_since(self) -> float:
        """Return since when the first client waits; infinite if none does."""
        since = [stream.waiting_since for stream in self.idle_pool.waiters[:1]]
        since += [client.waiting_since for client in self.waiting_logins()[:1]]
        return min(since, default=float("inf"))

    def waits_since(self) -> list[float]:
        """Return since when each client waits for a server, at its login too."""
        since = [stream.waiting_since for stream in self.waiting()]
        since += [stream.waiting_since for stream in self.held_clients.streams()]
        since += [client.waiting_since for client in self.waiting_logins()]
        since += [
            internal_query.waiting_since
            for internal_query in self.internal_queries.waiting()
        ]
        return [moment for moment in since if moment]

    def is_logging_in(self) -> bool:
        """Tell whether a server is logging in."""
        return self.server_connections.count(ServerState.LOGIN) > 0

    def waiting_logins(self) -> list[Frontend]:
        """Return the clients whose login waits for a server's."""
        sessions = self.replication.values()
        replicating = [one.client for one in sessions if not one.client.logged_in]
        return [*self.login_waiters, *replicating]

    def add_server(self, backend: Backend) -> None:
        """Take a connection that was kept open to a standby.

        It is at a login or at a check; :meth:`logged_in` follows.
        """
        backend.owner = self
        backend.database = self.key.database
        self.server_connections.register(backend)

    def inherit_server(self, backend: Backend, *, is_idle: bool) -> None:
        """Take a server that another process has logged in, linked or idle."""
        backend.stream.server_source = self.idle_pool
        backend.stream.counters = self.idle_pool.counters
        self.server_connections.inherit_welcome(backend)
        if is_idle:
            self.idle_pool.push_idle(backend.stream)

    def set_route(self, route: Route) -> None:
        """Connect where ``route`` says; the present servers stay."""
        self.route = route
        for backend in self.backends():
            if backend.stored_state is not ServerState.LOGIN:
                backend.stream.tracks_loss = True

    def expect_walsender(self, client: Frontend) -> Backend:
        """Return a new backend for a walsender that another process has opened."""
        return self.replication[client.number].create()

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the host that is connected to now."""
        return self.spec if self.route is None else self.route.target

    def is_in_use(self) -> bool:
        """Tell whether there are clients or servers, or the entry has a user."""
        return bool(self.clients) or bool(self.servers) or self.spec.user is not None

    def launch(self, *, at_least: int = 0) -> None:
        """Open servers for waiting clients, but for no fewer than ``at_least``."""
        for session in [*self.replication.values()]:
            session.open()
        settings = self.context.configuration.settings
        is_cluster = self.route is not None
        self.server_connections.launch(
            self._demand(at_least),
            free=self.server_connections.count_running_queries()
            - len(self.parameter_sync),
            login_retry=settings.polling_frequency
            if is_cluster
            else settings.server_login_retry,
        )

    def _demand(self, at_least: int) -> Demand:
        """Return what servers are wanted for."""
        waiting = len(self.idle_pool.waiters) + len(self.internal_queries)
        if self.login_waiters:
            waiting = max(waiting, 1)
        return Demand(
            waiting=max(waiting, at_least),
            overdue=self._overdue() if self.server_connections.reserve_size else 0,
            wants_minimum=bool(self.clients) or self.spec.user is not None,
            has_welcome=self.welcome is not None,
            # In a SUSPEND, logins under way may still finish.
            blocked=self.is_blocked()
            or (
                self.context.suspended
                and not self.login_waiters
                and not self.internal_queries
            ),
        )

    def _overdue(self) -> int:
        """Return how many clients have waited for longer than reserve_pool_timeout."""
        settings = self.context.configuration.settings
        since = self.context.clock() - settings.reserve_pool_timeout
        first = self.idle_pool.waiters[
            : self.server_connections.pool_size + self.server_connections.reserve_size
        ]
        return sum(stream.waiting_since < since for stream in first)

    def logged_in(self, backend: Backend) -> None:
        """Take a server that has logged in."""
        self.server_connections.logged_in(backend)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Cache why a login failed; disconnect clients that wait for it."""
        self.server_connections.login_refused(backend, refusal)

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Report the new value of a parameter that no client can change."""
        self.server_connections.reported(name, value, backend)

    def lost(self, backend: Backend, reason: CloseReason) -> None:
        """Remove a closed server, and deal with the client that was using it."""
        self.server_connections.lost(backend, reason)

    def learn_welcome(self, backend: Backend) -> None:
        """Report to clients that log in from now on what this server has reported."""
        self.server_connections.learn_welcome(backend)

    def resume_logins(self) -> None:
        """Go on with the logins that wait, if the welcome is known."""
        route = self.route
        if self.welcome is None or (route is not None and route.is_welcome_stale):
            return
        waiting, self.login_waiters = self.login_waiters, []
        for client in waiting:
            client.resume_login(self.welcome)

    # PAUSE, RESUME, counts.

    def is_blocked(self) -> bool:
        """Tell whether no client may get a server now: PAUSE, or no writer."""
        return self.is_searching() or self.context.paused or self.paused

    def closes_idle(self) -> bool:
        """Tell whether idle servers are closed, because no client may get them.

        They stay while the pool only waits for a cluster's nodes at a start.
        """
        if self.context.paused or self.paused:
            return True
        return (
            self.route is not None and self.route.searching and not self.route.starting
        )

    def is_searching(self) -> bool:
        """Tell whether clients wait for a writer."""
        return self.route is not None and self.route.searching

    def update_open(self) -> None:
        """Bring the idle pool's flags in line with PAUSE, routes and settings."""
        held = self.is_blocked()
        self.idle_pool.open = not held
        self.idle_pool.checks_releases = self.release.is_needed()

    def pause(self) -> None:
        """Close idle servers and logins: the pool is paused."""
        self.update_open()
        for backend in list(self.servers.values()):
            if backend.state in PAUSE_CLOSES:
                backend.close(CloseReason.PAUSED)

    def resume(self) -> None:
        """Serve again: the pause has ended."""
        self.update_open()
        self.serve_waiters()

    def is_syncing_parameters(self, backend: Backend) -> bool:
        """Tell whether a client's parameters are being set on a server."""
        return backend in self.parameter_sync

    def refuses_logins(self) -> bool:
        """Tell whether its node refuses logins, and no server is idle."""
        return (
            self.server_connections.login_attempts.is_refused
            and not self.idle_pool.idle
        )

    def load(self) -> int:
        """Return how many servers are in use or waited for."""
        return (
            len(self.servers) - len(self.idle_pool.idle) + len(self.idle_pool.waiters)
        )

    def connections(self) -> Iterator[Backend]:
        """Iterate over the servers, and over connections kept open to standbys."""
        yield from self.backends()
        if self.route is not None:
            yield from self.route.standby_servers()

    def backends(self) -> Iterator[Backend]:
        """Iterate over the servers, oldest first."""
        return iter(self.server_connections)


def _backend(server: ServerStream) -> Backend:
    """Return the control of a pool's own stream."""
    return cast("Backend", server.backend)


def move_client(client: Frontend, target: ServerPool) -> None:
    """Make ``target`` the pool whose servers the client uses from now on.

    The client must be outside any transaction or pipeline, and must not wait.  A
    server that it has in session pooling is released first, and is reset there.  Its
    tracked parameters and its prepared statements move with it.
    """
    stream: ClientStream = client.stream
    source: ServerPool = client.pool
    if stream.server is not None:
        exchange = stream.exchange
        # Only a Close that we have answered ourselves can make it look unclean.
        exchange.clean = (
            exchange.status == STATUS_IDLE
            and not exchange.outstanding()
            and not exchange.skipping
        )
        source.idle_pool.release(stream.server)
    source.clients.pop(client.number, None)
    target.clients[client.number] = client
    client.pool = target
    counters = target.idle_pool.counters
    stream.server_source = target.idle_pool
    stream.counters = counters
    if stream.statements is not None:
        stream.statements.counters = counters
    update_statements(client)
