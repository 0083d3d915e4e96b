"""Asks a node what it is: as much as it answers, and for as long as it may wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.python.failure import Failure as TwistedFailure

from pgswitch.cluster import node_queries
from pgswitch.cluster.node_queries import SHORT
from pgswitch.cluster.nodes import NodeReport, ProbeFailure
from pgswitch.cluster.recovery_check import BadAnswer

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from pgswitch.cluster.node_queries import QueryRows


class ProbeFailed(Exception):
    """A node was asked in vain; the text is its own or the driver's."""

    def __init__(self, failure: ProbeFailure, words: str) -> None:
        """Take the kind of failure, and its text."""
        super().__init__(words)
        self.failure = failure


class QuestionRefused(ProbeFailed):
    """The node lives, but does not like the question."""

    def __init__(self, words: str, *, is_passing: bool = False) -> None:
        """Take the text of its error; ``is_passing``: it may like it next time."""
        super().__init__(ProbeFailure.UNFIT, words)
        self.is_passing = is_passing


class ProbeQuery:
    """The question for one connection to a node; ``read`` runs a query there."""

    def __init__(
        self, read: Callable[[str], Deferred[QueryRows]], recovery_query: str = ""
    ) -> None:
        """Begin with the full question.

        ``recovery_query`` is asked instead of pg_is_in_recovery().
        """
        self._read = read
        self._recovery = recovery_query
        self.begin()

    def begin(self) -> None:
        """Try the full question again: the connection is a new one."""
        self._question = node_queries.FULL
        self._is_patient = True

    def ask(self, patience_s: float) -> Deferred[NodeReport]:
        """Ask; fails with ProbeFailed."""
        question = self._question
        # The shortest may be an operator's as it stands, and is not made to wait.
        if not self._is_patient or question == SHORT:
            patience_s = 0.0
        asked = node_queries.worded(question, self._recovery)
        if patience_s:
            asked = node_queries.waiting_query(asked, patience_s, self._recovery)
        return self._read(asked).addCallbacks(
            self._understood,
            self._asked_too_much,
            callbackArgs=(question,),
            errbackArgs=(question, patience_s),
        )

    def _understood(
        self, rows: QueryRows, question: str
    ) -> NodeReport | TwistedFailure:
        """Return what an answer says."""
        if question == SHORT:
            rows = (rows[0][:1], [row[:1] for row in rows[1]])
        try:
            return node_queries.report_of(rows)
        except BadAnswer as error:
            # Asked in full again: whoever mends the query need not end us for it.
            self.begin()
            return TwistedFailure(QuestionRefused(str(error)))

    def _asked_too_much(
        self, failure: TwistedFailure, question: str, patience_s: float
    ) -> Deferred[NodeReport] | TwistedFailure:
        """Ask less of a node that does not know, or not allow, all of it."""
        # Nothing is raised: a traceback would hold the connection that was lost, and
        # be held by it.
        refusal = failure.value
        if not isinstance(refusal, QuestionRefused):
            return failure
        if patience_s:
            self._is_patient = False
            return self.ask(0.0)
        less = node_queries.LESS.get(question)
        if less is None:
            self.begin()
        if less is None or refusal.is_passing:
            return failure
        self._question = str(less)
        return self.ask(0.0)
