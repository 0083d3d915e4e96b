"""Finds prepared statements in SQL texts: PREPARE, EXECUTE, DEALLOCATE.

A text is tokenized as by PostgreSQL's scanner (manual, "Lexical Structure"), so nothing
inside a string, a comment or a quoted name is taken for a statement.  Only texts with
one of these words at the beginning of a statement get here, see ``suspect`` in
passing.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

PREPARE: Final = "PREPARE"
DEALLOCATE: Final = "DEALLOCATE"
DEALLOCATE_ALL: Final = "DEALLOCATE ALL"
DISCARD_ALL: Final = "DISCARD ALL"
"""Actions; each is the command tag that reports it as done."""

MAX_NAME_LENGTH: Final = 63
"""Maximum significant bytes of an identifier (NAMEDATALEN - 1)."""

_NAME: Final = rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*"
# All repeats over quoted text are possessive: they take no memory.
_TOKEN = re.compile(
    rb"(?P<blank>(?:\s+|--[^\n\r]*+)++)"
    rb"|(?P<comment>/\*)"
    rb"|(?P<string>[eE]'(?:[^'\\]++|\\.|'')*+'?"
    rb"|(?:[uU]&|[bBxXnN])?'(?:[^']++|'')*+'?)"
    rb"|(?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)"
    rb'|(?P<quoted>"(?:[^"]++|"")*+"?)'
    rb"|(?P<word>" + _NAME + rb")"
    rb"|(?P<end>;[\s;]*+)"
    rb"|(?P<other>\d[\w.$]*|.)",
    re.DOTALL,
)
_ESCAPED_STRING = re.compile(rb"'(?:[^'\\]++|\\.|'')*+'?", re.DOTALL)
"""An ordinary string while standard_conforming_strings is off."""
_COMMENT_ENDS = re.compile(rb"/\*|\*/")
_FEW_WORDS: Final = 4
"""This many words identify a statement, except for an EXECUTE later in it."""
_MARK = re.compile(
    rb"['\";]|(?<![\w$\x80-\xff])(?:\$|(?:[eE]|[uU]&|[bBxXnN])')|--|/\*"
    rb"|(?<![\w$\x80-\xff])[eE][xX][eE][cC][uU][tT][eE](?![\w$\x80-\xff])"
)
"""The beginnings of relevant tokens: strings, comments, semicolons, EXECUTE."""
_MENTIONED = re.compile(
    rb'\b(?:execute|deallocate)\s+(?:prepare\s+)?("(?:[^"]|"")+"|' + _NAME + rb")",
    re.IGNORECASE,
)
"""Statements named in the body of a DO, which is a string."""
_TRANSACTION_ENDS: Final = (b"rollback", b"abort", b"commit", b"end")


class Action(NamedTuple):
    """What a statement does to prepared statements when it is executed."""

    kind: str
    """One of the four actions above."""
    name: bytes
    """The name as PostgreSQL stores it; empty for all statements."""
    text: bytes
    """The statement, without its semicolon; see :func:`_portable`."""


class SqlText(NamedTuple):
    """The facts about a text."""

    text: bytes
    actions: tuple[Action, ...]
    """In the order of execution."""
    mentioned: tuple[bytes, ...]
    """Names of the statements that must exist when the text runs."""
    resets: bool
    """It resets parameters to the session's initial values."""
    restart: int
    """Index of the second statement, if the first ends a transaction; else 0."""


def read(text: bytes, *, escapes: bool = False) -> SqlText:
    """Return the facts about a text; it may end with a NUL.

    ``escapes``: backslashes in ordinary strings are escapes
    (standard_conforming_strings is off).
    """
    actions: list[Action] = []
    mentioned: list[bytes] = []
    resets = False
    restart = 0
    number = 0
    for begin, end, words in statements_in(text.rstrip(b"\0"), escapes=escapes):
        first = words[0].lower()
        if number == 1 and restart:
            restart = begin
        restart = 1 if number == 0 and first in _TRANSACTION_ENDS else restart
        number += 1
        action = _action(words, text[begin:end])
        resets = resets or first == b"reset"
        if action is not None:
            resets = resets or action.kind == DISCARD_ALL
            if b"\\" in action.text:
                action = action._replace(text=_portable(action.text, escapes=escapes))
            actions.append(action)
            if action.name:
                mentioned.append(action.name)
        mentioned += [
            folded(name) for word, name in pairwise(words) if word.lower() == b"execute"
        ]
        if first == b"do":
            mentioned += map(folded, _MENTIONED.findall(text[begin:end]))
    return SqlText(
        text,
        tuple(actions),
        tuple(dict.fromkeys(mentioned)),
        resets,
        restart if number > 1 else 0,
    )


