"""Walking over messages that only pass, compiled or not: the same answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.wire.framing import TAG, action_table
from pgswitch.wire.passing import (
    bind_statement,
    classify_chunk,
    rename_bind,
    skip_messages,
    suspect,
)
from tests.fakes.messages import READY, message, query

ACTIONS = action_table(0, {ord("Z"): 1, ord("S"): 2})
ROW = b"D\0\0\0\x06ab"
LIMIT = 1000

PARSE = message(b"P", b"\0SELECT $1\0\0\0")
BIND = message(b"B", bytes(8))
NAMED_BIND = message(b"B", b"\0name\0" + bytes(6))
DESCRIBE = message(b"D", b"P\0")
EXECUTE = message(b"E", bytes(5))
SYNC = message(b"S")
BATCH = PARSE + BIND + DESCRIBE + EXECUTE + SYNC


@pytest.mark.parametrize(
    ("chunk", "position", "found"),
    [
        (b"", 0, 0),
        (ROW, 0, 7),
        (ROW * 3, 0, 21),
        (ROW * 3, 7, 21),
        (ROW * 3 + READY, 0, 21),
        (READY + ROW, 0, 0),
        (ROW + b"D\0\0\0", 0, 7),
        (ROW + b"D\0\0\0\x09a", 0, 17),
        (ROW + b"S\0\0\0\x04", 0, 7),
        (ROW, 9, 9),
        (ROW + b"D\0\0\0\x03", 0, 7),
        (ROW + b"D\0\0\x03\xe7", 0, 1007),
        (ROW + b"D\0\0\x03\xe8", 0, 7),
        (ROW + b"D\xff\xff\xff\xff", 0, 7),
    ],
)
def test_pass_over(chunk: bytes, position: int, found: int) -> None:
    """It stops at a cut header, a type with an action, a bad length, the end."""
    assert skip_messages(chunk, position, ACTIONS, LIMIT) == found


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(0, 60))
def test_a_cut_stream(sizes: list[int], cut: int) -> None:
    """Wherever a stream is cut, the walk ends at the first message not whole."""
    chunk = b"".join(b"D" + (4 + n).to_bytes(4, "big") + b"x" * n for n in sizes)
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + 5 + size)
    cut = min(cut, len(chunk))
    wanted = next(end for end in ends if end + 5 > cut or end == ends[-1])
    assert skip_messages(chunk[:cut], 0, ACTIONS, LIMIT) == wanted


@pytest.mark.parametrize(
    ("tag", "passes"),
    [
        (b"DISCARD ALL", False),
        (b"DEALLOCATE ALL", False),
        (b"PREPARE", False),
        (b"DEALLOCATE", True),
        (b"SELECT 12345", True),
        (b"", True),
    ],
)
def test_tags(tag: bytes, *, passes: bool) -> None:
    """Only what is as long as one of three tags is to be looked at."""
    chunk = ROW + message(b"C", tag + b"\0")
    actions = action_table(0, {ord("C"): TAG})
    assert skip_messages(chunk, 0, actions, LIMIT) == (
        len(chunk) if passes else len(ROW)
    )


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        (query("SELECT 1"), "Q"),
        (query(""), "Q"),
        (BATCH, "S"),
        (PARSE + SYNC, "S"),
        (PARSE + message(b"D", b"S\0") + SYNC, "S"),
        (BIND + EXECUTE + SYNC, "U"),
        (BIND + DESCRIBE + EXECUTE + SYNC, "U"),
        (message(b"D", b"S\0") + SYNC, "U"),
        (message(b"D", b"S\0") + PARSE + BIND + EXECUTE + SYNC, "U"),
        (BIND + PARSE + SYNC, "U"),
        (DESCRIBE + SYNC, "S"),
        (EXECUTE + SYNC, "S"),
        (PARSE + PARSE + BIND + BIND + EXECUTE + SYNC, "S"),
        (
            BIND
            + message(b"D", b"Pportal\0")
            + message(b"E", b"portal\0\0\0\0\0")
            + SYNC,
            "U",
        ),
        (query("Delete FROM t"), "Q"),
        (query("  dance; selection"), "Q"),
        (message(b"P", b"\0do_it()\0\0\0") + SYNC, "S"),
        (NAMED_BIND + EXECUTE + SYNC, "B"),
        (NAMED_BIND + PARSE + DESCRIBE + EXECUTE + SYNC, "B"),
    ],
)
def test_asked(chunk: bytes, kind: str) -> None:
    """One Query, or unnamed messages up to the only Sync, are one whole query."""
    assert chr(classify_chunk(chunk, LIMIT)) == kind
    assert classify_chunk(chunk, len(chunk) // 8) == 0


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        query("SELECT 1") * 2,
        SYNC + SYNC,
        SYNC + query("SELECT 1"),
        query("SELECT 1") + SYNC,
        BATCH + BATCH,
        PARSE + BIND + EXECUTE + BIND + EXECUTE + SYNC,
        PARSE + BIND + EXECUTE + DESCRIBE + SYNC,
        PARSE + NAMED_BIND + EXECUTE + SYNC,
        message(b"P", b"name\0SELECT 1\0\0\0") + SYNC,
        message(b"P") + SYNC,
        message(b"B", b"portal\0\0" + bytes(6)) + EXECUTE + SYNC,
        message(b"B", b"\0name") + EXECUTE + SYNC,
        message(b"B", b"\0") + EXECUTE + SYNC,
        message(b"D", b"Sname\0") + SYNC,
        message(b"D", b"S") + SYNC,
        message(b"D") + SYNC,
        message(b"C", b"P\0") + SYNC,
        message(b"H") + SYNC,
        message(b"X"),
        message(b"S", b"x"),
        message(b"F", bytes(8)),
        PARSE + b"B\0\0\0\3" + SYNC,
        query("PREPARE a AS SELECT 1"),
        query(" \t\r\n\fexecute a"),
        SYNC,
        NAMED_BIND + BIND + EXECUTE + SYNC,
        NAMED_BIND + message(b"D", b"S\0") + EXECUTE + SYNC,
        query("SELECT 1; deallocate a"),
        query("/* /* x */ */ ;; -- y\n PREPARE a AS SELECT 1"),
        query("reset all"),
        query("SELECT 1;DO $$x$$"),
        query("DISCARD ALL"),
        message(b"P", b"\0DEALLOCATE a\0\0\0") + BIND + EXECUTE + SYNC,
        message(b"P", b"\0 explain execute a\0\0\0") + SYNC,
    ],
)
def test_nothing_simple_is_asked(chunk: bytes) -> None:
    """Anything else is for those who look at each message."""
    assert classify_chunk(chunk, LIMIT) == 0


@pytest.mark.parametrize(
    "whole", [BATCH, query("SELECT 1"), NAMED_BIND + EXECUTE + SYNC]
)
def test_asked_in_part(whole: bytes) -> None:
    """A part of a query, or more than one, is nothing simple."""
    for size in range(len(whole)):
        assert classify_chunk(whole[:size], LIMIT) == 0
        assert classify_chunk(whole + whole[: size + 1], LIMIT) == 0


@pytest.mark.parametrize(
    ("chunk", "name"),
    [
        (NAMED_BIND + EXECUTE + SYNC, b"name"),
        (BIND, b""),
        (NAMED_BIND[:9], b""),
        (NAMED_BIND[:5], b""),
        (b"", b""),
    ],
)
def test_named(chunk: bytes, name: bytes) -> None:
    """The name goes up to its end, wherever the chunk ends."""
    assert bind_statement(chunk) == name


@pytest.mark.parametrize("after", [b"", b"n", b"PGBOUNCER_1234567890"])
def test_renamed(after: bytes) -> None:
    """Only the name and the length of the first message change."""
    rest = bytes(range(6))
    chunk = message(b"B", b"\0name\0" + rest) + EXECUTE + SYNC
    expected = message(b"B", b"\0" + after + b"\0" + rest) + EXECUTE + SYNC
    assert rename_bind(chunk, b"name", after) == expected


def test_renaming_what_is_cut() -> None:
    """Nothing is read behind the end of a chunk."""
    with pytest.raises(ValueError, match="cut"):
        rename_bind(b"B\0\0\0\x0c\0name", b"name", b"other")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"PREPARE a AS SELECT 1", True),
        (b"prepare", True),
        (b" \t\r\n\f\vexecute a", True),
        (b"EXPLAIN EXECUTE a", True),
        (b"deallocate all", True),
        (b"DISCARD ALL", True),
        (b"DO $$x$$", True),
        (b"do", True),
        (b"RESET ROLE", True),
        (b";;execute a", True),
        (b"-- c\nexecute a", True),
        (b"-- c\rexecute a", True),
        (b"/* c */execute a", True),
        (b"/* /* c */ */execute a", True),
        (b"SELECT 1; execute a", True),
        (b"SELECT ';execute a'", True),
        (b"SELECT 1;;; /* */ -- \n ; reset all", True),
        (b"", False),
        (b"   ", False),
        (b"SELECT 1", False),
        (b"SELECT 1; SELECT 2;", False),
        (b"prepared", False),
        (b"execute_it()", False),
        ("doé".encode(), False),
        (b"do$1", False),
        (b"do1", False),
        (b"-- execute a", False),
        (b"/* execute a", False),
        (b"/* /* */ execute a", False),
        (b"/execute a", False),
        (b"(execute a)", False),
        (b"CREATE TABLE t AS EXECUTE a", False),
    ],
)
def test_suspect(text: bytes, *, found: bool) -> None:
    """One of the words stands at the beginning of something; the bounds are kept."""
    assert suspect(text, 0, len(text)) == found
    assert suspect(b"execute " + text + b"; execute", 8, 8 + len(text)) == found
    assert suspect(text, 0, len(text) + 100) == found


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 60))
def test_suspecting_anything(text: bytes, begin: int, end: int) -> None:
    """Nothing is read outside of the text."""
    inside = text[begin:end]
    assert suspect(text, begin, end) == suspect(inside, 0, len(inside))
