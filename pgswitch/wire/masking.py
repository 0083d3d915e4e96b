"""Masks passwords in texts that operators see."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_GAP: Final = r"(?>\s|/\*.{0,500}?\*/|--[^\n]*(?:\n|\Z))*+"
"""Spaces and comments, matched possessively: a client chooses the text, and trying all
possible ends of a comment could take forever.
"""
_QUOTED: Final = r"'(?:[^'\\]|''|\\.)*(?:'|\Z)"
_INNER: Final = r"(?:''[^']+(?:''|\Z)|\\'(?:[^'\\]|\\[^'])*(?:\\'|\Z))"
"""A string inside a string: between doubled or backslash-escaped quotes."""
_SECRET: Final = re.compile(
    rf"""
    (?P<before>passw(?:or)?d["']*{_GAP})
    (?:
        {_INNER}
      | (?:e|u&)?{_QUOTED}(?:{_GAP}{_QUOTED})*          # also in several pieces
      | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
      | (?P<equals>[=:]{_GAP})
        (?:
            {_INNER}
          | (?:e|u&)?{_QUOTED}
          | "[^"]*(?:"|\Z)
          | [^\s'",;()]+
        )
    )
  | (?P<address>postgres(?:ql)?://[^\s'":@/]*:)[^\s'"@/]*
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
"""``PASSWORD 'x'`` as in ALTER ROLE and OPTIONS, ``password=x`` as in CONNECTION, and
``postgresql://user:x@host``.

In a text that was cut inside a password, the password extends to the end.
"""
may_have_password: Final = re.compile("passw|postgres(?:ql)?://", re.IGNORECASE).search
"""A fast check that rules out most texts."""


def masked(text: str) -> str:
    """Return SQL, or a text with SQL in it, with all passwords as ``***``."""
    if not may_have_password(text):
        return text
    return _SECRET.sub(_without, text)


def _without(found: re.Match[str]) -> str:
    if found["address"] is not None:
        return f"{found['address']}{MASK}"
    return f"{found['before']}{found['equals'] or ''}{MASK}"
