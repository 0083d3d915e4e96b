"""Passwords in texts that are shown to an operator are not shown."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_GAP: Final = r"(?>\s|/\*.{0,500}?\*/|--[^\n]*(?:\n|\Z))*+"
"""Space and comments.  Taken whole or not at all: where a comment may end at any of
many places, to try them all would take for ever, and strangers write what is looked at.
"""
_QUOTED: Final = r"'(?:[^'\\]|''|\\.)*(?:'|\Z)"
_INNER: Final = r"(?:''[^']+(?:''|\Z)|\\'(?:[^'\\]|\\[^'])*(?:\\'|\Z))"
"""In a text within a text: between doubled quotes, or quotes behind backslashes."""
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

A text that was cut amid a password ends with it.
"""
may_tell: Final = re.compile("passw|postgres(?:ql)?://", re.IGNORECASE).search
"""Tells at once of most texts that they have no password in them."""


def masked(text: str) -> str:
    """Return a text, of SQL or around it, with all passwords as ``***``."""
    if not may_tell(text):
        return text
    return _SECRET.sub(_without, text)


def _without(found: re.Match[str]) -> str:
    if found["address"] is not None:
        return f"{found['address']}{MASK}"
    return f"{found['before']}{found['equals'] or ''}{MASK}"
