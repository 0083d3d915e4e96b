"""Logs clients of a pool that wait for longer than their deadlines allow.

A client waits for a server, for its parameters to be set there, for a rule, for its
welcome, or, if rules need to know its state, for an answer.  Each of these has a
deadline (maintenance.py) if the settings name one.  A client that waits for twice as
long has met a bug of ours: one line in the log for each such wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgswitch.relay.interceptor import QueryInterceptor

if TYPE_CHECKING:
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.types import PoolKey

SERVER, PARAMETERS = "a server", "its parameters to be set"
RULE, ANSWER, WELCOME = "a rule", "an answer", "its login"
Sign = tuple[float, float, float, float]
"""Differs between one wait of a client and the next."""


class WaitPool(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    key: PoolKey
    spec: DatabaseSpec
    context: ServiceContext
    clients: dict[int, Frontend]


class ObservedWait:
    """One wait of a client."""

    def __init__(self, sign: Sign, since: float) -> None:
        """``since``: when it was first seen, in monotonic seconds."""
        self.sign = sign
        self.since = since
        self.is_logged = False


class WaitWatchdog:
    """The waits of one pool's clients, as of the last maintenance run."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: dict[int, ObservedWait] = {}

    def look(self, pool: WaitPool, now: float) -> None:
        """Find the clients that wait, and log those that wait for too long."""
        seen: dict[int, ObservedWait] = {}
        for number, client in pool.clients.items():
            # Nearly all clients wait for nothing: they cost no more than this.
            if client.logged_in and not client.stream.indirect:
                continue
            awaited = awaited_by(client)
            if not awaited:
                continue
            sign = _sign(client)
            wait = self._seen.get(number)
            if wait is None or wait.sign != sign:
                wait = ObservedWait(sign, now)
            seen[number] = wait
            limit = limit_of(pool, client, awaited)
            if limit and not wait.is_logged and now - wait.since > 2 * limit:
                wait.is_logged = True
                pool.context.log.error(
                    f"{client.prefix} has been waiting for {awaited} for"
                    f" {now - wait.since:.0f} s, twice as long as it may"
                )
        self._seen = seen


def awaited_by(client: Frontend) -> str:
    """Return what a client waits for; empty: nothing."""
    if not client.logged_in:
        return WELCOME if client.waiting_since else ""
    stream = client.stream
    if stream.suspended:
        return SERVER if stream.waiting_since else PARAMETERS
    interceptor = stream.interceptor
    if isinstance(interceptor, QueryInterceptor):
        if interceptor.waiting_since:
            return RULE
        if interceptor.awaits_answers():
            return ANSWER
    return ""


def limit_of(pool: WaitPool, client: Frontend, awaited: str) -> float:
    """Return for how many seconds a client may wait; 0: without a limit."""
    effective = pool.context.effective
    if awaited == ANSWER:
        return float(effective.query_timeout(pool.spec, pool.key.user))
    limit = float(effective.query_wait_timeout(pool.spec, client.user))
    if awaited == WELCOME:
        login_limit = float(pool.context.configuration.settings.client_login_timeout)
        return (
            min(limit, login_limit) if limit and login_limit else limit or login_limit
        )
    return limit


def _sign(client: Frontend) -> Sign:
    stream = client.stream
    interceptor = stream.interceptor
    rule = (
        interceptor.waiting_since if isinstance(interceptor, QueryInterceptor) else 0.0
    )
    asked = stream.exchange.query_start
    return stream.waiting_since, asked, stream.last_request, rule
