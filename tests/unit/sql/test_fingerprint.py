"""Names of statements in the log."""

from __future__ import annotations

import pytest

from pgswitch.sql.fingerprint import fingerprint

INSERT = b"INSERT INTO t (a, b) VALUES (1, 'x')"


@pytest.mark.parametrize(
    "same",
    [
        b"insert into t (a, b) values (27, 'it''s');",
        b"INSERT  INTO t (a, b)\n VALUES ($1, $2)",
        b"/* from here */ INSERT INTO t (a, b) VALUES (1.5e3, E'a\\'b') -- there",
        b"INSERT INTO t (a, b) VALUES ($$secret$$, $a$secret$a$)",
        b"INSERT INTO t (a, b) VALUES (1)",
    ],
)
def test_the_same(same: bytes) -> None:
    """Values, blanks, comments, capitals and the number of values do not count."""
    assert fingerprint(same) == fingerprint(INSERT)


@pytest.mark.parametrize(
    "other", [b"INSERT INTO u (a, b) VALUES (1, 'x')", b"DELETE FROM t", b"", b"\xff"]
)
def test_another(other: bytes) -> None:
    """Names and words do."""
    assert fingerprint(other) != fingerprint(INSERT)


def test_what_it_looks_like() -> None:
    """A word to read, and nothing of the values."""
    word, digest = fingerprint(b"SELECT 'secret' FROM t1").split()
    assert (word, len(digest)) == ("SELECT", 12)
    assert fingerprint(b"SELECT a FROM t2").split()[1] != digest
    assert fingerprint(b"(").startswith("? ")
