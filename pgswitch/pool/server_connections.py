"""The servers of one pool: opened as ledger and totals allow, counted, struck off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.net.backend import Backend, BackendOwner
from pgswitch.net.close_reason import CloseReason
from pgswitch.net.server_state import ServerState
from pgswitch.pool.connection_limits import LimitedPool
from pgswitch.pool.login_attempts import LoginAttempts
from pgswitch.pool.server_connector import ServerConnector
from pgswitch.pool.sizing import Demand, Supply, plan

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.connection_limits import ConnectionLimits
    from pgswitch.pool.context import ServiceContext


PAUSE_CLOSES = (ServerState.LOGIN, ServerState.IDLE, ServerState.USED)
"""States in which a PAUSE closes a server; it waits for all others."""


class ConnectionsPool(LimitedPool, BackendOwner, Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: ServiceContext
    connection_limits: ConnectionLimits

    @property
    def target(self) -> DatabaseSpec:
        """The database's entry, with the host in it that is connected to now."""


class ServerConnections:
    """All servers of a pool, from the attempt to connect to the end."""

    def __init__(self, pool: ConnectionsPool) -> None:
        """Begin without any; sizes come with :meth:`configure`."""
        self.by_number: dict[int, Backend] = {}
        self.generation = 0
        """Servers of an older one are not used again (RECONNECT)."""
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
        """Iterate over them, oldest first; some may come and go meanwhile."""
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
        """Tell whether any of the rack is past its login."""
        return len(self) > 0 and any(
            one.stored_state is not ServerState.LOGIN and one.replication == "none"
            for one in self
        )

    def is_exhausted(self) -> bool:
        """Tell whether all are at work or idle, and no further one is allowed.

        Asked for each query that waits, so it costs no more than one look at each.
        """
        most = self.pool_size + self.reserve_size
        if not self.pool_size or len(self.by_number) < most:
            return False
        for one in self.by_number.values():  # noqa: SIM110 - all() costs three times that
            if not one.stored_state.serves_clients:
                return False
        return True

    def busy(self) -> int:
        """Return how many a PAUSE has to wait for."""
        return sum(one.state not in PAUSE_CLOSES for one in self)

    # Opening.

    def launch(self, demand: Demand, *, free: int, login_retry: float) -> None:
        """Open as many connections as are in demand and allowed.

        ``free`` servers come free by themselves; ``login_retry`` is the time between
        two attempts while they fail, in seconds.
        """
        pool, connection_limits = self._pool, self._pool.connection_limits
        wanted = plan(demand, self._stock(free, login_retry))
        needed = wanted.regular + wanted.reserve
        opened = 0
        while opened < needed and connection_limits.make_room(pool):
            if opened >= wanted.regular:
                first = cast("Frontend", pool.idle_pool.waiters[0].frontend)
                pool.context.log.warning(
                    f"{first.prefix} taking connection from reserve_pool"
                )
            self._launch_one()
            opened += 1
        connection_limits.note(pool, starving=opened < needed)
        for _ in range(wanted.spare):
            if not connection_limits.has_room(pool):
                break
            self._launch_one()

    def _stock(self, free: int, login_retry: float) -> Supply:
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

    def make_room(self) -> bool:
        """Tell whether one more may be opened, after closing an idle one."""
        if self.pool_size and len(self) >= self.pool_size:
            idle = self._pool.idle_pool.idle
            spare = cast("Backend", idle[0].backend) if idle else self._used()
            if spare is None:
                return False
            spare.close(CloseReason.EVICTED)
            if len(self) >= self.pool_size:
                return False
        return self._pool.connection_limits.make_room(self._pool)

    def _used(self) -> Backend | None:
        """Return the oldest that is to be checked before it is used again."""
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
        """Open one that belongs to one client and is no part of the rack."""
        return self.enter(self.open_apart(self._pool.target, owner, extra))

    def open_apart(
        self, place: DatabaseSpec, owner: BackendOwner, extra: Mapping[str, str]
    ) -> Backend:
        """Open a connection that reports to ``owner`` and is not counted here."""
        backend = self._connector.open_one(
            place, self.generation, owner=owner, extra=extra
        )
        self._connector.connect(place, backend)
        return backend

    def create(self, owner: BackendOwner | None = None) -> Backend:
        """Return a new one that is to be connected, or has a connection already."""
        opened = self._connector.open_one(
            self._pool.target, self.generation, owner=owner, extra={}
        )
        return self.enter(opened)

    def enter(self, backend: Backend) -> Backend:
        """Count a server as one of the pool's."""
        self.by_number[backend.number] = backend
        self._pool.connection_limits.opened(self._pool.key)
        return backend

    # Ending.

    def remove(self, backend: Backend) -> None:
        """Let go of a server that was closed."""
        context = self._pool.context
        self._connector.give_up(backend)
        if context.log_disconnections:
            age = int(context.clock() - backend.connected_at)
            context.log.log(
                f"{backend.prefix} closing because: {backend.close_text} (age={age}s)"
            )
        if self.by_number.pop(backend.number, None) is not None:
            self._pool.connection_limits.closed(self._pool.key)

    def expire(self, addresses: Container[str] | None = None) -> None:
        """Have the servers at these addresses, or all, closed instead of used again.

        Those that nobody uses are closed now, the others when they are released.
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
