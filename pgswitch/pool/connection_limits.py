"""How many servers a pool opens, and what it may open beside the other pools.

PgBouncer opens one connection at a time for a pool; after a writer has moved that
makes the last of fifty clients wait for fifty logins.  Here a pool opens as many as
there are clients waiting and room for, unless its last attempt failed: then it
tries with a single one, not more often than ``server_login_retry``.  :func:`plan`
decides this from plain facts.

``max_db_connections`` and ``max_user_connections`` make pools compete: a pool whose
clients wait gets a connection only when another pool gives one up.  It closes the
server that has been unused for longest (``evicted``).  If none is unused, the pool is
*starving*, and the first server that a rival releases is closed for it: one that no
client of the rival waits for, or one whose waiting clients came later than those of the
starving pool, so that a busy pool cannot keep all connections.  Without these limits,
and while no pool starves, nothing here costs anything.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pgswitch.net.connection_states import CloseReason, ServerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.types import PoolKey


YIELD_AFTER_S = 1.0
"""How much longer than a rival's clients those of a starving pool wait before they get
a server that the rival needs too: the change costs a login."""
_UNUSED = (ServerState.IDLE, ServerState.USED)
"""States of an unused server; one that is reset will be idle soon."""


class LimitedPool(Protocol):
    """What is needed of a pool; see pool/pool.py."""

    key: PoolKey
    spec: DatabaseSpec
    idle_pool: IdlePool

    def backends(self) -> Iterator[Backend]:
        """Return its servers."""

    def launch(self) -> None:
        """Open servers that are wanted and allowed."""

    def waiting_since(self) -> float:
        """Return since when the first client waits; infinite if none does."""

    def is_logging_in(self) -> bool:
        """Tell whether a server of it is logging in."""

    def update_open(self) -> None:
        """Update whether released servers are looked at."""


class ConnectionLimits:
    """Counts of servers per database and user, and the pools that starve."""

    def __init__(
        self, context: ServiceContext, pools: Callable[[], Iterable[LimitedPool]]
    ) -> None:
        """Begin with none; ``pools`` returns all pools."""
        self.of_database: Counter[str] = Counter()
        self.of_user: Counter[str] = Counter()
        self._on_standbys: Counter[tuple[str, str, Node]] = Counter()
        """Connections to standbys by node, of a database or of a user."""
        self._context = context
        self._pools = pools
        self._starving: dict[PoolKey, LimitedPool] = {}
        self._is_evicting = False
        """Callbacks of the eviction must not take the room that it makes."""
        self._hopeless: set[PoolKey] = set()
        """Pools for which an eviction found nothing, until something changes."""

    def opened(self, key: PoolKey) -> None:
        """Count a server of a pool."""
        self.of_database[key.database] += 1
        self.of_user[key.user] += 1

    def closed(self, key: PoolKey) -> None:
        """Stop counting it, and let starving pools have its room."""
        for counts, name in (
            (self.of_database, key.database),
            (self.of_user, key.user),
        ):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
        self.launch_starving(key)

    # Connections to standbys: the limits hold for each node separately.

    def opened_on_standby(self, key: PoolKey, node: Node) -> None:
        """Count a connection of a pool to a standby."""
        self._on_standbys.update(((key.database, "", node), ("", key.user, node)))

    def closed_on_standby(self, key: PoolKey, node: Node) -> None:
        """Stop counting it."""
        self._on_standbys.subtract(((key.database, "", node), ("", key.user, node)))

    def has_room_on_standby(self, pool: LimitedPool, node: Node) -> bool:
        """Tell whether a pool may open one more to a standby."""
        effective, key = self._context.effective, pool.key
        limits = (
            (effective.max_db_connections(pool.spec, key.user), (key.database, "")),
            (effective.max_user_connections(pool.spec, key.user), ("", key.user)),
        )
        return all(
            not limit or self._on_standbys[*name, node] < limit
            for limit, name in limits
        )

    def has_room(self, pool: LimitedPool) -> bool:
        """Tell whether a pool may open one more without anything being closed."""
        return not self._is_evicting and not self._surplus(pool)

    def evict_for(self, pool: LimitedPool) -> bool:
        """Evict what others do not use; tell whether a pool may open one more.

        Nothing is closed unless that makes room.
        """
        if self._is_evicting or pool.key in self._hopeless:
            return False
        chosen: dict[int, Backend] = {}
        for surplus, rivals in self._surplus(pool):
            unused = dict(self._unused(rivals))
            numbers = eviction_candidates((one for one, _ in unused.values()), surplus)
            if not numbers:
                self._hopeless.add(pool.key)
                return False
            chosen |= {number: unused[number][1] for number in numbers}
        self._is_evicting = True
        try:
            for backend in chosen.values():
                backend.close(CloseReason.EVICTED)
        finally:
            self._is_evicting = False
        return True

    def set_starving(self, pool: LimitedPool, *, starving: bool) -> None:
        """Note whether a pool's clients wait for a server that the limits deny."""
        if starving == (pool.key in self._starving):
            return
        if starving:
            self._starving[pool.key] = pool
        else:
            del self._starving[pool.key]
        for rival in self._pools():
            if _compete(rival.key, pool.key):
                rival.update_open()

    def retry_evictions(self) -> None:
        """Let pools for which the last eviction found nothing try again."""
        self._hopeless.clear()

    def has_starving_rival(self, key: PoolKey) -> bool:
        """Tell whether a starving pool shares a limit with this one."""
        return any(_compete(key, other) for other in self._starving)

    def launch_starving(self, key: PoolKey) -> None:
        """Let starving rivals open a server: this pool has one less or an idle one."""
        if not self._starving:
            return
        self.retry_evictions()
        for other, pool in list(self._starving.items()):
            if _compete(key, other):
                pool.launch()

    def must_yield(self, pool: LimitedPool) -> bool:
        """Tell whether a released server must be closed for a starving pool.

        Each gets only one at a time, or it would get more than its share.
        """
        if not self._starving:
            return False
        own = pool.waiting_since()
        return any(
            other.waiting_since() + YIELD_AFTER_S < own
            and not other.is_logging_in()
            and self._would_make_room(other, pool)
            for key, other in self._starving.items()
            if _compete(key, pool.key)
        )

    def _would_make_room(self, starving: LimitedPool, pool: LimitedPool) -> bool:
        """Tell whether closing one server of ``pool`` makes room for the other."""
        return all(
            surplus == 1 and pool in rivals
            for surplus, rivals in self._surplus(starving)
        )

    def _surplus(self, pool: LimitedPool) -> list[tuple[int, list[LimitedPool]]]:
        """Return how many to close, and in which pools, for each limit reached."""
        effective = self._context.effective
        key, spec = pool.key, pool.spec
        found = []
        limit = effective.max_db_connections(spec, key.user)
        if limit and self.of_database[key.database] >= limit:
            rivals = [one for one in self._pools() if one.key.database == key.database]
            found.append((self.of_database[key.database] - limit + 1, rivals))
        limit = effective.max_user_connections(spec, key.user)
        if limit and self.of_user[key.user] >= limit:
            rivals = [one for one in self._pools() if one.key.user == key.user]
            found.append((self.of_user[key.user] - limit + 1, rivals))
        return found

    @staticmethod
    def _unused(
        pools: list[LimitedPool],
    ) -> Iterator[tuple[int, tuple[EvictionCandidate, Backend]]]:
        """Yield the unused servers of some pools with their numbers."""
        for pool in pools:
            is_awaited = bool(pool.idle_pool.waiters)
            for backend in pool.backends():
                if (
                    backend.state in _UNUSED
                    and not backend.cancels
                    and backend.replication == "none"
                ):
                    candidate = EvictionCandidate(
                        backend.number,
                        backend.stream.ready_since,
                        backend.stored_state is ServerState.IDLE,
                        is_awaited,
                    )
                    yield backend.number, (candidate, backend)


