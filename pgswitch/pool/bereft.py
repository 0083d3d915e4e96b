"""Deals with a client whose server was lost to a switchover, as aftermath.py decides.

The client stays connected wherever that is honest: what it asked is asked again of
the next server, or it is told, statement by statement, what became of it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from pgswitch.errors import (
    InFailedTransaction,
    OutcomeUnknown,
    ServerConnCrashed,
    SessionLost,
    TransactionLost,
)
from pgswitch.pool.aftermath import Facts, Outcome, decide
from pgswitch.relay.server import SESSION
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
    from pgswitch.errors import Fault
    from pgswitch.net.backend import Backend
    from pgswitch.net.frontend import Frontend
    from pgswitch.relay.client import ClientLink
    from pgswitch.wire.prepared import ClientStatements

_ENDS = (QUERY, SYNC, FUNCTION_CALL)
"""Requests whose answer ends with ReadyForQuery."""


def settle_loss(
    link: ClientLink, backend: Backend, reason: str, *, mode: int, retry: bool
) -> Outcome | None:
    """Tell a client what became of its work; AGAIN: it is to be given a new server.

    None: it was disconnected, for there is no way to tell.  The two are unlinked
    already.  ``reason`` is why the server was closed.
    """
    client = cast("Frontend", link.frontend)
    exchange = link.exchange
    if backend.link.skip:
        # In the middle of a message there is no way to say anything.
        fault = ServerConnCrashed(detail=backend.loss_detail)
        client.disconnect(fault, quietly=True)
        return None
    text_of = partial(_text_of, link.statements)
    in_transaction = exchange.status != IDLE
    facts = Facts(
        is_session=mode == SESSION,
        in_transaction=in_transaction,
        outstanding=exchange.outstanding(),
        copying=exchange.copying,
        sent=b"".join(link.sent),
        is_cut=link.skip > 0,
        said_so=backend.said_last_word,
        answered=link.partly,
        retry=retry,
        unsynced=exchange.open and link.partly and not exchange.skipping,
    )
    is_skipping = exchange.skipping and not facts.outstanding
    outcome = decide(facts, text_of)
    if outcome is not Outcome.NOTHING:
        client.reception.log.log(
            f"{client.prefix} server lost ({reason}): {outcome.value}"
        )
    if outcome is Outcome.SESSION_LOST:
        client.disconnect(SessionLost(reason=reason))
        return outcome
    had_failed = exchange.status == FAILED
    asked = exchange.forget()
    link.parsed_here = False  # The unnamed statement of the next server is another's.
    if link.statements is not None:
        link.statements.undone(asked, backend.link.statements)
    if outcome is Outcome.AGAIN:
        link.again()
        return outcome
    link.forsake()
    is_lost = outcome in (Outcome.ROLLED_BACK, Outcome.UNKNOWN_INSIDE)
    is_certain = outcome is Outcome.ROLLED_BACK
    first: Fault = TransactionLost() if is_certain else OutcomeUnknown()
    if is_certain and had_failed:
        first = InFailedTransaction()
    answers, is_open = _answers(asked, first, is_lost=is_lost)
    if answers:
        link.send(answers)
    exchange.query_start = exchange.transaction_start = 0.0
    is_skipping = is_open or is_skipping
    if is_lost or is_skipping or outcome is Outcome.PIPELINE_LOST:
        client.lose_transaction(
            LostTransaction(
                link.statements,
                told=bool(answers) or had_failed or is_skipping,
                skipping=is_skipping,
                over=not is_lost,
            )
        )
    else:
        link.go_on()
    return outcome


def _answers(asked: list[int], first: Fault, *, is_lost: bool) -> tuple[bytes, bool]:
    """Return an error for each statement or pipeline that was asked.

    Also whether the Sync of the last is still to come.
    """
    answers: list[bytes] = []
    fault = first
    is_open = False
    for entry in asked:
        kind = entry & TYPE
        if kind in (COPY_DONE, COPY_FAIL) or entry & SWALLOW:
            continue
        if not is_open:
            answers.append(encode.error_response(fault))
            fault = InFailedTransaction() if is_lost else OutcomeUnknown()
        is_open = kind not in _ENDS
        if not is_open:
            answers.append(encode.ready_for_query(b"E" if is_lost else b"I"))
    return b"".join(answers), is_open


def _text_of(statements: ClientStatements | None, name: bytes) -> bytes:
    """Return the text of a client's prepared statement, empty for unknown ones."""
    return b"" if statements is None else statements.text_of(name) or b""
