"""The auth file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.config.userlist import (
    Userlist,
    UserlistProblem,
    parse_userlist,
    read_userlist,
)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", {}),
        ("\n  \n; a comment\n", {}),
        ('  ; "x" "y"\n\t;\n"a" "b"\n', {"a": "b"}),
        ('\ufeff"a" "b"\r\n', {"a": "b"}),
        ('\ufeff; a comment\r\n"a" "b"\r\n', {"a": "b"}),
        ('"a" "b\rc"\r\n', {"a": "b\rc"}),
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
    assert parse_userlist(text) == Userlist(entries, [])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("# x", "broken auth file"),
        ("a b", "broken auth file"),
        ('"a"', "broken auth file"),
        ('"a""b"', "broken auth file"),
        ('"a" "b""', "broken auth file"),
        ('"a" b', "broken auth file"),
        ('"a" "b', "broken auth file"),
        ('"a', "broken auth file"),
        ('"a" = "b"', "broken auth file"),
        ('"a", "b"', "broken auth file"),
        ('user "a" "b"', "broken auth file"),
        ('\ufeff"a" "b"', "broken auth file"),
        (f'"{"u" * 128}" ""', "username too long in auth file"),
        (f'"{"é" * 64}" ""', "username too long in auth file"),
        (f'"u" "{"s" * 65531}"', "password too long in auth file"),
    ],
)
def test_refused(line: str, text: str) -> None:
    """A bad line is a problem of its own; the users of all others are to be had."""
    found = parse_userlist(f'; x\n"first" "1"\n{line}\n"last" "2"\n')
    assert found.entries == {"first": "1", "last": "2"}
    (problem,) = found.problems
    assert problem.line == 3
    assert re.fullmatch(f"{text}; accepted: .* \\(line 3\\)", str(problem))
    assert not found.is_useless


def test_a_line_end_in_a_secret() -> None:
    """Both halves are bad lines, and all that comes of it."""
    found = parse_userlist('"a" "1"\n"b" "hu\nsh"\n"c" "3"\n')
    assert found.entries == {"a": "1", "c": "3"}
    assert [problem.line for problem in found.problems] == [2, 3]


def test_useless() -> None:
    """No line can be read; a file without lines of users is as good as any."""
    assert parse_userlist("a b\n").is_useless
    assert not parse_userlist("; nobody\n").is_useless
    assert not parse_userlist("").is_useless


def test_no_secret_in_the_error() -> None:
    """The error does not show the line."""
    (problem,) = parse_userlist('"a" "hush').problems
    assert isinstance(problem, UserlistProblem)
    assert not re.search("hush", str(problem))


def test_a_file(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are kept, and line ends are what they are."""
    path = tmp_path / "users"
    path.write_bytes(b'\xef\xbb\xbf"a" "\xff"\r\n"b" "x\ry"\n')
    assert read_userlist(str(path)) == ({"a": "\udcff", "b": "x\ry"}, [])


_PARTS = st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=30)


@given(st.dictionaries(_PARTS, _PARTS))
def test_round_trip(entries: dict[str, str]) -> None:
    """Whatever is written by the rule is read back."""
    doubled = [
        (user.replace('"', '""'), secret.replace('"', '""'))
        for user, secret in entries.items()
    ]
    text = "".join(f'"{user}" "{secret}"\n' for user, secret in doubled)
    assert parse_userlist(text) == (entries, [])


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [
        ('"a" "1"\n"b" "hu', True),
        ('"a" "1"\n"b" "hu\n \n', True),
        ('"a" "1"\n"b"', True),
        ('"a" "1"\n"b"\n', False),
        ('"a" "1"\n"b" "2"', False),
        ('"a" "1"\n# "b', False),
        ('"a" "hu\n"b" "2"\n', False),
        ("", False),
    ],
)
def test_a_cut_file(text: str, *, is_cut: bool) -> None:
    """Its last line is the beginning of one of a user's."""
    assert parse_userlist(text).is_cut is is_cut


def test_its_repr() -> None:
    """It has no secrets."""
    assert repr(parse_userlist('"a" "hush"\nb')).startswith("Userlist(1 users, [")
