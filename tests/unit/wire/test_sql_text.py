"""What texts say about prepared statements, cut as PostgreSQL's scanner cuts them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgswitch.wire.passing import suspect
from pgswitch.wire.sql_text import (
    DEALLOCATE,
    DEALLOCATE_ALL,
    DISCARD_ALL,
    PREPARE,
    folded,
    read,
)

ALONE = {
    # text: what it does, and to which name
    b"PREPARE a AS SELECT 1": (PREPARE, b"a"),
    b'prepare  "A""b"(int) as select $1': (PREPARE, b'A"b'),
    b"PREPARE Foo AS SELECT 1": (PREPARE, b"foo"),
    b"/* c */ PREPARE a AS SELECT 1": (PREPARE, b"a"),
    b"-- c\nPREPARE/* /* nested */ */a AS SELECT 1": (PREPARE, b"a"),
    b"-- c\rPREPARE a AS SELECT 1": (PREPARE, b"a"),
    b"PREPARE a AS SELECT ';'": (PREPARE, b"a"),
    b'PREPARE a AS SELECT 1 AS ";"': (PREPARE, b"a"),
    b"PREPARE a AS SELECT $x$;$x$ -- ; or so": (PREPARE, b"a"),
    b"PREPARE a AS SELECT $$;$$": (PREPARE, b"a"),
    b"PREPARE a AS SELECT $1; ": (PREPARE, b"a"),
    b"PREPARE a AS SELECT 1 /* ; */": (PREPARE, b"a"),
    b"PREPARE a AS SELECT 'it''s;'": (PREPARE, b"a"),
    b"PREPARE a AS SELECT E'\\';'": (PREPARE, b"a"),
    b"PREPARE a AS SELECT U&'\\';": (PREPARE, b"a"),
    b"PREPARE a AS SELECT 'open; DEALLOCATE b": (PREPARE, b"a"),
    b"PREPARE a AS SELECT /* open; DEALLOCATE b": (PREPARE, b"a"),
    b"PREPARE a AS SELECT $$ open; DEALLOCATE b": (PREPARE, b"a"),
    b"DEALLOCATE a": (DEALLOCATE, b"a"),
    b"deallocate PREPARE A ;": (DEALLOCATE, b"a"),
    b"DEALLOCATE prepare": (DEALLOCATE, b"prepare"),
    b'DEALLOCATE "all"': (DEALLOCATE, b"all"),
    b"DEALLOCATE ALL": (DEALLOCATE_ALL, b""),
    b"DEALLOCATE PREPARE all;": (DEALLOCATE_ALL, b""),
    b"DISCARD ALL": (DISCARD_ALL, b""),
    "PREPARE é AS SELECT 1".encode(): (PREPARE, "é".encode()),
}


@pytest.mark.parametrize("text", ALONE)
def test_one_statement(text: bytes) -> None:
    """Each does one thing to one name, or to all; it may end with a NUL."""
    for given_text in (text, text + b"\0"):
        (action,) = read(given_text).actions
        assert (action.kind, action.name) == ALONE[text]
        if action.name:
            assert read(given_text).mentioned == (action.name,)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b";;",
        b"PREPARE",
        b"PREPARE TRANSACTION 'a'",
        b"DEALLOCATE",
        b"DISCARD TEMP",
        b"EXECUTE",
        b"EXPLAIN SELECT 1",
        b"SELECT 'PREPARE a AS SELECT 1'",
        b"SELECT $$; DEALLOCATE a;$$",
        b"-- DEALLOCATE a",
        b"/* ; DEALLOCATE a; */ SELECT 1",
        b'SELECT 1 AS "; DEALLOCATE a"',
    ],
)
def test_nothing(text: bytes) -> None:
    """It is an ordinary query."""
    found = read(text)
    assert (found.actions, found.mentioned, found.resets) == ((), (), False)


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        (b"EXECUTE a", [b"a"]),
        (b"execute A(1, 'x')", [b"a"]),
        (b'EXECUTE "A"', [b"A"]),
        (b"EXPLAIN ANALYZE EXECUTE a", [b"a"]),
        (b"CREATE TEMP TABLE t AS execute a", [b"a"]),
        (b"SELECT 1; EXECUTE a; SELECT 2; EXECUTE b(1); EXECUTE a", [b"a", b"b"]),
        (b"SELECT 'EXECUTE a'", []),
        (b"DO $$BEGIN EXECUTE a; END$$", [b"a"]),
        (b"do 'begin deallocate prepare \"A\"; end'", [b"A"]),
        (b"PREPARE a AS SELECT 1; EXECUTE a", [b"a"]),
    ],
)
def test_mentioned(text: bytes, mentioned: list[bytes]) -> None:
    """Whatever stands behind EXECUTE, wherever that is; in a DO in its strings too."""
    assert list(read(text).mentioned) == mentioned


def test_several() -> None:
    """In the order in which they are carried out, each with its own words."""
    found = read(b" PREPARE a AS SELECT 1 ; x; DEALLOCATE b;discard all;")
    assert [(one.kind, one.name, one.text.strip()) for one in found.actions] == [
        (PREPARE, b"a", b"PREPARE a AS SELECT 1"),
        (DEALLOCATE, b"b", b"DEALLOCATE b"),
        (DISCARD_ALL, b"", b"discard all"),
    ]


@pytest.mark.parametrize(
    ("text", "resets"),
    [
        (b"RESET ALL", True),
        (b"reset work_mem", True),
        (b"SELECT 1; RESET ROLE", True),
        (b"DISCARD ALL", True),
        (b"DISCARD PLANS", False),
        (b"DEALLOCATE ALL", False),
        (b"SELECT 'RESET'", False),
    ],
)
def test_resets(text: bytes, *, resets: bool) -> None:
    """Parameters may get back what the session began with."""
    assert read(text).resets == resets


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (b"ROLLBACK; EXECUTE a", b"EXECUTE a"),
        (b"commit ;; DEALLOCATE a", b"DEALLOCATE a"),
        (b"/* x */ END; EXECUTE a; ROLLBACK; EXECUTE b", b"EXECUTE a; ROLLBACK"),
        (b"ROLLBACK", b""),
        (b"ROLLBACK;", b""),
        (b"SELECT 1; ROLLBACK; EXECUTE a", b""),
    ],
)
def test_restart(text: bytes, rest: bytes) -> None:
    """What follows the end of a transaction starts over."""
    restart = read(text).restart
    assert (text[restart:].startswith(rest) and restart > 0) == (rest != b"")


def test_strings_with_escapes() -> None:
    r"""While standard_conforming_strings is off, \' does not end a string."""
    text = b"PREPARE a AS SELECT '\\'; DEALLOCATE b; --'"
    assert [one.name for one in read(text).actions] == [b"a", b"b"]
    assert [one.name for one in read(text, escapes=True).actions] == [b"a"]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (b"Foo", b"foo"),
        (b'"Foo"', b"Foo"),
        (b'"a""b"', b'a"b'),
        (b"N" * 70, b"n" * 63),
        (b'"' + b"N" * 70 + b'"', b"N" * 63),
        ("É".encode(), "É".encode()),
    ],
)
def test_folded(name: bytes, stored: bytes) -> None:
    """As PostgreSQL stores it: small if not quoted, 63 bytes."""
    assert folded(name) == stored


