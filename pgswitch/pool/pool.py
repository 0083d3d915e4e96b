"""One pool: the servers of one database for one user, and the clients that use them.

The Rack does what happens for every transaction; this is the rack's steward and does
the rest: it queues clients and gives them servers.  Parts of it have files of their
own: opening servers (server_connections.py), their logins and losses
(server_events.py), setting parameters (parameter_sync.py), resets and checks
(release.py), auth_query (internal_queries.py), cancel requests (outgoing_cancels.py),
replication (replication.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, cast

from pgswitch.errors import ServerLoginFailing, TransactionBlocksNotAllowed
from pgswitch.net.backend import Backend, Phase
from pgswitch.pool import server_events
from pgswitch.pool.held_clients import HeldClients
from pgswitch.pool.internal_queries import InternalQueries
from pgswitch.pool.modes import adapt
from pgswitch.pool.outgoing_cancels import OutgoingCancels
from pgswitch.pool.parameter_sync import ParameterSync
from pgswitch.pool.release import ServerRelease, unfit
from pgswitch.pool.replication import ReplicationSession
from pgswitch.pool.server_connections import ServerConnections
from pgswitch.pool.server_connector import PAUSED
from pgswitch.pool.sizing import Demand
from pgswitch.pool.wait_watchdog import WaitWatchdog
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.idle_pool import IdlePool, is_fit
from pgswitch.types import PoolKey, PoolMode
from pgswitch.wire.server_auth import Failed, ServerRefused

if TYPE_CHECKING:
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.connection_limits import ConnectionLimits
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.writer_route import Route
    from pgswitch.relay.server_stream import ServerStream
    from pgswitch.wire.welcome import Welcome


class ServerPool:
    """A pool; ``key`` names it, ``spec`` is its database entry."""

    def __init__(
        self,
        key: PoolKey,
        spec: DatabaseSpec,
        context: ServiceContext,
        connection_limits: ConnectionLimits,
    ) -> None:
        """Begin without servers; nothing is opened before somebody needs it."""
        self.key = key
        self.spec = spec
        self.context = context
        self.connection_limits = connection_limits
        self.idle_pool = IdlePool(self)
        self.server_connections = ServerConnections(self)
        self.servers = self.server_connections.by_number
        self.clients: dict[int, Frontend] = {}
        """Logged-in clients by number."""
        self.login_waiters: list[Frontend] = []
        """Clients whose login waits for the first login of a server."""
        self.welcome: Welcome | None = None
        """What a server reports at login, and so what clients are sent at theirs."""
        self.route: Route | None = None
        """Where the servers are, if the database is a cluster."""
        self.replication: dict[int, ReplicationSession] = {}
        """What replication clients have instead of the rack, by client number."""
        self.internal_queries = InternalQueries(self)
        """Questions of auth_query, asked for clients that log in."""
        self.cancels = OutgoingCancels(
            context, self.server_connections.room_for_cancels
        )
        """Cancel requests on their way to its servers."""
        self.paused = False
        """PAUSE of this database is in force."""
        self.last_lifetime_close = float("-inf")
        self.idle_since = context.clock()
        """When it last had a client or a server, as the upkeep saw it."""
        self.parameter_sync = ParameterSync(context, self.idle_pool)
        self.release = ServerRelease(self)
        self.held_clients = HeldClients(self)
        """Clients whose server is lost, until it is known why."""
        self.wait_watchdog = WaitWatchdog()
        """Sees whether a client waits for longer than it may."""
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
        self.set_open()
        adapt(self, before)

    @property
    def failing(self) -> str:
        """Return why the last attempt to log in failed; empty if it did not."""
        return self.server_connections.login_attempts.failing

    @property
    def is_empty(self) -> bool:
        """Whether it has neither clients nor servers."""
        return not self.clients and not self.servers and not self.internal_queries

    @property
    def mode(self) -> PoolMode:
        """Return the pool mode in force."""
        return PoolMode(self.idle_pool.mode)

    def recycle(self, spec: DatabaseSpec, *, servers: bool) -> None:
        """Take a changed entry; with ``servers``, close the present ones in time."""
        self.spec = spec
        if servers:
            self.expire_servers()
        self.configure()

    def expire_servers(self) -> None:
        """Have every present server closed instead of used again (RECONNECT)."""
        self.server_connections.generation += 1
        self.welcome = None
        self.server_connections.expire()
        self.launch()

    def expire_at(self, addresses: Container[str]) -> None:
        """Have the servers at these addresses closed instead of used again."""
        self.server_connections.expire(addresses)
        self.launch()

    # Clients come and go.

    def add_client(self, client: Frontend) -> Welcome | None:
        """Take a client that has authenticated; return what to report to it.

        None while no server has logged in: the client's ``resume_login`` is called
        later, with what that server reports.
        """
        self.take_client_back(client)
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

    def take_client_back(self, client: Frontend) -> None:
        """Take a client that needs no welcome: another process has logged it in."""
        self.clients[client.number] = client
        if client.replicates:
            self.replication[client.number] = ReplicationSession(self, client)

    def let_go(self, client: Frontend) -> None:
        """Forget a client that goes to another pool, its server given back."""
        self.clients.pop(client.number, None)

    def remove_client(self, client: Frontend) -> None:
        """Let go of a client that is leaving, and see to the server it holds."""
        if self.clients.pop(client.number, None) is None:
            return
        if client in self.login_waiters:
            self.login_waiters.remove(client)
        stream: ClientStream = client.stream
        if stream in self.idle_pool.waiters:
            self.idle_pool.waiters.remove(stream)
        self.parameter_sync.forget(stream)
        if stream.suspended:
            self.held_clients.forget(stream)
        session = self.replication.pop(client.number, None)
        server = stream.server
        if session is not None:
            session.end()
        elif server is not None:
            reason = unfit(stream, server)
            self.idle_pool.unlink(stream, server)
            if reason:
                server.backend.close(reason)
            else:
                self.idle_pool.put_back(server)
        if stream.statements is not None:
            stream.statements.leave()

    # The rack's steward.

    def wait(self, client: ClientStream) -> None:
        """Queue a client that found no idle server, or tell it why not."""
        if self.context.shutdown_fault is not None:
            client.frontend.disconnect(self.context.shutdown_fault())
            return
        now = self.context.clock()
        if self.is_failing:
            client.frontend.disconnect(ServerLoginFailing(reason=self.failing))
            self.launch(asked=1)
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
        """Whether no server can be had before the next attempt to log in."""
        is_failing = (
            self.failing
            and self.route is None
            and not self.server_connections.has_login()
        )
        return bool(is_failing) and not self.is_held()

    def sync_parameters(self, client: ClientStream, server: ServerStream) -> bool:
        """Make the server's parameters the client's; False: nothing is to be done."""
        return self.parameter_sync.begin(client, _backend(server))

    def discard(self, server: ServerStream) -> None:
        """Close a server that is not to be used."""
        reason = "idle server got dirty"
        if server.close_needed:
            reason = "obsolete connection"
        elif server.backlogged:
            reason = "server released before everything was sent to it"
        server.backend.close(reason)

    def released(self, server: ServerStream) -> None:
        """Look after a server that came back unlinked and clean."""
        self.release.released(_backend(server))

    def on_read_only(self, backend: Backend) -> None:
        """Have the monitor look: a server of a cluster takes no writes."""
        del backend
        if self.route is not None:
            self.route.suspect()

    def transaction_in_statement_mode(self, backend: Backend) -> None:
        """End a client that opened a transaction, and its server."""
        fault = TransactionBlocksNotAllowed()
        client = backend.stream.peer
        if isinstance(client, ClientStream):
            self.idle_pool.unlink(client, backend.stream)
            client.frontend.disconnect(fault)
        backend.close(fault.text)

    # Servers come and go.

    def serve_waiters(self) -> None:
        """Give idle servers to those who wait; check used ones; open more."""
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
            self.release.check_used(wanted - self.server_connections.count(Phase.BUSY))
        self.launch()

    def idle_pool_of(self, client: Frontend) -> IdlePool:
        """Return where a client's servers come from."""
        session = self.replication.get(client.number)
        return self.idle_pool if session is None else session.idle_pool

    def waiting(self) -> list[ClientStream]:
        """Return the clients that wait for a server, those of replication last."""
        waiting = [*self.idle_pool.waiters]
        for session in self.replication.values():
            waiting += session.idle_pool.waiters
        return waiting

    def waiting_since(self) -> float:
        """Return when the client came that has waited longest; infinite if none."""
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

    def is_opening(self) -> bool:
        """Tell whether a server is logging in."""
        return self.server_connections.count(Phase.LOGIN) > 0

    def waiting_logins(self) -> list[Frontend]:
        """Return the clients whose login waits for a server's."""
        sessions = self.replication.values()
        replicating = [one.client for one in sessions if not one.client.logged_in]
        return [*self.login_waiters, *replicating]

    def add_server(self, backend: Backend) -> None:
        """Make a server of the pool of one that was opened elsewhere.

        It is at a login or at a check; :meth:`logged_in` follows.
        """
        backend.owner = self
        backend.database = self.key.database
        self.server_connections.enter(backend)

    def take_back(self, backend: Backend, *, is_idle: bool) -> None:
        """Take in a server that another process has logged in, linked or idle."""
        backend.stream.server_source = self.idle_pool
        backend.stream.counters = self.idle_pool.counters
        server_events.inherit_welcome(self, backend)
        if is_idle:
            self.idle_pool.keep(backend.stream)

    def set_route(self, route: Route) -> None:
        """Have the servers where ``route`` says; those that are there already stay."""
        self.route = route
        for backend in self.backends():
            if backend.phase is not Phase.LOGIN:
                backend.stream.tracks_loss = True

    def expect_walsender(self, client: Frontend) -> Backend:
        """Return a new server for a replication client, which another process has."""
        return self.replication[client.number].create()

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the host in it that is connected to now."""
        return self.spec if self.route is None else self.route.target

    def is_in_use(self) -> bool:
        """Tell whether anybody has a use for connections."""
        return bool(self.clients) or bool(self.servers) or self.spec.user is not None

    def launch(self, *, asked: int = 0) -> None:
        """Open servers for those who wait; ``asked`` were sent away meanwhile."""
        for session in [*self.replication.values()]:
            session.open()
        settings = self.context.configuration.settings
        is_cluster = self.route is not None
        self.server_connections.launch(
            self._demand(asked),
            free=self.server_connections.count(Phase.BUSY) - len(self.parameter_sync),
            login_retry=settings.polling_frequency
            if is_cluster
            else settings.server_login_retry,
        )

    def _demand(self, asked: int) -> Demand:
        """Return who wants servers."""
        waiting = len(self.idle_pool.waiters) + len(self.internal_queries)
        if self.login_waiters:
            waiting = max(waiting, 1)
        return Demand(
            waiting=max(waiting, asked),
            overdue=self._overdue() if self.server_connections.reserve_size else 0,
            is_wanted=bool(self.clients) or self.spec.user is not None,
            is_known=self.welcome is not None,
            # Logins under way are let finish in a SUSPEND.
            held=self.is_held()
            or (
                self.context.suspended
                and not self.login_waiters
                and not self.internal_queries
            ),
        )

    def _overdue(self) -> int:
        """Return how many clients have waited for long, as far as that matters."""
        settings = self.context.configuration.settings
        since = self.context.clock() - settings.reserve_pool_timeout
        first = self.idle_pool.waiters[
            : self.server_connections.pool_size + self.server_connections.reserve_size
        ]
        return sum(stream.waiting_since < since for stream in first)

    def logged_in(self, backend: Backend) -> None:
        """Take in a server that has logged in."""
        server_events.logged_in(self, backend)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Note why a login failed; tell those who wait unless others still serve."""
        server_events.login_refused(self, backend, refusal)

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Note that a parameter has changed which no client can have changed."""
        server_events.reported(self, name, value, backend)

    def lost(self, backend: Backend, reason: str) -> None:
        """Let go of a server, and of the client that was using it."""
        server_events.lost(self, backend, reason)

    def learn_welcome(self, backend: Backend) -> None:
        """Report to clients what this server has reported."""
        server_events.learn_welcome(self, backend)

    def resume_logins(self) -> None:
        """Go on with the logins that wait, if the welcome is known."""
        route = self.route
        if self.welcome is None or (route is not None and route.is_welcome_stale):
            return
        waiting, self.login_waiters = self.login_waiters, []
        for client in waiting:
            client.resume_login(self.welcome)

    # Pausing, counting.

    def is_held(self) -> bool:
        """Tell whether no client may get a server now."""
        return self.is_searching() or self.context.paused or self.paused

    def closes_free(self) -> bool:
        """Tell whether servers that are free are closed: no client may have them.

        They stay while it is only waited for what a cluster's nodes say at a start.
        """
        if self.context.paused or self.paused:
            return True
        return (
            self.route is not None and self.route.searching and not self.route.starting
        )

    def is_searching(self) -> bool:
        """Tell whether clients wait because no writer is known."""
        return self.route is not None and self.route.searching

    def set_open(self) -> None:
        """Bring the rack in line with PAUSE and RESUME."""
        held = self.is_held()
        self.idle_pool.open = not held
        self.idle_pool.checks_releases = self.release.is_needed()

    def hold(self) -> None:
        """Close what is idle, now that the pool is paused."""
        self.set_open()
        for backend in list(self.servers.values()):
            if backend.state in ("idle", "used", "new"):
                backend.close(PAUSED)

    def go_on(self) -> None:
        """Serve again, now that the pause has ended."""
        self.set_open()
        self.serve_waiters()

    def is_syncing_parameters(self, backend: Backend) -> bool:
        """Tell whether a server is having a client's parameters set."""
        return backend in self.parameter_sync

    def turns_away(self) -> bool:
        """Tell whether its node refuses logins, and it has no server to spare."""
        return (
            self.server_connections.login_attempts.is_refused
            and not self.idle_pool.idle
        )

    def load(self) -> int:
        """Return how many servers are at work or asked for."""
        return (
            len(self.servers) - len(self.idle_pool.idle) + len(self.idle_pool.waiters)
        )

    def connections(self) -> Iterator[Backend]:
        """Return the servers, and those kept open elsewhere for later."""
        yield from self.backends()
        if self.route is not None:
            yield from self.route.standby_servers()

    def backends(self) -> Iterator[Backend]:
        """Return the servers, oldest first."""
        return iter(self.server_connections)


def _backend(server: ServerStream) -> Backend:
    """Return what a pool's own server links are controlled by."""
    return cast("Backend", server.backend)
