"""Words of a text, without what is no code."""

from __future__ import annotations

import pytest

from pgswitch.sql.classifier import Undecided, words_in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("select a.b, c from d", "select a b c from d"),
        ("a'b'c", "a c"),
        ("date'2001'e", "date e"),
        (r"e'\'b'c", "c"),
        ("a/*b*/c--d\ne", "a c e"),
        ("a/*/**/b*/c", "a c"),
        ("$$a$$ b $c$d$$e$c$ f", "b f"),
        ("a$$b", "a$$b"),
        ("$1a", "a"),
        ('"a b"."c""d"', '"a b|"c""d'),
        ("1e5into", "into"),
        ("a;b", "a ; b"),
        ("é1 _x", "é1 _x"),
        ("a - b -> c", "a b c"),
    ],
)
def test_words(text: str, words: str) -> None:
    """As the server cuts them."""
    separator = "|" if "|" in words else " "
    assert list(words_in(text)) == words.split(separator)


@pytest.mark.parametrize(
    "text", ["'a", '"a', '""', "$$a", "/*", "/*/**/", r"'\'", "$a$"]
)
def test_undecided(text: str) -> None:
    """No end, or an end that depends on a setting."""
    with pytest.raises(Undecided):
        list(words_in(text))
