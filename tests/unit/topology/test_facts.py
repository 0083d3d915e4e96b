"""What is known of a node."""

from __future__ import annotations

from pgswitch.topology.facts import Failure, Report, Sight
from pgswitch.topology.nodes import Node


def test_whether_a_node_writes() -> None:
    """Only one that has said so; silence is no answer."""
    sight = Sight(Node("a", "a", 1))
    assert not sight.writes
    sight.report = Report(in_recovery=True)
    assert not sight.writes
    sight.report = Report(in_recovery=False)
    assert sight.writes


def test_failures_differ() -> None:
    """Each has words of its own, for the log and the column ``why``."""
    assert len({failure.value for failure in Failure}) == len(Failure)
