"""How much a node is asked: less, if it refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure as TwistedFailure

from pgswitch.cluster import node_queries
from pgswitch.cluster.node_queries import QueryRows
from pgswitch.cluster.nodes import NodeReport, ProbeFailure
from pgswitch.cluster.probe_query import ProbeFailed, ProbeQuery, QuestionRefused

ROWS: QueryRows = (("pg_is_in_recovery",), [(True,)])


class Node:
    """Refuses some questions, answers the others."""

    def __init__(
        self,
        *refused: str,
        recovery: str = "",
        rows: QueryRows = ROWS,
        passing: bool = False,
    ) -> None:
        """``refused`` are the questions that it does not like."""
        self.refused = refused
        self.rows = rows
        self.passing = passing
        self.asked: list[str] = []
        self.asking = ProbeQuery(self.read, recovery)

    def read(self, query: str) -> Deferred[QueryRows]:
        """Answer at once."""
        self.asked.append(query)
        outcome: Deferred[QueryRows] = Deferred()
        if query in self.refused:
            outcome.errback(QuestionRefused("no", is_passing=self.passing))
        else:
            outcome.callback(self.rows)
        return outcome

    def ask(self, patience_s: float = 0.0) -> object:
        """Return what came of it."""
        results: list[object] = []
        self.asking.ask(patience_s).addBoth(results.append)
        (result,) = results
        return result


PATIENT = node_queries.waiting_query(node_queries.FULL, 0.1)


@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        ((), [node_queries.FULL]),
        ((node_queries.FULL,), [node_queries.FULL, node_queries.LONG]),
        (
            (node_queries.FULL, node_queries.LONG),
            [node_queries.FULL, node_queries.LONG, node_queries.SHORT],
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
    node.asking.begin()
    node.ask()
    assert node.asked[len(asked) + 1] == node_queries.FULL


def test_patience_is_given_up_alone() -> None:
    """A node that does not wait still tells all."""
    node = Node(PATIENT)
    assert node.ask(0.1) == NodeReport(in_recovery=True)
    assert node.asked == [PATIENT, node_queries.FULL]
    node.ask(0.1)
    assert node.asked[-1] == node_queries.FULL


def test_no_answer_to_anything() -> None:
    """Then the refusal is told."""
    failure = Node(node_queries.FULL, node_queries.LONG, node_queries.SHORT).ask()
    assert isinstance(failure, TwistedFailure)
    assert isinstance(failure.value, ProbeFailed)
    assert failure.value.failure is ProbeFailure.UNFIT


THEIRS = "show role"


def test_an_operators_question() -> None:
    """It may be none that ours can hold: then it is asked as it stands, alone."""
    full, long = (
        node_queries.worded(one, THEIRS)
        for one in (node_queries.FULL, node_queries.LONG)
    )
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
    assert node.asked == [node_queries.worded(node_queries.FULL, "select 1")] * 2


def test_a_refusal_that_passes() -> None:
    """A standby that replays what is in the way is not asked less for it."""
    node = Node(node_queries.FULL, passing=True)
    failure = node.ask()
    assert isinstance(failure, TwistedFailure)
    node.refused = ()
    node.ask()
    assert node.asked == [node_queries.FULL] * 2
