"""What becomes of clients that have lost the server of a cluster.

A lost connection is a symptom: the writer may be moving, or a single backend may have
been terminated, by an administrator or by the client's own query.  So a client whose
statement might be run again is held until the cause is known:

======= ====================================== ==========================
MOVED   there is another writer; or the node   it is run again
        of a reader cannot be connected to
LEAVING the writer is given up                 run again if the server
                                               said that it ends (57P01);
                                               else held further
BACK    the same node is the writer again      the same, else an error
WELL    a new connection finds the node well   an error
UNKNOWN no cause is found in time              an error
======= ====================================== ==========================

No statement is run again twice, or after ``query_wait_timeout``, counted from when the
client first sent it.  What cannot be run again gets its error at once.

The client stays connected wherever that is honest: it gets an error for each statement
that says what became of it (``loss.py`` decides), or the next server runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import TYPE_CHECKING, Protocol, cast

from pgswitch.errors import (
    InFailedTransaction,
    OutcomeUnknown,
    QueryWaitTimeout,
    ServerConnCrashed,
    SessionEnded,
    SessionLost,
    StatementEnded,
    TransactionLost,
)
from pgswitch.pool.loss import LossCause, LossFacts, LossOutcome, decide_loss
from pgswitch.sql.fingerprint import fingerprint
from pgswitch.types import SESSION_POOLING
from pgswitch.wire import encode
from pgswitch.wire.constants import (
    COPY_DONE,
    COPY_FAIL,
    FUNCTION_CALL,
    QUERY,
    STATUS_FAILED,
    STATUS_IDLE,
    SYNC,
)
from pgswitch.wire.exchange import SWALLOW, TYPE
from pgswitch.wire.loss import LostTransaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.internet.interfaces import IDelayedCall

    from pgswitch.cluster.node_checks import CheckResult
    from pgswitch.config.model import DatabaseSpec
    from pgswitch.errors import Fault
    from pgswitch.net.backend import Backend
    from pgswitch.net.connection_states import CloseReason
    from pgswitch.net.frontend import Frontend
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.route import Route
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.wire.prepared import ClientStatements


_ENDS = (QUERY, SYNC, FUNCTION_CALL)
"""Requests whose answer ends with ReadyForQuery."""


@dataclass(slots=True)
class ServerLoss:
    """What a client has lost with its server, as of that moment."""

    stream: ClientStream
    reason: str
    """Why the server was closed."""
    words: Mapping[str, str]
    """The fields of the server's shutdown notice, if it sent one."""
    facts: LossFacts
    outcome: LossOutcome
    """What becomes of the client if a switchover explains the loss."""
    otherwise: LossOutcome
    """What becomes of it if a statement that might be run again is not."""
    asked: list[int]
    """The entries of the exchange that have no answer."""
    had_failed: bool
    """The transaction had failed before the loss."""
    is_skipping: bool
    """The rest of a failed pipeline is skipped, up to its Sync."""
    texts: tuple[bytes, ...]
    """The texts of the outstanding statements, if known."""

    @property
    def client(self) -> Frontend:
        """The client."""
        return cast("Frontend", self.stream.frontend)

    @property
    def code(self) -> str:
        """The SQLSTATE of the notice if the server has rolled back; else empty."""
        return self.words.get("C", "") if self.facts.gave_shutdown_notice else ""

    @property
    def notice_detail(self) -> str | None:
        """The notice, for a DETAIL; None: the server sent none."""
        if not self.words:
            return None
        return (
            f"The server said: {self.words.get('M', '')} ({self.words.get('C', '')})."
        )


