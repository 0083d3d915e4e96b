"""Lines of HBA and ident files come apart into fields of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.auth.ident import TokenizeError, tokenize


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", []),
        ("  # nothing", []),
        ("a b\tc", [["a"], ["b"], ["c"]]),
        ("a,b c", [["a", "b"], ["c"]]),
        ("a , b,c d", [["a", "b", "c"], ["d"]]),
        ('"a b","c,d" e', [["a b", "c,d"], ["e"]]),
        ('"a ""b"""', [['a "b"']]),
        ('map="two words"', [["map=two words"]]),
        ('a#b "c#d"#e', [["a"]]),
        ('"c#d"#e', [["c#d"]]),
        ('""', [[""]]),
    ],
)
def test_fields(line: str, found: list[list[str]]) -> None:
    """Blanks divide, commas join, quotes keep together."""
    assert [[word.text for word in field] for field in tokenize(line)] == found


def test_keywords_in_quotes() -> None:
    """Are names."""
    [[bare], [quoted]] = tokenize('all "all"')
    assert bare.is_keyword("x", "all")
    assert not quoted.is_keyword("all")


def test_where_a_word_ends() -> None:
    """What follows it can be taken as it stands."""
    line = 'ldap  a="b c"'
    [[word], _rest] = tokenize(line)
    assert line[word.end :].strip() == 'a="b c"'


@pytest.mark.parametrize("line", ['"', 'a "b', ",a", "a,", "a,,b", "a b ,"])
def test_what_is_no_line(line: str) -> None:
    """Is refused without being shown."""
    with pytest.raises(TokenizeError):
        tokenize(line)


@given(st.text(max_size=60))
def test_any_text(line: str) -> None:
    """Comes apart or is refused, nothing else."""
    try:
        found = tokenize(line.replace("\n", " "))
    except TokenizeError:
        return
    assert all(found)


@given(st.lists(st.lists(st.text(min_size=1), min_size=1), min_size=1))
def test_quoted_words_come_back(wanted: list[list[str]]) -> None:
    """Whatever a word holds but line ends, quotes keep it."""
    wanted = [[word.replace("\n", " ") for word in field] for field in wanted]
    line = " ".join(
        ",".join('"' + word.replace('"', '""') + '"' for word in field)
        for field in wanted
    )
    assert [[word.text for word in field] for field in tokenize(line)] == wanted