def _compete(one: PoolKey, other: PoolKey) -> bool:
    """Tell whether two pools share a database or a user."""
    return one != other and (one.database == other.database or one.user == other.user)


class Demand(NamedTuple):
    """What servers of a pool are wanted for."""

    waiting: int = 0
    """Clients that wait for a server, or for the first login to be welcomed."""
    overdue: int = 0
    """Those of them that have waited for longer than reserve_pool_timeout."""
    wants_minimum: bool = False
    """min_pool_size holds: clients are in the pool, or its entry has a user."""
    has_welcome: bool = False
    """What its servers report is known, so clients can be welcomed."""
    blocked: bool = False
    """Paused, suspended or shutting down: nothing is opened."""


class Supply(NamedTuple):
    """The servers that a pool has and may have; times in seconds."""

    pool_size: int
    """0: no limit."""
    reserve_size: int = 0
    """How many more may be opened for overdue clients."""
    min_pool_size: int = 0
    total: int = 0
    """All servers, including those that log in."""
    logging_in: int = 0
    """Connections that are being opened."""
    free: int = 0
    """Servers that run a reset or check and become free when it ends."""
    failing: bool = False
    """The last attempt to log in failed."""
    since_attempt: float = 0.0
    login_retry: float = 0.0


class LaunchPlan(NamedTuple):
    """How many connections to open now."""

    regular: int
    """For clients that wait; unused servers of other pools may be evicted for them."""
    reserve: int
    """For overdue clients, beyond pool_size; the same holds."""
    minimum: int
    """For min_pool_size, if there is room without evictions."""


