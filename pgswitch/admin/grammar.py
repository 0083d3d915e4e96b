"""The grammar of console statements: text in, one value for a statement out.

A statement is one of these:

* a command word, with at most one argument, then optionally TIMEOUT and seconds;
* SET with a key and a value;
* EXPLAIN ROUTE, optionally with user= and database=, then a query in single quotes.

Command words and keywords may be in any case; arguments are taken as typed. A name that
is not made of letters, digits and underscores stands in double quotes, with a double
quote inside doubled; so may a value of SET, or in single quotes. There is one statement
at a time, or none: drivers ping a server with an empty one. Comments are those of SQL.
SELECT is another word for SHOW.

The docstrings of the ``p_`` and ``t_`` functions are the grammar that ply reads, so
this module does not work under ``python -OO``.
"""

# ruff: noqa: D205, D210, D400, D401, D403 - docstrings are grammar

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple, NoReturn

from pgswitch.config.grammars import machines_of
from pgswitch.errors import BadArguments, InvalidCommand

COMMAND_SIZE: Final = 15
"""Maximum length of a command word in bytes."""
ARGUMENT_SIZE: Final = 63
"""Maximum length of an argument or a key of SET in bytes, as of PostgreSQL names."""
VALUE_SIZE: Final = 255
"""Maximum length of a value of SET in bytes."""


class ConsoleCommand(NamedTuple):
    """A command word in lower case, its argument as typed, its timeout in seconds."""

    verb: str
    argument: str | None = None
    timeout: float | None = None


class Empty(NamedTuple):
    """An empty statement."""


class SetStatement(NamedTuple):
    """A SET statement: key and value as typed, without quotes."""

    key: str
    value: str


class Explanation(NamedTuple):
    """EXPLAIN ROUTE: a query, and the user and database of its client.

    ``user`` and ``database`` are empty if not given.
    """

    query: str
    user: str = ""
    database: str = ""


ConsoleStatement = ConsoleCommand | SetStatement | Explanation | Empty


class _NotInGrammarError(Exception):
    """The text is not a statement; raised and caught in this module only."""


KEYWORDS: Final = {
    "set": "SET",
    "to": "TO",
    "timeout": "TIMEOUT",
    "explain": "EXPLAIN",
    "route": "ROUTE",
}

tokens = ("SET", "TO", "TIMEOUT", "EXPLAIN", "ROUTE", "WORD", "NAME", "STRING")
literals = "=;"
t_ignore = " \t\n\r\f\v"
t_ignore_COMMENT = r"--[^\n]*|/\*(?:[^*]|\*(?!/))*\*/"  # noqa: N816 - ply's


# A word or closing quote must not touch what follows: PAUSE"db" is an error.


def t_WORD(t: Any) -> Any:  # noqa: ANN401 - ply ships no types
    r"""[0-9A-Za-z_]+(?![0-9A-Za-z_"'])"""
    t.type = KEYWORDS.get(t.value.lower(), "WORD")
    return t


def t_NAME(t: Any) -> Any:  # noqa: ANN401 - ply ships no types
    r""" "(?:[^"]|"")*"(?![0-9A-Za-z_"'])"""
    t.value = t.value[1:-1].replace('""', '"')
    return t


def t_STRING(t: Any) -> Any:  # noqa: ANN401 - ply ships no types
    r"""'(?:[^']|'')*'(?![0-9A-Za-z_"'])"""
    t.value = t.value[1:-1].replace("''", "'")
    return t


def t_error(_: object) -> NoReturn:
    """No token begins here."""
    raise _NotInGrammarError


def p_statement(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """
    statement : empty
              | one empty
    one : command
        | setting
        | explanation
    """
    p[0] = p[1]


def p_empty(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """
    empty :
          | empty ';'
    """
    p[0] = Empty()


def p_command(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """
    command : name
            | name argument
            | name limit
            | name argument limit
    """
    words = p[1:]
    timeout = words.pop() if isinstance(words[-1], float) else None
    p[0] = ConsoleCommand(*words)._replace(timeout=timeout)


def p_limit(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """limit : TIMEOUT value"""
    p[0] = _seconds(p[2])


def p_setting(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """
    setting : SET argument '=' text
            | SET argument TO text
    """
    p[0] = SetStatement(p[2], p[4])


def p_explanation(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """explanation : EXPLAIN ROUTE choices STRING"""
    if not p[3].keys() <= {"user", "database"}:
        raise _NotInGrammarError
    p[0] = Explanation(p[4], **p[3])


def p_choices(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """
    choices :
            | choices word '=' text
    """
    p[0] = {} if len(p) == 1 else {**p[1], p[2].lower(): p[4]}


def p_same(p: Any) -> None:  # noqa: ANN401 - ply ships no types
    """
    name : WORD
         | NAME
    argument : word
             | NAME
    value : word
          | STRING
    text : value
         | NAME
    word : WORD
         | SET
         | TO
         | TIMEOUT
         | EXPLAIN
         | ROUTE
    """
    p[0] = p[1]


def p_error(_: object) -> NoReturn:
    """The tokens make no statement."""
    raise _NotInGrammarError


_lexer, _parser = machines_of(sys.modules[__name__])


def parse(text: str) -> ConsoleStatement:
    """Return the statement in ``text``.

    Raises InvalidCommand if it is not one, BadArguments if one of its words is too
    long.
    """
    try:
        # A text may end with tens of thousands of semicolons; each would be a token.
        bare = text.rstrip(f";{t_ignore}")
        statement: ConsoleStatement = _parser.parse(bare, lexer=_lexer.clone())
    except _NotInGrammarError:
        raise InvalidCommand(command=text) from None
    if isinstance(statement, SetStatement):
        _limit(statement.key, ARGUMENT_SIZE)
        _limit(statement.value, VALUE_SIZE)
        return statement
    if not isinstance(statement, ConsoleCommand):
        return statement
    _limit(statement.verb, COMMAND_SIZE)
    _limit(statement.argument or "", ARGUMENT_SIZE)
    verb = statement.verb.lower()
    return statement._replace(verb="show" if verb == "select" else verb)


def _limit(word: str, size: int) -> None:
    """Raise BadArguments for a word of more than ``size`` bytes."""
    if len(word.encode("utf-8", "surrogateescape")) > size:
        raise BadArguments


def _seconds(text: str) -> float:
    """Return the seconds in ``text``, which must be a plain decimal number."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdecimal() or not text.isascii():
        raise _NotInGrammarError
    return float(text)
