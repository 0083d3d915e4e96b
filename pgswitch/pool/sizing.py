"""When a pool opens connections, and whose are closed for that: decided from facts.

PgBouncer opens one connection at a time for a pool; after a writer has moved that
makes the last of fifty clients wait for fifty logins.  Here a pool opens as many as
there are clients waiting and room for, unless its last attempt failed: then it
tries with a single one, not more often than ``server_login_retry``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Demand:
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


@dataclass(slots=True)
class Supply:
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
