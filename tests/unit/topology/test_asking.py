"""How much a node is asked: less, if it refuses."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure as TwistedFailure

from pgswitch.topology import questions
from pgswitch.topology.asking import Asking, ProbeFailed, QuestionRefused
from pgswitch.topology.machine import Failure, Report
from pgswitch.topology.questions import Rows

ROWS: Rows = (("pg_is_in_recovery",), [(True,)])


class Node:
    """Refuses some questions, answers the others."""

    def __init__(self, *refused: str) -> None:
        """``refused`` are the questions that it does not like."""
        self.refused = refused
        self.asked: list[str] = []
        self.asking = Asking(self.read)

    def read(self, query: str) -> Deferred[Rows]:
        """Answer at once."""
        self.asked.append(query)
        outcome: Deferred[Rows] = Deferred()
        if query in self.refused:
            outcome.errback(QuestionRefused("no"))
        else:
            outcome.callback(ROWS)
        return outcome

    def ask(self, patience_s: float = 0.0) -> object:
        """Return what came of it."""
        results: list[object] = []
        self.asking.ask(patience_s).addBoth(results.append)
        (result,) = results
        return result


PATIENT = questions.patient(questions.FULL, 0.1)


@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        ((), [questions.FULL]),
        ((questions.FULL,), [questions.FULL, questions.LONG]),
        (
            (questions.FULL, questions.LONG),
            [questions.FULL, questions.LONG, questions.SHORT],
        ),
    ],
)
def test_less(refused: tuple[str, ...], asked: list[str]) -> None:
    """Until it answers; it is not asked for more again on this connection."""
    node = Node(*refused)
    assert node.ask() == Report(in_recovery=True)
    assert node.asked == asked
    node.ask()
    assert node.asked == [*asked, asked[-1]]
    node.asking.begin()
    node.ask()
    assert node.asked[len(asked) + 1] == questions.FULL


def test_patience_is_given_up_alone() -> None:
    """A node that does not wait still tells all."""
    node = Node(PATIENT)
    assert node.ask(0.1) == Report(in_recovery=True)
    assert node.asked == [PATIENT, questions.FULL]
    node.ask(0.1)
    assert node.asked[-1] == questions.FULL


def test_no_answer_to_anything() -> None:
    """Then the refusal is told."""
    failure = Node(questions.FULL, questions.LONG, questions.SHORT).ask()
    assert isinstance(failure, TwistedFailure)
    assert isinstance(failure.value, ProbeFailed)
    assert failure.value.failure is Failure.UNFIT
