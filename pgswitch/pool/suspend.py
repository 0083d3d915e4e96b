"""SUSPEND: all reading stops where messages end, so that nothing is half passed on.

Every link is stopped at once and then read by hand, a message's rest at a time, until
it stands at a boundary and has nothing left to send.  Logins under way are let finish,
but for those that wait for a server that cannot be logged in to.
A client that has lost the server of a cluster is at rest when it is known why, or
when it is told that nobody knows.  What has not come to rest within
``suspend_timeout`` is closed.

Another process can then take the sockets over (``takeover/``); or RESUME has all links
read on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from pgswitch.errors import SuspendTimeout
from pgswitch.net.backend import Phase
from pgswitch.pool.held_clients import TIMEOUT_S
from pgswitch.pool.server_connector import SUSPEND_TIMEOUT, UNSAFE
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.stream import BIG_READ, PAUSED_SUSPENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pool import ServerPool
    from pgswitch.pool.pools import Pools
    from pgswitch.relay.stream import Stream

POLL_S = 0.01
"""How often those that have not come to rest are looked at."""
WATCH_S = 0.1
"""How often it is looked whether an admin is still there."""


class ListenerControl(Protocol):
    """The listening sockets; see net/listen.py."""

    def pause(self) -> None:
        """Accept nothing for now."""

    def resume(self) -> None:
        """Accept again."""


class Suspension:
    """Stops everything, and lets it go on."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        clients: Mapping[int, Frontend],
        listeners: ListenerControl,
    ) -> None:
        """``clients`` are all client connections by number, the console's too."""
        self._context = context
        self._pools = pools
        self._clients = clients
        self._listeners = listeners
        self._done: Deferred[None] | None = None
        self._deadline = 0.0
        self._held_clients_due = 0.0
        """Until then a client that has lost its server may wait to be told why."""
        self._has_read = False
        self._is_final = False

    def begin(self) -> Deferred[None]:
        """Stop; fires when everything has come to rest."""
        context = self._context
        context.suspended = True
        self._listeners.pause()
        now, settings = context.clock(), context.configuration.settings
        timeout = settings.suspend_timeout
        self._deadline = now + timeout if timeout else float("inf")
        self._held_clients_due = now + settings.switchover_silence + TIMEOUT_S
        self._done = Deferred(self._given_up)
        done = self._done
        self._look()
        return done

    def end(self) -> None:
        """Go on."""
        self._context.suspended = False
        self._done = None
        for stream in self._links():
            stream.resume(PAUSED_SUSPENDED)
        self._listeners.resume()
        for pool in self._pools:
            pool.serve_waiters()

    def freeze(self) -> None:
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
        if now >= min(self._held_clients_due, self._deadline):
            for pool in self._pools:
                pool.held_clients.give_up()
        clients, servers = self._not_quiesced()
        if now >= self._deadline:
            for client in clients:
                client.disconnect(SuspendTimeout())
            for backend in servers:
                backend.close(SUSPEND_TIMEOUT)
        elif clients or servers:
            self._context.later(POLL_S, self._look)
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

    def _links(self) -> Iterator[Stream]:
        for client in list(self._clients.values()):
            yield client.stream
        for pool in self._pools:
            for backend in pool.backends():
                if hasattr(backend, "stream"):
                    yield backend.stream

    def _not_quiesced(self) -> tuple[list[Frontend], list[Backend]]:
        """Stop all; return those that have not come to rest.

        What one reads by hand may move another that has been looked at before, so all
        are looked at again until nobody reads.
        """
        while True:
            self._has_read = False
            clients = list(self._clients_not_quiesced())
            servers = list(self._servers_not_quiesced())
            if clients or servers or not self._has_read:
                return clients, servers

    def _clients_not_quiesced(self) -> Iterator[Frontend]:
        """Stop the clients; yield those that have not come to rest."""
        for client in list(self._clients.values()):
            if client.console is not None:
                continue
            if client.is_untouched:
                client.stream.pause(PAUSED_SUSPENDED)
            elif not client.logged_in:
                if not _is_stuck(client):
                    yield client
            elif not self._is_at_rest(client.stream):
                yield client
            elif (
                client.stream.suspended
                and not client.stream.exchange.awaited
                and client.stream not in client.pool.waiting()
            ):
                yield client  # Its parameters are being set, or it has lost its server.

    def _servers_not_quiesced(self) -> Iterator[Backend]:
        for pool in self._pools:
            for backend in pool.backends():
                if self._is_not_quiesced(pool, backend):
                    yield backend

    def _is_not_quiesced(self, pool: ServerPool, backend: Backend) -> bool:
        """Stop a server, or close it if its state is nobody's to go on with."""
        if backend.phase is Phase.READY:
            return not self._is_at_rest(backend.stream) or bool(backend.cancels)
        # Logins of clients wait for welcomes and for answers of auth_query.
        if backend.phase is Phase.LOGIN and (
            pool.waiting_logins() or pool.internal_queries
        ):
            return True
        if backend.phase is Phase.BUSY and (
            pool.is_syncing_parameters(backend)
            or pool.internal_queries.is_at_work(backend)
        ):
            return True
        backend.close(UNSAFE)
        return False

    def _is_at_rest(self, stream: Stream) -> bool:
        """Stop a link; tell whether it stands between messages and has all sent."""
        stream.pause(PAUSED_SUSPENDED)
        missing = _missing(stream)
        # Another reason to stand still is a peer that has not taken what is there.
        while missing and stream.paused == PAUSED_SUSPENDED:
            stream.read_size = min(missing, BIG_READ)
            if stream.do_read_now() is not None:
                # An end of file: for the reactor to find, and to act on.
                stream.resume(PAUSED_SUSPENDED)
                return False
            self._has_read = True
            before, missing = missing, _missing(stream)
            if missing == before:
                return False
        interceptor = stream.interceptor if isinstance(stream, ClientStream) else None
        return not (
            missing
            or stream.backlogged
            or (interceptor and not interceptor.is_at_rest())
        )


def _is_stuck(client: Frontend) -> bool:
    """Tell whether a login waits for a server that is not to be had any time soon.

    All other clients would have to wait for it.
    """
    pool: ServerPool | None = client.pool
    if pool is None or not client.waiting_since:
        return False
    return bool(pool.failing or pool.is_held()) and not pool.is_opening()


def _missing(stream: Stream) -> int:
    """Return how many bytes are to be read at least until a message ends; 0: none."""
    if isinstance(stream, ClientStream):
        if stream.interceptor is not None and not stream.interceptor.at_boundary():
            return stream.interceptor.missing()
        if stream.dropping:
            return stream.dropping
    return stream.missing()
