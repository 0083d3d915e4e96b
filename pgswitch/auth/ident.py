r"""Ident maps, and the tokenizer that they share with HBA files.

A map says which system user or certificate may log in as which database user.

A line is ``map system-name database-user``.  A system name that begins with a slash
is a regular expression; ``\1`` in the database user then stands for its first group.
``all`` in place of the database user means every user.  (PostgreSQL's manual, "User
Name Maps"; regular expressions are Python's.)

:func:`tokenize` takes one line of text and returns its fields.  A field is a list of
words with commas between; blanks separate fields.  A word may have parts in double
quotes, in which blanks, commas and ``#`` have no special meaning and ``""`` stands for
one quote.  ``#`` begins a comment.  (The manual, "The pg_hba.conf File".)

The docstrings of the ``p_`` and ``t_`` functions are the grammar that ply reads, so
this module does not work under ``python -OO``.
"""

# A docstring below is a rule that ply reads, and ply's objects have no types.
# ruff: noqa: ANN401, D205, D300, D400, D403

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from pgswitch.config.grammars import machines_of

_FIELDS: Final = 3


class MapLine(NamedTuple):
    """One line of one map; ``name`` is unused if ``pattern`` is set."""

    name: str
    pattern: re.Pattern[str] | None
    user: str
    every_user: bool

    def allows(self, system_name: str, user: str) -> bool:
        """Tell whether the line lets this system user be this database user."""
        mapped = self.user
        if self.pattern is None:
            if system_name != self.name:
                return False
        else:
            found = self.pattern.search(system_name)
            if found is None:
                return False
            if self.pattern.groups:
                mapped = mapped.replace(r"\1", found[1] or "")
        return self.every_user or mapped == user


class IdentMap:
    """All lines of one name."""

    def __init__(self, lines: tuple[MapLine, ...]) -> None:
        """Take the lines; their order does not matter."""
        self._lines = lines

    def allows(self, system_name: str, user: str) -> bool:
        """Tell whether any line lets this system user be this database user."""
        return any(line.allows(system_name, user) for line in self._lines)


class IdentProblem(NamedTuple):
    """A line that cannot be parsed, and is left out."""

    line: int
    reason: str


def parse_ident(text: str) -> tuple[Mapping[str, IdentMap], list[IdentProblem]]:
    """Return the maps by name, and the lines that cannot be parsed."""
    maps: dict[str, list[MapLine]] = {}
    problems: list[IdentProblem] = []
    for number, line in logical_lines(text):
        try:
            found = tokenize(line)
            if found:
                name, entry = _line([word for field in found for word in field])
                maps.setdefault(name, []).append(entry)
        except (TokenizeError, re.error) as error:
            problems.append(IdentProblem(number, str(error)))
    return {name: IdentMap(tuple(lines)) for name, lines in maps.items()}, problems


def _line(words: list[Token]) -> tuple[str, MapLine]:
    if len(words) != _FIELDS:
        raise TokenizeError("not a map, a system name and a database user")
    name, system, user = words
    pattern = None
    if not system.is_quoted and system.text.startswith("/"):
        pattern = re.compile(system.text[1:])
    if r"\1" in user.text and pattern is not None and not pattern.groups:
        raise TokenizeError(r"\1 without a group in the regular expression")
    return name.text, MapLine(
        system.text, pattern, user.text, every_user=user.is_keyword("all")
    )


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers; a backslash at the end joins the next one.

    A joined line has the number of its first.
    """
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        if line.endswith("\\"):
            held += line[:-1]
            continue
        yield first, held + line
        held, first = "", 0
    if held:
        yield first, held


# The tokenizer.

_PART: Final = re.compile(r'"((?:[^"]|"")*)"|([^"]+)')


class TokenizeError(ValueError):
    """The line cannot be split into fields."""


class Token(NamedTuple):
    """One word without its quotes.

    A keyword in quotes is a plain name: ``is_quoted`` if the word begins with a quote.
    ``end`` is the index of the character after it.
    """

    text: str
    is_quoted: bool
    end: int

    def is_keyword(self, *keywords: str) -> bool:
        """Tell whether it is one of these keywords, without quotes."""
        return not self.is_quoted and self.text in keywords


TokenGroup = tuple[Token, ...]


def tokenize(line: str) -> list[TokenGroup]:
    """Return the fields of a line, none for one that is empty or all comment.

    Raises TokenizeError, whose text never contains the line.
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
