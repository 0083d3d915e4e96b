"""Runs the upkeep three times a second, and sees that nothing can stop it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from pgswitch.errors import ClientIdleTimeout
from pgswitch.net.client_state import IDLE_STATES
from pgswitch.pool.maintenance import INTERVAL_S, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools

POOLS_A_TURN: Final = 100
"""Pools that are looked after without a pause, in 3 to 6 ms."""


class Janitor:
    """The one timer of all pools and clients."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        also: Callable[[float], None],
        reactor: Any,  # noqa: ANN401 - one object with many interfaces
    ) -> None:
        """``also`` is called with the time, after the pools."""
        self._context = context
        self._pools = pools
        self._also = also
        self._reactor = reactor
        self._loop = LoopingCall(self.turn)
        self._loop.clock = reactor
        self._left: deque[ServerPool] = deque()
        """The pools that are still to be looked after in this round."""
        self._going_on: Any = None
        """The call that will go on with them; compiled, its interface has no use."""

    def start(self) -> None:
        """Begin; the first turn comes after one interval."""
        self._loop.start(INTERVAL_S, now=False)

    def stop(self) -> None:
        """End."""
        if self._loop.running:
            self._loop.stop()
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None

    def turn(self) -> Deferred[None] | None:
        """Do everything that is due; nothing is while everything is suspended.

        Of thousands of pools some are looked after in each turn of the loop; the
        Deferred fires, for the timer, when all are.
        """
        if self._context.suspended:
            return None
        self._pools.connection_limits.look_again()
        self._left = deque(self._pools)
        done: Deferred[None] = Deferred()
        self._go_on(done)
        return done

    def _go_on(self, done: Deferred[None]) -> None:
        """Look after the next pools, and at last after all else."""
        self._going_on = None
        now = self._context.clock()
        for _ in range(POOLS_A_TURN):
            if not self._left or self._context.suspended:
                break
            pool = self._left.popleft()
            if self._pools.has(pool):
                self._look_after(pool, now)
        if self._left and not self._context.suspended:
            self._going_on = self._reactor.callLater(0, self._go_on, done)
            return
        if not self._left:
            try:
                self._pools.tidy(now)
                self._also(now)
            except Exception as error:  # noqa: BLE001 - see below
                self._context.log.error(f"upkeep failed: {error!r}")
        done.callback(None)

    def _look_after(self, pool: ServerPool, now: float) -> None:
        # A LoopingCall ends with the first exception; one pool's must not end
        # the care for all others.
        try:
            sweep(pool, now)
            self._silent_clients(pool, now)
        except Exception as error:  # noqa: BLE001 - see above
            self._context.log.error(f"upkeep of {pool.key} failed: {error!r}")

    def _silent_clients(self, pool: ServerPool, now: float) -> None:
        """End clients without a server that have been silent for too long."""
        effective = self._context.effective
        if not effective.has_silence_limit:
            return
        for client in list(pool.clients.values()):
            limit = effective.client_idle_timeout(pool.spec, client.user)
            if (
                limit
                and client.state in IDLE_STATES
                and now - max(client.stream.last_request, client.welcomed_at) > limit
            ):
                client.disconnect(ClientIdleTimeout())
