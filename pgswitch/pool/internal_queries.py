"""Errands: one question each to any server of a pool, for a client that logs in.

The client is no client of this pool yet, so it does not stand in the rack's line.
Errands have their own, which goes first: a login waits behind at most one query of
another client, and asks a single short one itself.  A server that is asked has its own
parameters first, not those that a client has left there.
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
from pgswitch.net.close_reason import CloseReason
from pgswitch.pool.parameter_sync import sync_parameters

if TYPE_CHECKING:
    from pgswitch.net.backend import Backend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.relay.server_stream import ServerStream


class InternalQueryPool(Protocol):
    """What errands need of their pool; see pool/pool.py."""

    context: ServiceContext

    @property
    def is_failing(self) -> bool:
        """Whether no server can be had before the next attempt to log in."""

    @property
    def failing(self) -> str:
        """Why the last login failed."""

    def update_open(self) -> None:
        """Have released servers looked at while errands wait."""

    def serve_waiters(self) -> None:
        """Give idle servers to those who wait, open more."""

    def launch(self, *, asked: int = 0) -> None:
        """Open connections if that may be done."""

    def released(self, server: ServerStream) -> None:
        """Take back a server that has done an errand."""


class RepeatableQuery(ServerQuery, Protocol):
    """A question that may be put to another server."""

    def begin_again(self) -> None:
        """Forget what was heard."""


class InternalQuery:
    """One question, and who waits for its answer."""

    def __init__(self, question: RepeatableQuery, user: str, now: float) -> None:
        """``user`` is the name that a client has given."""
        self.question = question
        self.user = user
        self.waiting_since = self._since = now
        """In monotonic seconds; 0.0 once a server has been asked."""
        self.asked_again = False
        """The server that was asked first was lost."""
        self.done: Deferred[None] = Deferred(self._given_up)
        """Fires when the question has its answer; fails with a Fault."""
        self.abandoned = False
        """Nobody waits for the answer any more."""

    def _given_up(self, _done: Deferred[None]) -> None:
        self.abandoned = True

    def ask_again(self) -> None:
        """Wait for another server, for no longer than from the first time on."""
        self.asked_again = True
        self.waiting_since = self._since
        self.question.begin_again()

    def fail(self, fault: Fault) -> None:
        """Tell the one who waits that there will be no answer."""
        if not self.abandoned:
            self.abandoned = True
            self.done.errback(fault)


class InternalQueries:
    """The errands of one pool."""

    def __init__(self, pool: InternalQueryPool) -> None:
        """Begin with none."""
        self._pool = pool
        self._waiting: list[InternalQuery] = []
        self._running: dict[Backend, InternalQuery] = {}

    def waiting(self) -> list[InternalQuery]:
        """Return those no server has been found for, oldest first."""
        self._waiting = [one for one in self._waiting if not one.abandoned]
        return list(self._waiting)

    def __len__(self) -> int:
        """Return how many wait for a server."""
        return len(self.waiting())

    def send(self, question: RepeatableQuery, user: str) -> Deferred[None]:
        """Have a server asked.

        Fires when the question has its answer; cancel it to give up. Fails with the
        Fault that the client is to be told: the pool cannot log in, the server was
        lost, the service is shutting down.
        """
        internal_query = InternalQuery(question, user, self._pool.context.clock())
        shutdown_fault = self._pool.context.shutdown_fault
        if shutdown_fault is not None:
            internal_query.fail(shutdown_fault())
        elif self._pool.is_failing:
            internal_query.fail(ServerLoginFailing(reason=self._pool.failing))
            self._pool.launch(asked=1)
        else:
            self._waiting.append(internal_query)
            self._pool.update_open()
            self._pool.serve_waiters()
        return internal_query.done

    def take(self, backend: Backend) -> bool:
        """Put a free server to work; False when nothing is to be asked."""
        waiting = self.waiting()
        if not waiting:
            return False
        internal_query = self._waiting.pop(0)
        internal_query.waiting_since = 0.0
        self._running[backend] = internal_query
        tracking = self._pool.context.tracking
        # What it had at its login: no client's search_path is to decide who may log in.
        own = tracking.collect(backend.parameters)
        if not sync_parameters(tracking, backend, own, partial(self._settled, backend)):
            self._settled(backend, None)
        if not self._waiting:
            self._pool.update_open()
        return True

    def _settled(self, backend: Backend, error: dict[str, str] | None) -> None:
        """Ask a server, now that its parameters are its own."""
        if error is not None:
            backend.close(CloseReason.PARAMETER_RESET_FAILED)
            return
        internal_query = self._running[backend]
        backend.ask(internal_query.question, lambda _error: self._answered(backend))

    def _answered(self, backend: Backend) -> None:
        """Give the server back, then tell the one who waits."""
        internal_query = self._running.pop(backend)
        if internal_query.question.unfit:
            backend.close(
                CloseReason.UNFIT_ANSWER, detail=internal_query.question.unfit
            )
        else:
            self._pool.released(backend.stream)
        if not internal_query.abandoned:
            internal_query.done.callback(None)

    def is_running(self, backend: Backend) -> bool:
        """Tell whether a server is being asked for somebody who waits."""
        internal_query = self._running.get(backend)
        return internal_query is not None and not internal_query.abandoned

    def lost(self, backend: Backend, *, may_ask_again: bool = False) -> None:
        """Fail the errand of a server that was lost before it had answered.

        ``may_ask_again``: the server of a cluster, so another one is asked, once.
        """
        internal_query = self._running.pop(backend, None)
        if internal_query is None:
            return
        is_last = (
            internal_query.asked_again or self._pool.context.shutdown_fault is not None
        )
        if may_ask_again and not is_last:
            internal_query.ask_again()
            self._waiting.insert(0, internal_query)
            self._pool.update_open()
        else:
            detail = "The server connection was lost before it had answered auth_query."
            internal_query.fail(BouncerConfigError(detail=detail))

    def fail(self, fault: Fault) -> None:
        """Send all away that wait for a server."""
        waiting, self._waiting = self._waiting, []
        for internal_query in waiting:
            internal_query.fail(fault)
        self._pool.update_open()