def assess_loss(
    stream: ClientStream,
    backend: Backend,
    *,
    mode: int,
    on_standby: bool,
) -> ServerLoss | None:
    """Find out what a client has lost, and empty its exchange.

    None: it was disconnected, because nothing can be sent to it.  Client and server are
    unlinked already.  ``on_standby``: the server could not write.
    """
    client = cast("Frontend", stream.frontend)
    exchange = stream.exchange
    if backend.stream.skip:
        # In the middle of a message no error can be sent.
        fault = ServerConnCrashed(detail=backend.loss_detail)
        client.disconnect(fault, quietly=True)
        return None
    text_of = partial(_text_of, stream.statements)
    facts = LossFacts(
        is_session=mode == SESSION_POOLING,
        in_transaction=exchange.status != STATUS_IDLE,
        outstanding=exchange.outstanding(),
        copying=exchange.copying,
        sent=b"".join(stream.sent),
        is_cut=stream.skip > 0,
        gave_shutdown_notice=backend.gave_shutdown_notice,
        answered=stream.partly_answered,
        unsynced=exchange.open
        and exchange.executes
        and stream.partly_answered
        and not exchange.skipping,
        on_standby=on_standby,
    )
    is_skipping = exchange.skipping and not facts.outstanding
    outcome, otherwise, texts = decide_loss(facts, text_of)
    had_failed = exchange.status == STATUS_FAILED
    asked: list[int] = []
    if outcome is not LossOutcome.SESSION_LOST:
        asked = exchange.forget()
        # The unnamed statement of the next server belongs to another client.
        if stream.rewriter is not None:
            stream.rewriter.parsed_here = False
        if stream.statements is not None:
            stream.statements.undone(asked, backend.stream.statements)
    return ServerLoss(
        stream,
        backend.close_text,
        backend.shutdown_notices,
        facts,
        outcome,
        otherwise,
        asked,
        had_failed,
        is_skipping,
        texts,
    )


def refusal(loss: ServerLoss, why: str) -> Fault:
    """Return the error for a statement that might be run again, and is not."""
    if loss.otherwise is LossOutcome.ROLLED_BACK:
        return _rolled_back(loss)
    if loss.code:
        message = loss.words.get("M", "")
        return StatementEnded(message=message, sqlstate=loss.code, why=why)
    notice = f"{loss.notice_detail} " if loss.notice_detail else ""
    return OutcomeUnknown(detail=f"{notice}It was not run again: {why}.")


def tell_client(loss: ServerLoss, fault: Fault | None = None) -> None:
    """Send a client what became of its work; ``fault`` if it might be run again."""
    stream, client, outcome = loss.stream, loss.client, loss.outcome
    exchange = stream.exchange
    if fault is not None:
        outcome = loss.otherwise
    if outcome is not LossOutcome.NOTHING:
        words = outcome.value if fault is None else fault.text
        client.service.log.log(f"{client.prefix} server lost ({loss.reason}): {words}")
    if outcome is LossOutcome.SESSION_LOST:
        client.disconnect(_end_of_session(loss))
        return
    stream.waiting_since = 0.0
    stream.discard_pending()
    is_lost = outcome in (LossOutcome.ROLLED_BACK, LossOutcome.UNKNOWN_INSIDE)
    is_certain = outcome is LossOutcome.ROLLED_BACK
    first = fault or OutcomeUnknown(detail=loss.notice_detail)
    if is_certain:
        first = InFailedTransaction() if loss.had_failed else _rolled_back(loss)
    answers, is_open = _answers(loss, first, is_lost=is_lost)
    if answers:
        stream.send(answers)
    exchange.query_start = exchange.transaction_start = 0.0
    is_skipping = is_open or loss.is_skipping
    if is_lost or is_skipping or outcome is LossOutcome.PIPELINE_LOST:
        lost = LostTransaction(
            stream.statements,
            reported=bool(answers) or loss.had_failed or is_skipping,
            skipping=is_skipping,
            ended=not is_lost,
        )
        lost.detail = _rolled_back(loss).detail
        client.lose_transaction(lost)
    else:
        stream.recheck()


def _rolled_back(loss: ServerLoss) -> Fault:
    """Return the error for a transaction that is certainly not committed."""
    if not loss.notice_detail:
        return TransactionLost()
    return TransactionLost(detail=f"{loss.notice_detail} {TransactionLost.detail}")


def _end_of_session(loss: ServerLoss) -> Fault:
    """Return the error for the client of a lost session."""
    words = loss.words
    if words.get("V", words.get("S")) in ("FATAL", "PANIC") and words.get("C"):
        return SessionEnded(message=words.get("M", ""), sqlstate=words["C"])
    return SessionLost(reason=loss.reason)


def _answers(loss: ServerLoss, first: Fault, *, is_lost: bool) -> tuple[bytes, bool]:
    """Return an error for each outstanding statement or pipeline.

    Also whether the Sync of the last one is still to come.
    """
    answers: list[bytes] = []
    client = loss.client
    fault = first
    is_open = False
    for entry in loss.asked:
        kind = entry & TYPE
        if kind in (COPY_DONE, COPY_FAIL) or entry & SWALLOW:
            continue
        if not is_open:
            answers.append(encode.error_response(fault))
            client.service.on_fault(client, fault)
            if is_lost:
                fault = InFailedTransaction()
        is_open = kind not in _ENDS
        if not is_open:
            answers.append(encode.ready_for_query(b"E" if is_lost else b"I"))
    return b"".join(answers), is_open


