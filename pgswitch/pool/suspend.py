"""SUSPEND: all reading stops at message boundaries, so no message is half relayed.

Every stream is paused at once and then read step by step, the rest of one message at a
time, until it is at a boundary and has nothing left to send.  Logins under way may
finish, except those that wait for a server that does not accept logins.  A client that
has lost the server of a cluster is quiesced when the cause is known, or when it has the
error that none is known.  Connections that are not quiesced within ``suspend_timeout``
are closed.

Then another process can take over the sockets (``takeover/``), or RESUME lets all
streams read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from pgswitch.errors import SuspendTimeout
from pgswitch.net.connection_states import CloseReason, ServerState
from pgswitch.pool.failover import TIMEOUT_S
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
"""How often connections that are not quiesced are looked at."""
WATCH_S = 0.1
"""How often we check that an admin is still connected."""


class ListenerControl(Protocol):
    """The listening sockets; see net/listen.py."""

    def pause(self) -> None:
        """Stop accepting."""

    def resume(self) -> None:
        """Accept again."""


class Suspension:
    """Carries out SUSPEND and the RESUME after it."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        clients: Mapping[int, Frontend],
        listeners: ListenerControl,
    ) -> None:
        """``clients`` are all client connections by number, consoles included."""
        self._context = context
        self._pools = pools
        self._clients = clients
        self._listeners = listeners
        self._done: Deferred[None] | None = None
        self._deadline = 0.0
        self._held_clients_due = 0.0
        """Until then clients that have lost a server are held, in monotonic seconds."""
        self._has_read = False
        self._is_final = False

    def begin(self) -> Deferred[None]:
        """Suspend; fires when everything is quiesced."""
        context = self._context
        context.suspended = True
        self._listeners.pause()
        now, settings = context.clock(), context.configuration.settings
        timeout = settings.suspend_timeout
        self._deadline = now + timeout if timeout else float("inf")
        self._held_clients_due = now + settings.switchover_silence + TIMEOUT_S
        self._done = Deferred(self._abandoned)
        done = self._done
        self._look()
        return done

    def end(self) -> None:
        """Resume."""
        self._context.suspended = False
        self._done = None
        for stream in self._streams():
            stream.resume(PAUSED_SUSPENDED)
        self._listeners.resume()
        for pool in self._pools:
            pool.serve_waiters()

    def freeze(self) -> None:
        """Never resume by ourselves: the process ends.

        Its console disconnects before its reactor stops; reading or closing in between
        would disturb sockets that another process goes on with.
        """
        self._is_final = True

    def _abandoned(self, _deferred: Deferred[None]) -> None:
        """Note that the console no longer waits; the SUSPEND goes on."""
        self._done = None

    def _look(self) -> None:
        if not self._context.suspended:
            return
        now = self._context.clock()
        if now >= min(self._held_clients_due, self._deadline):
            for pool in self._pools:
                pool.held_clients.release_all()
        clients, servers = self._not_quiesced()
        if now >= self._deadline:
            for client in clients:
                client.disconnect(SuspendTimeout())
            for backend in servers:
                backend.close(CloseReason.SUSPEND_TIMEOUT)
        elif clients or servers:
            self._context.later(POLL_S, self._look)
            return
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)
        self._watch()

    def _watch(self) -> None:
        """Resume by ourselves once no console is left that could."""
        if not self._context.suspended or self._is_final:
            return
        if any(one.console is not None for one in self._clients.values()):
            self._context.later(WATCH_S, self._watch)
            return
        self._context.log.log("admin disappeared when suspended, doing RESUME")
        self.end()

    def _streams(self) -> Iterator[Stream]:
        for client in list(self._clients.values()):
            yield client.stream
        for pool in self._pools:
            for backend in pool.backends():
                if hasattr(backend, "stream"):
                    yield backend.stream

    def _not_quiesced(self) -> tuple[list[Frontend], list[Backend]]:
        """Pause all; return those that are not quiesced.

        Reading from one may send to another that was quiesced before, so this repeats
        until nothing is read.
        """
        while True:
            self._has_read = False
            clients = list(self._clients_not_quiesced())
            servers = list(self._servers_not_quiesced())
            if clients or servers or not self._has_read:
                return clients, servers

    def _clients_not_quiesced(self) -> Iterator[Frontend]:
        """Pause the clients; yield those that are not quiesced."""
        for client in list(self._clients.values()):
            if client.console is not None:
                continue
            if client.is_untouched:
                client.stream.pause(PAUSED_SUSPENDED)
            elif not client.logged_in:
                if not _is_stuck(client):
                    yield client
            elif not self._is_quiesced(client.stream):
                yield client
            elif (
                client.stream.suspended
                and not client.stream.exchange.awaited
                and client.stream not in client.pool.waiting()
            ):
                yield client  # Its parameters are being set, or it is held.

    def _servers_not_quiesced(self) -> Iterator[Backend]:
        for pool in self._pools:
            for backend in pool.backends():
                if self._is_not_quiesced(pool, backend):
                    yield backend

    def _is_not_quiesced(self, pool: ServerPool, backend: Backend) -> bool:
        """Pause a server; close it if nothing can go on with its state."""
        if backend.stored_state.serves_clients:
            return not self._is_quiesced(backend.stream) or bool(backend.cancels)
        # Logins of clients wait for welcomes and for answers of auth_query.
        if backend.stored_state is ServerState.LOGIN and (
            pool.waiting_logins() or pool.internal_queries
        ):
            return True
        if backend.stored_state.runs_query and (
            pool.is_syncing_parameters(backend)
            or pool.internal_queries.is_running(backend)
        ):
            return True
        backend.close(CloseReason.UNSAFE)
        return False

    def _is_quiesced(self, stream: Stream) -> bool:
        """Pause a stream; tell whether it is at a boundary and has sent everything."""
        stream.pause(PAUSED_SUSPENDED)
        missing = _missing(stream)
        # It may also be paused because its peer is backlogged.
        while missing and stream.paused == PAUSED_SUSPENDED:
            stream.read_size = min(missing, BIG_READ)
            if stream.do_read_now() is not None:
                # End of file: the reactor finds it and acts on it.
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
            or (interceptor and not interceptor.can_hand_over())
        )


def _is_stuck(client: Frontend) -> bool:
    """Tell whether a login waits for a server that will not be available soon.

    All other clients would have to wait for it.
    """
    pool: ServerPool | None = client.pool
    if pool is None or not client.waiting_since:
        return False
    return bool(pool.failing or pool.is_blocked()) and not pool.is_logging_in()


def _missing(stream: Stream) -> int:
    """Return how many bytes are missing, at least, to a boundary; 0: none."""
    if isinstance(stream, ClientStream):
        if stream.interceptor is not None and not stream.interceptor.at_boundary():
            return stream.interceptor.missing()
        if stream.dropping:
            return stream.dropping
    return stream.missing()
