"""Calls of a user's function, and what may come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.rules.encodings import codec_of
from pgswitch.rules.loader import REWRITING, load_module
from pgswitch.rules.rule_function import (
    Context,
    InvalidResult,
    RuleFunction,
    RuleInput,
    is_awaitable,
    rewritten,
    routed,
)
from tests.unit.rules.files import Ticking, rule, write

CONTEXT = Context("db", "192.0.2.1:5", "psql", "s1", "extended")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("(u, q, t)", "('joe', 'SELECT 1', True)"),
        ("(u, q)", "('joe', 'SELECT 1')"),
        ("(u, q, t, context)", "('joe', 'SELECT 1', True, 's1')"),
        ("(u, q, *, context)", "('joe', 'SELECT 1', 's1')"),
    ],
)
def test_arguments(tmp_path: Path, head: str, expected: str) -> None:
    """As many as the function takes."""
    names = ", ".join(head.strip("()").replace("*, ", "").split(", "))
    names = names.replace("context", "context.statement")
    path = write(tmp_path, "r.py", f"def rewrite_query{head}: return str(({names}))")
    made = RuleFunction(load_module(path), REWRITING, Ticking())
    rule_input = RuleInput("joe", "SELECT 1", in_transaction=True, context=CONTEXT)
    assert made.call(rule_input, rule_input.text, 0) == expected


def test_times(tmp_path: Path) -> None:
    """Each call is timed, one that fails too."""
    clock = Ticking()
    path = write(tmp_path, "r.py", "def rewrite_query(u, q): q.tick()")
    made = RuleFunction(load_module(path), REWRITING, clock)

    class Text(str):
        __slots__ = ()

        def tick(self) -> None:
            clock.now += 0.25
            raise ValueError

    rule_input = RuleInput("joe", "", in_transaction=False)
    with pytest.raises(ValueError):  # noqa: PT011 - ours, from above
        made.call(rule_input, Text("x"), 0)
    assert made.last_us == made.stats.times.longest == 250_000


def test_failures(tmp_path: Path) -> None:
    """In words, with the place in the user's code, and counted."""
    made = rule(tmp_path, "x = 1\nreturn x / 0")
    with pytest.raises(ZeroDivisionError) as raised:
        made.call(RuleInput("joe", "", in_transaction=False), "", 0)
    path = tmp_path / "rewrite_query_of_mine.py"
    assert made.record_failure(raised.value) == (
        f"rewrite_query failed: ZeroDivisionError: division by zero ({path}, line 3)"
    )
    assert made.stats.errors == 1
    assert made.stats.last_error.startswith("ZeroDivisionError")
    assert made.record_failure(InvalidResult("odd")) == "rewrite_query failed: odd"
    assert made.record_failure(KeyError()) == "rewrite_query failed: KeyError"


def test_awaitables() -> None:
    """Coroutines are, texts are not."""

    async def later() -> None:
        """Return nothing."""

    coroutine = later()
    assert is_awaitable(coroutine)
    coroutine.close()
    assert not is_awaitable("SELECT 1")
    assert not is_awaitable(None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("SELECT 1", None),
        ("SELECT 'é'", ("SELECT 'é'", b"SELECT '\xe9'")),
        (" ", (" ", b" ")),
    ],
)
def test_rewritten(value: object, expected: object) -> None:
    """None and the same text mean no change."""
    rule_input = RuleInput("joe", "SELECT 1", False, None, codec_of("LATIN1"))  # noqa: FBT003
    assert rewritten(value, rule_input) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "an empty text"),
        (b"SELECT 1", "returned bytes, neither str nor None"),
        (True, "returned bool"),
        ("SELECT 1\0", "a NUL character"),
        ("\udc80", "not possible in utf-8"),
        ("SELECT 'é'", "too long for max_packet_size"),
    ],
)
def test_no_query(value: object, words: str) -> None:
    """What no server should get."""
    with pytest.raises(InvalidResult, match=words):
        rewritten(
            value, RuleInput("joe", "SELECT 1", in_transaction=False, max_bytes=10)
        )


def test_routed() -> None:
    """A key or nothing."""
    assert routed("dev.1") == "dev.1"
    assert routed(None) is None
    with pytest.raises(InvalidResult, match="returned int"):
        routed(3)