def _text_of(statements: ClientStatements | None, name: bytes) -> bytes:
    """Return the text of a client's prepared statement, empty for unknown ones."""
    return b"" if statements is None else statements.text_of(name) or b""


TIMEOUT_S = 0.5
"""How much longer than ``switchover_silence`` (the limit for a silent node) a client is
held without a known cause, unless the cluster searches for a writer."""
RECHECK_S = 0.05
"""After how long a node is checked again if the last check was inconclusive."""
ADMIN_SHUTDOWN = "57P01"
"""Sent by a server that is shut down, and by a backend that is terminated."""
RAN_AGAIN = "statement run again"
"""The cause in SHOW ERRORS, with a SQLSTATE that is no error."""
NO_ERROR = "00000"


TWICE, TOO_LATE = "it had been run again before", "query_wait_timeout is over"
NOT_WANTED, ENDING = "switchover_retry is off", "pgswitch shuts down"
"""Why a statement is not run again, whatever the cause of the loss."""


class FailoverPool(Protocol):
    """What is needed of the pool; see pool/pool.py."""

    context: ServiceContext
    spec: DatabaseSpec
    idle_pool: IdlePool

    @property
    def route(self) -> Route | None:
        """Where the servers are, if the database is a cluster."""

    def serve_waiters(self) -> None:
        """Give servers to waiting clients; open more."""


def query_received_at(stream: ClientStream) -> float:
    """Return when a waiting client sent its query for the first time."""
    client = cast("Frontend", stream.frontend)
    if client.requeued and client.requeued == stream.exchange.query_start:
        return client.requeued_since
    return stream.waiting_since


@dataclass(eq=False, slots=True)
class HeldClient:
    """One held client."""

    loss: ServerLoss
    timers: list[IDelayedCall] = field(default_factory=list)

    def stop(self) -> None:
        """Stop the timers."""
        for timer in self.timers:
            if timer.active():
                timer.cancel()
        self.timers.clear()


