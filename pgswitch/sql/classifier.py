"""Classifies a statement by its text, in a few microseconds.

Theory of operation.  Most statements are known by their first word, but a statement is
a read only if nothing in it writes, so all words of a possible read count.  They are
first collected as if there were no strings and comments: words in those can only make
a read look like a write, never the reverse.  If none is suspicious the text is a read;
otherwise it is tokenized exactly (tokens.py), which takes some ten times as long.

Only the text counts.  A view or an operator may call a function that writes; name such
functions in ``volatile``, and use a read-only server as the last safeguard.  Anything
uncertain is Kind.UNKNOWN, to be treated as a write.
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
"""Maximum characters of a possible read; longer ones are Kind.UNKNOWN."""

_FIRST: Final = re.compile(r"[\s(]*+([^\W\d][\w$]*+)")
_WORDS: Final = re.compile(r"(?!e\d)[a-z_]\w++")
"""Words of two or more letters; one may directly follow a number: ``1e5into``."""
_LOCKING: Final = frozenset((("for", "share"), ("key", "share")))
_ANALYZE: Final = frozenset(("analyze", "analyse"))


class Classifier:
    """Returns the kind of a text; ``volatile`` names functions that may write.

    Names are compared without schema and in lower case.
    """

    def __init__(self, volatile: Iterable[str] = ()) -> None:
        """Take the user's functions; PostgreSQL's own are known."""
        own = {name.rpartition(".")[2].strip('"').lower() for name in volatile}
        changing = CHANGING | own
        self._writing = WRITING | changing | {QUOTED + name for name in changing}
        self._suspicious = self._writing | RUNNING | _ANALYZE | {"share"}
        self._is_quick = all(_WORDS.findall(name) == [name] for name in own)

    def __call__(self, query: str) -> Kind:
        """Return the kind of the first statement that is not a read, else READ."""
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
        """Return whether a text that begins like a read has no suspicious word."""
        end = text.find(END)
        if end >= 0 and not text[end + 1 :].isspace() and end + 1 != len(text):
            return False
        return self._suspicious.isdisjoint(_WORDS.findall(text)) and 'u&"' not in text

    def _exact(self, text: str) -> Kind:
        """Tokenize a text; return the first kind that is not READ, else READ."""
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
        """Return the kind of one statement; an empty one is a read."""
        if not words:
            return Kind.READ
        if tuple(words[:2]) in TRANSACTION_BY_TWO:
            return Kind.TRANSACTION
        kind = BY_FIRST_WORD.get(words[0], Kind.UNKNOWN)
        if kind is Kind.READ and self._writes(words):
            return Kind.WRITE
        return kind

    def _writes(self, words: list[str]) -> bool:
        """Return whether a statement that begins like a read may write."""
        found = set(words)
        if words[0] == "explain":
            if found.isdisjoint(_ANALYZE):
                return False
            if not found.isdisjoint(RUNNING):
                return True
        if not found.isdisjoint(self._writing):
            return True
        return "share" in found and not _LOCKING.isdisjoint(pairwise(words))
