"""Whether a server that was lost may have committed some of what it was sent.

The messages since the last answer are gone through as the server does.  A statement
stands inside of a transaction block or outside of it; outside it runs by itself, and
what it does may be committed.  So a transaction that was rolled back does not make
certain what stands behind its ROLLBACK.

What the server had got to is not known, nor what has failed.  A failure makes it skip
the rest of a segment: a Query, or all up to a Sync.  So each message may have met the
block open or not, and both are gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from pgswitch.wire.sql_steps import (
    BEGINS,
    COMMITS,
    ENDS,
    Does,
    SqlStep,
    readings,
)

INSIDE: Final = 1
OUTSIDE: Final = 2
"""Bits: where the server may be."""

_SILENT: Final = (DESCRIBE, CLOSE, FLUSH, COPY_DATA, COPY_DONE, COPY_FAIL)
"""These carry nothing out by themselves."""
_CERTAIN: Final = frozenset((Does.ROLLS_BACK, Does.COMMITS, Does.BEGINS))
"""Statements that do not fail, if they are a whole text."""
_HARMLESS: Final = (ENDS - COMMITS) | {Does.READS, Does.ROLLS_BACK_TO}
"""Outside of a block these leave nothing behind.

Nor does a COMMIT, if there is no block; it is not worth being wrong about that.
"""


class CommitFindings(NamedTuple):
    """What is certain of some messages."""

    is_known: bool
    """The texts of all that they carry out."""
    may_commit: bool
    """Some of it may be committed."""
    is_single: bool
    """They carry out one statement, which is done whole or not at all."""
    is_begun: bool
    """They begin a block that the server may have been in, with something done."""
    texts: tuple[bytes, ...] = ()
    """What they carry out."""


UNKNOWN: Final = CommitFindings(
    is_known=False, may_commit=True, is_single=False, is_begun=False
)


def findings(
    sent: bytes, text_of: Callable[[bytes], bytes], *, inside: bool
) -> CommitFindings:
    """Judge whole messages that a server was sent and that it has not answered.

    ``text_of`` returns the text of a prepared statement, empty for unknown ones.
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
    """Yield the type of each message, its place, and the place behind it."""
    begin = 0
    while begin < len(sent):
        end = begin + 1 + int.from_bytes(sent[begin + 1 : begin + HEADER_SIZE], "big")
        yield sent[begin], begin, end
        begin = end


class _Walk:
    """Goes through messages; nothing is held of those that have been gone through."""

    def __init__(self, text_of: Callable[[bytes], bytes], *, inside: bool) -> None:
        self.may_commit = False
        self._text_of = text_of
        self._at = INSIDE if inside else OUTSIDE
        self._failed_at = 0
        """Where the server may be, if something of the present segment has failed."""
        self._has_acted = False
        """Something was done in a block."""
        self._segments = 0
        self._carried_out: dict[tuple[int, bytes], None] = {}
        """Segment and text of each, in order."""
        self._is_first = True
        """Nothing of the present segment can have failed."""
        self._older: dict[bytes, set[bytes | None]] = {}
        """What a statement may be that an earlier segment has parsed; None: unknown."""
        self._doubtful: set[bytes] = set()
        """Statements whose Parse may have been skipped in the present segment."""
        self._parsed: dict[bytes, bytes] = {}
        """What it is that this segment has parsed."""
        self._bound: dict[bytes, set[bytes | None]] = {}
        """The same of this segment's portals."""

    def take(self, kind: int, body: bytes) -> bool:
        """Take a message; False: it carries out something unknown."""
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
        """Return what a statement may be.

        A Parse of this segment has not failed, if what follows it is carried out.
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
        """Note what ends a segment: whatever has failed in it, failed before.

        A Parse that was skipped, or refused for its name, leaves what there was.
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
        """Carry out one of these texts."""
        before, after = self._at, 0
        for text in texts:
            self._carried_out[self._segments, text] = None
            for reading in readings(text):
                self._at = before
                if len(reading) != 1 or reading[0].does not in _CERTAIN:
                    self._failed_at |= before
                for step in reading:
                    self._step(step)
                after |= self._at
        self._at = after

    def _step(self, step: SqlStep) -> None:
        does, at = step.does, 0
        if does not in _CERTAIN:
            self._failed_at |= self._at
        if self._at & INSIDE:
            self._has_acted |= does not in BEGINS and does not in ENDS
            self.may_commit = self.may_commit or does in COMMITS
            at |= OUTSIDE if does is Does.ROLLS_BACK else INSIDE
        if self._at & OUTSIDE:
            is_begin = does in BEGINS
            self.may_commit |= not is_begin and does not in _HARMLESS
            at |= INSIDE if is_begin else OUTSIDE
        self._at = at

    def texts(self) -> tuple[bytes, ...]:
        """Return the texts that are carried out."""
        return tuple(text for _segment, text in self._carried_out)

    def is_inside(self) -> bool:
        """Tell whether the server may be in a block in which something was done."""
        return self._has_acted and bool((self._at | self._failed_at) & INSIDE)

    def is_single(self) -> bool:
        """Tell whether one statement was carried out that is whole or not at all."""
        if len(self._carried_out) != 1:
            return False
        ((_, text),) = self._carried_out
        return all(
            len(reading) == 1 and reading[0].does is not Does.IN_PARTS
            for reading in readings(text)
        )
