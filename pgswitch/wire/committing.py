"""Decides whether a lost server may have committed some of what it was sent.

It simulates the server on the messages since the last answer.  A statement runs inside
a transaction block or outside it; outside, it is a transaction of its own and may be
committed.  So even after a ROLLBACK, the following statements are uncertain.

It is not known how far the server got, nor what has failed.  A failure makes the server
skip the rest of a segment: of a Query, or everything up to a Sync.  So at each message
the block may be open or not, and both cases are simulated.

One table (:data:`GRAMMAR`) has the effects of statements on transactions, and on a
retry, by their first words; loss.py uses it as well.  Anything that does not match
exactly is ``WRITES``, about which nothing is certain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from pgswitch.wire.constants import (
    BIND,
    CLOSE,
    COPY_DATA,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EXECUTE,
    FLUSH,
    HEADER_SIZE,
    PARSE,
    QUERY,
    SYNC,
)
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


INSIDE: Final = 1
OUTSIDE: Final = 2
"""Bits: the states that the server may be in."""

_SILENT: Final = (DESCRIBE, CLOSE, FLUSH, COPY_DATA, COPY_DONE, COPY_FAIL)
"""Messages that execute no statement."""
_CERTAIN: Final = frozenset(
    (StatementEffect.ROLLS_BACK, StatementEffect.COMMITS, StatementEffect.BEGINS)
)
"""Statements that cannot fail, if they are the whole text."""
_HARMLESS: Final = (ENDS - COMMITS) | {
    StatementEffect.READS,
    StatementEffect.ROLLS_BACK_TO,
}
"""Statements without a lasting effect outside a block.

COMMIT has none either if no block is open, but being wrong about that would be worse.
"""


class CommitFindings(NamedTuple):
    """The facts about unanswered messages."""

    is_known: bool
    """The texts of all executed statements are known."""
    may_commit: bool
    """Some of the work may be committed."""
    is_single: bool
    """They execute a single, atomic statement."""
    is_begun: bool
    """They begin a block, in which the server may have done some work."""
    texts: tuple[bytes, ...] = ()
    """The texts of the executed statements."""


UNKNOWN: Final = CommitFindings(
    is_known=False, may_commit=True, is_single=False, is_begun=False
)


def findings(
    sent: bytes, text_of: Callable[[bytes], bytes], *, inside: bool
) -> CommitFindings:
    """Examine complete messages that a server was sent and has not answered.

    ``text_of`` returns the text of a prepared statement, empty for an unknown one.
    ``inside``: a transaction block was open before.
    """
    walk = _Walk(text_of, inside=inside)
    for kind, begin, end in messages(sent):
        if end > len(sent) or not walk.take(kind, sent[begin + HEADER_SIZE : end]):
            return UNKNOWN
    return CommitFindings(
        is_known=bool(sent),
        may_commit=walk.may_commit,
        is_single=walk.is_single(),
        texts=walk.texts(),
        is_begun=not inside and walk.is_inside(),
    )


def messages(sent: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield type, begin and end of each message."""
    begin = 0
    while begin < len(sent):
        end = begin + 1 + int.from_bytes(sent[begin + 1 : begin + HEADER_SIZE], "big")
        yield sent[begin], begin, end
        begin = end


