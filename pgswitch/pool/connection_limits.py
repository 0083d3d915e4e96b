"""How many servers there are per database and per user, over all pools.

``max_db_connections`` and ``max_user_connections`` set pools against each other: one
that has clients waiting gets a connection only when another gives one up.  It closes
the server that has been unused for longest (``evicted``); if none is unused, it is
*starving*, and the first server of a rival that nobody there waits for is closed for
it; or one that somebody waits for, but not for as long as the starving pool's clients,
so that a busy pool cannot keep all for itself.  Without these limits, and while no pool
starves, nothing here costs anything.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from pgswitch.net.close_reason import CloseReason
from pgswitch.net.server_state import ServerState
from pgswitch.pool.sizing import EvictionCandidate, eviction_candidates

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
_SPARE = (ServerState.IDLE, ServerState.USED)
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

    def is_opening(self) -> bool:
        """Tell whether a server of it is logging in."""

    def set_open(self) -> None:
        """Take notice of what is asked of released servers."""


class ConnectionLimits:
    """Counts of servers, and the pools that want one in vain."""

    def __init__(
        self, context: ServiceContext, pools: Callable[[], Iterable[LimitedPool]]
    ) -> None:
        """Begin with none; ``pools`` returns all there are."""
        self.of_database: Counter[str] = Counter()
        self.of_user: Counter[str] = Counter()
        self._apart: Counter[tuple[str, str, Node]] = Counter()
        """Connections to standbys by node, of a database or of a user."""
        self._context = context
        self._pools = pools
        self._starving: dict[PoolKey, LimitedPool] = {}
        self._is_evicting = False
        """Whoever hears of it must not take the place that is being made."""
        self._in_vain: set[PoolKey] = set()
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
        self.offer(key)

    # Connections to standbys: the limits hold for each node by itself.

    def opened_apart(self, key: PoolKey, node: Node) -> None:
        """Count a connection of a pool to a standby."""
        self._apart.update(((key.database, "", node), ("", key.user, node)))

    def closed_apart(self, key: PoolKey, node: Node) -> None:
        """Count it no more."""
        self._apart.subtract(((key.database, "", node), ("", key.user, node)))

    def has_room_apart(self, pool: LimitedPool, node: Node) -> bool:
        """Tell whether a pool may open one more to a standby."""
        effective, key = self._context.effective, pool.key
        limits = (
            (effective.max_db_connections(pool.spec, key.user), (key.database, "")),
            (effective.max_user_connections(pool.spec, key.user), ("", key.user)),
        )
        return all(
            not limit or self._apart[*name, node] < limit for limit, name in limits
        )

    def has_room(self, pool: LimitedPool) -> bool:
        """Tell whether a pool may open one more without anything being closed."""
        return not self._is_evicting and not self._surplus(pool)

    def make_room(self, pool: LimitedPool) -> bool:
        """Tell whether a pool may open one more, after closing what others can spare.

        Nothing is closed unless that makes room.
        """
        if self._is_evicting or pool.key in self._in_vain:
            return False
        chosen: dict[int, Backend] = {}
        for surplus, rivals in self._surplus(pool):
            spare = dict(self._spare(rivals))
            numbers = eviction_candidates((one for one, _ in spare.values()), surplus)
            if not numbers:
                self._in_vain.add(pool.key)
                return False
            chosen |= {number: spare[number][1] for number in numbers}
        self._is_evicting = True
        try:
            for backend in chosen.values():
                backend.close(CloseReason.EVICTED)
        finally:
            self._is_evicting = False
        return True

    def note(self, pool: LimitedPool, *, starving: bool) -> None:
        """Note whether a pool has clients waiting for what the limits deny it."""
        if starving == (pool.key in self._starving):
            return
        if starving:
            self._starving[pool.key] = pool
        else:
            del self._starving[pool.key]
        for rival in self._pools():
            if _compete(rival.key, pool.key):
                rival.set_open()

    def look_again(self) -> None:
        """Have the next attempt to make room tried, though the last found none."""
        self._in_vain.clear()

    def is_wanted(self, key: PoolKey) -> bool:
        """Tell whether a starving pool could use a server of this one."""
        return any(_compete(key, other) for other in self._starving)

    def offer(self, key: PoolKey) -> None:
        """Let starving pools try again: one of this pool's servers is not needed."""
        if not self._starving:
            return
        self.look_again()
        for other, pool in list(self._starving.items()):
            if _compete(key, other):
                pool.launch()

    def needs_server(self, pool: LimitedPool) -> bool:
        """Tell whether a server that came free is due to a starving pool.

        Only one at a time goes to each, or it would get more than its share.
        """
        if not self._starving:
            return False
        own = pool.waiting_since()
        return any(
            other.waiting_since() + TIMEOUT_S < own
            and not other.is_opening()
            and self._is_helped(other, pool)
            for key, other in self._starving.items()
            if _compete(key, pool.key)
        )

    def _is_helped(self, starving: LimitedPool, pool: LimitedPool) -> bool:
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
    def _spare(
        pools: list[LimitedPool],
    ) -> Iterator[tuple[int, tuple[EvictionCandidate, Backend]]]:
        """Yield the unused servers of some pools by number."""
        for pool in pools:
            is_awaited = bool(pool.idle_pool.waiters)
            for backend in pool.backends():
                if (
                    backend.state in _SPARE
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
