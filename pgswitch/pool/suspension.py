"""SUSPEND: all reading stops where messages end, so that nothing is half passed on.

Every link is stopped at once and then read by hand, a message's rest at a time, until
it stands at a boundary and has nothing left to send.  Logins under way are let finish,
but for those that wait for a server that cannot be logged in to.
A client that has lost the server of a cluster is at rest when it is known why, or
when it is told that nobody knows.  What has not come to rest within
``suspend_timeout`` is closed.

Another process can then take the sockets over (``handover/``); or RESUME has all links
read on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from pgswitch.errors import SuspendTimeout
from pgswitch.net.backend import Phase
from pgswitch.pool.opening import SUSPEND_TIMEOUT, UNSAFE
from pgswitch.pool.verdicts import PATIENCE_S
from pgswitch.relay.client import ClientLink
from pgswitch.relay.link import BIG_READ, PAUSED_SUSPENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import PoolContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.registry import Pools
    from pgswitch.relay.link import Link

LOOK_AGAIN_S = 0.01
"""How often those that have not come to rest are looked at."""
WATCH_S = 0.1
"""How often it is looked whether an admin is still there."""


class Doors(Protocol):
    """The listening sockets; see net/listen.py."""

    def pause(self) -> None:
        """Accept nothing for now."""

    def resume(self) -> None:
        """Accept again."""


class Suspension:
    """Stops everything, and lets it go on."""

    def __init__(
        self,
        context: PoolContext,
        pools: Pools,
        clients: Mapping[int, Frontend],
        doors: Doors,
    ) -> None:
        """``clients`` are all client connections by number, the console's too."""
        self._context = context
        self._pools = pools
        self._clients = clients
        self._doors = doors
        self._done: Deferred[None] | None = None
        self._deadline = 0.0
        self._verdicts_due = 0.0
        """Until then a client that has lost its server may wait to be told why."""
        self._has_read = False
        self._is_final = False

    def begin(self) -> Deferred[None]:
        """Stop; fires when everything has come to rest."""
        context = self._context
        context.suspended = True
        self._doors.pause()
        now, settings = context.clock(), context.configuration.settings
        timeout = settings.suspend_timeout
        self._deadline = now + timeout if timeout else float("inf")
        self._verdicts_due = now + settings.switchover_silence + PATIENCE_S
        self._done = Deferred(self._given_up)
        done = self._done
        self._look()
        return done

    def end(self) -> None:
        """Go on."""
        self._context.suspended = False
        self._done = None
        for link in self._links():
            link.resume(PAUSED_SUSPENDED)
        self._doors.resume()
        for pool in self._pools:
            pool.serve_waiters()

    def stand_still(self) -> None:
        """Resume no more by ourselves: the process ends.

        Its console is gone before its reactor has stopped; reading on in between, or
        closing what is read, would disturb sockets that another process goes on with.
        """
        self._is_final = True

    def _given_up(self, _deferred: Deferred[None]) -> None:
        """Hear that the console waits no more; what it began goes on."""
        self._done = None

    def _look(self) -> None:
        if not self._context.suspended:
            return
        now = self._context.clock()
        if now >= min(self._verdicts_due, self._deadline):
            for pool in self._pools:
                pool.verdicts.give_up()
        clients, servers = self._restless()
        if now >= self._deadline:
            for client in clients:
                client.disconnect(SuspendTimeout())
            for backend in servers:
                backend.close(SUSPEND_TIMEOUT)
        elif clients or servers:
            self._context.later(LOOK_AGAIN_S, self._look)
            return
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)
        self._watch()

    def _watch(self) -> None:
        """Go on by ourselves once nobody is left who could say RESUME."""
        if not self._context.suspended or self._is_final:
            return
        if any(one.console is not None for one in self._clients.values()):
            self._context.later(WATCH_S, self._watch)
            return
        self._context.log.log("admin disappeared when suspended, doing RESUME")
        self.end()

    def _links(self) -> Iterator[Link]:
        for client in list(self._clients.values()):
            yield client.link
        for pool in self._pools:
            for backend in pool.backends():
                if hasattr(backend, "link"):
                    yield backend.link

    def _restless(self) -> tuple[list[Frontend], list[Backend]]:
        """Stop all; return those that have not come to rest.

        What one reads by hand may move another that has been looked at before, so all
        are looked at again until nobody reads.
        """
        while True:
            self._has_read = False
            clients = list(self._restless_clients())
            servers = list(self._restless_servers())
            if clients or servers or not self._has_read:
                return clients, servers

    def _restless_clients(self) -> Iterator[Frontend]:
        """Stop the clients; yield those that have not come to rest."""
        for client in list(self._clients.values()):
            if client.console is not None:
                continue
            if client.is_untouched:
                client.link.pause(PAUSED_SUSPENDED)
            elif not client.logged_in:
                if not _is_stuck(client):
                    yield client
            elif not self._is_at_rest(client.link):
                yield client
            elif (
                client.link.halted
                and not client.link.exchange.awaited
                and client.link not in client.pool.waiting()
            ):
                yield client  # Its parameters are being set, or it has lost its server.

    def _restless_servers(self) -> Iterator[Backend]:
        for pool in self._pools:
            for backend in pool.backends():
                if self._is_restless(pool, backend):
                    yield backend

    def _is_restless(self, pool: ServerPool, backend: Backend) -> bool:
        """Stop a server, or close it if its state is nobody's to go on with."""
        if backend.phase is Phase.READY:
            return not self._is_at_rest(backend.link) or bool(backend.cancels)
        # Logins of clients wait for welcomes and for answers of auth_query.
        if backend.phase is Phase.LOGIN and (pool.unwelcomed() or pool.errands):
            return True
        if backend.phase is Phase.BUSY and (
            pool.is_settling(backend) or pool.errands.is_at_work(backend)
        ):
            return True
        backend.close(UNSAFE)
        return False

    def _is_at_rest(self, link: Link) -> bool:
        """Stop a link; tell whether it stands between messages and has all sent."""
        link.pause(PAUSED_SUSPENDED)
        missing = _missing(link)
        # Another reason to stand still is a peer that has not taken what is there.
        while missing and link.paused == PAUSED_SUSPENDED:
            link.read_size = min(missing, BIG_READ)
            if link.do_read_now() is not None:
                # An end of file: for the reactor to find, and to act on.
                link.resume(PAUSED_SUSPENDED)
                return False
            self._has_read = True
            before, missing = missing, _missing(link)
            if missing == before:
                return False
        gate = link.gate if isinstance(link, ClientLink) else None
        return not (missing or link.backlogged or (gate and not gate.is_at_rest()))


def _is_stuck(client: Frontend) -> bool:
    """Tell whether a login waits for a server that is not to be had any time soon.

    All other clients would have to wait for it.
    """
    pool: ServerPool | None = client.pool
    if pool is None or not client.waiting_since:
        return False
    return bool(pool.failing or pool.is_held()) and not pool.is_opening()


def _missing(link: Link) -> int:
    """Return how many bytes are to be read at least until a message ends; 0: none."""
    if isinstance(link, ClientLink):
        if link.gate is not None and not link.gate.at_boundary():
            return link.gate.missing()
        if link.dropping:
            return link.dropping
    return link.missing()
