"""Probes that answer what a test wants, when it wants."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pgswitch.cluster.nodes import Node, NodeReport, ProbeFailure
from pgswitch.cluster.probe import ProbeFailed, QueryRows

STANDBY = NodeReport(in_recovery=True)


def writes(timeline: int = 1) -> NodeReport:
    """Return the answer of a writer."""
    return NodeReport(in_recovery=False, timeline=timeline)


class FakeProbe:
    """Stands for the connection to one node."""

    def __init__(self, node: Node, lost: Callable[[], None]) -> None:
        """Begin with nothing asked."""
        self.node = node
        self.lost = lost
        self.is_connected = False
        self.is_reached = False
        self.address = ""
        self.closed = 0
        self.wait_s = 0.0
        """Of the last question."""
        self.queries: list[str] = []
        self.asked: Deferred[NodeReport] | None = None
        self.reading: Deferred[QueryRows] | None = None

    def ask(self, wait_s: float = 0.0) -> Deferred[NodeReport]:
        """Wait for the test's answer."""
        self.wait_s = wait_s
        self.asked = Deferred()
        return self.asked

    def read(self, query: str) -> Deferred[QueryRows]:
        """Wait for the test's rows."""
        self.queries.append(query)
        self.reading = Deferred()
        return self.reading

    def close(self) -> None:
        """Have what was asked fail."""
        self.closed += 1
        self.is_connected = self.is_reached = False
        self.fail(ProbeFailure.SILENT, ProbeFailure.SILENT.value)

    # The test's side.

    def answer(self, report: NodeReport) -> None:
        """Answer the question."""
        asked, self.asked = self.asked, None
        assert asked is not None
        self.is_connected = self.is_reached = True
        asked.callback(report)

    def list(self, *hosts: str) -> None:
        """Answer the topology query."""
        reading, self.reading = self.reading, None
        assert reading is not None
        reading.callback((("host",), [(host,) for host in hosts]))

    def fail(self, failure: ProbeFailure, words: str = "words") -> None:
        """Fail the pending query."""
        waiting: list[Deferred[NodeReport] | Deferred[QueryRows] | None]
        waiting, self.asked, self.reading = [self.asked, self.reading], None, None
        for deferred in waiting:
            if deferred is not None:
                deferred.errback(ProbeFailed(failure, words))
