"""Passwords in texts that are shown to an operator are not shown."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_GAP: Final = r"(?:\s|/\*.*?\*/|--[^\n]*(?:\n|\Z))*"
_QUOTED: Final = r"'(?:[^'\\]|''|\\.)*(?:'|\Z)"
_SECRET: Final = re.compile(
    rf"""
    (?P<before>password["']*{_GAP})
    (?:
        (?:e|u&)?{_QUOTED}(?:\s*\n\s*{_QUOTED})*        # also in several pieces
      | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
      | (?P<equals>[=:]{_GAP})
        (?:
            ''[^']+(?:''|\Z)                            # in a text within a text
          | (?:e|u&)?{_QUOTED}
          | "[^"]*(?:"|\Z)
          | [^\s'",;()]+
        )
    )
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
"""``PASSWORD 'x'`` as in ALTER ROLE and OPTIONS, ``password=x`` as in CONNECTION.

A text that was cut amid a password ends with it.
"""


def masked(text: str) -> str:
    """Return a text, of SQL or around it, with all passwords as ``***``."""
    if "password" not in text.lower():
        return text
    return _SECRET.sub(_without, text)


def _without(found: re.Match[str]) -> str:
    return f"{found['before']}{found['equals'] or ''}{MASK}"
