"""Where fields stand in a chunk, also behind other messages and in broken ones."""

from __future__ import annotations

import pytest

from pgswitch.wire.decode import names_in, statement_in, text_in
from tests.fakes.messages import message, query

BEHIND = query("before")
TYPES = b"\0\1\0\0\0\x17"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (message(b"Q", b"SELECT 1\0"), b"SELECT 1"),
        (message(b"Q", b"\0"), b""),
        (message(b"Q", b"no end"), None),
        (message(b"Q", b"a\0b\0"), None),
        (message(b"Q"), None),
        (message(b"P", b"\0SELECT 1\0\0\0"), b"SELECT 1"),
        (message(b"P", b"name\0SELECT 1\0\0\0"), b"SELECT 1"),
        (message(b"P", b"\0SELECT $1\0" + TYPES), b"SELECT $1"),
        (message(b"P", b"name\0SELECT $1\0" + TYPES), b"SELECT $1"),
        (message(b"P", b"\0\0\0\0"), b""),
        (message(b"P", b"\0a\0b\0\0\0"), b"a"),
        (message(b"P", b"no end"), None),
        (message(b"P", b"\0no end"), None),
        (message(b"P"), None),
    ],
)
def test_text(asked: bytes, text: bytes | None) -> None:
    """It ends with its zero byte, whatever types of parameters follow."""
    chunk = BEHIND + asked + query("after")
    start = len(BEHIND)
    begin, after = text_in(chunk, start, start + len(asked))
    assert (None if after < 0 else chunk[begin:after]) == text


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"\0\0" + bytes(6), (b"", b"")),
        (b"portal\0name\0" + bytes(6), (b"portal", b"name")),
        (b"portal\0nam", None),
        (b"port", None),
        (b"", None),
    ],
)
def test_names_in_a_bind(body: bytes, names: tuple[bytes, bytes] | None) -> None:
    """The second is not found while it is still to come."""
    chunk = BEHIND + b"B\0\0\1\0" + body
    start = len(BEHIND)
    portal, name = names_in(chunk, start, len(chunk))
    if names is None:
        assert name == -1
    else:
        assert (chunk[start + 5 : portal], chunk[portal + 1 : name]) == names


@pytest.mark.parametrize(
    ("asked", "statement"),
    [
        (message(b"B", b"\0name\0" + bytes(6)), b"name"),
        (message(b"B", b"portal\0name\0" + bytes(6)), b"name"),
        (message(b"B", bytes(8)), b""),
        (message(b"B", b"no end"), b""),
        (message(b"D", b"Sname\0"), b"name"),
        (message(b"D", b"Pname\0"), b""),
        (message(b"D", b"S\0"), b""),
        (message(b"D", b"Sno end"), b""),
        (message(b"D"), b""),
    ],
)
def test_statement(asked: bytes, statement: bytes) -> None:
    """A portal is none, nor is what has no end within its message."""
    chunk = BEHIND + asked + query("after")
    start = len(BEHIND)
    assert statement_in(chunk, start, start + len(asked)) == statement
