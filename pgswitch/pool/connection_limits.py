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

from pgswitch.net.close_reason import CloseReason
from pgswitch.net.server_state import ServerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgswitch.cluster.nodes import Node
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.types import PoolKey


TIMEOUT_S = 1.0
"""How much longer than a rival's the clients of a starving pool wait before they are
given a server that is in demand there: changing hands costs a login."""
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
        """Open what is wanted and allowed."""

    def waiting_since(self) -> float:
        """Return when the client came that has waited longest; infinite if none."""

    def is_logging_in(self) -> bool:
        """Tell whether a server of it is logging in."""

    def update_open(self) -> None:
        """Take notice of what is asked of released servers."""


class ConnectionLimits:
    """Counts of servers, and the pools that want one in vain."""

    def __init__(
        self, context: ServiceContext, pools: Callable[[], Iterable[LimitedPool]]
    ) -> None:
        """Begin with none; ``pools`` returns all there are."""
        self.of_database: Counter[str] = Counter()
        self.of_user: Counter[str] = Counter()
        self._on_standbys: Counter[tuple[str, str, Node]] = Counter()
        """Connections to standbys by node, of a database or of a user."""
        self._context = context
        self._pools = pools
        self._starving: dict[PoolKey, LimitedPool] = {}
        self._is_evicting = False
        """Whoever hears of it must not take the place that is being made."""
        self._hopeless: set[PoolKey] = set()
        """Pools that found no room, until something changes."""

    def opened(self, key: PoolKey) -> None:
        """Count a server of a pool."""
        self.of_database[key.database] += 1
        self.of_user[key.user] += 1

    def closed(self, key: PoolKey) -> None:
        """Count it no more, and let those who starve have its place."""
        for counts, name in (
            (self.of_database, key.database),
            (self.of_user, key.user),
        ):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
        self.launch_starving(key)

    # Connections to standbys: the limits hold for each node by itself.

    def opened_on_standby(self, key: PoolKey, node: Node) -> None:
        """Count a connection of a pool to a standby."""
        self._on_standbys.update(((key.database, "", node), ("", key.user, node)))

    def closed_on_standby(self, key: PoolKey, node: Node) -> None:
        """Count it no more."""
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
        """Tell whether a pool may open one more, after closing what others can spare.

        Nothing is closed unless that makes room.
        """
        if self._is_evicting or pool.key in self._hopeless:
            return False
        chosen: dict[int, Backend] = {}
        for surplus, rivals in self._surplus(pool):
            spare = dict(self._unused(rivals))
            numbers = eviction_candidates((one for one, _ in spare.values()), surplus)
            if not numbers:
                self._hopeless.add(pool.key)
                return False
            chosen |= {number: spare[number][1] for number in numbers}
        self._is_evicting = True
        try:
            for backend in chosen.values():
                backend.close(CloseReason.EVICTED)
        finally:
            self._is_evicting = False
        return True

    def set_starving(self, pool: LimitedPool, *, starving: bool) -> None:
        """Note whether a pool has clients waiting for what the limits deny it."""
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
        """Have the next attempt to make room tried, though the last found none."""
        self._hopeless.clear()

    def has_starving_rival(self, key: PoolKey) -> bool:
        """Tell whether a starving pool could use a server of this one."""
        return any(_compete(key, other) for other in self._starving)

    def launch_starving(self, key: PoolKey) -> None:
        """Let starving pools try again: one of this pool's servers is not needed."""
        if not self._starving:
            return
        self.retry_evictions()
        for other, pool in list(self._starving.items()):
            if _compete(key, other):
                pool.launch()

    def must_yield(self, pool: LimitedPool) -> bool:
        """Tell whether a server that came free is due to a starving pool.

        Only one at a time goes to each, or it would get more than its share.
        """
        if not self._starving:
            return False
        own = pool.waiting_since()
        return any(
            other.waiting_since() + TIMEOUT_S < own
            and not other.is_logging_in()
            and self._would_make_room(other, pool)
            for key, other in self._starving.items()
            if _compete(key, pool.key)
        )

    def _would_make_room(self, starving: LimitedPool, pool: LimitedPool) -> bool:
        """Tell whether the end of one server of ``pool`` makes room for the other."""
        return all(
            surplus == 1 and pool in rivals
            for surplus, rivals in self._surplus(starving)
        )

    def _surplus(self, pool: LimitedPool) -> list[tuple[int, list[LimitedPool]]]:
        """Return for each limit in the way how many are to be closed, and of whom."""
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
        """Yield the unused servers of some pools by number."""
        for pool in pools:
            is_awaited = bool(pool.idle_pool.waiters)
            for backend in pool.backends():
                if (
                    backend.state in _UNUSED
                    and not backend.cancels
                    and backend.replication == "none"
                ):
                    spare = EvictionCandidate(
                        backend.number,
                        backend.stream.ready_since,
                        backend.stored_state is ServerState.IDLE,
                        is_awaited,
                    )
                    yield backend.number, (spare, backend)


