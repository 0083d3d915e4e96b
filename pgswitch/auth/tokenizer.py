"""The words of HBA and ident files: one line of text in, its fields out.

A field is a list of words with commas between; blanks divide fields. A word may have
parts in double quotes, in which blanks, commas and ``#`` are nothing special and
``""`` stands for one quote. ``#`` begins a comment. (PostgreSQL's manual, "The
pg_hba.conf File".)

The docstrings of the ``p_`` and ``t_`` functions are the grammar that ply reads, so
this module does not work under ``python -OO``.
"""

# A docstring below is a rule that ply reads, and ply's objects have no types.
# ruff: noqa: ANN401, D205, D300, D400, D403

from __future__ import annotations

import functools
import re
from typing import Any, Final, NamedTuple, NoReturn

from pgswitch.config.grammars import machines_of

_PART: Final = re.compile(r'"((?:[^"]|"")*)"|([^"]+)')


class TokenizeError(ValueError):
    """The line does not come apart into fields."""


class Token(NamedTuple):
    """One word without its quotes.

    A keyword in quotes is a plain name: ``is_quoted`` if the word begins with a quote.
    ``end`` is where its line goes on behind it.
    """

    text: str
    is_quoted: bool
    end: int

    def is_keyword(self, *keywords: str) -> bool:
        """Tell whether it is one of these words, and means it."""
        return not self.is_quoted and self.text in keywords


TokenGroup = tuple[Token, ...]


def tokenize(line: str) -> list[TokenGroup]:
    """Return the fields of a line, none for one that is empty or all comment.

    Raises WordsError, which never shows the text.
    """
    lexer, parser = _machines()
    found: list[TokenGroup] = parser.parse(line, lexer=lexer.clone())
    return found


class _TokenGrammar:
    """Tokens and rules, as ply wants them: regular expressions and productions."""

    tokens = ("WORD", "COMMA")
    t_ignore = " \t\r\f\v"
    t_ignore_COMMENT = r"\#.*"
    t_COMMA = r","

    def t_WORD(self, token: Any) -> Any:
        r'(?:"(?:[^"]|"")*"|[^\s,"\#])+'
        text = token.value
        end = token.lexpos + len(text)
        token.value = Token(_unquoted(text), text.startswith('"'), end)
        return token

    def t_error(self, token: Any) -> NoReturn:
        raise TokenizeError(f"a quote without end at character {token.lexpos + 1}")

    def p_line(self, p: Any) -> None:
        """
        line :
             | line field
        """
        p[0] = [] if len(p) == 1 else [*p[1], tuple(p[2])]

    def p_field(self, p: Any) -> None:
        """
        field : WORD
              | field COMMA WORD
        """
        p[0] = [p[1]] if len(p) == len((0, 1)) else [*p[1], p[3]]

    def p_error(self, token: Any) -> NoReturn:
        where = "the end" if token is None else f"character {token.lexpos + 1}"
        raise TokenizeError(f"a comma without a word at {where}")


def _unquoted(text: str) -> str:
    return "".join(
        plain or quoted.replace('""', '"') for quoted, plain in _PART.findall(text)
    )


@functools.cache
def _machines() -> tuple[Any, Any]:
    """Return the lexer and the parser, built at the first use."""
    return machines_of(_TokenGrammar())