PIECES = st.sampled_from(
    [
        *("PREPARE a AS", "DEALLOCATE", "EXECUTE", "SELECT", "a", "ALL", "DISCARD"),
        *(";", " ", "\n", "'", '"', "''", "$$", "$x$", "--", "/*", "*/", "E'", "\\"),
        *("1", "é", "(", "::", "\t"),
    ]
)


@given(st.lists(PIECES, max_size=25).map(" ".join))
def test_whatever_acts_is_suspect(text: str) -> None:
    """Nothing that a text does escapes the first look."""
    data = text.encode()
    found = read(data)
    if found.actions or found.resets:
        assert suspect(data, 0, len(data))
    for action in found.actions:
        assert action.text in data or b"\\" in data


@given(text=st.lists(PIECES, max_size=25).map(" ".join), escapes=st.booleans())
@example(text="PREPARE a AS ' \\", escapes=False)
def test_what_is_kept_means_one_thing(text: str, *, escapes: bool) -> None:
    """Whatever backslashes mean where a kept statement is read again."""
    for action in read(text.encode(), escapes=escapes).actions:
        again = [read(action.text, escapes=either).actions for either in (True, False)]
        assert again == [(action,), (action,)]


@given(st.binary(max_size=60))
def test_any_bytes(text: bytes) -> None:
    """Every text has an end."""
    read(text)
    read(text, escapes=True)


def test_long_texts_are_read_in_leaps() -> None:
    """Of the rest of a statement only what may matter costs anything."""
    long = b"PREPARE a AS SELECT 1" + b", 1" * 50_000
    said = read(long + b"; EXPLAIN (COSTS OFF) EXECUTE b; PREPARE c AS SELECT e'\\';'")
    assert [one.name for one in said.actions] == [b"a", b"c"]
    assert said.mentioned == (b"a", b"b", b"c")
    said = read(b"CREATE TABLE t WITH (fillfactor = 50) AS /* ; */ EXECUTE d")
    assert said.mentioned == (b"d",)


@pytest.mark.parametrize(
    ("rest", "escapes", "kept"),
    [
        (rb"'a\', $$b\$$", False, rb" E'a\\', $$b\$$"),
        (rb"'a\'', E'\n' --\ ", True, rb" E'a\'', E'\n' --\ "),
        (rb'"a\" /* \ */, ' + rb"E'\\', 'b'", False, None),
    ],
)
def test_backslashes_keep_their_meaning(
    rest: bytes, kept: bytes | None, *, escapes: bool
) -> None:
    """What is prepared again later means what it meant when it was prepared."""
    prepare = b"PREPARE a AS SELECT "
    (action,) = read(prepare + rest, escapes=escapes).actions
    assert action.text == prepare + (kept or rest)
