"""The auth file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.config.userlist import UserlistError, parse_userlist


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", {}),
        ("\n  \n; a comment\n", {}),
        ('"a" "b"', {"a": "b"}),
        ('  "a"\t"b" more "words"\r\n"c" "d"\n', {"a": "b", "c": "d"}),
        ('"a" ""\n"a" "x"\n', {"a": "x"}),
        ('"a" ""', {"a": ""}),
        ('"a b;#" "x\'y"', {"a b;#": "x'y"}),
        ('"a""b" """"', {'a"b': '"'}),
        (
            '"u" "SCRAM-SHA-256$4096:c2FsdA==$a:b"',
            {"u": "SCRAM-SHA-256$4096:c2FsdA==$a:b"},
        ),
        (f'"{"u" * 127}" "{"s" * 65530}"', {"u" * 127: "s" * 65530}),
    ],
)
def test_accepted(text: str, entries: dict[str, str]) -> None:
    """Each line is a user and a secret in double quotes, a doubled quote inside."""
    assert parse_userlist(text) == entries


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("# x", "broken auth file"),
        (' ; "x"', "broken auth file"),
        ("a b", "broken auth file"),
        ('"a"', "broken auth file"),
        ('"a""b"', "broken auth file"),
        ('"a" "b""', "broken auth file"),
        ('"a" b', "broken auth file"),
        ('"a" "b', "broken auth file"),
        ('"a', "broken auth file"),
        (f'"{"u" * 128}" ""', "username too long in auth file"),
        (f'"{"é" * 64}" ""', "username too long in auth file"),
        (f'"u" "{"s" * 65531}"', "password too long in auth file"),
    ],
)
def test_refused(line: str, text: str) -> None:
    """A bad line ends the reading; the users before it are still to be had."""
    with pytest.raises(
        UserlistError, match=f"^{text}; accepted: .* \\(line 3\\)$"
    ) as got:
        parse_userlist(f'; x\n"first" "1"\n{line}\n"last" "2"\n')
    assert (got.value.line, got.value.entries) == (3, {"first": "1"})
    assert got.value.text.startswith(text)


def test_no_secret_in_the_error() -> None:
    """The error does not show the line."""
    with pytest.raises(UserlistError) as caught:
        parse_userlist('"a" "hush')
    assert not re.search("hush", str(caught.value))


_PARTS = st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=30)


@given(st.dictionaries(_PARTS, _PARTS))
def test_round_trip(entries: dict[str, str]) -> None:
    """Whatever is written by the rule is read back."""
    doubled = [
        (user.replace('"', '""'), secret.replace('"', '""'))
        for user, secret in entries.items()
    ]
    text = "".join(f'"{user}" "{secret}"\n' for user, secret in doubled)
    assert parse_userlist(text) == entries
