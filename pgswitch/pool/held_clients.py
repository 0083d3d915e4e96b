"""Clients of one pool whose server was lost, held until it is known why.

A loss is a symptom: the writer may move, or only one backend have been ended, by an
administrator or by what the client asked of it.  So what might be run again is held
until there is a verdict:

======= ====================================== ==========================
MOVED   there is another writer; or the node   it is run again
        of a reader cannot be connected to
LEAVING the writer is given up                 run again if the server
                                               said that it ends (57P01);
                                               else held further
BACK    the same node is the writer again      the same, else told
WELL    a new connection finds the node well   the client is told
UNKNOWN no verdict in time                     the client is told
======= ====================================== ==========================

Nothing is run again a second time, nor when ``query_wait_timeout`` is over since it was
asked first.  What can not be run again is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from time import time
from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.errors import QueryWaitTimeout
from pgswitch.net.close_reason import CloseReason
from pgswitch.pool.failover import assess_loss, refusal, tell_client
from pgswitch.pool.loss import LossOutcome
from pgswitch.sql.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IDelayedCall

    from pgswitch.cluster.node_checks import CheckCallback, CheckResult
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.failover import ServerLoss
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.idle_pool import IdlePool

TIMEOUT_S = 0.5
"""For how much longer than ``switchover_silence``, when a node that says nothing is
given up, a client is held without a verdict, unless a writer is searched."""
CALL_AGAIN_S = 0.05
"""How soon a node is called on again that has not told enough."""
TOLD_ENDED = "57P01"
"""What a server says that is shut down, or whose backend is ended by a command."""
RAN_AGAIN = "statement run again"
"""The cause that SHOW ERRORS has for it, with a SQLSTATE that is no error."""
NO_ERROR = "00000"


class LossCause(Enum):
    """What explains the loss of a server, in words for the client."""

    MOVED = "its node is not used any more"
    LEAVING = "its node is given up"
    BACK = "its node was restarted"
    WELL = "its node is well"
    UNKNOWN = "nothing explains the loss"


TWICE, TOO_LATE = "it had been run again before", "query_wait_timeout is over"
NOT_WANTED, ENDING = "switchover_retry is off", "pgswitch shuts down"
"""Why a statement is not run again, whatever the verdict."""


class ServerLocation(Protocol):
    """What is needed of a site; see pool/writer_route.py."""

    @property
    def searching(self) -> bool:
        """Whether there is no place now, and clients wait."""

    @property
    def is_standby(self) -> bool:
        """Whether servers here cannot write."""

    def verdict(self, reason: CloseReason) -> LossCause | None:
        """Return what explains the loss of a server, None if that is to be found out.

        ``reason`` is why the server was closed.
        """

    def verdict_of(self, finding: CheckResult, *, undone: bool) -> LossCause | None:
        """Return what a call on the node says of a loss; None: nothing for certain.

        ``undone``: the server had said that it ends.
        """

    def check(self, heard: CheckCallback) -> None:
        """Call on the node over a new connection, from now on."""

    def note(self, outcome: LossOutcome | None) -> None:
        """Note what became of a client whose server was lost; None: disconnected."""

    def note_error(self, sqlstate: str) -> None:
        """Note that a client was told of its loss with this SQLSTATE."""

    def refresh(self) -> None:
        """Send clients that wait to where they are served, if that is elsewhere."""


class FailoverPool(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: ServiceContext
    spec: DatabaseSpec
    idle_pool: IdlePool

    @property
    def route(self) -> ServerLocation | None:
        """Where the servers are, if the database is a cluster."""

    def serve_waiters(self) -> None:
        """Give servers to those who wait; open more."""


def asked_at(stream: ClientStream) -> float:
    """Return when a client that waits asked for the first time what it waits for."""
    client = cast("Frontend", stream.frontend)
    if client.requeued and client.requeued == stream.exchange.query_start:
        return client.requeued_since
    return stream.waiting_since


@dataclass(eq=False, slots=True)
class HeldClient:
    """One client that is held."""

    loss: ServerLoss
    timers: list[IDelayedCall] = field(default_factory=list)

    def stop(self) -> None:
        """Wait for nothing any more."""
        for timer in self.timers:
            if timer.active():
                timer.cancel()
        self.timers.clear()


class HeldClients:
    """Decides about the clients of one pool that have lost a server of a cluster."""

    def __init__(self, pool: FailoverPool) -> None:
        """Begin with nobody held."""
        self._pool = pool
        self._held: dict[ClientStream, HeldClient] = {}
        """In the order of the losses."""

    def streams(self) -> Iterable[ClientStream]:
        """Return the clients that are held."""
        return tuple(self._held)

    def lost(self, stream: ClientStream, backend: Backend, reason: CloseReason) -> None:
        """Take a client whose server was closed for this reason; they are unlinked."""
        pool = self._pool
        route = pool.route
        assert route is not None  # noqa: S101 - of a cluster's pool
        loss = assess_loss(
            stream,
            backend,
            mode=backend.stream.mode,
            on_standby=route.is_standby,
        )
        if loss is None:
            route.note(None)
            return
        if loss.outcome is not LossOutcome.AGAIN:
            tell_client(loss)
            route.note(loss.outcome)
            return
        now = pool.context.clock()
        self._count(stream, now)
        held = self._held[stream] = HeldClient(loss)
        stream.suspend()
        stream.waiting_since = now
        why_not = self._why_not(loss, now)
        if why_not:
            self._refuse(held, why_not)
            return
        verdict = route.verdict(reason)
        if verdict is not None and self._apply(verdict, [held]):
            self._serve()
        if stream in self._held:
            self._bound(held)
            if verdict is None:
                self._call(held)

    def requeue(self, stream: ClientStream) -> None:
        """Have a client wait again that has asked nothing of the server it lost."""
        context = self._pool.context
        now = context.clock()
        self._count(stream, now)
        if context.shutdown_fault is not None:
            stream.frontend.disconnect(context.shutdown_fault())
            return
        if self._is_over(stream, now):
            stream.frontend.disconnect(QueryWaitTimeout())
            return
        self._wait_first([stream], now)
        self._serve()

    def decide(self, verdict: LossCause) -> None:
        """Take a verdict for all that are held; they wait until they are served."""
        self._apply(verdict, [*self._held.values()])

    def check_again(self) -> None:
        """Have the node called on for all that are held: what was found is old."""
        for held in [*self._held.values()]:
            held.stop()
            self._bound(held)
            self._call(held)

    def give_up(self) -> None:
        """Hold nobody any more: there will be no verdict."""
        self.decide(LossCause.UNKNOWN)

    def forget(self, stream: ClientStream) -> None:
        """Let go of a client that leaves."""
        held = self._held.pop(stream, None)
        if held is not None:
            held.stop()

    def let_go(self, stream: ClientStream) -> bool:
        """Leave what a client asks to the caller; False: the client is not held."""
        if stream not in self._held:
            return False
        self.forget(stream)
        stream.retry()
        return True

    # One client.

    def _count(self, stream: ClientStream, now: float) -> None:
        """Count for this statement, from the first time that it lost a server."""
        client = cast("Frontend", stream.frontend)
        start = stream.exchange.query_start
        if not start or client.requeued != start:
            start = stream.exchange.query_start = start or now
            client.requeued, client.requeued_since, client.reruns = start, start, 0

    def _why_not(self, loss: ServerLoss, now: float) -> str:
        """Return why a statement is not run again, whatever the verdict; or nothing."""
        context = self._pool.context
        if not context.configuration.settings.switchover_retry:
            return NOT_WANTED
        if context.shutdown_fault is not None:
            return ENDING
        if loss.client.reruns:
            return TWICE
        return TOO_LATE if self._is_over(loss.stream, now) else ""

    def _is_over(self, stream: ClientStream, now: float) -> bool:
        """Tell whether a client has waited for a server for as long as it may."""
        client = cast("Frontend", stream.frontend)
        pool = self._pool
        limit = pool.context.effective.query_wait_timeout(pool.spec, client.user)
        return bool(limit) and now - client.requeued_since > limit

    def _bound(self, held: HeldClient) -> None:
        """Hold a client for so long at most, unless a writer is searched then."""
        context = self._pool.context
        limit = context.configuration.settings.switchover_silence + TIMEOUT_S
        held.timers.append(context.later(limit, partial(self._give_up, held)))

    def _call(self, held: HeldClient) -> None:
        route = self._pool.route
        if route is not None and held.loss.stream in self._held:
            route.check(partial(self._found, held))

    def _found(self, held: HeldClient, finding: CheckResult) -> None:
        """Hear what a call has found that began after the loss."""
        route = self._pool.route
        if route is None or self._held.get(held.loss.stream) is not held:
            return
        if route.searching:
            return  # Its end is the verdict.
        verdict = route.verdict_of(finding, undone=held.loss.code == TOLD_ENDED)
        if verdict is not None:
            if self._apply(verdict, [held]):
                self._serve()
            return
        later = self._pool.context.later
        held.timers.append(later(CALL_AGAIN_S, partial(self._call, held)))

    def _give_up(self, held: HeldClient) -> None:
        route = self._pool.route
        if self._held.get(held.loss.stream) is not held:
            return
        if route is None or not route.searching:
            self._apply(LossCause.UNKNOWN, [held])

    def _apply(self, verdict: LossCause, concerned: list[HeldClient]) -> bool:
        """Do for some who are held what a verdict says; tell whether any waits now."""
        now = self._pool.context.clock()
        again: list[ClientStream] = []
        for held in concerned:
            loss = held.loss
            if self._held.get(loss.stream) is not held:
                continue  # What was told another has ended this one.
            gave_shutdown_notice = loss.code == TOLD_ENDED
            if verdict is LossCause.MOVED or (
                gave_shutdown_notice and verdict in (LossCause.LEAVING, LossCause.BACK)
            ):
                why_not = self._why_not(loss, now)
                if why_not:
                    self._refuse(held, why_not)
                else:
                    self._run_again(held, verdict)
                    again.append(loss.stream)
            elif verdict is not LossCause.LEAVING:
                self._refuse(held, verdict.value)
        self._wait_first(again, now)
        return bool(again)

    def _run_again(self, held: HeldClient, verdict: LossCause) -> None:
        loss, context = held.loss, self._pool.context
        client = loss.client
        self.forget(loss.stream)
        loss.stream.retry()
        client.reruns += 1
        names = ", ".join(map(fingerprint, loss.texts)) or "nothing but its preparation"
        context.log.log(
            f"{client.prefix} server lost ({loss.reason}), {verdict.value}:"
            f" {LossOutcome.AGAIN.value}: {names}"
        )
        context.failures.note(client.database, NO_ERROR, RAN_AGAIN, time())
        if self._pool.route is not None:
            self._pool.route.note(LossOutcome.AGAIN)

    def _refuse(self, held: HeldClient, why: str) -> None:
        """Tell a client that what it asked is not run again."""
        fault = refusal(held.loss, why)
        self.forget(held.loss.stream)
        if self._pool.route is not None:
            self._pool.route.note_error(fault.sqlstate)
        tell_client(held.loss, fault)

    def _wait_first(self, streams: list[ClientStream], now: float) -> None:
        """Have clients wait for the next servers, before all others."""
        for stream in streams:
            stream.waiting_since = now
        self._pool.idle_pool.waiters[:0] = streams

    def _serve(self) -> None:
        """Give servers to those who wait, here or elsewhere."""
        pool = self._pool
        pool.serve_waiters()
        if pool.route is not None:
            pool.route.refresh()
