"""What nodes are asked, what answers say, and which shorter query follows a refusal.

How real nodes answer: integration.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure as TwistedFailure

from pgswitch.cluster.nodes import NodeReport, ProbeFailure
from pgswitch.cluster.probe import (
    FULL,
    LONG,
    SHORT,
    SHORTER,
    BadAnswer,
    ProbeFailed,
    ProbeQuery,
    QueryRefused,
    QueryRows,
    is_standby,
    parse_report,
    waiting_query,
    with_recovery_query,
)

ROWS: QueryRows = (("pg_is_in_recovery",), [(True,)])


class Node:
    """Refuses some questions, answers the others."""

    def __init__(
        self,
        *refused: str,
        recovery: str = "",
        rows: QueryRows = ROWS,
        transient: bool = False,
    ) -> None:
        """``refused`` are the questions that it does not like."""
        self.refused = refused
        self.rows = rows
        self.transient = transient
        self.asked: list[str] = []
        self.asking = ProbeQuery(self.read, recovery)

    def read(self, query: str) -> Deferred[QueryRows]:
        """Answer at once."""
        self.asked.append(query)
        outcome: Deferred[QueryRows] = Deferred()
        if query in self.refused:
            outcome.errback(QueryRefused("no", is_transient=self.transient))
        else:
            outcome.callback(self.rows)
        return outcome

    def ask(self, wait_s: float = 0.0) -> object:
        """Return what came of it."""
        results: list[object] = []
        self.asking.ask(wait_s).addBoth(results.append)
        (result,) = results
        return result


WAITING = waiting_query(FULL, 0.1)


@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        ((), [FULL]),
        ((FULL,), [FULL, LONG]),
        (
            (FULL, LONG),
            [FULL, LONG, SHORT],
        ),
    ],
)
def test_less(refused: tuple[str, ...], asked: list[str]) -> None:
    """Until it answers; it is not asked for more again on this connection."""
    node = Node(*refused)
    assert node.ask() == NodeReport(in_recovery=True)
    assert node.asked == asked
    node.ask()
    assert node.asked == [*asked, asked[-1]]
    node.asking.reset()
    node.ask()
    assert node.asked[len(asked) + 1] == FULL


def test_patience_is_given_up_alone() -> None:
    """A node that does not wait still tells all."""
    node = Node(WAITING)
    assert node.ask(0.1) == NodeReport(in_recovery=True)
    assert node.asked == [WAITING, FULL]
    node.ask(0.1)
    assert node.asked[-1] == FULL


def test_no_answer_to_anything() -> None:
    """Then the refusal is the result."""
    failure = Node(FULL, LONG, SHORT).ask()
    assert isinstance(failure, TwistedFailure)
    assert isinstance(failure.value, ProbeFailed)
    assert failure.value.failure is ProbeFailure.UNFIT


THEIRS = "show role"


def test_an_operators_question() -> None:
    """It may be none that ours can hold: then it is asked as it stands, alone."""
    full, long = (with_recovery_query(one, THEIRS) for one in (FULL, LONG))
    rows: QueryRows = (("role", "since"), [("on", "yesterday"), ("off", "today")])
    node = Node(full, long, recovery=THEIRS, rows=rows)
    assert node.ask() == NodeReport(in_recovery=True)
    assert node.asked == [full, long, THEIRS]
    assert node.ask(0.1) == NodeReport(in_recovery=True)
    assert node.asked[-1] == THEIRS


@pytest.mark.parametrize("rows", [[], [("somewhere",)]])
def test_an_operators_question_without_a_use(rows: list[Sequence[object]]) -> None:
    """The node tells nothing then, and why; it is asked in full the next time."""
    node = Node(recovery="select 1", rows=((), rows))
    for _ in range(2):
        failure = node.ask()
        assert isinstance(failure, TwistedFailure)
        assert isinstance(failure.value, ProbeFailed)
        assert failure.value.failure is ProbeFailure.UNFIT
        assert "recovery_query returned" in str(failure.value)
    assert node.asked == [with_recovery_query(FULL, "select 1")] * 2


def test_a_refusal_that_passes() -> None:
    """A standby that replays what is in the way is not asked less for it."""
    node = Node(FULL, transient=True)
    failure = node.ask()
    assert isinstance(failure, TwistedFailure)
    node.refused = ()
    node.ask()
    assert node.asked == [FULL] * 2


def test_reports() -> None:
    """A writer's timeline is in the name of its WAL file; shorter answers do."""
    row = (False, 42, "0000000A0000000000000001", None)
    assert parse_report(((), [row])) == NodeReport(
        in_recovery=False, timeline=10, lsn=42
    )
    assert parse_report(((), [(True, 42, None, 1)])) == NodeReport(
        in_recovery=True, lsn=42, lag_s=1.0
    )
    assert parse_report(((), [(True,)])) == NodeReport(in_recovery=True)
    assert parse_report(((), [(True, None, None, None, "7")])).system == 7
    following = (True, 42, None, 0, "7", "streaming", "3")
    assert parse_report(((), [following])) == NodeReport(
        in_recovery=True, lsn=42, lag_s=0.0, system=7, source="streaming", follows=3
    )


def test_patience() -> None:
    """The same question, with a limit in the server's own time."""
    question = waiting_query(FULL, 0.25)
    assert FULL in question
    assert "interval '0.250 s'" in question


def test_less_and_less() -> None:
    """A refused query is followed by a shorter one, down to the shortest."""
    assert SHORTER[SHORTER[FULL]] == SHORT
    assert SHORT not in SHORTER


COMMENTED = "select is_reader, at from roles where me -- mine\n;  "


def test_without_an_operators_query() -> None:
    """Nothing is changed."""
    for question in (FULL, LONG, SHORT):
        assert with_recovery_query(question, "") == question


def test_with_an_operators_query() -> None:
    """The first column is theirs; the other parts stay, and a comment ends."""
    for question in (FULL, LONG):
        asked = with_recovery_query(question, COMMENTED)
        first, _, rest = asked.partition("LIMIT 1)")
        assert first == (
            "SELECT (SELECT asked.standby::text FROM (\n"
            "select is_reader, at from roles where me -- mine\n) AS asked(standby) "
        )
        assert question.endswith(rest)
    assert (
        with_recovery_query(SHORT, COMMENTED)
        == "select is_reader, at from roles where me -- mine"
    )


def test_waiting_with_an_operators_query() -> None:
    """A waiting node runs their query again and again, less often."""
    asked = waiting_query(with_recovery_query(FULL, COMMENTED), 0.25, COMMENTED)
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
def test_answers_to_an_operators_query(value: object, *, standby: bool) -> None:
    """A boolean, as a driver or the server tells it, or what it is written as."""
    assert is_standby(value) is standby


@pytest.mark.parametrize("rows", [[], [()], [(None,)]])
def test_no_answer_to_an_operators_query(rows: list[Sequence[object]]) -> None:
    """No row, and NULL, say nothing."""
    with pytest.raises(BadAnswer, match="returned no row, or NULL"):
        parse_report(((), rows))


def test_another_answer_to_an_operators_query() -> None:
    """It is quoted, but shortened."""
    with pytest.raises(BadAnswer, match="returned 'SWITCHOVER', not a boolean"):
        is_standby("SWITCHOVER")
    with pytest.raises(BadAnswer, match=r"'x{40}', not"):
        is_standby("x" * 1000)