def _compete(one: PoolKey, other: PoolKey) -> bool:
    """Tell whether two pools share a limit, if there is one."""
    return one != other and (one.database == other.database or one.user == other.user)


class Demand(NamedTuple):
    """Who wants servers of a pool."""

    waiting: int = 0
    """Clients that wait for a server, or for the first login to be welcomed."""
    overdue: int = 0
    """Those of them that have waited for longer than reserve_pool_timeout."""
    is_wanted: bool = False
    """Clients are in the pool, or it is to be kept warm without any."""
    is_known: bool = False
    """What its servers report is known, so that clients can be welcomed."""
    held: bool = False
    """Paused, suspended or shutting down: nothing is opened."""


class Supply(NamedTuple):
    """What servers a pool has and may have; times in seconds."""

    pool_size: int
    """0: no limit."""
    reserve_size: int = 0
    """How many more overdue clients may have opened."""
    min_pool_size: int = 0
    total: int = 0
    """All servers, those that log in included."""
    logging_in: int = 0
    """Connections that are being opened."""
    free: int = 0
    """Servers that are being reset or checked and come free without our doing."""
    failing: bool = False
    """The last attempt to log in failed."""
    since_attempt: float = 0.0
    login_retry: float = 0.0


class LaunchPlan(NamedTuple):
    """How many connections to open now."""

    regular: int
    """For clients that wait; to make room, others' idle servers may be closed."""
    reserve: int
    """For overdue clients, beyond pool_size; the same holds."""
    spare: int
    """To keep min_pool_size, if there is room."""


NOTHING = LaunchPlan(0, 0, 0)
MAX_AT_ONCE: Final = 100
"""Logins to servers for min_pool_size; the rest is opened when some have ended.

It may be any number, and where pool_size is no limit nothing else bounds it.
"""


def plan(demand: Demand, stock: Supply) -> LaunchPlan:
    """Return how many connections to open now, and what for."""
    if demand.held:
        return NOTHING
    coming = stock.free + stock.logging_in
    needed = max(demand.waiting - coming, 0)
    regular = min(needed, _room(stock, needed, is_known=demand.is_known))
    reserve = 0
    if stock.pool_size:
        most = stock.pool_size + stock.reserve_size - stock.total - regular
        reserve = max(min(demand.overdue - coming - regular, most), 0)
    spare = 0
    if demand.is_wanted:
        least = stock.min_pool_size
        if stock.pool_size:
            least = min(least, stock.pool_size)
        spare = least - stock.total - regular - reserve
        spare = max(min(spare, MAX_AT_ONCE - stock.logging_in - regular - reserve), 0)
    if not stock.failing:
        return LaunchPlan(regular, reserve, spare)
    if stock.logging_in or stock.since_attempt < stock.login_retry:
        return NOTHING
    return _first_of(LaunchPlan(regular, reserve, spare))


def _room(stock: Supply, wanted: int, *, is_known: bool) -> int:
    """Return how many connections pool_size still allows."""
    if not stock.pool_size:
        return wanted
    room = max(stock.pool_size - stock.total, 0)
    if not is_known and not stock.logging_in:
        # After RECONNECT a full pool may exceed its size by one.
        return max(room, 1)
    return room


def _first_of(whole: LaunchPlan) -> LaunchPlan:
    """Return the part of a plan that one connection can do."""
    if whole.regular:
        return LaunchPlan(1, 0, 0)
    if whole.reserve:
        return LaunchPlan(0, 1, 0)
    return LaunchPlan(0, 0, min(whole.spare, 1))


class EvictionCandidate(NamedTuple):
    """An unused server, as a candidate to be closed in favour of another pool."""

    number: int
    since: float
    """When it was last used, in monotonic seconds."""
    is_idle: bool
    """False: it is or was to be checked, and its own pool may be waiting for that."""
    is_awaited: bool
    """Clients of its own pool are waiting."""


def eviction_candidates(spares: Iterable[EvictionCandidate], count: int) -> list[int]:
    """Return the numbers of ``count`` servers to close, those unused for longest.

    Returns none of them when there are not enough: closing fewer would not help.
    """
    fit = [one for one in spares if one.is_idle or not one.is_awaited]
    if len(fit) < count:
        return []
    return [one.number for one in sorted(fit, key=lambda one: one.since)[:count]]
