"""What becomes of a client whose server went in the middle: decided from plain facts.

The client is told the truth: what is certain not to have happened may be run again,
by us where one statement is all that was asked, by the client where it was a whole
transaction; where it may have happened, it hears just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pgswitch.wire.committing import CommitFindings, findings, messages

if TYPE_CHECKING:
    from collections.abc import Callable


class LossOutcome(Enum):
    """What to do for the client."""

    NOTHING = "nothing was under way"
    AGAIN = "run the statement again"
    ROLLED_BACK = "the transaction is lost, certainly not committed"
    PIPELINE_LOST = "what was done since the last Sync is lost, certainly not committed"
    UNKNOWN = "it may have been carried out"
    UNKNOWN_INSIDE = "it may have been carried out, and the transaction with it"
    """Nor is it known whether it was to end the transaction."""
    SESSION_LOST = "the session's state is gone"


class LossCause(Enum):
    """What explains the loss of a server, in words for the client."""

    MOVED = "its node is not used any more"
    LEAVING = "its node is given up"
    BACK = "its node was restarted"
    WELL = "its node is well"
    UNKNOWN = "nothing explains the loss"


@dataclass(frozen=True, slots=True)
class LossFacts:
    """What was under way; see the fields of the client's link and wire/exchange.py."""

    is_session: bool
    in_transaction: bool
    outstanding: int
    copying: bool
    sent: bytes
    """All that the server was sent since it last answered; ``?`` if that is not
    known any more."""
    is_cut: bool
    """The last of its messages was not sent whole: no server carries that out."""
    gave_shutdown_notice: bool
    """The server's last word was that it ends (57P01, 57P02, 57P03), and that before
    any of its answer reached the client: it has undone what it was asked."""
    answered: bool
    """Some of the answer has reached the client."""
    unsynced: bool = False
    """Something of a pipeline was carried out and answered, and its Sync, which would
    commit that, has not come."""
    on_standby: bool = False
    """The server could not write anything, whatever it was asked."""


class LossDecision(NamedTuple):
    """What becomes of a client, and what of it if nothing is run again."""

    outcome: LossOutcome
    otherwise: LossOutcome
    texts: tuple[bytes, ...] = ()
    """The statements to run again, if that is the outcome."""


def decide_loss(facts: LossFacts, text_of: Callable[[bytes], bytes]) -> LossDecision:
    """Return what becomes of the client.

    ``text_of`` returns the text of a prepared statement, empty for unknown ones.
    """
    if facts.is_session or not facts.outstanding:
        outcome = _unasked(facts)
        return LossDecision(outcome, outcome)
    sent = without_cut(facts.sent) if facts.is_cut else facts.sent
    found = findings(sent, text_of, inside=facts.in_transaction)
    is_known = found.is_known or facts.sent != sent == b""
    otherwise = _lost(facts, found, is_known=is_known)
    if is_known and _may_run_again(facts, found):
        return LossDecision(LossOutcome.AGAIN, otherwise, found.texts)
    return LossDecision(otherwise, otherwise)


def _unasked(facts: LossFacts) -> LossOutcome:
    """Decide where it does not matter what was asked."""
    if facts.is_session:
        return LossOutcome.SESSION_LOST
    if facts.in_transaction:
        return LossOutcome.ROLLED_BACK
    return LossOutcome.PIPELINE_LOST if facts.unsynced else LossOutcome.NOTHING


def _lost(facts: LossFacts, found: CommitFindings, *, is_known: bool) -> LossOutcome:
    """Decide on what was asked and is not run again."""
    if not facts.in_transaction:
        is_lost = found.is_begun and not found.may_commit
        return LossOutcome.ROLLED_BACK if is_lost else LossOutcome.UNKNOWN
    if not is_known:
        return LossOutcome.UNKNOWN_INSIDE
    return LossOutcome.UNKNOWN if found.may_commit else LossOutcome.ROLLED_BACK


def _may_run_again(facts: LossFacts, found: CommitFindings) -> bool:
    """Tell whether what was asked outside of a transaction may be asked again."""
    if facts.in_transaction or facts.copying or facts.answered:
        return False
    undone = facts.gave_shutdown_notice or facts.on_standby
    return not found.may_commit or (undone and found.is_single)


def without_cut(sent: bytes) -> bytes:
    """Return messages without the last one, which is cut; what is unknown stays so."""
    for _kind, begin, end in messages(sent):
        if end > len(sent):
            return sent[:begin]
    return sent
