"""Classifies statements by their effect on transactions, and on a retry.

One table (:data:`GRAMMAR`) has the effects by a statement's first words.  Anything that
does not match exactly is ``WRITES``, about which nothing is certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from pgswitch.wire.sql_text import statements_in


class StatementEffect(Enum):
    """The effect of a statement, as far as its text makes it certain."""

    COMMITS = "COMMIT"
    COMMITS_AND_CHAINS = "COMMIT AND CHAIN"
    PREPARES = "PREPARE TRANSACTION"
    ROLLS_BACK = "ROLLBACK"
    ROLLS_BACK_AND_CHAINS = "ROLLBACK AND CHAIN"
    ROLLS_BACK_TO = "ROLLBACK TO SAVEPOINT"
    BEGINS = "BEGIN"
    """A BEGIN without options, which cannot fail."""
    BEGINS_SO = "BEGIN with options, which the server may refuse"
    READS = "a read that calls no function"
    WRITES = "anything else; it is atomic"
    IN_PARTS = "anything else; it may commit in between, or only in part"


ENDS: Final = frozenset(
    (
        StatementEffect.COMMITS,
        StatementEffect.COMMITS_AND_CHAINS,
        StatementEffect.PREPARES,
        StatementEffect.ROLLS_BACK,
        StatementEffect.ROLLS_BACK_AND_CHAINS,
    )
)
"""Statements that end a failed transaction; each of them rolls it back."""
CHAINS: Final = frozenset(
    (StatementEffect.COMMITS_AND_CHAINS, StatementEffect.ROLLS_BACK_AND_CHAINS)
)
COMMITS: Final = frozenset(
    (
        StatementEffect.COMMITS,
        StatementEffect.COMMITS_AND_CHAINS,
        StatementEffect.PREPARES,
    )
)
"""Statements that may commit a transaction's work."""
BEGINS: Final = frozenset((StatementEffect.BEGINS, StatementEffect.BEGINS_SO))

_WORK: Final = rb"(?: work| transaction)?"
_UNCHAINED: Final = _WORK + rb"(?: and no chain)?"
_CHAINED: Final = _WORK + rb" and chain"
_NAME: Final = rb"""(?:[^" ]+|"(?:[^"]|"")*")"""
GRAMMAR: Final = (
    (StatementEffect.COMMITS, rb"(?:commit|end)" + _UNCHAINED),
    (StatementEffect.COMMITS_AND_CHAINS, rb"(?:commit|end)" + _CHAINED),
    (StatementEffect.PREPARES, rb"prepare transaction '"),
    (StatementEffect.ROLLS_BACK, rb"(?:rollback|abort)" + _UNCHAINED),
    (StatementEffect.ROLLS_BACK_AND_CHAINS, rb"(?:rollback|abort)" + _CHAINED),
    (
        StatementEffect.ROLLS_BACK_TO,
        rb"rollback" + _WORK + rb" to(?: savepoint)? " + _NAME,
    ),
    (StatementEffect.BEGINS, rb"begin" + _WORK + rb"|start transaction"),
    (StatementEffect.BEGINS_SO, rb"(?:begin|start transaction) .*"),
    (StatementEffect.READS, rb"(?:select|values|table|show)\b.*"),
    (StatementEffect.IN_PARTS, rb"(?:copy|call|do|vacuum|cluster|reindex)\b.*"),
    (
        StatementEffect.IN_PARTS,
        rb"(?:create|alter|drop) (?:database|tablespace|subscription).*",
    ),
)
"""Effects by a statement's first words, in lower case and separated by one space; a
string is ``'``.  The first match counts (PostgreSQL 18 manual, "SQL Commands")."""

_KINDS: Final = tuple((kind, re.compile(form, re.DOTALL)) for kind, form in GRAMMAR)
_WORDS: Final = 7
"""Two more words than the longest statement that ends a transaction."""
_NOT_CERTAIN: Final = re.compile(
    rb"\(|\b(?:into|for\s+(?:no\s+key\s+)?(?:update|share|key))\b", re.IGNORECASE
)
"""What a read must not contain: a function call, a row lock, INTO a table."""
_COMMITTING: Final = re.compile(rb"\bconcurrently\b", re.IGNORECASE)


class SqlStep(NamedTuple):
    """One statement of a text."""

    effect: StatementEffect
    rest: int
    """Index of the text after the statement and its semicolon."""


def steps(text: bytes, *, escapes: bool = False) -> Iterator[SqlStep]:
    """Yield the effects of a text's statements, one by one, without empty ones.

    The text may end with a NUL.  ``escapes``: backslashes in ordinary strings are
    escapes (standard_conforming_strings is off).
    """
    text = text.rstrip(b"\0")
    for begin, end, words in statements_in(text, escapes=escapes, enough=_WORDS):
        yield SqlStep(_kind(words, text[begin:end]), end + 1)


def readings(text: bytes) -> list[list[SqlStep]]:
    """Return the steps of a text with standard_conforming_strings on, and with it off.

    The second list is missing if the text has no backslash.
    """
    found = [list(steps(text))]
    if b"\\" in text:
        found.append(list(steps(text, escapes=True)))
    return found


def first_step(text: bytes) -> SqlStep | None:
    """Return the first statement of a text; None if the text is empty.

    It does not scan long statements, so READS and WRITES mean the same here.
    """
    text = text.rstrip(b"\0")
    found = statements_in(text, escapes=False, enough=_WORDS, whole=False)
    for begin, end, words in found:
        return SqlStep(_kind(words, text[begin:end]), end + 1)
    return None


def is_one(text: bytes) -> bool:
    """Return whether a text may be prepared: it has at most one statement."""
    found = steps(text)
    next(found, None)
    return next(found, None) is None


def _kind(words: list[bytes], statement: bytes) -> StatementEffect:
    beginning = b" ".join(words).lower()
    fitting = (kind for kind, form in _KINDS if form.fullmatch(beginning))
    kind = next(fitting, StatementEffect.WRITES)
    if kind is StatementEffect.READS and _NOT_CERTAIN.search(statement):
        return StatementEffect.WRITES
    if kind is StatementEffect.WRITES and _COMMITTING.search(statement):
        return StatementEffect.IN_PARTS
    return kind
