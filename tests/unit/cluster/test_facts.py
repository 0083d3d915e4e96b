"""What is known of a node."""

from __future__ import annotations

from pgswitch.cluster.facts import NodeReport, NodeStatus, ProbeFailure
from pgswitch.cluster.nodes import Node


def test_whether_a_node_writes() -> None:
    """Only one that has said so; silence is no answer."""
    status = NodeStatus(Node("a", "a", 1))
    assert not status.writes
    status.report = NodeReport(in_recovery=True)
    assert not status.writes
    status.report = NodeReport(in_recovery=False)
    assert status.writes


def test_failures_differ() -> None:
    """Each has words of its own, for the log and the column ``why``."""
    assert len({failure.value for failure in ProbeFailure}) == len(ProbeFailure)
