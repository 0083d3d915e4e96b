"""Asks a node what it is: as much as it answers, and for as long as it may wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgswitch.topology import questions
from pgswitch.topology.machine import Failure, Report

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure as TwistedFailure

    from pgswitch.topology.questions import Rows


class ProbeFailed(Exception):
    """A node was asked in vain; the text is its own or the driver's."""

    def __init__(self, failure: Failure, words: str) -> None:
        """Take the kind of failure, and its text."""
        super().__init__(words)
        self.failure = failure


class QuestionRefused(ProbeFailed):
    """The node lives, but does not like the question."""

    def __init__(self, words: str) -> None:
        """Take the text of its error."""
        super().__init__(Failure.UNFIT, words)


class Asking:
    """The question for one connection to a node; ``read`` runs a query there."""

    def __init__(self, read: Callable[[str], Deferred[Rows]]) -> None:
        """Begin with the full question."""
        self._read = read
        self.begin()

    def begin(self) -> None:
        """Try the full question again: the connection is a new one."""
        self._question = questions.FULL
        self._is_patient = True

    def ask(self, patience_s: float) -> Deferred[Report]:
        """Ask; fails with ProbeFailed."""
        question = self._question
        if patience_s and self._is_patient and question in questions.LESS:
            question = questions.patient(question, patience_s)
        asking = self._read(question)
        return asking.addCallbacks(
            questions.report_of, self._asked_too_much, errbackArgs=(question,)
        )

    def _asked_too_much(
        self, failure: TwistedFailure, question: str
    ) -> Deferred[Report] | TwistedFailure:
        """Ask less of a node that does not know, or not allow, all of it."""
        # Nothing is raised: a traceback would hold the connection that was lost, and
        # be held by it.
        if failure.check(QuestionRefused) is None:
            return failure
        if question != self._question:
            self._is_patient = False
            return self.ask(0.0)
        less = questions.LESS.get(question)
        if less is None:
            return failure
        self._question = str(less)
        return self.ask(0.0)