class HeldClients:
    """Clients of one pool that have lost a server of a cluster."""

    def __init__(self, pool: FailoverPool) -> None:
        """Begin with none."""
        self._pool = pool
        self._held: dict[ClientStream, HeldClient] = {}
        """In the order of the losses."""

    def streams(self) -> Iterable[ClientStream]:
        """Return the held clients."""
        return tuple(self._held)

    def lost(self, stream: ClientStream, backend: Backend, reason: CloseReason) -> None:
        """Take a client whose server was closed for a reason; they are unlinked."""
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
            route.count_outcome(None)
            return
        if loss.outcome is not LossOutcome.AGAIN:
            tell_client(loss)
            route.count_outcome(loss.outcome)
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
        cause = route.cause_of(reason)
        if cause is not None and self._apply(cause, [held]):
            self._serve()
        if stream in self._held:
            self._limit(held)
            if cause is None:
                self._check(held)

    def requeue(self, stream: ClientStream) -> None:
        """Queue a client again whose query had not been sent to the lost server."""
        context = self._pool.context
        now = context.clock()
        self._count(stream, now)
        if context.shutdown_fault is not None:
            stream.frontend.disconnect(context.shutdown_fault())
            return
        if self._timed_out(stream, now):
            stream.frontend.disconnect(QueryWaitTimeout())
            return
        self._queue_first([stream], now)
        self._serve()

    def decide(self, cause: LossCause) -> None:
        """Apply a cause to all held clients; they are not served yet."""
        self._apply(cause, [*self._held.values()])

    def check_again(self) -> None:
        """Check the node again for all held clients: earlier checks are outdated."""
        for held in [*self._held.values()]:
            held.stop()
            self._limit(held)
            self._check(held)

    def release_all(self) -> None:
        """Release all held clients: no cause will be found."""
        self.decide(LossCause.UNKNOWN)

    def remove(self, stream: ClientStream) -> None:
        """Remove a client that leaves."""
        held = self._held.pop(stream, None)
        if held is not None:
            held.stop()

    def withdraw(self, stream: ClientStream) -> bool:
        """Remove a client, its query pending as before; False: it is not held."""
        if stream not in self._held:
            return False
        self.remove(stream)
        stream.retry()
        return True

    # One client.

    def _count(self, stream: ClientStream, now: float) -> None:
        """Note when this statement lost its first server."""
        client = cast("Frontend", stream.frontend)
        start = stream.exchange.query_start
        if not start or client.requeued != start:
            start = stream.exchange.query_start = start or now
            client.requeued, client.requeued_since, client.reruns = start, start, 0

    def _why_not(self, loss: ServerLoss, now: float) -> str:
        """Return why a statement is not run again, whatever the cause; or nothing."""
        context = self._pool.context
        if not context.configuration.settings.switchover_retry:
            return NOT_WANTED
        if context.shutdown_fault is not None:
            return ENDING
        if loss.client.reruns:
            return TWICE
        return TOO_LATE if self._timed_out(loss.stream, now) else ""

    def _timed_out(self, stream: ClientStream, now: float) -> bool:
        """Tell whether query_wait_timeout is over for a client."""
        client = cast("Frontend", stream.frontend)
        pool = self._pool
        limit = pool.context.effective.query_wait_timeout(pool.spec, client.user)
        return bool(limit) and now - client.requeued_since > limit

    def _limit(self, held: HeldClient) -> None:
        """Limit how long a client is held, unless the cluster searches then."""
        context = self._pool.context
        limit = context.configuration.settings.switchover_silence + TIMEOUT_S
        held.timers.append(context.later(limit, partial(self._give_up, held)))

    def _check(self, held: HeldClient) -> None:
        route = self._pool.route
        if route is not None and held.loss.stream in self._held:
            route.check(partial(self._found, held))

    def _found(self, held: HeldClient, result: CheckResult) -> None:
        """Take the result of a check that began after the loss."""
        route = self._pool.route
        if route is None or self._held.get(held.loss.stream) is not held:
            return
        if route.searching:
            return  # The end of the search is the cause.
        cause = route.cause_found(result, undone=held.loss.code == ADMIN_SHUTDOWN)
        if cause is not None:
            if self._apply(cause, [held]):
                self._serve()
            return
        later = self._pool.context.later
        held.timers.append(later(RECHECK_S, partial(self._check, held)))

    def _give_up(self, held: HeldClient) -> None:
        route = self._pool.route
        if self._held.get(held.loss.stream) is not held:
            return
        if route is None or not route.searching:
            self._apply(LossCause.UNKNOWN, [held])

    def _apply(self, cause: LossCause, concerned: list[HeldClient]) -> bool:
        """Act on a cause for some held clients; tell whether any is queued now."""
        now = self._pool.context.clock()
        again: list[ClientStream] = []
        for held in concerned:
            loss = held.loss
            if self._held.get(loss.stream) is not held:
                continue  # An error to another client has released this one.
            gave_shutdown_notice = loss.code == ADMIN_SHUTDOWN
            if cause is LossCause.MOVED or (
                gave_shutdown_notice and cause in (LossCause.LEAVING, LossCause.BACK)
            ):
                why_not = self._why_not(loss, now)
                if why_not:
                    self._refuse(held, why_not)
                else:
                    self._retry(held, cause)
                    again.append(loss.stream)
            elif cause is not LossCause.LEAVING:
                self._refuse(held, cause.value)
        self._queue_first(again, now)
        return bool(again)

    def _retry(self, held: HeldClient, cause: LossCause) -> None:
        loss, context = held.loss, self._pool.context
        client = loss.client
        self.remove(loss.stream)
        loss.stream.retry()
        client.reruns += 1
        names = ", ".join(map(fingerprint, loss.texts)) or "nothing but its preparation"
        context.log.log(
            f"{client.prefix} server lost ({loss.reason}), {cause.value}:"
            f" {LossOutcome.AGAIN.value}: {names}"
        )
        context.failures.note(client.database, NO_ERROR, RAN_AGAIN, time())
        if self._pool.route is not None:
            self._pool.route.count_outcome(LossOutcome.AGAIN)

    def _refuse(self, held: HeldClient, why: str) -> None:
        """Send a client the error that its query is not run again."""
        fault = refusal(held.loss, why)
        self.remove(held.loss.stream)
        if self._pool.route is not None:
            self._pool.route.count_error(fault.sqlstate)
        tell_client(held.loss, fault)

    def _queue_first(self, streams: list[ClientStream], now: float) -> None:
        """Queue clients before all others."""
        for stream in streams:
            stream.waiting_since = now
        self._pool.idle_pool.waiters[:0] = streams

    def _serve(self) -> None:
        """Serve waiting clients, here or in another pool."""
        pool = self._pool
        pool.serve_waiters()
        if pool.route is not None:
            pool.route.refresh()
