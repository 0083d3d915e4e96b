"""Decides from plain facts what becomes of a client whose server was lost.

The client gets the truth: what has certainly not happened may be run again, by us if it
is a single statement, by the client if it is a whole transaction; what may have
happened is reported as just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pgswitch.wire.committing import CommitFindings, findings, messages

if TYPE_CHECKING:
    from collections.abc import Callable


class LossOutcome(Enum):
    """What becomes of the client's work."""

    NOTHING = "nothing was under way"
    AGAIN = "run the statement again"
    ROLLED_BACK = "the transaction is lost, certainly not committed"
    PIPELINE_LOST = "what was done since the last Sync is lost, certainly not committed"
    UNKNOWN = "it may have been carried out"
    UNKNOWN_INSIDE = "it may have been carried out, and the transaction with it"
    """It is also unknown whether it would have ended the transaction."""
    SESSION_LOST = "the session's state is gone"


class LossCause(Enum):
    """What explains the loss of a server; the text is for the client."""

    MOVED = "its node is not used any more"
    LEAVING = "its node is given up"
    BACK = "its node was restarted"
    WELL = "its node is well"
    UNKNOWN = "nothing explains the loss"


@dataclass(frozen=True, slots=True)
class LossFacts:
    """What was under way; see :class:`ClientStream` and wire/exchange.py."""

    is_session: bool
    in_transaction: bool
    outstanding: int
    copying: bool
    sent: bytes
    """What the server was sent since its last answer; ``?`` if that is no longer
    known."""
    is_cut: bool
    """Its last message was not sent whole, so no server carries it out."""
    gave_shutdown_notice: bool
    """The server announced its end (57P01, 57P02, 57P03) before any part of its answer
    reached the client: it has rolled back what it was doing."""
    answered: bool
    """Part of the answer has reached the client."""
    unsynced: bool = False
    """Part of a pipeline was carried out and answered, but its Sync, which would commit
    it, has not been sent."""
    on_standby: bool = False
    """The server was a standby, which cannot have written anything."""


class LossDecision(NamedTuple):
    """What becomes of the client, and what if nothing is run again."""

    outcome: LossOutcome
    otherwise: LossOutcome
    texts: tuple[bytes, ...] = ()
    """The statements to run again, if that is the outcome."""


def decide_loss(facts: LossFacts, text_of: Callable[[bytes], bytes]) -> LossDecision:
    """Return what becomes of the client.

    ``text_of`` returns the text of a prepared statement, empty for unknown ones.
    """
    if facts.is_session or not facts.outstanding:
        outcome = _decide_idle(facts)
        return LossDecision(outcome, outcome)
    sent = without_cut(facts.sent) if facts.is_cut else facts.sent
    found = findings(sent, text_of, inside=facts.in_transaction)
    is_known = found.is_known or facts.sent != sent == b""
    otherwise = _lost(facts, found, is_known=is_known)
    if is_known and _may_run_again(facts, found):
        return LossDecision(LossOutcome.AGAIN, otherwise, found.texts)
    return LossDecision(otherwise, otherwise)


def _decide_idle(facts: LossFacts) -> LossOutcome:
    """Decide if nothing is outstanding, or in session pooling."""
    if facts.is_session:
        return LossOutcome.SESSION_LOST
    if facts.in_transaction:
        return LossOutcome.ROLLED_BACK
    return LossOutcome.PIPELINE_LOST if facts.unsynced else LossOutcome.NOTHING


def _lost(facts: LossFacts, found: CommitFindings, *, is_known: bool) -> LossOutcome:
    """Decide about outstanding requests that are not run again."""
    if not facts.in_transaction:
        is_lost = found.is_begun and not found.may_commit
        return LossOutcome.ROLLED_BACK if is_lost else LossOutcome.UNKNOWN
    if not is_known:
        return LossOutcome.UNKNOWN_INSIDE
    return LossOutcome.UNKNOWN if found.may_commit else LossOutcome.ROLLED_BACK


def _may_run_again(facts: LossFacts, found: CommitFindings) -> bool:
    """Tell whether outstanding requests outside a transaction may be run again."""
    if facts.in_transaction or facts.copying or facts.answered:
        return False
    undone = facts.gave_shutdown_notice or facts.on_standby
    return not found.may_commit or (undone and found.is_single)


def without_cut(sent: bytes) -> bytes:
    """Return messages without the last one, which is cut; ``?`` stays as it is."""
    for _kind, begin, end in messages(sent):
        if end > len(sent):
            return sent[:begin]
    return sent
