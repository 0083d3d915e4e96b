"""Grammars become machines, and nothing is written on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pgswitch.config.grammars import machines_of

# A docstring below is a rule that ply reads.
# ruff: noqa: ANN401, D102, D205, D400, D403


class Sums:
    """A sum is one number or more."""

    tokens: tuple[str, ...] = ("NUMBER",)
    t_ignore = " "

    def t_NUMBER(self, token: Any) -> Any:
        r"""[0-9]+"""
        token.value = int(token.value)
        return token

    def t_error(self, token: Any) -> None:
        raise ValueError(token.value)

    def p_sum(self, p: Any) -> None:
        """
        sum : NUMBER
            | sum NUMBER
        """
        p[0] = sum(p[1:])

    def p_error(self, token: Any) -> None:
        raise ValueError(token)


def test_machines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They read what the grammar says."""
    monkeypatch.chdir(tmp_path)
    lexer, parser = machines_of(Sums())
    assert parser.parse("1 20 300", lexer=lexer) == 321
    with pytest.raises(ValueError, match="x"):
        parser.parse("1 x", lexer=lexer)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_no_grammar() -> None:
    """Rules with names that there are no tokens for make none."""

    class Nothing(Sums):
        tokens = ()

    with pytest.raises(SyntaxError):
        machines_of(Nothing())
