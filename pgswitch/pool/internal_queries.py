"""Internal queries (auth_query): one query each, on any server of a pool, for a login.

The client that logs in is no client of this pool yet, so it does not wait in its idle
pool.  Internal queries have a queue of their own, which goes first: a login waits
behind at most one query of another client, and runs a single short one itself.  Before
that the server gets back its own parameters, instead of those of its last client.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from pgswitch.errors import (
    BouncerConfigError,
    Fault,
    ServerLoginFailing,
)
from pgswitch.net.backend import ServerQuery
from pgswitch.net.connection_states import CloseReason
from pgswitch.pool.parameter_sync import sync_parameters

if TYPE_CHECKING:
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.relay.server_stream import ServerStream


class InternalQueryPool(Protocol):
    """What internal queries need of their pool; see pool/pool.py."""

    context: ServiceContext

    @property
    def is_failing(self) -> bool:
        """Whether no server is available before the next attempt to log in."""

    @property
    def failing(self) -> str:
        """Why the last login failed."""

    def update_open(self) -> None:
        """Have released servers looked at while internal queries wait."""

    def serve_waiters(self) -> None:
        """Give servers to waiting clients; open more."""

    def launch(self, *, at_least: int = 0) -> None:
        """Open connections that are wanted and allowed."""

    def released(self, server: ServerStream) -> None:
        """Take back a server that has run an internal query."""


class RepeatableQuery(ServerQuery, Protocol):
    """A query that may be run again on another server."""

    def begin_again(self) -> None:
        """Drop what has been received."""


class InternalQuery:
    """One query, and the Deferred that waits for its answer."""

    def __init__(self, query: RepeatableQuery, user: str, now: float) -> None:
        """``user`` is the name that the client logs in with."""
        self.query = query
        self.user = user
        self.waiting_since = self._since = now
        """In monotonic seconds; 0.0 once a server runs it."""
        self.retried = False
        """The first server was lost."""
        self.done: Deferred[None] = Deferred(self._abandoned)
        """Fires when the query has its answer; fails with a Fault."""
        self.abandoned = False
        """Cancelled or failed: nothing waits for the answer."""

    def _abandoned(self, _done: Deferred[None]) -> None:
        self.abandoned = True

    def retry(self) -> None:
        """Wait for another server; the timeout still counts from the first time."""
        self.retried = True
        self.waiting_since = self._since
        self.query.begin_again()

    def fail(self, fault: Fault) -> None:
        """Fail the Deferred, if it still waits."""
        if not self.abandoned:
            self.abandoned = True
            self.done.errback(fault)


class InternalQueries:
    """The internal queries of one pool."""

    def __init__(self, pool: InternalQueryPool) -> None:
        """Begin with none."""
        self._pool = pool
        self._waiting: list[InternalQuery] = []
        self._running: dict[Backend, InternalQuery] = {}

    def waiting(self) -> list[InternalQuery]:
        """Return those that wait for a server, oldest first."""
        self._waiting = [one for one in self._waiting if not one.abandoned]
        return list(self._waiting)

    def __len__(self) -> int:
        """Return how many wait for a server."""
        return len(self.waiting())

    def send(self, query: RepeatableQuery, user: str) -> Deferred[None]:
        """Run a query on the next free server.

        The Deferred fires when the query has its answer; cancel it to give up.  It
        fails with the Fault for the client: the pool cannot log in, the server was
        lost, the service is shutting down.
        """
        internal_query = InternalQuery(query, user, self._pool.context.clock())
        shutdown_fault = self._pool.context.shutdown_fault
        if shutdown_fault is not None:
            internal_query.fail(shutdown_fault())
        elif self._pool.is_failing:
            internal_query.fail(ServerLoginFailing(reason=self._pool.failing))
            self._pool.launch(at_least=1)
        else:
            self._waiting.append(internal_query)
            self._pool.update_open()
            self._pool.serve_waiters()
        return internal_query.done

    def run_next(self, backend: Backend) -> bool:
        """Run the first waiting query on a free server; False: none waits."""
        waiting = self.waiting()
        if not waiting:
            return False
        internal_query = self._waiting.pop(0)
        internal_query.waiting_since = 0.0
        self._running[backend] = internal_query
        tracking = self._pool.context.tracking
        # Its values of the login: no client's search_path may decide who may log in.
        own = tracking.collect(backend.parameters)
        if not sync_parameters(
            tracking, backend, own, partial(self._parameters_set, backend)
        ):
            self._parameters_set(backend, None)
        if not self._waiting:
            self._pool.update_open()
        return True

    def _parameters_set(self, backend: Backend, error: dict[str, str] | None) -> None:
        """Run the query: the server has its own parameters again."""
        if error is not None:
            backend.close(CloseReason.PARAMETER_RESET_FAILED)
            return
        internal_query = self._running[backend]
        backend.ask(internal_query.query, lambda _error: self._answered(backend))

    def _answered(self, backend: Backend) -> None:
        """Release the server, then fire the Deferred."""
        internal_query = self._running.pop(backend)
        if internal_query.query.unfit:
            backend.close(CloseReason.UNFIT_ANSWER, detail=internal_query.query.unfit)
        else:
            self._pool.released(backend.stream)
        if not internal_query.abandoned:
            internal_query.done.callback(None)

    def is_running(self, backend: Backend) -> bool:
        """Tell whether a server runs a query whose answer is still awaited."""
        internal_query = self._running.get(backend)
        return internal_query is not None and not internal_query.abandoned

    def lost(self, backend: Backend, *, may_retry: bool = False) -> None:
        """Fail the query of a server that was lost before it had answered.

        ``may_retry``: run it on another server, once (in a cluster).
        """
        internal_query = self._running.pop(backend, None)
        if internal_query is None:
            return
        is_last = (
            internal_query.retried or self._pool.context.shutdown_fault is not None
        )
        if may_retry and not is_last:
            internal_query.retry()
            self._waiting.insert(0, internal_query)
            self._pool.update_open()
        else:
            detail = "The server connection was lost before it had answered auth_query."
            internal_query.fail(BouncerConfigError(detail=detail))

    def fail(self, fault: Fault) -> None:
        """Fail all queries that wait for a server."""
        waiting, self._waiting = self._waiting, []
        for internal_query in waiting:
            internal_query.fail(fault)
        self._pool.update_open()
