"""What becomes of a client whose server went in the middle: decided from plain facts.

The client is told the truth: what is certain not to have happened may be run again,
by us where one statement is all that was asked, by the client where it was a whole
transaction; where it may have happened, it hears just that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from pgswitch.wire.constants import (
    BIND,
    CLOSE,
    DESCRIBE,
    FLUSH,
    FUNCTION_CALL,
    HEADER_SIZE,
    PARSE,
    QUERY,
    SYNC,
)

ASKS_NOTHING = (DESCRIBE, CLOSE, SYNC, FLUSH)
"""These carry nothing out."""

_BLANK = rb"(?>\s+|--[^\n]*(?:\n|$)|/\*(?>.*?\*/))*+"
_COMMITS = re.compile(
    rb"(?:^|;)" + _BLANK + rb"(?:commit|end|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
_NESTED = re.compile(rb"/\*(?:(?!\*/).)*/\*", re.DOTALL)
"""A comment in a comment, which the pattern above does not understand."""
_BEGINS = re.compile(rb"\s*(begin|start\s+transaction)\b[^;]*;?\s*$", re.IGNORECASE)
_READS = re.compile(rb"\s*(select|values|table|show)\b[^(;]*;?\s*$", re.IGNORECASE)
_WRITES = re.compile(
    rb"\b(into|for\s+(no\s+key\s+)?(update|share|key))\b", re.IGNORECASE
)
_IN_PARTS = re.compile(
    rb"^\s*(copy|call|do|vacuum|cluster)\b|\bconcurrently\b",
    re.IGNORECASE,
)
"""Statements that may commit on the way."""
_COMMENTS = re.compile(rb"^(?>\s+|--[^\n]*(?:\n|$)|/\*(?>.*?\*/))+", re.DOTALL)
"""Before the statement; what is left of nested ones shows by its ``*/``."""
_QUERIES = re.compile(
    rb"\s*[(\s]*(select|values|table|show|with|explain)\b", re.IGNORECASE
)
_SEVERAL = re.compile(rb";\s*\S")


class Outcome(Enum):
    """What to do for the client."""

    NOTHING = "nothing was under way"
    AGAIN = "run the statement again"
    ROLLED_BACK = "the transaction is lost, certainly not committed"
    UNKNOWN = "it may have been carried out"
    UNKNOWN_INSIDE = "it may have been carried out, and the transaction with it"
    """Nor is it known whether it was to end the transaction."""
    SESSION_LOST = "the session's state is gone"


@dataclass(frozen=True, slots=True)
class Facts:
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
    said_so: bool
    """The server's last word was that it ends (57P01, 57P02, 57P03), and that before
    any of its answer reached the client: it has undone what it was asked."""
    answered: bool
    """Some of the answer has reached the client."""
    retry: bool
    """Statements may be run again (setting switchover_retry)."""
    on_standby: bool = False
    """The server could not write anything, whatever it was asked."""


def decide(facts: Facts, text_of: Callable[[bytes], bytes]) -> Outcome:
    """Return what becomes of the client.

    ``text_of`` returns the text of a prepared statement, empty for unknown ones.
    """
    if facts.is_session:
        return Outcome.SESSION_LOST
    sent = without_cut(facts.sent) if facts.is_cut else facts.sent
    texts = statements(sent, text_of)
    if facts.in_transaction:
        is_known = bool(texts) or (facts.sent != b"" and not _executes(sent))
        if facts.outstanding and not is_known:
            return Outcome.UNKNOWN_INSIDE
        if facts.outstanding and any(map(may_commit, texts)):
            return Outcome.UNKNOWN
        return Outcome.ROLLED_BACK
    if not facts.outstanding:
        return Outcome.NOTHING
    return Outcome.AGAIN if _may_run_again(facts, sent, texts) else Outcome.UNKNOWN


def _may_run_again(facts: Facts, sent: bytes, texts: list[bytes]) -> bool:
    """Tell whether what was asked outside of a transaction may be asked again."""
    if facts.copying or facts.answered or not facts.retry:
        return False
    if not texts:
        return facts.sent != b"" and not _executes(sent)
    is_refused = facts.said_so and len(texts) == 1 and is_single(texts[0])
    if facts.on_standby and all(map(is_query, texts)):
        return True
    return is_refused or all(map(is_harmless, texts))


def without_cut(sent: bytes) -> bytes:
    """Return messages without the last one, which is cut; what is unknown stays so."""
    for _kind, begin, end in _messages(sent):
        if end > len(sent):
            return sent[:begin]
    return sent


def statements(sent: bytes, text_of: Callable[[bytes], bytes]) -> list[bytes]:
    """Return the texts of all statements in some messages; none if one is unknown.

    The text of a Bind is that of its statement, unless that was parsed among them.
    """
    texts: list[bytes] = []
    parsed: set[bytes] = set()
    for kind, begin, end in _messages(sent):
        if kind == FUNCTION_CALL or end > len(sent):
            return []
        body = sent[begin + HEADER_SIZE : end]
        if kind == QUERY:
            texts.append(body.rstrip(b"\0"))
        elif kind == PARSE:
            name, _, rest = body.partition(b"\0")
            parsed.add(name)
            texts.append(rest.partition(b"\0")[0])
        elif kind == BIND:
            name = body.split(b"\0", 2)[1]
            if name not in parsed:
                texts.append(text_of(name))
    return texts if all(texts) else []


def _executes(sent: bytes) -> bool:
    """Tell whether some messages carry out anything; whole ones only."""
    return any(kind not in ASKS_NOTHING for kind, _begin, _end in _messages(sent))


def _messages(sent: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the type of each message, its place, and the place behind it."""
    begin = 0
    while begin < len(sent):
        end = begin + 1 + int.from_bytes(sent[begin + 1 : begin + HEADER_SIZE], "big")
        yield sent[begin], begin, end
        begin = end


def may_commit(text: bytes) -> bool:
    """Tell whether a text may have a statement that ends its transaction for good."""
    return bool(_COMMITS.search(text) or _NESTED.search(text))


def is_harmless(text: bytes) -> bool:
    """Tell whether running a statement twice certainly does what running it once does.

    A call of a function is not certain, so anything with a parenthesis is not.
    """
    is_read = _READS.match(text) and not _WRITES.search(text)
    return bool(is_read or _BEGINS.match(text))


def is_query(text: bytes) -> bool:
    """Tell whether a text is one query, which may call functions."""
    bare = _COMMENTS.sub(b"", text, count=1)
    return bool(_QUERIES.match(bare)) and is_single(text)


def is_single(text: bytes) -> bool:
    """Tell whether a text is one statement that is done whole or not at all."""
    bare = _COMMENTS.sub(b"", text, count=1)
    is_whole = b"*/" not in bare and not _IN_PARTS.search(bare)
    return is_whole and not _SEVERAL.search(bare)
