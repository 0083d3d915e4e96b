"""Tells the kind of a statement from its text, in a few microseconds.

Theory of operation.  What is no read is mostly known by its first word.  A read is
one because nothing in it writes, so all its words count.  First they are gathered as
if there were no strings and comments: words in those can only make a read look like
a write, never the other way round.  If nothing suspicious is among them the text is a
read; else it is cut exactly (tokens.py), which takes some ten times as long.

All this is about the text alone.  A view or an operator may call a function that
writes; ``volatile`` is for such names, and a server that is read only is the guard
behind.  Whatever is unsure is Kind.UNKNOWN, which is to be treated as a write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from pgswitch.sql.kinds import (
    BY_FIRST_WORD,
    CHANGING,
    RUNNING,
    TRANSACTION_BY_TWO,
    WRITING,
    Kind,
)
from pgswitch.sql.tokens import END, QUOTED, Undecided, words_in

MAX_LENGTH: Final = 65536
"""Characters of a possible read that are looked at; longer ones are unknown."""

_FIRST: Final = re.compile(r"[\s(]*+([^\W\d][\w$]*+)")
_WORDS: Final = re.compile(r"(?!e\d)[a-z_]\w++")
"""Words of two letters and more; one may stand right behind a number: ``1e5into``."""
_LOCKING: Final = frozenset((("for", "share"), ("key", "share")))
_ANALYZE: Final = frozenset(("analyze", "analyse"))


class Classifier:
    """Tells the kind of a text; ``volatile`` are names of functions that may write.

    Names are compared without schema and in lower case.
    """

    def __init__(self, volatile: Iterable[str] = ()) -> None:
        """Take the user's functions; those of PostgreSQL are known."""
        own = {name.rpartition(".")[2].strip('"').lower() for name in volatile}
        changing = CHANGING | own
        self._writing = WRITING | changing | {QUOTED + name for name in changing}
        self._suspicious = self._writing | RUNNING | _ANALYZE | {"share"}
        self._is_quick = all(_WORDS.findall(name) == [name] for name in own)

    def __call__(self, query: str) -> Kind:
        """Return the kind of a text, which is that of the first statement but reads."""
        is_long = len(query) > MAX_LENGTH
        text = query[:MAX_LENGTH].lower() if is_long else query.lower()
        first = _FIRST.match(text)
        if first is not None:
            kind = BY_FIRST_WORD.get(first[1], Kind.UNKNOWN)
            if kind is Kind.READ:
                if self._is_quick and not is_long and self._is_plain_read(text):
                    return Kind.READ
            elif kind is not Kind.SET and kind is not Kind.UNKNOWN:
                return kind
        if is_long:
            return Kind.UNKNOWN
        try:
            return self._exact(text)
        except Undecided:
            return Kind.UNKNOWN

    def _is_plain_read(self, text: str) -> bool:
        """Tell whether a text that begins like a read has nothing suspicious in it."""
        end = text.find(END)
        if end >= 0 and not text[end + 1 :].isspace() and end + 1 != len(text):
            return False
        return self._suspicious.isdisjoint(_WORDS.findall(text)) and 'u&"' not in text

    def _exact(self, text: str) -> Kind:
        """Cut a text; return the kind of the first statement that is no read."""
        if 'u&"' in text:
            return Kind.UNKNOWN
        statement: list[str] = []
        for word in words_in(text):
            if word is not END:
                statement.append(word)
                continue
            kind = self._kind(statement)
            if kind is not Kind.READ:
                return kind
            statement.clear()
        return self._kind(statement)

    def _kind(self, words: list[str]) -> Kind:
        """Return the kind of one statement; an empty one does nothing."""
        if not words:
            return Kind.READ
        if tuple(words[:2]) in TRANSACTION_BY_TWO:
            return Kind.TRANSACTION
        kind = BY_FIRST_WORD.get(words[0], Kind.UNKNOWN)
        if kind is Kind.READ and self._writes(words):
            return Kind.WRITE
        return kind

    def _writes(self, words: list[str]) -> bool:
        """Tell whether a statement that begins like a read may write."""
        found = set(words)
        if words[0] == "explain":
            if found.isdisjoint(_ANALYZE):
                return False
            if not found.isdisjoint(RUNNING):
                return True
        if not found.isdisjoint(self._writing):
            return True
        return "share" in found and not _LOCKING.isdisjoint(pairwise(words))
