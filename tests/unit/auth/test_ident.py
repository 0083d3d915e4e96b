"""Ident maps: which system user may be which database user."""

from __future__ import annotations

import pytest

from pgswitch.auth.ident import logical_lines, parse_ident

TEXT = r"""
# comment
m  root      postgres
m  "a b"     all
m  root      "all"
n  /^(.*)@example\.com$  \1
n  /^guest   visitor
n  /^boss$   all
"""


@pytest.mark.parametrize(
    ("name", "system", "user", "allowed"),
    [
        ("m", "root", "postgres", True),
        ("m", "root", "other", False),
        ("m", "root", "all", True),
        ("m", "a b", "anybody", True),
        ("n", "bob@example.com", "bob", True),
        ("n", "bob@example.com", "eve", False),
        ("n", "bob@example.com.evil", "bob", False),
        ("n", "guest7", "visitor", True),
        ("n", "boss", "anybody", True),
        ("n", "root", "postgres", False),
    ],
)
def test_maps(name: str, system: str, user: str, *, allowed: bool) -> None:
    """By name and by regular expression, within one map."""
    maps, problems = parse_ident(TEXT)
    assert problems == []
    assert maps[name].allows(system, user) is allowed


@pytest.mark.parametrize(
    "line", ["m root", "m root a b", "m /( x", r"m /plain \1", 'm "root']
)
def test_bad_lines(line: str) -> None:
    """Are logged with their numbers; the others are valid."""
    maps, [problem] = parse_ident(f"m good user\n{line}\nm also user")
    assert problem.line == 2
    assert maps["m"].allows("good", "user")
    assert maps["m"].allows("also", "user")


def test_lines_that_go_on() -> None:
    """A backslash joins; the number is that of the first."""
    assert list(logical_lines("a\\\nb\nc\\")) == [(1, "ab"), (3, "c")]
