"""When a pool opens connections: decided from plain facts, carried out elsewhere.

PgBouncer opens one connection at a time for a pool; after a writer has moved that
makes the last of fifty clients wait for fifty logins.  Here a pool opens as many as
there are clients waiting and room for, unless its last attempt failed: then it
tries with a single one, not more often than ``server_login_retry``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Facts:
    """What the decision needs to know; times in seconds."""

    waiting: int
    """Clients that wait for a server, or for the first login to be welcomed."""
    logging_in: int
    """Connections that are being opened."""
    free: int
    """Servers that are being reset or checked and come free without our doing."""
    total: int
    """All servers, those that log in included."""
    pool_size: int
    """0: no limit."""
    min_pool_size: int
    is_wanted: bool
    """Clients are in the pool, or it is to be kept warm without any."""
    failing: bool
    """The last attempt failed."""
    since_attempt: float
    login_retry: float
    held: bool
    """Paused, suspended or shutting down: nothing is opened."""


def launches(facts: Facts) -> int:
    """Return how many connections to open now."""
    if facts.held:
        return 0
    needed = facts.waiting - facts.free
    if facts.is_wanted:
        least = facts.min_pool_size
        if facts.pool_size:
            least = min(least, facts.pool_size)
        needed = max(needed, least - facts.total + facts.logging_in)
    needed -= facts.logging_in
    if facts.pool_size:
        needed = min(needed, facts.pool_size - facts.total)
    if facts.failing:
        if facts.logging_in or facts.since_attempt < facts.login_retry:
            return 0
        needed = min(needed, 1)
    return max(needed, 0)
