"""A short name for all statements that differ in their values only, for the log.

The log must not show what a client writes, but an operator must be able to tell one
statement from another.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_VALUES = re.compile(
    rb"\$([a-z_]\w*|)\$.*?\$\1\$"  # dollar-quoted
    rb"|[exbn]?'(?:[^'\\]|''|\\.)*'"
    rb"|\$\d+|(?<![\w.])\d[\d.]*(?:e[+-]?\d+)?",
    re.IGNORECASE | re.DOTALL,
)
_BLANK = re.compile(rb"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)+", re.DOTALL)
_LISTS = re.compile(rb"\?(?: ?, ?\?)+")
_WORD = re.compile(rb"[a-z]+")
DIGEST_BYTES = 6
MOST_BYTES = 65536
"""Of a longer text only the beginning counts."""


def fingerprint(text: bytes) -> str:
    """Return the first word of a statement and a digest of it without its values."""
    bare = _VALUES.sub(b"?", text[:MOST_BYTES])
    bare = _BLANK.sub(b" ", bare).strip(b" ;\0").lower()
    bare = _LISTS.sub(b"?", bare)
    word = _WORD.match(bare)
    digest = blake2b(bare, digest_size=DIGEST_BYTES).hexdigest()
    return f"{word[0].decode().upper() if word else '?'} {digest}"
