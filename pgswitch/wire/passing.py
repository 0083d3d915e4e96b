"""Skip or classify messages without looking at each: the inner loops of the hot path.

``passing.c`` beside this file is the same in C, built where a compiler is there and
then imported instead (the same names, the same tests).  A result of 130,000 short rows
has as many headers to read; compiled by mypyc each took 80 nanoseconds, a third of
all that the result cost, in C it takes 3.  A query of the extended protocol is five
messages, usually in one chunk; looked at one by one they cost 6,000 of the 17,000
instructions that such a query took outside the kernel, looked at together 300.
"""

from __future__ import annotations

import re
from struct import Struct, error
from typing import Final

from pgswitch.wire.constants import (
    BIND,
    DESCRIBE,
    EXECUTE,
    HEADER_SIZE,
    PARSE,
    QUERY,
    SYNC,
    USES_UNNAMED,
)

_TAG: Final = 3
"""``framing.TAG``: to be looked at if it has one of the lengths below."""
_LENGTHS: Final = (12, 16, 19)
"""Of the CommandComplete of PREPARE, DISCARD ALL and DEALLOCATE ALL, after which a
server has other prepared statements than before."""


_UNNAMED: Final[dict[int, tuple[bytes, ...]]] = {
    PARSE: (b"\0",),
    BIND: (b"\0\0",),
    DESCRIBE: (b"P", b"S\0"),
    EXECUTE: (b"",),
}
"""How the body of a message without a statement's name begins."""

_TAIL: Final = b"D\0\0\0\6P\0E\0\0\0\t\0\0\0\0\0S\0\0\0\4"
"""How nearly every query ends: Describe and Execute of the unnamed portal, Sync."""

_header_at: Final = Struct(">BI").unpack_from
_BEGINNINGS: Final = bytes(letter in b"pPeEdDrR \t\r\n\f\v;-/" for letter in range(256))
_BLANKS: Final = re.compile(rb"(?:[ \t\r\n\f\v;]|--[^\n\r]*)*")
_COMMENT_MARK: Final = re.compile(rb"/\*|\*/")
_KEYWORD: Final = re.compile(
    rb"(?:prepare|execute|explain|deallocate|discard|do|reset)(?![\w$\x80-\xff])",
    re.IGNORECASE,
)


def skip_messages(chunk: bytes, position: int, actions: bytes, limit: int) -> int:
    """Return where the first message begins that needs a look.

    Starts at ``position``, at the beginning of a message, and walks on while the
    header is whole, ``actions`` (256 bytes) lets the type pass, and the length is
    valid: at least 4 and under ``limit``.  The result is behind the end of ``chunk``
    when its last message is cut.
    """
    header_at = _header_at  # a local name is found at once
    try:
        while True:
            kind, length = header_at(chunk, position)
            action = actions[kind]
            if action and (action != _TAG or length in _LENGTHS):
                return position
            if length < HEADER_SIZE - 1 or length >= limit:
                return position
            position += length + 1
    except error:  # to test for a whole header each time would cost more
        return position


def classify_chunk(chunk: bytes, limit: int) -> int:
    """Return what a chunk asks for, if that is one whole query and no more; else 0.

    ======== ======================================================================
    ``Q``    one Query
    ``S``    Parse, Bind, Describe in any number, then one Execute or none, then Sync;
             no statement is named, and the unnamed one is parsed before it is used
    ``U``    the same, but the unnamed one is used first
    ``B``    as ``S``, but the first message is a Bind that names a statement
    ======== ======================================================================

    The result is a type byte.  A text that :func:`suspect` finds makes it 0, so does
    a Bind to a named portal.
    """
    size = len(chunk)
    if chunk.startswith(b"Q"):
        return QUERY if _is_query(chunk, size, limit) else 0
    tail = size - len(_TAIL) if chunk.endswith(_TAIL) else -1
    found = SYNC
    parsed = False
    position = 0
    while size - position >= HEADER_SIZE:
        kind, length = _header_at(chunk, position)
        body = position + HEADER_SIZE
        end = position + 1 + length
        if length < HEADER_SIZE - 1 or length >= limit or end > size:
            break
        if kind == SYNC:
            return found if body == size and position else 0
        if not chunk.startswith(_UNNAMED.get(kind, ()), body, end):
            if position or kind != BIND or not _has_names(chunk, body, end):
                break
            found = BIND
        elif kind == PARSE:
            if suspect(chunk, body + 1, end):
                break
            parsed = True
        elif not parsed and (kind == BIND or chunk[position : body + 1][::5] == b"DS"):
            if found == BIND:
                break
            found = USES_UNNAMED
        if kind == EXECUTE and (size - end != HEADER_SIZE or chunk[end] != SYNC):
            break
        if end == tail:
            return found
        position = end
    return 0


def _is_query(chunk: bytes, size: int, limit: int) -> bool:
    """Tell whether a chunk that begins like a Query is one, and nothing more."""
    return (
        HEADER_SIZE < size <= limit
        and int.from_bytes(chunk[1:HEADER_SIZE], "big") + 1 == size
        and not (
            (_BEGINNINGS[chunk[HEADER_SIZE]] or b";" in chunk)
            and suspect(chunk, HEADER_SIZE, size)
        )
    )


def suspect(chunk: bytes, begin: int, end: int) -> bool:
    """Tell whether a text may be about prepared statements, or reset parameters.

    The text is ``chunk[begin:end]``; one of its statements begins with such a word.
    """
    end = min(end, len(chunk))
    while begin < end:
        if _BEGINNINGS[chunk[begin]]:
            at = _behind_blanks(chunk, begin, end)
            if _KEYWORD.match(chunk, at, end):
                return True
        begin = chunk.find(b";", begin, end) + 1
        if begin == 0:
            break
    return False


def _behind_blanks(chunk: bytes, at: int, end: int) -> int:
    """Return the place behind blanks, comments (which nest) and empty statements."""
    while True:
        blanks = _BLANKS.match(chunk, at, end)
        at = at if blanks is None else blanks.end()
        if not chunk.startswith(b"/*", at, end):
            return at
        depth = 1
        at += 2
        while depth:
            mark = _COMMENT_MARK.search(chunk, at, end)
            if mark is None:
                return end
            depth += 1 if mark[0] == b"/*" else -1
            at = mark.end()


def _has_names(chunk: bytes, body: int, end: int) -> bool:
    """Tell whether a Bind is to the unnamed portal and names a statement."""
    return chunk.startswith(b"\0", body, end) and chunk.find(b"\0", body + 1, end) > 0


def bind_statement(chunk: bytes) -> bytes:
    """Return the statement in the Bind that a chunk begins with.

    The Bind is to the unnamed portal, see :func:`classify_chunk`; else nothing.
    """
    end = chunk.find(b"\0", HEADER_SIZE + 1)
    return chunk[HEADER_SIZE + 1 : end] if end > 0 else b""


def rename_bind(chunk: bytes, before: bytes, after: bytes) -> bytes:
    """Return a chunk with the statement in its Bind renamed.

    The chunk begins with that Bind, to the unnamed portal and of ``before``.
    Raises ValueError for a chunk that is too short for that.
    """
    rest_at = HEADER_SIZE + 1 + len(before)
    if len(chunk) <= rest_at:
        raise ValueError("the Bind is cut")
    length = int.from_bytes(chunk[1:HEADER_SIZE], "big") + len(after) - len(before)
    return b"B%b\0%b%b" % (length.to_bytes(4, "big"), after, chunk[rest_at:])
