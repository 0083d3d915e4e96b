"""Where the fields of a Query, Parse, Bind or Describe stand in the chunk they came in.

Only the field asked for is copied.  A message begins at ``start``, and ``end`` is the
place behind it.  The layouts are those of the manual's "Message Formats"; a message
that breaks them is recognised, and left to the server.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final

from pgswitch.wire.constants import BIND, HEADER_SIZE, PARSE, PREPARED_STATEMENT

MAX_NAME_LENGTH: Final = 65536
"""Longest name of a statement or portal; PostgreSQL looks at 63 bytes of it."""
TO_COME: Final = -1
"""The end of a name has not come yet."""
TOO_LONG: Final = -2
"""A name is longer than MAX_NAME_LENGTH."""
_NO_TYPES: Final = b"\0\0\0"
"""How a Parse without parameter types ends, the zero byte of its text included."""


def text_in(chunk: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the text of a Query or Parse begins and ends; -1: it has no end."""
    begin = start + HEADER_SIZE
    after = end - 1
    if chunk[start] == PARSE:
        if begin >= end:
            return 0, -1
        # An unnamed one needs no search.
        begin = chunk.find(b"\0", begin, end) + 1 if chunk[begin] else begin + 1
        # Nor does the end of a text if no parameter types follow.
        after = end - len(_NO_TYPES)
        if begin == 0 or after < begin or chunk[after:end] != _NO_TYPES:
            return begin, chunk.find(b"\0", begin, end) if begin else -1
        if 0 in chunk[begin:after]:
            return begin, chunk.find(b"\0", begin, after)
        return begin, after
    if after < begin or chunk[after] or 0 in chunk[begin:after]:
        return begin, -1
    return begin, after


def names_in(chunk: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the names in a Bind end, the portal's and the statement's.

    The second is negative if it is unknown: TO_COME, or one of them is TOO_LONG.
    """
    portal = name_end(chunk, start + HEADER_SIZE, end)
    return portal, name_end(chunk, portal + 1, end) if portal >= 0 else portal


def name_end(chunk: bytes, begin: int, end: int) -> int:
    """Return where the name at ``begin`` ends; or TO_COME, or TOO_LONG."""
    limit = begin + MAX_NAME_LENGTH + 1
    at = chunk.find(b"\0", begin, min(end, limit))
    if at >= 0:
        return at
    return TOO_LONG if min(end, len(chunk)) >= limit else TO_COME


def statement_in(chunk: bytes, start: int, end: int) -> bytes:
    """Return the statement that a Bind or Describe names; nothing if it names none."""
    if chunk[start] == BIND:
        portal, name = names_in(chunk, start, end)
        return chunk[portal + 1 : name] if name >= 0 else b""
    begin = start + HEADER_SIZE
    if begin >= end or chunk[begin] != PREPARED_STATEMENT:
        return b""
    name = chunk.find(b"\0", begin, end)
    return chunk[begin + 1 : name] if name >= 0 else b""
