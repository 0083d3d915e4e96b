"""The servers of one pool: opened as the limits allow, logged in, lost.

The reason of the last failed login is cached: clients that ask for a server get it at
once, and the next attempt waits for ``server_login_retry``.  A login that succeeds
clears it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.errors import Fault, ServerLoginRefused
from pgswitch.net.backend import Backend, BackendOwner
from pgswitch.net.connection_states import CloseReason, ServerEvent, ServerState
from pgswitch.pool.connection_limits import (
    ConnectionLimits,
    Demand,
    LimitedPool,
    Supply,
    plan,
)
from pgswitch.pool.server_connector import ServerConnector
from pgswitch.relay.client_stream import ClientStream
from pgswitch.wire.params import Welcome
from pgswitch.wire.server_auth import Failed, ServerRefused

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.failover import HeldClients
    from pgswitch.pool.internal_queries import InternalQueries
    from pgswitch.pool.parameter_sync import ParameterSync
    from pgswitch.pool.release import ServerRelease
    from pgswitch.pool.route import Route

PAUSE_CLOSES = (ServerState.LOGIN, ServerState.IDLE, ServerState.USED)
"""States in which a PAUSE closes a server; it waits for all others."""
STARTING_UP = "57P03"
FEATURE_NOT_SUPPORTED = "0A000"
NO_RESOURCES, INTERVENTION, NO_ENTRY = "53", "57", "28"
"""Classes of SQLSTATEs: the server is full; it starts, stops or terminates backends;
it rejects our login (manual, "PostgreSQL Error Codes")."""
MAX_CACHED_REASON = 99
"""Characters that are cached of a failed login's reason."""
MIN_RETRY_S = 1.0
"""For how long a node that refuses a login is avoided at least."""


