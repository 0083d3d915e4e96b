"""An operator's question in the place of the server's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pgswitch.cluster.node_queries import (
    FULL,
    LONG,
    SHORT,
    report_of,
    waiting_query,
    worded,
)
from pgswitch.cluster.recovery_check import BadAnswer, is_standby

THEIRS = "select is_reader, at from roles where me -- mine\n;  "


def test_without() -> None:
    """Nothing is changed."""
    for question in (FULL, LONG, SHORT):
        assert worded(question, "") == question


def test_with() -> None:
    """The first column is theirs; the other parts stay, and a comment ends."""
    for question in (FULL, LONG):
        asked = worded(question, THEIRS)
        first, _, rest = asked.partition("LIMIT 1)")
        assert first == (
            "SELECT (SELECT asked.standby::text FROM (\n"
            "select is_reader, at from roles where me -- mine\n) AS asked(standby) "
        )
        assert question.endswith(rest)
    assert worded(SHORT, THEIRS) == "select is_reader, at from roles where me -- mine"


def test_patience() -> None:
    """Whoever waits looks by their question again and again, less often."""
    asked = waiting_query(worded(FULL, THEIRS), 0.25, THEIRS)
    assert asked.count("from roles") == 2
    assert "WHERE turn > 0 LIMIT 1)) IN ('t', 'true'," in asked
    assert "pg_sleep(0.01 " in asked
    assert "AND pg_is_in_recovery()\n" in waiting_query(FULL, 0.25)
    assert "pg_sleep(0.001 " in waiting_query(FULL, 0.25)


@pytest.mark.parametrize(
    ("value", "standby"),
    [
        *((value, True) for value in (True, "t", "true", "ON", 1, "yes")),
        *((value, False) for value in (False, "f", "false", "off", 0, "no")),
    ],
)
def test_answers(value: object, *, standby: bool) -> None:
    """A boolean, as a driver or the server tells it, or what it is written as."""
    assert is_standby(value) is standby


@pytest.mark.parametrize("rows", [[], [()], [(None,)]])
def test_no_answer(rows: list[Sequence[object]]) -> None:
    """No row, and NULL, say nothing."""
    with pytest.raises(BadAnswer, match="returned no row, or NULL"):
        report_of(((), rows))


def test_another_answer() -> None:
    """Told as it is, within bounds."""
    with pytest.raises(BadAnswer, match="returned 'SWITCHOVER', not a boolean"):
        is_standby("SWITCHOVER")
    with pytest.raises(BadAnswer, match=r"'x{40}', not"):
        is_standby("x" * 1000)
