"""The grammar of console statements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.admin.grammar import (
    ConsoleCommand,
    ConsoleStatement,
    Empty,
    Explanation,
    SetStatement,
    _lexer,
    parse,
)
from pgswitch.errors import BadArguments, ConsoleError, InvalidCommand


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("SHOW POOLS", ConsoleCommand("show", "POOLS")),
        ("show Pools;", ConsoleCommand("show", "Pools")),
        (" \t\r\nSHOW\nPOOLS ; \n", ConsoleCommand("show", "POOLS")),
        ("select version", ConsoleCommand("show", "version")),
        ("select 1", ConsoleCommand("show", "1")),
        ('"SHOW" pools', ConsoleCommand("show", "pools")),
        ("show", ConsoleCommand("show")),
        ("SHOW POOLS;;", ConsoleCommand("show", "POOLS")),
        ("/* ** a */ SHOW POOLS -- b", ConsoleCommand("show", "POOLS")),
        *((text, Empty()) for text in ("", " ", ";", "; ", ";;", "-- x", "/**/;")),
        ("RELOAD", ConsoleCommand("reload")),
        ("PAUSE bench TIMEOUT 5;", ConsoleCommand("pause", "bench", 5.0)),
        ("pause timeout '2.5'", ConsoleCommand("pause", None, 2.5)),
        ("PAUSE timeout", ConsoleCommand("pause", "timeout")),
        ("PAUSE Bench", ConsoleCommand("pause", "Bench")),
        ('PAUSE "we-b.1"', ConsoleCommand("pause", "we-b.1")),
        ('PAUSE "a""b"', ConsoleCommand("pause", 'a"b')),
        ('PAUSE ""', ConsoleCommand("pause", "")),
        ("PAUSE set", ConsoleCommand("pause", "set")),
        ("PAUSE to", ConsoleCommand("pause", "to")),
        ("KILL_CLIENT 12", ConsoleCommand("kill_client", "12")),
        ("SET a=1", SetStatement("a", "1")),
        ("set A = B;", SetStatement("A", "B")),
        ("SET a TO b", SetStatement("a", "b")),
        ("SET a to 'it''s 1.5'", SetStatement("a", "it's 1.5")),
        ("SET a=''", SetStatement("a", "")),
        ("SET to TO set", SetStatement("to", "set")),
        ('SET "a"="it""s 1.5"', SetStatement("a", 'it"s 1.5')),
        ('SET "we-b" TO ""', SetStatement("we-b", "")),
        ("SHOW explain", ConsoleCommand("show", "explain")),
        ("EXPLAIN ROUTE 'it''s';", Explanation("it's")),
        (
            "explain route user=joe DATABASE=\"we-b.1\" 'SELECT 1'",
            Explanation("SELECT 1", "joe", "we-b.1"),
        ),
        (f"EXPLAIN ROUTE '{'x' * 999}'", Explanation("x" * 999)),
        ("a" * 15, ConsoleCommand("a" * 15)),
        ("PAUSE " + "b" * 63, ConsoleCommand("pause", "b" * 63)),
        (f"SET {'k' * 63}='{'v' * 255}'", SetStatement("k" * 63, "v" * 255)),
    ],
)
def test_a_statement_is_read(text: str, statement: ConsoleStatement) -> None:
    """Each form of the grammar gives its value, arguments as typed."""
    assert parse(text) == statement


@pytest.mark.parametrize(
    "text",
    [
        ";SHOW POOLS",
        "PAUSE bench TIMEOUT",
        "PAUSE bench TIMEOUT x",
        "PAUSE bench TIMEOUT '1e3'",
        "PAUSE bench TIMEOUT 5 6",
        "/* open",
        "SHOW POOLS; SHOW CLIENTS",
        "SHOW pools extra",
        "PAUSE we-b",
        'PAUSE"bench"',
        'PAUSE "bench"x',
        'PAUSE "ben',
        "PAUSE 'bench'",
        "SET",
        "SET x",
        "SET x y",
        "SET x=",
        "SET x=1.5",
        "SET x=-1",
        "SET x='a",
        "SET x=1 2",
        "EXPLAIN",
        "EXPLAIN ROUTE",
        "EXPLAIN POOLS",
        "EXPLAIN ROUTE SELECT",
        "EXPLAIN ROUTE mode=x 'SELECT 1'",
        "EXPLAIN ROUTE 'SELECT 1' user=joe",
        "SHOW pööls",
    ],
)
def test_everything_else_is_refused_with_its_whole_text(text: str) -> None:
    """A text that is no statement is quoted in the error as it was typed."""
    with pytest.raises(InvalidCommand) as caught:
        parse(text)
    assert caught.value.text == f"invalid command '{text}', use SHOW HELP;"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 16,
        "PAUSE " + "b" * 64,
        f'PAUSE "{"é" * 32}"',
        f"SET {'k' * 64}=1",
        f"SET k='{'v' * 256}'",
    ],
)
def test_words_that_are_too_long_are_bad_arguments(text: str) -> None:
    """Each length limit counts bytes, and ends at the reference's number."""
    with pytest.raises(BadArguments):
        parse(text)


@given(st.one_of(st.text(), st.text(alphabet="SETto x='\";=\n\udc80_1")))
def test_any_text_is_a_statement_or_a_console_error(text: str) -> None:
    """Any input raises a console error at worst."""
    try:
        statement = parse(text)
    except ConsoleError:
        return
    assert isinstance(statement, ConsoleCommand | SetStatement | Empty)


def test_semicolons_without_end() -> None:
    """They cost nothing: tokens took six seconds for a million."""
    counted: list[object] = []
    many = ";" * 100_000
    lexer = _Counting(counted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgswitch.admin.grammar._lexer", lexer)
        assert parse(many) == Empty()
        assert parse(f"PAUSE{many}") == ConsoleCommand("pause")
    assert len(counted) < 10


class _Counting:
    """A lexer that counts its tokens."""

    def __init__(self, counted: list[object]) -> None:
        self._counted = counted
        self._lexer = _lexer.clone()

    def clone(self) -> _Counting:
        """Return another that counts with it."""
        return _Counting(self._counted)

    def input(self, text: str) -> None:
        """Begin with a text."""
        self._lexer.input(text)

    def token(self) -> object:
        """Return the next token."""
        self._counted.append(None)
        return self._lexer.token()