def _action(words: list[bytes], text: bytes) -> Action | None:
    """Return a statement's action by its words, in which a string is ``'``."""
    first = words[0].lower()
    rest = words[1:]
    if first == b"deallocate" and rest[1:] and rest[0].lower() == b"prepare":
        rest = rest[1:]
    if not rest or rest[0] == b"'":
        return None
    is_all = rest[0].lower() == b"all"
    if first == b"prepare":
        # PREPARE TRANSACTION 'name' is another command.
        return None if rest[1:2] == [b"'"] else Action(PREPARE, folded(rest[0]), text)
    if first == b"deallocate":
        return (
            Action(DEALLOCATE_ALL, b"", text)
            if is_all
            else Action(DEALLOCATE, folded(rest[0]), text)
        )
    if first == b"discard" and is_all:
        return Action(DISCARD_ALL, b"", text)
    return None


def statements_in(
    text: bytes, *, escapes: bool, enough: int = _FEW_WORDS, whole: bool = True
) -> Iterator[tuple[int, int, list[bytes]]]:
    """Yield begin, end and words of each nonempty statement.

    A string is the word ``'``, and signs are words too.  After ``enough`` words, the
    rest of a statement's words may be missing; unless ``whole``, iteration stops there.
    The end of a statement is its semicolon or the end of the text.
    """
    words: list[bytes] = []
    begin = at = 0
    while at < len(text):
        if len(words) >= enough and words[-1].lower() != b"execute":
            # Little of a statement's rest matters.
            mark = _MARK.search(text, at) if whole else None
            if mark is None:
                at = len(text) if whole else at
                break
            at = mark.start()
        kind, end = _token(text, at, escapes=escapes)
        if kind == "end":
            if words:
                yield begin, at, words
            words = []
        elif kind:
            begin = begin if words else at
            words.append(b"'" if kind == "string" else text[at:end])
        at = end
    if words:
        yield begin, at, words


def _portable(text: bytes, *, escapes: bool) -> bytes:
    """Return a statement that does not depend on standard_conforming_strings.

    An ordinary string with a backslash becomes an E'' string.
    """
    parts: list[bytes] = []
    at = 0
    while (mark := _MARK.search(text, at)) is not None:
        parts.append(text[at : mark.start()])
        kind, end = _token(text, mark.start(), escapes=escapes)
        token = text[mark.start() : end]
        if kind == "string" and token.startswith(b"'") and b"\\" in token:
            token = b" E" + (token if escapes else token.replace(b"\\", b"\\\\"))
        parts.append(token)
        at = end
    parts.append(text[at:])
    return b"".join(parts)


def _token(text: bytes, at: int, *, escapes: bool) -> tuple[str, int]:
    """Return kind and end of the token at an index; no kind for space and comments."""
    token = _TOKEN.match(text, at)
    assert token is not None  # noqa: S101 - the last alternative matches any byte
    end = token.end()
    kind = token.lastgroup or ""
    if kind == "comment":
        return "", _comment_end(text, end)
    if kind == "dollar":
        close = text.find(token[0], end)
        return "string", len(text) if close < 0 else close + len(token[0])
    if kind == "string" and escapes and token[0].startswith(b"'"):
        escaped = _ESCAPED_STRING.match(text, at)
        return kind, end if escaped is None else escaped.end()
    return "" if kind == "blank" else kind, end


def _comment_end(text: bytes, at: int) -> int:
    """Return the end of a comment whose ``/*`` ends at ``at``; comments nest."""
    depth = 1
    while depth:
        mark = _COMMENT_ENDS.search(text, at)
        if mark is None:
            return len(text)
        depth += 1 if mark[0] == b"/*" else -1
        at = mark.end()
    return at


def folded(name: bytes) -> bytes:
    """Return an identifier as PostgreSQL stores it (manual, "Identifiers")."""
    if name.startswith(b'"'):
        return name[1:-1].replace(b'""', b'"')[:MAX_NAME_LENGTH]
    return name.lower()[:MAX_NAME_LENGTH]
