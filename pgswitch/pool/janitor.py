"""Runs the upkeep three times a second, and sees that nothing can stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.task import LoopingCall

from pgswitch.errors import ClientIdleTimeout
from pgswitch.pool.upkeep import INTERVAL_S, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools


class Janitor:
    """The one timer of all pools and clients."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        also: Callable[[float], None],
        reactor: IReactorTime,
    ) -> None:
        """``also`` is called with the time, after the pools."""
        self._context = context
        self._pools = pools
        self._also = also
        self._loop = LoopingCall(self.turn)
        self._loop.clock = reactor

    def start(self) -> None:
        """Begin; the first turn comes after one interval."""
        self._loop.start(INTERVAL_S, now=False)

    def stop(self) -> None:
        """End."""
        if self._loop.running:
            self._loop.stop()

    def turn(self) -> None:
        """Do everything that is due; nothing is while everything is suspended."""
        if self._context.suspended:
            return
        now = self._context.clock()
        self._pools.totals.look_again()
        for pool in self._pools:
            # A LoopingCall ends with the first exception; one pool's must not end
            # the care for all others.
            try:
                sweep(pool, now)
                self._silent_clients(pool, now)
            except Exception as error:  # noqa: BLE001 - see above
                self._context.log.error(f"upkeep of {pool.key} failed: {error!r}")
        try:
            self._pools.tidy(now)
            self._also(now)
        except Exception as error:  # noqa: BLE001 - see above
            self._context.log.error(f"upkeep failed: {error!r}")

    def _silent_clients(self, pool: ServerPool, now: float) -> None:
        """End clients without a server that have been silent for too long."""
        effective = self._context.effective
        if not effective.has_silence_limit:
            return
        for client in list(pool.clients.values()):
            limit = effective.client_idle_timeout(pool.spec, client.user)
            if (
                limit
                and client.state == "idle"
                and now - max(client.link.last_request, client.welcomed_at) > limit
            ):
                client.disconnect(ClientIdleTimeout())