class ConnectionsPool(LimitedPool, BackendOwner, Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: ServiceContext
    connection_limits: ConnectionLimits
    internal_queries: InternalQueries
    parameter_sync: ParameterSync
    release: ServerRelease
    route: Route | None
    held_clients: HeldClients
    welcome: Welcome | None
    login_waiters: list[Frontend]

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the host in it that is connected to now."""

    def resume_logins(self) -> None:
        """Go on with the logins that wait, if the welcome is known."""


class ServerConnections:
    """All servers of a pool, from the attempt to connect to the close."""

    def __init__(self, pool: ConnectionsPool) -> None:
        """Begin without any; :meth:`configure` sets the sizes."""
        self.by_number: dict[int, Backend] = {}
        self.generation = 0
        """Servers of an older generation are not used again (RECONNECT)."""
        self.pool_size = self.reserve_size = self.min_pool_size = 0
        self._pool = pool
        self._connector = ServerConnector(pool.key, pool.context, pool)
        self.login_attempts = LoginAttempts(pool.context, self._connector)

    def configure(self) -> None:
        """Take the settings in force."""
        pool, user = self._pool, self._pool.key.user
        effective = pool.context.effective
        self.pool_size = effective.pool_size(pool.spec, user)
        self.min_pool_size = effective.min_pool_size(pool.spec, user)
        self.reserve_size = 0
        if pool.context.configuration.settings.reserve_pool_timeout:
            self.reserve_size = effective.reserve_pool_size(pool.spec, user)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.by_number)

    def __iter__(self) -> Iterator[Backend]:
        """Iterate over a copy of them, oldest first."""
        return iter(list(self.by_number.values()))

    def count(self, state: ServerState) -> int:
        """Count the shared ones whose stored state is this."""
        return sum(
            one.stored_state is state and one.replication == "none" for one in self
        )

    def count_running_queries(self) -> int:
        """Count the shared ones that run a query of ours."""
        return sum(
            one.stored_state.runs_query and one.replication == "none" for one in self
        )

    def has_login(self) -> bool:
        """Tell whether any shared one is past its login."""
        return len(self) > 0 and any(
            one.stored_state is not ServerState.LOGIN and one.replication == "none"
            for one in self
        )

    def is_exhausted(self) -> bool:
        """Tell whether all serve clients, and no further one is allowed.

        Called for each query that waits, so it only looks at each once.
        """
        limit = self.pool_size + self.reserve_size
        if not self.pool_size or len(self.by_number) < limit:
            return False
        for one in self.by_number.values():  # noqa: SIM110 - all() costs three times that
            if not one.stored_state.serves_clients:
                return False
        return True

    def count_in_use(self) -> int:
        """Return how many a PAUSE has to wait for."""
        return sum(one.state not in PAUSE_CLOSES for one in self)

    # Opening.

    def launch(self, demand: Demand, *, free: int, login_retry: float) -> None:
        """Open as many connections as are wanted and allowed.

        ``free`` servers become free by themselves; ``login_retry`` is the time between
        two attempts while logins fail, in seconds.
        """
        pool, connection_limits = self._pool, self._pool.connection_limits
        wanted = plan(demand, self._supply(free, login_retry))
        needed = wanted.regular + wanted.reserve
        opened = 0
        while opened < needed and connection_limits.evict_for(pool):
            if opened >= wanted.regular:
                first = cast("Frontend", pool.idle_pool.waiters[0].frontend)
                pool.context.log.warning(
                    f"{first.prefix} taking connection from reserve_pool"
                )
            self._launch_one()
            opened += 1
        connection_limits.set_starving(pool, starving=opened < needed)
        for _ in range(wanted.minimum):
            if not connection_limits.has_room(pool):
                break
            self._launch_one()

    def _supply(self, free: int, login_retry: float) -> Supply:
        return Supply(
            pool_size=self.pool_size,
            reserve_size=self.reserve_size,
            min_pool_size=self.min_pool_size,
            total=len(self),
            logging_in=self.count(ServerState.LOGIN),
            free=free,
            failing=bool(self.login_attempts.failing),
            since_attempt=self._pool.context.clock() - self.login_attempts.last,
            login_retry=login_retry,
        )

    def _launch_one(self) -> None:
        self.login_attempts.begin()
        target = self._pool.target
        self._connector.connect(target, self.create())

    def evict_if_full(self) -> bool:
        """Evict an idle one if full; tell whether one more may be opened."""
        if self.pool_size and len(self) >= self.pool_size:
            idle = self._pool.idle_pool.idle
            unused = cast("Backend", idle[0].backend) if idle else self._oldest_used()
            if unused is None:
                return False
            unused.close(CloseReason.EVICTED)
            if len(self) >= self.pool_size:
                return False
        return self._pool.connection_limits.evict_for(self._pool)

    def _oldest_used(self) -> Backend | None:
        """Return the oldest that must be checked before it is used again."""
        for one in self.by_number.values():
            if one.stored_state is ServerState.USED:
                return one
        return None

    def room_for_cancels(self) -> int | None:
        """Return how many connections may carry cancel requests; None is no limit.

        With them the pool may have twice its size, whatever the other limits say.
        """
        return 2 * self.pool_size - len(self) if self.pool_size else None

    def open_for(self, owner: BackendOwner, extra: Mapping[str, str]) -> Backend:
        """Open one for a single client; it is counted, but not shared."""
        return self.register(self.open_uncounted(self._pool.target, owner, extra))

    def open_uncounted(
        self, target: DatabaseSpec, owner: BackendOwner, extra: Mapping[str, str]
    ) -> Backend:
        """Open a connection that reports to ``owner`` and is not counted here."""
        backend = self._connector.open_one(
            target, self.generation, owner=owner, extra=extra
        )
        self._connector.connect(target, backend)
        return backend

    def create(self, owner: BackendOwner | None = None) -> Backend:
        """Return a new backend, to be connected or for an open connection."""
        opened = self._connector.open_one(
            self._pool.target, self.generation, owner=owner, extra={}
        )
        return self.register(opened)

    def register(self, backend: Backend) -> Backend:
        """Count a server as one of the pool's."""
        self.by_number[backend.number] = backend
        self._pool.connection_limits.opened(self._pool.key)
        return backend

    # Closing.

    def remove(self, backend: Backend) -> None:
        """Remove a server that was closed."""
        context = self._pool.context
        self._connector.cancel(backend)
        if context.log_disconnections:
            age = int(context.clock() - backend.connected_at)
            context.log.log(
                f"{backend.prefix} closing because: {backend.close_text} (age={age}s)"
            )
        if self.by_number.pop(backend.number, None) is not None:
            self._pool.connection_limits.closed(self._pool.key)

    def expire(self, addresses: Container[str] | None = None) -> None:
        """Close the servers at these addresses, or all, instead of using them again.

        Unused ones are closed now, the others when they are released.
        """
        for backend in self:
            if addresses is not None and backend.address.host not in addresses:
                continue
            if backend.stored_state is ServerState.LOGIN:
                backend.close(CloseReason.REDIRECTED)
            elif backend.state in (ServerState.IDLE, ServerState.USED):
                backend.close(CloseReason.RECONFIGURED)
            else:
                backend.stream.close_needed = backend.stream.needs_release_check = True

    # What the pool does when one has logged in, or is lost.

    def logged_in(self, backend: Backend) -> None:
        """Run connect_query on a server that has logged in, then give it to clients."""
        pool = self._pool
        if pool.route is not None and pool.route.is_at_wrong_address(backend):
            backend.close(CloseReason.WRITER_MOVED)
            return
        self.login_attempts.succeeded()
        stream = backend.stream
        stream.server_source = pool.idle_pool
        stream.counters = pool.idle_pool.counters
        stream.tracks_loss = pool.route is not None
        stream.close_needed = backend.generation != self.generation
        stream.drop_release_check()
        if pool.spec.connect_query:
            backend.run(
                pool.spec.connect_query,
                partial(self._serve_clients, backend),
                event=ServerEvent.CONNECT_QUERY_SENT,
            )
        else:
            self._serve_clients(backend, None)

    def _serve_clients(self, backend: Backend, error: dict[str, str] | None) -> None:
        """Give a server to clients; ``error`` is what connect_query has failed with."""
        pool = self._pool
        if error is not None:
            pool.context.log.error(
                f"{backend.prefix} error while executing exec_on_query:"
                f" {error.get('S', 'ERROR')}: {error.get('M', '')}"
            )
        backend.is_fresh = False
        self.learn_welcome(backend)
        pool.resume_logins()
        if backend.stored_state is not ServerState.CLOSED:
            pool.release.free(backend)
            if pool.route is not None:
                pool.route.server_ready()

    def learn_welcome(self, backend: Backend) -> None:
        """Report to clients that log in from now on what this server has reported."""
        pool = self._pool
        present, reported = pool.welcome, backend.parameters
        if backend.stream.close_needed:
            return
        if pool.route is not None:
            pool.route.welcome_learned()
            reported = {**pool.route.correct_parameters(reported)}
        if present is None or present.parameters != reported:
            tracking = pool.context.tracking
            pool.welcome = Welcome(reported, tracking, backend.connected_at)

    def inherit_welcome(self, backend: Backend) -> None:
        """Do the same for a server of another process, unless a later one has."""
        present = self._pool.welcome
        is_later = present is None or backend.connected_at >= present.since
        if backend.parameters and is_later:
            self.learn_welcome(backend)

    def reported(self, name: str, value: str, backend: Backend) -> None:
        """Report to clients a parameter that is the same for all of them."""
        pool = self._pool
        welcome = pool.welcome
        if welcome is None or backend.is_fresh or backend.stream.close_needed:
            return
        if pool.route is not None:
            value = pool.route.correct_parameters({name: value})[name]
        for other in self:
            # The others report it with their next answers, perhaps after a takeover.
            is_login = other.stored_state is ServerState.LOGIN
            if other.host == backend.host and not is_login:
                other.parameters[name] = value
        if welcome.parameters.get(name) != value:
            pool.welcome = welcome.changed(name, value)

    def login_refused(self, backend: Backend, refusal: ServerRefused | Failed) -> None:
        """Cache why a login failed; disconnect the clients that wait for it.

        Not while other servers serve, and not in a cluster where another node may
        serve them, or this one later.
        """
        pool = self._pool
        login_attempts, route = self.login_attempts, pool.route
        fault = login_attempts.refused(backend, refusal)
        if (
            route is not None
            and login_attempts.refusal
            and route.login_refused(login_attempts.sqlstate)
        ):
            return
        if fault is None or (pool.welcome is not None and self.has_login()):
            return
        for client in [*pool.login_waiters]:
            client.disconnect(fault)
        for stream in [*pool.idle_pool.waiters]:
            stream.frontend.disconnect(fault)
        pool.internal_queries.fail(fault)

    def lost(self, backend: Backend, reason: CloseReason) -> None:
        """Remove a closed server, and deal with the client that was using it."""
        pool = self._pool
        self.remove(backend)
        route = pool.route
        if route is not None and reason.is_failure:
            route.suspect()
        if backend.state_at_close is ServerState.LOGIN:
            self.login_attempts.lost(backend, reason, backend.close_detail)
            pool.launch()
            return
        is_move = route is not None and reason.is_switchover
        pool.internal_queries.lost(backend, may_retry=is_move)
        stream = backend.stream
        # If something still releases it, the release check discards it.
        stream.needs_release_check = True
        syncing = pool.parameter_sync.lost(backend)
        client = stream.peer or syncing
        if stream in pool.idle_pool.idle:
            pool.idle_pool.idle.remove(stream)
        half_sent = stream.skip != 0
        if isinstance(client, ClientStream):
            pool.idle_pool.unlink(client, stream)
            if is_move and client is syncing:
                # Its parameters were being set: its query has not been sent.
                pool.held_clients.requeue(client)
            elif is_move:
                pool.held_clients.lost(client, backend, reason)
            else:
                client.frontend.disconnect(backend.loss_fault(), quietly=half_sent)
        stream.statements.clear()
        pool.launch()


class LoginAttempts:
    """The last attempt of a pool to log in, and how it ended."""

    def __init__(self, context: ServiceContext, connector: ServerConnector) -> None:
        """Begin before the first attempt."""
        self.failing = ""
        """Why the last one failed; empty if it did not."""
        self.last = float("-inf")
        """When it began, in monotonic seconds."""
        self.refusal = ""
        """What the server refused it with; empty if it did not."""
        self.sqlstate = ""
        """The SQLSTATE of the refusal."""
        self._refused_at = float("-inf")
        """When it was refused, in monotonic seconds."""
        self._may_be_old = False
        """The last refusal may mean that the server knows protocol 3.0 only."""
        self._context = context
        self._connector = connector

    def begin(self) -> None:
        """Note that an attempt begins."""
        self.last = self._context.clock()

    def succeeded(self) -> None:
        """Note that a login succeeded."""
        self.failing = self.refusal = self.sqlstate = ""

    @property
    def is_refused(self) -> bool:
        """Whether a server has refused a login recently."""
        if not self.refusal:
            return False
        retry = self._context.configuration.settings.server_login_retry
        # Counted from the refusal: the login itself may have taken longer.
        return self._context.clock() - self._refused_at < max(retry, MIN_RETRY_S)

    def refused(
        self, backend: Backend, refusal: ServerRefused | Failed
    ) -> Fault | None:
        """Cache the reason of a failed login.

        Returns the error for the clients that wait; None if they go on waiting.
        """
        log = self._context.log
        self._refused_at = self._context.clock()
        if isinstance(refusal, ServerRefused):
            if (
                refusal.sqlstate == FEATURE_NOT_SUPPORTED
                and self._connector.may_fall_back
            ):
                self._may_be_old = True
                return None  # `lost` falls back to protocol 3.0.
            self.refusal, self.sqlstate = refusal.message, refusal.sqlstate
            log.warning(f"server login failed: {refusal.severity} {refusal.message}")
            if refusal.sqlstate == STARTING_UP:
                self._failed(refusal.message)
                return None
            fault: Fault = ServerLoginRefused(
                message=refusal.message, sqlstate=refusal.sqlstate
            )
        else:
            self.refusal, self.sqlstate = refusal.reason, ""
            log.error(f"{backend.prefix} {refusal.reason}")
            if refusal.client_fault is None:
                self._failed(refusal.reason)
                return None
            fault = refusal.client_fault
        self._failed(fault.text)
        return fault

    def lost(self, backend: Backend, reason: CloseReason, detail: str = "") -> None:
        """Cache why a login ended, unless that says nothing about the server."""
        if self.failing or not reason.is_failure:
            return
        was_connected = backend.local_address.port or backend.address.host == "unix"
        may_be_old = self._may_be_old or reason is CloseReason.CRASHED
        self._may_be_old = False
        if may_be_old and was_connected and self._connector.may_fall_back:
            # It may know protocol 3.0 only; if not, the next attempt fails too.
            self._connector.fall_back()
        else:
            self._failed(detail or reason.text)

    def _failed(self, reason: str) -> None:
        self.failing = reason[:MAX_CACHED_REASON]
