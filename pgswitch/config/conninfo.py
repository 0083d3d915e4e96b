r"""Parses connection strings: ``key=value`` pairs separated by spaces.

The values of ``[databases]``, ``[users]`` and ``[peers]`` are written like this. A
value is either bare, up to the next space, or in single quotes, where ``''`` and
``\'`` stand for one quote. A value may not be empty. The string is one line.
"""

from __future__ import annotations

import re

_SPACE = r"[ \t\r\n\f\v]*+"
# A quote ends the value only before a space or at the end. So a backslash before the
# last quote is an ordinary character where it cannot be an escape.
_PAIR = re.compile(
    rf"""
    (?P<key> [^\s=']+ ) {_SPACE}
    (?:
        = {_SPACE}
        (?: (?P<bare> [^\s']\S* )
          | (?P<quoted> ' (?: [^'\\] | '' | \\' | \\ )* ' ) (?!\S)
        )?
    )?
    """,
    re.VERBOSE,
)
_SPACES = re.compile(_SPACE)
_QUOTES = re.compile(r"(\\?)('+)")


class ConninfoSyntaxError(ValueError):
    """The text is not a connection string; says where, and never shows a value."""

    def __init__(self, position: int | None) -> None:
        """Take the index of the first wrong character, None for the end of the text."""
        where = "at its end" if position is None else f"at character {position + 1}"
        super().__init__(where)


def parse_conninfo(text: str) -> list[tuple[str, str]]:
    """Return the pairs of ``text`` in order, repeated keys included.

    Raises ``ConninfoSyntaxError``.
    """
    pairs = []
    position = _after_spaces(text, 0)
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ConninfoSyntaxError(position)
        key, bare, quoted = pair.groups()
        if bare is None and quoted is None:
            end = pair.end()
            raise ConninfoSyntaxError(end if end < len(text) else None)
        value = bare or _QUOTES.sub(_unescape, quoted[1:-1])
        if not value:
            raise ConninfoSyntaxError(pair.start("quoted"))
        pairs.append((key, value))
        position = _after_spaces(text, pair.end())
    return pairs


def _after_spaces(text: str, position: int) -> int:
    """Return the index of the first character at or after ``position`` to look at."""
    spaces = _SPACES.match(text, position)
    return position if spaces is None else spaces.end()


def _unescape(found: re.Match[str]) -> str:
    # An odd number of quotes begins with an escaped one. An even number is doubled
    # quotes only, and a backslash before them is an ordinary character.
    backslash, quotes = found.groups()
    if len(quotes) % 2 == 1:
        return "'" * ((len(quotes) + 1) // 2)
    return backslash + "'" * (len(quotes) // 2)