class _Walk:
    """Simulates the server, message by message."""

    def __init__(self, text_of: Callable[[bytes], bytes], *, inside: bool) -> None:
        self.may_commit = False
        self._text_of = text_of
        self._at = INSIDE if inside else OUTSIDE
        self._failed_at = 0
        """The possible states if something in this segment has failed."""
        self._has_acted = False
        """Some statement ran in a block."""
        self._segments = 0
        self._carried_out: dict[tuple[int, bytes], None] = {}
        """Segment and text of each statement, in order."""
        self._is_first = True
        """Nothing in this segment can have failed yet."""
        self._older: dict[bytes, set[bytes | None]] = {}
        """Possible texts of statements parsed in earlier segments; None: unknown."""
        self._doubtful: set[bytes] = set()
        """Statements whose Parse may have been skipped in this segment."""
        self._parsed: dict[bytes, bytes] = {}
        """Texts of statements parsed in this segment."""
        self._bound: dict[bytes, set[bytes | None]] = {}
        """Possible texts of this segment's portals."""

    def take(self, kind: int, body: bytes) -> bool:
        """Take a message; return False if it executes something unknown."""
        if kind == QUERY:
            self._end_segment()
            self._carry_out({body.rstrip(b"\0")})
            self._end_segment()
            return True
        if kind == SYNC:
            self._end_segment()
            return True
        self._failed_at |= self._at
        was_first, self._is_first = self._is_first, False
        if kind == PARSE:
            name, _, rest = body.partition(b"\0")
            self._parsed[name] = rest.partition(b"\0")[0]
            if not was_first:
                self._doubtful.add(name)
        elif kind == BIND:
            portal, _, rest = body.partition(b"\0")
            self._bound[portal] = self._texts(rest.partition(b"\0")[0])
        elif kind == EXECUTE:
            return self._execute(body.partition(b"\0")[0])
        else:
            return kind in _SILENT
        return True

    def _texts(self, name: bytes) -> set[bytes | None]:
        """Return the possible texts of a statement.

        A Parse in this segment has not failed if the messages after it are executed.
        """
        if name in self._parsed:
            return {self._parsed[name]}
        return self._older.get(name) or {self._text_of(name) or None}

    def _execute(self, portal: bytes) -> bool:
        texts: set[bytes] = set()
        for text in self._bound.get(portal, (None,)):
            if text is None:
                return False
            texts.add(text)
        self._carry_out(texts)
        return True

    def _end_segment(self) -> None:
        """End a segment: failures in it do not affect the next one.

        A Parse that was skipped, or refused for its name, leaves the old statement.
        """
        self._at |= self._failed_at
        self._failed_at = 0
        self._segments += 1
        for name, text in self._parsed.items():
            before = self._older.get(name, {self._text_of(name) or None})
            if name not in self._doubtful:
                before = before - {None} if name else set()
            self._older[name] = before | {text}
        self._doubtful.clear()
        self._parsed.clear()
        self._bound.clear()
        self._is_first = True

    def _carry_out(self, texts: set[bytes]) -> None:
        """Execute one of these texts; it is not known which."""
        before, after = self._at, 0
        for text in texts:
            self._carried_out[self._segments, text] = None
            for reading in readings(text):
                self._at = before
                if len(reading) != 1 or reading[0].effect not in _CERTAIN:
                    self._failed_at |= before
                for step in reading:
                    self._step(step)
                after |= self._at
        self._at = after

    def _step(self, step: SqlStep) -> None:
        effect, at = step.effect, 0
        if effect not in _CERTAIN:
            self._failed_at |= self._at
        if self._at & INSIDE:
            self._has_acted |= effect not in BEGINS and effect not in ENDS
            self.may_commit = self.may_commit or effect in COMMITS
            at |= OUTSIDE if effect is StatementEffect.ROLLS_BACK else INSIDE
        if self._at & OUTSIDE:
            is_begin = effect in BEGINS
            self.may_commit |= not is_begin and effect not in _HARMLESS
            at |= INSIDE if is_begin else OUTSIDE
        self._at = at

    def texts(self) -> tuple[bytes, ...]:
        """Return the texts of the executed statements."""
        return tuple(text for _segment, text in self._carried_out)

    def is_inside(self) -> bool:
        """Return whether the server may be in a block in which a statement ran."""
        return self._has_acted and bool((self._at | self._failed_at) & INSIDE)

    def is_single(self) -> bool:
        """Return whether a single, atomic statement was executed."""
        if len(self._carried_out) != 1:
            return False
        ((_, text),) = self._carried_out
        return all(
            len(reading) == 1 and reading[0].effect is not StatementEffect.IN_PARTS
            for reading in readings(text)
        )