NOTHING = LaunchPlan(0, 0, 0)
MAX_MINIMUM_LOGINS: Final = 100
"""Logins under way for min_pool_size; the others follow when some have ended.

The setting may be any number, and without a pool_size nothing else bounds it.
"""


def plan(demand: Demand, supply: Supply) -> LaunchPlan:
    """Return how many connections to open now, and for what."""
    if demand.blocked:
        return NOTHING
    coming = supply.free + supply.logging_in
    needed = max(demand.waiting - coming, 0)
    regular = min(needed, _room(supply, needed, has_welcome=demand.has_welcome))
    reserve = 0
    if supply.pool_size:
        limit = supply.pool_size + supply.reserve_size - supply.total - regular
        reserve = max(min(demand.overdue - coming - regular, limit), 0)
    minimum = 0
    if demand.wants_minimum:
        size = supply.min_pool_size
        if supply.pool_size:
            size = min(size, supply.pool_size)
        minimum = size - supply.total - regular - reserve
        minimum = max(
            min(minimum, MAX_MINIMUM_LOGINS - supply.logging_in - regular - reserve), 0
        )
    if not supply.failing:
        return LaunchPlan(regular, reserve, minimum)
    if supply.logging_in or supply.since_attempt < supply.login_retry:
        return NOTHING
    return _first_of(LaunchPlan(regular, reserve, minimum))


def _room(supply: Supply, wanted: int, *, has_welcome: bool) -> int:
    """Return how many of the wanted connections pool_size still allows."""
    if not supply.pool_size:
        return wanted
    room = max(supply.pool_size - supply.total, 0)
    if not has_welcome and not supply.logging_in:
        # After RECONNECT a full pool may exceed its size by one.
        return max(room, 1)
    return room


def _first_of(whole: LaunchPlan) -> LaunchPlan:
    """Return the part of a plan that takes one connection."""
    if whole.regular:
        return LaunchPlan(1, 0, 0)
    if whole.reserve:
        return LaunchPlan(0, 1, 0)
    return LaunchPlan(0, 0, min(whole.minimum, 1))


class EvictionCandidate(NamedTuple):
    """An unused server that may be closed for another pool."""

    number: int
    since: float
    """When it was last used, in monotonic seconds."""
    is_idle: bool
    """False: it must be checked, and its own pool may be waiting for that."""
    is_awaited: bool
    """Clients of its own pool are waiting."""


def eviction_candidates(unused: Iterable[EvictionCandidate], count: int) -> list[int]:
    """Return the numbers of the ``count`` servers that have been unused for longest.

    Returns none if there are not enough: closing fewer would not help.
    """
    fit = [one for one in unused if one.is_idle or not one.is_awaited]
    if len(fit) < count:
        return []
    return [one.number for one in sorted(fit, key=lambda one: one.since)[:count]]
