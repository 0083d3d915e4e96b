"""Connection strings."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.config.entries import ConninfoSyntaxError, parse_conninfo

ACCEPTED = [
    ("", []),
    ("   ", []),
    ("host=a", [("host", "a")]),
    ("host=a port=5432", [("host", "a"), ("port", "5432")]),
    ("\thost = a  port= 1 x =y ", [("host", "a"), ("port", "1"), ("x", "y")]),
    ("host=a host=b", [("host", "a"), ("host", "b")]),
    ("password=a=b'c\\", [("password", "a=b'c\\")]),
    ("host=10.0.0.1,::1,/tmp,@x", [("host", "10.0.0.1,::1,/tmp,@x")]),
    ("q='a b'", [("q", "a b")]),
    ("q='it''s' z=1", [("q", "it's"), ("z", "1")]),
    ("q='''a'''", [("q", "'a'")]),
    (r"q='select x(\'y\')' z=1", [("q", "select x('y')"), ("z", "1")]),
    (r"q='\''", [("q", "'")]),
    (r"p='a\b'", [("p", r"a\b")]),
    (r"p='a\\b'", [("p", r"a\\b")]),
    (r"p='abc\' q='s t'", [("p", "abc\\"), ("q", "s t")]),
    (r"p='a\''b'", [("p", r"a\'b")]),
    ("host=", None),
    ("host=''", None),
    ("host", None),
    ("host port=1", None),
    ("=a", None),
    ("'host'=a", None),
    ("host='a", None),
    ("host='a'port=1", None),
]


@pytest.mark.parametrize(
    ("text", "pairs"), [case for case in ACCEPTED if case[1] is not None]
)
def test_accepted(text: str, pairs: list[tuple[str, str]]) -> None:
    """Pairs come in order, with the quoting of their values undone."""
    assert parse_conninfo(text) == pairs


@pytest.mark.parametrize("text", [text for text, pairs in ACCEPTED if pairs is None])
def test_refused(text: str) -> None:
    """What is no list of pairs is refused."""
    with pytest.raises(ConninfoSyntaxError):
        parse_conninfo(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a=b =c", "at character 5"),
        ("a=b c", "at its end"),
        ("password='hush", "at character 10"),
        ("password=''", "at character 10"),
    ],
)
def test_place(text: str, where: str) -> None:
    """The error names the first wrong character and shows nothing of the values."""
    with pytest.raises(ConninfoSyntaxError, match=f"^{re.escape(where)}$"):
        parse_conninfo(text)


def test_after_an_error() -> None:
    """An error inside one string leaves nothing behind for the next."""
    with pytest.raises(ConninfoSyntaxError):
        parse_conninfo("a=b c='")
    assert parse_conninfo("a=b") == [("a", "b")]


_KEYS = st.from_regex(r"[a-z_]+", fullmatch=True)
_VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda value: "\\" not in value
)


@given(st.lists(st.tuples(_KEYS, _VALUES)))
def test_doubled_quotes(pairs: list[tuple[str, str]]) -> None:
    """Any value without a backslash survives in quotes, its own quotes doubled."""
    quoted = [(key, value.replace("'", "''")) for key, value in pairs]
    text = " ".join(f"{key}='{value}'" for key, value in quoted)
    assert parse_conninfo(text) == pairs


@given(st.text())
def test_only_syntax_errors(text: str) -> None:
    """No text makes the grammar fail in any other way."""
    try:
        parse_conninfo(text)
    except ConninfoSyntaxError:
        return
