"""What a client has lost with its server, and how it is told, as loss.py decides.

The client stays connected wherever that is honest: what it asked is asked again of
the next server (held_clients.py has the say), or it is told, statement by statement,
what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from pgswitch.errors import (
    InFailedTransaction,
    OutcomeUnknown,
    ServerConnCrashed,
    SessionEnded,
    SessionLost,
    StatementEnded,
    TransactionLost,
)
from pgswitch.pool.loss import LossFacts, LossOutcome, decide_loss
from pgswitch.relay.server_stream import SESSION
from pgswitch.wire import encode
from pgswitch.wire.exchange import (
    COPY_DONE,
    COPY_FAIL,
    FAILED,
    FUNCTION_CALL,
    IDLE,
    QUERY,
    SWALLOW,
    SYNC,
    TYPE,
)
from pgswitch.wire.lost_transaction import LostTransaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgswitch.errors import Fault
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.relay.client_stream import ClientStream
    from pgswitch.wire.prepared import ClientStatements

_ENDS = (QUERY, SYNC, FUNCTION_CALL)
"""Requests whose answer ends with ReadyForQuery."""


@dataclass(slots=True)
class ServerLoss:
    """What a client has lost with its server, as it was at that moment."""

    stream: ClientStream
    reason: str
    """Why the server was closed."""
    words: Mapping[str, str]
    """The fields of the server's last word, if it had one."""
    facts: LossFacts
    outcome: LossOutcome
    """What becomes of the client if a move explains the loss."""
    otherwise: LossOutcome
    """The same of one that is to be run again, if it is not."""
    asked: list[int]
    """The entries of the exchange that are not answered."""
    had_failed: bool
    """The transaction had failed before."""
    is_skipping: bool
    """What is left of a failed pipeline is skipped, up to its Sync."""
    texts: tuple[bytes, ...]
    """The statements that were asked, if they are known."""

    @property
    def client(self) -> Frontend:
        """The client."""
        return cast("Frontend", self.stream.frontend)

    @property
    def code(self) -> str:
        """The SQLSTATE of the last word, with which it was undone; else empty."""
        return self.words.get("C", "") if self.facts.gave_shutdown_notice else ""

    @property
    def said(self) -> str | None:
        """The last word as a DETAIL has it; None: there was none."""
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
    """Find out what a client has lost, and leave its exchange empty.

    None: it was disconnected, for there is no way to tell it anything.  The two are
    unlinked already.  ``on_standby``: the server could not write.
    """
    client = cast("Frontend", stream.frontend)
    exchange = stream.exchange
    if backend.stream.skip:
        # In the middle of a message there is no way to say anything.
        fault = ServerConnCrashed(detail=backend.loss_detail)
        client.disconnect(fault, quietly=True)
        return None
    text_of = partial(_text_of, stream.statements)
    facts = LossFacts(
        is_session=mode == SESSION,
        in_transaction=exchange.status != IDLE,
        outstanding=exchange.outstanding(),
        copying=exchange.copying,
        sent=b"".join(stream.sent),
        is_cut=stream.skip > 0,
        gave_shutdown_notice=backend.gave_shutdown_notice,
        answered=stream.partly,
        unsynced=exchange.open
        and exchange.executes
        and stream.partly
        and not exchange.skipping,
        on_standby=on_standby,
    )
    is_skipping = exchange.skipping and not facts.outstanding
    outcome, otherwise, texts = decide_loss(facts, text_of)
    had_failed = exchange.status == FAILED
    asked: list[int] = []
    if outcome is not LossOutcome.SESSION_LOST:
        asked = exchange.forget()
        # The unnamed statement of the next server is another's.
        stream.parsed_here = False
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
    """Return what is told of a statement that might be run again, and is not."""
    if loss.otherwise is LossOutcome.ROLLED_BACK:
        return _rolled_back(loss)
    if loss.code:
        message = loss.words.get("M", "")
        return StatementEnded(message=message, sqlstate=loss.code, why=why)
    said = f"{loss.said} " if loss.said else ""
    return OutcomeUnknown(detail=f"{said}It was not run again: {why}.")


def tell_client(loss: ServerLoss, fault: Fault | None = None) -> None:
    """Tell a client what became of its work; ``fault`` if it was to be run again."""
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
    first = fault or OutcomeUnknown(detail=loss.said)
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
            told=bool(answers) or loss.had_failed or is_skipping,
            skipping=is_skipping,
            over=not is_lost,
        )
        lost.detail = _rolled_back(loss).detail
        client.lose_transaction(lost)
    else:
        stream.go_on()


def _rolled_back(loss: ServerLoss) -> Fault:
    """Return what is told of a transaction that is certainly not committed."""
    if not loss.said:
        return TransactionLost()
    return TransactionLost(detail=f"{loss.said} {TransactionLost.detail}")


def _end_of_session(loss: ServerLoss) -> Fault:
    """Return what the client of a lost session is told."""
    words = loss.words
    if words.get("V", words.get("S")) in ("FATAL", "PANIC") and words.get("C"):
        return SessionEnded(message=words.get("M", ""), sqlstate=words["C"])
    return SessionLost(reason=loss.reason)


def _answers(loss: ServerLoss, first: Fault, *, is_lost: bool) -> tuple[bytes, bool]:
    """Return an error for each statement or pipeline that was asked.

    Also whether the Sync of the last is still to come.
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
