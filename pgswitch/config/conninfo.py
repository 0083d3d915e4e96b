r"""Grammar of connection strings: ``key=value`` pairs divided by blanks.

The values of ``[databases]``, ``[users]`` and ``[peers]`` are written so. A value is
either bare, up to the next blank, or in single quotes, where ``''`` and ``\'`` stand
for one quote. A value may not be empty. The string is one line.
"""

# A docstring below is a rule that ply reads, and ply's objects have no types.
# ruff: noqa: ANN401, D205, D300, D400, D403

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from pgswitch.config.grammars import machines_of

_QUOTES = re.compile(r"(\\?)('+)")


class ConninfoSyntaxError(ValueError):
    """The text is no connection string; says where, and never shows a value."""

    def __init__(self, position: int | None) -> None:
        """Take the first wrong character's index, None for the end of the text."""
        where = "at its end" if position is None else f"at character {position + 1}"
        super().__init__(where)


def parse_conninfo(text: str) -> list[tuple[str, str]]:
    """Return the pairs of ``text`` in order, a repeated key repeated.

    Raises ``ConninfoSyntaxError``.
    """
    lexer, parser = _machines()
    pairs: list[tuple[str, str]] = parser.parse(text, lexer=lexer.clone())
    return pairs


class _ConninfoGrammar:
    """Tokens and rules, as ply wants them: regular expressions and productions."""

    tokens = ("KEY", "EQUALS", "BARE", "QUOTED")
    states: Sequence[tuple[str, str]] = (("value", "exclusive"),)
    t_ANY_ignore = " \t\r\n\f\v"
    t_KEY = r"[^\s=']+"

    def t_EQUALS(self, token: Any) -> Any:
        r"="
        token.lexer.begin("value")
        return token

    # A quote ends the value only in front of a blank or at the end. So a backslash
    # before the last quote is taken for itself where it cannot be an escape.
    def t_value_QUOTED(self, token: Any) -> Any:
        r"'(?:[^'\\]|''|\\'|\\)*'(?!\S)"
        token.value = _QUOTES.sub(_unescape, token.value[1:-1])
        token.lexer.begin("INITIAL")
        return token

    def t_value_BARE(self, token: Any) -> Any:
        r"[^\s']\S*"
        token.lexer.begin("INITIAL")
        return token

    def t_ANY_error(self, token: Any) -> None:
        raise ConninfoSyntaxError(token.lexpos)

    def p_none(self, p: Any) -> None:
        "pairs :"
        p[0] = []

    def p_more(self, p: Any) -> None:
        "pairs : pairs KEY EQUALS value"
        p[0] = [*p[1], (p[2], p[4])]

    def p_value(self, p: Any) -> None:
        """
        value : BARE
              | QUOTED
        """
        if not p[1]:
            raise ConninfoSyntaxError(p.lexpos(1))
        p[0] = p[1]

    def p_error(self, token: Any) -> None:
        raise ConninfoSyntaxError(None if token is None else token.lexpos)


def _unescape(found: re.Match[str]) -> str:
    # An odd run of quotes inside a quoted value begins with an escaped one; an even
    # run is doubled quotes only, and a backslash before it stands for itself.
    backslash, quotes = found.groups()
    if len(quotes) % 2 == 1:
        return "'" * ((len(quotes) + 1) // 2)
    return backslash + "'" * (len(quotes) // 2)


@functools.cache
def _machines() -> tuple[Any, Any]:
    """Return the lexer and the parser, built at the first use."""
    return machines_of(_ConninfoGrammar())
