"""What each statement of a text does to transactions, and whether it may be run again.

One table (:data:`GRAMMAR`) says it, from the words that a statement begins with.  What
is not written exactly so is ``WRITES``, the kind of which nothing is certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from pgswitch.wire.sql_text import statements_in


class Does(Enum):
    """What a statement does, as far as that is certain from its text."""

    COMMITS = "COMMIT"
    COMMITS_AND_CHAINS = "COMMIT AND CHAIN"
    PREPARES = "PREPARE TRANSACTION"
    ROLLS_BACK = "ROLLBACK"
    ROLLS_BACK_AND_CHAINS = "ROLLBACK AND CHAIN"
    ROLLS_BACK_TO = "ROLLBACK TO SAVEPOINT"
    BEGINS = "BEGIN"
    """With nothing that could be wrong about it: it cannot fail."""
    BEGINS_SO = "BEGIN, in a way that the server may refuse"
    READS = "a read that calls no function"
    WRITES = "anything else, which is done whole or not at all"
    IN_PARTS = "the same, but it may commit on the way, or half done"


ENDS: Final = frozenset(
    (
        Does.COMMITS,
        Does.COMMITS_AND_CHAINS,
        Does.PREPARES,
        Does.ROLLS_BACK,
        Does.ROLLS_BACK_AND_CHAINS,
    )
)
"""What a failed transaction is left by; it is rolled back by each of them."""
CHAINS: Final = frozenset((Does.COMMITS_AND_CHAINS, Does.ROLLS_BACK_AND_CHAINS))
COMMITS: Final = frozenset((Does.COMMITS, Does.COMMITS_AND_CHAINS, Does.PREPARES))
"""What may keep the work of a transaction."""
BEGINS: Final = frozenset((Does.BEGINS, Does.BEGINS_SO))

_WORK: Final = rb"(?: work| transaction)?"
_UNCHAINED: Final = _WORK + rb"(?: and no chain)?"
_CHAINED: Final = _WORK + rb" and chain"
_NAME: Final = rb"""(?:[^" ]+|"(?:[^"]|"")*")"""
GRAMMAR: Final = (
    (Does.COMMITS, rb"(?:commit|end)" + _UNCHAINED),
    (Does.COMMITS_AND_CHAINS, rb"(?:commit|end)" + _CHAINED),
    (Does.PREPARES, rb"prepare transaction '"),
    (Does.ROLLS_BACK, rb"(?:rollback|abort)" + _UNCHAINED),
    (Does.ROLLS_BACK_AND_CHAINS, rb"(?:rollback|abort)" + _CHAINED),
    (Does.ROLLS_BACK_TO, rb"rollback" + _WORK + rb" to(?: savepoint)? " + _NAME),
    (Does.BEGINS, rb"begin" + _WORK + rb"|start transaction"),
    (Does.BEGINS_SO, rb"(?:begin|start transaction) .*"),
    (Does.READS, rb"(?:select|values|table|show)\b.*"),
    (Does.IN_PARTS, rb"(?:copy|call|do|vacuum|cluster|reindex)\b.*"),
    (Does.IN_PARTS, rb"(?:create|alter|drop) (?:database|tablespace|subscription).*"),
)
"""What a statement does by its first words, in small letters with one blank between
them; a string is ``'``.  The first that fits counts (PostgreSQL 18 manual, "SQL
Commands")."""

_KINDS: Final = tuple((kind, re.compile(form, re.DOTALL)) for kind, form in GRAMMAR)
_WORDS: Final = 7
"""Two more than the longest statement that ends a transaction has."""
_NOT_CERTAIN: Final = re.compile(
    rb"\(|\b(?:into|for\s+(?:no\s+key\s+)?(?:update|share|key))\b", re.IGNORECASE
)
"""In what looks like a read: a call of a function, a row that is locked, a table."""
_COMMITTING: Final = re.compile(rb"\bconcurrently\b", re.IGNORECASE)


class SqlStep(NamedTuple):
    """One statement of a text."""

    does: Does
    rest: int
    """Where the text goes on behind it, and behind its semicolon."""


def steps(text: bytes, *, escapes: bool = False) -> Iterator[SqlStep]:
    """Yield what the statements of a text do, one by one; empty ones do nothing.

    The text may end with a NUL.  ``escapes``: a backslash in plain strings escapes
    what follows (standard_conforming_strings is off).
    """
    text = text.rstrip(b"\0")
    for begin, end, words in statements_in(text, escapes=escapes, enough=_WORDS):
        yield SqlStep(_kind(words, text[begin:end]), end + 1)


def readings(text: bytes) -> list[list[SqlStep]]:
    """Return the steps of a text for all that backslashes in it may mean."""
    found = [list(steps(text))]
    if b"\\" in text:
        found.append(list(steps(text, escapes=True)))
    return found


def first_step(text: bytes) -> SqlStep | None:
    """Return the first statement of a text; None if all of it is empty.

    Long statements are not gone through: of those READS and WRITES mean the same.
    """
    text = text.rstrip(b"\0")
    found = statements_in(text, escapes=False, enough=_WORDS, whole=False)
    for begin, end, words in found:
        return SqlStep(_kind(words, text[begin:end]), end + 1)
    return None


def is_one(text: bytes) -> bool:
    """Tell whether a text may be prepared: it has at most one statement."""
    found = steps(text)
    next(found, None)
    return next(found, None) is None


def _kind(words: list[bytes], statement: bytes) -> Does:
    beginning = b" ".join(words).lower()
    fitting = (kind for kind, form in _KINDS if form.fullmatch(beginning))
    kind = next(fitting, Does.WRITES)
    if kind is Does.READS and _NOT_CERTAIN.search(statement):
        return Does.WRITES
    if kind is Does.WRITES and _COMMITTING.search(statement):
        return Does.IN_PARTS
    return kind
