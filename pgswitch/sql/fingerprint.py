"""A short name for statements that differ only in their values, for the log.

The log must not show the values in a statement, but an operator must be able to tell
statements apart.
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
MAX_BYTES = 65536
"""Only this much of a text counts."""


def fingerprint(text: bytes) -> str:
    """Return a statement's first word and a digest of its text without the values."""
    bare = _VALUES.sub(b"?", text[:MAX_BYTES])
    bare = _BLANK.sub(b" ", bare).strip(b" ;\0").lower()
    bare = _LISTS.sub(b"?", bare)
    word = _WORD.match(bare)
    digest = blake2b(bare, digest_size=DIGEST_BYTES).hexdigest()
    return f"{word[0].decode().upper() if word else '?'} {digest}"
